"""Columns of a user's own: any values that numpy, Arrow or Python hold, one per record."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import xxhash

import agd
from agd import cell as cells
from agd.batch import Batch, Column
from agd.dataset import Dataset
from agd.draft import Draft
from agd.errors import AgdError, ColumnError
from agd.frame import ORDINAL
from agd.manifest import Cell, Chunk, ColumnSpec
from agd.run import SILENT, Progress, Runner, runner_or_threads
from agd.types import NUMBER_DTYPES, RecordType

#: What stands for text where a dtype is asked for.
TEXT = "text"


def append_column(
    dataset: Dataset, name: str, values: Any, *, columns: Sequence[str] | None = None, dtype: str | None = None,
    codecs: list[dict[str, Any]] | None = None, description: str = "", replace: bool = False,
    runner: Runner | None = None, progress: Progress = SILENT, command: str = "",
) -> Dataset:
    """Add a column of your own to a dataset; nothing else is rewritten.

    Parameters
    ----------
    dataset : Dataset
    name : str
        Letters, digits and underscores.
    values : array, sequence, or callable
        One value per record: numbers or bools (numpy, Arrow, pandas, polars, list), or text (list of str or bytes,
        Arrow, pandas, polars). Or a function from a :class:`agd.batch.Batch` to the values of its records, called
        chunk by chunk, in several threads, so that the whole column is never in memory.
    columns : sequence of str, optional
        Columns that the function is given. Default: all.
    dtype : str, optional
        ``text``, or a numpy dtype that holds every value exactly. Default: that of the values (of the first chunk).
    codecs : list of dict, optional
        Codec chain.
    description : str
        Kept in the provenance.
    replace : bool
        Take the place of a column of this name; older generations keep it.
    runner, progress, command
        As in all operations.

    Returns
    -------
    Dataset
        The new generation.

    Raises
    ------
    ColumnError
        The name, number or type of the values is not possible; the dataset stays as it was.
    ConflictError
        There is such a column already.

    Examples
    --------
    >>> def length(batch):
    ...     return batch.ragged("bases").lengths
    >>> ds = agd.append_column(agd.open("run.agd"), "length", length, columns=["bases"], dtype="int32")
    >>> ds.head(2).select("length").to_arrow()["length"].to_pylist()
    [150, 150]
    """
    check_name(name)
    wanted, chunks = columns if columns is None else dataset.resolve(columns), dataset.chunks
    with runner_or_threads(runner) as runner:
        if callable(values):
            parts, source = _computed(dataset, values, wanted, runner), _name_of(values)
            first = next(_computed(dataset, values, wanted, None), None) if dtype is None else None
            spec = spec_of(name, first, dtype, codecs)
        else:
            whole = to_column(values, name)
            if len(whole) != len(dataset):
                raise ColumnError(f"column {name!r}: {len(whole):,} values for {len(dataset):,} records")
            parts, source = (whole.slice(c.first, c.first + c.count) for c in chunks), _digest(whole)
            spec = spec_of(name, whole, dtype, codecs)
        parameters = {"column": name, "type": spec.dtype or TEXT, "values": source}
        if description:
            parameters["description"] = description
        draft = Draft.extend(dataset, {name: spec}, {"operation": "append column", **parameters}, replace=replace)
        try:
            written = _write(draft, name, zip(chunks, parts, strict=True), runner, progress, len(dataset))
        except BaseException as error:
            draft.failed(error, final=of_caller(error))
            raise
    step = {"program": "agd append", "version": agd.__version__, "command": command, "parameters": parameters}
    return draft.commit(written, steps=(step,))


def of_caller(error: BaseException) -> bool:
    """Whether an error comes from the caller's code, which will give other values once it is mended."""
    return isinstance(error, Exception) and not isinstance(error, AgdError | OSError)


def _write(
    draft: Draft, name: str, parts: Iterable[tuple[Chunk, Column]], runner: Runner, progress: Progress, total: int
) -> list[Chunk]:
    def encode(part: tuple[Chunk, Column]) -> tuple[Chunk, bytes, Cell]:
        chunk, column = part
        if len(column) != chunk.count:
            raise ColumnError(f"column {name!r}: {len(column):,} values for {chunk.count:,} records")
        return chunk, *draft.encode(name, chunk.first, column)

    def store(encoded: tuple[Chunk, bytes, Cell]) -> Chunk:
        chunk, data, cell = encoded
        draft.store(name, chunk.first, data)
        return Chunk(chunk.first, chunk.count, {name: cell})

    progress.begin(f"append {name}", total)
    written = []
    for chunk in runner.map(store, runner.map(encode, parts, on="cpu"), on="io"):
        written.append(chunk)
        progress.advance(chunk.count)
    progress.end()
    return written


