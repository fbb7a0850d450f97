"""Export BAM: records are encoded and deflated on all processors, the index is made on the way."""

from __future__ import annotations

import contextlib
import itertools
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from agd import kernels
from agd.batch import I32, I64, U16, Batch
from agd.cell import alignment_ends
from agd.convert import bgzf
from agd.convert.header import output_header
from agd.convert.index import IndexBuilder
from agd.convert.inflate import Compression
from agd.convert.kinds import check_output_name
from agd.convert.outputs import check_level, open_output
from agd.convert.pieces import SUFFIX, Piece, absolute, pieces, source_of, totals, write_pieces
from agd.convert.reports import ExportReport
from agd.dataset import Dataset
from agd.errors import KernelError, UsageError, VerificationError
from agd.kernels.memory import empty
from agd.kernels.records import RecordArrays
from agd.ops.digest import Digest, check_digest, digest_to_compare
from agd.ops.finalise import finalise
from agd.ops.lines import to_lines, to_records
from agd.ops.partition import Joining, Partition
from agd.ops.scan import chunk_bytes, line_columns, scan
from agd.ops.select import Selection, is_coordinate_sorted
from agd.run import SILENT, Progress, Runner, in_flight, local_runner, runner_or_threads
from agd.sinks import is_stream
from agd.storage import open_storage
from agd.types import Reference
from agd.urls import Url, as_text

#: Name of the export in plans.
OPERATION = "export bam"


@dataclass(frozen=True, slots=True)
class _Part:
    """One chunk as it goes into the file: deflated blocks, and what the index needs of its records."""

    data: list[bytes]
    count: int
    bases: int
    starts: I64  # virtual offsets of the records, relative to the beginning of the part
    index: tuple[I32, I64, I64, U16]
    digest: Digest


def bam_header(text: str, references: tuple[Reference, ...]) -> bytes:
    """Header of a BAM file, uncompressed (SAM specification, section 4.2)."""
    data = text.encode("utf-8", "surrogateescape")
    parts = [b"BAM\1", struct.pack("<i", len(data)), data, struct.pack("<i", len(references))]
    for reference in references:
        name = reference.name.encode() + b"\0"
        parts.append(struct.pack("<i", len(name)) + name + struct.pack("<i", reference.length))
    return b"".join(parts)


def bam_layout(batch: Batch, names: str) -> tuple[RecordArrays, I64]:
    """The records of a batch of alignment lines, and where each begins in uncompressed BAM (one offset more: the end).

    Raises
    ------
    VerificationError
        A record cannot be one of BAM; it says which.
    """
    records = to_records(batch, names)
    sizes = np.empty(len(batch), np.int64)
    offsets = np.zeros(len(batch) + 1, np.int64)
    with _named(records):
        kernels.bam_sizes(records, sizes)
    np.cumsum(sizes, out=offsets[1:])
    return records, offsets


def deflate_records(records: RecordArrays, offsets: I64, level: int) -> tuple[list[bytes], I64]:
    """BGZF blocks of records, many to each piece, and the size of each block.

    Parameters
    ----------
    records, offsets
        As of :func:`bam_layout`, which raises what this would.
    level : int
        0 (stored) to 12 of libdeflate.
    """
    # Records are made and deflated a few megabytes at a time, which the processor's caches hold.
    borders = np.searchsorted(offsets, np.arange(bgzf.TASK_BYTES, int(offsets[-1]), bgzf.TASK_BYTES)).tolist()
    borders = [0, *borders, len(offsets) - 1]
    room = max(int(offsets[stop] - offsets[start]) for start, stop in itertools.pairwise(borders))
    text = empty(bgzf.BLOCK_BYTES + room)
    blocks, sizes, held = list[bytes](), list[I64](), 0
    for start, stop in itertools.pairwise(borders):
        end = held + int(offsets[stop] - offsets[start])
        with _named(records, start):
            kernels.bam_encode(records.slice(start, stop), text[held:end], offsets[start : stop + 1] - offsets[start])
        whole = end if stop == borders[-1] else end - end % bgzf.BLOCK_BYTES
        data, size = bgzf.deflate_blocks(text[:whole], level)
        blocks.append(data)
        sizes.append(size)
        held = end - whole
        text[:held] = text[whole:end].copy()
    return blocks, np.concatenate(sizes)


