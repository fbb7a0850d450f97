"""flagstat: the text of samtools, from the manifest or from the data."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pysam
import pytest

from agd.batch import Alignments, Column
from agd.cell import distant_mates
from agd.dataset import Dataset
from agd.draft import Draft, columns_of
from agd.manifest import Chunk, Manifest
from agd.ops.flagstat import flagstat, flagstat_of_manifest, percent
from agd.ops.select import Selection
from agd.types import Orientation
from tests.support.sam_dataset import from_sam, to_sam


def sam(records: int, seed: int) -> str:
    """Records of any flags whatsoever."""
    rng = random.Random(seed)
    lines = ["@HD\tVN:1.6\tSO:unsorted", "@SQ\tSN:c1\tLN:1000", "@SQ\tSN:c2\tLN:1000"]
    for i in range(records):
        flag = rng.randrange(4096)
        place = "*\t0\t0\t*" if flag & 4 else f"{rng.choice(['c1', 'c2'])}\t{i + 1}\t{rng.choice([0, 4, 5, 60])}\t4M"
        mate = rng.choice(["c1\t7", "c2\t7", "*\t0"])
        lines.append(f"r{i}\t{flag}\t{place}\t{mate}\t0\tACGT\tIIII")
    return "\n".join(lines) + "\n"


def oracle(text: str, folder: Path, *options: str) -> str:
    path = folder / "flags.sam"
    path.write_text(text)
    return str(pysam.samtools.flagstat(*options, str(path)))


def without_statistics(dataset: Dataset) -> Dataset:
    """The same dataset as a writer would leave it that notes no statistics."""
    chunks = tuple(
        Chunk(c.first, c.count, {name: replace(cell, statistics={}) for name, cell in c.cells.items()})
        for c in dataset.chunks
    )
    return Dataset(dataset.storage, replace(dataset.manifest, chunks=chunks))


@pytest.mark.parametrize("seed", range(4))
def test_text_is_that_of_samtools(seed: int, tmp_path: Path) -> None:
    text = sam(300, seed)
    dataset = from_sam(str(tmp_path / "in.agd"), text, chunk=70)
    expected = oracle(text, tmp_path)
    quick, slow = flagstat(dataset), flagstat(without_statistics(dataset))
    assert (quick.from_manifest, slow.from_manifest) == (True, False)
    assert quick.text() == slow.text() == expected
    assert quick.to_json() == json.loads(oracle(text, tmp_path, "-O", "json"))


def test_nothing_gives_no_percentages(tmp_path: Path) -> None:
    text = sam(0, 0)
    dataset = from_sam(str(tmp_path / "in.agd"), text)
    assert flagstat(dataset).text() == oracle(text, tmp_path)
    assert percent(0, 0) is None


def test_reads_that_were_never_aligned_are_unmapped(tmp_path: Path) -> None:
    draft = Draft.create(str(tmp_path / "s.agd"), columns_of(["bases"]), {}, orientation=Orientation.READ)
    bases = Column.from_list([b"ACGT"] * 6)
    chunks = [Chunk(f, 2, {"bases": draft.write("bases", f, bases.slice(f, f + 2))}) for f in (0, 2, 4)]
    dataset = draft.commit(chunks, pairing="interleaved")
    report = flagstat(dataset)
    assert report.from_manifest
    assert (report.passed["total"], report.passed["mapped"], report.passed["read1"], report.passed["read2"]) == (
        6, 0, 3, 3,
    )  # fmt: skip


def test_marks_count_for_further_alignments_too(tmp_path: Path) -> None:
    draft = Draft.create(
        str(tmp_path / "s.agd"), columns_of(["results", "secondary0", "duplicates"]), {}, orientation=Orientation.READ
    )
    null = Alignments.null(3)
    results = null.replace(valid=None, flag=np.array([0x400, 0, 16], np.uint16), reference=np.zeros(3, np.int32))
    further = null.replace(valid=np.array([False, True, True]), flag=np.array([0, 0x800, 0x100], np.uint16))
    marks = Column(np.array([0, 1, 2], np.uint8))
    columns = {"results": results, "secondary0": further, "duplicates": marks}
    dataset = draft.commit([Chunk(0, 3, {name: draft.write(name, 0, c) for name, c in columns.items()})])
    report = flagstat(dataset)
    # Marks without the statistics that tell the folded flags: the data are read.
    assert not report.from_manifest
    assert (report.passed["total"], report.passed["duplicates"], report.passed["primary duplicates"]) == (5, 2, 1)
    batch = next(iter(dataset.batches(["secondary0"])))
    assert batch.alignments("secondary0").flag.tolist()[1:] == [0xC00, 0x100]


def test_a_selection_reads_the_data(tmp_path: Path) -> None:
    text = sam(200, 9)
    dataset = from_sam(str(tmp_path / "in.agd"), text, chunk=50)
    report = flagstat(dataset, selection=Selection(require=1, exclude=0x10))
    kept = [x for x in to_sam(dataset).splitlines() if x[0] == "@" or (int(x.split("\t")[1]) & 0x11) == 1]
    assert report.text() == oracle("\n".join(kept) + "\n", tmp_path)


def test_null_records_need_the_data() -> None:
    alignments = Alignments.null(2).replace(flag=np.array([1, 1], np.uint16), mate_reference=np.zeros(2, np.int32))
    assert distant_mates(alignments) == [0, 0, 0, 0]
    assert distant_mates(alignments.replace(valid=None)) == [2, 0, 0, 0]


def test_command_loads_neither_numpy_nor_fsspec(tmp_path: Path) -> None:
    text = sam(20, 1)
    from_sam(str(tmp_path / "in.agd"), text)
    code = (
        "import sys; from agd.cli import run; code = run(sys.argv[1:]); "
        "assert not {'numpy', 'fsspec', 'pysam'} & set(sys.modules), 'heavy'; sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "flagstat", str(tmp_path / "in.agd")], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == (oracle(text, tmp_path), "")


def test_real_data(data: Path, tmp_path: Path) -> None:
    from agd.convert.bam_in import import_bam

    path = data / "human_na12878_chr22_dups" / "NA12878.chr22.s.bam"
    import_bam(str(path), str(tmp_path / "s.agd"), chunk_records=20_000)
    manifest = Manifest.from_bytes((tmp_path / "s.agd" / "manifest.json").read_bytes(), "")
    report = flagstat_of_manifest(manifest)
    assert report is not None
    assert report.text() == pysam.samtools.flagstat(str(path))
