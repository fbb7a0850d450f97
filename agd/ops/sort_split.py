"""Where the merged sequence of sorted runs is cut, without merging it: multi-sequence selection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from agd.batch import I64, Column
from agd.kernels.ragged import concat
from agd.ops.sort_keys import Key, argsort


class SortedRun(Protocol):
    """Sorted records of which keys and sizes can be looked up."""

    def __len__(self) -> int: ...

    def key(self, record: int) -> Key:
        """Key of one record."""
        ...

    def bisect(self, key: Key, low: int, high: int, *, right: bool) -> int:
        """See :func:`agd.ops.sort_keys.bisect`."""
        ...

    def keys(self, start: int, stop: int) -> Column:
        """Keys of records ``start`` to ``stop`` (half-open)."""
        ...

    def sizes(self, column: str, start: int, stop: int) -> I64:
        """Bytes of a column in each of these records."""
        ...

    def widest(self, column: str) -> int:
        """Most bytes of a column in any record."""
        ...


Cut = list[int]  #: a position in every run


def select(runs: Sequence[SortedRun], low: Cut, count: int) -> Cut:
    """Where each run is cut so that exactly ``count`` records lie between ``low`` and the cut.

    The records before the cut are the first ones by key; records of equal key are taken in the order of the runs and
    within them of their positions, so the cut is unique. Pivots come from the widest window; each one narrows all.
    """
    low, wanted = list(low), sum(low) + count
    high = [min(len(run), start + count) for run, start in zip(runs, low, strict=True)]
    if sum(high) <= wanted:
        return high
    while True:
        widest = max(range(len(runs)), key=lambda i: high[i] - low[i])
        if high[widest] == low[widest]:
            return low
        middle = (low[widest] + high[widest]) // 2
        pivot = runs[widest].key(middle)
        cut = [
            middle if i == widest
            else run.bisect(pivot, low[i], high[i], right=i < widest) if low[i] < high[i] else low[i]
            for i, run in enumerate(runs)
        ]  # fmt: skip
        before = sum(cut)
        if before == wanted:
            return cut
        if before < wanted:
            low = cut
            low[widest] = middle + 1
        else:
            high = cut


class Window(NamedTuple):
    """Consecutive output chunks that are merged by one task.

    Attributes
    ----------
    first : int
        Ordinal of the first record.
    low, high : list of int
        Records ``low[i]`` to ``high[i]`` of run ``i`` (half-open).
    counts : tuple of int
        Records of each chunk.
    """

    first: int
    low: Cut
    high: Cut
    counts: tuple[int, ...]


def merge_order(runs: Sequence[SortedRun], low: Cut, high: Cut) -> tuple[Cut, I64]:
    """Runs that have records in a window, and the order of these records (indices into them, run after run)."""
    present = [i for i in range(len(runs)) if low[i] < high[i]]
    return present, argsort(concat([runs[i].keys(low[i], high[i]) for i in present]))


def windows(
    runs: Sequence[SortedRun], records: int, limit: int, columns: Sequence[str], least: int
) -> Iterator[Window]:
    """Cut the merged sequence into chunks.

    Parameters
    ----------
    records : int
        Of a full chunk.
    limit : int
        A chunk is closed by the record with which one of ``columns`` reaches this many bytes.
    least : int
        Chunks are taken together until a window has this many records, unless bytes may close them.
    """
    bounded = [c for c in columns if records * max((run.widest(c) for run in runs), default=0) > limit]
    total, first, low = sum(len(run) for run in runs), 0, [0] * len(runs)
    while first < total:
        if bounded:
            # As many records as may be in a chunk are looked at; the last chunk of them may go on after them.
            count = min(records, total - first)
            counts = cut_by_size(runs, low, select(runs, low, count), records, limit, bounded)
            if len(counts) > 1 and first + count < total:
                counts.pop()
            taken: list[tuple[int, ...]] = [(n,) for n in counts]
        else:
            count = min(-(-max(least, 1) // records) * records, total - first)
            taken = [tuple(min(records, count - done) for done in range(0, count, records))]
        for window in taken:
            high = select(runs, low, sum(window))
            yield Window(first, low, high, window)
            first, low = first + sum(window), high


def cut_by_size(
    runs: Sequence[SortedRun], low: Cut, high: Cut, records: int, limit: int, columns: Sequence[str]
) -> list[int]:
    """Records of the chunks of a window, as :func:`windows` cuts them; the last one may end with the window."""
    present, order = merge_order(runs, low, high)
    sums = []
    for column in columns:
        sizes = np.concatenate([runs[i].sizes(column, low[i], high[i]) for i in present])[order]
        sums.append(np.cumsum(sizes))
    counts, done = [], 0
    while done < len(order):
        end = min(done + records, len(order))
        for total in sums:
            before = int(total[done - 1]) if done else 0
            end = min(end, int(np.searchsorted(total[done:end], before + limit)) + done + 1)
        counts.append(end - done)
        done = end
    return counts
