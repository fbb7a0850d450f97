"""Static entropy coding of bytes whose probabilities depend on the byte before (``spec/codecs/rans.md``)."""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from agd import kernels
from agd.batch import U8, U16, U32
from agd.codecs.base import Kind, register
from agd.errors import CodecError

#: What a stream may consist of; the bits of its first byte.
STORED, ORDER1, PACKED, REPEATS = 1, 2, 4, 8

#: Bytes of the data that choices are made on, and the length of each of the pieces that they are taken in.
SAMPLE, PIECE = 1 << 18, 1 << 13

#: Values in one step of the coder.
LANES = 32

_HEAD = struct.Struct("<BQ")
_TABLE = struct.Struct("<BBBI")
_REPEATS = struct.Struct("<QQ")


@register
class Rans:
    """32 interleaved rANS coders of order 0 or 1, after packing and taking out repeats where that pays.

    What is best for a chunk is found on a sample of it; nothing need be set.
    """

    name: ClassVar[str] = "rans"
    version: ClassVar[int] = 1
    kind: ClassVar[Kind] = Kind.BYTES

    def config(self) -> dict[str, Any]:
        """See :class:`agd.codecs.base.Codec`."""
        return {}

    def encode(self, data: Any) -> bytes:
        """See :class:`agd.codecs.base.BytesCodec`."""
        return compress(np.frombuffer(data, np.uint8))

    def decode(self, data: Any, limit: int) -> memoryview:
        """See :class:`agd.codecs.base.BytesCodec`."""
        return decompress(np.frombuffer(data, np.uint8), limit).data


@dataclass(frozen=True, slots=True)
class Plan:
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


def compress(data: U8, *, portable: bool = False) -> bytes:
    """Stream of these bytes.

    Parameters
    ----------
    data : ndarray of uint8
    portable : bool
        Leave the vector instructions of this processor unused; the stream is the same.
    """
    stream = _write(data, _choose(data), portable)
    return stream if len(stream) < len(data) + _HEAD.size else _write(data, _AS_IT_IS, portable)


def decompress(stream: U8, limit: int, *, portable: bool = False) -> U8:
    """The bytes of a stream.

    Raises
    ------
    CodecError
        The stream is damaged, or holds more than ``limit`` bytes.
    KernelError
        Its coded values are damaged.
    """
    return _read(stream, limit, portable, True)


# Writing


def _write(data: U8, plan: Plan, portable: bool) -> bytes:
    n = len(data)
    if plan.order < 0:
        return _HEAD.pack(STORED, n) + data.tobytes()
    kind = ORDER1 if plan.order else 0
    parts: list[Any] = []
    if len(plan.repeated):
        kept, repeats = _split(data, plan.repeated)
        stream = compress(repeats, portable=portable)
        kind |= REPEATS
        parts += [_REPEATS.pack(len(kept), len(stream)), _with_count(plan.repeated), stream]
        data = kept
    if len(plan.symbols):
        kind |= PACKED
        parts.append(_with_count(plan.symbols))
        data = _pack(data, plan.symbols)
    parts += _code(data, plan.order, portable)
    return b"".join((_HEAD.pack(kind, n), *parts))


def _code(data: U8, order: int, portable: bool) -> list[Any]:
    """Table and coded values of bytes without repeats."""
    base, span = _range(data)
    counts = _counts(data, base, span, order)
    bits = _bits(counts, order)
    frequencies = _frequencies(counts, bits)
    out = np.empty(2 * len(data) + 4 * LANES + 64, np.uint8)
    start = kernels.rans_encode(data, base, span, order, bits, frequencies.reshape(-1), out, portable)
    table = _pack_table(frequencies, portable)
    return [_TABLE.pack(base, span - 1, bits, len(table)), table, out[start:].data]


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


def _pack_table(frequencies: U16, portable: bool) -> bytes:
    """A bit for each frequency that is not 0, then these less one: all low bytes, all high bytes; as a stream."""
    rest = frequencies[frequencies > 0] - 1
    raw = np.concatenate((
        np.packbits(frequencies > 0, bitorder="little"), (rest & 255).astype(np.uint8), (rest >> 8).astype(np.uint8)
    ))  # fmt: skip
    # A table of a table would cost more than it saves.
    return _write(raw, _ORDER0 if len(raw) > 1024 else _AS_IT_IS, portable)


