"""Where new datasets go: never over what they are made of, under names that objects can have."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from agd.cli import run
from agd.cli.common import Count
from agd.convert.bam_out import export_bam
from agd.convert.cram import export_cram, import_cram
from agd.convert.records import RawChunk, Source, import_records
from agd.convert.sam_in import import_sam
from agd.dataset import Dataset
from agd.errors import InputError, UsageError
from agd.ops.cat import cat
from agd.run import SerialRunner
from agd.storage import place_of

SAM = "@HD\tVN:1.6\tSO:queryname\n@SQ\tSN:c1\tLN:900\n" + "".join(
    f"r{i}\t{flag}\tc1\t{10 * i + 1}\t60\t4M\t=\t{10 * i + 1}\t4\tACGT\tIIII\n" for i in range(9) for flag in (99, 147)
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a dataset ``s.agd``, which is where commands run."""
    (tmp_path / "s.sam").write_text(SAM)
    import_sam(str(tmp_path / "s.sam"), str(tmp_path / "s.agd"), chunk_records=5)
    (tmp_path / "link.agd").symlink_to("s.agd")
    monkeypatch.chdir(tmp_path)
    return tmp_path


SPELLINGS: list[Callable[[Path], str]] = [
    lambda folder: "s.agd", lambda folder: f"{folder}/./s.agd/", lambda folder: "link.agd",
    lambda folder: f"file://{folder}/s.agd",
]  # fmt: skip

