"""Reference of the kernels that pack bases into two or three bits.

base3: 21 bases in the low 63 bits of a little-endian 64-bit word, the first base lowest: A 0, C 1, T 2, G 3, N 4. After
the last base of a record comes the code END 7, and zeros up to the end of the word; a record of ``L`` bases has
``L // 21 + 1`` words.

base2: four bases in a byte, the first base lowest: A 0, C 1, G 2, T 3; the records end to end, zeros after the last
base.
"""

from __future__ import annotations

import numpy as np

from agd.batch import I64, U8, U64
from agd.errors import KernelError
from agd.kernels.reference.ragged import check_offsets

BASES_PER_WORD = 21
END = 7
BASE3_LETTERS = np.frombuffer(b"ACTGN", np.uint8)
BASE2_LETTERS = np.frombuffer(b"ACGT", np.uint8)
_SHIFTS = 3 * np.arange(BASES_PER_WORD, dtype=np.uint64)


def _codes(letters: U8, other: int) -> U8:
    codes = np.full(256, other, np.uint8)
    codes[letters] = np.arange(len(letters))
    return codes


_BASE3_CODES = _codes(BASE3_LETTERS, 4)
_BASE2_CODES = _codes(BASE2_LETTERS, 0)


def base3_pack(values: U8, offsets: I64, words: U64) -> int:
    """Pack records of bases into words of 21 bases.

    Parameters
    ----------
    values, offsets
        Bases of the records in ASCII: record ``i`` is ``values[offsets[i]:offsets[i + 1]]``.
    words : ndarray of uint64
        Written: the words of all records; exactly as many as the sum of ``length // 21 + 1``.

    Returns
    -------
    int
        Number of bases that are not one of ``ACGTN``; these are packed as N, and :func:`base3_exceptions` lists them.

    Raises
    ------
    KernelError
        Offsets lie outside of the values, or the number of words does not fit.
    """
    check_offsets(offsets, len(values), "offsets outside of the values")
    lengths = np.diff(offsets)
    slots = _slots(lengths)
    if len(slots) != len(words) * BASES_PER_WORD:
        raise KernelError("number of words does not fit the records")
    bases = values[offsets[0] : offsets[-1]]
    slots[_base_slots(lengths)] = _BASE3_CODES[bases]
    words[:] = np.bitwise_or.reduce(slots.reshape(-1, BASES_PER_WORD).astype(np.uint64) << _SHIFTS, axis=1)
    return int(np.count_nonzero(~np.isin(bases, BASE3_LETTERS)))


def _slots(lengths: I64) -> U8:
    """Places for three-bit codes in the words of all records: zero, but for the END of each record."""
    words = lengths // BASES_PER_WORD + 1
    slots = np.zeros(int(words.sum()) * BASES_PER_WORD, np.uint8)
    slots[(np.cumsum(words) - words) * BASES_PER_WORD + lengths] = END
    return slots


def _base_slots(lengths: I64) -> I64:
    """Place of each base among the slots."""
    words = lengths // BASES_PER_WORD + 1
    skipped = (np.cumsum(words) - words) * BASES_PER_WORD - (np.cumsum(lengths) - lengths)
    places: I64 = np.arange(int(lengths.sum()), dtype=np.int64) + np.repeat(skipped, lengths)
    return places


