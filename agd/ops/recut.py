"""Chunks of a new dataset from records that come in other portions: where they are cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from agd.batch import I64, Batch
from agd.kernels.ragged import concat_batches


class Cutter:
    """Cuts records that are shown in their order, portion by portion; the cuts do not hang on the portions.

    Parameters
    ----------
    records : int
        Of a full chunk.
    limit : int
        A chunk is closed by the record with which its bases reach this many.
    mates : int
        So many consecutive records stay together (1 or 2).
    """

    def __init__(self, records: int, limit: int, mates: int) -> None:
        self._records, self._limit, self._mates = records, limit, mates
        self._count = self._held = 0

    def pieces(self, sizes: I64) -> Iterator[tuple[int, int, bool]]:
        """Pieces of the next portion.

        Parameters
        ----------
        sizes : ndarray of int64, shape (records,)
            Bases of each record.

        Yields
        ------
        start, stop : int
            Places in the portion (0-based, half-open).
        full : bool
            Whether a chunk ends with this piece.
        """
        sums = np.concatenate([[0], np.cumsum(sizes)])
        at = 0
        while at < len(sizes):
            size = min(self._records - self._count, len(sizes) - at)
            size = min(size, max(1, int(np.searchsorted(sums, sums[at] + self._limit - self._held)) - at))
            size = min(size + (self._count + size) % self._mates, len(sizes) - at)
            self._held += int(sums[at + size] - sums[at])
            self._count += size
            full = self._count >= self._records or (self._held >= self._limit and self._count % self._mates == 0)
            if full:
                self._count = self._held = 0
            yield at, at + size, full
            at += size


def sizes_of(batch: Batch) -> I64:
    """Bases of each record, int64; none where there is no such column."""
    return batch.ragged("bases").lengths if "bases" in batch else np.zeros(len(batch), np.int64)


def recut(batches: Iterable[Batch], cutter: Cutter) -> Iterator[Batch]:
    """The same records, numbered from 0, in batches as they are cut."""
    parts: list[Batch] = []
    first = 0
    for batch in batches:
        for start, stop, full in cutter.pieces(sizes_of(batch)):
            parts.append(batch.slice(start, stop))
            if full:
                yield joined(first, parts)
                first, parts = first + sum(map(len, parts)), []
    if parts:
        yield joined(first, parts)


def joined(first: int, parts: list[Batch]) -> Batch:
    """One batch of several, which begins with ordinal ``first``."""
    return Batch(first, dict(concat_batches(parts).columns))


@dataclass(frozen=True, slots=True)
class Plan:
    """What a chunk is made of.

    Attributes
    ----------
    first : int
        Ordinal of its first record.
    pieces : tuple of (int, int, int)
        Ordinal of a portion, and the records of it that are in the chunk (0-based, half-open).
    """

    first: int
    pieces: tuple[tuple[int, int, int], ...]


def plans(portions: Iterable[tuple[int, I64]], cutter: Cutter) -> Iterator[Plan]:
    """Where the records of each chunk come from, for portions of which only the sizes are known.

    Parameters
    ----------
    portions : iterable of (int, ndarray of int64)
        Ordinal and sizes (see :meth:`Cutter.pieces`) of each.
    """
    found: list[tuple[int, int, int]] = []
    first = 0
    for number, sizes in portions:
        for start, stop, full in cutter.pieces(sizes):
            found.append((number, start, stop))
            if full:
                yield Plan(first, tuple(found))
                first, found = first + sum(stop - start for _, start, stop in found), []
    if found:
        yield Plan(first, tuple(found))
