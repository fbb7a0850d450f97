"""Bases that stay packed while they are sorted: the same is stored as if they had been letters meanwhile."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agd import chunkfile
from agd.batch import Alignments, Column
from agd.codecs import PackedBases
from agd.dataset import Dataset
from agd.draft import Draft, columns_of
from agd.errors import FormatError
from agd.manifest import Chunk
from agd.ops import sort as module
from agd.ops import sort_merge
from agd.ops.sort import sort
from agd.ops.sort_plan import SortPlan, group
from agd.samheader import references_of
from agd.types import Orientation

#: What the letters of reads may be: most of them those that have codes.
LETTERS = b"ACGTACGTACGTACGTACGTNNRUacgtn*"


def reads(url: str, *, chunk: int, width: int | None, letters: bytes = LETTERS, codecs: Any = None) -> Dataset:
    """Reads as sequenced, some turned around by their alignments, some with further ones that are clipped."""
    rng, count = np.random.default_rng(7), 90
    lengths = np.full(count, width) if width else rng.integers(0, 90, count)
    bases = np.frombuffer(letters, np.uint8)[rng.integers(0, len(letters), int(lengths.sum()))]
    bases[: len(bases) // 3] = np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, len(bases) // 3)]
    columns: dict[str, Any] = {
        "bases": Column.from_lengths(bases, lengths),
        "qualities": Column.from_lengths(np.full(len(bases), 70, np.uint8), lengths),
        "metadata": Column.from_list([b"r%d" % i for i in range(count)]),
        "results": aligned(rng, lengths, 0, 0), "secondary0": aligned(rng, lengths, 2048, 2),
    }  # fmt: skip
    draft = Draft.create(url, columns_of(list(columns)), {}, orientation=Orientation.READ, overwrite=True)
    chunks = []
    for number, first in enumerate(range(0, count, chunk)):
        cells = {}
        for name, column in columns.items():
            chains = [codecs[number % len(codecs)]] if codecs and name == "bases" else []
            data, cells[name] = draft.encode(name, first, column.slice(first, first + chunk), chains=chains)
            draft.store(name, first, data)
        chunks.append(Chunk(first, min(chunk, count - first), cells))
    header = "@SQ\tSN:c\tLN:500\n"
    return draft.commit(chunks, header=header, references=references_of(header))


def aligned(rng: np.random.Generator, lengths: Any, flag: int, clip: int) -> Alignments:
    count = len(lengths)
    valid = (lengths > 5) & (rng.random(count) < (0.3 if clip else 0.9))
    cigars = [[clip << 4 | 5, (n - clip) << 4] if clip else [n << 4] for n in lengths.tolist()]
    cigar = Column.from_lengths(
        np.array([o for c, ok in zip(cigars, valid, strict=True) if ok for o in c], np.uint32),
        np.array([len(c) * ok for c, ok in zip(cigars, valid.tolist(), strict=True)]),
    )
    null = Alignments.null(count)
    return null.replace(
        flag=np.where(valid, flag | 16 * rng.integers(0, 2, count), 0).astype(np.uint16),
        reference=np.where(valid, 0, -1).astype(np.int32), position=np.where(valid, rng.integers(0, 400, count), -1),
        cigar=cigar, valid=valid,
    )  # fmt: skip


def stored(dataset: Dataset) -> list[tuple[Any, ...]]:
    """The bases of each chunk: as they are stored, what the manifest says of them, and the letters."""
    found = []
    for chunk in dataset.chunks:
        data = dataset.fetch(chunk, ["bases"])["bases"]
        header, index, payload = chunkfile.unframe(data, "bases")
        letters = list(dataset.read(chunk, ["bases"]).ragged("bases"))
        cell = chunk.cells["bases"]
        found.append((bytes(index), bytes(payload), header.codecs, cell.bytes, cell.statistics, letters))
    return found


@pytest.fixture
def packings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Chunks whose bases were gathered packed."""
    found: list[int] = []
    gather = sort_merge.gather_packed

    def gathered(parts: Any, places: Any) -> PackedBases:
        found.append(len(places.row))
        return gather(parts, places)

    monkeypatch.setattr(sort_merge, "gather_packed", gathered)
    return found


