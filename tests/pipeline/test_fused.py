"""Aligning and sorting in one go gives what the steps give one after the other."""

from __future__ import annotations

import shutil
from pathlib import Path

import pysam
import pytest

import agd
from agd.aligners.align import align
from agd.pipeline import align_sorted, pipeline
from agd.run import ThreadRunner

READ_GROUP = r"@RG\tID:s\tSM:s\tLB:l"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fused")
    agd.simulate(
        str(folder / "1.fq"), str(folder / "2.fq"), pairs=400, genome=str(folder / "ref.fa"), genome_length=60_000,
        contigs=2, read_length=100, seed=5,
    )  # fmt: skip
    agd.import_fastq(str(folder / "1.fq"), str(folder / "2.fq"), output=str(folder / "s.agd"), chunk_records=100)
    agd.import_fastq(str(folder / "1.fq"), str(folder / "2.fq"), output=str(folder / "a.agd"), chunk_records=100)
    align(agd.open(str(folder / "a.agd")), str(folder / "ref.fa"), read_group=READ_GROUP)
    agd.sort(agd.open(str(folder / "a.agd")), str(folder / "steps.agd"))
    return folder


def text(dataset: agd.Dataset, path: Path) -> str:
    agd.export_sam(dataset, str(path), header=False)
    return path.read_text()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("chunk_records", [7, 100_000])
def test_fused_equals_the_steps(folder: Path, tmp_path: Path, workers: int, chunk_records: int) -> None:
    steps = agd.open(str(folder / "steps.agd"))
    with ThreadRunner(workers) as runner:
        report = align_sorted(
            agd.open(str(folder / "s.agd")), str(folder / "ref.fa"), str(tmp_path / "f.agd"), read_group=READ_GROUP,
            chunk_records=chunk_records, runner=runner, bam=str(tmp_path / "f.bam"),
        )  # fmt: skip
    fused = agd.open(str(tmp_path / "f.agd"))
    assert text(fused, tmp_path / "f.sam") == text(steps, tmp_path / "s.sam")
    assert fused.manifest.digest == steps.manifest.digest
    assert fused.manifest.references == steps.manifest.references
    assert fused.manifest.sort_order == steps.manifest.sort_order
    assert [s["program"] for s in fused.manifest.steps] == [s["program"] for s in steps.manifest.steps]
    assert (report.reads, report.spilled_bytes) == (800, 0)
    assert pysam.samtools.view(str(tmp_path / "f.bam")) == (tmp_path / "s.sam").read_text()


def test_spilling_changes_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agd.aligners.fused._budget", lambda *_: (100_000, 1))
    report = align_sorted(
        agd.open(str(folder / "s.agd")), str(folder / "ref.fa"), str(tmp_path / "f.agd"), read_group=READ_GROUP
    )
    assert report.spilled_bytes > 0
    fused = agd.open(str(tmp_path / "f.agd"))
    assert text(fused, tmp_path / "f.sam") == text(agd.open(str(folder / "steps.agd")), tmp_path / "s.sam")
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_from_reads_to_bam_in_one_go(folder: Path, tmp_path: Path) -> None:
    report = pipeline(
        folder / "1.fq", folder / "2.fq", reference=str(folder / "ref.fa"), bam=str(tmp_path / "p.bam"),
        dataset=tmp_path / "p.agd", read_group=READ_GROUP, chunk_records=50,
    )  # fmt: skip
    shutil.copytree(folder / "steps.agd", tmp_path / "steps.agd")
    agd.dedup(agd.open(str(tmp_path / "steps.agd")))
    steps = agd.open(str(tmp_path / "steps.agd"))
    assert "duplicates" in steps.columns
    assert report.duplicates
    assert text(agd.open(str(tmp_path / "p.agd")), tmp_path / "p.sam") == text(steps, tmp_path / "s.sam")
    assert agd.open(str(tmp_path / "p.agd")).manifest.digest["reads"] == steps.manifest.digest["reads"]
    assert report.reads == 800
    pysam.quickcheck(str(tmp_path / "p.bam"))
    # Of a pipeline without a dataset only the BAM file and its index stay.
    only = pipeline(
        folder / "1.fq", folder / "2.fq", reference=str(folder / "ref.fa"), bam=str(tmp_path / "o.bam"),
        read_group=READ_GROUP,
    )  # fmt: skip
    assert only.dataset == ""
    assert pysam.samtools.view(str(tmp_path / "o.bam")) == pysam.samtools.view(str(tmp_path / "p.bam"))
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []
