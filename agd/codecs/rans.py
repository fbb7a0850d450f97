"""Static entropy coding of bytes whose probabilities depend on the byte before (``spec/codecs/rans.md``)."""

from __future__ import annotations

import contextlib
import math
import struct
from typing import Any, ClassVar, NamedTuple

import numpy as np

from agd import kernels
from agd.batch import U8, U16, U32
from agd.codecs.base import Kind, register
from agd.errors import CodecError, KernelError
from agd.kernels.memory import empty

#: What a stream may consist of; the bits of its first byte.
STORED, ORDER1, PACKED, REPEATS, WIDE = 1, 2, 4, 8, 16

#: Bytes of the data that choices are made on, more of them where there are few kinds, which make long contexts; and the
#: length of each of the pieces that they are taken in.
SAMPLE, FEW_SAMPLE, PIECE = 1 << 18, 1 << 20, 1 << 13

#: Values of a longer stream that are counted for its table; a value that is there fewer times than ``RARE`` among them
#: may have company that is not, so that all must be counted.
COUNTED, RARE = 1 << 21, 8

#: Values in one step of the coder; and as many where there are at least ``LONG`` of them, which is faster: what so many
#: states and beginnings of lanes cost is then next to nothing.
LANES, WIDE_LANES, LONG = 32, 64, 1 << 20

_HEAD = struct.Struct("<BQ")
_TABLE = struct.Struct("<BBBI")
_REPEATS = struct.Struct("<QQ")


@register
class Rans:
    """32 or 64 interleaved rANS coders of order 0 or 1, after packing and taking out repeats where that pays.

    What is best for a chunk is found on a sample of it; nothing need be set.
    """

    name: ClassVar[str] = "rans"
    version: ClassVar[int] = 2
    kind: ClassVar[Kind] = Kind.BYTES

    def config(self) -> dict[str, Any]:
        """See :class:`agd.codecs.base.Codec`."""
        return {}

    def encode(self, data: Any) -> bytes:
        """See :class:`agd.codecs.base.BytesCodec`."""
        return compress(np.frombuffer(data, np.uint8), wide=True)

    def decode(self, data: Any, limit: int) -> memoryview:
        """See :class:`agd.codecs.base.BytesCodec`."""
        return decompress(np.frombuffer(data, np.uint8), limit).data


class Plan(NamedTuple):
    """How a stream is coded.

    Attributes
    ----------
    order : int
        0 or 1; -1: the bytes are stored as they are.
    symbols : ndarray of uint8
        Values that occur, if two, four or eight of them become one byte first; empty otherwise.
    repeated : ndarray of uint8
        Values whose repeats are taken out, before packing; empty for none.
    """

    order: int
    symbols: U8
    repeated: U8


_NONE = np.empty(0, np.uint8)
_AS_IT_IS, _ORDER0 = Plan(-1, _NONE, _NONE), Plan(0, _NONE, _NONE)


def compress(data: U8, *, wide: bool = False) -> bytes:
    """Stream of these bytes.

    Parameters
    ----------
    data : ndarray of uint8
    wide : bool
        Whether a long stream may have 64 lanes, which version 1 did not have.
    """
    plan = _choose(data, None)
    try:
        stream = _write(data, plan, wide)
    except KernelError:
        # The sample, by which the plan was made, does not hold all symbols that there are.
        if not len(plan.symbols):
            raise
        stream = _write(data, _choose(data, _symbols(data)), wide)
    return stream if len(stream) < len(data) + _HEAD.size else _write(data, _AS_IT_IS)


def decompress(stream: U8, limit: int) -> U8:
    """The bytes of a stream.

    Raises
    ------
    CodecError
        The stream is damaged, or holds more than ``limit`` bytes.
    KernelError
        Its coded values are damaged.
    """
    return _read(stream, limit, True)


# Writing


def _write(data: U8, plan: Plan, wide: bool = False) -> bytes:
    n = len(data)
    if plan.order < 0:
        return _HEAD.pack(STORED, n) + data.tobytes()
    kind = ORDER1 if plan.order else 0
    parts: list[Any] = []
    if len(plan.repeated):
        kept, repeats = _split(data, plan.repeated)
        stream = compress(repeats)
        kind |= REPEATS
        parts += [_REPEATS.pack(len(kept), len(stream)), _with_count(plan.repeated), stream]
        data = kept
    if len(plan.symbols):
        kind |= PACKED
        parts.append(_with_count(plan.symbols))
        data = _pack(data, plan.symbols)
    lanes = WIDE_LANES if wide and len(data) >= LONG else LANES
    if lanes == WIDE_LANES:
        kind |= WIDE
    parts += _code(data, plan.order, lanes)
    return b"".join((_HEAD.pack(kind, n), *parts))