@contextlib.contextmanager
def _named(records: RecordArrays, first: int = 0) -> Iterator[None]:
    """Errors of kernels name the record, of which they count from the first one."""
    try:
        yield
    except KernelError as error:
        if error.record < 0:
            raise
        low, high = records.name_offsets[first + error.record : first + error.record + 2].tolist()
        name = records.names[low:high].tobytes().decode("utf-8", "replace")
        raise VerificationError(f"record {name!r} does not fit BAM: {error.reason}", "'agd view' shows it") from error


def export_bam(
    dataset: Dataset, output: Url, *, level: int = 6, index: bool | None = None, csi: bool = False,
    selection: Selection | None = None, partition: Partition | None = None, runner: Runner | None = None,
    memory: int | None = None, progress: Progress = SILENT, command: str = "",
) -> ExportReport:
    """Write a BAM file.

    Parameters
    ----------
    dataset : Dataset
        Reads that were never aligned give an unmapped BAM.
    output : str or path
        A path, any url, or "-" for standard output.
    level : int
        Of compression by libdeflate, 0 (stored) to 12; what they cost is measured in docs/performance.md.
    index : bool, optional
        Write ``output.bai`` (``.csi`` where a reference is too long). Default: if the records are in coordinate order
        and the output is a file.
    csi : bool
        Write an index, and of the two kinds CSI whatever the references.
    selection : Selection, optional
        Records wanted. Default: all.
    partition : Partition, optional
        Write the pieces of this part of the chunks beside the output; :func:`agd.convert.finalise.finalise` joins them
        when all parts are done. On a runner of other processes this happens by itself.
    runner, memory, progress, command
        As in all operations.

    Returns
    -------
    ExportReport
        How many records, and how many bytes.

    Raises
    ------
    UsageError
        The output is named like SAM, CRAM or FASTQ, there is no such level, or an index is asked for that cannot be.
    VerificationError
        The records that were written are not those that were imported (only checked when all are written).

    Examples
    --------
    >>> report = agd.export_bam(agd.open("sorted.agd"), "out.bam")
    >>> import os
    >>> os.path.exists("out.bam.bai")
    True
    """
    begun, output = time.perf_counter(), as_text(output)
    check_output_name(output, "bam")
    check_level(output, Compression.BGZF, level)
    if csi and index is False:
        raise UsageError("CSI is a kind of index, and none is to be written", "leave --csi or --no-index out")
    ordered = is_coordinate_sorted(dataset)
    can_index = ordered and not is_stream(output)
    if (index or csi) and not can_index:
        raise UsageError(f"{output}: only a file in coordinate order can be indexed", "sort the dataset first")
    index = can_index if index is None else index
    with runner_or_threads(runner) as runner:
        if partition is not None or local_runner(runner) is not runner:
            if selection is not None and not selection.everything:
                raise UsageError(
                    "a selection of records is exported by one process", "leave --partition or --cluster out"
                )
            if csi:
                raise UsageError(
                    "an index of another kind is made by one process", "leave --partition or --cluster out"
                )
            return _in_parts(dataset, output, level, index, partition, runner, memory, progress, command)
        stream = BamStream(
            dataset, level=level, index=index, csi=csi, selection=selection, runner=runner, memory=memory,
            progress=progress, program="agd export bam", command=command,
        )  # fmt: skip
        with open_output(output, compression="none") as out:
            for data in stream:
                out.write(data)
    where = ""
    if stream.builder is not None:
        where = output + stream.builder.suffix
        with open_output(where, compression="none") as file:
            file.write(stream.builder.to_bytes())
    return ExportReport(
        stream.records, {output: stream.records}, stream.bases, stream.size, time.perf_counter() - begun, where,
        stream.digest,
    )  # fmt: skip


def _in_parts(
    dataset: Dataset, output: str, level: int, index: bool, partition: Partition | None, runner: Runner,
    memory: int | None, progress: Progress, command: str,
) -> ExportReport:
    begun = time.perf_counter()
    part = write_pieces(
        dataset, [output], {"operation": OPERATION, "level": level, "index": index}, line_columns(dataset),
        partial(_piece, dataset, level), partition or Partition(1, 1), runner,
        in_flight(runner, memory, 4 * chunk_bytes(dataset)), progress,
        header=output_header(dataset, "agd export bam", command),
    )  # fmt: skip
    where = ""
    if partition is None:
        parts, joiners = open_storage(absolute(output) + SUFFIX), {OPERATION: join_bam}
        finalise(parts, joiners=joiners, runner=runner, memory=memory, progress=progress)
        where = output + IndexBuilder([r.length for r in dataset.manifest.references]).suffix if index else ""
    (records,), (size,), bases = totals(part, 1)
    checked = "" if partition else "verified" if dataset.manifest.digest else "none"
    return ExportReport(records, {output: records}, bases, size, time.perf_counter() - begun, where, checked)


