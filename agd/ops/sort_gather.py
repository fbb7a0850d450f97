"""Gather records of several columns into one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agd import kernels
from agd.batch import I64, U32, Bool, Column
from agd.kernels.memory import empty


class Part(NamedTuple):
    """Records of which some are wanted.

    Attributes
    ----------
    values : ndarray
        Values of all records.
    starts, ends : ndarray of int64, shape (records,), or None
        Record ``i`` is ``values[starts[i]:ends[i]]``. None: a fixed column, one value per record.
    turn : ndarray of bool, shape (records,), or None
        Records to be turned around.
    rows : ndarray of int64, or None
        The records that are wanted; None: all, in order.
    """

    values: NDArray[Any]
    starts: I64 | None
    ends: I64 | None
    turn: Bool | None = None
    rows: I64 | None = None

    @staticmethod
    def of(column: Column, rows: I64 | None = None) -> Part:
        """Records of a column."""
        values = np.ascontiguousarray(column.values)
        if column.offsets is None:
            return Part(values, None, None, None, rows)
        offsets = np.ascontiguousarray(column.offsets)
        return Part(values, offsets[:-1], offsets[1:], None, rows)

    @property
    def records(self) -> int:
        """Number of wanted records."""
        if self.rows is not None:
            return len(self.rows)
        return len(self.values if self.starts is None else self.starts)

    @property
    def lengths(self) -> I64:
        """Number of values of each wanted record, int64."""
        if self.starts is None or self.ends is None:
            return np.ones(len(self.values if self.rows is None else self.rows), np.int64)
        lengths: I64 = self.ends - self.starts if self.rows is None else self.ends[self.rows] - self.starts[self.rows]
        return lengths


def together(parts: Mapping[str, Part], least: int) -> dict[str, Part]:
    """The same parts with their values in one block of memory.

    When these are gone an array of ``least`` bytes fits there: scattered between smaller things they would leave gaps
    that are of no use for larger ones.
    """
    sizes = [-(-part.values.nbytes // 64) * 64 for part in parts.values()]
    block, at, found = empty(max(least, sum(sizes))), 0, dict(parts)
    for (name, part), size in zip(parts.items(), sizes, strict=True):
        values = block[at : at + part.values.nbytes].view(part.values.dtype)
        values[:] = part.values
        found[name] = part._replace(values=values)
        at += size
    return found


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
    def of(parts: Sequence[Part], order: I64) -> Places:
        """Places of records given by their indices into the wanted records of all parts end to end."""
        firsts = np.zeros(len(parts) + 1, np.int64)
        np.cumsum([part.records for part in parts], out=firsts[1:])
        if len(parts) == 1:
            source = np.zeros(len(order), np.uint32)
        elif firsts[-1] <= 4 * len(order):
            source = np.repeat(np.arange(len(parts), dtype=np.uint32), np.diff(firsts))[order]
        else:
            source = (np.searchsorted(firsts, order, "right") - 1).astype(np.uint32)
        if any(part.rows is not None for part in parts):
            wanted = [np.arange(part.records) if part.rows is None else part.rows for part in parts]
            row = np.concatenate(wanted)[order]
        else:
            row = order - firsts[source]
        return Places(source, row)


def gather(parts: Sequence[Part], order: I64, *, complement: bool = False) -> Column:
    """Records of several parts in a given order; see :func:`gather_at`.

    Parameters
    ----------
    order : ndarray of int64, shape (records,)
        Indices into the wanted records of all parts end to end.
    """
    return gather_at(parts, Places.of(parts, order), complement=complement)


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
        firsts = np.zeros(len(parts), np.int64)
        np.cumsum([len(part.values) for part in parts[:-1]], out=firsts[1:])
        values = parts[0].values if len(parts) == 1 else np.concatenate([part.values for part in parts])
        return Column(values[firsts[places.source] + places.row])
    spans = [part[:4] for part in parts]
    offsets = np.empty(len(places.row) + 1, np.int64)
    out = empty(kernels.gather_lengths(spans, *places, offsets))  # type: ignore[arg-type]
    kernels.gather_spans(spans, *places, complement, out, offsets)  # type: ignore[arg-type]
    return Column(out, offsets)
