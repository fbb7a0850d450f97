"""Aligning and sorting in one go gives what the steps give one after the other."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pysam
import pytest

import agd
from agd.aligners.align import align
from agd.aligners.fused import Bounds, FusedReport, align_dataset_sorted
from agd.chunkfile import unframe
from agd.errors import DatasetExistsError, StorageError, UsageError, VerificationError
from agd.ops.digest import Digest, differences
from agd.pipelines import PipelineReport, align_sorted, pipeline
from agd.run import ThreadRunner
from agd.storage import LocalStorage
from agd.testing import content_digest

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


def assert_same_digest(fused: agd.Dataset, steps: agd.Dataset) -> None:
    """The fused run has seen the qualities of all lines, aligning alone does not look at them."""
    assert differences(steps.manifest.digest, Digest.from_json(fused.manifest.digest)) == []
    assert set(fused.manifest.digest["records"]) - set(steps.manifest.digest["records"]) == {"qual"}


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
    assert_same_digest(fused, steps)
    assert fused.manifest.references == steps.manifest.references
    assert fused.manifest.sort_order == steps.manifest.sort_order
    assert [s["program"] for s in fused.manifest.steps] == [s["program"] for s in steps.manifest.steps]
    assert (report.reads, report.spilled_bytes) == (800, 0)
    assert pysam.samtools.view(str(tmp_path / "f.bam")) == (tmp_path / "s.sam").read_text()


@pytest.fixture(scope="module")
def tied(folder: Path) -> Path:
    """The same reads with all qualities alike, so that names decide which duplicate stays."""
    for number in (1, 2):
        lines = (folder / f"{number}.fq").read_text().splitlines()
        lines[3::4] = ["I" * len(line) for line in lines[3::4]]
        (folder / f"{number}-tied.fq").write_text("\n".join(lines) + "\n")
    for name in ("ts.agd", "ta.agd"):
        agd.import_fastq(
            str(folder / "1-tied.fq"), str(folder / "2-tied.fq"), output=str(folder / name), chunk_records=100
        )
    align(agd.open(str(folder / "ta.agd")), str(folder / "ref.fa"), read_group=READ_GROUP)
    return folder


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("chunk_records", [7, 130, 100_000])
@pytest.mark.parametrize("spill", [False, True])
def test_duplicates_are_marked_on_the_way(
    tied: Path, tmp_path: Path, workers: int, chunk_records: int, spill: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    agd.sort(agd.open(str(tied / "ta.agd")), str(tmp_path / "steps.agd"), chunk_records=chunk_records)
    marked = agd.dedup(agd.open(str(tmp_path / "steps.agd"))).marked
    read: list[str] = []
    get = LocalStorage.get

    def watched(self: LocalStorage, key: str, start: int = 0, stop: int | None = None) -> bytes:
        read.append(key)
        return get(self, key, start, stop)

    monkeypatch.setattr(LocalStorage, "get", watched)
    if spill:
        monkeypatch.setattr("agd.aligners.fused._bounds", lambda *_: Bounds(20_000, 1, 2))
    with ThreadRunner(workers) as runner:
        report = align_sorted(
            agd.open(str(tied / "ts.agd")), str(tied / "ref.fa"), str(tmp_path / "f.agd"), read_group=READ_GROUP,
            chunk_records=chunk_records, dedup=True, runner=runner,
        )  # fmt: skip
    monkeypatch.undo()
    assert not [key for key in read if key.startswith("f-")]
    assert bool(report.spilled_bytes) == spill
    assert report.duplicates == marked > 20
    fused, steps = agd.open(str(tmp_path / "f.agd")), agd.open(str(tmp_path / "steps.agd"))
    assert text(fused, tmp_path / "f.sam") == text(steps, tmp_path / "s.sam")
    assert_same_digest(fused, steps)
    assert [s["program"] for s in fused.manifest.steps] == [s["program"] for s in steps.manifest.steps]
    assert fused.manifest.steps[-1] == steps.manifest.steps[-1]
    assert fused.manifest.columns["duplicates"] == steps.manifest.columns["duplicates"]
    for ours, theirs in zip(fused.chunks, steps.chunks, strict=True):
        assert ours.cells["duplicates"].statistics == theirs.cells["duplicates"].statistics
        blobs = [ds.fetch(chunk, ["duplicates"])["duplicates"] for ds, chunk in ((fused, ours), (steps, theirs))]
        assert bytes(unframe(blobs[0], "")[2]) == bytes(unframe(blobs[1], "")[2])
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("failing", ["results", "duplicates", "manifest"])
def test_what_a_full_disk_stopped_goes_on(
    tied: Path, tmp_path: Path, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = LocalStorage.put
    left = {"results": 5, "duplicates": 2}

    def full(self: LocalStorage, key: str, data: bytes, *, exclusive: bool = False) -> None:
        if failing in key:
            left[failing] = left.get(failing, 0) - 1
            if left[failing] < 0:
                raise StorageError(f"{key}: No space left on device")
        put(self, key, data, exclusive=exclusive)

    def work(name: str) -> FusedReport:
        with ThreadRunner(2) as runner:
            return align_dataset_sorted(
                agd.open(str(tied / "ts.agd")), str(tied / "ref.fa"), tmp_path / name, read_group=READ_GROUP,
                chunk_records=50, dedup=True, runner=runner,
            )  # fmt: skip

    monkeypatch.setattr(LocalStorage, "put", full)
    with pytest.raises(StorageError, match="No space left"):
        work("f.agd")
    monkeypatch.undo()
    kept = {p.name: p.stat().st_ino for p in (tmp_path / "f.agd").iterdir() if p.name.startswith("f-0")}
    assert len(kept) > 5
    assert not (tmp_path / "f.agd" / "manifest.json").exists()
    report = work("f.agd")
    assert report.kept >= 4
    assert work("g.agd").kept == 0
    assert content_digest(agd.open(str(tmp_path / "f.agd"))) == content_digest(agd.open(str(tmp_path / "g.agd")))
    assert {name: (tmp_path / "f.agd" / name).stat().st_ino for name in kept} == kept


def test_what_programs_print_is_not_mixed_with_an_earlier_run(
    tied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("bwa") is None:
        pytest.skip("bwa is not installed")
    put, left = LocalStorage.put, [5]

    def full(self: LocalStorage, key: str, data: bytes, *, exclusive: bool = False) -> None:
        left[0] -= key.endswith("results")
        if left[0] < 0:
            raise StorageError(f"{key}: No space left on device")
        put(self, key, data, exclusive=exclusive)

    def work() -> FusedReport:
        return align_dataset_sorted(
            agd.open(str(tied / "ts.agd")), str(tied / "ref.fa"), tmp_path / "f.agd", read_group=READ_GROUP,
            aligner="bwa", chunk_records=50, dedup=True,
        )  # fmt: skip

    monkeypatch.setattr(LocalStorage, "put", full)
    with pytest.raises(StorageError, match="No space left"):
        work()
    monkeypatch.undo()
    assert work().kept == 0
    shutil.copytree(tied / "ts.agd", tmp_path / "a.agd")
    align(agd.open(str(tmp_path / "a.agd")), str(tied / "ref.fa"), read_group=READ_GROUP, aligner="bwa")
    agd.sort(agd.open(str(tmp_path / "a.agd")), str(tmp_path / "s.agd"), chunk_records=50)
    agd.dedup(agd.open(str(tmp_path / "s.agd")))
    fused, steps = agd.open(str(tmp_path / "f.agd")), agd.open(str(tmp_path / "s.agd"))
    assert text(fused, tmp_path / "f.sam") == text(steps, tmp_path / "s.sam")
    ours, theirs = (ds.manifest.digest["records"] for ds in (fused, steps))
    assert theirs.items() <= ours.items()  # bwa is given no names and no qualities, so that step knows less


def test_what_cannot_go_on_leaves_nothing(tied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise VerificationError("broken")

    monkeypatch.setattr("agd.ops.dedup_find.Finder.find", broken)
    with pytest.raises(VerificationError, match="broken"):
        align_sorted(
            agd.open(str(tied / "ts.agd")), str(tied / "ref.fa"), tmp_path / "f.agd", chunk_records=50, dedup=True
        )
    assert list(tmp_path.iterdir()) == []


def test_spilling_changes_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agd.aligners.fused._bounds", lambda *_: Bounds(100_000, 1, 2))
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
    # Of a pipeline without a dataset only the BAM file and its index stay, and nothing of one that was killed.
    (tmp_path / ".agd-pipeline-killed").mkdir()
    only = pipeline(
        folder / "1.fq", folder / "2.fq", reference=str(folder / "ref.fa"), bam=str(tmp_path / "o.bam"),
        read_group=READ_GROUP,
    )  # fmt: skip
    assert only.dataset == ""
    assert pysam.samtools.view(str(tmp_path / "o.bam")) == pysam.samtools.view(str(tmp_path / "p.bam"))
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []


def test_bam_into_a_pipe(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **options: object) -> None:
        raise AssertionError("who reads from the pipe would have met its end")

    def work(bam: Path) -> None:
        pipeline(
            folder / "1.fq", folder / "2.fq", reference=str(folder / "ref.fa"), bam=str(bam), command="the same"
        )  # fmt: skip

    os.mkfifo(tmp_path / "pipe")
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / "pipe").read_bytes()), daemon=True)
    reader.start()
    with monkeypatch.context() as patch:
        patch.setattr("agd.pipelines.open_output", refuse)
        work(tmp_path / "pipe")
    reader.join()
    work(tmp_path / "file.bam")
    assert found == [(tmp_path / "file.bam").read_bytes()]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file.bam", "file.bam.bai", "pipe"]


def test_what_stopped_while_bam_was_written_goes_on_there(folder: Path, tmp_path: Path) -> None:
    def work(**options: Any) -> PipelineReport:
        return pipeline(
            folder / "1.fq", folder / "2.fq", reference=str(folder / "ref.fa"), read_group=READ_GROUP,
            **{"dataset": tmp_path / "p.agd", "bam": str(tmp_path / "p.bam"), "chunk_records": 50, **options},
        )  # fmt: skip

    def full(*_: object, **options: object) -> None:
        raise StorageError("No space left on device")

    with pytest.raises(StorageError, match="missing"):
        work(bam=str(tmp_path / "missing" / "p.bam"))
    assert list(tmp_path.iterdir()) == []  # nothing was aligned for a file that cannot be written
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agd.pipelines.export_bam", full)
        with pytest.raises(StorageError, match="No space left"):
            work()
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "p.agd").iterdir()}
    report = work()
    assert {p.name: p.stat().st_mtime_ns for p in (tmp_path / "p.agd").iterdir()} == before
    whole = work(dataset=tmp_path / "q.agd", bam=str(tmp_path / "q.bam"))
    assert (report.reads, report.records, report.mapped, report.duplicates) == (
        whole.reads, whole.records, whole.mapped, whole.duplicates
    )  # fmt: skip
    assert pysam.samtools.view(str(tmp_path / "p.bam")) == pysam.samtools.view(str(tmp_path / "q.bam"))
    for options in ({"dedup": False}, {"chunk_records": 60}, {"bam": None}):
        with pytest.raises(DatasetExistsError):
            work(**options)
    agd.drop_column(agd.open(str(tmp_path / "p.agd")), "qualities")
    with pytest.raises(DatasetExistsError):
        work()


def test_a_file_is_not_named_like_a_dataset(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="write datasets with --dataset"):
        pipeline("reads.fq", reference="ref.fa", bam=str(tmp_path / "s.agd"))
    assert list(tmp_path.iterdir()) == []
