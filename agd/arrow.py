"""Columns as Arrow arrays, and through them as frames of polars, pandas and DuckDB.

This module lies below :mod:`agd.dataset`, not among the converters: a dataset hands itself to Arrow.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agd import tags
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


def _ragged(column: Column, kind: pa.DataType, present: Bool | None = None) -> pa.Array:
    column = column.compact()
    assert column.offsets is not None
    values = np.ascontiguousarray(column.values)
    valid = None if present is None else pa.py_buffer(np.packbits(present, bitorder="little"))
    array = pa.Array.from_buffers(kind, len(column), [valid, pa.py_buffer(column.offsets), pa.py_buffer(values)])
    if pa.types.is_large_string(kind) and len(values) and int(values.max()) > 127:
        try:
            array.validate(full=True)
        except pa.ArrowInvalid as error:
            raise ColumnError(f"text is not UTF-8: {error}", "read the column with batches() instead") from error
    return array


def _alignments(a: Alignments, references: Sequence[Reference]) -> pa.Array:
    fields = list(results_type())
    arrays = [_field(a, field.name, references) for field in fields]
    return pa.StructArray.from_arrays(arrays, fields=fields, mask=None if a.valid is None else pa.array(~a.valid))


def _field(a: Alignments, name: str, references: Sequence[Reference]) -> pa.Array:
    if name in ("position", "mate_position", "mapping_quality"):
        values = getattr(a, name)
        return pa.array(values, mask=values == (255 if name == "mapping_quality" else -1))
    if name in ("reference", "mate_reference"):
        index = getattr(a, name)
        names = pa.array([r.name for r in references], pa.string())
        return pa.DictionaryArray.from_arrays(pa.array(index, pa.int32(), mask=index < 0), names)
    if name == "cigar":
        return _ragged(cigar_text(a.cigar), pa.large_string())
    return _ragged(a.tags, pa.large_binary()) if name == "tags" else pa.array(getattr(a, name))


def alignment_field(a: Alignments, name: str, references: Sequence[Reference]) -> pa.Array:
    """One field of :func:`results_type` as an array of its own; null where the record holds no alignment."""
    array = _field(a, name, references)
    if a.valid is None or a.valid.all() or name in ("reference", "mate_reference"):
        return array
    return pc.if_else(pa.array(a.valid), array, pa.scalar(None, array.type))


#: Arrow types of tags by the kinds of their values, see :func:`agd.tags.kind_of`.
TAG_TYPES = {
    "i": pa.int64(), "f": pa.float64(), "Z": pa.large_string(), "Bi": pa.large_list(pa.int64()),
    "Bf": pa.large_list(pa.float64()),
}  # fmt: skip


def tag_type(kinds: Collection[str], tag: str) -> pa.DataType:
    """Arrow type of a tag with values of these kinds: fractions for integers and fractions, text for all else."""
    kinds = set(kinds)
    for wide in ("f", "Bf"):
        if kinds == {wide, wide.replace("f", "i")}:
            kinds = {wide}
    if len(kinds) > 1:
        return pa.large_string()
    return TAG_TYPES[kinds.pop()] if kinds else pa.null()


def tag_array(column: Column, tag: str, kind: pa.DataType) -> pa.Array:
    """Values of a tag as an array of a type of :func:`tag_type`; null where a record has none.

    Raises
    ------
    ColumnError
        A record has a value that the type cannot hold.
    """
    found = tags.kinds_of(column, *tags.tag_spans(column, tag.encode()))
    if not found:
        return pa.nulls(len(column), kind)
    if tag_type(found | _kinds(kind), tag) != kind:
        raise ColumnError(f"tag {tag} has values that its type {kind} cannot hold", "select 'tags.*', or 'tags'")
    if not pa.types.is_large_string(kind):
        return _tag_values(column, tag, kind)
    text, present = tags.tag_text(column, tag)
    array = _ragged(text, kind, present)
    for other in sorted(found - {"Z"}):
        values = _tag_values(column, tag, TAG_TYPES[other])
        if other.startswith("B"):
            lists = [None if v is None else ",".join(map(str, v)) for v in values.to_pylist()]
            values = pa.array(lists, kind)
        array = pc.coalesce(array, values.cast(kind))
    return array


def _tag_values(column: Column, tag: str, kind: pa.DataType) -> pa.Array:
    """Numbers and arrays of numbers; null where the tag is missing or of another kind."""
    if pa.types.is_large_list(kind):
        dtype = "f8" if pa.types.is_floating(kind.value_type) else "i8"
        lists, present = tags.tag_arrays(column, tag, dtype)
        return pa.LargeListArray.from_arrays(pa.array(lists.offsets), pa.array(lists.values), mask=pa.array(~present))
    values, present = tags.tag_numbers(column, tag, "f8" if pa.types.is_floating(kind) else "i8")
    return pa.array(values, mask=~present)


def _kinds(kind: pa.DataType) -> set[str]:
    return {name for name, known in TAG_TYPES.items() if known == kind}


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