def base3_unpack(words: U64, lengths: I64, out: U8) -> None:
    """Unpack the words of :func:`base3_pack`.

    Parameters
    ----------
    words : ndarray of uint64
    lengths : ndarray of int64
        Bases of each record.
    out : ndarray of uint8
        Written: the bases of all records end to end; exactly as many as the sum of the lengths.

    Raises
    ------
    KernelError
        A length is negative; lengths do not fit the number of words or of bases; a code is none of a base; the END of a
        record is missing or early; padding is not zero. ``record`` is the first such record.
    """
    size, used, written = len(words), 0, 0
    for i, length in enumerate(lengths.tolist()):
        if not 0 <= length <= len(out) - written:
            raise KernelError("lengths do not fit the output", i)
        if length // BASES_PER_WORD + 1 > size - used:
            raise KernelError("number of words does not fit the records", i)
        run = words[used : used + length // BASES_PER_WORD + 1]
        codes = ((run[:, None] >> _SHIFTS) & np.uint64(7)).astype(np.uint8).ravel()
        if (codes[:length] > 4).any() or (run[:-1] >> np.uint64(63)).any():
            raise KernelError("a word holds a code that is no base, or ends early", i)
        if codes[length] != END or codes[length + 1 :].any() or run[-1] >> np.uint64(63):
            raise KernelError("no end code after the last base, or padding that is not zero", i)
        out[written : written + length] = BASE3_LETTERS[codes[:length]]
        used += len(run)
        written += length
    if used != size:
        raise KernelError("number of words does not fit the records", len(lengths) - 1)
    if written != len(out):
        raise KernelError("lengths do not fit the output", len(lengths) - 1)


def base3_exceptions(values: U8, positions: I64, letters: U8) -> int:
    """List the bases that are not one of ``ACGTN``.

    Parameters
    ----------
    values : ndarray of uint8
        Bases of all records end to end, in ASCII.
    positions : ndarray of int64
        Written: positions (0-based, ascending) within the values, as many as there is room for.
    letters : ndarray of uint8
        Written: the letter at each position.

    Returns
    -------
    int
        Number of exceptions, also where it is more than there is room for.
    """
    found = np.flatnonzero(~np.isin(values, BASE3_LETTERS))
    room = min(len(found), len(positions), len(letters))
    positions[:room] = found[:room]
    letters[:room] = values[found[:room]]
    return len(found)


def base2_pack(values: U8, offsets: I64, out: U8) -> tuple[I64, I64, U8]:
    """Pack the bases of all records, end to end, into two bits each.

    Parameters
    ----------
    values, offsets
        As in :func:`base3_pack`.
    out : ndarray of uint8
        Written; exactly ``(bases + 3) // 4`` long.

    Returns
    -------
    starts, lengths : ndarray of int64, shape (runs,)
        Runs of equal letters that are not one of ``ACGT``, which are packed as A: start among the bases (0-based,
        ascending) and number of letters.
    letters : ndarray of uint8, shape (runs,)
        The letter of each run.

    Raises
    ------
    KernelError
        Offsets lie outside of the values, or the size of the output does not fit.
    """
    check_offsets(offsets, len(values), "offsets outside of the values")
    bases = values[offsets[0] : offsets[-1]]
    if len(out) != (len(bases) + 3) // 4:
        raise KernelError("size of the output does not fit the bases")
    codes = np.zeros(4 * len(out), np.uint8)
    codes[: len(bases)] = _BASE2_CODES[bases]
    quads = codes.reshape(-1, 4)
    out[:] = quads[:, 0] | quads[:, 1] << 2 | quads[:, 2] << 4 | quads[:, 3] << 6
    firsts = np.flatnonzero(np.diff(bases, prepend=bases[:1] + np.uint8(1)) != 0)
    ends = np.append(firsts[1:], len(bases))
    lost = ~np.isin(bases[firsts], BASE2_LETTERS)
    return firsts[lost], (ends - firsts)[lost], bases[firsts[lost]]


def base2_unpack(data: U8, count: int, out: U8) -> None:
    """Unpack the bytes of :func:`base2_pack`.

    Parameters
    ----------
    data : ndarray of uint8
        Exactly ``(count + 3) // 4`` long.
    count : int
        Number of bases.
    out : ndarray of uint8
        Written; ``count`` long.

    Raises
    ------
    KernelError
        Sizes do not fit, or padding is not zero.
    """
    if count < 0 or len(out) != count:
        raise KernelError("number of bases does not fit the output")
    if len(data) != (count + 3) // 4:
        raise KernelError("size of the data does not fit the number of bases")
    codes: U8 = (data[:, None] >> np.array([0, 2, 4, 6], np.uint8) & np.uint8(3)).ravel()
    if codes[count:].any():
        raise KernelError("padding that is not zero", -1, count // 4)
    out[:] = BASE2_LETTERS[codes[:count]]


def fill_runs(values: U8, starts: I64, lengths: I64, letters: U8) -> None:
    """Write runs of equal letters, as :func:`base2_pack` lists them.

    Raises
    ------
    KernelError
        A run (``record``) lies outside of the values; or the arrays differ in length.
    """
    if not len(starts) == len(lengths) == len(letters):
        raise KernelError("runs differ in number")
    for i, (start, length, letter) in enumerate(
        zip(starts.tolist(), lengths.tolist(), letters.tolist(), strict=True)
    ):
        if not (0 <= start <= len(values) and 0 <= length <= len(values) - start):
            raise KernelError("run outside of the values", i, start)
        values[start : start + length] = letter
