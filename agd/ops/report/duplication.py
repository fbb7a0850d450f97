"""How often the same sequence was read: the first sequences met are followed through the whole dataset, as FastQC does.

Only the first :data:`TRACKED` different sequences are counted, so the table stays small whatever the number of reads;
what is seen of them is corrected for the sequences that came too late to be followed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agd import kernels
from agd.batch import I64, U8, U64, Bool, Column
from agd.kernels.ragged import concat, take

#: Different sequences that are followed.
TRACKED = 100_000

#: Bases of each that are compared, from the first cycle on.
PREFIX = 50


@dataclass(frozen=True, slots=True)
class Sequences:
    """Different sequences of the reads of one end in a chunk, in the order of their first occurrence.

    Attributes
    ----------
    hashes : ndarray of uint64
    first : ndarray of int64
        Reads of this end in the chunk before the first occurrence.
    counts : ndarray of int64
    text : Column of uint8
    reads : int
        All of this end in the chunk.
    """

    hashes: U64
    first: I64
    counts: I64
    text: Column
    reads: int


def find_sequences(bases: Column, chosen: Bool, reverse: Bool) -> Sequences:
    """Different sequences of some reads of a chunk.

    Parameters
    ----------
    bases : Column of uint8
    chosen : ndarray of bool
        Which reads.
    reverse : ndarray of bool
        Those that must be turned around and complemented first.
    """
    assert bases.offsets is not None
    index = np.flatnonzero(chosen)
    starts, ends, turn = bases.offsets[:-1][index], bases.offsets[1:][index], reverse[index]
    length = np.minimum(ends - starts, PREFIX)
    starts = np.where(turn, ends - length, starts)
    text = Column.from_lengths(np.empty(int(length.sum()), np.uint8), length)
    assert text.offsets is not None
    kernels.copy_spans(np.ascontiguousarray(bases.values), starts, starts + length, text.values, text.offsets)
    if turn.any():
        kernels.reverse_spans(text.values, text.offsets, turn, True)
    text = Column(_upper(text.values), text.offsets)
    low, high = np.empty(len(index), np.uint64), np.empty(len(index), np.uint64)
    assert text.offsets is not None
    kernels.hash_spans(text.values, text.offsets[:-1], text.offsets[1:], low, high)
    hashes, first, counts = np.unique(low, return_index=True, return_counts=True)
    order = np.argsort(first)
    return Sequences(hashes[order], first[order], counts[order], take(text, first[order]), len(index))


def _upper(letters: U8) -> U8:
    lower = (letters >= ord("a")) & (letters <= ord("z"))
    return letters - lower.astype(np.uint8) * np.uint8(32) if lower.any() else letters


class Duplication:
    """Counts of the first different sequences of one end; chunks are added in their order.

    Attributes
    ----------
    reads : int
        Reads so far.
    at_limit : int
        Reads up to the one that filled the table; all of them while it is not full.
    """

    def __init__(self, tracked: int = TRACKED) -> None:
        self._tracked = tracked
        self._hashes = np.empty(0, np.uint64)
        self._counts = np.empty(0, np.int64)
        self._text = Column.empty()
        self._place = np.empty(0, np.int64)  # of each hash among the texts
        self._frozen = False
        self.reads = 0
        self.at_limit = 0

    def add(self, found: Sequences) -> None:
        """Add the sequences of the next chunk."""
        at = np.searchsorted(self._hashes, found.hashes)
        known = np.zeros(len(found.hashes), np.bool_)
        if len(self._hashes):
            known = self._hashes[np.minimum(at, len(self._hashes) - 1)] == found.hashes
        self._counts[at[known]] += found.counts[known]
        if not self._frozen:
            self._insert(found, np.flatnonzero(~known))
        self.reads += found.reads
        if not self._frozen:
            self.at_limit = self.reads

    def _insert(self, found: Sequences, new: I64) -> None:
        room = self._tracked - len(self._hashes)
        if len(new) >= room:
            new = new[:room]
            self._frozen = True
            self.at_limit = self.reads + int(found.first[new[-1]]) + 1
        if not len(new):
            return
        hashes = np.concatenate([self._hashes, found.hashes[new]])
        order = np.argsort(hashes, kind="stable")
        place = np.concatenate([self._place, len(self._text) + np.arange(len(new))])
        self._hashes, self._place = hashes[order], place[order]
        self._counts = np.concatenate([self._counts, found.counts[new]])[order]
        self._text = concat([self._text, take(found.text, new)])

    def levels(self) -> tuple[float, I64, list[float]]:
        """Share of the reads that would be left without repeats, and reads by how often their sequence occurs.

        Returns
        -------
        remaining : float
            Percentage.
        level : ndarray of int64
            Number of occurrences, ascending.
        sequences : list of float
            Different sequences of each level in the whole dataset, as far as can be told.
        """
        level, observed = np.unique(self._counts, return_counts=True)
        pairs = zip(level.tolist(), observed.tolist(), strict=True)
        sequences = [corrected(self.at_limit, self.reads, times, number) for times, number in pairs]
        whole = sum(times * number for times, number in zip(level.tolist(), sequences, strict=True))
        return 100 * sum(sequences) / whole if whole else 100.0, level, sequences

    def over(self, share: float) -> list[tuple[str, int]]:
        """Sequences that are more than a share of the reads, the most frequent first; of equal ones the first met."""
        some = np.flatnonzero(self._counts > share * self.reads)
        some = some[np.lexsort((self._place[some], -self._counts[some]))]
        text = take(self._text, self._place[some])
        return [(text[i].decode("ascii", "replace"), int(n)) for i, n in enumerate(self._counts[some].tolist())]


def corrected(at_limit: int, reads: int, level: int, observed: int) -> float:
    """Different sequences of one level of duplication, with those that were never followed.

    A sequence that occurs ``level`` times among ``reads`` is missed if none of its occurrences is among the first
    ``at_limit``: the observed number is divided by the probability of the opposite (as FastQC does).
    """
    if at_limit == reads or reads - observed < at_limit:
        return float(observed)
    if level > reads - at_limit:
        return float(observed)
    # The hypergeometric probability; of a sequence that occurs so often, more factors would not change a digit shown.
    i = np.arange(min(level, 1_000_000), dtype=np.float64)
    missed = float(np.exp(np.log1p(-at_limit / (reads - i)).sum()))
    return observed / (1 - missed)
