"""Adaptive coding of qualities in the context of those before them (``spec/codecs/fqz.md``)."""

from __future__ import annotations

import heapq
import struct
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np

from agd import kernels
from agd.batch import I64, U8, U32, AnyColumn, Column
from agd.codecs.base import Kind, register
from agd.errors import CodecError, KernelError
from agd.processors import threads_here

#: Values that are coded with one model: each slice starts anew, and slices are coded side by side.
SLICE_VALUES = 6 << 20

#: Values on which the choice between settings is made.
SAMPLE_VALUES = 1 << 20

#: No byte of a slice holds more values than this: a decision takes 2^-12 bits at least.
MAX_VALUES_PER_BYTE = 1 << 16

#: Entries of the tables of positions and of changes.
POSITIONS, CHANGES = 1024, 256

_HEAD = struct.Struct("<BBBBHHH")

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Settings:
    """How finely contexts are told apart.

    Attributes
    ----------
    before : int
        Classes of the larger of the second and third value before.
    positions : int
        Classes of the position in the record.
    changes, shift : int
        Classes of the number of changes from one value to the next so far, each ``2 ** shift`` wide.
    """

    before: int
    positions: int
    changes: int
    shift: int


#: What is tried; the plain ones alone for records of many different values, which are hardly qualities.
PLAIN = Settings(1, 1, 1, 0)
TRIED = (Settings(8, 8, 8, 3), Settings(8, 8, 8, 2), Settings(4, 8, 32, 0))
MANY_VALUES = 64


