"""Export of FASTQ."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np

from agd import kernels
from agd.batch import I64, U8, U16, Batch, Bool, Column
from agd.convert.fastq_layout import Layout, imported_layouts
from agd.convert.kinds import check_output_name
from agd.convert.pieces import (
    SUFFIX,
    Piece,
    absolute,
    compress,
    compression_of,
    end_of,
    pieces,
    totals,
    write_pieces,
)  # fmt: skip
from agd.convert.reports import ExportReport
from agd.convert.streams import OutputStream, open_output
from agd.dataset import Dataset
from agd.errors import KernelError, UsageError
from agd.kernels.ragged import concat_batches
from agd.ops.finalise import finalise
from agd.ops.partition import Joining, Partition
from agd.run import SILENT, Progress, Runner, in_flight, local_runner, runner_or_threads
from agd.storage import open_storage
from agd.target import check_distinct
from agd.types import Flag, Orientation, SortOrder

COLUMNS = ["bases", "qualities", "metadata"]

#: Quality of bases whose qualities are not known: what ``samtools fastq`` writes (Phred 33).
MISSING_QUALITY = ord("B")

#: Text that is made at one time, bytes.
PIECE_BYTES = 2 << 20

#: Alignments that are not the primary one of their read.
_FURTHER = np.uint16(Flag.SECONDARY | Flag.SUPPLEMENTARY)

_NOT_BESIDE = "sort the dataset by name first (agd sort --by queryname)"


def export_fastq(
    dataset: Dataset, output: str | os.PathLike[str], output2: str | os.PathLike[str] | None = None, *,
    singletons: str | os.PathLike[str] | None = None, interleaved: bool = False,
    partition: Partition | None = None, runner: Runner | None = None, memory: int | None = None,
    progress: Progress = SILENT,
) -> ExportReport:
    """Write the reads of a dataset as FASTQ.

    A dataset that was imported from FASTQ gives the imported files back, byte for byte once decompressed. Pairs go to
    two files if ``output2`` is given, otherwise they take turns in one.

    Of alignments (imported SAM or BAM, sorted datasets) the primary ones are written as ``samtools fastq`` does, in
    the order of the records: as sequenced, without secondary and supplementary alignments. Without further options all
    go to ``output``. With ``output2``, ``singletons`` or ``interleaved`` mates are matched, which needs them to be
    beside each other: sort by name first. Of several reads of one name the first of each end are mates, then the
    second, and so on.

    Parameters
    ----------
    dataset : Dataset
    output : str or path
        A path or url, "-" for standard output; compressed by the suffix (``.gz .bz2 .zst``).
    output2 : str or path, optional
        The second reads of the pairs.
    singletons : str or path, optional
        Reads that have no mate, or that do not say which end they are.
    interleaved : bool
        Of alignments: write pairs only to ``output``, first and second reads in turn.
    partition : Partition, optional
        Write the pieces of this part of the chunks beside the output; :func:`agd.convert.finalise.finalise` joins them
        when all parts are done. On a runner of other processes this happens by itself.
    runner : Runner, optional
        Default: threads, one for each processor.
    memory : int, optional
        Bound on the peak resident set, bytes.

    Returns
    -------
    ExportReport

    Raises
    ------
    UsageError
        The reads cannot be divided as asked for, or an output is named like SAM, BAM or CRAM. Nothing is left at the
        outputs.

    Examples
    --------
    >>> report = agd.export_fastq(agd.open("run.agd"), "back_1.fastq", "back_2.fastq")
    >>> import gzip
    >>> open("back_1.fastq", "rb").read() == gzip.open("R1.fastq.gz").read()
    True
    """
    begun = time.perf_counter()
    paths = [os.fspath(p) for p in (output, output2, singletons) if p is not None]
    check_distinct(paths)
    if output2 is not None and interleaved:
        raise UsageError("pairs are written interleaved or to two files, not both", "leave one of the two out")
    for path in paths:
        check_output_name(path, "fastq")
    plan = _plan(dataset, output2 is not None, singletons is not None, interleaved)
    with contextlib.ExitStack() as stack:
        runner = stack.enter_context(runner_or_threads(runner))
        ahead = in_flight(runner, memory, _chunk_bytes(dataset), fixed=32 << 20)
        if partition is not None or local_runner(runner) is not runner:
            return _in_parts(dataset, plan, paths, partition, runner, ahead, memory, progress)
        targets = [
            None if path is None else _Target(stack.enter_context(open_output(path, runner=runner)), layout)
            for path, layout in zip((output, output2, singletons), plan.layouts, strict=True)
        ]
        bases = _write(plan, targets, runner, ahead, progress)
    written = [target for target in targets if target is not None]
    return ExportReport(
        records=sum(t.records for t in written),
        files={path: target.records for path, target in zip(paths, written, strict=True)},
        bases=bases, bytes_out=sum(t.bytes for t in written), seconds=time.perf_counter() - begun,
    )  # fmt: skip


def _write(
    plan: _Reads | _Lines, targets: Sequence[_Target | None], runner: Runner, ahead: int, progress: Progress
) -> int:
    """Write the reads to the first, second and singleton output; number of bases."""
    bases = 0
    progress.begin("export", len(plan.dataset))
    try:
        for part in plan.parts(runner, ahead):
            for target, texts, count in zip(targets, part.texts, part.counts, strict=True):
                if target is not None:
                    target.write(texts, count)
            bases += part.bases
            progress.advance(part.count)
        for target in targets:
            if target is not None:
                target.finish()
    finally:
        progress.end()
    return bases


#: Name of the export in plans.
OPERATION = "export fastq"


def _in_parts(
    dataset: Dataset, plan: _Reads | _Lines, paths: list[str], partition: Partition | None, runner: Runner, ahead: int,
    memory: int | None, progress: Progress,
) -> ExportReport:
    begun = time.perf_counter()
    if isinstance(plan, _Lines) and plan.match:
        raise UsageError(
            "mates are matched by one process: two that belong together may be in two parts",
            "leave --partition or --cluster out",
        )
    columns = COLUMNS if isinstance(plan, _Reads) else plan.columns
    part = write_pieces(
        dataset, paths, {"operation": OPERATION}, columns, partial(_piece, plan, paths), partition or Partition(1, 1),
        runner, ahead, progress,
    )  # fmt: skip
    if partition is None:
        parts = open_storage(absolute(paths[0]) + SUFFIX)
        finalise(parts, joiners={OPERATION: join_fastq}, runner=runner, memory=memory, progress=progress)
    written, sizes, bases = totals(part, len(paths))
    files = dict(zip(paths, written, strict=True))
    return ExportReport(sum(written), files, bases, sum(sizes), time.perf_counter() - begun)


def _piece(plan: _Reads | _Lines, paths: list[str], batch: Batch) -> Piece:
    """On a worker: the text of a chunk, compressed; that of the last one ends as the imported files did."""
    part = plan.format(batch)
    texts = []
    for pieces_, layout, _ in zip(part.texts, plan.layouts, paths, strict=False):
        text = b"".join(piece.tobytes() for piece in pieces_)
        if batch.first + len(batch) == len(plan.dataset):
            text = layout.ended(text)
        texts.append(text)
    files = tuple(compress(text, compression_of(path)) for text, path in zip(texts, paths, strict=True))
    return Piece(files, part.counts[: len(paths)], tuple(map(len, texts)), part.bases)


def join_fastq(joining: Joining) -> None:
    """Make FASTQ files of their pieces; they become visible together, once all are whole."""
    paths = joining.parts[0].plan["outputs"]
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(open_output(path, compression="none")) for path in paths]
        sizes = [0] * len(files)
        for piece in pieces(joining):
            for i, (file, data) in enumerate(zip(files, piece.files, strict=True)):
                file.write(data)
                sizes[i] += len(data)
        for file, path, size in zip(files, paths, sizes, strict=True):
            file.write(end_of(compression_of(path), empty=not size))


class _Target:
    """One file that is being written."""

    def __init__(self, stream: OutputStream, layout: Layout) -> None:
        self.records = 0
        self.bytes = 0
        self._stream = stream
        self._layout = layout
        self._held: U8 | None = None

    def write(self, texts: list[U8], records: int) -> None:
        self.records += records
        for text in texts:
            if self._held is not None:
                self._put(self._held)
                self._held = None
            if self._layout.final_newline:
                self._put(text)
            else:
                self._held = text  # it may be the last one

    def _put(self, text: U8) -> None:
        self.bytes += len(text)
        self._stream.write(text)

    def finish(self) -> None:
        if self._held is not None:
            self._put(self._held[: -2 if self._layout.crlf else -1])
        if self._layout.trailer:
            self._put(np.frombuffer(self._layout.trailer.encode(), np.uint8))


@dataclass(frozen=True, slots=True)
class _Part:
    """Text of some consecutive records, for the first, second and singleton output."""

    texts: tuple[list[U8], list[U8], list[U8]]
    counts: tuple[int, int, int]
    count: int
    bases: int


#: Records for the first, the second and the singleton output, in order.
_Routes: TypeAlias = tuple[I64, I64, I64]

_NONE: I64 = np.empty(0, np.int64)


class _Reads:
    """Reads in the order of their import."""

    def __init__(self, dataset: Dataset, two: bool) -> None:
        self.dataset = dataset
        self.two = two
        one, other = imported_layouts(dataset.manifest, two)
        self.layouts = (one, other, Layout())

    def parts(self, runner: Runner, ahead: int) -> Iterator[_Part]:
        """The text of every chunk."""
        return _map_chunks(self.dataset, COLUMNS, self.format, runner, ahead)

    def format(self, batch: Batch) -> _Part:
        """The text of a batch."""
        count = len(batch)
        if self.two:
            first = np.arange(batch.first % 2, count, 2)
            second = np.arange(1 - batch.first % 2, count, 2)
        else:
            first, second = np.arange(count), _NONE
        return _format(batch, (first, second, _NONE), self.layouts)


class _Lines:
    """Alignments, of which the primary ones are written."""

    layouts = (Layout(), Layout(), Layout())

    def __init__(self, dataset: Dataset, *, two: bool, singletons: bool, interleaved: bool) -> None:
        self.dataset = dataset
        self.two = two
        self.singletons = singletons
        self.match = two or singletons or interleaved
        self.header = dataset.manifest.names == "fastq"
        self.columns = [*COLUMNS, *(["results"] if "results" in dataset.columns else [])]

    def parts(self, runner: Runner, ahead: int) -> Iterator[_Part]:
        """The text of every chunk, or of whole runs of reads of one name."""
        if not self.match:
            return _map_chunks(self.dataset, self.columns, self.format, runner, ahead)
        batches = self.dataset.batches(self.columns, runner=runner, ahead=max(1, ahead // 2))
        return runner.map(self.format, _whole_names(batches, self.header), on="cpu", ahead=max(1, ahead // 2))

    def format(self, batch: Batch) -> _Part:
        """The text of a batch."""
        flag = _flags(batch)
        primary = np.flatnonzero((flag & _FURTHER) == 0)
        routes = self._match(batch, flag, primary) if self.match else (primary, _NONE, _NONE)
        if len(routes[2]) and not self.singletons:
            record = int(routes[2][0])
            name = batch.ragged("metadata")[record].decode(errors="replace")
            raise UsageError(
                f"{self.dataset.url}: read {name!r} (record {batch.first + record + 1:,}) has no mate beside it",
                f"{_NOT_BESIDE}, or say where reads without a mate go (--singletons)",
            )
        return _format(_as_sequenced(batch, flag), routes, self.layouts)

    def _match(self, batch: Batch, flag: U16, primary: I64) -> _Routes:
        """Divide the primary records into first reads, second reads in the same order, and those without a mate."""
        same = _same_as_previous(batch.ragged("metadata"), self.header)
        group = np.cumsum(~same)[primary]
        end = (flag[primary] >> 6) & 3
        ones, twos = np.flatnonzero(end == 1), np.flatnonzero(end == 2)
        pairs = np.minimum(
            np.bincount(group[ones], minlength=len(flag) + 1), np.bincount(group[twos], minlength=len(flag) + 1)
        )
        mated = np.zeros(len(primary), np.bool_)
        for side in (ones, twos):
            run = group[side]
            rank = np.arange(len(side)) - np.searchsorted(run, run)
            mated[side] = rank < pairs[run]
        first, second = primary[ones[mated[ones]]], primary[twos[mated[twos]]]
        single = primary[~mated]
        if self.two:
            return first, second, single
        turns = np.empty(2 * len(first), np.int64)
        turns[0::2], turns[1::2] = first, second
        return turns, _NONE, single


def _plan(dataset: Dataset, two: bool, singletons: bool, interleaved: bool) -> _Reads | _Lines:
    manifest = dataset.manifest
    if manifest.orientation is Orientation.READ:
        if (two or interleaved) and manifest.pairing != "interleaved":
            raise UsageError(f"{dataset.url}: holds single reads", "export to one file")
        return _Reads(dataset, two)
    if (two or singletons or interleaved) and manifest.sort_order is SortOrder.COORDINATE:
        raise UsageError(f"{dataset.url}: is sorted by coordinate, so mates are not beside each other", _NOT_BESIDE)
    return _Lines(dataset, two=two, singletons=singletons, interleaved=interleaved)


def _chunk_bytes(dataset: Dataset) -> int:
    """Peak bytes of the largest chunk: its columns, a turned copy of them, and the text."""
    worst = 0
    for chunk in dataset.chunks:
        cells = chunk.cells
        bases = int(cells["bases"].statistics.get("total", 0)) if "bases" in cells else 0
        # Names are stored in about a tenth of their size; 24: offsets.
        other = sum(10 * cell.bytes for name, cell in cells.items() if name in ("metadata", "results"))
        worst = max(worst, 3 * (2 * bases + other) + 24 * chunk.count)
    return worst + (8 << 20)


def _map_chunks(
    dataset: Dataset, columns: list[str], fn: Callable[[Batch], _Part], runner: Runner, ahead: int
) -> Iterator[_Part]:
    """Decode and format each chunk as one task."""

    def fetch(index: int) -> tuple[int, dict[str, bytes]]:
        return index, dataset.fetch(dataset.chunks[index], columns)

    def work(fetched: tuple[int, dict[str, bytes]]) -> _Part:
        index, blobs = fetched
        return fn(dataset.decode(dataset.chunks[index], blobs, columns))

    dataset.resolve(columns)
    blobs = runner.map(fetch, range(len(dataset.chunks)), on="io", ahead=ahead)
    # What waits to be written only takes memory.
    return runner.map(work, blobs, on="cpu", ahead=min(ahead, runner.workers + 1))


def _flags(batch: Batch) -> U16:
    """SAM flags; reads without an alignment are single and unmapped."""
    if "results" not in batch:
        return np.full(len(batch), Flag.UNMAPPED, np.uint16)
    alignments = batch.alignments()
    if alignments.valid is None:
        return alignments.flag
    return np.where(alignments.valid, alignments.flag, np.uint16(Flag.UNMAPPED)).astype(np.uint16)


def _as_sequenced(batch: Batch, flag: U16) -> Batch:
    """Turn the reads around that were written as on the other strand."""
    turn: Bool = (flag & np.uint16(Flag.REVERSE)) != 0
    if not turn.any():
        return batch
    columns = dict(batch.columns)
    for name in ("bases", "qualities"):
        column = batch.ragged(name).compact()
        assert column.offsets is not None
        values = column.values.copy()
        kernels.reverse_spans(values, column.offsets, turn, name == "bases")
        columns[name] = Column(values, column.offsets)
    return Batch(batch.first, columns)


def _same_as_previous(metadata: Column, header: bool) -> Bool:
    """Whether each read has the name of the read before it, bool, shape (records,)."""
    assert metadata.offsets is not None
    same = np.zeros(len(metadata), np.bool_)
    starts, ends = metadata.offsets[:-1], metadata.offsets[1:]
    text = metadata.values
    kernels.same_names(text, starts[1:], ends[1:], text, starts[:-1], ends[:-1], header, same[1:])
    return same


def _whole_names(batches: Iterator[Batch], header: bool) -> Iterator[Batch]:
    """The same records in batches that never part reads of one name."""
    carry: Batch | None = None
    for batch in batches:
        starts = np.flatnonzero(~_same_as_previous(batch.ragged("metadata"), header))
        begin, last = 0, int(starts[-1])
        if carry is not None and _continues(carry, batch, header):
            begin = int(starts[1]) if len(starts) > 1 else len(batch)
            carry = concat_batches([carry, batch.slice(0, begin)])
            if begin == len(batch):
                continue
        if carry is not None:
            yield carry
        if begin < last:
            yield batch.slice(begin, last)
        carry = batch.slice(last, len(batch))
    if carry is not None:
        yield carry


def _continues(before: Batch, batch: Batch, header: bool) -> bool:
    ends = Batch(0, {"metadata": before.ragged("metadata").slice(len(before) - 1, len(before))})
    begins = Batch(1, {"metadata": batch.ragged("metadata").slice(0, 1)})
    return bool(_same_as_previous(concat_batches([ends, begins]).ragged("metadata"), header)[1])


def _format(batch: Batch, routes: _Routes, layouts: tuple[Layout, Layout, Layout]) -> _Part:
    texts = [_texts(batch, index, layout.crlf) for index, layout in zip(routes, layouts, strict=True)]
    lengths = batch.ragged("bases").lengths
    bases = sum(int(lengths[index].sum()) for index in routes)
    one, two, single = routes
    return _Part((texts[0], texts[1], texts[2]), (len(one), len(two), len(single)), len(batch), bases)


def _texts(batch: Batch, index: I64, crlf: bool) -> list[U8]:
    """Text of some records, in pieces that are small enough for memory to be used again rather than returned."""
    metadata, bases, qualities = (batch.ragged(name) for name in ("metadata", "bases", "qualities"))
    assert metadata.offsets is not None
    assert bases.offsets is not None
    assert qualities.offsets is not None
    # '@', '+' and the line ends come to the rest.
    room = np.cumsum(metadata.lengths[index] + 2 * bases.lengths[index] + (2 + 4 * (2 if crlf else 1)))
    borders = np.searchsorted(room, np.arange(PIECE_BYTES, int(room[-1]), PIECE_BYTES)) if len(index) else _NONE
    texts: list[U8] = []
    done, taken = 0, 0
    for piece in np.split(index, borders):
        if not len(piece):
            continue
        done += len(piece)
        out = np.empty(int(room[done - 1]) - taken, np.uint8)
        taken = int(room[done - 1])
        try:
            size = kernels.fastq_format(
                metadata.values, metadata.offsets, bases.values, bases.offsets, qualities.values, qualities.offsets,
                piece, crlf, MISSING_QUALITY, out,
            )
        except KernelError as error:
            raise UsageError(
                f"record {batch.first + error.record + 1:,} cannot be written as FASTQ: {error.reason}",
                "see what is wrong with it by 'agd verify'",
            ) from error
        texts.append(out[:size])
    return texts
