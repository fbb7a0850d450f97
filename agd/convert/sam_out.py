"""Export SAM text: records are formatted by a kernel on all processors."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from agd import kernels
from agd.batch import U8, Batch, Column
from agd.convert.header import output_header
from agd.convert.inflate import Compression
from agd.convert.kinds import check_output_name
from agd.convert.outputs import check_level, open_output
from agd.convert.pieces import (
    SUFFIX,
    Piece,
    absolute,
    compress,
    compression_of,
    end_of,
    pieces,
    source_of,
    totals,
    write_pieces,
)
from agd.convert.reports import ExportReport
from agd.convert.sam_fields import columns_for, cut_fields
from agd.dataset import Dataset
from agd.errors import UsageError
from agd.kernels.ragged import take_batch
from agd.kernels.records import RecordArrays
from agd.ops.digest import Digest, check_digest, digest_to_compare
from agd.ops.finalise import finalise
from agd.ops.lines import to_lines, to_records
from agd.ops.partition import Joining, Partition
from agd.ops.scan import chunk_bytes, line_columns, scan
from agd.ops.select import Selection
from agd.run import SILENT, Progress, Runner, in_flight, local_runner, runner_or_threads
from agd.storage import open_storage
from agd.urls import Url, as_text

OPERATION = "export sam"


def export_sam(
    dataset: Dataset, output: Url, *, level: int | None = None, header: bool = True, records: bool = True,
    head: int | None = None, selection: Selection | None = None, fields: Sequence[str] | None = None,
    partition: Partition | None = None, runner: Runner | None = None, memory: int | None = None,
    progress: Progress = SILENT, program: str = "agd export sam", command: str = "",
) -> ExportReport:
    """Write SAM text.

    Parameters
    ----------
    dataset : Dataset
    output : str or path
        A path (compressed when it ends in .gz, .bz2 or .zst), any url, or "-" for standard output.
    level : int, optional
        Of compression.
    header, records : bool
        Which parts to write.
    head : int, optional
        Write the first so many wanted records only.
    selection : Selection, optional
        Records wanted. Default: all.
    fields : sequence of str, optional
        Fields of each line (:data:`agd.convert.sam_fields.FIELDS`); columns that they do not need are not read.
        Default: all.
    partition : Partition, optional
        Write the pieces of this part of the chunks beside the output; :func:`agd.convert.finalise.finalise` joins them
        when all parts are done. On a runner of other processes this happens by itself.
    program : str
        Name for the ``@PG`` line of the export; "" for none.
    runner, memory, progress, command
        As in all operations.

    Returns
    -------
    ExportReport
        How many records, and how many bytes.

    Raises
    ------
    UsageError
        The output is named like BAM, CRAM or FASTQ, there is no such level, or a selection is to be written in parts.

    Examples
    --------
    >>> ds = agd.open("sorted.agd")
    >>> report = agd.export_sam(ds, "first.sam", header=False, head=1, fields=["RNAME", "MAPQ", "CIGAR"])
    >>> print(open("first.sam").read().split())
    ['chr1', '60', '150M']
    """
    begun, output = time.perf_counter(), as_text(output)
    check_output_name(output, "sam")
    check_level(output, compression_of(output), level)
    whole = head is None and fields is None and records and (selection is None or selection.everything)
    with runner_or_threads(runner) as runner:
        if partition is not None or local_runner(runner) is not runner:
            if not whole or not header:
                raise UsageError("a selection is exported by one process", "leave --partition or --cluster out")
            top = output_header(dataset, program, command)
            return _in_parts(dataset, output, level, top, partition, runner, memory, progress)
        stream = _SamStream(
            dataset, header=output_header(dataset, program, command) if header else "",
            head=head if records else 0, selection=selection, fields=fields, whole=whole, runner=runner, memory=memory,
            progress=progress,
        )  # fmt: skip
        with open_output(output, level=level, runner=runner) as out:
            for text in stream:
                out.write(text)
    return ExportReport(
        stream.records, {output: stream.records}, stream.bases, stream.size, time.perf_counter() - begun,
        digest=stream.digest,
    )  # fmt: skip


class _SamStream:
    """The text of a SAM file, made while it is iterated, once.

    Parameters
    ----------
    header : str
        "" for none.
    head : int or None
        Most records.
    whole : bool
        All of every record is wanted: the digest is taken.

    Attributes
    ----------
    records, bases, size : int
        Handed out so far; ``size`` in bytes. ``bases`` are those that were read.
    digest : str
        As in :class:`agd.convert.reports.ExportReport`, at the end.
    """

    def __init__(
        self, dataset: Dataset, *, header: str, head: int | None, selection: Selection | None,
        fields: Sequence[str] | None, whole: bool, runner: Runner, memory: int | None, progress: Progress,
    ) -> None:
        self.records = self.bases = self.size = 0
        self.digest = ""
        self._dataset = dataset
        self._header = header.encode("utf-8", "surrogateescape")
        self._head = head
        self._selection = selection
        self._fields = fields
        self._whole = whole
        self._runner = runner
        self._ahead = in_flight(runner, memory, 5 * chunk_bytes(dataset)) if head is None else 1
        self._progress = progress
        self._names = _reference_names(dataset)

    def __iter__(self) -> Iterator[bytes | U8]:
        digest = Digest()
        self._progress.begin("export", len(self._dataset))
        try:
            self.size += len(self._header)
            yield self._header
            columns = None if self._fields is None else columns_for(self._fields)
            parts = scan(
                self._dataset, self._encode, runner=self._runner, ahead=self._ahead, columns=columns,
                selection=self._selection,
            ) if self._head != 0 else ()  # fmt: skip
            for count, bases, text, part in parts:
                if self._head is not None and self.records + count > self._head:
                    count = self._head - self.records
                    text = _first_lines(text, count)
                self.records += count
                self.bases += bases
                self.size += len(text)
                digest.add(part)
                yield text
                self._progress.advance(count)
                if self.records == self._head:
                    return
            if self._whole:
                self.digest = "verified" if check_digest(self._dataset, digest) else "none"
        finally:
            self._progress.end()

    def _encode(self, lines: Batch) -> tuple[int, int, U8, Digest]:
        """On a worker: number of records and of bases, text, digest."""
        if self._head is not None and len(lines) > self._head:
            lines = take_batch(lines, np.arange(self._head))
        arrays = to_records(lines, self._dataset.manifest.names)
        text = _text(arrays, self._names)
        shown = text if self._fields is None else cut_fields(text, self._fields)
        digest = digest_to_compare(arrays, self._dataset.manifest.digest) if self._whole else Digest()
        return len(lines), len(arrays.bases), shown, digest


def _reference_names(dataset: Dataset) -> Column:
    return Column.from_list([r.name.encode() for r in dataset.manifest.references])


def _text(arrays: RecordArrays, references: Column) -> U8:
    """Lines of SAM."""
    assert references.offsets is not None
    text = np.empty(kernels.sam_format_bound(arrays, references.values, references.offsets), np.uint8)
    return text[: kernels.sam_format(arrays, references.values, references.offsets, text)]


def _in_parts(
    dataset: Dataset, output: str, level: int | None, header: str, partition: Partition | None, runner: Runner,
    memory: int | None, progress: Progress,
) -> ExportReport:
    begun = time.perf_counter()
    ahead = in_flight(runner, memory, 5 * chunk_bytes(dataset))
    part = write_pieces(
        dataset, [output], {"operation": OPERATION, "level": level}, line_columns(dataset),
        partial(_piece, dataset, compression_of(output), level), partition or Partition(1, 1), runner, ahead, progress,
        header=header,
    )  # fmt: skip
    if partition is None:
        parts, joiners = open_storage(absolute(output) + SUFFIX), {OPERATION: join_sam}
        finalise(parts, joiners=joiners, runner=runner, memory=memory, progress=progress)
    (records,), (size,), bases = totals(part, 1)
    checked = "" if partition else "verified" if dataset.manifest.digest else "none"
    return ExportReport(records, {output: records}, bases, size, time.perf_counter() - begun, digest=checked)


def _piece(dataset: Dataset, kind: Compression, level: int | None, batch: Batch) -> Piece:
    """On a worker: the lines of a chunk, compressed."""
    lines = to_lines(batch, dataset.orientation, dataset.manifest.pairing == "interleaved")
    arrays = to_records(lines, dataset.manifest.names)
    text = _text(arrays, _reference_names(dataset)).tobytes()
    digest = digest_to_compare(arrays, dataset.manifest.digest)
    return Piece((compress(text, kind, level),), (len(lines),), (len(text),), len(arrays.bases), digest)


def join_sam(joining: Joining) -> None:
    """Make a SAM file of its pieces."""
    first, digest = joining.parts[0], Digest()
    (output,), level = first.plan["outputs"], first.plan["level"]
    kind = compression_of(output)
    with open_output(output, compression="none") as out:
        head = compress(first.fields["header"].encode("utf-8", "surrogateescape"), kind, level)
        out.write(head)
        size = len(head)
        for piece in pieces(joining):
            out.write(piece.files[0])
            size += len(piece.files[0])
            digest.add(piece.digest)
        out.write(end_of(kind, empty=not size))
        check_digest(source_of(joining), digest)


def _first_lines(text: Any, count: int) -> Any:
    ends = np.flatnonzero(text == ord("\n"))
    return text[: ends[count - 1] + 1] if count else text[:0]


def count_records(dataset: Dataset, selection: Selection, *, runner: Runner | None = None) -> int:
    """Number of wanted records; reads only the columns that the conditions ask for."""
    with runner_or_threads(runner) as runner:
        return sum(scan(dataset, len, runner=runner, columns=[], selection=selection))
