"""Gather records of several columns into one, and back into the columns that are stored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agd import kernels
from agd.batch import I64, Column

#: Part of a gathered column: a column, and its records that are wanted (None: all, in order).
Part = tuple[Column, "I64 | None"]


def lengths_of(part: Part) -> I64:
    """Number of values of each wanted record, int64."""
    column, rows = part
    if rows is None:
        return column.lengths
    if column.offsets is None:
        return np.ones(len(rows), np.int64)
    return np.asarray(column.offsets[rows + 1] - column.offsets[rows])


def gather(parts: Sequence[Part], order: I64) -> Column:
    """Records of several parts in a given order.

    Parameters
    ----------
    parts : sequence of Part
    order : ndarray of int64, shape (records,)
        Indices into the wanted records of all parts end to end.

    Returns
    -------
    Column
        Of its own arrays, offsets from 0.
    """
    target = np.empty(len(order), np.int64)
    target[order] = np.arange(len(order))
    if parts[0][0].offsets is None:
        values = np.concatenate([c.values if rows is None else c.values[rows] for c, rows in parts])
        return Column(values[order])
    lengths = np.concatenate([lengths_of(part) for part in parts])
    out = Column.from_lengths(np.empty(int(lengths.sum()), parts[0][0].values.dtype), lengths[order])
    assert out.offsets is not None
    done = 0
    for column, rows in parts:
        assert column.offsets is not None
        count = len(column) if rows is None else len(rows)
        starts = column.offsets[:-1] if rows is None else column.offsets[rows]
        to = out.offsets[target[done : done + count]]
        kernels.copy_spans(column.values, starts, starts + lengths[done : done + count], out.values, to)
        done += count
    return out
