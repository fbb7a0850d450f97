"""Wherever a url is taken, a path is, too."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import agd

#: Parameters of public functions that say where something is.
PLACES = {
    "url", "path", "output", "output2", "singletons", "reads1", "reads2", "read1", "read2", "reference", "genome",
    "truth", "bam", "tmp", "metrics", "remove",
}  # fmt: skip

#: One of these names that says something else.
OTHERS = {("fixmate", "remove")}


def test_signatures_take_paths() -> None:
    found = {
        (name, parameter.name): str(parameter.annotation)
        for name in agd.__all__
        if inspect.isfunction(function := getattr(agd, name))
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name in PLACES and (name, parameter.name) not in OTHERS
    }
    assert len(found) > 30
    assert {place: text for place, text in found.items() if "Url" not in text and "PathLike" not in text} == {}


def test_the_package_is_typed() -> None:
    assert Path(agd.__file__).with_name("py.typed").exists()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reads, their dataset, and sorted alignments, all made by way of paths."""
    at = tmp_path_factory.mktemp("paths")
    agd.simulate(
        at / "1.fq.gz", at / "2.fq.gz", pairs=100, genome=at / "ref.fa", truth=at / "truth.tsv", genome_length=20_000
    )
    agd.import_fastq(at / "1.fq.gz", at / "2.fq.gz", output=at / "reads.agd")
    agd.align(agd.open(at / "reads.agd"), at / "ref.fa")
    agd.sort(agd.open(at / "reads.agd"), at / "sorted.agd", tmp=at)
    agd.export_bam(agd.open(at / "sorted.agd"), at / "s.bam")
    return at


def test_records_go_out_and_in(folder: Path, tmp_path: Path) -> None:
    sorted_ = agd.open(folder / "sorted.agd", reference=folder / "ref.fa")
    agd.export_sam(sorted_, tmp_path / "s.sam")
    agd.export_cram(sorted_, tmp_path / "s.cram", reference=folder / "ref.fa")
    agd.import_bam(folder / "s.bam", tmp_path / "bam.agd")
    agd.import_sam(tmp_path / "s.sam", tmp_path / "sam.agd")
    agd.import_cram(tmp_path / "s.cram", tmp_path / "cram.agd", reference=folder / "ref.fa")
    assert (folder / "s.bam.bai").exists()
    for name in ("bam", "sam", "cram"):
        assert len(agd.open(tmp_path / f"{name}.agd")) == len(sorted_)


def test_steps_take_paths(folder: Path, tmp_path: Path) -> None:
    agd.sort_bam(folder / "s.bam", tmp_path / "names.bam", by="queryname", tmp=tmp_path)
    agd.dedup(agd.open(folder / "sorted.agd"), metrics=tmp_path / "metrics.txt", tmp=tmp_path, overwrite=True)
    agd.recompress(agd.open(folder / "sorted.agd"), profile="small", reference=folder / "ref.fa")
    report = agd.report(agd.open(folder / "sorted.agd", reference=folder / "ref.fa"))
    report.save(tmp_path / "report.html")
    report.save(tmp_path / "report.json")
    report.save_multiqc(tmp_path / "multiqc")
    made = {path.name for path in tmp_path.iterdir()}
    assert made >= {"names.bam", "metrics.txt", "report.html", "report.json", "multiqc"}


def test_pipelines_take_paths(folder: Path, tmp_path: Path) -> None:
    done = agd.pipeline(
        folder / "1.fq.gz", folder / "2.fq.gz", reference=folder / "ref.fa", bam=tmp_path / "p.bam",
        dataset=tmp_path / "p.agd",
    )  # fmt: skip
    agd.import_fastq(folder / "1.fq.gz", folder / "2.fq.gz", output=tmp_path / "reads.agd")
    again = agd.align_sorted(
        agd.open(tmp_path / "reads.agd"), folder / "ref.fa", tmp_path / "q.agd", bam=tmp_path / "q.bam", dedup=True
    )
    assert (done.dataset, done.bam) == (str(tmp_path / "p.agd"), str(tmp_path / "p.bam"))
    assert again.records == done.records == len(agd.open(tmp_path / "q.agd"))
    assert (tmp_path / "p.bam.bai").exists()
    assert (tmp_path / "q.bam.bai").exists()
