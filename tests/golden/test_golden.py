"""Files that were written once, by each version of the format: every later release reads them."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agd.batch import Alignments, AnyColumn, Column
from agd.dataset import Dataset
from agd.run import ThreadRunner
from agd.types import CIGAR_OPERATIONS, Orientation, SortOrder
from tests.support.manifests import validate

HERE = Path(__file__).resolve().parent
EXPECTED = sorted(HERE.glob("v*/*.json"))


def dataset_of(expected: Path) -> Path:
    return expected.with_suffix(".agd")


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return document


def plain(column: AnyColumn) -> list[Any]:
    """Records as the expected document has them."""
    if isinstance(column, Column):
        return [r.decode("latin-1") if isinstance(r, bytes) else r for r in column]
    assert isinstance(column, Alignments)
    valid = np.ones(len(column), bool) if column.valid is None else column.valid
    found: list[Any] = []
    for i, ok in enumerate(valid.tolist()):
        entry: dict[str, Any] = {name: getattr(column, name)[i].item() for name in Alignments.FIXED}
        entry["cigar"] = "".join(f"{n >> 4}{CIGAR_OPERATIONS[n & 15]}" for n in column.cigar[i].tolist())
        entry["tags"] = column.tags[i].hex()
        found.append(entry if ok else None)
    return found


def test_there_are_golden_files() -> None:
    assert {path.stem for path in EXPECTED} >= {"reads", "types", "empty", "streams", "dinucleotides", "strand"}


@pytest.mark.parametrize("path", EXPECTED, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_every_generation_reads_as_it_was_written(path: Path) -> None:
    expected = read(path)
    newest = Dataset.open(dataset_of(path))
    assert newest.manifest.generation == len(expected["generations"])
    with ThreadRunner(2) as runner:
        for generation, columns in enumerate(expected["generations"], 1):
            dataset = Dataset.open(dataset_of(path), generation=generation)
            assert len(dataset) == expected["records"]
            assert set(dataset.columns) == set(columns)
            for name, content in columns.items():
                records = columns[content["same as"]] if isinstance(content, dict) else content
                batches = dataset.batches([name], runner=runner)
                assert [record for batch in batches for record in plain(batch[name])] == records, name
                assert plain(dataset[:][name]) == records, name


@pytest.mark.parametrize("path", EXPECTED, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_golden_files_are_never_written_again(path: Path) -> None:
    files = read(path)["files"]
    found = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in dataset_of(path).iterdir()}
    assert found == files


MANIFESTS = sorted(HERE.glob("v*/*.agd/manifest*.json"))


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda p: f"{p.parent.name}-{p.name}")
def test_golden_manifests_fit_the_schema(path: Path) -> None:
    validate(path.read_bytes())


def test_what_the_manifests_say() -> None:
    manifest = Dataset.open(HERE / "v1" / "reads.agd").manifest
    assert (manifest.name, manifest.names, manifest.pairing) == ("reads", "fastq", "interleaved")
    assert (manifest.orientation, manifest.sort_order) == (Orientation.READ, SortOrder.UNSORTED)
    assert [(r.name, r.length, r.md5) for r in manifest.references] == [
        ("chr1", 1000, "d41d8cd98f00b204e9800998ecf8427e"), ("chr2", 7, ""),
    ]  # fmt: skip
    assert manifest.header.encode("utf-8", "surrogateescape").endswith(b"@CO\t\xc3\xa9\xff\n")
    assert [chunk.first for chunk in manifest.chunks] == [0, 4]
    assert "duplicates" not in manifest.chunks[1].cells
    assert Dataset.open(HERE / "v1" / "types.agd").manifest.orientation is Orientation.SEQ


def test_golden_datasets_can_be_added_to(tmp_path: Path) -> None:
    from agd.draft import Draft, columns_of
    from agd.manifest import Chunk

    shutil.copytree(HERE / "v1" / "reads.agd", tmp_path / "reads.agd")
    dataset = Dataset.open(tmp_path / "reads.agd")
    draft = Draft.extend(dataset, columns_of(["tags"]), {})
    after = draft.commit(Chunk(c.first, c.count, {}) for c in dataset.chunks)
    assert after.manifest.generation == 4
    assert plain(after[:]["results"]) == read(HERE / "v1" / "reads.json")["generations"][2]["results"]


def test_the_script_refuses_to_write_again() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.golden.make"], cwd=HERE.parents[1], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "never written again" in done.stderr


def test_golden_files_are_small() -> None:
    assert sum(path.stat().st_size for path in HERE.glob("v*/**/*") if path.is_file()) < 175_000 * len(
        list(HERE.glob("v*"))
    )
