"""Datasets as Arrow tables and frames of other libraries; pysam is the oracle for the fields of alignments."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import polars
import pyarrow
import pysam
import pytest

import agd
from agd.arrow import cigar_text
from agd.batch import Column
from agd.run import ThreadRunner


@pytest.fixture
def dataset(data: Path, tmp_path: Path) -> agd.Dataset:
    agd.import_sam(str(data / "tricky" / "tricky.sam"), str(tmp_path / "t.agd"), chunk_records=7)
    return agd.open(str(tmp_path / "t.agd"))


def test_every_field_is_what_pysam_reads(dataset: agd.Dataset, data: Path) -> None:
    table = dataset.to_arrow(runner=ThreadRunner(2))
    assert table.num_rows == len(dataset) == 43
    rows = table.to_pylist()
    with pysam.AlignmentFile(str(data / "tricky" / "tricky.sam")) as file:
        for row, record in zip(rows, file, strict=True):
            results = row["results"]
            assert results["cigar"] == (record.cigarstring or "")
            assert results["reference"] == record.reference_name
            assert results["position"] == (record.reference_start if record.reference_start >= 0 else None)
            assert results["mate_reference"] == record.next_reference_name
            assert results["template_length"] == record.template_length
            assert results["mapping_quality"] == (record.mapping_quality if record.mapping_quality < 255 else None)
            assert row["bases"].upper() == (record.query_sequence or "").upper()


def test_columns_and_ranges(dataset: agd.Dataset) -> None:
    table = dataset.to_arrow(["bases"], start=5, stop=9)
    assert table.column_names == ["bases"]
    assert table.column("bases").to_pylist() == [b.decode() for b in dataset[5:9].ragged("bases")]
    assert dataset.to_arrow(["bases"], start=9, stop=9).num_rows == 0


def test_other_libraries_take_the_dataset_itself(dataset: agd.Dataset) -> None:
    assert pyarrow.table(dataset).equals(dataset.to_arrow())
    frame = polars.DataFrame(dataset)
    assert frame.height == 43
    flags = frame.select(polars.col("results").struct.field("flag")).to_series().to_list()
    assert flags == np.concatenate([b.alignments().flag for b in dataset.batches(["results"])]).tolist()
    with duckdb.connect() as connection:
        connection.register("reads", dataset.arrow_reader())
        found = connection.execute("select count(*) from reads where results.flag & 4 = 0").fetchall()
    assert found == [(sum(not flag & 4 for flag in flags),)]


def test_cigar_text() -> None:
    operations = np.array([150 << 4, 3 << 4 | 4, 7 << 4 | 8, (1 << 28) - 1 << 4 | 5], np.uint32)
    column = Column(operations, np.array([0, 1, 1, 4]))
    assert list(cigar_text(column)) == [b"150M", b"", b"3S7X268435455H"]
