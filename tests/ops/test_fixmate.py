"""Collated records, and what they say of their mates: that of samtools."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import agd
from agd.batch import Column
from agd.dataset import Dataset
from agd.errors import UsageError, VerificationError
from agd.ops.fixmate_pairs import cigar_texts
from agd.ops.verify import verify
from agd.run import SerialRunner, ThreadRunner
from tests.ops.test_sort import random_sam
from tests.support.alignment_text import cigar_text
from tests.support.sam_dataset import to_sam
from tests.support.samtools import samtools

#: Orphans, mates on other references, one or both unmapped, further alignments, three records, no qualities, no bases.
TRICKY = """@HD\tVN:1.6\tSO:unsorted\tGO:query
@SQ\tSN:c1\tLN:5000
@SQ\tSN:c2\tLN:5000
orphan\t99\tc1\t5\t9\t4M\tc1\t50\t49\tACGT\tIIII\tMC:Z:9M\tNM:i:0
both\t67\tc1\t5\t9\t4M\tc2\t50\t49\tACGT\tIIII\tNM:i:0\tMQ:i:200\tXX:Z:t
both\t147\tc1\t40\t60\t2S2M\t*\t0\t0\tACGT\tI#5I\tMC:Z:1M
far\t67\tc1\t5\t9\t4M\t*\t0\t0\tACGT\tIIII
far\t131\tc2\t5\t9\t4M\t*\t0\t0\tACGT\t*
out\t83\tc1\t5\t9\t4M\t*\t0\t0\tACGT\tIIII
out\t163\tc1\t300\t9\t4M\t*\t0\t0\tACGT\tIIII
half\t65\tc2\t77\t9\t2M1D2M\t*\t0\t0\tACGT\tIIII\tms:i:3
half\t133\t*\t0\t0\t*\t*\t0\t0\tGGGG\tIIII\tMQ:i:7
lost\t77\t*\t0\t0\t*\t*\t0\t0\tACGT\tIIII\tMC:Z:4M
lost\t141\t*\t0\t0\t*\t*\t0\t0\tACGT\tIIII
more\t97\tc1\t100\t30\t3H4M\tc1\t200\t0\tACGT\tIIII
more\t2113\tc1\t900\t30\t3M4H\tc2\t200\t7\tACG\tIII\tMC:Z:8M
more\t353\tc2\t900\t30\t7M\tc2\t200\t7\t*\t*
more\t145\tc1\t120\t30\t4M5S\tc1\t100\t0\tACGTACGTA\tIIIIIIIII
single\t0\tc1\t7\t9\t4M\tc1\t8\t4\tACGT\tIIII
three\t67\tc1\t5\t9\t4M\t*\t0\t0\tACGT\tIIII
three\t143\tc1\t9\t9\t*\t*\t0\t0\tACGT\tIIII
three\t131\tc1\t70\t9\t4M\t*\t0\t0\tACGT\tIIII
bare\t1\tc1\t5\t9\t4M\t*\t0\t0\t*\t*
bare\t1\tc1\t5\t9\t4M\t*\t0\t0\t*\t*
"""


def lines_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("@")]


def imported(folder: Path, text: str, chunk: int = 7) -> Dataset:
    (folder / "in.sam").write_text(text)
    agd.import_sam(str(folder / "in.sam"), str(folder / "in.agd"), chunk_records=chunk, overwrite=True)
    return agd.open(str(folder / "in.agd"))


def objects(dataset: Dataset) -> list[Path]:
    return [path for path in Path(dataset.url).glob("*-0*") if path.suffix != ".json"]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("options", [[], ["-m"], ["-p", "-m"], ["-r"]], ids=" ".join)
def test_records_are_those_of_samtools(seed: int, options: list[str], tmp_path: Path) -> None:
    text = TRICKY if not seed else random_sam(300, seed)
    dataset = imported(tmp_path, text)
    if seed:
        agd.collate(dataset, tmp_path / "c.agd", chunk_records=40 + seed)
        dataset = agd.open(str(tmp_path / "c.agd"))
        (tmp_path / "in.sam").write_text(to_sam(dataset))
    samtools("fixmate", "-z", "off", "-O", "sam", *options, str(tmp_path / "in.sam"), str(tmp_path / "out.sam"))
    expected = lines_of((tmp_path / "out.sam").read_text())
    before = {p: p.stat().st_mtime_ns for p in objects(dataset)}
    remove = str(tmp_path / "r.agd") if "-r" in options else None
    with ThreadRunner(2) if seed else SerialRunner() as runner:
        report = agd.fixmate(
            dataset, scores="-m" in options, proper_pairs="-p" not in options, remove=remove, chunk_records=9,
            runner=runner,
        )  # fmt: skip
    fixed = agd.open(remove or dataset.url)
    assert lines_of(to_sam(fixed)) == expected
    assert report.removed == len(dataset) - len(expected)
    assert verify(fixed, deep=True).problems == ()
    # Nothing that was there is another, and in place only alignments are new.
    assert {p: p.stat().st_mtime_ns for p in before} == before
    new = set(objects(dataset)) - set(before)
    assert {p.name.split(".")[1].split("~")[0] for p in new} == (set() if remove else {"results"})
    assert sum(p.stat().st_size for p in new) == (0 if remove else report.bytes)
    (tmp_path / "fixed.sam").write_text(to_sam(fixed))
    agd.import_sam(str(tmp_path / "fixed.sam"), str(tmp_path / "back.agd"))
    assert agd.open(str(tmp_path / "back.agd")).manifest.digest == fixed.manifest.digest


def test_real_records_with_mates_taken_away(data: Path, tmp_path: Path) -> None:
    bam = next((data / "human_na12878_chr22_dups").glob("*.bam"))
    agd.import_bam(str(bam), str(tmp_path / "in.agd"))
    with pytest.raises(UsageError, match="agd collate"):
        agd.fixmate(agd.open(str(tmp_path / "in.agd")))
    agd.collate(agd.open(str(tmp_path / "in.agd")), tmp_path / "c.agd", chunk_records=9999)
    collated = agd.open(str(tmp_path / "c.agd"))
    assert collated.manifest.header.startswith("@HD\tVN:1.5\tSO:unsorted\tGO:query\n")
    agd.export_sam(collated, str(tmp_path / "c.sam"))
    agd.fixmate(collated, scores=True)
    samtools("fixmate", "-z", "off", "-m", "-O", "sam", str(tmp_path / "c.sam"), str(tmp_path / "out.sam"))
    agd.export_sam(agd.open(collated.url), str(tmp_path / "f.sam"))
    assert lines_of((tmp_path / "f.sam").read_text()) == lines_of((tmp_path / "out.sam").read_text())


def test_collated_names_stand_together(tmp_path: Path) -> None:
    dataset = imported(tmp_path, random_sam(400, 5))
    texts = []
    for i, (chunk, memory) in enumerate([(50, None), (33, None)]):
        with ThreadRunner(i + 1) as runner:
            agd.collate(dataset, tmp_path / f"{i}.agd", chunk_records=chunk, memory=memory, runner=runner)
        texts.append(lines_of(to_sam(agd.open(str(tmp_path / f"{i}.agd")))))
    assert texts[0] == texts[1]
    assert sorted(texts[0]) == sorted(lines_of(to_sam(dataset)))
    names = [name for name, _ in groupby(line.split("\t")[0] for line in texts[0])]
    assert len(names) == len(set(names))
    assert names != sorted(names)
    for _, group in groupby(texts[0], key=lambda line: line.split("\t")[0]):
        flags = [int(line.split("\t")[1]) for line in group]
        ranks = [(flag & 0xC0, flag & 0x100, flag & 0x800) for flag in flags]
        assert ranks == sorted(ranks)


def test_marks_go_into_the_flags(tmp_path: Path) -> None:
    text = TRICKY.splitlines(keepends=True)
    pair = [line for line in text if line.startswith(("@", "both"))]
    copy = [line.replace("both", "zboth") for line in pair if line.startswith("both")]
    dataset = imported(tmp_path, "".join(pair + copy))
    agd.dedup(dataset)
    marked = agd.open(dataset.url)
    agd.fixmate(marked)
    fixed = agd.open(dataset.url)
    assert "duplicates" not in fixed.columns
    assert [bool(int(x.split("\t")[1]) & 0x400) for x in lines_of(to_sam(fixed))] == [False, False, True, True]
    assert agd.flagstat(fixed).passed["duplicates"] == 2


def test_what_cannot_be_done_is_said(tmp_path: Path) -> None:
    dataset = imported(tmp_path, TRICKY)
    with pytest.raises(UsageError, match="'metadata'"):
        agd.fixmate(agd.drop_column(dataset, "metadata"))
    damaged = imported(tmp_path, TRICKY)
    digest = {**damaged.manifest.digest, "records": {**damaged.manifest.digest["records"], "name": "00000001"}}
    object.__setattr__(damaged.manifest, "digest", digest)
    with pytest.raises(VerificationError, match="name"):
        agd.fixmate(damaged)
    assert agd.open(damaged.url).manifest.generation == 1
    (tmp_path / "r.fq").write_text("@x\nACGT\n+\nIIII\n")
    agd.import_fastq(str(tmp_path / "r.fq"), output=str(tmp_path / "r.agd"))
    with pytest.raises(UsageError, match="'results'"):
        agd.fixmate(agd.open(str(tmp_path / "r.agd")))


@given(st.lists(st.lists(st.tuples(st.integers(0, (1 << 28) - 1), st.integers(0, 8)), max_size=4), max_size=6))
def test_cigars_as_text(records: list[list[tuple[int, int]]]) -> None:
    rows = [[n << 4 | code for n, code in record] for record in records]
    values = np.array([op for row in rows for op in row], np.uint32)
    column = Column.from_lengths(values, np.array([len(row) for row in rows], np.int64))
    assert [text.decode() for text in cigar_texts(column)] == [cigar_text(row) for row in rows]


def test_what_changed_is_counted_by_its_bytes(tmp_path: Path) -> None:
    text = "@SQ\tSN:c1\tLN:1000\n" + "".join(
        f"r{i}\t99\tc1\t5\t9\t4M\t=\t9\t8\tACGT\tIIII\tMC:Z:{mate}\tMQ:i:9\n"
        f"r{i}\t147\tc1\t9\t9\t4M\t=\t5\t-8\tACGT\tIIII\tMC:Z:4M\tMQ:i:9\n"
        for i, mate in enumerate(("4M", "9M", "12M"))
    )
    dataset = imported(tmp_path, text)
    reports = [agd.fixmate(agd.open(dataset.url)), agd.fixmate(agd.open(dataset.url))]
    before, after = ([sorted(x.split("\t")) for x in lines_of(t)] for t in (text, to_sam(agd.open(dataset.url))))
    assert sum(x != y for x, y in zip(before, after, strict=True)) == 2
    assert [report.changed for report in reports] == [2, 0]
