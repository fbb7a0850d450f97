"""What is counted of the alignments of a chunk: flags, mapping qualities, insert sizes, mismatches, coverage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agd.batch import I64, Batch
from agd.cell import distant_mates
from agd.dataset import Dataset
from agd.ops.depth import EXCLUDE, Layout, blocks, occupied, whole_references
from agd.ops.select import Region
from agd.ops.stats import MAX_INSERT, aligned_bases, insert_sizes, mismatches
from agd.types import Flag

#: Most bins of coverage over all references together, but for one more for each reference.
COVERAGE_BINS = 2_000


@dataclass(frozen=True, slots=True)
class CoverageBins:
    """The parts of the references that hold alignments, cut into bins.

    Attributes
    ----------
    regions : tuple of Region
        One a reference; empty where the chunks' statistics say that nothing lies there.
    width : int
        Positions of a bin; the last one of a reference may have fewer.
    first : ndarray of int64, shape (references + 1,)
        First bin of each reference, and the number of all bins.
    layout : Layout
        Places of positions: a reference begins at the first place of its first bin.
    """

    regions: tuple[Region, ...]
    width: int
    first: I64
    layout: Layout

    @staticmethod
    def of(dataset: Dataset) -> CoverageBins:
        """Bins for a dataset."""
        regions = tuple(occupied(dataset, region) for region in whole_references(dataset))
        total = sum(r.end - r.start for r in regions)
        width = next(n * 10**p for p in range(20) for n in (1, 2, 5) if n * 10**p * COVERAGE_BINS >= total)
        count = np.array([-(-(r.end - r.start) // width) for r in regions], np.int64)
        first = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
        shift, low, high = (np.zeros(len(regions) + 1, np.int64) for _ in range(3))
        for i, region in enumerate(regions):
            low[i] = first[i] * width
            shift[i], high[i] = low[i] - region.start, low[i] + region.end - region.start
        return CoverageBins(regions, width, first, Layout(regions, shift, low, high, int(first[-1]) * width))

    def sizes(self, reference: int) -> I64:
        """Positions of each bin of a reference."""
        region = self.regions[reference]
        edges = np.arange(region.start, region.end, self.width)
        return np.minimum(edges + self.width, region.end) - edges

    def aligned(self, starts: I64, ends: I64) -> I64:
        """Aligned bases in each bin, from blocks in places of the layout (half-open)."""
        return self._beyond(starts) - self._beyond(ends)

    def _beyond(self, places: I64) -> I64:
        """Bases at or after each of the places, by bin."""
        count = int(self.first[-1])
        bins = places // self.width
        # Weights are doubles: exact up to 2^53, far more than a chunk holds.
        rest = np.bincount(bins, (bins + 1) * self.width - places, count + 1).astype(np.int64)[:count]
        before = np.bincount(bins, minlength=count + 1)[:count]
        return rest + self.width * (np.cumsum(before) - before)


@dataclass(slots=True)
class AlignmentCounts:
    """Counts of alignment lines; those of two parts of a dataset may be added.

    Attributes
    ----------
    flags : ndarray of int64, shape (65536,)
    distant : ndarray of int64, shape (4,)
        See :func:`agd.cell.distant_mates`.
    mapq : ndarray of int64, shape (256,)
        Mapped primary lines by mapping quality; 255: unknown.
    inserts : ndarray of int64, shape (3, MAX_INSERT + 1)
        As of :func:`agd.ops.stats.insert_sizes`: each pair counts twice.
    mismatches, measured : int
        Sum of NM of the mapped primary and supplementary lines that have it, and their aligned bases (M, I, = and X).
    mapped : ndarray of int64, shape (references,)
        Mapped lines by reference.
    coverage : ndarray of int64, shape (bins,)
        Aligned bases by bin, of what ``agd coverage`` counts.
    """

    flags: I64
    distant: I64
    mapq: I64
    inserts: I64
    mismatches: int
    measured: int
    mapped: I64
    coverage: I64

    @staticmethod
    def none(bins: CoverageBins) -> AlignmentCounts:
        """Counts of nothing."""
        return AlignmentCounts(
            np.zeros(1 << 16, np.int64), np.zeros(4, np.int64), np.zeros(256, np.int64),
            np.zeros((3, MAX_INSERT + 1), np.int64), 0, 0, np.zeros(len(bins.regions), np.int64),
            np.zeros(int(bins.first[-1]), np.int64),
        )  # fmt: skip

    def add(self, other: AlignmentCounts) -> None:
        """Add the counts of other lines."""
        for name in AlignmentCounts.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


def count_alignments(lines: Batch, bins: CoverageBins) -> AlignmentCounts:
    """Counts of the alignment lines of a chunk (see :func:`agd.ops.lines.to_lines`)."""
    a = lines.alignments()
    flag = a.flag
    mapped = (flag & Flag.UNMAPPED) == 0
    further = (flag & Flag.SECONDARY) != 0
    primary = mapped & ((flag & (Flag.SECONDARY | Flag.SUPPLEMENTARY)) == 0)
    pairs = primary & ((flag & Flag.PAIRED) != 0) & ((flag & Flag.MATE_UNMAPPED) == 0)
    number, present = mismatches(lines)
    told = mapped & ~further & present
    placed = a.reference[mapped & (a.reference >= 0)]
    counted = np.flatnonzero(((flag & EXCLUDE) == 0) & (a.reference >= 0))
    starts, ends = blocks(_take(lines, counted).alignments(), bins.layout)
    return AlignmentCounts(
        np.bincount(flag, minlength=1 << 16), np.array(distant_mates(a), np.int64),
        np.bincount(a.mapping_quality[primary], minlength=256), insert_sizes(a, pairs), int(number[told].sum()),
        int(aligned_bases(a)[told].sum()), np.bincount(placed, minlength=len(bins.regions)),
        bins.aligned(starts, ends),
    )  # fmt: skip


def _take(lines: Batch, index: I64) -> Batch:
    from agd.kernels.ragged import take_batch

    only = Batch(lines.first, {"results": lines.alignments()})
    return only if len(index) == len(lines) else take_batch(only, index)
