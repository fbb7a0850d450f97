"""Throughput of the kernels behind coverage, depth, and the report on cycles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agd.batch import I64, U8, Bool, Column
from agd.kernels import _native as kernels
from agd.ops.report.adapters import ADAPTERS, WIDTH, codes
from agd.ops.report.bins import bins_of
from agd.ops.report.reads import LETTERS, QUALITIES, looked_at
from benchmarks.kernels.measure import Measure
from benchmarks.kernels.samples import GENOME, LENGTH, Aligned, offsets_of


@pytest.fixture(scope="module")
def places(ordered: Aligned) -> tuple[Any, ...]:
    """Places in the genome laid end to end, CIGARs, and the contig that each alignment is kept within."""
    offsets, reference = ordered.genome.offsets, ordered.lines.reference
    low, high = offsets[:-1][reference], offsets[1:][reference]
    return low + ordered.lines.position, *ordered.cigar, low, high


def test_aligned_blocks(measure: Measure, places: tuple[Any, ...], reads: int) -> None:
    starts, ends = np.empty((2, len(places[1])), np.int64)
    measure("CIGAR", places[1].nbytes, lambda: kernels.aligned_blocks(*places, starts, ends), records=reads)


def test_aligned_qualities(measure: Measure, places: tuple[Any, ...], qualities: Column, reads: int) -> None:
    position, cigar, cigar_offsets, low, high = places
    values, offsets, (sums, counts) = qualities.values, offsets_of(qualities), np.empty((2, reads), np.int64)
    measure(
        "qualities", values.nbytes,
        lambda: kernels.aligned_qualities(
            position, cigar, cigar_offsets, values, offsets, 33, low, high, sums, counts
        ),
        records=reads,
    )  # fmt: skip


def test_add_spans(measure: Measure, places: tuple[Any, ...]) -> None:
    starts, ends = np.empty((2, len(places[1])), np.int64)
    count = kernels.aligned_blocks(*places, starts, ends)
    starts, ends, differences = starts[:count], ends[:count], np.zeros(GENOME + 1, np.int32)
    size = starts.nbytes + ends.nbytes
    measure("blocks", size, lambda: kernels.add_spans(starts, ends, differences), records=count)


@pytest.fixture(scope="module")
def ends(reads: int) -> tuple[U8, Bool]:
    """Which end of its pair each read is, and whether it stands on the reverse strand."""
    group = (np.arange(reads) & 1).astype(np.uint8)
    return group, group == 1


def test_quality_cycles(measure: Measure, qualities: Column, ends: tuple[U8, Bool], reads: int) -> None:
    bins, count = bins_of(LENGTH)
    values, offsets, means = qualities.values, offsets_of(qualities), np.empty(reads, np.int64)
    counts: I64 = np.zeros(3 * count * QUALITIES, np.int64)
    measure(
        "qualities", values.nbytes,
        lambda: kernels.quality_cycles(values, offsets, *ends, bins, count, 33, counts, means), records=reads,
    )  # fmt: skip


def test_base_cycles(measure: Measure, bases: Column, ends: tuple[U8, Bool], reads: int) -> None:
    bins, count = bins_of(LENGTH)
    values, offsets = bases.values, offsets_of(bases)
    limits, strong = looked_at(bases.lengths), np.empty(reads, np.int64)
    counts, first = np.zeros(3 * count * LETTERS, np.int64), np.zeros(3 * len(ADAPTERS) * count, np.int64)
    adapters = codes()
    measure(
        "bases", values.nbytes,
        lambda: kernels.base_cycles(
            values, offsets, *ends, bins, count, limits, adapters, WIDTH, counts, first, strong
        ),
        records=reads,
    )  # fmt: skip