def letters_only(dataset: Dataset, output: str, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Dataset:
    """Sorted by way of temporary files, where bases are letters."""
    with monkeypatch.context() as patch:
        plan = SortPlan(True, tuple(group(dataset.chunks, 20)), 8, 9, 2, 2, 40, False)
        patch.setattr(module, "plan", lambda *_: plan)
        sort(dataset, output, **options)
    return Dataset.open(output)


@pytest.mark.parametrize("width", [None, 37])
@pytest.mark.parametrize("chunk", [7, 100])
def test_the_same_is_stored(
    width: int | None, chunk: int, packings: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = reads(str(tmp_path / "in.agd"), chunk=16, width=width)
    sort(dataset, tmp_path / "out.agd", chunk_records=chunk)
    found = Dataset.open(tmp_path / "out.agd")
    assert packings == [one.count for one in found.chunks]
    packings.clear()
    other = letters_only(dataset, str(tmp_path / "other.agd"), monkeypatch, chunk_records=chunk)
    assert packings == []
    assert stored(found) == stored(other)


def test_chunks_may_be_stored_in_any_way(
    packings: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codecs: list[Any] = [
        [{"name": "base2", "level": 1}], [{"name": "base3"}], [{"name": "dinucleotides", "level": 3}],
        [{"name": "base2", "level": 1}, {"name": "gzip", "level": 1}], [{"name": "zstd", "level": 1}],
    ]  # fmt: skip
    dataset = reads(str(tmp_path / "in.agd"), chunk=16, width=None, codecs=codecs)
    sort(dataset, tmp_path / "out.agd")
    assert packings
    assert stored(Dataset.open(tmp_path / "out.agd")) == stored(
        letters_only(dataset, str(tmp_path / "other.agd"), monkeypatch)
    )


@pytest.mark.parametrize("options", [
    {"codecs": {"bases": [{"name": "base3"}]}}, {"codecs": {"bases": [{"name": "dinucleotides", "level": 3}]}},
    {"profile": "small"}, {"profile": "fast"},
])  # fmt: skip
def test_other_codecs_take_letters(
    options: Any, packings: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = reads(str(tmp_path / "in.agd"), chunk=16, width=None)
    sort(dataset, tmp_path / "out.agd", **options)
    assert packings == []
    assert stored(Dataset.open(tmp_path / "out.agd")) == stored(
        letters_only(dataset, str(tmp_path / "other.agd"), monkeypatch, **options)
    )


def test_runs_of_letters_that_have_a_code_are_read(
    packings: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No writer of ours makes them; who reads such a file sees what the runs say.
    def of(column: Column) -> PackedBases:
        bases = packed(column)
        if not len(bases.values):
            return bases
        first = np.zeros(1, np.int64)
        return PackedBases(bases.values, bases.offsets, first, first + 1, np.array([ord("C")], np.uint8))

    packed = PackedBases.of
    with monkeypatch.context() as patch:
        patch.setattr(PackedBases, "of", staticmethod(of))
        dataset = reads(str(tmp_path / "in.agd"), chunk=16, width=37, letters=b"ACGT")
    assert dataset.read(dataset.chunks[1]).ragged("bases").values[0] == ord("C")
    sort(dataset, tmp_path / "out.agd")
    assert packings
    assert stored(Dataset.open(tmp_path / "out.agd")) == stored(
        letters_only(dataset, str(tmp_path / "other.agd"), monkeypatch)
    )


def test_the_object_of_another_chunk_is_refused(tmp_path: Path) -> None:
    dataset = reads(str(tmp_path / "in.agd"), chunk=30, width=37)
    one, two = (tmp_path / "in.agd" / dataset.manifest.object_key("bases", first) for first in (0, 30))
    shutil.copy(two, one)
    with pytest.raises(FormatError, match="first"):
        sort(dataset, tmp_path / "out.agd")
    assert not (tmp_path / "out.agd").exists()


def test_bits_behind_the_last_base_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def of(column: Column) -> PackedBases:
        bases = packed(column)
        bases.values[-1] |= 0xC0  # 555 bases leave the last two bits
        return bases

    packed = PackedBases.of
    with monkeypatch.context() as patch:
        patch.setattr(PackedBases, "of", staticmethod(of))
        dataset = reads(str(tmp_path / "in.agd"), chunk=15, width=37, letters=b"ACGT")
    with pytest.raises(FormatError, match="padding"):
        dataset.read(dataset.chunks[0], ["bases"])
    with pytest.raises(FormatError, match="padding"):
        sort(dataset, tmp_path / "out.agd")
