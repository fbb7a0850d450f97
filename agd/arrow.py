"""Columns as Arrow arrays, and through them as frames of polars, pandas and DuckDB.

This module lies below :mod:`agd.dataset`, not among the converters: a dataset hands itself to Arrow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from agd.batch import Alignments, AnyColumn, Batch, Bool, Column
from agd.errors import ColumnError
from agd.kernels.ragged import take
from agd.types import CIGAR_OPERATIONS, RecordType, Reference


def results_type() -> pa.DataType:
    """Arrow type of alignments: positions are 0-based, null where SAM has ``*`` or 0."""
    name = pa.dictionary(pa.int32(), pa.string())
    return pa.struct([
        ("flag", pa.uint16()), ("reference", name), ("position", pa.int64()), ("mapping_quality", pa.uint8()),
        ("cigar", pa.large_string()), ("mate_reference", name), ("mate_position", pa.int64()),
        ("template_length", pa.int64()), ("tags", pa.large_binary()),
    ])  # fmt: skip


def column_type(kind: RecordType, dtype: str = "") -> pa.DataType:
    """Arrow type of a column of a dataset."""
    if kind is RecordType.STRUCTURED:
        return results_type()
    if kind is RecordType.NUMBER:
        return pa.from_numpy_dtype(np.dtype(dtype))
    return pa.large_binary() if kind is RecordType.AUX else pa.large_string()


def schema(columns: Mapping[str, tuple[RecordType, str]]) -> pa.Schema:
    """Arrow schema of columns, given by their record type and dtype."""
    return pa.schema([(name, column_type(kind, dtype)) for name, (kind, dtype) in columns.items()])


def to_array(column: AnyColumn, kind: pa.DataType, references: Sequence[Reference] = ()) -> pa.Array:
    """One column as an Arrow array; values and offsets are shared, not copied, where the layouts agree.

    Parameters
    ----------
    column : Column or Alignments
    kind : pyarrow.DataType
        As of :func:`column_type`.
    references : sequence of Reference
        Names for the reference indexes of alignments.

    Raises
    ------
    ColumnError
        Text is not UTF-8.
    """
    if isinstance(column, Alignments):
        return _alignments(column, references)
    if column.offsets is None:
        return pa.array(column.values)
    return _ragged(column, kind)


def _ragged(column: Column, kind: pa.DataType) -> pa.Array:
    column = column.compact()
    assert column.offsets is not None
    values = np.ascontiguousarray(column.values)
    array = pa.Array.from_buffers(kind, len(column), [None, pa.py_buffer(column.offsets), pa.py_buffer(values)])
    if pa.types.is_large_string(kind) and len(values) and int(values.max()) > 127:
        try:
            array.validate(full=True)
        except pa.ArrowInvalid as error:
            raise ColumnError(f"text is not UTF-8: {error}", "read the column with batches() instead") from error
    return array


def _alignments(a: Alignments, references: Sequence[Reference]) -> pa.Array:
    names = pa.array([r.name for r in references], pa.string())
    null: Bool | None = None if a.valid is None else ~a.valid

    def place(values: Any, none: Any) -> pa.Array:
        return pa.array(values, mask=values == none)

    def name(index: Any) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(index, pa.int32(), mask=index < 0), names)

    arrays = [
        pa.array(a.flag), name(a.reference), place(a.position, -1), place(a.mapping_quality, 255),
        _ragged(cigar_text(a.cigar), pa.large_string()), name(a.mate_reference), place(a.mate_position, -1),
        pa.array(a.template_length), _ragged(a.tags, pa.large_binary()),
    ]  # fmt: skip
    return pa.StructArray.from_arrays(
        arrays, fields=list(results_type()), mask=None if null is None else pa.array(null)
    )  # fmt: skip


def cigar_text(cigar: Column) -> Column:
    """CIGARs as SAM writes them; empty for none.

    Parameters
    ----------
    cigar : Column of uint32
        BAM operations.

    Returns
    -------
    Column of uint8
    """
    cigar = cigar.compact()
    assert cigar.offsets is not None
    distinct, which = np.unique(cigar.values, return_inverse=True)
    tokens = Column.from_list([b"%d%c" % (op >> 4, ord(CIGAR_OPERATIONS[op & 15])) for op in distinct.tolist()])
    text = take(tokens, which.astype(np.int64))
    assert text.offsets is not None
    return Column(text.values, text.offsets[cigar.offsets])


def to_record_batch(batch: Batch, types: pa.Schema, references: Sequence[Reference] = ()) -> pa.RecordBatch:
    """A batch as an Arrow record batch of the schema ``types``."""
    arrays = [to_array(batch[field.name], field.type, references) for field in types]
    return pa.RecordBatch.from_arrays(arrays, schema=types)


def reader(batches: Iterable[Batch], types: pa.Schema, references: Sequence[Reference] = ()) -> pa.RecordBatchReader:
    """A stream of record batches; batches are made as they are asked for."""

    def stream() -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield to_record_batch(batch, types, references)

    return pa.RecordBatchReader.from_batches(types, stream())