def _code(data: U8, order: int, lanes: int) -> list[Any]:
    """Table and coded values of bytes without repeats."""
    counted = _sample(data, COUNTED)
    if len(counted) < len(data):
        base, span = _range(counted)
        counts = _counts(counted, base, span, order)
        often = counts.sum(0)
        if often[often > 0].min() >= RARE:
            # A value that has not been seen to follow another has the least of frequencies there.
            pairs = np.ix_(often > 0 if order else np.ones(1, np.bool_), often > 0)
            counts[pairs] = np.maximum(counts[pairs], 1)
            # Not all is counted: a little more room is made than these should take.
            with contextlib.suppress(KernelError):
                return _coded(data, order, base, counts, lanes, 1.02 * len(data) / len(counted))
            # Another value is there, or more room is needed.
    base, span = _range(_sample(data, SAMPLE))
    try:
        counts = _counts(data, base, span, order, lanes)
    except KernelError:
        # The sample lacks the lowest or the highest value. Looking for them at once would always cost two passes.
        base, span = _range(data)
        counts = _counts(data, base, span, order, lanes)
    return _coded(data, order, base, counts, lanes)


def _coded(data: U8, order: int, base: int, counts: U32, lanes: int, scale: float = 1.0) -> list[Any]:
    """Table and coded values, with counts of all of them or of one in ``scale``."""
    span = counts.shape[1]
    bits = _bits(counts, order)
    frequencies = _frequencies(counts, bits)
    out = empty(_room(counts, frequencies, bits, len(data), lanes, scale))
    start = kernels.rans_encode(data, base, span, order, bits, frequencies.reshape(-1), lanes, out)
    table = _pack_table(frequencies)
    return [_TABLE.pack(base, span - 1, bits, len(table)), table, out[start:].data]


def _room(counts: U32, frequencies: U16, bits: int, values: int, lanes: int, scale: float = 1.0) -> int:
    """Bytes that the kernel needs at most; with counts of one value in ``scale``, what it should need.

    A state x, which is at least f * 2 ** (15 - bits) when a value of frequency f is coded, becomes less than
    (x / f + 1) * 2 ** bits: the value takes no more than log2(1 + 2 ** (bits - 15)) bits more than it should.
    """
    words = int((_cost(counts, frequencies, bits) * scale + values * math.log2(1 + 2 ** (bits - 15))) / 8) + 2 * lanes
    return min(2 * values, words + 128 * lanes) + 6 * lanes + 64


def _split(data: U8, repeated: U8) -> tuple[U8, U8]:
    counts = kernels.repeats_split(data, repeated, _NONE, _NONE)
    kept, repeats = np.empty(counts[0], np.uint8), np.empty(counts[1], np.uint8)
    kernels.repeats_split(data, repeated, kept, repeats)
    return kept, repeats


