"""Throughput of the kernels that read and write FASTQ."""

from __future__ import annotations

import numpy as np
import pytest

from agd.batch import U8, Column
from agd.kernels import _native as kernels
from benchmarks.kernels.measure import Measure
from benchmarks.kernels.samples import offsets_of, spans_of


def test_fastq_scan(measure: Measure, fastq: U8, reads: int) -> None:
    spans = np.zeros(8 * reads, np.int64)
    assert kernels.fastq_scan(fastq, True, False, spans) == (reads, len(fastq))
    measure("text", fastq.nbytes, lambda: kernels.fastq_scan(fastq, True, False, spans))


@pytest.mark.parametrize("step", [1, 2], ids=["all", "read-1"])
def test_fastq_format(
    measure: Measure, headers: Column, bases: Column, qualities: Column, fastq: U8, step: int
) -> None:
    parts = [part for column in (headers, bases, qualities) for part in (column.values, offsets_of(column))]
    rows, out = np.arange(0, len(headers), step), np.empty_like(fastq)
    size = kernels.fastq_format(*parts, rows, False, ord("B"), out)
    measure("text", size, lambda: kernels.fastq_format(*parts, rows, False, ord("B"), out))


def test_same_names(measure: Measure, headers: Column) -> None:
    # The two mates of each pair, as they are compared when they come from two files.
    starts, ends = spans_of(headers)
    one, two = (headers.values, starts[::2], ends[::2]), (headers.values, starts[1::2], ends[1::2])
    same = np.empty(len(headers) // 2, np.bool_)
    kernels.same_names(*one, *two, True, same)
    assert same.all()
    size = headers.values.nbytes
    measure("headers", size, lambda: kernels.same_names(*one, *two, True, same), records=len(same))


def test_name_ends(measure: Measure, headers: Column) -> None:
    paired, ends = np.ones(len(headers), np.bool_), np.empty(len(headers), np.int64)
    text, offsets = headers.values, offsets_of(headers)
    measure("headers", text.nbytes, lambda: kernels.name_ends(text, offsets, paired, ends), records=len(ends))
