"""Reference of the kernels that find duplicates: sums of qualities, hashes of names, the best of every group."""

from __future__ import annotations

import numpy as np

from agd.batch import I32, I64, U8, U64, Bool
from agd.errors import KernelError
from agd.kernels.reference.ragged import check_offsets

_WORD = (1 << 64) - 1
_LOW, _HIGH = 0x9FB21C651E98DF25, 0xC2B2AE3D27D4EB4F


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
