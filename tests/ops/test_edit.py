"""Columns, headers, concatenation and merging; samtools is the oracle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pysam
import pytest
from click.testing import CliRunner

import agd
import agd.ops.history as history_module
from agd.cli import agd as group
from agd.errors import ColumnError, FormatError, UsageError
from agd.generations import load_manifest
from agd.ops.edit import edit
from agd.ops.history import checkout, history
from agd.ops.verify import verify

HEADER = "@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:chr1\tLN:1000\n@SQ\tSN:chr2\tLN:500\n"


def lines(prefix: str, group: str, places: list[int]) -> str:
    return "".join(
        f"{prefix}{i}\t0\tchr1\t{place}\t60\t4M\t*\t0\t0\tACGT\tIIII\tRG:Z:{group}\n" for i, place in enumerate(places)
    )


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    paths = []
    for name, places in (("a", [1, 5, 5, 900]), ("b", [2, 5, 6, 899])):
        path = tmp_path / f"{name}.sam"
        path.write_text(f"{HEADER}@RG\tID:{name}\tSM:s\n" + lines(name, name, places))
        agd.import_sam(str(path), str(tmp_path / f"{name}.agd"), chunk_records=3)
        paths.append(path)
    return paths


def text(url: Path) -> str:
    out = url.with_suffix(".txt")
    agd.export_sam(agd.open(str(url)), str(out), header=False)
    return out.read_text()


def test_cat_keeps_where_all_of_it_came_from(two: list[Path], tmp_path: Path) -> None:
    datasets = [agd.open(str(path.with_suffix(".agd"))) for path in two]
    agd.cat([*datasets, datasets[0]], str(tmp_path / "c.agd"))
    steps = agd.open(str(tmp_path / "c.agd")).manifest.steps
    assert list(steps[:-1]) == [*datasets[0].manifest.steps, *datasets[1].manifest.steps]
    assert steps[-1]["program"] == "agd cat"


def test_cat_keeps_all_records_in_order(two: list[Path], tmp_path: Path) -> None:
    datasets = [agd.open(str(tmp_path / f"{name}.agd")) for name in "ab"]
    report = agd.cat(datasets, tmp_path / "c.agd")
    assert report.records == 8
    assert text(tmp_path / "c.agd") == "".join(pysam.samtools.view(str(path)) for path in two)
    joined = agd.open(str(tmp_path / "c.agd"))
    assert [line.split("\t")[1] for line in joined.manifest.header.split("\n") if line.startswith("@RG")] == [
        "ID:a", "ID:b",
    ]  # fmt: skip
    assert joined.manifest.digest["reads"]["count"] == 8
    assert set(joined.manifest.digest["read_groups"]) == {"a", "b"}


def test_cat_refuses_what_does_not_fit(two: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "o.sam"
    other.write_text("@SQ\tSN:chr9\tLN:7\n")
    agd.import_sam(str(other), str(tmp_path / "o.agd"))
    with pytest.raises(UsageError, match="references"):
        agd.cat([agd.open(str(tmp_path / "a.agd")), agd.open(str(tmp_path / "o.agd"))], tmp_path / "x.agd")
    assert not (tmp_path / "x.agd").exists()
    other.write_text(f"{HEADER}@RG\tID:a\tSM:other\n")
    agd.import_sam(str(other), str(tmp_path / "g.agd"))
    with pytest.raises(UsageError, match="two read groups are called a"):
        agd.cat([agd.open(str(tmp_path / "a.agd")), agd.open(str(tmp_path / "g.agd"))], tmp_path / "x.agd")


@pytest.mark.parametrize("profile", ["fast", "balanced"])
def test_cat_joins_headers_as_samtools_merge_does(profile: str, tmp_path: Path) -> None:
    paths = []
    for name, command in (("a", "bwa mem -K 1"), ("b", "bwa mem -K 2")):
        path = tmp_path / f"{name}.sam"
        records = lines(name, "g", [1, 5, 6]).replace("\n", "\tPG:Z:bwa\n", 2)
        path.write_text(f"{HEADER}@RG\tID:g\tSM:s\n@PG\tID:bwa\tPN:bwa\tCL:{command}\n@CO\tlane\n{records}")
        agd.import_sam(str(path), str(tmp_path / f"{name}.agd"), chunk_records=2, profile=profile)
        paths.append(str(path))
    agd.cat([agd.open(str(tmp_path / f"{name}.agd")) for name in "ab"], tmp_path / "c.agd")
    joined = agd.open(str(tmp_path / "c.agd"))
    own = [x for x in joined.manifest.header.split("\n") if x[:3] in ("@PG", "@CO")]
    assert own == ["@PG\tID:bwa\tPN:bwa\tCL:bwa mem -K 1", "@PG\tID:bwa-1\tPN:bwa\tCL:bwa mem -K 2"] + ["@CO\tlane"] * 2
    pysam.samtools.merge("-u", "-c", "-o", str(tmp_path / "m.bam"), *paths, catch_stdout=False)
    theirs = pysam.samtools.view("-h", "--no-PG", str(tmp_path / "m.bam")).split("\n")
    suffix = next(x for x in theirs if "-K 2" in x).split("\t")[1].removeprefix("ID:bwa")  # samtools: a random one
    expected = sorted(x.replace(f"bwa{suffix}", "bwa-1") for x in theirs if x[:1] in "ab" and x)
    assert sorted(text(tmp_path / "c.agd").split("\n")[:-1]) == expected
    assert "\tPG:Z:bwa-1" in expected[-2]
    assert not verify(joined, deep=True).problems
    assert joined.manifest.digest["read_groups"]["g"]["count"] == 6
    assert {"seq", "name", "qual", "pos"} < joined.manifest.digest["records"].keys()
    assert "aux" not in joined.manifest.digest["records"]


def test_merge_equals_samtools_merge(two: list[Path], tmp_path: Path) -> None:
    agd.merge([agd.open(str(tmp_path / f"{name}.agd")) for name in "ab"], tmp_path / "m.agd", chunk_records=3)
    for path in two:
        pysam.samtools.view("-b", "-o", f"{path}.bam", str(path), catch_stdout=False)
    pysam.samtools.merge("-o", str(tmp_path / "m.bam"), *(f"{path}.bam" for path in two), catch_stdout=False)
    assert text(tmp_path / "m.agd") == pysam.samtools.view(str(tmp_path / "m.bam"))
    assert agd.open(str(tmp_path / "m.agd")).manifest.sort_order == "coordinate"
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
    agd.cat([agd.open(str(tmp_path / f"{name}.agd")) for name in "ab"], tmp_path / "c.agd")
    with pytest.raises(UsageError, match="one order"):
        agd.merge([agd.open(str(tmp_path / f"{name}.agd")) for name in "ac"], tmp_path / "n.agd")


def test_columns_are_dropped_and_renamed_without_touching_objects(two: list[Path], tmp_path: Path) -> None:
    ds = agd.open(str(tmp_path / "a.agd"))
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "a.agd").glob("a-*")}
    renamed = agd.rename_column(ds, "tags", "fields")
    assert "fields" in renamed.columns
    assert "tags" not in renamed.columns
    assert bytes(agd.open(ds.url)[0:1].ragged("fields")[0]).startswith(b"RGZa")
    dropped = agd.drop_column(renamed, "qualities")
    assert "qualities" not in dropped.columns
    assert {p.name: p.stat().st_mtime_ns for p in (tmp_path / "a.agd").glob("a-*")} == before
    assert "qualities" in agd.open(f"{ds.url}@1").columns
    assert "qualities" in dropped.manifest.retired  # another column of this name must not take its objects
    with pytest.raises(ColumnError, match="no column"):
        agd.drop_column(ds, "qualities")
    with pytest.raises(ColumnError, match="already"):
        agd.rename_column(ds, "bases", "fields")


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a-b", "~", "1st", "x" * 65, "ordinal", "secondary0", "secondaryx"])
def test_names_that_no_column_can_have(two: list[Path], tmp_path: Path, name: str) -> None:
    ds = agd.open(str(tmp_path / "a.agd"))
    for column in ("tags", "results"):
        with pytest.raises(ColumnError, match="name"):
            agd.rename_column(ds, column, name)
    assert agd.open(ds.url).manifest == ds.manifest


def test_standard_names_are_for_columns_of_their_type(two: list[Path], tmp_path: Path) -> None:
    ds = agd.open(str(tmp_path / "a.agd"))
    for column, name in (("tags", "duplicates"), ("results", "duplicates")):
        with pytest.raises(ColumnError, match="uses itself"):
            agd.rename_column(ds, column, name)
    wide = agd.append_column(ds, "wide", np.zeros(len(ds), np.int32))
    with pytest.raises(ColumnError, match="uses itself"):
        agd.rename_column(wide, "wide", "duplicates")
    marks = agd.append_column(wide, "marks", np.ones(len(ds), np.uint8))
    marked = agd.rename_column(marks, "marks", "duplicates")
    assert all(flag & 0x400 for batch in marked.batches() for flag in batch.alignments().flag)
    with pytest.raises(ColumnError, match="marks belong to"):
        agd.rename_column(marked, "results", "other")
    away = agd.rename_column(agd.rename_column(marked, "duplicates", "strict"), "tags", "fields")
    assert "tags" in agd.rename_column(away, "fields", "tags").columns


def test_reheader_writes_one_manifest(two: list[Path], tmp_path: Path) -> None:
    ds = agd.open(str(tmp_path / "a.agd"))
    text_before = text(tmp_path / "a.agd")
    agd.reheader(ds, HEADER.replace("chr1", "one") + "@RG\tID:a\tSM:new\n")
    after = agd.open(ds.url)
    assert after.manifest.references[0].name == "one"
    assert "SM:new" in after.manifest.header
    assert text(tmp_path / "a.agd") == text_before.replace("chr1", "one")
    for bad in ("@SQ\tSN:chr1\tLN:999\n@SQ\tSN:chr2\tLN:500\n", "no header", "@SQ\tSN:x\n"):
        with pytest.raises(UsageError):
            agd.reheader(after, bad)


def test_a_generation_that_could_not_be_read_again_is_never_published(two: list[Path], tmp_path: Path) -> None:
    ds = agd.open(str(tmp_path / "a.agd"))
    with pytest.raises(FormatError, match="not a name"):
        edit(ds, lambda m: replace(m, columns={"a\nb": m.columns["bases"]}, chunks=()), {"program": "test"})
    newer = agd.drop_column(ds, "tags")
    old = load_manifest(ds.storage, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history_module, "load_manifest", lambda s, n=None: replace(old, names="?") if n else old)
        with pytest.raises(FormatError, match="names"):
            checkout(ds, 1)
    assert agd.open(ds.url).manifest == newer.manifest


def test_the_log_says_which_generations_cannot_be_read(two: list[Path], tmp_path: Path) -> None:
    ds = agd.open(str(tmp_path / "a.agd"))
    for column in ("tags", "qualities"):
        ds = agd.drop_column(ds, column)
    ds.storage.put("manifest-000002.json", b"{")
    first, second, third = history(ds)
    assert (first.unreadable, third.unreadable) == ("", "")
    assert "manifest-000002.json" in second.unreadable
    assert second.to_json() == {"generation": 2, "unreadable": second.unreadable}
    assert [step["parameters"] for step in third.steps] == [{"column": "tags"}, {"column": "qualities"}]
    printed = CliRunner().invoke(group, ["log", ds.url])
    assert (printed.exit_code, "generation 2: cannot be read: " in printed.output) == (0, True)
