"""Lazy views: pysam and plain Python over the same records are the oracles."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars
import pyarrow
import pysam
import pytest

import agd
from agd.batch import Column
from agd.cli import run
from agd.dataset import Dataset
from agd.errors import ColumnError, UsageError
from agd.manifest import Chunk
from agd.run import ThreadRunner
from agd.selection import Selection
from agd.tags import names_and_kinds

Record = pysam.AlignedSegment


@pytest.fixture
def sam(data: Path) -> Path:
    return data / "tricky" / "tricky.sam"


@pytest.fixture
def dataset(sam: Path, tmp_path: Path) -> agd.Dataset:
    agd.import_sam(str(sam), str(tmp_path / "t.agd"), chunk_records=7)
    return agd.open(str(tmp_path / "t.agd"))


def records(sam: Path) -> list[Record]:
    with pysam.AlignmentFile(str(sam)) as file:
        found = list(file)
    lines = [line for line in sam.read_bytes().splitlines() if not line.startswith(b"@")]
    for record, line in zip(found, lines, strict=True):
        record.flag = int(line.split(b"\t")[1])  # htslib flags a mapped record without CIGAR as unmapped
    return found


def touches(record: Record, name: str, start: int, end: int) -> bool:
    return bool(
        record.reference_name == name
        and record.reference_start < end
        and max(record.reference_end or 0, record.reference_start + 1) > start
    )


def test_fields_are_what_pysam_reads(dataset: agd.Dataset, sam: Path) -> None:
    view = dataset.select("ordinal", "results.position", "results.cigar", "results.reference", "bases", "tags.NM")
    rows = view.to_arrow(runner=ThreadRunner(2)).to_pylist()
    for i, (row, record) in enumerate(zip(rows, records(sam), strict=True)):
        assert row["ordinal"] == i
        assert row["results.position"] == (record.reference_start if record.reference_start >= 0 else None)
        assert row["results.cigar"] == (record.cigarstring or "")
        assert row["results.reference"] == record.reference_name
        assert row["tags.NM"] == (record.get_tag("NM") if record.has_tag("NM") else None)


def test_every_tag_has_its_type_and_values(dataset: agd.Dataset, sam: Path) -> None:
    table = dataset.select("tags.*").to_arrow()
    expected = {tag for record in records(sam) for tag, _ in record.get_tags()}
    assert expected == {name[5:] for name in table.column_names}
    assert len(expected) > 5
    for name in table.column_names:
        for found, record in zip(table[name].to_pylist(), records(sam), strict=True):
            value = record.get_tag(name[5:]) if record.has_tag(name[5:]) else None
            if value is not None and table.schema.field(name).type == pyarrow.large_string():
                value = str(value)
            elif value is not None and not isinstance(value, int | float):
                value = pytest.approx(list(value))
            assert found == value, name


CONDITIONS: list[tuple[dict[str, Any], Callable[[Record], bool]]] = [
    ({"flags": 4}, lambda r: r.is_unmapped),
    ({"flags": "UNMAPPED"}, lambda r: r.is_unmapped),
    ({"exclude": "UNMAPPED,SECONDARY,SUPPLEMENTARY"}, lambda r: not r.flag & 0x904),
    ({"mapq": 30}, lambda r: r.mapping_quality >= 30),
    ({"tags": {"NM": [0, 1]}}, lambda r: r.has_tag("NM") and r.get_tag("NM") in (0, 1)),
    ({"flags": 1, "mapq": 1}, lambda r: r.is_paired and r.mapping_quality >= 1),
]


@pytest.mark.parametrize(("condition", "wanted"), CONDITIONS, ids=lambda v: str(v) if isinstance(v, dict) else "")
def test_conditions(
    dataset: agd.Dataset, sam: Path, condition: dict[str, Any], wanted: Callable[[Record], bool]
) -> None:
    view = dataset.filter(**condition)
    expected = [i for i, record in enumerate(records(sam)) if wanted(record)]
    assert view.select("ordinal").to_arrow()["ordinal"].to_pylist() == expected
    assert view.count() == len(expected)
    assert view.head(2).select("ordinal").to_arrow()["ordinal"].to_pylist() == expected[:2]


def test_regions(dataset: agd.Dataset, sam: Path) -> None:
    for reference in dataset.manifest.references:
        for start, end in ((1, reference.length), (1, 50), (100, 120), (30, 1_000)):
            end = min(end, reference.length)
            if start > end:
                continue
            view = dataset.filter(region=f"{reference.name}:{start}-{end:,}")
            expected = [i for i, r in enumerate(records(sam)) if touches(r, reference.name, start - 1, end)]
            assert view.select("ordinal").to_arrow()["ordinal"].to_pylist() == expected


def test_conditions_add_up_and_follow_head(dataset: agd.Dataset, sam: Path) -> None:
    both = dataset.filter(flags=1).filter(exclude=4)
    assert both.count() == sum(r.flag & 5 == 1 for r in records(sam))
    assert dataset.head(10).filter(flags=4).count() == sum(r.is_unmapped for r in records(sam)[:10])
    assert dataset.filter(flags=4).head(0).count() == 0


def test_sample_is_of_the_wanted_records_and_repeats(dataset: agd.Dataset, sam: Path) -> None:
    mapped = {i for i, r in enumerate(records(sam)) if not r.is_unmapped}
    one = dataset.filter(exclude=4).sample(6, seed=3).select("ordinal").to_arrow()["ordinal"].to_pylist()
    again = dataset.filter(exclude=4).sample(6, seed=3).select("ordinal").to_arrow()["ordinal"].to_pylist()
    assert one == again == sorted(set(one))
    assert len(one) == 6
    assert set(one) <= mapped
    assert dataset.sample(1000).count() == len(dataset)
    other = dataset.filter(exclude=4).sample(6, seed=4).select("ordinal").to_arrow()["ordinal"].to_pylist()
    assert other != one


def test_only_what_is_needed_is_fetched(dataset: agd.Dataset, sam: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[tuple[int, str]] = []
    fetch = Dataset.fetch

    def spy(self: Dataset, chunk: Chunk, columns: Any = None) -> dict[str, bytes]:
        fetched.extend((chunk.first, name) for name in columns)
        return fetch(self, chunk, columns)

    monkeypatch.setattr(Dataset, "fetch", spy)
    view = dataset.filter(flags=4).select("bases")
    assert fetched == []
    view.to_arrow()
    unmapped = {i // 7 * 7 for i, r in enumerate(records(sam)) if r.is_unmapped}
    assert unmapped < {chunk.first for chunk in dataset.chunks}
    assert set(fetched) == {(first, name) for first in unmapped for name in ("results", "bases")}
    fetched.clear()
    dataset.head(3).select("qualities").to_arrow()
    assert fetched == [(0, "qualities")]
    fetched.clear()
    assert dataset.filter(tags={"NM": 999}).select("bases").to_arrow().num_rows == 0
    assert {name for _, name in fetched} == {"results", "tags"}


def test_other_libraries(dataset: agd.Dataset) -> None:
    view = dataset.filter(exclude=4).select("results.position", "bases", "tags.NM")
    table = view.to_arrow()
    assert pyarrow.table(view).equals(table)
    assert polars.DataFrame(view).equals(view.to_polars())
    assert view.to_polars()["results.position"].to_list() == table["results.position"].to_pylist()
    assert view.to_pandas()["bases"].tolist() == table["bases"].to_pylist()
    with duckdb.connect() as connection:
        relation = view.to_duckdb(connection)
        assert relation.aggregate("count(*), max(length(bases))").fetchall() == [
            (table.num_rows, max(len(b) for b in table["bases"].to_pylist()))
        ]
    assert duckdb.sql("select count(*) from view").fetchall() == [(table.num_rows,)]
    assert duckdb.sql("select count(*) from dataset").fetchall() == [(len(dataset),)]


def test_pickle(dataset: agd.Dataset) -> None:
    view = dataset.filter(exclude=4).sample(5).select("bases", "tags.NM")
    assert pickle.loads(pickle.dumps(view)).to_arrow().equals(view.to_arrow())


def test_batches_hold_whole_columns(dataset: agd.Dataset) -> None:
    batches = list(dataset.select("results.position", "bases", "ordinal").batches())
    assert [batch.first for batch in batches] == [chunk.first for chunk in dataset.chunks]
    assert list(batches[0].columns) == ["results", "bases", "ordinal"]


def test_wrong_requests_are_explained(dataset: agd.Dataset) -> None:
    with pytest.raises(ColumnError, match="no column 'base'"):
        dataset.select("base")
    with pytest.raises(ColumnError, match="no field 'pos'"):
        dataset.select("results.pos")
    with pytest.raises(UsageError, match="SIDEWAYS"):
        dataset.filter(flags="SIDEWAYS")
    for nothing in ({"region": []}, {"read_groups": ()}):
        with pytest.raises(UsageError, match="an empty list"):
            dataset.filter(**nothing)
    with pytest.raises(UsageError, match="no such reference"):
        dataset.filter(region="nowhere:1-2")
    for wrong in (None, [0, None], [[1, 2]], {"a": 1}):
        with pytest.raises(UsageError, match="no value of a tag"):
            dataset.filter(tags={"NM": wrong})
    for name in ("N", "NMX", "", "N\u00b5"):
        with pytest.raises(UsageError, match="two characters"):
            dataset.filter(tags={name: 1})
    with pytest.raises(UsageError, match="no field is selected"):
        dataset.select()


@pytest.mark.parametrize("flags", [-1, 65_536, 70_000, "-1", "0x10000"])
def test_flags_have_16_bits(dataset: agd.Dataset, flags: int | str, capsys: pytest.CaptureFixture[str]) -> None:
    for condition in ({"flags": flags}, {"exclude": flags}):
        with pytest.raises(UsageError, match="no set of flags"):
            dataset.filter(**condition)  # type: ignore[arg-type]
    for option in ("-f", "-F"):
        assert run(["view", dataset.url, option, str(flags)]) == 2
        assert "no set of flags" in capsys.readouterr().err
    with pytest.raises(UsageError, match="no set of flags"):
        Selection(require=int(str(flags), 0))
    assert dataset.filter(exclude=np.uint16(65_535)).count() == dataset.filter(exclude=65_535).count()  # type: ignore[arg-type]


#: One tag with values of every kind.
MIXED = [
    "XX:i:5", "XX:Z:5", "XX:f:5", "XX:f:5.5", "XX:A:5", "XX:H:5A", "XX:B:c,5", "XX:i:-3", "XX:Z:five", "XY:i:5",
    "XX:f:nan",
]  # fmt: skip


@pytest.mark.parametrize("chunk_records", [1, 2, 4, 100])
def test_values_of_tags_do_not_depend_on_chunks(tmp_path: Path, chunk_records: int) -> None:
    """Python, to which 5 is 5.0 and not "5", is the oracle."""
    text = "".join(f"r{i}\t4\t*\t0\t0\t*\t*\t0\t0\tA\tI\t{field}\n" for i, field in enumerate(MIXED))
    (tmp_path / "x.sam").write_text("@SQ\tSN:c\tLN:100\n" + text)
    agd.import_sam(str(tmp_path / "x.sam"), str(tmp_path / "x.agd"), chunk_records=chunk_records)
    dataset = agd.open(str(tmp_path / "x.agd"))
    values = [r.get_tag("XX") if r.has_tag("XX") else None for r in records(tmp_path / "x.sam")]
    wanted: list[Any] = [
        5, 5.0, 5.5, "5", "five", "5A", -3, 2**70, -(2**63), 1e300, [5, "five"], [], "", np.int64(5), np.array([5, -3]),
        (2**70, 5.5),
    ]  # fmt: skip
    for given in wanted:
        plain = given.tolist() if isinstance(given, np.generic | np.ndarray) else given
        several = plain if isinstance(plain, list | tuple) else [plain]
        expected = [i for i, value in enumerate(values) if any(value == one for one in several)]
        view = dataset.filter(tags={"XX": given}).select("ordinal")
        assert view.to_arrow()["ordinal"].to_pylist() == expected, given
    assert dataset.filter(tags={"XX": b"five"}).count() == 1


@pytest.mark.parametrize("chunk_records", [1, 2, 100])
def test_records_without_a_place(tmp_path: Path, chunk_records: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever their flags, and whatever is in their chunk; samtools is the oracle."""
    lines = ["a\t0\tc\t3", "b\t4\tc\t5", "d\t0\tc\t0", "e\t0\t*\t0", "f\t4\t*\t0", "g\t16\t*\t0", "h\t0\t*\t7"]
    sam, bam = tmp_path / "x.sam", str(tmp_path / "x.bam")
    body = "".join(f"{line}\t0\t{'4M' if line[0] in 'ad' else '*'}\t*\t0\t0\tACGT\tIIII\n" for line in lines)
    sam.write_text("@HD\tVN:1.6\n@SQ\tSN:c\tLN:100\n" + body)
    pysam.samtools.sort("-o", bam, str(sam), catch_stdout=False)
    pysam.samtools.index(bam)
    agd.import_sam(str(sam), str(tmp_path / "x.agd"), chunk_records=chunk_records)
    dataset = agd.open(str(tmp_path / "x.agd"))
    for region in ("*", "c", "c:1-3", "c:5"):
        theirs = [line.split("\t")[0] for line in pysam.samtools.view(bam, region).splitlines()]
        ours = dataset.filter(region=region).select("metadata").to_arrow()["metadata"].to_pylist()
        assert sorted(ours) == sorted(theirs), region
        assert run(["view", dataset.url, region]) == 0
        assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == ours