VERBS = [
    ["subset", "-o"], ["cat", "-o"], ["sort", "-o"], ["merge", "-o"], ["collate", "-o"], ["fixmate", "--remove"],
    ["dedup", "--remove"],
]  # fmt: skip


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
@pytest.mark.parametrize("spelling", SPELLINGS, ids=["same", "dot", "link", "url"])
def test_no_step_overwrites_what_it_reads(
    here: Path, verb: list[str], spelling: Callable[[Path], str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in (here / "s.agd").iterdir()}
    assert run([verb[0], "s.agd", verb[1], spelling(here), "--overwrite", "--quiet"]) == 2
    assert {path.name: path.read_bytes() for path in (here / "s.agd").iterdir()} == before
    assert "is the dataset that is read" in capsys.readouterr().err


def test_places_in_remote_stores() -> None:
    assert place_of("s3://b/x.agd/") == place_of("s3a://b/x.agd") != place_of("s3://b/y.agd")
    assert place_of("memory://x/s.agd") == place_of("memory:///x/s.agd/")
    name = f"memory://{uuid.uuid4().hex}/s.agd"
    assert place_of(name) not in (place_of("s.agd"), os.path.realpath("s.agd"))


def test_a_dataset_in_memory_is_not_overwritten_by_its_own_subset(here: Path) -> None:
    url = f"memory://{uuid.uuid4().hex}/s.agd"
    cat([Dataset.open("s.agd")], url)
    with pytest.raises(UsageError, match="is read"):
        cat([Dataset.open(url)], url.replace("memory://", "memory:///"), overwrite=True)
    assert len(Dataset.open(url)) == 18


def test_what_a_dataset_keeps_of_its_reference_is_a_part_of_it(here: Path) -> None:
    cat([Dataset.open("s.agd")], "s.agd/reference.agd")
    inner = Dataset.open("s.agd/reference.agd")
    with pytest.raises(UsageError, match="is read"):
        cat([inner], "s.agd", overwrite=True)
    assert len(Dataset.open(inner.url)) == 18


@pytest.mark.parametrize("name", ["../x", "a/b", "x" * 129, "a\nb", ".tmp-x"])
def test_names_that_objects_cannot_have(here: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(os.listdir(here))
    assert run(["import", "sam", "s.sam", "-o", "n.agd", "--name", name, "--quiet"]) == 2
    assert "is not a name of a dataset" in capsys.readouterr().err
    (here / "list").write_text("s.sam\n")
    assert run(["import", "sam", "--list", "list", "-o", "n.agd", "--name", name, "--quiet"]) == 2
    assert sorted(set(os.listdir(here)) - {"list"}) == before


def test_a_name_stays_as_it_is_given(here: Path) -> None:
    assert run(["import", "sam", "s.sam", "-o", "n.agd", "--name", "Probe 1 (ä)", "--quiet"]) == 0
    assert Dataset.open("n.agd").manifest.name == "Probe 1 (ä)"


@pytest.mark.parametrize("verb", [["import", "sam", "s.sam"], ["import", "sam", "--list", "list"], ["cat", "s.agd"]])
def test_no_dataset_is_made_in_a_stream(here: Path, verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    (here / "list").write_text("s.sam\n")
    before = sorted(os.listdir(here))
    assert run([*verb, "-o", "-", "--quiet"]) == 2
    assert "a dataset is no stream" in capsys.readouterr().err
    assert sorted(os.listdir(here)) == before


def test_an_input_that_is_not_there_costs_no_dataset(here: Path) -> None:
    (here / "list").write_text("nowhere.sam\n")
    assert run(["import", "sam", "--list", "list", "-o", "s.agd", "--overwrite", "--quiet"]) == 1
    assert len(Dataset.open("s.agd")) == 18
    assert sorted(os.listdir(here)) == ["link.agd", "list", "s.agd", "s.sam"]


def test_many_files_that_cannot_be_joined_cost_no_dataset(here: Path) -> None:
    (here / "other.sam").write_text(SAM.replace("c1", "c2"))
    (here / "list").write_text("s.sam\nother.sam\n")
    assert run(["import", "sam", "--list", "list", "-o", "s.agd", "--overwrite", "--quiet"]) == 2
    assert len(Dataset.open("s.agd")) == 18
    (here / "twice").write_text("s.sam\ns.sam\n")
    assert run(["gc", "s.agd", "--drafts"]) == 0
    assert run(["import", "sam", "--list", "twice", "-o", "s.agd", "--overwrite", "--quiet"]) == 0
    assert len(Dataset.open("s.agd")) == 36
    assert sorted(os.listdir(here)) == ["link.agd", "list", "other.sam", "s.agd", "s.sam", "twice"]


def test_a_file_whose_first_chunk_is_damaged_costs_no_dataset(here: Path) -> None:
    def chunks() -> Iterator[RawChunk]:
        raise InputError("r.cram", "is damaged")
        yield

    source = Source("r.cram", "cram", "", (), chunks(), lambda raw: raw.data, lambda: 0)
    with pytest.raises(InputError, match="damaged"):
        import_records(source, "s.agd", plan={}, overwrite=True, runner=SerialRunner(), ahead=1)
    assert len(Dataset.open("s.agd")) == 18


@pytest.mark.parametrize("kind", ["sam", "bam", "cram", "list"])
@pytest.mark.parametrize("count", ["0", "0.4", "-5", "inf", "20M"])
def test_chunks_hold_records(here: Path, kind: str, count: str) -> None:
    ds = Dataset.open("s.agd")
    export_bam(ds, "s.bam")
    export_cram(ds, "s.cram", embed=True)
    (here / "list").write_text("s.bam\n")
    files = ["bam", "--list", "list"] if kind == "list" else [kind, f"s.{kind}"]
    assert run(["import", *files, "-o", "s.agd", "--overwrite", "--quiet", f"--chunk-records={count}"]) == 2
    assert len(Dataset.open("s.agd")) == 18
    with pytest.raises(UsageError, match="chunks of 0 records"):
        import_sam("s.sam", "n.agd", chunk_records=0)
    with pytest.raises(UsageError, match="chunks of 0 records"):
        import_cram("s.cram", "n.agd", chunk_records=0)


@pytest.mark.parametrize(
    ("text", "number"), [("7", 7), ("100,000", 100_000), ("100k", 100_000), ("1.5M", 1_500_000), ("1e3", 1000)]
)
def test_counts(text: str, number: int) -> None:
    assert Count().convert(text, None, None) == number


@pytest.mark.parametrize(
    "text", ["", "k", "1kk", "1km", "0.4", "1.5", "1,5M", "-5", "0", "inf", "nan", "1_000", "\u0663", "1 k"]
)
def test_what_is_no_count(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Count().convert(text, None, None)


@pytest.mark.parametrize("other", ["out.fq", "./out.fq", "link.fq", "file:{here}/out.fq"])
def test_two_outputs_are_never_one_file(here: Path, other: str, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "link.fq").symlink_to("out.fq")
    other = other.format(here=here).replace("file:", "file://")
    assert run(["export", "fastq", "s.agd", "-o", "out.fq", "-2", other]) == 2
    assert run(["export", "fastq", "s.agd", "-o", "out.fq", "--singletons", other]) == 2
    simulate = ["simulate", "--genome-length", "9000", "-n", "5", "--quiet"]
    for files in (["out.fq", other], ["out.fq", "--truth", other], ["out.fq", "--genome", other],
                  ["r1.fq", "r2.fq", "--truth", "out.fq", "--genome", other],
                  ["out.fq", "--reference", other]):  # fmt: skip
        assert run([*simulate, *files]) == 2
    assert capsys.readouterr().err.count("two files are the same") == 7
    assert not (here / "out.fq").exists()
    assert run([*simulate, os.devnull, os.devnull]) == 0
    assert run([*simulate, "r1.fq", "r2.fq", "--genome", "g.fa", "--truth", "t"]) == 0
    assert run([*simulate, "g.fa.fai", "--genome", "g.fa"]) == 2
