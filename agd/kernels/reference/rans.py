"""Reference of the kernels for entropy coding: 32 or 64 interleaved rANS states (``spec/codecs/rans.md``).

The values are cut into as many lanes of equal length; what remains, less than a value a lane, is kept as it is. A step
codes one value of each lane. The context of order 1 is the value before in the same lane, at first the lowest of all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agd.batch import U8, U16, U32
from agd.errors import KernelError

LOWEST = 1 << 15


def _check(span: int, base: int, order: int, lanes: int) -> int:
    if lanes not in (32, 64):
        raise KernelError("lanes are not 32 or 64")
    if order not in (0, 1):
        raise KernelError("order is not 0 or 1")
    if not (base >= 0 and span >= 1 and base + span <= 256):
        raise KernelError("values do not fit a byte")
    return span if order else 1


def _check_table(
    frequencies: U16, base: int, span: int, order: int, bits: int, lanes: int
) -> NDArray[np.int64]:
    rows = _check(span, base, order, lanes)
    if not 8 <= bits <= 12:
        raise KernelError("bits are not 8 to 12")
    if len(frequencies) != rows * span:
        raise KernelError("size of the table does not fit the span")
    table = frequencies.reshape(rows, span).astype(np.int64)
    bad = np.flatnonzero(~np.isin(table.sum(1), (0, 1 << bits)))
    if len(bad):
        raise KernelError("frequencies of a context do not add up", int(bad[0]))
    return table


def _codes(values: U8, base: int, span: int) -> NDArray[np.int64]:
    codes = values.astype(np.int64) - base
    if ((codes < 0) | (codes >= span)).any():
        raise KernelError("a value lies outside of the span")
    return codes


def _steps(codes: NDArray[np.int64], lanes: int) -> NDArray[np.int64]:
    """Values by step and lane, and before them a step of contexts."""
    steps = codes[: len(codes) // lanes * lanes].reshape(lanes, -1).T
    return np.concatenate((np.zeros((1, lanes), np.int64), steps))


def rans_counts(values: U8, base: int, span: int, order: int, lanes: int, counts: U32) -> None:
    """Count how often each value is coded in each context.

    Parameters
    ----------
    values : ndarray of uint8
        All of them at least ``base`` and less than ``base + span``.
    order : int
        0: one context; 1: the value before is the context.
    lanes : int
        32 or 64.
    counts : ndarray of uint32, shape (contexts * span,)
        Written. The last ``len(values) % lanes`` values are not coded, and not counted.

    Raises
    ------
    KernelError
        A value lies outside of the span, or the counts have another size.
    """
    rows = _check(span, base, order, lanes)
    if len(counts) != rows * span:
        raise KernelError("size of the counts does not fit the span")
    steps = _steps(_codes(values, base, span), lanes)
    contexts = steps[:-1] if order else np.zeros_like(steps[1:])
    counts[:] = np.bincount((contexts * span + steps[1:]).ravel(), minlength=rows * span)


def pair_counts(values: U8, counts: U32) -> None:
    """Count how often each value is followed by each other.

    Parameters
    ----------
    values : ndarray of uint8
    counts : ndarray of uint32, shape (65536,)
        Written: 256 counts for each first value of a pair.

    Raises
    ------
    KernelError
        The counts have another size.
    """
    if len(counts) != 1 << 16:
        raise KernelError("there are not 256 times 256 counts")
    counts[:] = np.bincount(values[:-1].astype(np.int64) << 8 | values[1:], minlength=1 << 16)


def rans_encode(
    values: U8, base: int, span: int, order: int, bits: int, frequencies: U16, lanes: int, out: U8
) -> int:
    """Code values with known frequencies.

    Parameters
    ----------
    values : ndarray of uint8
        All of them at least ``base`` and less than ``base + span``.
    bits : int
        8 to 12: the frequencies of a context that occurs add up to ``2 ** bits``.
    frequencies : ndarray of uint16, shape (contexts * span,)
        Not 0 for what occurs.
    lanes : int
        32 or 64.
    out : ndarray of uint8
        Written, from somewhere up to its end: the values that are left over, the states, the words. So long it must be
        that beside 6 bytes a lane and 64 more it has room for two bytes a value, or for the words and 128 bytes a lane.

    Returns
    -------
    int
        Where in ``out`` the coded values start.

    Raises
    ------
    KernelError
        Values and table do not fit each other, or the output is too small.
    """
    table = _check_table(frequencies, base, span, order, bits, lanes)
    steps = _steps(_codes(values, base, span), lanes)
    starts = np.cumsum(table, 1) - table
    state = np.full(lanes, LOWEST, np.int64)
    words: list[NDArray[np.int64]] = []
    for context, value in zip(steps[-2::-1], steps[:0:-1], strict=True):
        row = context if order else 0
        frequency, start = table[row, value], starts[row, value]
        if (frequency == 0).any():
            raise KernelError("a value has no frequency in its context")
        full = state >= frequency << (31 - bits)
        words.append(state[full] & 0xFFFF)
        state = np.where(full, state >> 16, state)
        state = (state // frequency << bits) + state % frequency + start
    parts = [values[len(values) // lanes * lanes :].tobytes()]
    if len(steps) > 1:
        parts += [state.astype("<u4").tobytes(), *(part.astype("<u2").tobytes() for part in reversed(words))]
    coded = np.frombuffer(b"".join(parts), np.uint8)
    if len(out) < len(coded):
        raise KernelError("the output is too small")
    out[len(out) - len(coded) :] = coded
    return len(out) - len(coded)


def rans_decode(
    data: U8, base: int, span: int, order: int, bits: int, frequencies: U16, lanes: int, out: U8
) -> None:
    """Decode what :func:`rans_encode` wrote.

    Parameters
    ----------
    data : ndarray of uint8
        The coded values, and nothing else.
    out : ndarray of uint8
        Written: the values.

    Raises
    ------
    KernelError
        The table is impossible, or the data are damaged.
    """
    table = _check_table(frequencies, base, span, order, bits, lanes)
    steps, rest = divmod(len(out), lanes)
    head = rest + (4 * lanes if steps else 0)
    if len(data) < head or (len(data) - head) % 2:
        raise KernelError("the coded values end early")
    out[steps * lanes :] = data[:rest]
    bad = np.flatnonzero((data[:rest] < base) | (data[:rest] >= base + span))
    if len(bad):
        raise KernelError("a value lies outside of the span", -1, int(bad[0]))
    if not steps:
        if len(data) != head:
            raise KernelError("there is more than the values")
        return
    state = data[rest:head].view("<u4").astype(np.int64) if rest % 4 == 0 else _copy(data[rest:head], "<u4")
    if ((state < LOWEST) | (state >= 1 << 31)).any():
        raise KernelError("a state is out of range")
    words = _copy(data[head:], "<u2")
    starts = np.cumsum(table, 1) - table
    slots = np.zeros((len(table), 1 << bits), np.int64)
    for slot, frequencies_there in zip(slots, table, strict=True):
        if frequencies_there.any():
            slot[:] = np.repeat(np.arange(span), frequencies_there)
    by_step = np.empty((steps, lanes), np.uint8)
    context, used = np.zeros(lanes, np.int64), 0
    for step in range(steps):
        row = context if order else np.zeros(lanes, np.int64)
        low = state & ((1 << bits) - 1)
        context = slots[row, low]
        # A context that does not occur: the data are wrong, which the last states tell.
        frequency = np.maximum(table[row, context], 1)
        start = np.where(table[row, context] > 0, starts[row, context], low)
        state = frequency * (state >> bits) + low - start
        small = state < LOWEST
        more = int(np.count_nonzero(small))
        if used + more > len(words):
            raise KernelError("the words end early")
        state[small] = state[small] << 16 | words[used : used + more]
        used += more
        by_step[step] = context + base
    out[: steps * lanes] = by_step.T.ravel()
    if used != len(words):
        raise KernelError("there is more than the values")
    if (state != LOWEST).any():
        raise KernelError("a state does not end where it began")


def rans_table(raw: U8, frequencies: U16) -> None:
    """Read the frequencies of a table.

    Parameters
    ----------
    raw : ndarray of uint8
        A bit for each frequency, 1 where it is not 0, the first lowest, filled with zeros; then, of those that are not
        0, less one: all low bytes, all high bytes.
    frequencies : ndarray of uint16
        Written, 4097 where there is more than a frequency can be.

    Raises
    ------
    KernelError
        Too few or too many bytes, or bits behind the last frequency.
    """
    size = -(-len(frequencies) // 8)
    if len(raw) < size:
        raise KernelError("the table ends early")
    present = np.unpackbits(raw[:size], bitorder="little").astype(np.bool_)
    if present[len(frequencies) :].any():
        raise KernelError("padding that is not zero", -1, size - 1)
    present = present[: len(frequencies)]
    count = int(np.count_nonzero(present))
    if len(raw) != size + 2 * count:
        raise KernelError("the table has more or fewer frequencies than bits")
    low, high = raw[size : size + count].astype(np.uint16), raw[size + count :].astype(np.uint16)
    frequencies[:] = 0
    frequencies[present] = np.minimum(low + (high << 8), 4096) + 1


def _copy(data: U8, dtype: str) -> NDArray[np.int64]:
    return np.frombuffer(data.tobytes(), dtype).astype(np.int64)


def _width(symbols: U8) -> int:
    if not 1 <= len(symbols) <= 16:
        raise KernelError("there are not 1 to 16 symbols")
    return 1 if len(symbols) <= 2 else 2 if len(symbols) <= 4 else 4


def symbols_pack(values: U8, symbols: U8, out: U8) -> None:
    """Pack values of few kinds into bytes: 8 to a byte for 2 kinds, 4 for 4, 2 for 16; the first lowest.

    Parameters
    ----------
    values : ndarray of uint8
    symbols : ndarray of uint8, shape (1 to 16,)
        The kinds; a value is packed as its index here.
    out : ndarray of uint8
        Written; zeros after the last value.

    Raises
    ------
    KernelError
        A value is none of the symbols, or the output has another size.
    """
    width = _width(symbols)
    per = 8 // width
    if len(out) != -(-len(values) // per):
        raise KernelError("size of the output does not fit the values")
    codes = np.full(256, 255, np.uint8)
    codes[symbols] = np.arange(len(symbols))
    packed = np.zeros(len(out) * per, np.uint8)
    packed[: len(values)] = codes[values]
    if (packed == 255).any():
        raise KernelError("a value is none of the symbols")
    out[:] = np.bitwise_or.reduce(packed.reshape(-1, per) << (width * np.arange(per, dtype=np.uint8)), axis=1)


def symbols_unpack(data: U8, symbols: U8, out: U8) -> None:
    """Unpack what :func:`symbols_pack` wrote into ``out``, which has as many places as there are values.

    Raises
    ------
    KernelError
        Sizes do not fit, a code is that of no symbol, or there is something after the last value.
    """
    width = _width(symbols)
    per = 8 // width
    if len(data) != -(-len(out) // per):
        raise KernelError("size of the data does not fit the values")
    codes = (data[:, None] >> (width * np.arange(per, dtype=np.uint8)) & ((1 << width) - 1)).ravel()
    if codes[len(out) :].any():
        raise KernelError("padding that is not zero", -1, len(data) - 1)
    if (codes >= len(symbols)).any():
        raise KernelError("a code is that of no symbol")
    out[:] = symbols[codes[: len(out)]]


def repeats_split(values: U8, which: U8, kept: U8, repeats: U8) -> tuple[int, int]:
    """Take the repeats out of runs of some of the values.

    Parameters
    ----------
    values : ndarray of uint8
    which : ndarray of uint8
        The values whose repeats are taken out.
    kept, repeats : ndarray of uint8
        Written as far as they reach: the values without repeats; for each kept value in ``which`` the number of its
        repeats, as bytes of 255 and one that is less.

    Returns
    -------
    tuple of int
        Number of kept values and of bytes of repeats.
    """
    starts = np.flatnonzero(np.concatenate((np.ones(min(len(values), 1), bool), values[1:] != values[:-1])))
    lengths = np.diff(np.concatenate((starts, [len(values)])))
    left, runs = bytearray(), bytearray()
    for value, length in zip(values[starts].tolist(), lengths.tolist(), strict=True):
        if value in which:
            left.append(value)
            runs += b"\xff" * ((length - 1) // 255) + bytes(((length - 1) % 255,))
        else:
            left += bytes((value,)) * length
    for source, to in ((left, kept), (runs, repeats)):
        size = min(len(source), len(to))
        to[:size] = np.frombuffer(source, np.uint8)[:size]
    return len(left), len(runs)


def repeats_join(kept: U8, repeats: U8, which: U8, out: U8) -> None:
    """Put back what :func:`repeats_split` took out.

    Raises
    ------
    KernelError
        There are more or less values than ``out`` has places, or repeats than there are runs.
    """
    parts, at, r = [], 0, 0
    for k, value in enumerate(kept.tolist()):
        run = 1
        while value in which:
            if r == len(repeats):
                raise KernelError("the repeats end early", -1, k)
            run += int(repeats[r])
            r += 1
            if repeats[r - 1] < 255:
                break
        at += run
        if at > len(out):
            raise KernelError("more values than there should be", -1, k)
        parts.append(bytes((value,)) * run)
    if at != len(out) or r != len(repeats):
        raise KernelError("values and repeats do not fit each other")
    out[:] = np.frombuffer(b"".join(parts), np.uint8)
