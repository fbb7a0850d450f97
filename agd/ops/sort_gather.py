"""Gather records of several columns into one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agd import kernels
from agd.batch import I64, U8, U32, Bool, Column
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
    rows : ndarray of int64, shape (records,), or None
        Span of each record; None: ``k = i``.
    width : int
        Values of each span where all have as many and lie end to end, so that none need be looked up; else 0.
    """

    values: NDArray[Any]
    starts: I64 | None
    ends: I64 | None
    turn: Bool | None = None
    rows: I64 | None = None
    width: int = 0

    @staticmethod
    def spans(values: U8, starts: I64, ends: I64, turn: Bool | None) -> Part:
        """Spans that will be looked up in no order: it is found out whether they need be."""
        width = int(ends[0] - starts[0]) if len(starts) else 0
        firsts = np.arange(len(starts), dtype=np.int64) * width
        alike = np.array_equal(starts, firsts) and np.array_equal(ends, firsts + width)
        return Part(values, starts, ends, turn, width=width if alike else 0)

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
        turn = self.turn if self.turn is None or order is None else self.turn[order]
        return self._replace(turn=turn, rows=order)

    def slice(self, start: int, stop: int) -> Part:
        """Some of the records of a part that has rows."""
        assert self.rows is not None
        return self._replace(
            turn=None if self.turn is None else self.turn[start:stop], rows=self.rows[start:stop]
        )  # fmt: skip

    @property
    def records(self) -> int:
        """Number of records."""
        return len(self.values if self.starts is None else self.starts if self.rows is None else self.rows)


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
    sources: Any = list(parts)
    starts, offsets = np.empty(len(places.row), np.int64), np.empty(len(places.row) + 1, np.int64)
    out = empty(kernels.gather_starts(sources, *places, starts, offsets))
    kernels.gather_spans(sources, places.source, starts, complement, out, offsets)
    return Column(out, offsets)


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
    sources: dict[str, Any] = {name: [part] for name, part in parts.items()}
    offsets = {name: np.empty(len(order) + 1, np.int64) for name, part in parts.items() if part.starts is not None}
    starts = {name: np.empty(len(order), np.int64) for name in offsets}
    sizes = {
        name: kernels.gather_starts(sources[name], *places, starts[name], offsets[name]) if name in offsets
        else len(order) * part.values.itemsize
        for name, part in parts.items()
    }  # fmt: skip
    rooms = {name: -(-size // 64) * 64 for name, size in sizes.items()}
    block, at, found = empty(max(least, sum(rooms.values()))), 0, dict[str, Column]()
    for name, part in parts.items():
        out: U8 = block[at : at + sizes[name]]
        if name in offsets:
            kernels.gather_spans(sources[name], places.source, starts[name], False, out, offsets[name])
            found[name] = Column(out, offsets[name])
        else:
            found[name] = Column(np.take(part.values, order, out=out.view(part.values.dtype)))
        at += rooms[name]
    return found
