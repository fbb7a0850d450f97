"""Summary numbers of a dataset, those of ``samtools stats``: lengths, qualities, mapping, mismatches, insert sizes."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from agd import kernels
from agd.batch import I64, Alignments, Batch, Bool
from agd.dataset import Dataset
from agd.ops.handover import add_sparse, sparse
from agd.ops.lines import all_tags
from agd.ops.qualities import quality_sums
from agd.ops.scan import chunk_bytes, scan
from agd.ops.select import Selection
from agd.run import SILENT, Progress, Runner, ThreadRunner, in_flight

#: Greatest insert size that is told apart from greater ones, as in samtools.
MAX_INSERT = 8000

#: Share of the pairs that mean and deviation of the insert size are taken of; the rest are outliers.
_BULK = struct.unpack("f", struct.pack("f", 0.99))[0]

#: Directions of pairs: rows of the table of insert sizes.
INWARD, OUTWARD, OTHER = range(3)

#: Counted things that are added up over chunks.
COUNTS = (
    "first", "last", "neither", "mapped_paired", "mapped_single", "unmapped", "proper", "paired", "duplicated", "mq0",
    "failed", "secondary", "supplementary", "length", "first_length", "last_length", "mapped_length", "mapped_cigar",
    "duplicated_length", "mismatches", "quality", "distant",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StatsReport:
    """Summary numbers.

    Attributes
    ----------
    counts : dict of str to int
        A number for each of :data:`COUNTS`.
    longest, longest_first, longest_last : int
        Bases of the longest read, hard-clipped ends included.
    is_sorted : bool
        No mapped record lies before the one ahead of it on the same reference.
    inserts : ndarray of int64, shape (3, MAX_INSERT + 1)
        Pairs by direction (inward, outward, other) and insert size; greater ones count as the greatest.
    """

    counts: dict[str, int]
    longest: int
    longest_first: int
    longest_last: int
    is_sorted: bool
    inserts: I64

    @property
    def sequences(self) -> int:
        """Reads, without secondary and supplementary alignments."""
        return self.counts["first"] + self.counts["last"] + self.counts["neither"]

    def insert_size(self) -> tuple[float, float]:
        """Mean and standard deviation of the insert size of the main bulk of the pairs."""
        pairs = self.inserts.sum(axis=0)
        total = float(pairs.sum())
        running = np.cumsum(pairs).astype(np.float64)
        beyond = np.flatnonzero(running > total * _BULK) if total else np.empty(0, np.int64)
        # samtools compares the quotient; the product above only finds where to begin.
        bulk = len(pairs)
        used = total
        for size in range(max(0, int(beyond[0]) - 1) if len(beyond) else bulk, bulk):
            if running[size] / total > _BULK:
                bulk, used = size + 1, running[size]
                break
        sizes = np.arange(bulk)
        mean = float((sizes * pairs[:bulk]).sum()) / (used or 1)
        variance = float((pairs[1:bulk] * (sizes[1:] - mean) ** 2 / (used or 1)).sum())
        return mean, math.sqrt(variance)

    def summary(self) -> list[tuple[str, str, str]]:
        """Names, values and remarks of the SN section of ``samtools stats``, in its order."""
        c, n = self.counts, self.sequences
        mean, deviation = self.insert_size()
        inward, outward, other = self.inserts.sum(axis=1).tolist()
        mapped = c["mapped_paired"] + c["mapped_single"]
        rows: list[tuple[str, Any, str]] = [
            ("raw total sequences", n, "excluding supplementary and secondary reads"),
            ("filtered sequences", 0, ""), ("sequences", n, ""),
            ("is sorted", int(self.is_sorted), ("" if self.is_sorted else "not ") + "sorted by coordinate"),
            ("1st fragments", c["first"], ""), ("last fragments", c["last"], ""), ("reads mapped", mapped, ""),
            ("reads mapped and paired", c["mapped_paired"], "paired-end technology bit set + both mates mapped"),
            ("reads unmapped", c["unmapped"], ""), ("reads properly paired", c["proper"], "proper-pair bit set"),
            ("reads paired", c["paired"], "paired-end technology bit set"),
            ("reads duplicated", c["duplicated"], "PCR or optical duplicate bit set"),
            ("reads MQ0", c["mq0"], "mapped and MQ=0"), ("reads QC failed", c["failed"], ""),
            ("non-primary alignments", c["secondary"], ""), ("supplementary alignments", c["supplementary"], ""),
            ("total length", c["length"], "ignores clipping"),
            ("total first fragment length", c["first_length"], "ignores clipping"),
            ("total last fragment length", c["last_length"], "ignores clipping"),
            ("bases mapped", c["mapped_length"], "ignores clipping"),
            ("bases mapped (cigar)", c["mapped_cigar"], "more accurate"), ("bases trimmed", 0, ""),
            ("bases duplicated", c["duplicated_length"], ""), ("mismatches", c["mismatches"], "from NM fields"),
            ("error rate", f"{_ratio(c['mismatches'], c['mapped_cigar']):e}", "mismatches / bases mapped (cigar)"),
            ("average length", f"{_ratio(c['length'], n):.0f}", ""),
            ("average first fragment length", f"{_ratio(c['first_length'], c['first']):.0f}", ""),
            ("average last fragment length", f"{_ratio(c['last_length'], c['last']):.0f}", ""),
            ("maximum length", self.longest, ""), ("maximum first fragment length", self.longest_first, ""),
            ("maximum last fragment length", self.longest_last, ""),
            ("average quality", f"{c['quality'] / c['length'] if c['length'] else 0:.1f}", ""),
            ("insert size average", f"{mean:.1f}", ""), ("insert size standard deviation", f"{deviation:.1f}", ""),
            ("inward oriented pairs", inward, ""), ("outward oriented pairs", outward, ""),
            ("pairs with other orientation", other, ""), ("pairs on different chromosomes", c["distant"] // 2, ""),
            ("percentage of properly paired reads (%)", f"{_ratio(100 * c['proper'], n):.1f}", ""),
        ]  # fmt: skip
        return [(name, str(value), remark) for name, value, remark in rows]

    def text(self) -> str:
        """The SN section of ``samtools stats``, line by line."""
        return "".join(
            f"SN\t{name}:\t{value}" + (f"\t# {remark}\n" if remark else "\n") for name, value, remark in self.summary()
        )

    def to_json(self) -> dict[str, Any]:
        """The summary, and the insert sizes that occur: [size, inward, outward, other]."""
        used = np.flatnonzero(self.inserts.any(axis=0))
        return {
            "summary": {name: float(value) if set(value) & set(".e") else int(value)
                        for name, value, _ in self.summary()},
            "insert_sizes": [[int(size), *self.inserts[:, size].tolist()] for size in used],
        }  # fmt: skip


def _ratio(part: int, whole: int) -> float:
    """A quotient in single precision, as samtools has it."""
    return _single(_single(part) / _single(whole)) if whole else 0.0


def _single(value: float) -> float:
    return float(np.float32(value))


@dataclass(frozen=True, slots=True)
class _Part:
    """What one chunk gives."""

    counts: dict[str, int]
    longest: tuple[int, int, int]
    inserts: tuple[I64, I64]  # sparse
    is_sorted: bool
    edges: tuple[tuple[int, int], tuple[int, int]] | None  # reference and position of the first and last mapped record
    records: int


def stats(
    dataset: Dataset, *, selection: Selection | None = None, runner: Runner | None = None, memory: int | None = None,
    progress: Progress = SILENT,
) -> StatsReport:
    """Summary numbers of a dataset.

    Parameters
    ----------
    dataset : Dataset
        In any order.
    selection : Selection, optional
        Only these records.
    runner, memory, progress
        As in all operations.

    Returns
    -------
    StatsReport
    """
    columns = ["bases", "qualities", "tags"]
    runner = runner or ThreadRunner()
    ahead = in_flight(runner, memory, 2 * chunk_bytes(dataset, columns))
    counts, longest = dict.fromkeys(COUNTS, 0), [0, 0, 0]
    inserts = np.zeros((3, MAX_INSERT + 1), np.int64)
    is_sorted, last = True, (-1, -1)
    progress.begin("statistics", len(dataset), "records")
    for part in scan(dataset, _count, runner=runner, ahead=ahead, columns=columns, selection=selection):
        for name, number in part.counts.items():
            counts[name] += number
        longest = [max(a, b) for a, b in zip(longest, part.longest, strict=True)]
        add_sparse(inserts, part.inserts)
        if part.edges is not None:
            first, end = part.edges
            is_sorted &= part.is_sorted and not (first[0] == last[0] and first[1] < last[1])
            last = end
        progress.advance(part.records)
    progress.end()
    # Each pair was counted twice.
    return StatsReport(counts, longest[0], longest[1], longest[2], is_sorted, inserts // 2)


def _count(lines: Batch) -> _Part:
    a = lines.alignments()
    flag = a.flag
    length = lines.ragged("bases").lengths if "bases" in lines else np.zeros(len(lines), np.int64)
    has = (flag & 0x100) == 0
    counted = has & (length > 0)
    original = counted & ((flag & 0x800) == 0)
    mapped = (flag & 4) == 0
    paired = (flag & 1) != 0
    both = paired & mapped & ((flag & 8) == 0)
    side = np.where(paired, (flag >> 6) & 3, 1)
    counts = {
        "secondary": _sum(~has), "supplementary": _sum(has & ((flag & 0x800) != 0)),
        "duplicated": _sum(counted & ((flag & 0x400) != 0)),
        "duplicated_length": _sum(length, counted & ((flag & 0x400) != 0)),
        "first": _sum(original & (side == 1)), "last": _sum(original & (side == 2)),
        "neither": _sum(original & ((side == 0) | (side == 3))), "length": _sum(length, original),
        "first_length": _sum(length, original & (side == 1)), "last_length": _sum(length, original & (side == 2)),
        "failed": _sum(original & ((flag & 0x200) != 0)), "paired": _sum(original & paired),
        "unmapped": _sum(original & ~mapped), "mapped_length": _sum(length, original & mapped),
        "mq0": _sum(original & mapped & (a.mapping_quality == 0)), "mapped_paired": _sum(original & both),
        "mapped_single": _sum(original & mapped & ~both), "proper": _sum(original & both & ((flag & 2) != 0)),
        "distant": _sum(original & both & (a.reference != a.mate_reference)),
        "quality": _sum(quality_sums(lines), original),
        "mismatches": _sum(mismatches(lines)[0], counted & mapped),
        "mapped_cigar": _sum(aligned_bases(a), counted & mapped),
    }  # fmt: skip
    whole = length + _hard_clipped(a)
    longest = tuple(
        int(whole[chosen].max(initial=0)) for chosen in (counted, counted & (side == 1), counted & (side == 2))
    )
    placed = np.flatnonzero(counted & mapped)
    reference, position = a.reference[placed], a.position[placed]
    is_sorted = not ((reference[1:] == reference[:-1]) & (position[1:] < position[:-1])).any()
    edges = None
    if len(placed):
        edges = (int(reference[0]), int(position[0])), (int(reference[-1]), int(position[-1]))
    assert len(longest) == 3
    return _Part(counts, longest, sparse(insert_sizes(a, original & both)), is_sorted, edges, len(lines))


def _sum(values: I64 | Bool, chosen: Bool | None = None) -> int:
    return int((values if chosen is None else values[chosen]).sum())


def mismatches(lines: Batch) -> tuple[I64, Bool]:
    """The tag NM of each line (0 where there is none), and which lines have one."""
    tags = all_tags(lines).compact()
    assert tags.offsets is not None
    numbers, present = np.zeros(len(tags), np.int64), np.zeros(len(tags), np.bool_)
    values = np.ascontiguousarray(tags.values)
    kernels.aux_numbers(values, tags.offsets, int.from_bytes(b"NM", "little"), numbers, present)
    return numbers, present


def _per_operation(alignments: Alignments, mask: int) -> I64:
    """Sum of the lengths of some operations of each CIGAR; bit i of the mask stands for code i."""
    cigar = alignments.cigar.compact()
    assert cigar.offsets is not None
    lengths = np.where((mask >> (cigar.values & 15)) & 1, cigar.values >> 4, 0)
    total = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=total[1:])
    return np.asarray(total[cigar.offsets[1:]] - total[cigar.offsets[:-1]])


def aligned_bases(alignments: Alignments) -> I64:
    """Bases in M, I, = and X."""
    return _per_operation(alignments, 0b110000011)


def _hard_clipped(alignments: Alignments) -> I64:
    return _per_operation(alignments, 0b100000)


def insert_sizes(a: Alignments, chosen: Bool) -> I64:
    """Reads by direction of their pair and insert size, shape (3, MAX_INSERT + 1): each pair counts twice."""
    size = np.minimum(np.abs(a.template_length), MAX_INSERT)
    at = np.flatnonzero(chosen & ((size > 0) | (a.reference == a.mate_reference)))
    flag, size = a.flag[at], size[at]
    reverse, mate_reverse = (flag & 0x10) != 0, (flag & 0x20) != 0
    first = np.where(flag & 0x40, 1, -1)
    ahead = first * np.sign(a.mate_position[at] - a.position[at])
    facing = first * np.where(reverse, -1, 1) > 0
    inward = np.where(ahead > 0, facing, np.where(ahead < 0, ~facing, True))
    kind = np.where(reverse == mate_reverse, OTHER, np.where(inward, INWARD, OUTWARD))
    table = np.bincount(kind * (MAX_INSERT + 1) + size, minlength=3 * (MAX_INSERT + 1))
    return table.reshape(3, MAX_INSERT + 1).astype(np.int64)
