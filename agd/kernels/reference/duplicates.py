"""Reference of the kernels that find duplicates: sums of qualities, hashes of names, the best of every group."""

from __future__ import annotations

from typing import Any

import numpy as np

from agd.batch import I32, I64, U8, U64, Bool
from agd.errors import KernelError
from agd.kernels.duplicates import (
    BARCODE,
    EXAMINED,
    FIRST,
    FOLLOWER,
    FOLLOWS,
    PAIRED,
    REVERSE,
    SECOND,
    TAKEN,
    Rows,
    end_dtype,
    signed_dtype,
)
from agd.kernels.reference.ragged import check_offsets

_WORD = (1 << 64) - 1
_LOW, _HIGH = 0x9FB21C651E98DF25, 0xC2B2AE3D27D4EB4F
_K1, _K2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)

#: Orientations of pairs, numbered as in samtools markdup.
_FF, _RR, _FR, _RF = 2, 3, 5, 7


def quality_sums(qualities: U8, offsets: I64, least: int, base: int, out: I64) -> None:
    """Sum of the good qualities of each record, as samtools and Picard choose among duplicates.

    Parameters
    ----------
    qualities, offsets
        Record ``i`` is ``qualities[offsets[i]:offsets[i + 1]]``.
    least : int
        Lesser values count nothing.
    base : int
        What is taken off each value that counts (33 where qualities are text).
    out : ndarray of int64, shape (records,)
        Written.

    Raises
    ------
    KernelError
        Offsets lie outside of the qualities; arrays differ in length.
    """
    check_offsets(offsets, len(qualities), "offsets outside of the qualities")
    if len(out) != len(offsets) - 1:
        raise KernelError("the arrays differ in length")
    good = np.where(qualities >= least, qualities.astype(np.int64) - base, 0)
    total = np.concatenate([[0], np.cumsum(good)])
    out[:] = total[offsets[1:]] - total[offsets[:-1]]


def hash_spans(values: U8, starts: I64, ends: I64, low: U64, high: U64) -> None:
    """128-bit hash of each of some spans of bytes.

    Little-endian words of 8 bytes, the last one filled up with zeros, are mixed into two sums that begin as the length;
    nothing on disk depends on it.

    Parameters
    ----------
    values, starts, ends
        Span ``i`` is ``values[starts[i]:ends[i]]``.
    low, high : ndarray of uint64, shape (spans,)
        Written.

    Raises
    ------
    KernelError
        A span lies outside of the values; arrays differ in length.
    """
    if not len(starts) == len(ends) == len(low) == len(high):
        raise KernelError("the arrays differ in length")
    for i, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        if not 0 <= start <= end <= len(values):
            raise KernelError("span outside of the values", i)
        text = values[start:end].tobytes()
        a, b = len(text) * _LOW & _WORD, len(text) * _HIGH & _WORD
        for at in range(0, len(text), 8):
            word = int.from_bytes(text[at : at + 8], "little")
            a = (a ^ word) * _LOW & _WORD
            a ^= a >> 32
            b = (b ^ word) * _HIGH & _WORD
            b ^= b >> 29
        low[i], high[i] = _mix(a), _mix(b)


def _mix(x: int) -> int:
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & _WORD
    x = (x ^ x >> 27) * 0x94D049BB133111EB & _WORD
    return x ^ x >> 31


def deal_rows(rows: U8, width: int, bits: int, out: U8, bounds: I64) -> None:
    """Put rows in order of the part that they belong to; within a part they stay in order.

    Parameters
    ----------
    rows : ndarray of uint8
        Rows of ``width`` bytes, end to end. The part is told by the highest bits of the first eight bytes (a
        little-endian integer) times 0x9E3779B97F4A7C15.
    bits : int
        1 to 16: there are ``2 ** bits`` parts.
    out : ndarray of uint8
        Written: the rows.
    bounds : ndarray of int64, shape (parts + 1,)
        Written: part ``i`` is rows ``bounds[i]`` to ``bounds[i + 1]`` of ``out``.

    Raises
    ------
    KernelError
        Arrays are of another length.
    """
    if width < 8 or len(rows) % width:
        raise KernelError("rows of another width")
    if not 1 <= bits <= 16 or len(bounds) != (1 << bits) + 1 or len(out) != len(rows):
        raise KernelError("the arrays differ in length")
    table = rows.reshape(-1, width)
    first = np.ascontiguousarray(table[:, :8]).view("<u8").reshape(-1)
    part = (first * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(64 - bits)).astype(np.int64)
    order = np.argsort(part, kind="stable")
    out.reshape(-1, width)[:] = table[order]
    bounds[:] = np.searchsorted(part[order], np.arange((1 << bits) + 1))


