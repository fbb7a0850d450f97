"""Coverage of references or regions, as ``samtools coverage``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from agd import kernels
from agd.batch import I64, Batch, Column
from agd.cell import reference_lengths
from agd.dataset import Dataset
from agd.manifest import Chunk
from agd.ops.depth import EXCLUDE, Layout, depths, whole_references
from agd.ops.qualities import MISSING, missing_qualities
from agd.ops.select import Region
from agd.run import SILENT, Progress, Runner

HEADER = "#rname\tstartpos\tendpos\tnumreads\tcovbases\tcoverage\tmeandepth\tmeanbaseq\tmeanmapq\n"


@dataclass(frozen=True, slots=True)
class RegionCoverage:
    """Coverage of a region.

    Attributes
    ----------
    name : str
        Reference.
    start, end : int
        0-based, half-open.
    reads : int
        Reads that count and overlap.
    covered : int
        Positions with a depth of 1 or more.
    bases : int
        Sum of all depths.
    quality_sum, quality_bases : int
        Sum of the qualities of the aligned bases (255 for those without one), and how many bases of reads there are.
    mapq_sum : int
        Sum of the mapping qualities of the reads.
    """

    name: str
    start: int
    end: int
    reads: int
    covered: int
    bases: int
    quality_sum: int
    quality_bases: int
    mapq_sum: int

    @property
    def percent(self) -> float:
        """Share of the positions that are covered, 0 to 100."""
        return 100.0 * self.covered / (self.end - self.start) if self.end > self.start else 0.0

    @property
    def mean_depth(self) -> float:
        """Mean depth of all positions."""
        return self.bases / (self.end - self.start) if self.end > self.start else 0.0

    @property
    def mean_quality(self) -> float:
        """Mean quality of the aligned bases."""
        return self.quality_sum / self.quality_bases if self.quality_bases else 0.0

    @property
    def mean_mapq(self) -> float:
        """Mean mapping quality of the reads."""
        return self.mapq_sum / self.reads if self.reads else 0.0

    def line(self) -> str:
        """Line of ``samtools coverage``."""
        return (
            f"{self.name}\t{self.start + 1}\t{self.end}\t{self.reads}\t{self.covered}\t{self.percent:g}\t"
            f"{self.mean_depth:g}\t{self.mean_quality:.3g}\t{self.mean_mapq:.3g}\n"
        )


@dataclass(frozen=True, slots=True)
class CoverageReport:
    """Coverage of some regions.

    Attributes
    ----------
    regions : tuple of RegionCoverage
    """

    regions: tuple[RegionCoverage, ...]

    def text(self) -> str:
        """The same text as ``samtools coverage``: covered regions first."""
        ordered = sorted(self.regions, key=lambda r: r.bases == 0)
        return HEADER + "".join(region.line() for region in ordered)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "regions": [
                asdict(r) | {"percent": r.percent, "mean_depth": r.mean_depth, "mean_quality": r.mean_quality,
                             "mean_mapq": r.mean_mapq}
                for r in self.regions
            ]
        }  # fmt: skip


def coverage(
    dataset: Dataset, regions: Sequence[Region] | None = None, *, exclude: int = EXCLUDE, require: int = 0,
    min_mapq: int = 0, runner: Runner | None = None, memory: int | None = None, progress: Progress = SILENT,
) -> CoverageReport:
    """Coverage of every reference, or of regions.

    Parameters
    ----------
    dataset : Dataset
        In any order.
    regions : sequence of Region, optional
        Default: all references.
    exclude, require, min_mapq : int
        Records that do not count; by default, as in samtools: unmapped, secondary, failed, duplicates.
    runner, memory, progress
        As in all operations.

    Returns
    -------
    CoverageReport

    Examples
    --------
    >>> report = agd.coverage(agd.open("sorted.agd"))
    >>> [region.bases > 0 for region in report.regions]
    [True, True]
    """
    wanted = [r for r in regions if r.reference >= 0] if regions is not None else whole_references(dataset)
    result = []
    for stretch in depths(
        dataset, wanted, exclude=exclude, require=require, min_mapq=min_mapq, columns=_columns(dataset),
        work=_qualities, runner=runner, memory=memory, progress=progress,
    ):  # fmt: skip
        region = stretch.region
        reads, mapq, quality, bases = (0, 0, 0, 0) if stretch.counts is None else stretch.counts.tolist()
        result.append(RegionCoverage(
            dataset.manifest.references[region.reference].name, region.start, region.end, reads,
            int(np.count_nonzero(stretch.depth)), int(stretch.depth.sum(dtype=np.int64)), quality, bases, mapq,
        ))  # fmt: skip
    return CoverageReport(tuple(result))


def _qualities(lines: Batch, layout: Layout) -> I64:
    """By reference: reads, and sums of mapping qualities, of qualities of aligned bases, and of their number."""
    alignments = lines.alignments()
    count = len(layout.shift)
    counts = np.zeros((4, count), np.int64)
    place, low, high = layout.places(alignments)
    inside = (place < high) & (place + np.maximum(reference_lengths(alignments.cigar), 1) > low) & (high > low)
    reference = alignments.reference[inside]
    counts[0] = np.bincount(reference, minlength=count)
    counts[1] = np.bincount(reference, alignments.mapping_quality[inside], count).astype(np.int64)
    lift = -min(0, int(place.min(initial=0)))
    spans = place + lift, alignments.cigar.compact(), low + lift, high + lift
    sums, bases = np.zeros(len(lines), np.int64), np.zeros(len(lines), np.int64)
    if "qualities" in lines:
        sums, bases = _aligned(*spans, lines.ragged("qualities").compact())
    missing = missing_qualities(lines)
    if missing.any():
        # Their bases are counted by qualities of 1.
        ones = Column.from_lengths(np.full(int(missing.sum()), 34, np.uint8), missing)
        number, _ = _aligned(*spans, ones)
        sums, bases = sums + MISSING * number, bases + number
    for row, values in ((2, sums), (3, bases)):
        # Weights are doubles: exact up to 2^53, far more than a chunk holds.
        counts[row] = np.bincount(reference, values[inside], count).astype(np.int64)
    return counts


def _columns(dataset: Dataset) -> list[str]:
    """Columns that are read: bases only where the statistics do not rule out that some have no quality."""

    def total(chunk: Chunk, name: str) -> int | None:
        return chunk.cells[name].statistics.get("total") if name in chunk.cells else 0

    totals = [(total(chunk, "bases"), total(chunk, "qualities")) for chunk in dataset.chunks]
    some = any(bases is None or bases != qualities for bases, qualities in totals)
    return [name for name in ("qualities", "bases")[: 1 + some] if name in dataset.columns]


def _aligned(place: I64, cigar: Column, low: I64, high: I64, qualities: Column) -> tuple[I64, I64]:
    """Sum and number of the qualities of the aligned bases of each line."""
    assert cigar.offsets is not None
    assert qualities.offsets is not None
    sums, bases = np.empty(len(place), np.int64), np.empty(len(place), np.int64)
    values, letters = np.ascontiguousarray(cigar.values), np.ascontiguousarray(qualities.values)
    kernels.aligned_qualities(place, values, cigar.offsets, letters, qualities.offsets, 33, low, high, sums, bases)
    return sums, bases
