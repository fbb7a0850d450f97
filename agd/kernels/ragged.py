"""Choose and join records of columns; the loops are kernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agd import kernels
from agd.batch import I64, Alignments, AnyColumn, Batch, Column


def take(column: Column, index: I64) -> Column:
    """Records of a column in the order of an index.

    Parameters
    ----------
    column : Column
    index : ndarray of int64, shape (records,)
        0-based; a record may be taken any number of times.

    Returns
    -------
    Column
        Of its own arrays, offsets from 0.

    Raises
    ------
    IndexError
        An index is negative (it would not count from the end) or no record of the column.
    """
    if len(index) and int(index.min()) < 0:
        raise IndexError(f"record {int(index.min())} of a column")
    if column.offsets is None:
        return Column(column.values[index])
    starts, ends = column.offsets[index], column.offsets[index + 1]
    offsets = np.zeros(len(index) + 1, np.int64)
    np.cumsum(ends - starts, out=offsets[1:])
    values = np.empty(int(offsets[-1]), column.values.dtype)
    kernels.copy_spans(column.values, starts, ends, values, offsets)
    return Column(values, offsets)


def take_any(column: AnyColumn, index: I64) -> AnyColumn:
    """As :func:`take`, for alignments too."""
    if isinstance(column, Column):
        return take(column, index)
    fixed = {name: getattr(column, name)[index] for name in Alignments.FIXED}
    valid = None if column.valid is None else column.valid[index]
    return Alignments(**fixed, cigar=take(column.cigar, index), tags=take(column.tags, index), valid=valid)


def take_batch(batch: Batch, index: I64, first: int = 0) -> Batch:
    """Records of all columns of a batch; the result begins at the ordinal ``first``."""
    return Batch(first, {name: take_any(column, index) for name, column in batch.columns.items()})


def insert(column: Column, more: Column, places: I64) -> Column:
    """Put some records among those of a column of the same kind; what lies between them is moved as a whole.

    Parameters
    ----------
    column, more : Column
    places : ndarray of int64, shape (len(more),)
        Which records of the result (0-based, ascending) are those of ``more``.

    Returns
    -------
    Column
        Of its own arrays, offsets from 0.

    Raises
    ------
    KernelError
        The places do not ascend, or are none of the result.
    """
    cuts = np.concatenate(([0], places - np.arange(len(places)), [len(column)]))
    firsts = cuts[:-1] + np.arange(len(cuts) - 1)
    if column.offsets is None or more.offsets is None:
        out = np.empty(len(column) + len(more), column.values.dtype)
        old, size = np.ascontiguousarray(column.values).view(np.uint8), out.itemsize
        kernels.copy_spans(old, cuts[:-1] * size, cuts[1:] * size, out.view(np.uint8), firsts * size)
        out[places] = more.values
        return Column(out)
    lengths = insert(Column(column.lengths), Column(more.lengths), places).values
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    values = np.empty(int(offsets[-1]), column.values.dtype)
    kernels.copy_spans(column.values, column.offsets[cuts[:-1]], column.offsets[cuts[1:]], values, offsets[firsts])
    kernels.copy_spans(more.values, more.offsets[:-1], more.offsets[1:], values, offsets[places])
    return Column(values, offsets)


def insert_alignments(column: Alignments, more: Alignments, places: I64) -> Alignments:
    """As :func:`insert`, for alignments of which none is null."""
    fixed = {
        name: insert(Column(getattr(column, name)), Column(getattr(more, name)), places).values
        for name in Alignments.FIXED
    }
    return Alignments(
        **fixed, cigar=insert(column.cigar, more.cigar, places), tags=insert(column.tags, more.tags, places), valid=None
    )


def concat(columns: Sequence[Column]) -> Column:
    """Records of several columns of one kind end to end (at least one column).

    Raises
    ------
    TypeError
        Some of the columns are ragged, some are not.
    """
    if len(columns) == 1:
        return columns[0]
    if len({column.offsets is None for column in columns}) > 1:
        raise TypeError("ragged and fixed columns cannot be joined")
    parts = [column.compact() for column in columns]
    values = np.concatenate([part.values for part in parts])
    if parts[0].offsets is None:
        return Column(values)
    return Column.from_lengths(values, np.concatenate([part.lengths for part in parts]))


def concat_any(columns: Sequence[AnyColumn]) -> AnyColumn:
    """As :func:`concat`, for alignments too."""
    plain = [column for column in columns if isinstance(column, Column)]
    parts = [column for column in columns if isinstance(column, Alignments)]
    if plain and parts:
        raise TypeError("alignments and other columns cannot be joined")
    if plain:
        return concat(plain)
    if len(parts) == 1:
        return parts[0]
    fixed = {name: np.concatenate([getattr(part, name) for part in parts]) for name in Alignments.FIXED}
    valid = None
    if any(part.valid is not None for part in parts):
        valid = np.concatenate([np.ones(len(p), np.bool_) if p.valid is None else p.valid for p in parts])
    cigar, tags = concat([part.cigar for part in parts]), concat([part.tags for part in parts])
    return Alignments(**fixed, cigar=cigar, tags=tags, valid=valid)


def concat_batches(batches: Sequence[Batch]) -> Batch:
    """Batches of the same columns end to end (at least one); begins at the ordinal of the first.

    Raises
    ------
    TypeError
        The batches have not the same columns, or a column is not of one kind in all of them.
    """
    names = list(batches[0].columns)
    if any(set(batch.columns) != set(names) for batch in batches):
        raise TypeError("batches with other columns cannot be joined")
    return Batch(batches[0].first, {name: concat_any([batch[name] for batch in batches]) for name in names})