def _computed(
    dataset: Dataset, function: Callable[[Batch], Any], columns: Sequence[str] | None, runner: Runner | None
) -> Iterator[Column]:
    batches = dataset.batches(columns, runner=runner)
    if runner is None:
        return (to_column(function(batch), "") for batch in batches)
    return runner.map(lambda batch: to_column(function(batch), ""), batches, on="cpu")


def check_name(name: str, spec: ColumnSpec | None = None) -> None:
    """Refuse names that AGD uses itself, or that would not read well in queries.

    Parameters
    ----------
    name : str
    spec : ColumnSpec, optional
        Of the column; it may have the name of a standard column of its type.

    Raises
    ------
    ColumnError
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", name):
        raise ColumnError(f"{name!r} is not a name of a column", "use at most 64 letters, digits and underscores")
    if name == ORDINAL or (is_standard(name) and (spec is None or not _fits(name, spec))):
        raise ColumnError(f"{name!r} is a name that AGD uses itself", "choose another name")


def _fits(name: str, spec: ColumnSpec) -> bool:
    """Whether a column could be the standard one of a name; further alignments are numbered by AGD alone."""
    standard = cells.default_spec(name)
    return not name.startswith("secondary") and (spec.type, spec.dtype) == (standard.type, standard.dtype)


def is_standard(name: str) -> bool:
    """Whether AGD knows a column of this name."""
    try:
        cells.default_spec(name)
    except ColumnError:
        return False
    return True


def spec_of(name: str, column: Column | None, dtype: str | None, codecs: list[dict[str, Any]] | None) -> ColumnSpec:
    """How a column is stored, from its values and what was asked for.

    Raises
    ------
    ColumnError
        The type is not possible.
    """
    if dtype is None and column is not None:
        dtype = TEXT if column.offsets is not None else column.values.dtype.str
    if dtype is None:
        raise ColumnError(f"column {name!r}: there are no values to tell its type", "give a dtype")
    if dtype == TEXT:
        kind, code = RecordType.TEXT, ""
    else:
        try:
            kind, code = RecordType.NUMBER, np.dtype(dtype).newbyteorder("<").str
        except TypeError:
            code = ""
        if code not in NUMBER_DTYPES:
            raise ColumnError(f"column {name!r}: {dtype!r} is not a type of columns", "use 'text', int32, float64, …")
    if column is not None and (column.offsets is None) != (kind is RecordType.NUMBER):
        raise ColumnError(f"column {name!r}: the values are not of the type {dtype}")
    return ColumnSpec(kind, codecs if codecs is not None else cells.DEFAULT_CODECS[kind], name, code)


def to_column(values: Any, name: str) -> Column:
    """Numbers or text of any library as a column.

    Raises
    ------
    ColumnError
        They are neither, have more than one dimension, or some are missing.
    """
    if isinstance(values, Column):
        return values
    if isinstance(values, np.ma.MaskedArray):
        if np.ma.is_masked(values):
            missing = int(np.ma.getmaskarray(values).sum())
            raise ColumnError(f"column {name!r}: {missing:,} values are missing", "fill them first")
        values = values.data
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
        if values.ndim != 1:
            raise ColumnError(f"column {name!r}: {values.ndim} dimensions", "give one value per record")
        return Column(np.ascontiguousarray(values, values.dtype.newbyteorder("<")))
    if isinstance(values, np.ndarray) and values.dtype.kind in "SU":
        values = values.tolist()  # Arrow would cut them at a zero byte
    return _from_arrow(values, name)


def _from_arrow(values: Any, name: str) -> Column:
    import pyarrow as pa

    try:
        array = pa.chunked_array(values) if hasattr(values, "__arrow_c_stream__") else pa.array(values)
        array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, TypeError) as error:
        raise ColumnError(f"column {name!r}: {error}", "give numbers or text, one value per record") from error
    if pa.types.is_null(array.type) and not len(array):
        return Column.empty()
    if array.null_count:
        raise ColumnError(f"column {name!r}: {array.null_count:,} values are missing", "fill them first")
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return Column(array.to_numpy(zero_copy_only=False))
    try:
        array = array.cast(pa.large_binary())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ColumnError(f"column {name!r}: {kind} is neither a number nor text") from error
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    return Column(np.frombuffer(data or b"", np.uint8), ends).compact()


def _digest(column: Column) -> str:
    digest = xxhash.xxh3_128(np.ascontiguousarray(column.values).view(np.uint8).data)
    digest.update(b"" if column.offsets is None else column.offsets.tobytes())
    return f"xxh3:{digest.hexdigest()}"


def _name_of(function: Callable[..., Any]) -> str:
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", type(function).__name__)
    return f"{module}.{name}"


__all__ = ["append_column", "check_name", "is_standard", "of_caller", "spec_of", "to_column"]
