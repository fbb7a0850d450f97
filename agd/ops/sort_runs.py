"""Sorted runs: columns of alignment lines and their keys, in memory or in a temporary file."""

from __future__ import annotations

import bisect as python_bisect
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from agd.batch import I64, Column
from agd.codecs import Chain
from agd.errors import StorageError
from agd.kernels.ragged import concat
from agd.ops.sort_files import Place, begin_file, end_file, read_range, remove_file, writing
from agd.ops.sort_gather import PackedPart, Part, gather
from agd.ops.sort_keys import Key, bisect, key_at

AnyPart: TypeAlias = Column | Part | PackedPart

#: Name under which a run keeps its keys; no column has it.
KEYS = ""

#: How the columns of a run are written: what is cheap for the processor comes first, for the disk second.
SPILL_CODECS: dict[str, list[dict[str, Any]]] = {"bases": [{"name": "base3"}]}


class MemoryRun:
    """A run in memory: keys and columns of sorted records.

    A merge goes through columns from front to back: short records were brought into order as long as their chunk was
    in the processor's caches. Long ones are cheaper to look for all over the memory than to move twice, and stay in
    their parts.

    Parameters
    ----------
    keys : Column
    columns : mapping of str to Column, Part or PackedPart
        A column in the order of the run, or a part in which its records are.
    order : ndarray of int64, shape (records,), optional
        Which span of the parts each record of the run is.
    """

    def __init__(self, keys: Column, columns: Mapping[str, AnyPart], order: I64 | None = None) -> None:
        self._keys = keys
        self._columns = {n: c if isinstance(c, Column) else c.in_order(order) for n, c in columns.items()}
        # Where many threads make runs; later one alone looks at all of them, and the others wait for it.
        self._widest = {
            name: int(column.lengths.max(initial=0)) for name, column in columns.items() if isinstance(column, Column)
        }

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self._keys.nbytes + sum(self._in_order(name).nbytes for name in self._columns)

    def with_columns(self, columns: Mapping[str, AnyPart], order: I64 | None = None) -> MemoryRun:
        """The same run with other columns; the keys are shared."""
        return MemoryRun(self._keys, columns, order)

    def take_out(self, column: str) -> Column:
        """A column that is not wanted here any more."""
        taken = self._in_order(column)
        del self._columns[column]
        return taken

    def _in_order(self, column: str) -> Column:
        found = self._columns[column]
        assert isinstance(found, Column)
        return found

    def key(self, record: int) -> Key:
        """Key of one record."""
        return key_at(self._keys, record)

    def bisect(self, key: Key, low: int, high: int, *, right: bool) -> int:
        """See :func:`agd.ops.sort_keys.bisect`."""
        return bisect(self._keys, key, low, high, right=right)

    def keys(self, start: int, stop: int) -> Column:
        """Keys of records ``start`` to ``stop``."""
        return self._keys.slice(start, stop)

    def sizes(self, column: str, start: int, stop: int) -> I64:
        """Bytes of a column in each of these records."""
        return self._in_order(column).slice(start, stop).lengths

    def widest(self, column: str) -> int:
        """Most bytes of a column in any record."""
        return self._widest[column]

    def part(self, column: str, start: int, stop: int) -> Part:
        """Records ``start`` to ``stop`` of a column that is not packed."""
        found = self.any_part(column, start, stop)
        assert isinstance(found, Part)
        return found

    def any_part(self, column: str, start: int, stop: int) -> Part | PackedPart:
        """Records ``start`` to ``stop`` of a column."""
        found = self._columns[column]
        if isinstance(found, Column):
            return Part.of(found.slice(start, stop))
        return found.slice(start, stop)

    def remove(self) -> None:
        """Nothing to remove."""


@dataclass(slots=True)
class _Blocks:
    """Where the blocks of one column are: entry ``i`` is for block ``i``."""

    codecs: list[dict[str, Any]]
    dtype: str
    offsets: list[int] = field(default_factory=lambda: [0])
    sizes_bytes: list[int] = field(default_factory=list)
    raw: list[int] = field(default_factory=list)
    widest: int = 0


