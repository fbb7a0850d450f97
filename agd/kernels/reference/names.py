"""Reference of the kernels that take names of reads apart (``spec/codecs/names.md``)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from agd.batch import I64, U8, U32, U64
from agd.errors import KernelError
from agd.kernels.reference.ragged import check_offsets

MAX_NUMBERS, MAX_DIGITS = 64, 9

#: The digit that tells mates apart: of "/1" at the end of a word, or of " 1:".
_MATE = re.compile(rb"(?<=/)[12](?=[ \t]|\Z)|(?<=[ \t])[12](?=:)", re.DOTALL)
_DIGITS = re.compile(rb"[0-9]+")
_WORD = re.compile(rb"[^ \t\n/#]*")

Piece = tuple[U8, I64, I64 | None] | tuple[U32, int]


def _names(values: U8, offsets: I64) -> Iterator[bytes]:
    check_offsets(offsets, len(values), "offsets outside of the values")
    text = values.tobytes()
    return (text[a:b] for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True))


def _same_number(offsets: I64, *outputs: int) -> None:
    if any(size != len(offsets) - 1 for size in outputs):
        raise KernelError("outputs and names differ in number")


def name_links(values: U8, offsets: I64, distances: I64, mates: U8) -> None:
    """Find for each name the latest one before it that is equal, but for the digit that tells mates apart.

    Parameters
    ----------
    values, offsets
        Names: name ``i`` is ``values[offsets[i]:offsets[i + 1]]``.
    distances : ndarray of int64, shape (names,)
        Written: how many records before it that is; 0 where there is none.
    mates : ndarray of uint8, shape (names,)
        Written: 1 where the digits (``1`` or ``2``, in ``/1`` at the end of a word or in `` 1:``) differ.

    Raises
    ------
    KernelError
        Offsets lie outside of the values, or the outputs have another length.
    """
    latest: dict[tuple[bytes, int], tuple[int, bytes]] = {}
    _same_number(offsets, len(distances), len(mates))
    for i, name in enumerate(_names(values, offsets)):
        found = _MATE.search(name)
        at = found.start() if found else -1
        digit = name[at : at + 1] if found else b""
        key = (name[:at] + name[at + 1 :], at) if found else (name, -1)
        before, other = latest.get(key, (i, digit))
        distances[i], mates[i] = i - before, digit != other
        latest[key] = (i, digit)


def follow_links(distances: I64, mates: U8, index: I64, turned: U8) -> int:
    """Which of the new names each record has, from what :func:`name_links` found.

    Parameters
    ----------
    distances : ndarray of int64, shape (records,)
        How many records before each one its name was last, 0 for a new name.
    mates : ndarray of uint8
        For each that is not new, in their order: whether the digit of the mate is the other one.
    index : ndarray of int64, shape (records,)
        Written: the number of the name among the new ones.
    turned : ndarray of uint8, shape (records,)
        Written: 1 where the digit of the mate is not that of the new name.

    Returns
    -------
    int
        How many names are new.

    Raises
    ------
    KernelError
        A link leads to before the first record, or the arrays do not belong together.
    """
    if not len(distances) == len(index) == len(turned):
        raise KernelError("outputs and links differ in number")
    found, left = 0, iter(mates.tolist())
    for i, distance in enumerate(distances.tolist()):
        if not 0 <= distance <= i:
            raise KernelError("a name is said to be before the first", i)
        if not distance:
            index[i], turned[i] = found, 0
            found += 1
            continue
        mate = next(left, None)
        if mate is None:
            raise KernelError("mates and links differ in number", i)
        index[i], turned[i] = index[i - distance], turned[i - distance] ^ (mate != 0)
    if next(left, None) is not None:
        raise KernelError("mates and links differ in number")
    return found


def take_names(values: U8, offsets: I64, index: I64, turned: U8, out: U8, out_offsets: I64) -> None:
    """Names in the order of an index, 1 and 2 exchanged in the digit that tells mates apart where that is asked for.

    Parameters
    ----------
    values, offsets
        Name ``k`` is ``values[offsets[k]:offsets[k + 1]]``.
    index : ndarray of int64, shape (records,)
        Which name each record has.
    turned : ndarray of uint8, shape (records,)
        Not 0 where the digit is exchanged.
    out : ndarray of uint8
        Written: the names end to end, which fill it.
    out_offsets : ndarray of int64, shape (records + 1,)
        Written: record ``i`` is ``out[out_offsets[i]:out_offsets[i + 1]]``.

    Raises
    ------
    KernelError
        There is no such name, a name has no such digit, or the output is not what the names take.
    """
    names = list(_names(values, offsets))
    if not len(turned) == len(index) == len(out_offsets) - 1:
        raise KernelError("outputs and names differ in number")
    at = out_offsets[0] = 0
    for i, (k, turn) in enumerate(zip(index.tolist(), turned.tolist(), strict=True)):
        if not 0 <= k < len(names):
            raise KernelError("there is no such name", i)
        if len(names[k]) > len(out) - at:
            raise KernelError("no room for the names", i)
        name = bytearray(names[k])
        if turn:
            found = _MATE.search(name)
            if not found:
                raise KernelError("a name has no digit that tells mates apart", i)
            name[found.start()] ^= ord("1") ^ ord("2")
        out[at : at + len(name)] = np.frombuffer(name, np.uint8)
        at = out_offsets[i + 1] = at + len(name)
    if at != len(out):
        raise KernelError("the names do not fill the output")


def _numbers(name: bytes) -> list[tuple[int, int, int]]:
    """Start, end and kind of each number of a name."""
    found = [m.span() for m in _DIGITS.finditer(name)]
    numbers = [(a, b, b - a if name[a] == ord("0") else 1) for a, b in found if b - a <= MAX_DIGITS]
    return numbers[:MAX_NUMBERS]


def name_shapes(values: U8, offsets: I64, counts: I64, shapes: U64) -> None:
    """Count the numbers in each name, and tell names with numbers of other kinds apart.

    A number is a run of one to nine digits. Its kind is its length where it begins with 0, else 1. The first 64 of a
    name are taken.

    Parameters
    ----------
    counts : ndarray of int64, shape (names,)
        Written.
    shapes : ndarray of uint64, shape (names,)
        Written: equal where the kinds of all numbers are; hardly ever otherwise. The values themselves mean nothing.
    """
    _same_number(offsets, len(counts), len(shapes))
    known: dict[tuple[int, ...], int] = {}
    for i, name in enumerate(_names(values, offsets)):
        kinds = tuple(kind for *_, kind in _numbers(name))
        counts[i], shapes[i] = len(kinds), known.setdefault(kinds, len(known))


def name_numbers(values: U8, offsets: I64, starts: I64, ends: I64, numbers: U32, kinds: U8) -> None:
    """List the numbers of all names.

    Parameters
    ----------
    starts, ends : ndarray of int64
        Written: where each number stands among the values, half-open.
    numbers : ndarray of uint32
        Written: what it is.
    kinds : ndarray of uint8
        Written: see :func:`name_shapes`.

    Raises
    ------
    KernelError
        The outputs do not have as many places as there are numbers.
    """
    if not len(starts) == len(ends) == len(numbers) == len(kinds):
        raise KernelError("outputs differ in length")
    at = 0
    for i, name in enumerate(_names(values, offsets)):
        for start, end, kind in _numbers(name):
            if at == len(starts):
                raise KernelError("the outputs are too short", i)
            starts[at], ends[at] = offsets[i] + start, offsets[i] + end
            numbers[at], kinds[at] = int(name[start:end]), kind
            at += 1
    if at != len(starts):
        raise KernelError("the outputs are too long")


def span_numbers(values: U8, starts: I64, ends: I64, ids: I64) -> int:
    """Number equal spans of text, in the order in which they first occur.

    Parameters
    ----------
    starts, ends : ndarray of int64
        Span ``i`` is ``values[starts[i]:ends[i]]``.
    ids : ndarray of int64
        Written: the number of each span, from 0.

    Returns
    -------
    int
        How many different spans there are.

    Raises
    ------
    KernelError
        A span lies outside of the values.
    """
    if not len(starts) == len(ends) == len(ids):
        raise KernelError("outputs and spans differ in number")
    known: dict[bytes, int] = {}
    for i, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        if not 0 <= start <= end <= len(values):
            raise KernelError("span outside of the values", i)
        ids[i] = known.setdefault(values[start:end].tobytes(), len(known))
    return len(known)


def _texts_of(pieces: Sequence[Piece], names: int) -> list[list[bytes]]:
    """The text of every piece of every name."""
    texts = []
    for piece in pieces:
        if len(piece) == 2:
            numbers, width = piece
            if not 0 <= width <= MAX_DIGITS:
                raise KernelError("no such width")
            if len(numbers) != names:
                raise KernelError("numbers and names differ in number")
            bad = np.flatnonzero(numbers >= 10 ** (width or MAX_DIGITS))
            if len(bad):
                raise KernelError("number is too large for its width", int(bad[0]))
            texts.append([b"%0*d" % (width, number) for number in numbers.tolist()])
            continue
        values, offsets, ids = piece
        check_offsets(offsets, len(values), "offsets outside of the texts")
        entries = [values[a:b].tobytes() for a, b in pairwise(offsets.tolist())]
        if ids is not None:
            if len(ids) != names:
                raise KernelError("texts and names differ in number")
            bad = np.flatnonzero((ids < 0) | (ids >= len(entries)))
            if len(bad):
                raise KernelError("there is no such text", int(bad[0]))
            texts.append([entries[i] for i in ids.tolist()])
        elif len(entries) not in (1, names):
            raise KernelError("texts and names differ in number")
        else:
            texts.append(entries * names if len(entries) == 1 else entries)
    return texts


def name_sizes(pieces: Sequence[Piece], sizes: I64) -> None:
    """Number of bytes of names that are made of pieces.

    Parameters
    ----------
    pieces : list of tuple
        What the names consist of, in order. Numbers: (ndarray of uint32, at most 999,999,999, one for each name; digits
        of each, with leading zeros, or 0: as many as it takes). Texts: (ndarray of uint8, offsets of the entries,
        ndarray of int64: which entry each name has, or None: the only one, or each its own).
    sizes : ndarray of int64, shape (names,)
        Written.

    Raises
    ------
    KernelError
        Pieces are not for as many names; a number does not fit its width; there is no such entry.
    """
    sizes[:] = 0
    for texts in _texts_of(pieces, len(sizes)):
        sizes += np.array([len(text) for text in texts], np.int64)


def write_names(pieces: Sequence[Piece], starts: I64, out: U8) -> None:
    """Write names that are made of pieces.

    Parameters
    ----------
    pieces : list of tuple
        As for :func:`name_sizes`.
    starts : ndarray of int64, shape (names,)
        Where in ``out`` each name starts.
    out : ndarray of uint8
        Written at these places only.

    Raises
    ------
    KernelError
        As for :func:`name_sizes`; or a name lies outside of the output.
    """
    texts = _texts_of(pieces, len(starts))
    for i, start in enumerate(starts.tolist()):
        name = b"".join(of[i] for of in texts)
        if start < 0 or start + len(name) > len(out):
            raise KernelError("name outside of the output", i)
        out[start : start + len(name)] = np.frombuffer(name, np.uint8)


def name_fields(values: U8, offsets: I64, out: I64) -> None:
    """Read lane, tile, x and y from Illumina names.

    They are the fourth to seventh part between colons of the first word that has at least five, or the second to
    fifth of a word with just five. Words end at blanks, tabs, line feeds, ``/`` and ``#``.

    Parameters
    ----------
    out : ndarray of int64, shape (names * 4,)
        Written: the four numbers; all -1 where there is no such word, it has six parts, or these are not all numbers of
        one to nine digits.
    """
    if len(out) != 4 * (len(offsets) - 1):
        raise KernelError("the output does not hold four numbers a name")
    out[:] = -1
    for i, name in enumerate(_names(values, offsets)):
        parts: list[bytes] = next((p for w in _WORD.findall(name) if len(p := w.split(b":")) >= 5), [])
        chosen = parts[1:5] if len(parts) == 5 else parts[3:7] if len(parts) > 6 else []
        if chosen and all(_DIGITS.fullmatch(part) and len(part) <= MAX_DIGITS for part in chosen):
            out[4 * i : 4 * i + 4] = [int(part) for part in chosen]