def _unpack_table(stream: U8, rows: int, span: int, portable: bool) -> U16:
    raw = _read(stream, rows * span * 3, portable, False)
    size = -(-rows * span // 8)
    if len(raw) < size:
        raise CodecError("rans", "table", "ends early")
    present = np.unpackbits(raw[:size], bitorder="little").astype(bool)
    if present[rows * span :].any():
        raise CodecError("rans", "table", "padding that is not zero")
    present = present[: rows * span]
    count = int(np.count_nonzero(present))
    if len(raw) != size + 2 * count:
        raise CodecError("rans", "table", f"{len(raw)} bytes for {count} frequencies")
    frequencies = np.zeros(rows * span, np.uint16)
    low, high = raw[size : size + count], raw[size + count :]
    frequencies[present] = np.minimum(low.astype(np.uint16) + (high.astype(np.uint16) << 8), 4096) + 1
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


def _read(stream: U8, limit: int, portable: bool, outer: bool) -> U8:
    cursor = _Cursor(stream)
    kind, n = cursor.unpack(_HEAD)
    if n > limit:
        raise CodecError("rans", "payload", f"{n} bytes announced, more than {limit}")
    if kind == STORED:
        if len(cursor.rest) != n:
            raise CodecError("rans", "payload", f"{n} bytes announced, {len(cursor.rest)} are there")
        return cursor.rest
    if kind & ~(ORDER1 | PACKED | REPEATS) or (not outer and kind):
        raise CodecError("rans", "kind", f"{kind} is none that may stand here")
    repeats = repeated = _NONE
    kept = n
    if kind & REPEATS:
        kept, size = cursor.unpack(_REPEATS)
        repeated = cursor.symbols()
        if kept > n:
            raise CodecError("rans", "payload", f"{kept} values announced, more than {n}")
        # Runs give a byte each and one more for every 255 repeats.
        repeats = _read_repeats(cursor.take(size), kept + n // 255, portable)
    data = _read_values(cursor, kind, kept, portable)
    if kind & REPEATS:
        out = np.empty(n, np.uint8)
        kernels.repeats_join(data, repeats, repeated, out)
        return out
    return data


def _read_repeats(stream: U8, limit: int, portable: bool) -> U8:
    if len(stream) and int(stream[0]) & REPEATS:
        raise CodecError("rans", "kind", "repeats within repeats")
    return _read(stream, limit, portable, True)


def _read_values(cursor: _Cursor, kind: int, count: int, portable: bool) -> U8:
    if not kind & PACKED:
        return _decode(cursor, kind, count, portable)
    symbols = cursor.symbols()
    per = _per_byte(len(symbols))
    packed = _decode(cursor, kind, -(-count // per) if per else 0, portable)
    out = np.empty(count, np.uint8)
    kernels.symbols_unpack(packed, symbols, out)
    return out


def _decode(cursor: _Cursor, kind: int, count: int, portable: bool) -> U8:
    base, last, bits, size = cursor.unpack(_TABLE)
    order, span = int(bool(kind & ORDER1)), last + 1
    frequencies = _unpack_table(cursor.take(size), span if order else 1, span, portable)
    out = np.empty(count, np.uint8)
    kernels.rans_decode(cursor.rest, base, span, order, bits, frequencies, out, portable)
    return out


# Tables


def _symbols(data: U8) -> U8:
    """Values that occur, ascending."""
    counts = np.empty(256, np.uint32)
    rest = len(data) % LANES
    kernels.rans_counts(data, 0, 256, 0, counts)
    if rest:
        counts[data[-rest:]] = 1
    return np.flatnonzero(counts).astype(np.uint8)


def _range(data: U8) -> tuple[int, int]:
    low, high = int(data.min()), int(data.max())
    return low, high - low + 1


def _counts(data: U8, base: int, span: int, order: int) -> U32:
    """How often each value is coded in each context, shape (contexts, span)."""
    counts = np.empty((span if order else 1, span), np.uint32)
    kernels.rans_counts(data, base, span, order, counts.reshape(-1))
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


def _entropy(data: U8, order: int, scale: float) -> float:
    """Estimate of the bytes that data take, ``scale`` times as many of them as are given here."""
    counts = _counts(data, *_range(data), order)
    total = counts.sum(1)
    there = total > 0
    bits = float((total[there] * np.log2(total[there])).sum())
    used = counts[counts > 0]
    bits -= float((used * np.log2(used)).sum())
    # A frequency takes a byte, and a bit tells each that is absent.
    return bits / 8 * scale + 1.2 * len(used) * min(scale, 2.0) + counts.size / 16 + 4 * LANES


def _per_byte(symbols: int) -> int:
    return 8 if symbols <= 2 else 4 if symbols <= 4 else 2 if symbols <= 16 else 0


def _choose(data: U8) -> Plan:
    """The cheapest plan, judged by a sample."""
    n = len(data)
    if n < 4 * LANES:
        return _AS_IT_IS
    sample = _sample(data)
    symbols = _symbols(sample)
    few = len(symbols) <= 16
    if few and len(sample) < n:
        symbols = _symbols(data)
        few = len(symbols) <= 16
    best, cost = _AS_IT_IS, float(n)
    often = _worth_repeating(sample)
    for repeated in (_NONE, often) if len(often) else (_NONE,):
        if len(repeated):
            kept, repeats = _split(sample, repeated)
            extra = _entropy(repeats, 0, n / len(sample))
        else:
            kept, extra = sample, 0.0
        for packed, order in itertools.product((symbols, _NONE) if few else (_NONE,), (1, 0)):
            values = _pack(kept, packed) if len(packed) else kept
            estimate = extra + _entropy(values, order, n / len(sample))
            if estimate < cost * (0.97 if len(repeated) else 0.995):
                best, cost = Plan(order, packed, repeated), estimate
    return best


def _sample(data: U8) -> U8:
    n = len(data)
    if n <= 2 * SAMPLE:
        return data
    pieces = SAMPLE // PIECE
    starts = np.arange(pieces) * ((n - PIECE) // (pieces - 1))
    return np.concatenate([data[start : start + PIECE] for start in starts])


def _worth_repeating(sample: U8) -> U8:
    """Values that follow themselves in nine cases of ten; below that, order 1 does as well and is faster."""
    same = sample[1:] == sample[:-1]
    counts = np.bincount(sample, minlength=256)
    again = np.bincount(sample[1:][same], minlength=256)
    return np.flatnonzero((again * 10 > counts * 9) & (counts > 64)).astype(np.uint8)