def sign_ends(ends: U8, width: int, barcode: bool) -> tuple[U8, U8, U8, U8]:
    """Find the mates among all reads of some names, and sign every read that is examined.

    Reads are mates if they have one name, are both mapped and primary, and one is the first and the other the last of a
    template; of several copies of a read, the k-th first one goes with the k-th last one, by ordinal. Any other read
    stands for itself, as in ``samtools fixmate`` and ``markdup``.

    Parameters
    ----------
    ends : ndarray of uint8
        Rows of :data:`agd.kernels.duplicates.END`, end to end, whatever follows in each.
    width : int
        Bytes of a row.
    barcode : bool
        A barcode follows.

    Returns
    -------
    pairs, singles : ndarray of uint8
        Rows of :func:`agd.kernels.duplicates.signed_dtype`: reads with a mate, their score that of both, and others.
    taken : ndarray of uint8
        Rows of :data:`agd.kernels.duplicates.TAKEN`: where the reads of pairs end.
    follows : ndarray of uint8
        Rows of :data:`agd.kernels.duplicates.FOLLOWS`: every follower with every examined read of its name.

    Raises
    ------
    KernelError
        The rows are of another width.
    """
    known = {dtype.itemsize: dtype for dtype in (end_dtype(barcode=barcode, places=p) for p in (False, True))}
    if width not in known or len(ends) % width:
        raise KernelError("rows of another width")
    rows: Rows = ends.view(known[width])
    rows = rows[np.lexsort((rows["ordinal"], rows["high"], rows["low"]))]
    kind = rows["kind"]
    new = np.ones(len(rows), np.bool_)
    new[1:] = (rows["low"][1:] != rows["low"][:-1]) | (rows["high"][1:] != rows["high"][:-1])
    name = np.cumsum(new) - 1
    mate = _mates(name, kind)
    examined = (kind & EXAMINED) != 0
    paired = np.flatnonzero(examined & (mate >= 0))
    single = np.flatnonzero(examined & (mate < 0))
    own = _end_hashes(rows)
    taken = np.zeros(len(paired), TAKEN)
    taken["low"] = own[0][paired]
    pairs = _signed(rows, paired, *_pair_hashes(rows[paired], rows[mate[paired]]))
    pairs["score"] += rows["score"][mate[paired]]
    singles = _signed(rows, single, own[0][single], own[1][single])
    follows = _follows(rows, name, kind)
    return pairs.view(np.uint8), singles.view(np.uint8), taken.view(np.uint8), follows.view(np.uint8)


def _mates(name: I64, kind: Any) -> I64:
    """Index of the mate of each read, -1 for none."""
    mate = np.full(len(name), -1, np.int64)
    candidate = np.flatnonzero(((kind & PAIRED) != 0) & ((kind & FOLLOWER) == 0))
    last = (kind[candidate] & SECOND) != 0
    first, second = candidate[~last], candidate[last]
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
    follower = np.flatnonzero(kind & FOLLOWER)
    leader = np.flatnonzero(kind & EXAMINED)
    begin = np.searchsorted(name[leader], name[follower], "left")
    counts = np.searchsorted(name[leader], name[follower], "right") - begin
    rows = np.zeros(int(counts.sum()), FOLLOWS)
    rows["follower"] = np.repeat(ends["ordinal"][follower], counts)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    rows["leader"] = ends["ordinal"][leader[np.repeat(begin, counts) + within]] if len(rows) else 0
    return rows


def _end_hashes(ends: Rows) -> tuple[U64, U64]:
    """Hash of what single reads are compared by: library, barcode, reference, unclipped 5' end and strand."""
    reverse = (ends["kind"] & REVERSE) != 0
    return _hash(ends, [ends["reference"], np.where(reverse, ends["end"], ends["start"] + 1), reverse])


def _pair_hashes(this: Rows, other: Rows) -> tuple[U64, U64]:
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


def find_members(wanted: U64, among: U64, out: Bool) -> None:
    """Which values are among others; quick where few are wanted among many.

    Parameters
    ----------
    wanted, among : ndarray of uint64
    out : ndarray of bool, shape (wanted,)
        Written.

    Raises
    ------
    KernelError
        Arrays differ in length.
    """
    if len(out) != len(wanted):
        raise KernelError("the arrays differ in length")
    out[:] = np.isin(wanted, among)


def best_of_groups(low: U64, high: U64, score: I64, best: I64, tied: Bool) -> int:
    """The entry of the highest score among those of one key.

    Parameters
    ----------
    low, high : ndarray of uint64, shape (entries,)
        Keys of 128 bits; those of equal ``low`` should be few.
    score : ndarray of int64, shape (entries,)
    best : ndarray of int64, shape (entries,)
        Written: index of the best entry of the entry's group; the first one of several.
    tied : ndarray of bool, shape (entries,)
        Written: whether the entry shares the highest score of its group with another one.

    Returns
    -------
    int
        Number of groups.

    Raises
    ------
    KernelError
        Arrays differ in length.
    """
    if not len(low) == len(high) == len(score) == len(best) == len(tied):
        raise KernelError("the arrays differ in length")
    groups: dict[tuple[int, int], list[int]] = {}
    for i, key in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
        groups.setdefault(key, []).append(i)
    for members in groups.values():
        top = max(int(score[i]) for i in members)
        winners = [i for i in members if score[i] == top]
        best[members] = winners[0]
        tied[members] = False
        tied[winners] = len(winners) > 1
    return len(groups)


def optical_duplicates(group: I64, rank: I64, tile: U64, x: I32, y: I32, distance: int, out: Bool) -> int:
    """Entries that lie beside a better one of their group on the flow cell.

    Parameters
    ----------
    group : ndarray of int64, shape (entries,)
        Entries are ordered by group, tile and x.
    rank : ndarray of int64, shape (entries,)
        Less is better; no two of a group are equal.
    tile : ndarray of uint64
        Identity of the tile.
    x, y : ndarray of int32
        Place on the tile.
    distance : int
        Greatest difference in x, and in y.
    out : ndarray of bool
        Written.

    Returns
    -------
    int
        Number of entries found.

    Raises
    ------
    KernelError
        Arrays differ in length.
    """
    if not len(group) == len(rank) == len(tile) == len(x) == len(y) == len(out):
        raise KernelError("the arrays differ in length")
    out[:] = False
    for i in range(len(group)):
        for j in range(i + 1, len(group)):
            if group[j] != group[i] or tile[j] != tile[i] or int(x[j]) - int(x[i]) > distance:
                break
            if abs(int(y[j]) - int(y[i])) <= distance:
                out[i if rank[i] > rank[j] else j] = True
    return int(out.sum())
