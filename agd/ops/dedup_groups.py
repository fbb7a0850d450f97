"""From the ends of reads to duplicates: find mates, make signatures, choose the best of each group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from agd import kernels
from agd.batch import I64, U64, Bool
from agd.ops.dedup_ends import BARCODE, EXAMINED, FIRST, FOLLOWER, PAIRED, PLACE, REVERSE, SECOND
from agd.ops.dedup_shuffle import Rows

#: A read of a pair, or a read on its own, with the signature of what it may be a duplicate of.
SIGNED = np.dtype([("low", "<u8"), ("high", "<u8"), ("ordinal", "<i8"), ("score", "<u4"), ("library", "<u2")])

#: An end at which a pair lies: single reads there are duplicates of it.
TAKEN = np.dtype([("low", "<u8")])

#: A record that is a duplicate if another one is.
FOLLOWS = np.dtype([("follower", "<i8"), ("leader", "<i8")])

_K1, _K2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)

#: Orientations of pairs, numbered as in samtools markdup.
_FF, _RR, _FR, _RF = 2, 3, 5, 7


def signed_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Of signed rows, from that of ends: with places on the flow cell if those have them."""
    return np.dtype([*SIGNED.descr, *(PLACE if "tile" in (dtype.names or ()) else [])])


@dataclass(frozen=True, slots=True)
class Signatures:
    """What the reads of a partition have given.

    Attributes
    ----------
    pairs, singles : ndarray
        Rows of :data:`SIGNED`.
    taken : ndarray
        Rows of :data:`TAKEN`.
    follows : ndarray
        Rows of :data:`FOLLOWS`.
    """

    pairs: Rows
    singles: Rows
    taken: Rows
    follows: Rows


def sign(ends: Rows) -> Signatures:
    """Find the mates among all reads of some names, and sign every read that is examined.

    Reads are mates if they have one name, are both mapped and primary, and one is the first and the other the last of a
    template. Any other read stands for itself, as in ``samtools fixmate`` and ``markdup``.
    """
    order = _by_name(ends)
    ends = ends[order]
    kind = ends["kind"]
    new = np.ones(len(ends), np.bool_)
    new[1:] = (ends["low"][1:] != ends["low"][:-1]) | (ends["high"][1:] != ends["high"][:-1])
    name = np.cumsum(new) - 1
    mate = _mates(name, kind)
    examined = (kind & EXAMINED) != 0
    paired = np.flatnonzero(examined & (mate >= 0))
    single = np.flatnonzero(examined & (mate < 0))
    own = end_hashes(ends)
    taken = own[0][paired].view(TAKEN)
    pairs = _signed(ends, paired, *pair_hashes(ends[paired], ends[mate[paired]]))
    pairs["score"] += ends["score"][mate[paired]]
    return Signatures(
        pairs, _signed(ends, single, own[0][single], own[1][single]), taken, _follows(ends, name, kind)
    )


def _by_name(ends: Rows) -> I64:
    """Order by name and ordinal."""
    order: I64 = np.argsort(ends["ordinal"], kind="stable")
    by_low = np.empty(len(ends), np.int64)
    kernels.argsort_u64(np.ascontiguousarray(ends["low"][order]), by_low)
    order = order[by_low]
    low, high = ends["low"][order], ends["high"][order]
    if ((low[1:] == low[:-1]) & (high[1:] != high[:-1])).any():
        order = np.lexsort((ends["ordinal"], ends["high"], ends["low"]))
    return order


def _mates(name: I64, kind: Any) -> I64:
    """Index of the mate of each read, -1 for none; of several copies of a read, each has one mate at most."""
    mate = np.full(len(name), -1, np.int64)
    candidate = np.flatnonzero(((kind & PAIRED) != 0) & ((kind & FOLLOWER) == 0))
    last = (kind[candidate] & SECOND) != 0
    first, second = candidate[~last], candidate[last]
    # The k-th first read of a name goes with its k-th last one.
    rank1, rank2 = (np.arange(len(side)) - np.searchsorted(name[side], name[side]) for side in (first, second))
    width = max(int(rank1.max(initial=0)), int(rank2.max(initial=0))) + 1
    _, a, b = np.intersect1d(
        name[first] * width + rank1, name[second] * width + rank2, assume_unique=True, return_indices=True
    )
    mate[first[a]], mate[second[b]] = second[b], first[a]
    return mate


