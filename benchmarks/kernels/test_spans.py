"""Throughput of the kernels that copy, gather, turn and sum up runs of bytes, and of copying memory itself."""

from __future__ import annotations

import numpy as np
import pytest

from agd.batch import I64, U8, U32, Bool, Column
from agd.kernels import _native as kernels
from benchmarks.kernels.measure import Measure
from benchmarks.kernels.samples import offsets_of, spans_of


def test_memcpy(measure: Measure, fastq: U8) -> None:
    out = np.empty_like(fastq)
    measure("text", fastq.nbytes, lambda: np.copyto(out, fastq))


@pytest.mark.parametrize("size", [12, 40, 150, 5000])
def test_copy_spans(measure: Measure, rng: np.random.Generator, reads: int, size: int) -> None:
    lengths = rng.integers(size - size // 4, size + size // 4, 150 * reads // size)
    source = Column.from_lengths(np.zeros(int(lengths.sum()), np.uint8), lengths)
    out, (starts, ends) = np.zeros_like(source.values), spans_of(source)
    measure("values", out.nbytes, lambda: kernels.copy_spans(source.values, starts, ends, out, starts))


@pytest.mark.parametrize("field", [0, 1, 3], ids=["names", "sequences", "qualities"])
def test_copy_spans_out_of_fastq(measure: Measure, fastq: U8, reads: int, field: int) -> None:
    spans = np.zeros(8 * reads, np.int64)
    kernels.fastq_scan(fastq, True, False, spans)
    starts, ends = spans[2 * field :: 8], spans[2 * field + 1 :: 8]
    offsets = np.zeros(reads + 1, np.int64)
    np.cumsum(ends - starts, out=offsets[1:])
    out = np.zeros(int(offsets[-1]), np.uint8)
    measure("values", out.nbytes, lambda: kernels.copy_spans(fastq, starts, ends, out, offsets))


def merged(
    rng: np.random.Generator, reads: int, size: int
) -> tuple[list[U8], list[tuple[I64, I64, Bool, None, None, int]], U32, I64]:
    """Twenty sorted runs that are merged: each record comes from a random place of one of them."""
    runs, count = 20, 15 * reads // size
    values = np.full(count * size, ord("C"), np.uint8)
    starts = np.arange(count, dtype=np.int64) * size
    turn = rng.random(count) < 0.5
    spans = [(starts, starts + size, turn, None, None, 0)] * runs
    order = rng.permutation(runs * count)
    return [values.copy() for _ in range(runs)], spans, (order // count).astype(np.uint32), order % count


@pytest.mark.parametrize("size", [40, 150])
def test_gather_starts(measure: Measure, rng: np.random.Generator, reads: int, size: int) -> None:
    _, spans, source, row = merged(rng, reads, size)
    starts, offsets, count = np.empty(len(row), np.int64), np.empty(len(row) + 1, np.int64), len(row)
    measure("offsets", 8 * count, lambda: kernels.gather_starts(spans, source, row, starts, offsets), records=count)


@pytest.mark.parametrize("size", [40, 150])
@pytest.mark.parametrize("turned", [False, True])
def test_gather_spans(measure: Measure, rng: np.random.Generator, reads: int, size: int, turned: bool) -> None:
    values, spans, source, row = merged(rng, reads, size)
    given = [(starts, ends, turn if turned else None, None, None, 0) for starts, ends, turn, *_ in spans]
    starts, offsets = np.empty(len(row), np.int64), np.empty(len(row) + 1, np.int64)
    out = np.zeros(kernels.gather_starts(given, source, row, starts, offsets), np.uint8)
    measure("values", out.nbytes, lambda: kernels.gather_spans(values, source, starts, turned, out, offsets))


@pytest.mark.parametrize("runs", [0, 0.05])
def test_gather_packed(measure: Measure, rng: np.random.Generator, reads: int, runs: float) -> None:
    values, spans, source, row = merged(rng, reads, 150)
    count = len(spans[0][0])
    sources = []
    for bases in values:
        bases[150 * np.flatnonzero(rng.random(count) < runs)] = ord("N")
        packed = np.empty((len(bases) + 3) // 4, np.uint8)
        sources.append((packed, *kernels.base2_pack(bases, np.array([0, len(bases)]), packed)))
    starts, ends, turn, *_ = spans[0]
    given = [(starts, ends, turn, bases[::150] == ord("N"), None, 150) for bases in values]
    found, offsets = np.empty(len(row), np.int64), np.empty(len(row) + 1, np.int64)
    out = np.empty((kernels.gather_starts(given, source, row, found, offsets) + 3) // 4, np.uint8)
    measure("bases", int(offsets[-1]), lambda: kernels.gather_packed(sources, source, found, offsets, out))


@pytest.mark.parametrize("complement", [False, True])
def test_reverse_spans(measure: Measure, bases: Column, complement: bool) -> None:
    values, offsets, mask = bases.values.copy(), offsets_of(bases), np.ones(len(bases), np.bool_)
    measure("values", values.nbytes, lambda: kernels.reverse_spans(values, offsets, mask, complement))


def test_hash_spans(measure: Measure, names: Column) -> None:
    spans, (low, high) = spans_of(names), np.empty((2, len(names)), np.uint64)
    measure(
        "names", names.values.nbytes, lambda: kernels.hash_spans(names.values, *spans, low, high), records=len(names)
    )


def test_span_strings(measure: Measure, bases: Column) -> None:
    spans = spans_of(bases)
    measure(
        "bases", bases.values.nbytes, lambda: kernels.span_strings(bases.values, *spans), records=len(bases)
    )  # fmt: skip


def test_span_product(measure: Measure, bam: Column) -> None:
    offsets = offsets_of(bam)
    measure("BAM", bam.values.nbytes, lambda: kernels.span_product(bam.values, offsets))


@pytest.mark.parametrize("portable", [False, True])
def test_crc32(measure: Measure, bases: Column, portable: bool) -> None:
    measure("values", bases.values.nbytes, lambda: kernels.crc32(bases.values, 0, portable))
