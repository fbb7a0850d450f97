"""Reference of the kernels that count by cycle, in the direction of sequencing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agd.batch import I32, I64, U8, U64, Bool
from agd.errors import KernelError
from agd.kernels.reference.ragged import check_offsets

#: Group of the records that are not counted.
SKIP = 255

_QUALITIES, _LETTERS = 94, 6

_CLASSES = np.full(256, 5, np.uint8)
for _code, _letter in enumerate(b"ACGTN"):
    _CLASSES[[_letter, _letter | 0x20]] = _code


def quality_cycles(
    qualities: U8, offsets: I64, group: U8, reverse: Bool, bins: I32, bin_count: int, base: int, counts: I64, means: I64
) -> None:
    """Histogram of qualities by cycle, and the mean quality of each record.

    Parameters
    ----------
    qualities, offsets
        Record ``i`` is ``qualities[offsets[i]:offsets[i + 1]]``.
    group : ndarray of uint8, shape (records,)
        Which table the record is counted in; 255: in none.
    reverse : ndarray of bool, shape (records,)
        Whether the first cycle is the last value.
    bins : ndarray of int32, shape (cycles,)
        Bin of each cycle (0-based); at least as many as the longest counted record has values.
    bin_count : int
    base : int
        What is taken off each value (33 where qualities are text).
    counts : ndarray of int64, shape (groups * bin_count * 94,)
        Added to: values by group, bin and quality.
    means : ndarray of int64, shape (records,)
        Written: the mean, rounded down; -1 for records that are empty or not counted.

    Raises
    ------
    KernelError
        A quality, bin, group or offset is out of range; arrays differ in length.
    """
    record, cycle, value = _counted(qualities, offsets, group, reverse, bins, bin_count, len(counts), _QUALITIES)
    if len(means) != len(group):
        raise KernelError("the arrays differ in length")
    quality = value.astype(np.int64) - base
    wrong = np.flatnonzero((quality < 0) | (quality >= _QUALITIES))
    if len(wrong):
        raise KernelError("quality outside of 0 to 93", int(record[wrong[0]]), int(cycle[wrong[0]]))
    place = (group[record].astype(np.int64) * bin_count + bins[cycle]) * _QUALITIES + quality
    counts += np.bincount(place, minlength=len(counts))
    size = np.bincount(record, minlength=len(means))
    total = np.bincount(record, quality, len(means)).astype(np.int64)
    means[:] = np.where(size > 0, total // np.maximum(size, 1), -1)


def base_cycles(
    bases: U8, offsets: I64, group: U8, reverse: Bool, bins: I32, bin_count: int, limits: I64, adapters: U64,
    width: int, counts: I64, first: I64, strong: I64,
) -> None:
    """Histogram of bases by cycle, where adapters begin, and how many bases are G or C.

    Parameters
    ----------
    bases, offsets, group, reverse, bins, bin_count
        As of :func:`quality_cycles`; reversed records are complemented.
    limits : ndarray of int64, shape (records,)
        Number of bases, from the first cycle on, among which G and C are counted.
    adapters : ndarray of uint64, shape (adapters,)
        Two bits a base (A=0, C=1, G=2, T=3), the first base highest; at most 32.
    width : int
        Bases of each adapter, 6 to 31.
    counts : ndarray of int64, shape (groups * bin_count * 6,)
        Added to: bases by group, bin and letter (A, C, G, T, N, other).
    first : ndarray of int64, shape (groups * adapters * bin_count,)
        Added to: records by group, adapter, and bin where its first occurrence begins.
    strong : ndarray of int64, shape (records,)
        Written: G and C among the first ``limits[i]`` bases; 0 for records that are not counted.

    Raises
    ------
    KernelError
        A bin, group or offset is out of range; arrays differ in length.
    """
    record, cycle, value = _counted(bases, offsets, group, reverse, bins, bin_count, len(counts), _LETTERS)
    kinds, groups = len(adapters), len(counts) // (bin_count * _LETTERS)
    if kinds > 32 or not 6 <= width <= 31:
        raise KernelError("too many adapters, or not of 6 to 31 bases")
    if len(first) != groups * kinds * bin_count:
        raise KernelError("adapters differ from their counts")
    if not len(limits) == len(strong) == len(group):
        raise KernelError("the arrays differ in length")
    letter = _CLASSES[value].astype(np.int64)
    letter = np.where(reverse[record] & (letter < 4), 3 - letter, letter)
    place = (group[record].astype(np.int64) * bin_count + bins[cycle]) * _LETTERS + letter
    counts += np.bincount(place, minlength=len(counts))
    counted = (cycle < limits[record]) & ((letter == 1) | (letter == 2))
    strong[:] = np.bincount(record[counted], minlength=len(strong))
    for a, code in enumerate(adapters.tolist()):
        wanted = [code >> 2 * (width - 1 - i) & 3 for i in range(width)]
        starts = max(0, len(letter) - width + 1)
        match = np.ones(starts, np.bool_)
        for i, base in enumerate(wanted):
            match &= (letter[i : i + starts] == base) & (record[i : i + starts] == record[:starts])
        at = np.flatnonzero(match)
        _, once = np.unique(record[at], return_index=True)
        at = at[once]
        places = (group[record[at]].astype(np.int64) * kinds + a) * bin_count + bins[cycle[at]]
        first += np.bincount(places, minlength=len(first))


def _counted(
    values: U8, offsets: I64, group: U8, reverse: Bool, bins: I32, bin_count: int, cells: int, per_bin: int
) -> tuple[I64, I64, NDArray[np.uint8]]:
    """Record, cycle and value of all that is counted, in the order of records and cycles."""
    check_offsets(offsets, len(values), "offsets outside of the values")
    lengths = np.diff(offsets)
    if not len(group) == len(reverse) == len(lengths):
        raise KernelError("the arrays differ in length")
    if bin_count < 1 or cells % (bin_count * per_bin):
        raise KernelError("counts are not of this many bins")
    if len(bins) and not 0 <= bins.min() <= bins.max() < bin_count:
        raise KernelError("there is no such bin")
    used = group != SKIP
    for wrong, reason in (
        (used & (group >= cells // (bin_count * per_bin)), "there is no such group"),
        (used & (lengths > len(bins)), "record longer than the cycles"),
    ):
        if wrong.any():
            raise KernelError(reason, int(np.flatnonzero(wrong)[0]))
    lengths = np.where(used, lengths, 0)
    record = np.repeat(np.arange(len(lengths)), lengths)
    cycle = np.arange(len(record)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    source = np.where(reverse[record], offsets[record + 1] - 1 - cycle, offsets[record] + cycle)
    return record, cycle, values[source]