@register
class Fqz:
    """Qualities by binary decisions whose probabilities are learned for each context, in slices side by side."""

    name: ClassVar[str] = "fqz"
    version: ClassVar[int] = 1
    kind: ClassVar[Kind] = Kind.PACK
    sized: ClassVar[bool] = True

    def config(self) -> dict[str, Any]:
        """See :class:`agd.codecs.base.Codec`."""
        return {}

    def encode(self, column: AnyColumn) -> bytes:
        """See :class:`agd.codecs.base.PackCodec`."""
        if not isinstance(column, Column) or column.offsets is None or column.values.dtype != np.uint8:
            raise CodecError("fqz", "codecs", "takes records of text only")
        column = column.compact()
        if not len(column.values):
            return b""
        lengths = code_lengths(np.bincount(column.values, minlength=256))
        longest = min(int(column.lengths.max()), POSITIONS)
        slices = max(1, min(len(column.values) // SLICE_VALUES, len(column), 0xFFFF))
        settings = _choose(column, lengths, longest)
        model = Model(lengths, longest, settings, 255)
        parts = _side_by_side(model.encode, [column.slice(a, b) for a, b in _cuts(len(column), slices)])
        values = np.flatnonzero(lengths).astype(np.uint8)
        head = _HEAD.pack(
            len(values) - 1, settings.before, settings.positions, settings.shift, settings.changes, longest, slices
        )
        sizes = np.array([len(part) for part in parts], "<u8")
        return b"".join((head, values.tobytes(), lengths[values].tobytes(), sizes.tobytes(), *parts))

    def decode(self, data: memoryview, count: int, sizes: I64 | None) -> Column:
        """See :class:`agd.codecs.base.PackCodec`."""
        assert sizes is not None
        offsets = np.zeros(count + 1, np.int64)
        np.cumsum(sizes, out=offsets[1:])
        total = int(offsets[-1])
        if not total:
            if len(data):
                raise CodecError("fqz", "payload", "there is more than the values")
            return Column(np.empty(0, np.uint8), offsets)
        model, parts = _read(np.frombuffer(data, np.uint8))
        jobs = []
        for part, (a, b) in zip(parts, _cuts(count, len(parts)), strict=True):
            if int(offsets[b] - offsets[a]) > len(part) * MAX_VALUES_PER_BYTE:
                raise CodecError("fqz", "payload", f"{len(part)} bytes cannot hold {offsets[b] - offsets[a]} values")
            jobs.append((part, offsets[a : b + 1]))
        values = np.empty(total, np.uint8)
        _side_by_side(lambda job: model.decode(job[0], job[1], values), jobs)
        return Column(values, offsets)


def _read(data: U8) -> tuple[Model, list[U8]]:
    """Model and slices of a payload."""
    if len(data) < _HEAD.size:
        raise CodecError("fqz", "payload", f"{len(data)} bytes are too few")
    last, before, positions, shift, changes, longest, slices = _HEAD.unpack_from(data.tobytes()[: _HEAD.size])
    n, at = last + 1, _HEAD.size
    end = at + 2 * n + 8 * slices
    if end > len(data) or not slices:
        raise CodecError("fqz", "payload", f"{slices} slices in {len(data)} bytes")
    values, bits = data[at : at + n], data[at + n : at + 2 * n]
    if (values[1:] <= values[:-1]).any():
        raise CodecError("fqz", "values", "do not ascend")
    if not (before and positions and changes and 0 < longest <= POSITIONS and shift <= 8):
        raise CodecError("fqz", "settings", "make no sense")
    lengths = np.zeros(256, np.uint8)
    lengths[values] = bits
    sizes = np.frombuffer(data[end - 8 * slices : end].tobytes(), "<u8")
    if int(sizes.max()) > len(data) or int(sizes.sum()) != len(data) - end:
        raise CodecError("fqz", "slices", "do not fill the payload")
    cuts = end + np.concatenate(([0], np.cumsum(sizes.astype(np.int64))))
    parts = [data[a:b] for a, b in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True)]
    return Model(lengths, longest, Settings(before, positions, changes, shift), 255), parts


class Model:
    """Tables of one chunk; see :func:`agd.kernels.quality_encode`.

    Parameters
    ----------
    lengths : ndarray of uint8, shape (256,)
        Code length of each value, 0 where it does not occur.
    longest : int
        Position from which on all are of the last class, 1 to 1024.
    settings : Settings
    limit : int
        How many decisions a probability is the mean of, in the long run.
    """

    def __init__(self, lengths: U8, longest: int, settings: Settings, limit: int) -> None:
        self.lengths, self.limit = lengths, limit
        present = lengths > 0
        n = int(np.count_nonzero(present))
        # Rank of each value; of one that does not occur, that of the next smaller one.
        rank = np.maximum(np.cumsum(present) - 1, 0)
        position = np.minimum(np.arange(POSITIONS) * settings.positions // longest, settings.positions - 1)
        change = np.minimum(np.arange(CHANGES) >> settings.shift, settings.changes - 1)
        step = n
        self.last: U32 = rank.astype(np.uint32)
        self.before: U32 = (rank * settings.before // max(n, 1) * step).astype(np.uint32)
        step *= settings.before
        self.position: U32 = (position * step).astype(np.uint32)
        step *= settings.positions
        self.change: U32 = (change * step).astype(np.uint32)
        self.contexts = step * settings.changes

    def encode(self, column: Column) -> bytes:
        """Coded records."""
        assert column.offsets is not None
        values = int(column.offsets[-1] - column.offsets[0])
        try:
            return self._encode(column, 4 * values + 64)
        except KernelError:
            # Full of surprises: 12 bits is the most that a decision takes.
            return self._encode(column, 2 * values * int(self.lengths.max()) + 64)

    def _encode(self, column: Column, room: int) -> bytes:
        assert column.offsets is not None
        out = np.empty(room, np.uint8)
        size = kernels.quality_encode(
            column.values, column.offsets, self.lengths, self.last, self.before, self.position, self.change,
            self.contexts, self.limit, out,
        )  # fmt: skip
        return out[:size].tobytes()

    def decode(self, data: U8, offsets: I64, out: U8) -> None:
        """Write records to where they belong in ``out``."""
        kernels.quality_decode(
            data, offsets, self.lengths, self.last, self.before, self.position, self.change, self.contexts, self.limit,
            out,
        )  # fmt: skip


def code_lengths(counts: I64) -> U8:
    """Lengths of Huffman codes, 0 where the count is; at least two values get one.

    Parameters
    ----------
    counts : ndarray of int64, shape (256,)
        Not all 0.

    Returns
    -------
    ndarray of uint8, shape (256,)
        At most 32; for counts that would need more, those of a flat tree.
    """
    counts = counts.copy()
    if np.count_nonzero(counts) == 1:
        counts[(int(counts.argmax()) + 1) % 256] = 1
    lengths = np.zeros(256, np.uint8)
    heap: list[tuple[int, int, list[int]]] = [(int(c), s, [s]) for s, c in enumerate(counts.tolist()) if c]
    heapq.heapify(heap)
    for made in range(256, 512):
        if len(heap) == 1:
            break
        (a, _, left), (b, _, right) = heapq.heappop(heap), heapq.heappop(heap)
        lengths[left + right] += 1
        heapq.heappush(heap, (a + b, made, left + right))
    return lengths if int(lengths.max()) <= 32 else code_lengths(np.minimum(counts, 1))


def _cuts(count: int, slices: int) -> list[tuple[int, int]]:
    """First record and end of each slice."""
    return [(count * i // slices, count * (i + 1) // slices) for i in range(slices)]


def _choose(column: Column, lengths: U8, longest: int) -> Settings:
    if int(np.count_nonzero(lengths)) > MANY_VALUES:
        return PLAIN
    records = max(1, len(column) * SAMPLE_VALUES // max(len(column.values), 1))
    first = max(0, (len(column) - records) // 2)
    sample = column.slice(first, min(first + records, len(column)))
    sizes = [len(Model(lengths, longest, settings, 255).encode(sample)) for settings in TRIED]
    return TRIED[int(np.argmin(sizes))]


def _side_by_side(run: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """The list of results, from several threads if there are several items and processors for them."""
    items = list(items)
    threads = min(len(items), threads_here())
    if threads <= 1:
        return [run(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, items))