def _piece(dataset: Dataset, level: int, batch: Batch) -> Piece:
    """On a worker: the records of a chunk, and what the index needs of them."""
    lines = to_lines(batch, dataset.orientation, dataset.manifest.pairing == "interleaved")
    part = _encode(dataset, lines, level, True)
    names = ("reference", "position", "end", "flag")
    arrays: dict[str, Any] = {"starts": part.starts, **dict(zip(names, part.index, strict=True))}
    data = b"".join(part.data)
    return Piece((data,), (part.count,), (len(data),), part.bases, part.digest, arrays)


def join_bam(joining: Joining) -> None:
    """Make a BAM file, and its index, of its pieces."""
    dataset, plan = source_of(joining), joining.parts[0].plan
    builder = IndexBuilder([r.length for r in dataset.manifest.references]) if plan["index"] else None
    output, digest = plan["outputs"][0], Digest()
    head, _ = bgzf.deflate_blocks(
        bam_header(joining.parts[0].fields["header"], dataset.manifest.references), plan["level"]
    )
    with open_output(output, compression="none") as out:
        out.write(head)
        size = len(head)
        for piece in pieces(joining):
            if builder is not None:
                a, places = piece.arrays, piece.arrays["starts"] + (size << 16)
                builder.add(a["reference"], a["position"], a["end"], a["flag"], places[:-1], places[1:])
            out.write(piece.files[0])
            size += len(piece.files[0])
            digest.add(piece.digest)
        out.write(bgzf.EOF)
        check_digest(dataset, digest)
    if builder is not None:
        with open_output(output + builder.suffix, compression="none") as file:
            file.write(builder.to_bytes())


def _encode(dataset: Dataset, lines: Batch, level: int, whole: bool) -> _Part:
    records, offsets = bam_layout(lines, dataset.manifest.names)
    blocks, sizes = deflate_records(records, offsets, level)
    places = bgzf.virtual_offsets(offsets, sizes)
    a = lines.alignments()
    return _Part(
        blocks, len(lines), len(records.bases), places, (a.reference, a.position, alignment_ends(a), a.flag),
        digest_to_compare(records, dataset.manifest.digest) if whole else Digest(),
    )  # fmt: skip


class BamStream:
    """The bytes of a BAM file, made while they are iterated, once.

    Attributes
    ----------
    records, bases, size : int
        Handed out so far; ``size`` in bytes.
    digest : str
        As in :class:`agd.convert.reports.ExportReport`, at the end.
    builder : IndexBuilder or None
        Holds the whole index at the end.
    """

    def __init__(
        self, dataset: Dataset, *, level: int, index: bool, csi: bool = False, selection: Selection | None,
        runner: Runner, memory: int | None, progress: Progress, program: str, command: str,
    ) -> None:
        self.records = self.bases = self.size = 0
        self.digest = ""
        lengths = [r.length for r in dataset.manifest.references]
        self.builder = IndexBuilder(lengths, csi or None) if index else None
        self._dataset = dataset
        self._level = level
        self._selection = selection
        self._whole = selection is None or selection.everything
        self._runner = runner
        self._ahead = in_flight(runner, memory, 4 * chunk_bytes(dataset))
        self._progress = progress
        self._header = output_header(dataset, program, command)

    def __iter__(self) -> Iterator[bytes]:
        digest = Digest()
        self._progress.begin("export", len(self._dataset), "records")
        try:
            head, _ = bgzf.deflate_blocks(bam_header(self._header, self._dataset.manifest.references), self._level)
            yield self._count(head)
            parts = scan(
                self._dataset, self._encode, runner=self._runner, ahead=self._ahead, selection=self._selection
            )
            for part in parts:
                if self.builder is not None:
                    places = part.starts + (self.size << 16)
                    self.builder.add(*part.index, places[:-1], places[1:])
                self.records += part.count
                self.bases += part.bases
                digest.add(part.digest)
                for data in part.data:
                    yield self._count(data)
                self._progress.advance(part.count)
            yield self._count(bgzf.EOF)
            if self._whole:
                self.digest = "verified" if check_digest(self._dataset, digest) else "none"
        finally:
            self._progress.end()

    def _count(self, data: bytes) -> bytes:
        self.size += len(data)
        return data

    def _encode(self, lines: Batch) -> _Part:
        return _encode(self._dataset, lines, self._level, self._whole)
