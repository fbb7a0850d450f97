"""Reference of the adaptive coding of qualities (``spec/codecs/fqz.md``)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from agd.batch import I64, U8, U32
from agd.errors import KernelError
from agd.kernels.reference.ragged import check_offsets

MAX_LENGTH, MAX_CONTEXTS, MAX_NODES = 32, 1 << 20, 1 << 22
LEAST = 16

#: Bits behind the last value: damage anywhere before hardly ever leads to them.
END = 0xA5C3
_ALL = (1 << 64) - 1

#: A node of a tree: for each bit another node, or ~value.
_Tree = list[list[int]]


def _tree(lengths: U8) -> tuple[dict[int, tuple[int, int]], _Tree]:
    """Code and length of each value, and the canonical tree."""
    if len(lengths) != 256:
        raise KernelError("there are not 256 code lengths")
    too_long = np.flatnonzero(lengths > MAX_LENGTH)
    if len(too_long):
        raise KernelError("a code is too long", int(too_long[0]))
    order = sorted((length, s) for s, length in enumerate(lengths.tolist()) if length)
    if len(order) < 2 or sum(1 << (MAX_LENGTH - length) for length, _ in order) != 1 << MAX_LENGTH:
        raise KernelError("the code lengths make no tree")
    codes, tree, at = {}, [[0, 0]], 0
    for length, s in order:
        code = at >> (MAX_LENGTH - length)
        at += 1 << (MAX_LENGTH - length)
        codes[s] = (code, length)
        node = 0
        for b in range(length - 1, 0, -1):
            bit = code >> b & 1
            if not tree[node][bit]:
                tree[node][bit] = len(tree)
                tree.append([0, 0])
            node = tree[node][bit]
        tree[node][code & 1] = ~s
    return codes, tree


class _Encoder:
    """An interval of 64-bit numbers, and the bytes that all of them have in common so far."""

    def __init__(self) -> None:
        self.low, self.high, self.coded = 0, _ALL, bytearray()

    def code(self, chance: int, bit: int) -> None:
        """Keep the part of the interval that stands for a bit."""
        middle = self.low + ((self.high - self.low) >> 16) * chance
        self.low, self.high = (self.low, middle) if bit else (middle + 1, self.high)
        while (self.low ^ self.high) >> 56 == 0:
            self.coded.append(self.high >> 56)
            self.low, self.high = self.low << 8 & _ALL, (self.high << 8 | 255) & _ALL


class _Decoder:
    """The same interval, and the number within it that the bytes spell; zeros follow the last byte."""

    def __init__(self, coded: bytes) -> None:
        self.low, self.high, self.coded = 0, _ALL, coded
        self.x, self.used = int.from_bytes(coded[:8].ljust(8, b"\0"), "big"), 8

    def decide(self, chance: int) -> int:
        """The next bit."""
        middle = self.low + ((self.high - self.low) >> 16) * chance
        bit = int(self.x <= middle)
        self.low, self.high = (self.low, middle) if bit else (middle + 1, self.high)
        while (self.low ^ self.high) >> 56 == 0:
            self.x = (self.x << 8 | (self.coded[self.used] if self.used < len(self.coded) else 0)) & _ALL
            self.used += 1
            self.low, self.high = self.low << 8 & _ALL, (self.high << 8 | 255) & _ALL
        return bit


class _Model:
    def __init__(self, tree: _Tree, tables: tuple[U32, U32, U32, U32], contexts: int, limit: int) -> None:
        if [len(table) for table in tables] != [256, 256, 1024, 256]:
            raise KernelError("tables of the wrong size")
        if not (1 <= contexts <= MAX_CONTEXTS and contexts * len(tree) <= MAX_NODES):
            raise KernelError("too many contexts")
        if not 1 <= limit <= 1023:
            raise KernelError("no such limit")
        if sum(int(table.max()) for table in tables) >= contexts:
            raise KernelError("a context outside of all")
        self.last, self.before, self.position, self.change = (table.tolist() for table in tables)
        self.limit = limit
        #: By context and node: probability in 2^-22 that the bit is 1, and how often it was learned.
        self.learned: dict[tuple[int, int], tuple[int, int]] = {}

    def chance(self, context: int, node: int) -> int:
        """Probability in 2^-16 that the bit is 1."""
        now, _ = self.learned.get((context, node), (1 << 21, 0))
        return min(max(now >> 6, LEAST), 65536 - LEAST)

    def learn(self, context: int, node: int, bit: int) -> None:
        now, times = self.learned.get((context, node), (1 << 21, 0))
        target = (1 << 22) - 1 if bit else 0
        now += (target - now) * (131072 // (2 * times + 3)) >> 16
        self.learned[context, node] = (now, min(times + 1, self.limit))

    def record(self, length: int) -> Iterator[tuple[int, list[int]]]:
        """Context of each value of a record; the caller puts the value into the list."""
        q1 = q2 = q3 = changes = 0
        for place in range(length):
            context = self.last[q1] + self.before[max(q2, q3)] + self.position[min(place, 1023)] + self.change[changes]
            box: list[int] = []
            yield context, box
            changes = min(changes + (place > 0 and box[0] != q1), 255)
            q1, q2, q3 = box[0], q1, q2


def quality_encode(
    values: U8, offsets: I64, lengths: U8, last: U32, before: U32, position: U32, change: U32, contexts: int,
    limit: int, out: U8,
) -> int:  # fmt: skip
    """Code records of qualities.

    Parameters
    ----------
    values, offsets
        Records: record ``i`` is ``values[offsets[i]:offsets[i + 1]]``.
    lengths : ndarray of uint8, shape (256,)
        Code length of each value in the canonical tree of decisions, at most 32; 0: it does not occur.
    last, before : ndarray of uint32, shape (256,)
        What the value before, and the larger of the two before that, add to the number of the context; 0 counts for
        what is before the record.
    position : ndarray of uint32, shape (1024,)
        What the 0-based position adds; the last entry serves for all that follow.
    change : ndarray of uint32, shape (256,)
        What the number of times adds that a value of the record differed from the one before it, so far, likewise.
    contexts : int
        More than the largest sum; at most 2^20, and 2^22 with its decisions.
    limit : int
        1 to 1023: how many times a probability is learned ever more slowly.
    out : ndarray of uint8
        Written.

    Returns
    -------
    int
        Bytes that were written.

    Raises
    ------
    KernelError
        Lengths make no tree, tables do not fit, a value has no code, or the output is too small.
    """
    check_offsets(offsets, len(values), "offsets outside of the values")
    codes, tree = _tree(lengths)
    model = _Model(tree, (last, before, position, change), contexts, limit)
    coder = _Encoder()
    for r, (start, end) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
        for value, (context, box) in zip(values[start:end].tolist(), model.record(end - start), strict=True):
            if value not in codes:
                raise KernelError("a value has no code", r)
            code, length = codes[value]
            node = 0
            for b in range(length - 1, -1, -1):
                bit = code >> b & 1
                coder.code(model.chance(context, node), bit)
                model.learn(context, node, bit)
                node = tree[node][bit]
            box.append(value)
    for b in range(15, -1, -1):
        coder.code(32768, END >> b & 1)
    coded = coder.coded + bytes((coder.high >> 56,))
    if len(coded) > len(out):
        raise KernelError("the output is too small")
    out[: len(coded)] = np.frombuffer(coded, np.uint8)
    return len(coded)


def quality_decode(
    data: U8, offsets: I64, lengths: U8, last: U32, before: U32, position: U32, change: U32, contexts: int, limit: int,
    out: U8,
) -> None:  # fmt: skip
    """Decode what :func:`quality_encode` wrote, to ``out[offsets[i]:offsets[i + 1]]`` for each record ``i``.

    Raises
    ------
    KernelError
        Lengths make no tree, tables do not fit, or the data do not end where the records do.
    """
    check_offsets(offsets, len(out), "offsets outside of the values")
    _, tree = _tree(lengths)
    model = _Model(tree, (last, before, position, change), contexts, limit)
    coder = _Decoder(data.tobytes())
    for r, (start, end) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
        for i, (context, box) in zip(range(start, end), model.record(end - start), strict=True):
            node = 0
            while node >= 0:
                bit = coder.decide(model.chance(context, node))
                model.learn(context, node, bit)
                node = tree[node][bit]
            out[i] = ~node
            box.append(~node)
        if coder.used > len(coder.coded) + 7:
            raise KernelError("the coded values end early", r)
    if any(coder.decide(32768) != END >> b & 1 for b in range(15, -1, -1)):
        raise KernelError("the coded values are damaged")
    if coder.used != len(coder.coded) + 7:
        raise KernelError("there is more than the values")
