"""From signed reads to duplicates: choose the best of each group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agd import kernels
from agd.batch import I64, Bool
from agd.kernels.duplicates import FOLLOWS, TAKEN, Rows, signed_dtype


@dataclass(frozen=True, slots=True)
class Signatures:
    """What the reads of a partition have given; see :func:`agd.kernels.sign_ends`.

    Attributes
    ----------
    pairs, singles, taken, follows : ndarray
    """

    pairs: Rows
    singles: Rows
    taken: Rows
    follows: Rows


def sign(ends: Rows) -> Signatures:
    """Find the mates among all reads of some names, and sign every read that is examined."""
    signed = signed_dtype(ends.dtype)
    pairs, singles, taken, follows = kernels.sign_ends(
        np.ascontiguousarray(ends).view(np.uint8), ends.dtype.itemsize, "barcode" in (ends.dtype.names or ())
    )
    return Signatures(pairs.view(signed), singles.view(signed), taken.view(TAKEN), follows.view(FOLLOWS))


def beside_pairs(singles: Rows, taken: Rows) -> Bool:
    """Single reads that lie at an end of a pair."""
    found = np.empty(len(singles), np.bool_)
    kernels.find_members(np.ascontiguousarray(singles["low"]), np.ascontiguousarray(taken["low"]), found)
    return found


@dataclass(frozen=True, slots=True)
class Chosen:
    """Groups of a partition.

    Attributes
    ----------
    best : ndarray of int64, shape (rows,)
        Index of the best row of each row's group.
    tied : ndarray of bool, shape (rows,)
        Rows that share the best score of their group.
    """

    best: I64
    tied: Bool


def choose(rows: Rows, winners: I64 | None = None) -> Chosen:
    """The best row of each group.

    Parameters
    ----------
    rows : ndarray
        Of :data:`SIGNED`.
    winners : ndarray of int64, optional
        Ordinals of the rows that win their ties, ascending.
    """
    score = rows["score"].astype(np.int64) * 2
    if winners is not None and len(winners):
        at = np.minimum(np.searchsorted(winners, rows["ordinal"]), len(winners) - 1)
        score += winners[at] == rows["ordinal"]
    best, tied = np.empty(len(rows), np.int64), np.empty(len(rows), np.bool_)
    low, high = np.ascontiguousarray(rows["low"]), np.ascontiguousarray(rows["high"])
    kernels.best_of_groups(low, high, score, best, tied)
    return Chosen(best, tied)


def optical(rows: Rows, chosen: Chosen, distance: int) -> Bool:
    """Duplicates that lie beside a better read of their group on the flow cell."""
    count = len(rows)
    several = np.zeros(count, np.bool_)
    loser = np.flatnonzero(chosen.best != np.arange(count))
    several[loser] = several[chosen.best[loser]] = True
    some = np.flatnonzero(several & (rows["x"] >= 0))
    group, x, y, tile = chosen.best[some], rows["x"][some], rows["y"][some], rows["tile"][some]
    # Better reads come first; a place is as good as a name to tell equal ones apart.
    score = rows["score"][some].astype(np.int64) * 2 + (group == some)
    rank = np.empty(len(some), np.int64)
    rank[np.lexsort((y, x, tile, -score))] = np.arange(len(some))
    order = np.lexsort((x, tile, group))
    found = np.zeros(len(some), np.bool_)
    kernels.optical_duplicates(group[order], rank[order], tile[order], x[order], y[order], distance, found)
    out = np.zeros(count, np.bool_)
    out[some[order[found]]] = True
    return out