def test_reads_without_alignments(tmp_path: Path) -> None:
    agd.simulate(str(tmp_path / "r.fq"), pairs=10, genome_length=5_000, contigs=1)
    agd.import_fastq(str(tmp_path / "r.fq"), output=str(tmp_path / "r.agd"), chunk_records=4)
    ds = agd.open(str(tmp_path / "r.agd"))
    assert ds.sample(3).to_arrow().num_rows == 3
    assert ds.head(6).select("bases").to_arrow()["bases"].to_pylist() == [b.decode() for b in ds[:6].ragged("bases")]
    with pytest.raises(ColumnError, match="no alignments"):
        ds.filter(mapq=3)
    with pytest.raises(ColumnError):
        ds.select("tags.NM")


def test_shown(dataset: agd.Dataset) -> None:
    text, page = repr(dataset), dataset._repr_html_()
    for word in ("43", "bases", "qualities", "results", dataset.manifest.references[0].name):
        assert word in text
        assert word in page
    assert "<td>ordinal" not in dataset.head(3)._repr_html_()
    assert dataset.head(3)._repr_html_().count("<tr>") == 4
    assert "filtered" in repr(dataset.filter(flags=4))


def test_showing_a_view_reads_few_chunks(sam: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agd.import_sam(str(sam), str(tmp_path / "t.agd"), chunk_records=2)
    dataset = agd.open(str(tmp_path / "t.agd"))
    fetched: set[int] = set()
    fetch = Dataset.fetch

    def spy(self: Dataset, chunk: Chunk, columns: Any = None) -> dict[str, bytes]:
        fetched.add(chunk.first)
        return fetch(self, chunk, columns)

    monkeypatch.setattr(Dataset, "fetch", spy)
    views = [dataset.filter(mapq=200), dataset.filter(tags={"QQ": 1}), dataset.select("tags.QQ"), dataset.sample(20)]
    for view in views:
        fetched.clear()
        page = view._repr_html_()
        assert 0 < len(fetched) <= 4
        assert re.search(r"of the first 4 of \d+ chunks", page)
    assert "of the first" not in dataset.head(3)._repr_html_()
    assert len(dataset.sample(20).to_arrow()) == 20, "only what is shown is bounded"


def test_kinds_of_tags() -> None:
    fields = [b"NMC\x05", b"MDZ10A5\0NMi\x01\0\0\0", b"", b"XBBs\x02\0\0\0\x01\0\x02\0XFf\0\0\x80?XAAq"]
    found = names_and_kinds(Column.from_list(fields))
    assert found == {"NM": {"i"}, "MD": {"Z"}, "XB": {"Bi"}, "XF": {"f"}, "XA": {"Z"}}
    assert names_and_kinds(Column(np.empty(0, np.uint8), np.zeros(1, np.int64))) == {}


def test_polars_scan(tmp_path: Path) -> None:
    """Queries of polars read the columns and chunks that they need, and give what polars gives of the whole table."""
    columns = {"bases": ["ACGT", "GG", "N"] * 20, "score": list(range(60)), "note": ["a", "b", "c"] * 20}
    ds = agd.create(str(tmp_path / "s.agd"), columns, chunk_records=7)
    whole = polars.DataFrame(ds)
    assert ds.scan().collect().equals(whole)
    for key in list(ds.storage.keys()):
        if key.endswith((".note", "7.score")) and "000000000000." not in key:
            ds.storage.delete(key)
    assert ds.scan().select("score").head(5).collect().equals(whole.select("score").head(5))
    query = polars.col("bases").str.len_bytes() > 1
    for frame in (ds.scan(), ds.select("bases").scan()):
        counted = frame.filter(query).group_by("bases").len().sort("bases").collect()
        assert counted.equals(whole.filter(query).group_by("bases").len().sort("bases"))
    assert ds.select("bases").scan().filter(query).head(3).collect().equals(whole.select("bases").filter(query).head(3))


def test_arguments_may_be_lists_and_bytes_and_are_whole_numbers(dataset: agd.Dataset) -> None:
    names = ["bases", "results.flag"]
    assert dataset.select(names).schema.names == dataset.select(*names).schema.names == names
    assert dataset.select("ordinal", names).schema.names == ["ordinal", *names]
    assert dataset.filter(read_groups=[b"rg1"]).count() == dataset.filter(read_groups="rg1").count()
    assert dataset.head(np.int64(3)).count() == 3
    for wrong in (lambda: dataset.head(2.5), lambda: dataset.sample(2.5)):  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            wrong()