def _pack(data: U8, symbols: U8) -> U8:
    packed = np.empty(-(-len(data) // _per_byte(len(symbols))), np.uint8)
    kernels.symbols_pack(data, symbols, packed)
    return packed


def _with_count(symbols: U8) -> bytes:
    return bytes((len(symbols) - 1,)) + symbols.tobytes()


def _pack_table(frequencies: U16) -> bytes:
    """A bit for each frequency that is not 0, then these less one: all low bytes, all high bytes; as a stream."""
    rest = frequencies[frequencies > 0] - 1
    raw = np.concatenate((
        np.packbits(frequencies > 0, bitorder="little"), (rest & 255).astype(np.uint8), (rest >> 8).astype(np.uint8)
    ))  # fmt: skip
    # A table of a table would cost more than it saves.
    return _write(raw, _ORDER0 if len(raw) > 1024 else _AS_IT_IS)


def _unpack_table(stream: U8, rows: int, span: int) -> U16:
    frequencies = np.empty(rows * span, np.uint16)
    kernels.rans_table(_read(stream, rows * span * 3, False), frequencies)
    return frequencies


# Reading


class _Cursor:
    """Reads a stream from its beginning; never beyond its end."""

    def __init__(self, stream: U8) -> None:
        self.rest = stream

    def take(self, size: int) -> U8:
        if size > len(self.rest):
            raise CodecError("rans", "stream", f"{size} bytes announced, {len(self.rest)} left")
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken

    def unpack(self, fields: struct.Struct) -> tuple[Any, ...]:
        return fields.unpack(self.take(fields.size).tobytes())

    def symbols(self) -> U8:
        symbols = self.take(int(self.take(1)[0]) + 1)
        if (symbols[1:] <= symbols[:-1]).any():
            raise CodecError("rans", "symbols", "do not ascend")
        return symbols


def _read(stream: U8, limit: int, outer: bool) -> U8:
    cursor = _Cursor(stream)
    kind, n = cursor.unpack(_HEAD)
    if n > limit:
        raise CodecError("rans", "payload", f"{n} bytes announced, more than {limit}")
    if kind == STORED:
        if len(cursor.rest) != n:
            raise CodecError("rans", "payload", f"{n} bytes announced, {len(cursor.rest)} are there")
        return cursor.rest
    if kind & ~(ORDER1 | PACKED | REPEATS | WIDE) or (not outer and kind):
        raise CodecError("rans", "kind", f"{kind} is none that may stand here")
    repeats = repeated = _NONE
    kept = n
    if kind & REPEATS:
        kept, size = cursor.unpack(_REPEATS)
        repeated = cursor.symbols()
        if kept > n:
            raise CodecError("rans", "payload", f"{kept} values announced, more than {n}")
        # Runs give a byte each and one more for every 255 repeats.
        repeats = _read_repeats(cursor.take(size), kept + n // 255)
    data = _read_values(cursor, kind, kept)
    if kind & REPEATS:
        out = empty(n)
        kernels.repeats_join(data, repeats, repeated, out)
        return out
    return data


def _read_repeats(stream: U8, limit: int) -> U8:
    if len(stream) and int(stream[0]) & REPEATS:
        raise CodecError("rans", "kind", "repeats within repeats")
    return _read(stream, limit, True)


def _read_values(cursor: _Cursor, kind: int, count: int) -> U8:
    if not kind & PACKED:
        return _decode(cursor, kind, count)
    symbols = cursor.symbols()
    per = _per_byte(len(symbols))
    packed = _decode(cursor, kind, -(-count // per) if per else 0)
    out = empty(count)
    kernels.symbols_unpack(packed, symbols, out)
    return out


def _decode(cursor: _Cursor, kind: int, count: int) -> U8:
    base, last, bits, size = cursor.unpack(_TABLE)
    order, span, lanes = int(bool(kind & ORDER1)), last + 1, WIDE_LANES if kind & WIDE else LANES
    frequencies = _unpack_table(cursor.take(size), span if order else 1, span)
    out = empty(count)
    kernels.rans_decode(cursor.rest, base, span, order, bits, frequencies, lanes, out)
    return out


# Tables


def _symbols(data: U8) -> U8:
    """Values that occur, ascending."""
    counts = np.empty(256, np.uint32)
    rest = len(data) % LANES
    kernels.rans_counts(data, 0, 256, 0, LANES, counts)
    if rest:
        counts[data[-rest:]] = 1
    return np.flatnonzero(counts).astype(np.uint8)


def _range(data: U8) -> tuple[int, int]:
    low, high = int(data.min()), int(data.max())
    return low, high - low + 1


def _counts(data: U8, base: int, span: int, order: int, lanes: int = LANES) -> U32:
    """How often each value is coded in each context, shape (contexts, span)."""
    counts = np.empty((span if order else 1, span), np.uint32)
    kernels.rans_counts(data, base, span, order, lanes, counts.reshape(-1))
    return counts


def _frequencies(counts: U32, bits: int) -> U16:
    """Frequencies that add up to ``2 ** bits`` in every context that occurs; none becomes 0."""
    total = counts.sum(1, keepdims=True, dtype=np.int64)
    scaled = (counts.astype(np.int64) << bits) // np.maximum(total, 1)
    frequencies = np.where(counts > 0, np.maximum(scaled, 1), 0)
    missing = np.where(total[:, 0] > 0, (1 << bits) - frequencies.sum(1), 0)
    largest = frequencies.argmax(1)
    rows = np.arange(len(frequencies))
    # Many rare values may together have got more than there is: those with most give it back, one by one.
    frequencies[rows, largest] += missing
    for row in np.flatnonzero(frequencies[rows, largest] < 1):
        frequencies[row, largest[row]] -= missing[row]
        for _ in range(-int(missing[row])):
            frequencies[row, frequencies[row].argmax()] -= 1
    return frequencies.astype(np.uint16)


def _cost(counts: U32, frequencies: U16, bits: int) -> float:
    """Bits that the values take with these frequencies."""
    there = counts > 0
    return float((counts[there] * (bits - np.log2(frequencies[there]))).sum())


def _bits(counts: U32, order: int) -> int:
    """Precision of the frequencies: small tables are faster, so they are taken if that costs next to nothing."""
    if order == 0:
        return 12
    best = _cost(counts, _frequencies(counts, 12), 12)
    # 2 ** 10 places hold at most 256 values of at least one place each.
    return next((b for b in (10, 11) if _cost(counts, _frequencies(counts, b), b) <= 1.003 * best), 12)


def _estimate(counts: U32, scale: float) -> float:
    """Estimate of the bytes that values take, ``scale`` times as many of them as are counted here."""
    used = np.count_nonzero(counts)
    bits = _cost(counts, _frequencies(counts, 12), 12)
    if scale > 1:
        # Values that are yet to come in a context take from the others at least one in 4096 each (A. Chao's estimate).
        once, twice = (counts == 1).sum(1), (counts == 2).sum(1)
        unseen = np.minimum(once * (once - 1) / (2 * (twice + 1)), (counts == 0).sum(1))
        bits -= float((counts.sum(1) * np.log2(1 - np.minimum(unseen / 4096, 0.5))).sum())
    # A frequency takes a byte, and a bit tells each that is absent.
    return bits / 8 * scale + 1.2 * used * min(scale, 2.0) + counts.size / 16 + 4 * LANES


def _per_byte(symbols: int) -> int:
    return 8 if symbols <= 2 else 4 if symbols <= 4 else 2 if symbols <= 16 else 0


def _listings(symbols: U8) -> list[U8]:
    """Lists of symbols that pack these, those that put most into a byte first; the last one is empty.

    More symbols than there are leave more bits to each: what is rare among pairs is not as rare as among fours, and the
    frequencies of a table have no more than 12 bits.
    """
    found: list[U8] = []
    for size in (len(symbols), 3, 5):
        if len(symbols) <= size <= 16 and all(_per_byte(size) != _per_byte(len(other)) for other in found):
            unused = np.setdiff1d(np.arange(256), symbols)[::-1][: size - len(symbols)]
            found.append(np.union1d(symbols, unused).astype(np.uint8))
    return [*found, _NONE]


def _choose(data: U8, symbols: U8 | None) -> Plan:
    """The cheapest plan, judged by a sample; a slower one must gain half a percent.

    Parameters
    ----------
    symbols : ndarray of uint8 or None
        Values that occur, ascending; None: those of the sample.
    """
    n = len(data)
    if n < 4 * LANES:
        return _AS_IT_IS
    sample = _sample(data, SAMPLE)
    if symbols is None:
        symbols = _symbols(sample)
    if len(symbols) <= 16:
        sample = _sample(data, FEW_SAMPLE)
        symbols = np.union1d(symbols, _symbols(sample)).astype(np.uint8)
    scale = n / len(sample)
    pairs = _pairs(sample)
    often = _worth_repeating(pairs) + sample.min()
    best, cost = _AS_IT_IS, float(n)
    for repeated in (_NONE, often) if len(often) else (_NONE,):
        kept, extra = sample, 0.0
        if len(repeated):
            kept, repeats = _split(sample, repeated)
            extra = _estimate(_pairs(repeats).sum(0, keepdims=True, dtype=np.uint32), scale)
        for listing in _listings(symbols):
            counts = _pairs(_pack(kept, listing)) if len(listing) else pairs if kept is sample else _pairs(kept)
            for order in (1, 0):
                estimate = extra + _estimate(counts if order else counts.sum(0, keepdims=True, dtype=np.uint32), scale)
                if estimate < cost * (0.97 if len(repeated) else 0.995):
                    best, cost = Plan(order, listing, repeated), estimate
    return best


def _pairs(data: U8) -> U32:
    """How often each value follows each other, both from the lowest value on."""
    return _counts(data, *_range(data), 1)


def _sample(data: U8, size: int) -> U8:
    n = len(data)
    if n <= 2 * size:
        return data
    pieces = size // PIECE
    starts = np.arange(pieces) * ((n - PIECE) // (pieces - 1))
    return np.concatenate([data[start : start + PIECE] for start in starts])


def _worth_repeating(pairs: U32) -> U8:
    """Values that follow themselves in nine cases of ten; below that, order 1 does as well and is faster."""
    again, counts = pairs.diagonal().astype(np.int64), pairs.sum(0, dtype=np.int64)
    return np.flatnonzero((again * 10 > counts * 9) & (counts > 64)).astype(np.uint8)
