"""Gather records of several columns into one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agd import kernels
from agd.batch import I64, U8, U32, Bool, Column
from agd.codecs import PackedBases
from agd.kernels.memory import empty


class Part(NamedTuple):
    """Records of a column that may lie anywhere in it.

    Attributes
    ----------
    values : ndarray
        Values of all records.
    starts, ends : ndarray of int64, shape (spans,), or None
        Record ``i`` is ``values[starts[k]:ends[k]]`` with ``k = rows[i]``. None: a fixed column, one value per record.
    turn : ndarray of bool, shape (records,), or None
        Records to be turned around.
    marked : ndarray of bool, shape (records,), or None
        Records that hold runs of letters, where they are packed bases.
    rows : ndarray of int64, shape (records,), or None
        Span of each record; None: ``k = i``.
    width : int
        Values of each span where all have as many and lie end to end, so that none need be looked up; else 0.
    """

    values: NDArray[Any]
    starts: I64 | None
    ends: I64 | None
    turn: Bool | None = None
    marked: Bool | None = None
    rows: I64 | None = None
    width: int = 0

    @staticmethod
    def spans(values: U8, starts: I64, ends: I64, turn: Bool | None, marked: Bool | None = None) -> Part:
        """Spans that will be looked up in no order: it is found out whether they need be."""
        width = int(ends[0] - starts[0]) if len(starts) else 0
        firsts = np.arange(len(starts), dtype=np.int64) * width
        alike = np.array_equal(starts, firsts) and np.array_equal(ends, firsts + width)
        return Part(values, starts, ends, turn, marked, width=width if alike else 0)

    @staticmethod
    def of(column: Column) -> Part:
        """All records of a column."""
        values = np.ascontiguousarray(column.values)
        if column.offsets is None:
            return Part(values, None, None)
        offsets = np.ascontiguousarray(column.offsets)
        return Part(values, offsets[:-1], offsets[1:])

    def in_order(self, order: I64 | None) -> Part:
        """The same spans, as the records that ``order`` says; nothing but the marks is moved."""
        if order is None:
            return self
        return self._replace(turn=_taken(self.turn, order), marked=_taken(self.marked, order), rows=order)

    def slice(self, start: int, stop: int) -> Part:
        """Some of the records of a part that has rows."""
        assert self.rows is not None
        some = slice(start, stop)
        return self._replace(turn=_taken(self.turn, some), marked=_taken(self.marked, some), rows=self.rows[some])

    @property
    def records(self) -> int:
        """Number of records."""
        return len(self.values if self.starts is None else self.starts if self.rows is None else self.rows)


def _taken(marks: Bool | None, which: I64 | slice) -> Bool | None:
    return None if marks is None else marks[which]


class PackedPart(NamedTuple):
    """Bases in two bits each that may lie anywhere in a column.

    Attributes
    ----------
    bases : PackedBases
    part : Part
        Where its records are, in bases; of its values nothing is used.
    """

    bases: PackedBases
    part: Part

    def in_order(self, order: I64 | None) -> PackedPart:
        """As :meth:`Part.in_order`."""
        return self._replace(part=self.part.in_order(order))

    def slice(self, start: int, stop: int) -> PackedPart:
        """As :meth:`Part.slice`."""
        return self._replace(part=self.part.slice(start, stop))


class Places(NamedTuple):
    """Where gathered records come from, once for all columns of the same records.

    Attributes
    ----------
    source : ndarray of uint32, shape (records,)
        Part of each record.
    row : ndarray of int64, shape (records,)
        Which record of that part it is.
    """

    source: U32
    row: I64

    @staticmethod
    def of(counts: Sequence[int], order: I64) -> Places:
        """Places of records given by their indices into the records of all parts end to end, ``counts`` of each."""
        if len(counts) == 1:
            return Places(np.zeros(len(order), np.uint32), order)
        firsts = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=firsts[1:])
        if firsts[-1] <= 4 * len(order):
            source = np.repeat(np.arange(len(counts), dtype=np.uint32), counts)[order]
        else:
            source = (np.searchsorted(firsts, order, "right") - 1).astype(np.uint32)
        return Places(source, order - firsts[source])

    def slice(self, start: int, stop: int) -> Places:
        """Those of some of the records."""
        return Places(self.source[start:stop], self.row[start:stop])


def gather(parts: Sequence[Part], order: I64, *, complement: bool = False) -> Column:
    """Records of several parts in a given order; see :func:`gather_at`.

    Parameters
    ----------
    order : ndarray of int64, shape (records,)
        Indices into the records of all parts end to end.
    """
    return gather_at(parts, Places.of([part.records for part in parts], order), complement=complement)


def gather_at(parts: Sequence[Part], places: Places, *, complement: bool = False) -> Column:
    """Records of several parts.

    Parameters
    ----------
    parts : sequence of Part
        At least one; all fixed, or all ragged uint8.
    places : Places
        Of the records, in the order in which they are wanted.
    complement : bool
        Complement the bases of records that are turned around.

    Returns
    -------
    Column
        Of its own arrays, offsets from 0.
    """
    if parts[0].starts is None:
        return Column(_gather_fixed(parts, places))
    starts, offsets = find(parts, places)
    out = empty(int(offsets[-1]))
    kernels.gather_spans([part.values for part in parts], places.source, starts, complement, out, offsets)
    return Column(out, offsets)


def gather_packed(parts: Sequence[PackedPart], places: Places) -> PackedBases:
    """As :func:`gather_at`, of bases that stay packed; those of records that are turned around are complemented."""
    starts, offsets = find([each.part for each in parts], places)
    out = np.empty((int(offsets[-1]) + 3) // 4, np.uint8)
    bases = [each.bases for each in parts]
    sources = [(each.values, each.run_starts, each.run_lengths, each.run_letters) for each in bases]
    return PackedBases(out, offsets, *kernels.gather_packed(sources, places.source, starts, offsets, out))


def find(parts: Sequence[Part], places: Places) -> tuple[I64, I64]:
    """Where ragged records are in their parts, as :func:`agd.kernels.gather_starts` has it, and the offsets of all."""
    starts, offsets = np.empty(len(places.row), np.int64), np.empty(len(places.row) + 1, np.int64)
    spans: Any = [part[1:] for part in parts]
    kernels.gather_starts(spans, *places, starts, offsets)
    return starts, offsets


def _gather_fixed(parts: Sequence[Part], places: Places) -> NDArray[Any]:
    firsts = np.zeros(len(parts), np.int64)
    np.cumsum([len(part.values) for part in parts[:-1]], out=firsts[1:])
    values = parts[0].values if len(parts) == 1 else np.concatenate([part.values for part in parts])
    found: NDArray[Any] = values[firsts[places.source] + places.row]
    return found


def gather_together(parts: Mapping[str, Part], order: I64, least: int) -> dict[str, Column]:
    """Records of several columns, each of its own part, with their values in one block of memory.

    When these are gone an array of ``least`` bytes fits there: scattered between smaller things they would leave gaps
    that are of no use for larger ones.

    Parameters
    ----------
    parts : mapping of str to Part
        Of as many records each.
    order : ndarray of int64, shape (records,)
        Indices of the records.
    least : int
        Bytes of the block at least.
    """
    places = Places(np.zeros(len(order), np.uint32), order)
    found_at = {name: find([part], places) for name, part in parts.items() if part.starts is not None}
    sizes = {
        name: int(found_at[name][1][-1]) if name in found_at else len(order) * part.values.itemsize
        for name, part in parts.items()
    }  # fmt: skip
    rooms = {name: -(-size // 64) * 64 for name, size in sizes.items()}
    block, at, found = empty(max(least, sum(rooms.values()))), 0, dict[str, Column]()
    for name, part in parts.items():
        out: U8 = block[at : at + sizes[name]]
        if name in found_at:
            starts, offsets = found_at[name]
            kernels.gather_spans([part.values], places.source, starts, False, out, offsets)
            found[name] = Column(out, offsets)
        else:
            found[name] = Column(np.take(part.values, order, out=out.view(part.values.dtype)))
        at += rooms[name]
    return found
