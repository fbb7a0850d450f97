"""Make a dataset from columns in memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

import agd
from agd.batch import Alignments, AnyColumn, Batch, Column
from agd.cell import default_spec
from agd.dataset import Dataset
from agd.draft import Draft
from agd.errors import ColumnError
from agd.kernels.ragged import concat_batches
from agd.manifest import Cell, Chunk, ColumnSpec
from agd.ops.own import check_name, is_standard, of_caller, spec_of, to_column
from agd.run import Runner, runner_or_threads
from agd.samheader import references_of, sort_order_of
from agd.storage import Storage
from agd.target import check_chunk_size
from agd.types import DEFAULT_CHUNK_RECORDS, Orientation, RecordType, Reference


def create(
    url: str | os.PathLike[str] | Storage, batches: Any, *, header: str = "", orientation: Orientation | None = None,
    paired: bool = False, chunk_records: int = DEFAULT_CHUNK_RECORDS, codecs: Mapping[str, Any] | None = None,
    overwrite: bool = False, runner: Runner | None = None, command: str = "",
) -> Dataset:
    """Make a dataset from columns in memory.

    Parameters
    ----------
    url : str, path or Storage
        Where it will be.
    batches : mapping, Batch, frame (Arrow, polars, pandas, a view of a dataset), or iterable of them
        Columns by name, all of one length: ``bases``, ``qualities`` (Phred + 33) and ``metadata`` (names) as text,
        ``results`` as :class:`agd.batch.Alignments`, and columns of your own (:func:`agd.append_column`). An iterable
        is taken one by one, so that the whole need not be in memory.
    header : str
        SAM header; alignments refer to its ``@SQ`` lines.
    orientation : Orientation, optional
        Of the bases. Default: as in SEQ if there are results, else as sequenced.
    paired : bool
        Records 2i and 2i + 1 are mates.
    chunk_records : int
        Records in a chunk.
    codecs : mapping of str to list of dict, optional
        Codec chains of columns.
    overwrite : bool
        Replace a dataset that is there.
    runner, command
        As in all operations.

    Returns
    -------
    Dataset

    Raises
    ------
    ColumnError
        The columns are not possible, or differ from batch to batch; nothing is made.
    DatasetExistsError
        There is one already.

    Examples
    --------
    >>> ds = agd.create("mine.agd", {"bases": ["ACGT", "GGC"], "score": [0.5, 0.25]})
    >>> ds.select("bases", "score").to_arrow().to_pylist()
    [{'bases': 'ACGT', 'score': 0.5}, {'bases': 'GGC', 'score': 0.25}]
    """
    check_chunk_size(chunk_records)
    chunk_records += chunk_records % 2 if paired else 0
    pieces = _rechunk(_batches(batches), chunk_records)
    head = next(pieces, None)
    if head is None or not head.columns:
        raise ColumnError("there are no columns to make a dataset of")
    specs = {name: _spec(name, column, codecs or {}) for name, column in head.columns.items()}
    if orientation is None:
        orientation = Orientation.SEQ if "results" in specs else Orientation.READ
    references = references_of(header)
    parameters = {"columns": {name: spec.dtype or spec.type.name.lower() for name, spec in specs.items()}}
    draft = Draft.create(
        url, specs, {"operation": "create", **parameters}, orientation=orientation, overwrite=overwrite
    )  # fmt: skip

    def write(batch: Batch) -> Chunk:
        _check(batch, specs, references)
        written: dict[str, Cell] = {}
        for name, column in batch.columns.items():
            written[name] = draft.write(name, batch.first, column)
        return Chunk(batch.first, len(batch), written)

    try:
        with runner_or_threads(runner) as runner:
            chunks = list(runner.map(write, _with(head, pieces), on="cpu"))
        if paired and sum(chunk.count for chunk in chunks) % 2:
            raise ColumnError("an odd number of records cannot be pairs")
        step = {"program": "agd create", "version": agd.__version__, "command": command, "parameters": parameters}
        return draft.commit(
            chunks, header=header, references=references, sort_order=sort_order_of(header), steps=(step,),
            names="sam" if orientation is Orientation.SEQ else "fastq", pairing="interleaved" if paired else "single",
        )  # fmt: skip
    except BaseException as error:
        draft.failed(error, final=of_caller(error))
        raise


def _with(head: Batch, rest: Iterator[Batch]) -> Iterator[Batch]:
    if len(head):
        yield head
    yield from rest


def _batches(batches: Any) -> Iterator[Batch]:
    single = isinstance(batches, Batch | Mapping) or hasattr(batches, "__arrow_c_stream__")
    for batch in [batches] if single else batches:
        if isinstance(batch, Batch):
            yield batch
        elif isinstance(batch, Mapping):
            yield _batch(batch)
        elif hasattr(batch, "__arrow_c_stream__") or hasattr(batch, "__arrow_c_array__"):
            yield from _arrow_batches(batch)
        else:
            raise ColumnError(f"{type(batch).__name__} is no batch of columns", "give a mapping of names to values")


def _arrow_batches(frame: Any) -> Iterator[Batch]:
    """Batches of anything that has Arrow's C interface: a table, a record batch, a frame of another library."""
    import pyarrow

    streams = hasattr(frame, "__arrow_c_stream__")
    parts = pyarrow.RecordBatchReader.from_stream(frame) if streams else [pyarrow.record_batch(frame)]
    for part in parts:
        yield _batch({name: part.column(name) for name in part.schema.names})


