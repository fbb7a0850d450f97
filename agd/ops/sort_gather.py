"""Gather records of several columns into one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agd import kernels
from agd.batch import I64, Bool, Column


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
    def lengths(self) -> I64:
        """Number of values of each wanted record, int64."""
        if self.starts is None or self.ends is None:
            return np.ones(len(self.values if self.rows is None else self.rows), np.int64)
        lengths: I64 = self.ends - self.starts if self.rows is None else self.ends[self.rows] - self.starts[self.rows]
        return lengths


def gather(parts: Sequence[Part], order: I64, *, complement: bool = False) -> Column:
    """Records of several parts in a given order.

    Parameters
    ----------
    parts : sequence of Part
        At least one; all fixed, or all ragged uint8.
    order : ndarray of int64, shape (records,)
        Indices into the wanted records of all parts end to end.
    complement : bool
        Complement the bases of records that are turned around.

    Returns
    -------
    Column
        Of its own arrays, offsets from 0.
    """
    if parts[0].starts is None:
        values = [part.values if part.rows is None else part.values[part.rows] for part in parts]
        return Column((values[0] if len(values) == 1 else np.concatenate(values))[order])
    offsets = np.empty(len(order) + 1, np.int64)
    out = np.empty(kernels.gather_lengths(parts, order, offsets), np.uint8)  # type: ignore[arg-type]
    kernels.gather_spans(parts, order, complement, out, offsets)  # type: ignore[arg-type]
    return Column(out, offsets)