def _signed(ends: Rows, chosen: I64, low: U64, high: U64) -> Rows:
    rows = np.zeros(len(chosen), signed_dtype(ends.dtype))
    rows["low"], rows["high"] = low, high
    for field in rows.dtype.names[2:] if rows.dtype.names else ():
        rows[field] = ends[field][chosen]
    return rows


def _follows(ends: Rows, name: I64, kind: Any) -> Rows:
    """Every follower with every examined read of its name."""
    follower = np.flatnonzero(kind & FOLLOWER)
    leader = np.flatnonzero(kind & EXAMINED)
    begin = np.searchsorted(name[leader], name[follower], "left")
    counts = np.searchsorted(name[leader], name[follower], "right") - begin
    rows = np.zeros(int(counts.sum()), FOLLOWS)
    rows["follower"] = np.repeat(ends["ordinal"][follower], counts)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    rows["leader"] = ends["ordinal"][leader[np.repeat(begin, counts) + within]] if len(rows) else 0
    return rows


def end_hashes(ends: Rows) -> tuple[U64, U64]:
    """Hash of what single reads are compared by: library, barcode, reference, unclipped 5' end and strand."""
    reverse = (ends["kind"] & REVERSE) != 0
    return _hash(ends, [ends["reference"], np.where(reverse, ends["end"], ends["start"] + 1), reverse])


def pair_hashes(this: Rows, other: Rows) -> tuple[U64, U64]:
    """Hash of what reads of pairs are compared by, as in ``samtools markdup`` (mode t).

    The outer ends of the template, their references, its orientation, which of them the read is, library and barcode.
    """
    reverse, mate_reverse = (this["kind"] & REVERSE) != 0, (other["kind"] & REVERSE) != 0
    first = (this["kind"] & FIRST) != 0
    start, end, mate_start, mate_end = this["start"] + 1, this["end"], other["start"] + 1, other["end"]
    same = reverse == mate_reverse
    left = np.where(
        this["reference"] != other["reference"], this["reference"] < other["reference"],
        np.where(same, np.where(reverse, end <= mate_end, start <= mate_start),
                 np.where(reverse, end <= mate_start, start <= mate_end)),
    )  # fmt: skip
    one = np.where(same, np.where(left, start, end), np.where(reverse, end, start))
    two = np.where(same, np.where(left, mate_end, mate_start), np.where(reverse, mate_start, mate_end))
    straight = np.where((reverse != first) == left, _FF, _RR)
    turned = np.where(left != reverse, _FR, _RF)
    orientation = np.where(same, straight, turned)
    return _hash(this, [this["reference"], one, other["reference"], two, left, orientation])


def _hash(rows: Rows, parts: list[Any]) -> tuple[U64, U64]:
    """128-bit hash of integers, the library and the barcode."""
    parts = [*parts, rows["library"]]
    if BARCODE[0] in (rows.dtype.names or ()):
        parts.append(rows["barcode"])
    low, high = np.full(len(rows), 1, np.uint64), np.full(len(rows), 2, np.uint64)
    for part in parts:
        word = part.astype(np.uint64) if part.dtype.kind in "ub" else part.astype(np.int64).view(np.uint64)
        low = (low ^ word) * _K1
        low ^= low >> np.uint64(31)
        high = (high ^ word) * _K2
        high ^= high >> np.uint64(29)
    return _final(low), _final(high)


def _final(x: U64) -> U64:
    x = (x ^ (x >> np.uint64(30))) * _K1
    x = (x ^ (x >> np.uint64(27))) * _K2
    return x ^ (x >> np.uint64(31))


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
