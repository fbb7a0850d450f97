"""Depth of every position of some references, from whole arrays, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from agd import kernels
from agd.batch import I32, I64, Alignments, Batch
from agd.dataset import Dataset
from agd.manifest import Chunk
from agd.ops.handover import Arrays, Handover
from agd.ops.scan import chunk_bytes, scan
from agd.ops.select import Region, Selection
from agd.run import SILENT, Progress, Runner, ThreadRunner, in_flight, local_runner, memory_of
from agd.run.memory import BASE

#: Records that do not count, as in samtools depth and coverage: unmapped, secondary, failed, duplicates.
EXCLUDE = 0x704

#: Bytes for each position while depths are made: a difference, and then the sum of those up to there in its place.
_BYTES_PER_POSITION = 4

#: Most positions of a pass when the memory would allow more: arrays beyond it only cost time.
_MOST_POSITIONS = 1 << 29


@dataclass(frozen=True, slots=True)
class Stretch:
    """Depth of a region.

    Attributes
    ----------
    region : Region
    start : int
        0-based position on the reference where ``depth`` begins.
    depth : ndarray of int32, shape (positions,)
        Reads with an aligned base (M, = or X) at each position from ``start`` on; 0 in the rest of the region.
    counts : ndarray of int64, or None
        What ``work`` of :func:`depths` has counted for the reference; None: nothing was read.
    """

    region: Region
    start: int
    depth: I32
    counts: I64 | None


@dataclass(frozen=True, slots=True)
class Layout:
    """Regions side by side in one array.

    Attributes
    ----------
    regions : tuple of Region
        At most one of each reference.
    shift : ndarray of int64, shape (references,)
        What is added to a position to get its place in the array.
    low, high : ndarray of int64, shape (references,)
        Places of the region of each reference; an empty interval where there is none.
    size : int
        Positions in all.
    """

    regions: tuple[Region, ...]
    shift: I64
    low: I64
    high: I64
    size: int

    @staticmethod
    def of(regions: Sequence[Region], references: int) -> Layout:
        """Layout of regions in their order."""
        shift, low, high = (np.zeros(references + 1, np.int64) for _ in range(3))
        at = 0
        for region in regions:
            r = region.reference
            length = region.end - region.start
            shift[r], low[r], high[r] = at - region.start, at, at + length
            at += length
        return Layout(tuple(regions), shift, low, high, at)

    def places(self, alignments: Alignments) -> tuple[I64, I64, I64]:
        """Place of each alignment, and the interval of its region."""
        r = alignments.reference
        # Places left of the array are cut away by the interval; the kernels want none below -1 for the position.
        return alignments.position + self.shift[r], self.low[r], self.high[r]


def passes(needed: Sequence[tuple[Region, Region]], budget: int) -> Iterator[list[tuple[Region, Region]]]:
    """Regions, with the part of each that is not empty, in groups.

    A group has at most ``budget`` positions in all, and one region of a reference.
    """
    group: list[tuple[Region, Region]] = []
    used: set[int] = set()
    size = 0
    for region, part in needed:
        length = part.end - part.start
        if group and (size + length > budget or region.reference in used):
            yield group
            group, used, size = [], set(), 0
        group.append((region, part))
        used.add(region.reference)
        size += length
    if group:
        yield group


def occupied(dataset: Dataset, region: Region) -> Region:
    """The part of a region that alignments may lie in, by the statistics of the chunks."""
    low, high = region.end, region.start
    for chunk in dataset.chunks:
        for name, cell in chunk.cells.items():
            if not (name == "results" or name.startswith("secondary")):
                continue
            if "spans" not in cell.statistics:
                return region
            for reference, start, end in cell.statistics["spans"]:
                if reference == region.reference:
                    low, high = min(low, start), max(high, end)
    start = min(max(low, region.start), region.end)
    return Region(region.reference, start, max(start, min(high, region.end)))


def touches(chunk: Chunk, regions: Sequence[Region]) -> bool:
    """Whether a chunk may hold alignments in any of the regions, by its statistics."""
    wanted = {region.reference: region for region in regions}
    for name, cell in chunk.cells.items():
        if name == "results" or name.startswith("secondary"):
            spans = cell.statistics.get("spans")
            if spans is None:
                return True
            for r, start, end in spans:
                if r in wanted and start < wanted[r].end and end > wanted[r].start:
                    return True
    return False


def depths(
    dataset: Dataset, regions: Sequence[Region], *, exclude: int = EXCLUDE, require: int = 0, min_mapq: int = 0,
    columns: Sequence[str] = (), work: Callable[[Batch, Layout], I64] | None = None, runner: Runner | None = None,
    memory: int | None = None, progress: Progress = SILENT,
) -> Iterator[Stretch]:
    """Depth of regions, one after the other.

    Parameters
    ----------
    dataset : Dataset
        In any order; sorted by coordinate, each chunk is read about once whatever the memory.
    regions : sequence of Region
    exclude, require, min_mapq : int
        Records with any of these flags, or without one of these, or of less mapping quality do not count.
    columns : sequence of str
        Columns that ``work`` needs.
    work : callable, optional
        Called with the counted alignment lines of each chunk, on any thread; returns counts of shape (things,
        references + 1), which are added up.
    runner, memory, progress
        As in all operations.

    Yields
    ------
    Stretch
        In the order of the regions. The arrays are only lent: they change when the next one is asked for.

    Examples
    --------
    >>> from agd.selection import parse_region
    >>> ds = agd.open("sorted.agd")
    >>> region = parse_region("chr1:1,001-2,000", ds.manifest.references)     # 1-based, closed
    >>> [(stretch.start, len(stretch.depth)) for stretch in agd.depths(ds, [region])]
    [(1000, 1000)]
    """
    runner = runner or ThreadRunner()
    memory = memory_of(runner, memory)
    item = chunk_bytes(dataset, columns)
    room = memory - BASE - 2 * local_runner(runner).workers * item
    budget = max(1, min(_MOST_POSITIONS, room // _BYTES_PER_POSITION))
    needed = [(region, occupied(dataset, region)) for region in regions]
    largest = max((part.end - part.start for _, part in needed), default=0)
    total = sum(part.end - part.start for _, part in needed)
    fixed = _BYTES_PER_POSITION * min(total, max(budget, largest))
    ahead = in_flight(runner, memory, item, fixed=fixed)
    selection = Selection(require=require, exclude=exclude, min_mapq=min_mapq)
    handover = Handover.of(runner, dataset.storage)
    for group in passes(needed, budget):
        parts = [part for _, part in group]
        layout = Layout.of(parts, len(dataset.manifest.references))
        differences = np.zeros(layout.size + 1, np.int32)
        filled = [part for part in parts if part.end > part.start]
        chosen = [chunk for chunk in dataset.chunks if touches(chunk, filled)]

        def count(lines: Batch, layout: Layout = layout) -> tuple[Arrays | str, int]:
            starts, ends = blocks(lines.alignments(), layout)
            found = {"starts": starts, "ends": ends} | ({"counts": work(lines, layout)} if work else {})
            return handover.give(lines.first, found), len(lines)

        counts: I64 | None = None
        progress.begin("depth", sum(c.count for c in chosen), "records")
        for given, records in scan(
            dataset, count, runner=runner, ahead=ahead, columns=columns, selection=selection, only=chosen
        ):
            found = handover.take(given)
            kernels.add_spans(found["starts"], found["ends"], differences)
            if work is not None:
                counts = found["counts"] if counts is None else counts + found["counts"]
            progress.advance(records)
        progress.end()
        yield from _stretches([region for region, _ in group], layout, differences, counts)


def _stretches(
    regions: Sequence[Region], layout: Layout, differences: I32, counts: I64 | None
) -> Iterator[Stretch]:
    for region, part in zip(regions, layout.regions, strict=True):
        low, high = int(layout.low[part.reference]), int(layout.high[part.reference])
        depth = differences[low:high]
        # A block that ends where its region does takes 1 off the first position of the next region.
        carried = differences[high] if high < len(differences) else 0
        np.cumsum(depth, out=depth)
        if high > low:
            differences[high] = carried + depth[-1]
        yield Stretch(region, part.start, depth, None if counts is None else counts[:, part.reference])


def blocks(alignments: Alignments, layout: Layout) -> tuple[I64, I64]:
    """Aligned blocks of alignments in the places of a layout, half-open."""
    place, low, high = layout.places(alignments)
    chosen = np.flatnonzero(high > low)
    cigar = alignments.cigar
    if len(chosen) < len(alignments):
        from agd.kernels.ragged import take

        place, low, high, cigar = place[chosen], low[chosen], high[chosen], take(cigar, chosen)
    cigar = cigar.compact()
    assert cigar.offsets is not None
    # An alignment may begin left of its region: the kernel takes no negative places, so all are moved up.
    lift = -min(0, int(place.min(initial=0)))
    starts, ends = np.empty(len(cigar.values), np.int64), np.empty(len(cigar.values), np.int64)
    values = np.ascontiguousarray(cigar.values)
    count = kernels.aligned_blocks(place + lift, values, cigar.offsets, low + lift, high + lift, starts, ends)
    return starts[:count] - lift, ends[:count] - lift


def runs(stretch: Stretch, *, zero: bool = False) -> tuple[I64, I64, I32]:
    """Stretches of equal depth: 0-based starts and ends, half-open, on the reference; and the depths.

    Parameters
    ----------
    zero : bool
        With those of no depth.
    """
    depth, region = stretch.depth, stretch.region
    changes = np.flatnonzero(depth[1:] != depth[:-1]) + 1
    first = np.array([0] if len(depth) else [], np.int64)
    begins = np.concatenate([first, changes]).astype(np.int64)
    # What lies outside of the array has no depth; where it touches a run of none, the two are one.
    starts = np.concatenate([[region.start], begins + stretch.start, [stretch.start + len(depth)]]).astype(np.int64)
    values = np.concatenate([[0], depth[begins], [0]]).astype(np.int32)
    ends = np.append(starts[1:], region.end)
    full = ends > starts
    starts, ends, values = starts[full], ends[full], values[full]
    new = np.ones(len(values), np.bool_)
    new[1:] = values[1:] != values[:-1]
    starts, values = starts[new], values[new]
    ends = np.append(starts[1:], region.end)[: len(starts)]
    keep = slice(None) if zero else values != 0
    return starts[keep], ends[keep], values[keep]


def whole_references(dataset: Dataset) -> list[Region]:
    """Every reference as a region."""
    return [Region(i, 0, reference.length) for i, reference in enumerate(dataset.manifest.references)]


def bedgraph(dataset: Dataset, stretches: Iterator[Stretch], *, zero: bool = False) -> Iterator[str]:
    """Lines of bedGraph: name, 0-based start, end, depth of every run of equal depth."""
    for stretch in stretches:
        name = dataset.manifest.references[stretch.region.reference].name
        starts, ends, values = runs(stretch, zero=zero)
        for at in range(0, len(starts), 1 << 16):
            piece = [x[at : at + (1 << 16)].tolist() for x in (starts, ends, values)]
            yield "".join(f"{name}\t{a}\t{b}\t{d}\n" for a, b, d in zip(*piece, strict=True))


def per_base(dataset: Dataset, stretches: Iterator[Stretch], *, zero: bool = False) -> Iterator[str]:
    """Lines as of ``samtools depth`` (with ``zero``: ``-a``): name, 1-based position, depth.

    Without ``zero`` no line has a depth of 0; samtools writes some, where reads have nothing but deletions.
    """
    for stretch in stretches:
        name = dataset.manifest.references[stretch.region.reference].name
        for starts, ends, values in _pieces(runs(stretch, zero=zero)):
            yield "".join(
                f"{name}\t{position}\t{depth}\n"
                for start, end, depth in zip(starts, ends, values, strict=True)
                for position in range(start + 1, end + 1)
            )


def _pieces(found: tuple[I64, I64, I32], size: int = 1 << 14) -> Iterator[list[list[int]]]:
    """Runs as lists of numbers, some at a time; long runs are cut up, so that no piece becomes a long text."""
    starts, ends, values = found
    for at in range(0, len(starts), size):
        some = [x[at : at + size] for x in (starts, ends, values)]
        if int((some[1] - some[0]).max()) <= size:
            yield [x.tolist() for x in some]
            continue
        for start, end, value in zip(*(x.tolist() for x in some), strict=True):
            for begin in range(start, end, size):
                yield [[begin], [min(begin + size, end)], [value]]