def _batch(columns: Mapping[str, Any]) -> Batch:
    try:
        return Batch(0, {n: c if isinstance(c, Alignments) else to_column(c, n) for n, c in columns.items()})
    except ValueError as error:
        raise ColumnError(str(error)) from error


def _rechunk(batches: Iterable[Batch], records: int) -> Iterator[Batch]:
    """The same records in batches of ``records``, numbered from 0; one empty batch if there are none."""
    kept: Batch | None = None
    first = 0
    for batch in batches:
        _check_types(kept, batch)
        try:
            kept = batch if kept is None else concat_batches([kept, batch])
        except TypeError as error:
            raise ColumnError(f"{error}", "give the same columns in every batch") from error
        while len(kept) > records:
            yield Batch(first, kept.slice(0, records).columns)
            kept, first = kept.slice(records, len(kept)), first + records
    if kept is not None and (len(kept) or not first):
        yield Batch(first, kept.columns)


def _check_types(before: Batch | None, batch: Batch) -> None:
    """Numbers of two types in one column would have to become those of a third, which may not hold them all."""
    for name, column in (before.columns if before is not None else {}).items():
        types = [one.values.dtype for one in (column, batch.columns.get(name))
                 if isinstance(one, Column) and one.offsets is None]  # fmt: skip
        if len(set(types)) > 1:
            raise ColumnError(
                f"column {name!r} holds {types[0]} in one batch and {types[1]} in another",
                "give the same type in every batch",
            )


def _spec(name: str, column: AnyColumn, codecs: Mapping[str, Any]) -> ColumnSpec:
    if not is_standard(name):
        check_name(name)
        if isinstance(column, Alignments):
            raise ColumnError(f"column {name!r}: alignments belong into 'results'")
        return spec_of(name, column, None, codecs.get(name))
    spec = default_spec(name)
    if (spec.type is RecordType.STRUCTURED) != isinstance(column, Alignments):
        raise ColumnError(f"column {name!r}: results, and only they, are alignments", "use agd.Alignments")
    return ColumnSpec(spec.type, codecs.get(name, spec.codecs), spec.key, spec.dtype)


def _check(batch: Batch, specs: Mapping[str, ColumnSpec], references: tuple[Reference, ...]) -> None:
    if set(batch.columns) != set(specs):
        raise ColumnError(f"a batch has the columns {', '.join(batch.columns)}, the first {', '.join(specs)}")
    for name in ("bases", "qualities"):
        if name in batch:
            values = batch.ragged(name).compact().values
            if len(values) and (int(values.min()) < 33 or int(values.max()) > 126):
                raise ColumnError(f"column {name!r} holds characters that are not printable")
    if "bases" in batch and "qualities" in batch:
        bases, qualities = batch.ragged("bases").lengths, batch.ragged("qualities").lengths
        wrong = np.flatnonzero((bases != qualities) & (qualities != 0))
        if len(wrong):
            i = int(wrong[0])
            raise ColumnError(f"record {batch.first + i:,} has {bases[i]:,} bases and {qualities[i]:,} qualities")
    for name, column in batch.columns.items():
        if isinstance(column, Alignments) and len(column):
            last = max(int(column.reference.max()), int(column.mate_reference.max()))
            if last >= len(references):
                raise ColumnError(f"{name}: reference {last}, the header has {len(references)}", "give the header")


