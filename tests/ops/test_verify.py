"""Verifying: sound datasets are, and every kind of damage is found and placed."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agd.cli import run
from agd.convert.against import compare_with_source
from agd.convert.bam_in import import_bam
from agd.convert.cram import export_cram
from agd.convert.fastq import import_fastq
from agd.convert.sam_in import import_sam
from agd.convert.sam_out import export_sam
from agd.dataset import Dataset
from agd.draft import Draft, columns_of
from agd.manifest import Chunk
from agd.ops.collate import collate
from agd.ops.sort import sort
from agd.ops.verify import verify

LINE = "{n}\t{f}\tc1\t{p}\t60\t4M\t=\t{m}\t{t}\tACGT\tIIII\tNM:i:0\n"


def text(places: list[int], head: str = "@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:c1\tLN:1000\n") -> str:
    """Pairs whose first reads are at these places and their mates 10 further, in the order of the places."""
    lines = []
    for i, place in enumerate(places):
        lines.append((place, LINE.format(n=f"r{i}", f=99, p=place, m=place + 10, t=14)))
        lines.append((place + 10, LINE.format(n=f"r{i}", f=147, p=place + 10, m=place, t=-14)))
    return head + "".join(line for _, line in sorted(lines))


def load(folder: Path, sam: str, name: str = "s") -> Dataset:
    (folder / f"{name}.sam").write_text(sam)
    import_sam(str(folder / f"{name}.sam"), str(folder / f"{name}.agd"), chunk_records=4)
    return Dataset.open(str(folder / f"{name}.agd"))


@pytest.fixture
def sound(tmp_path: Path) -> Dataset:
    return load(tmp_path, text([1, 2, 50, 51, 90, 300, 301]))


@pytest.mark.parametrize("deep", [False, True])
def test_a_sound_dataset(sound: Dataset, deep: bool) -> None:
    report = verify(sound, deep=deep)
    assert report.problems == ()
    assert report.notes == ()
    assert report.objects == 4 * 5
    assert report.records == (14 if deep else 0)


@pytest.mark.parametrize("column", ["bases", "qualities", "metadata", "results", "tags"])
@pytest.mark.parametrize("damage", ["missing", "short", "long", "header", "payload", "swapped"])
def test_damage_is_named(sound: Dataset, column: str, damage: str) -> None:
    path = Path(sound.url) / sound.manifest.object_key(column, 4)
    data = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "short":
        path.write_bytes(data[:-1])
    elif damage == "long":
        path.write_bytes(data + b"x")
    elif damage == "swapped":
        path.write_bytes((Path(sound.url) / sound.manifest.object_key(column, 8)).read_bytes())
    else:
        data[20 if damage == "header" else len(data) - 1] ^= 1
        path.write_bytes(data)
    shallow, deep = verify(sound), verify(sound, deep=True)
    assert {(p.chunk, p.column) for p in deep.problems} == {(4, column)}
    # A look at the headers cannot see what is wrong behind them.
    assert {(p.chunk, p.column) for p in shallow.problems} == (set() if damage == "payload" else {(4, column)})


def rewrite(ds: Dataset, **fields: object) -> Dataset:
    return Draft.extend(ds, {}, {}).commit([Chunk(c.first, c.count, {}) for c in ds.chunks], **fields)


def test_records_out_of_order(tmp_path: Path) -> None:
    lines = text([1, 50, 90]).splitlines(keepends=True)
    lines[4], lines[6] = lines[6], lines[4]
    found = verify(load(tmp_path, "".join(lines)), deep=True).problems
    assert any("sorts before" in p.what for p in found)
    lines = text([1, 50, 90]).splitlines(keepends=True)
    lines = [*lines[:2], *lines[4:], *lines[2:4]]  # each chunk by itself is in order
    (problem,) = verify(load(tmp_path, "".join(lines), "t"), deep=True).problems
    assert "chunk before" in problem.what
    assert problem.chunk == 4


def test_other_records_than_the_digest_says(sound: Dataset) -> None:
    digest = dict(sound.manifest.digest)
    digest["reads"] = dict(digest["reads"], qual="00000007")
    (problem,) = verify(rewrite(sound, digest=digest), deep=True).problems
    assert "digest: reads: qual" in problem.what


def noted(ds: Dataset, column: str, statistics: dict[str, object]) -> Dataset:
    """The same records, with these statistics (None: without them) beside the others of a column."""
    draft = Draft.extend(ds, columns_of([column]), {"operation": "test"}, replace=True)
    chunks = []
    for c in ds.chunks:
        cell = draft.write(column, c.first, ds.read(c, [column])[column])
        found = {k: v for k, v in {**cell.statistics, **statistics}.items() if v is not None}
        chunks.append(Chunk(c.first, c.count, {column: replace(cell, statistics=found)}))
    return draft.commit(chunks)


def test_statistics(sound: Dataset) -> None:
    # Older writers knew fewer of them, newer ones may know more.
    known = ("cigar_operations", "tag_bytes", "spans", "distant", "flags")
    changed = noted(sound, "results", {**dict.fromkeys(known), "later": [1]})
    assert changed.chunks[0].cells["results"].statistics == {"later": [1]}
    assert verify(changed, deep=True).problems == ()
    for name in ("cigar_operations", "spans", "max_length"):
        problems = verify(noted(sound, "results", {name: 7 if name != "spans" else [[0, 1, 7]]}), deep=True).problems
        assert {p.chunk for p in problems} == {0, 4, 8, 12}
        assert {p.what for p in problems} == {f"the statistics in the manifest are not those of the records ({name})"}


def test_columns_that_do_not_fit_each_other(sound: Dataset) -> None:
    draft = Draft.extend(sound, columns_of(["qualities"]), {"operation": "test"}, replace=True)
    chunks = []
    for c in sound.chunks:
        column = sound.read(c, ["qualities"]).ragged("qualities")
        if c.first == 8:
            column = type(column).from_list([b"III", *[column[i] for i in range(1, len(column))]])
        chunks.append(Chunk(c.first, c.count, {"qualities": draft.write("qualities", c.first, column)}))
    (problem,) = verify(draft.commit(chunks), deep=True).problems
    assert problem.what == "record 8 has 3 qualities for 4 bases"
    assert (problem.chunk, problem.column) == (8, "qualities")


def test_mates_that_contradict_each_other(tmp_path: Path) -> None:
    wrong = text([1, 50, 90]).replace("\t=\t60\t", "\t=\t61\t", 1)
    report = verify(load(tmp_path, wrong), deep=True)
    assert report.problems == ()  # the source was so
    assert "1 pairs" in report.notes[0]


@pytest.mark.parametrize("by", ["coordinate", "queryname", "queryname-lexicographic"])
def test_what_sort_writes(tmp_path: Path, sound: Dataset, by: str) -> None:
    sort(sound, str(tmp_path / "o.agd"), by=by, chunk_records=4)
    assert verify(Dataset.open(str(tmp_path / "o.agd")), deep=True).problems == ()


def test_against_the_source(tmp_path: Path, sound: Dataset) -> None:
    source = tmp_path / "s.sam"
    assert compare_with_source(sound, [str(source)]) == []
    sort(sound, str(tmp_path / "o.agd"), by="queryname")
    ordered = Dataset.open(str(tmp_path / "o.agd"))
    assert compare_with_source(ordered, [str(source)]) == []
    other = tmp_path / "other.sam"
    for old, new, field in (
        ("NM:i:0", "NM:i:1", "tags"), ("\t60\t4M", "\t61\t4M", "MAPQ"), ("IIII", "IIJI", "QUAL"), ("r3", "q3", "QNAME"),
        ("ACGT", "ACGA", "SEQ"), ("4M", "3M1S", "CIGAR"), ("\t99\t", "\t67\t", "FLAG"),
    ):  # fmt: skip
        other.write_text(source.read_text().replace(old, new, 1))
        (problem,) = compare_with_source(sound, [str(other)])
        assert problem.column == field
        assert "differs in 1 records" in problem.what
        assert compare_with_source(ordered, [str(other)])
    other.write_text("".join(source.read_text().splitlines(keepends=True)[:-1]))
    (problem,) = compare_with_source(sound, [str(other)])
    assert "the dataset has" in problem.what


@pytest.mark.parametrize("suffix", ["sam.bz2", "sam.zst", "SAM.bgz", "cram"])
def test_against_every_file_that_export_writes(tmp_path: Path, sound: Dataset, suffix: str) -> None:
    path = str(tmp_path / f"x.{suffix}")
    export_cram(sound, path, embed=True) if suffix == "cram" else export_sam(sound, path)
    assert compare_with_source(sound, [path]) == []
    # An object that is lost is taken from it, too.
    key = Path(sound.url) / sound.manifest.object_key("metadata", 4)
    data = key.read_bytes()
    key.unlink()
    assert run(["repair", sound.url, "--from", path]) == 0
    assert key.read_bytes() == data


def test_against_the_source_once_collated(tmp_path: Path, sound: Dataset) -> None:
    collate(sound, str(tmp_path / "o.agd"), chunk_records=4)
    collated = Dataset.open(str(tmp_path / "o.agd"))
    source = tmp_path / "s.sam"
    assert compare_with_source(collated, [str(source)]) == []
    source.write_text(source.read_text().replace("\t60\t", "\t61\t", 1))
    assert "not those of the source" in compare_with_source(collated, [str(source)])[0].what


def test_against_reads(tmp_path: Path) -> None:
    paths = []
    for mate in (1, 2):
        path = tmp_path / f"R{mate}.fq"
        path.write_text("".join(f"@r{i}/{mate} x\nACGTA\n+\nIIII{mate}\n" for i in range(9)))
        paths.append(str(path))
    import_fastq(*paths, output=str(tmp_path / "s.agd"), chunk_records=4)
    ds = Dataset.open(str(tmp_path / "s.agd"))
    assert verify(ds, deep=True).problems == ()
    assert compare_with_source(ds, paths) == []
    Path(paths[1]).write_text(Path(paths[1]).read_text().replace("ACGTA", "ACGTT", 1))
    (problem,) = compare_with_source(ds, paths)
    assert problem.column == "bases"


def test_command(sound: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", sound.url, "--deep", "--against", str(tmp_path / "s.sam")]) == 0
    capsys.readouterr()
    os.unlink(Path(sound.url) / sound.manifest.object_key("tags", 4))
    assert run(["verify", sound.url]) == 1
    assert capsys.readouterr().out.startswith("chunk 4, column tags: ")
    assert run(["verify", sound.url, "--deep", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert not report["ok"]
    assert [(p["chunk"], p["column"]) for p in report["problems"]] == [(4, "tags")]


def test_command_with_two_sources(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(tmp_path / f"R{mate}.fq") for mate in (1, 2)]
    for path in paths:
        Path(path).write_text("@r1\nACGTA\n+\nIIII5\n")
    import_fastq(*paths, output=str(tmp_path / "s.agd"))
    ds = Dataset.open(str(tmp_path / "s.agd"))
    os.unlink(Path(ds.url) / ds.manifest.object_key("qualities", 0))
    assert run(["verify", ds.url, "--against", *paths]) == 1
    assert capsys.readouterr().out.startswith("chunk 0, column qualities: ")
    for words in ([paths[1]], ["--reference", "ref.fa"]):
        assert run(["verify", ds.url, *words]) == 2
        assert "goes with --against" in capsys.readouterr().err
        assert run(["repair", ds.url, *words]) == 2
        assert "goes with --from" in capsys.readouterr().err


@pytest.mark.data
def test_real_alignments(data: Path, tmp_path: Path) -> None:
    source = data / "human_na12878_chr22_dups/NA12878.chr22.s.bam"
    import_bam(str(source), str(tmp_path / "s.agd"), chunk_records=20_000)
    ds = Dataset.open(str(tmp_path / "s.agd"))
    assert verify(ds, deep=True).problems == ()
    assert compare_with_source(ds, [str(source)]) == []
    assert np.all([len(c.cells) == 5 for c in ds.chunks])
