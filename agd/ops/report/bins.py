"""Cycles as they are counted, and in the groups that are shown."""

from __future__ import annotations

import numpy as np

from agd.batch import I32, I64

#: Cycles that are counted one by one; beyond them in bins of 100, 1,000, … cycles.
EXACT = 9_999

#: Most groups that are shown, and the cycles before the first group of more than one (as FastQC).
_GROUPS, _SINGLE = 75, 9


def bins_of(cycles: int) -> tuple[I32, int]:
    """Bin of each of the first cycles, and the number of bins; the bin of a cycle is the same for any number of them.

    Parameters
    ----------
    cycles : int
        Length of the longest read.

    Returns
    -------
    bins : ndarray of int32, shape (cycles,)
    count : int
        At least 1.
    """
    cycle = np.arange(1, cycles + 1)
    digits = np.zeros(cycles, np.int64)
    for power in range(4, 19):
        if cycles < 10**power:
            break
        digits[10**power - 1 :] += 1
    unit = 10 ** (digits + 1)
    bins = np.where(digits == 0, cycle - 1, EXACT + (digits - 1) * 900 + (cycle - 100 * unit) // unit)
    return bins.astype(np.int32), int(bins[-1]) + 1 if cycles else 1


def starts_of(bins: int) -> I64:
    """First cycle (1-based) of each bin."""
    index = np.arange(bins)
    over = np.maximum(index - EXACT, 0)
    power = 10 ** (over // 900 + 4)
    return np.where(index < EXACT, index + 1, power + over % 900 * (power // 100)).astype(np.int64)


def groups_of(longest: int) -> list[tuple[int, int]]:
    """Cycles that are shown together: at most 75 intervals, 1-based and closed.

    Up to 75 cycles stand alone; of more, the first nine do, and the rest in groups of 2, 5, 10, 20, … as FastQC has it.
    """
    width = 1 if longest <= _GROUPS else _interval(longest)
    groups = []
    start = 1
    while start <= longest:
        end = start + (width if start > _SINGLE else 1) - 1
        if start == _SINGLE + 1 and width > start:
            end = width - 1
        groups.append((start, min(end, longest)))
        start = end + 1
    return groups


def _interval(longest: int) -> int:
    factor = 1
    while True:
        for width in (2, 5, 10):
            if _SINGLE + -(-(longest - _SINGLE) // (width * factor)) < _GROUPS:
                return width * factor
        factor *= 10


def group_index(longest: int, bins: int) -> I64:
    """Group of each bin, see :func:`groups_of`."""
    starts = np.array([start for start, _ in groups_of(longest)] or [1])
    return np.searchsorted(starts, starts_of(bins), side="right") - 1
