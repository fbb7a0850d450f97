"""What is counted of the reads of a chunk: qualities and bases by cycle, GC, lengths."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agd import kernels
from agd.batch import I32, I64, U8, Alignments, Batch, Bool, Column
from agd.ops.report.adapters import ADAPTERS, WIDTH, codes
from agd.ops.report.bins import bins_of
from agd.types import Flag, Orientation

#: Which end of a pair a read is; each is counted on its own.
ENDS = ("read 1", "read 2", "reads")
READ1, READ2, SINGLE = range(3)

#: Group of records that are no reads of their own (further alignments); see :func:`agd.kernels.base_cycles`.
SKIP = 255

QUALITIES, LETTERS = 94, 6


@dataclass(slots=True)
class ReadCounts:
    """Counts of reads; those of two parts of a dataset may be added.

    Attributes
    ----------
    quality : ndarray of int64, shape (ends, bins, 94)
        Bases by end, bin of cycles (:func:`agd.ops.report.bins.bins_of`) and quality.
    base : ndarray of int64, shape (ends, bins, 6)
        Bases by letter: A, C, G, T, N, other.
    adapter : ndarray of int64, shape (ends, adapters, bins)
        Reads by the bin where they first hold an adapter.
    mean : ndarray of int64, shape (ends, 94)
        Reads by mean quality, rounded down; reads without qualities do not count.
    lengths : list of dict
        For each end: reads by length.
    gc : list of dict
        For each end: reads by (bases looked at, G and C among them).
    """

    quality: I64 = field(default_factory=lambda: np.zeros((3, 1, QUALITIES), np.int64))
    base: I64 = field(default_factory=lambda: np.zeros((3, 1, LETTERS), np.int64))
    adapter: I64 = field(default_factory=lambda: np.zeros((3, len(ADAPTERS), 1), np.int64))
    mean: I64 = field(default_factory=lambda: np.zeros((3, QUALITIES), np.int64))
    lengths: list[dict[int, int]] = field(default_factory=lambda: [{}, {}, {}])
    gc: list[dict[tuple[int, int], int]] = field(default_factory=lambda: [{}, {}, {}])

    def add(self, other: ReadCounts) -> None:
        """Add the counts of other reads."""
        self.quality = _sum(self.quality, other.quality, 1)
        self.base = _sum(self.base, other.base, 1)
        self.adapter = _sum(self.adapter, other.adapter, 2)
        self.mean = self.mean + other.mean
        for end in range(3):
            for length, count in other.lengths[end].items():
                self.lengths[end][length] = self.lengths[end].get(length, 0) + count
            for pair, count in other.gc[end].items():
                self.gc[end][pair] = self.gc[end].get(pair, 0) + count

    def reads(self, end: int) -> int:
        """Number of reads."""
        return sum(self.lengths[end].values())

    def longest(self, end: int) -> int:
        """Length of the longest read; 0 of none."""
        return max(self.lengths[end], default=0)


def _sum(one: I64, two: I64, axis: int) -> I64:
    if one.shape[axis] < two.shape[axis]:
        one, two = two, one
    total = one.copy()
    at = [slice(None)] * one.ndim
    at[axis] = slice(two.shape[axis])
    total[tuple(at)] += two
    return total


def ends_of(batch: Batch, alignments: Alignments | None, paired: bool, orientation: Orientation) -> tuple[U8, Bool]:
    """Which end each record is, and whether it stands in the other direction than it was sequenced in.

    Parameters
    ----------
    batch : Batch
    alignments : Alignments, or None
        Of its records, as they are stored.
    paired : bool
        Records 2i and 2i + 1 of the dataset are mates.
    orientation : Orientation
        Of the bases.

    Returns
    -------
    end : ndarray of uint8
        An index of :data:`ENDS`; :data:`SKIP` for secondary and supplementary alignments.
    reverse : ndarray of bool
    """
    count = len(batch)
    ordinal = batch.first + np.arange(count)
    end = (ordinal & 1).astype(np.uint8) if paired else np.full(count, SINGLE, np.uint8)
    if alignments is None or orientation is Orientation.READ:
        return end, np.zeros(count, np.bool_)
    flag = np.where(alignments.valid, alignments.flag, 0) if alignments.valid is not None else alignments.flag
    which = (flag >> 6) & 3
    mates = (flag & Flag.PAIRED) != 0
    end = np.where(mates & (which == 1), READ1, np.where(mates & (which == 2), READ2, end)).astype(np.uint8)
    end[(flag & (Flag.SECONDARY | Flag.SUPPLEMENTARY)) != 0] = SKIP
    return end, (flag & Flag.REVERSE) != 0


def count_reads(bases: Column, qualities: Column, end: U8, reverse: Bool) -> ReadCounts:
    """Counts of the reads of a chunk; see :func:`ends_of`."""
    bases, qualities = _whole(bases), _whole(qualities)
    bins, count = bins_of(int(max(bases.lengths.max(initial=0), qualities.lengths.max(initial=0))))
    found = ReadCounts(
        np.zeros((3, count, QUALITIES), np.int64), np.zeros((3, count, LETTERS), np.int64),
        np.zeros((3, len(ADAPTERS), count), np.int64),
    )  # fmt: skip
    _count_qualities(found, qualities, end, reverse, bins, count)
    _count_bases(found, bases, end, reverse, bins, count)
    length = bases.lengths
    for e in range(3):
        sizes, times = np.unique(length[end == e], return_counts=True)
        found.lengths[e] = dict(zip(sizes.tolist(), times.tolist(), strict=True))
    return found


def _count_qualities(found: ReadCounts, column: Column, end: U8, reverse: Bool, bins: I32, count: int) -> None:
    assert column.offsets is not None
    means = np.empty(len(column), np.int64)
    kernels.quality_cycles(
        column.values, column.offsets, end, reverse, bins, count, 33, found.quality.reshape(-1), means
    )
    for e in range(3):
        found.mean[e] = np.bincount(means[(end == e) & (means >= 0)], minlength=QUALITIES)


def _count_bases(found: ReadCounts, column: Column, end: U8, reverse: Bool, bins: I32, count: int) -> None:
    assert column.offsets is not None
    limits, strong = looked_at(column.lengths), np.empty(len(column), np.int64)
    kernels.base_cycles(
        column.values, column.offsets, end, reverse, bins, count, limits, codes(), WIDTH, found.base.reshape(-1),
        found.adapter.reshape(-1), strong,
    )  # fmt: skip
    for e in range(3):
        some = np.flatnonzero((end == e) & (limits > 0))
        pairs, times = np.unique(limits[some] << 32 | strong[some], return_counts=True)
        keys = zip((pairs >> 32).tolist(), (pairs & 0xFFFFFFFF).tolist(), strict=True)
        found.gc[e] = dict(zip(keys, times.tolist(), strict=True))


def looked_at(length: I64) -> I64:
    """Bases that the GC content is taken of: whole hundreds or thousands, so that few lengths differ (as FastQC)."""
    unit = np.where(length > 1000, 1000, np.where(length > 100, 100, 1))
    return (length // unit * unit).astype(np.int64)


def _whole(column: Column) -> Column:
    column = column.compact()
    values: NDArray[np.uint8] = np.ascontiguousarray(column.values)
    return Column(values, column.offsets)