class SpilledRun:
    """A run in a file: the keys, then one column after the other, each in blocks of equally many records.

    Nothing is kept open, and in memory there are only the places of the blocks and the first key of each. A copy in
    another process reads the same file.
    """

    def __init__(
        self, path: Place, block: int, records: int, blocks: Mapping[str, _Blocks], firsts: Sequence[Key]
    ) -> None:
        self.path, self._block, self._records, self._blocks, self._firsts = path, block, records, blocks, firsts
        self._cached: tuple[int, Column] | None = None

    def __len__(self) -> int:
        return self._records

    @property
    def nbytes(self) -> int:
        """Bytes of the file."""
        return max(blocks.offsets[-1] for blocks in self._blocks.values())

    def _key_block(self, number: int) -> Column:
        cached = self._cached
        if cached is None or cached[0] != number:
            cached = (number, self._read(KEYS, number, number + 1))
            self._cached = cached
        return cached[1]

    def key(self, record: int) -> Key:
        """Key of one record."""
        return key_at(self._key_block(record // self._block), record % self._block)

    def bisect(self, key: Key, low: int, high: int, *, right: bool) -> int:
        """See :func:`agd.ops.sort_keys.bisect`."""
        find = python_bisect.bisect_right if right else python_bisect.bisect_left
        number = find(self._firsts, key) - 1
        if number < 0:
            return low
        start = number * self._block
        keys = self._key_block(number)
        return min(max(start + bisect(keys, key, 0, len(keys), right=right), low), high)

    def keys(self, start: int, stop: int) -> Column:
        """Keys of records ``start`` to ``stop``."""
        return self._slice(KEYS, start, stop)

    def sizes(self, column: str, start: int, stop: int) -> I64:
        """Bytes of a column in each of these records."""
        blocks = self._blocks[column]
        first, last = start // self._block, -(-stop // self._block)
        if blocks.dtype:
            return np.ones(stop - start, np.int64)
        parts = []
        for i in range(first, last):
            data = read_range(self.path, blocks.offsets[i], blocks.offsets[i] + blocks.sizes_bytes[i])
            parts.append(np.frombuffer(data, np.uint32).astype(np.int64))
        return np.concatenate(parts)[start - first * self._block : stop - first * self._block]

    def widest(self, column: str) -> int:
        """Most bytes of a column in any record."""
        return self._blocks[column].widest

    def part(self, column: str, start: int, stop: int) -> Part:
        """Records ``start`` to ``stop`` of a column."""
        return Part.of(self._slice(column, start, stop))

    def _slice(self, column: str, start: int, stop: int) -> Column:
        first, last = start // self._block, -(-stop // self._block)
        found = self._read(column, first, last)
        return found.slice(start - first * self._block, stop - first * self._block)

    def _read(self, column: str, first: int, last: int) -> Column:
        """Blocks ``first`` to ``last`` of a column, in one read."""
        blocks = self._blocks[column]
        start, stop = blocks.offsets[first], blocks.offsets[last]
        data = read_range(self.path, start, stop)
        if len(data) != stop - start:
            raise StorageError(f"{self.path}: a temporary file was cut off", "run the same command again")
        view, chain = memoryview(data), Chain.from_json(blocks.codecs, str(self.path))
        parts = []
        for i in range(first, last):
            at, end = blocks.offsets[i] - start, blocks.offsets[i + 1] - start
            records = min(self._block, self._records - i * self._block)
            split = at + blocks.sizes_bytes[i]
            sizes = (
                np.full(records, np.dtype(blocks.dtype).itemsize, np.int64) if blocks.dtype
                else np.frombuffer(view[at:split], np.uint32).astype(np.int64)
            )  # fmt: skip
            found = chain.decode(view[split:end], records, sizes, blocks.raw[i], blocks.dtype)
            assert isinstance(found, Column)
            parts.append(found)
        return concat(parts)

    def remove(self) -> None:
        """Remove the file."""
        remove_file(self.path)


class RunWriter:
    """Writes a :class:`SpilledRun`: first the keys, then column after column, each from batches of any length.

    Parameters
    ----------
    path : Place
    block : int
        Records in a block.
    """

    def __init__(self, path: Place, block: int) -> None:
        self._path, self._block = path, block
        self._file = begin_file(path)
        self._at = 0
        self._blocks: dict[str, _Blocks] = {}
        self._firsts: list[Key] = []
        self._records = 0

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        # After an error there may be bytes that still cannot be written; after finish() there are none.
        with contextlib.suppress(OSError):
            self._file.close()

    def add(self, name: str, pieces: Iterator[Column]) -> None:
        """Write a column, sorted, that comes in pieces of a block each (the last one may be shorter)."""
        blocks: _Blocks | None = None
        for piece in pieces:
            if blocks is None:
                dtype = "" if piece.offsets is not None else piece.values.dtype.str
                blocks = self._blocks[name] = _Blocks(SPILL_CODECS.get(name, []), dtype, [self._at])
            if name == KEYS:
                self._firsts.append(key_at(piece, 0))
                self._records += len(piece)
            self._write(blocks, piece)

    def _write(self, blocks: _Blocks, piece: Column) -> None:
        encoded = Chain.from_json(blocks.codecs, str(self._path)).encode(piece)
        sizes = b""
        if not blocks.dtype and encoded.sizes is not None:
            blocks.widest = max(blocks.widest, int(encoded.sizes.max(initial=0)))
            sizes = encoded.sizes.astype(np.uint32).tobytes()
        with writing(self._path):
            self._file.write(sizes)
            self._file.write(encoded.data)
        self._at += len(sizes) + len(encoded.data)
        blocks.sizes_bytes.append(len(sizes))
        blocks.raw.append(encoded.raw_size)
        blocks.offsets.append(self._at)

    def finish(self) -> SpilledRun:
        """Close the file; the run that was written."""
        end_file(self._path, self._file)
        return SpilledRun(self._path, self._block, self._records, self._blocks, self._firsts)


def pieces(parts: Sequence[Part], order: I64, block: int, *, complement: bool = False) -> Iterator[Column]:
    """Gather records block by block: the values of no more than one block are copied at one time."""
    for at in range(0, len(order), block):
        yield gather(parts, order[at : at + block], complement=complement)
