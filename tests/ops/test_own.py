"""Columns of a user's own, and datasets from columns in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars
import pyarrow
import pytest

import agd
from agd.batch import Alignments, Batch, Column
from agd.errors import ColumnError, ConflictError, DatasetExistsError
from agd.run import SerialRunner

READS = {
    "bases": ["ACGT", "NNAC", "", "acgtn", "TTTTTTTT"], "qualities": ["IIII", "!!~I", "", "ABCDE", "88888888"],
    "metadata": ["r1 one", "r2", "r3", "r4", "r5"],
}  # fmt: skip


@pytest.fixture
def dataset(tmp_path: Path) -> agd.Dataset:
    return agd.create(tmp_path / "x.agd", READS, chunk_records=2)


def test_create_and_read(dataset: agd.Dataset, tmp_path: Path) -> None:
    ds = agd.open(str(tmp_path / "x.agd"))
    assert ds.select(*READS).to_arrow().to_pydict() == READS
    assert [chunk.count for chunk in ds.chunks] == [2, 2, 1]
    agd.export_fastq(ds, str(tmp_path / "x.fq"))
    assert (tmp_path / "x.fq").read_text().startswith("@r1 one\nACGT\n+\nIIII\n@r2\n")
    with pytest.raises(DatasetExistsError):
        agd.create(tmp_path / "x.agd", READS)


def test_create_from_tables_and_streams(tmp_path: Path) -> None:
    table = pyarrow.table(READS)
    stream = table.to_batches(max_chunksize=3)
    frames = {
        "t": table, "s": iter(stream), "p": polars.DataFrame(READS), "d": pandas.DataFrame(READS),
        "i": iter([polars.DataFrame(READS)]), "v": agd.create(tmp_path / "of", READS).select(*READS),
    }  # fmt: skip
    for name, batches in frames.items():
        assert agd.create(tmp_path / name, batches, chunk_records=2).select(*READS).to_arrow().to_pydict() == READS


def test_create_alignments(tmp_path: Path) -> None:
    results = Alignments.null(2).replace(
        flag=np.array([0, 4], np.uint16), reference=np.array([0, -1], np.int32), position=np.array([9, -1]),
        cigar=Column(np.array([4 << 4], np.uint32), np.array([0, 1, 1])), valid=None,
    )  # fmt: skip
    columns = {"metadata": Column.from_list([b"a", b"b"]), "bases": Column.from_list([b"ACGT", b"GG"])}
    batch = Batch(0, columns | {"results": results})
    ds = agd.create(tmp_path / "a.agd", batch, header="@HD\tVN:1.6\n@SQ\tSN:c\tLN:99\n")
    agd.export_sam(ds, str(tmp_path / "a.sam"))
    lines = [line for line in (tmp_path / "a.sam").read_text().splitlines() if not line.startswith("@")]
    assert lines[0].split("\t")[:10] == ["a", "0", "c", "10", "0", "4M", "*", "0", "0", "ACGT"]
    with pytest.raises(ColumnError, match="header has 0"):
        agd.create(tmp_path / "b.agd", batch)
    assert not (tmp_path / "b.agd").exists()


WRONG: list[tuple[Any, str]] = [
    ({"bases": ["A"], "qualities": ["II"]}, "1 bases and 2 qualities"),
    ({"bases": ["A", "C"], "qualities": ["I"]}, "differ in length"),
    ({"a/b": [1]}, "not a name"),
    ({"ordinal": [1]}, "uses itself"),
    ({"x": [1, None]}, "missing"),
    ({"x": [[1], [2]]}, "neither a number nor text"),
    ({"bases": ["A C"]}, "not printable"),
    ({}, "no columns"),
    ([], "no columns"),
    ([{"x": [1]}, {"y": [1]}], "same columns"),
    ([3], "no batch"),
    ([{"x": np.array([2**60 + 1])}, {"x": np.array([1], "u8")}], "int64 in one batch and uint64 in another"),
    ([{"x": [1]}, {"x": [0.5]}], "int64 in one batch and float64 in another"),
    ({"x": np.ma.masked_array([1, 2], mask=[True, False])}, "1 values are missing"),
]


@pytest.mark.parametrize(("batches", "match"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_wrong_columns_make_nothing(tmp_path: Path, batches: Any, match: str) -> None:
    with pytest.raises(ColumnError, match=match):
        agd.create(tmp_path / "w.agd", batches)
    with pytest.raises(agd.AgdError):
        agd.open(str(tmp_path / "w.agd"))


VALUES: list[tuple[Any, list[Any]]] = [
    (np.arange(5, dtype=np.int16), [0, 1, 2, 3, 4]),
    (np.arange(5, dtype=">i4"), [0, 1, 2, 3, 4]),
    ([1.5, 2, 3, 4, float("inf")], [1.5, 2.0, 3.0, 4.0, float("inf")]),
    ([True, False, True, True, False], [True, False, True, True, False]),
    (["a", "", "ü", "d", "e"], ["a", "", "ü", "d", "e"]),
    (np.array([b"a\0b", b"", b"c", b"d", b"e"]), ["a\0b", "", "c", "d", "e"]),
    (np.array(["a\0b", "", "ü", "d", "e"]), ["a\0b", "", "ü", "d", "e"]),
    (np.ma.masked_array([0, 1, 2, 3, 4], mask=[False] * 5), [0, 1, 2, 3, 4]),
    (polars.Series(["a", "b", "c", "d", "e"]), ["a", "b", "c", "d", "e"]),
    (pandas.Series([1, 2, 3, 4, 5]), [1, 2, 3, 4, 5]),
    (pyarrow.array(["x", "x", "y", "x", "y"]).dictionary_encode(), ["x", "x", "y", "x", "y"]),
]


@pytest.mark.parametrize(("values", "expected"), VALUES, ids=lambda v: type(v).__name__)
def test_append_values_of_any_library(dataset: agd.Dataset, values: Any, expected: list[Any]) -> None:
    ds = agd.append_column(dataset, "mine", values, description="why")
    assert ds.columns == [*READS, "mine"]
    assert agd.open(ds.url).select("mine").to_arrow()["mine"].to_pylist() == expected
    assert ds.manifest.steps[-1]["parameters"]["description"] == "why"
    assert ds.manifest.generation == 2


def test_append_by_a_function(dataset: agd.Dataset) -> None:
    def gc(batch: Batch) -> np.ndarray[Any, Any]:
        return np.array([sum(b in b"GCgc" for b in bases) for bases in batch.ragged("bases")], np.uint16)

    ds = agd.append_column(dataset, "gc", gc, columns=["bases"])
    assert ds.select("gc").to_arrow()["gc"].to_pylist() == [2, 1, 0, 2, 0]
    assert ds.manifest.columns["gc"].dtype == "<u2"
    assert ds.manifest.steps[-1]["parameters"]["values"].endswith("gc")
    again = agd.append_column(ds, "gc", lambda b: np.ones(len(b)), replace=True, dtype="u1", runner=SerialRunner())
    assert again.select("gc").to_arrow()["gc"].to_pylist() == [1] * 5
    assert agd.open(ds.url, generation=2).select("gc").to_arrow()["gc"].to_pylist() == [2, 1, 0, 2, 0]
    assert agd.drop_column(again, "gc").columns == list(READS)


def test_what_cannot_be_appended_changes_nothing(dataset: agd.Dataset) -> None:
    def fail(batch: Batch) -> list[int]:
        if batch.first:
            raise RuntimeError("mine")
        return [1, 2]

    keys = set(dataset.storage.keys())
    for values, options, match in (
        ([1, 2], {}, "2 values for 5 records"),
        ([1, 2, 3, 4, 300], {"dtype": "u1"}, "wider type"),
        (["a"] * 5, {"dtype": "i4"}, "not of the type"),
        (np.zeros((5, 2)), {}, "2 dimensions"),
        ([1] * 5, {"dtype": "complex64"}, "not a type"),
        (lambda batch: [1], {}, "1 values for"),
    ):
        with pytest.raises(ColumnError, match=match):
            agd.append_column(dataset, "mine", values, **options)
    with pytest.raises(RuntimeError, match="mine"):
        agd.append_column(dataset, "mine", fail)
    with pytest.raises(ColumnError, match="uses itself"):
        agd.append_column(dataset, "tags", [1] * 5)
    assert set(dataset.storage.keys()) == keys
    agd.append_column(dataset, "mine", [1] * 5)
    with pytest.raises(ConflictError, match="already"):
        agd.append_column(dataset, "mine", [2] * 5)


def test_a_function_that_failed_makes_room_for_a_better_one(dataset: agd.Dataset, tmp_path: Path) -> None:
    def fails(batch: Batch) -> list[int]:
        if batch.first:
            raise ValueError("mine")
        return [1] * len(batch)

    with pytest.raises(ValueError, match="mine"):
        agd.append_column(dataset, "x", fails, runner=SerialRunner())
    ds = agd.append_column(dataset, "x", lambda batch: [2] * len(batch), columns=(name for name in ["bases"]))
    assert ds.select("x").to_arrow()["x"].to_pylist() == [2] * 5

    def batches() -> Iterator[dict[str, list[int]]]:
        yield {"x": [1, 2, 3]}
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        agd.create(tmp_path / "y.agd", batches(), chunk_records=1)
    assert len(agd.create(tmp_path / "y.agd", {"y": [1.5]})) == 1


def test_no_threads_are_left(dataset: agd.Dataset, tmp_path: Path) -> None:
    before = threading.active_count()
    for i in range(3):
        dataset = agd.append_column(dataset, f"x{i}", lambda batch: [1] * len(batch))
        agd.create(tmp_path / f"{i}.agd", READS)
    assert threading.active_count() == before
