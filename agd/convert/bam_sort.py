"""Sort BAM into BAM: whole records are moved as they are, no column is made."""

from __future__ import annotations

import contextlib
import functools
import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from agd import __version__, kernels
from agd.batch import I32, I64, U8, U16, Alignments, Batch, Column
from agd.convert import bgzf
from agd.convert.bam_in import BamReader
from agd.convert.bam_out import bam_header
from agd.convert.index import IndexBuilder
from agd.convert.inflate import Compression
from agd.convert.outputs import OutputStream, check_level, open_output
from agd.convert.records import RawChunk, to_batch
from agd.convert.streams import open_input
from agd.errors import InputError, KernelError, UsageError, VerificationError
from agd.ops.run_store import BLOCK, RunStore, sorted_run
from agd.ops.sort_gather import Part, gather
from agd.ops.sort_keys import Ordering
from agd.ops.sort_merge import Run, fewer_runs
from agd.ops.sort_plan import MAX_FAN_IN, SortPlan
from agd.ops.sort_runs import MemoryRun, SpilledRun
from agd.ops.sort_spill import default_folder, spill_folder
from agd.ops.sort_split import Window, merge_order, windows
from agd.run import SILENT, Progress, Runner, ThreadRunner, items_in_flight, local_runner, memory_of
from agd.run.memory import BASE
from agd.samheader import lines_of, with_program, with_references
from agd.sinks import is_stream
from agd.types import Reference
from agd.urls import Url, as_text

#: The one column of the runs: records as BAM has them, each with its size.
RECORDS = "records"

#: Records, and bytes of them, that are read as a piece and that are written as one.
PIECE_RECORDS, PIECE_BYTES = 50_000, 16 << 20

#: Modulus of :func:`agd.kernels.span_product`.
PRIME = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class BamSortReport:
    """What a sort of a file did.

    Attributes
    ----------
    output : str
    by : str
        The order.
    records : int
    runs, passes : int
        Sorted runs that were merged, and how often records were merged (more than once if memory is very short).
    spilled_bytes : int
        Bytes of temporary files; 0 when all fitted into memory.
    bytes_out : int
        Size of the file.
    index : str
        Where its index is; "" for none.
    seconds : float
        Wall time.
    """

    output: str
    by: str
    records: int
    runs: int
    passes: int
    spilled_bytes: int
    bytes_out: int
    index: str
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The report as JSON."""
        return asdict(self)


def sort_bam(
    path: Url, output: Url, *, by: str = "coordinate", level: int = bgzf.DEFAULT_LEVEL, index: bool | None = None,
    csi: bool = False, tmp: Url | None = None, runner: Runner | None = None, memory: int | None = None,
    progress: Progress = SILENT, command: str = "",
) -> BamSortReport:
    """Sort a BAM file into another one, without a dataset in between.

    Records of equal keys stay in the order of the input. That the records written are those read is told from a
    product of their checksums before the file becomes visible. The result depends neither on the memory nor on the
    number of workers.

    Parameters
    ----------
    path : str or path
        A path, any url, or "-" for standard input.
    output : str or path
        A path, any url, or "-" for standard output. It may be the input.
    by : str
        As for :func:`agd.ops.sort.sort`.
    level : int
        Of compression, 0 to 12, as for :func:`agd.convert.bam_out.export_bam`.
    index : bool, optional
        Write ``output.bai`` (``.csi`` where a reference is too long). Default: if sorted by coordinate into a file.
    csi : bool
        Of the two kinds of index, CSI whatever the references.
    tmp : str or path, optional
        Local folder for temporary files. Default: beside a local output, the system's for remote ones.
    runner, memory, progress, command
        As in all operations.

    Returns
    -------
    BamSortReport

    Raises
    ------
    InputError
        The file is damaged; says where.
    UsageError
        The order is not known, the memory is too little, or the output cannot be indexed.
    VerificationError
        Other records were to be written than were read. Nothing is left behind.

    Examples
    --------
    >>> report = agd.export_bam(agd.open("sorted.agd"), "sorted.bam")
    >>> agd.sort_bam("sorted.bam", "by-name.bam", by="queryname").index
    ''
    """
    begun = time.perf_counter()
    path, output, tmp = as_text(path), as_text(output), as_text(tmp)
    check_level(output, Compression.BGZF, level)
    can_index = by == "coordinate" and not is_stream(output)
    if index and not can_index:
        raise UsageError(f"{output}: only a file in coordinate order can be indexed", "leave --index out")
    index = can_index if index is None else index
    with contextlib.ExitStack() as stack:
        runner = runner or stack.enter_context(ThreadRunner())
        if local_runner(runner) is not runner:
            raise UsageError("one file is sorted by one process", "leave --cluster out, or import it")
        reader = BamReader(path, stack.enter_context(open_input(path, runner)))
        job = _Job(reader, Ordering.of_header(by, reader.header), runner, memory_of(runner, memory), progress)

        @functools.cache
        def folder() -> str:
            return stack.enter_context(spill_folder(tmp or default_folder(output)))

        runs = job.load(folder)
        builder = IndexBuilder([r.length for r in reader.references], csi or None) if index else None
        with open_output(output, compression="none") as out:
            size = job.write(runs, _head(reader, job.ordering, command), level, builder, out)
        where = "" if builder is None else output + builder.suffix
        if builder is not None:
            with open_output(where, compression="none") as file:
                file.write(builder.to_bytes())
    return BamSortReport(
        output, by, job.read.records, len(runs), job.passes, job.spilled, size, where, time.perf_counter() - begun
    )


def _head(reader: BamReader, ordering: Ordering, command: str) -> bytes:
    """Uncompressed header of the output."""
    text = reader.header
    if reader.references and not lines_of(text, "SQ"):
        text = with_references(text, reader.references)
    text = with_program(ordering.header(text), "agd sort", __version__, command)
    return bam_header(text, reader.references)


@dataclass(slots=True)
class _Sum:
    """Some records, whatever their order."""

    records: int = 0
    size: int = 0
    product: int = 1

    def add(self, records: U8, offsets: I64) -> None:
        """Count records in: bytes, and where each begins."""
        self.combine(_Sum(len(offsets) - 1, len(records), kernels.span_product(records, offsets)))

    def combine(self, other: _Sum) -> None:
        """Count those of another sum in."""
        self.records += other.records
        self.size += other.size
        self.product = self.product * other.product % PRIME


@dataclass(frozen=True, slots=True)
class _Piece:
    """Consecutive records of the output: deflated blocks, and what the index needs of them."""

    data: bytes
    starts: I64  # virtual offsets, relative to the beginning of the piece
    places: tuple[I32, I64, I64, U16]
    sum: _Sum


class _Job:
    """One sort of a file.

    Attributes
    ----------
    read : _Sum
        Of the records that were read.
    passes, spilled : int
        As in :class:`BamSortReport`.
    """

    def __init__(
        self, reader: BamReader, ordering: Ordering, runner: Runner, memory: int, progress: Progress
    ) -> None:
        self.reader, self.ordering, self.runner, self.progress = reader, ordering, runner, progress
        self.read, self.passes, self.spilled = _Sum(), 1, 0
        chunks = reader.chunks(PIECE_RECORDS, PIECE_BYTES)
        head = list(itertools.islice(chunks, 1))
        self._chunks: Iterable[RawChunk] = itertools.chain(head, chunks)
        # Going by the first one. While one is read, others are looked at; later as many are gathered and deflated.
        piece = max([raw.data[0].nbytes for raw in head], default=0) + (1 << 20)
        self._item = piece * (2 if ordering.by == "coordinate" else 4)
        self._reading = 3 * piece + (32 << 20)
        self._ahead = items_in_flight(memory, self._item, runner.workers, fixed=self._reading + 2 * piece)
        self._ahead = min(self._ahead, runner.workers + 1)
        self._budget = memory - BASE - self._reading - 2 * self._ahead * self._item

    def load(self, folder: Any) -> Sequence[Run]:
        """Read everything into sorted runs, few enough to be merged at one time."""
        self.progress.begin("read", None, "records")
        try:
            store = RunStore((RECORDS,), self._budget, folder)
            runs = store.collect(self._lines(), self.runner)
        finally:
            self.progress.end()
        spilled = [run for run in runs if isinstance(run, SpilledRun)]
        if not spilled:
            return runs
        workers = self.runner.workers
        layout = SortPlan(True, (), BLOCK, MAX_FAN_IN, workers, workers, PIECE_RECORDS)
        self.spilled = sum(run.nbytes for run in spilled)
        fewer = fewer_runs(spilled, (RECORDS,), folder(), layout, self.runner, self.progress)
        self.passes += fewer.passes
        self.spilled += fewer.spilled
        return fewer.runs

    def _lines(self) -> Iterator[MemoryRun]:
        for lines, part in self.runner.map(self._sorted, self._chunks, on="cpu", ahead=self._ahead):
            self.read.combine(part)
            self.progress.advance(part.records)
            yield lines

    def _sorted(self, raw: RawChunk) -> tuple[MemoryRun, _Sum]:
        buffer, offsets = raw.data
        found = _Sum()
        found.add(buffer, offsets)
        try:
            keys = self.ordering.keys(self._batch(raw))
        except (InputError, KernelError) as error:
            # Both count within the piece, one from 1.
            place = error.record if isinstance(error, InputError) else error.record + 1
            raise InputError(
                self.reader.path, error.reason, record=raw.first + place if place > 0 else -1, remedy=error.remedy
            ) from error
        raw.data = None  # whoever gave it to a worker holds on to it until the work is done
        return sorted_run(keys, {RECORDS: Part.of(Column(buffer, offsets))}), found

    def _batch(self, raw: RawChunk) -> Batch:
        """What the keys are made from; the records are checked."""
        if self.ordering.columns:
            return to_batch(raw.first, self.reader.decode(raw))
        buffer, offsets = raw.data
        reference, position, _, flag = _places(buffer, offsets, len(self.reader.references))
        null = Alignments.null(0)
        return Batch(raw.first, {"results": Alignments(
            flag, reference, position, null.mapping_quality, null.mate_reference, null.mate_position,
            null.template_length, null.cigar, null.tags,
        )})  # fmt: skip

    def write(
        self, runs: Sequence[Run], head: bytes, level: int, builder: IndexBuilder | None, out: OutputStream
    ) -> int:
        """Merge the runs into a file; its size in bytes."""
        blocks, _ = bgzf.deflate_blocks(head, level)
        out.write(blocks)
        size, written = len(blocks), _Sum()
        cuts = windows(runs, PIECE_RECORDS, PIECE_BYTES, (RECORDS,), 0)
        merge = functools.partial(_merge, runs, level, self.reader.references)
        self.progress.begin("write", self.read.records, "records")
        try:
            for piece in self.runner.map(merge, cuts, on="cpu", ahead=self._ahead):
                if builder is not None:
                    starts = piece.starts + (size << 16)
                    builder.add(*piece.places, starts[:-1], starts[1:])
                out.write(piece.data)
                size += len(piece.data)
                written.combine(piece.sum)
                self.progress.advance(piece.sum.records)
        finally:
            self.progress.end()
        if written != self.read:
            raise VerificationError(
                f"{out.name}: {written.records:,} records were to be written of {self.read.records:,}, or others than "
                "were read: temporary files or memory are damaged", "run the same command again",
            )  # fmt: skip
        out.write(bgzf.EOF)
        return size + len(bgzf.EOF)


def _places(buffer: U8, offsets: I64, references: int) -> tuple[I32, I64, I64, U16]:
    """Reference, position, end and flag of records, which are checked."""
    count = len(offsets) - 1
    flag, reference = np.empty(count, np.uint16), np.empty(count, np.int32)
    position, end = np.empty(count, np.int64), np.empty(count, np.int64)
    kernels.bam_places(buffer, offsets, references, flag, reference, position, end)
    return reference, position, end, flag


def _merge(runs: Sequence[Run], level: int, references: Sequence[Reference], window: Window) -> _Piece:
    """On a worker: the records of a window, in order, deflated."""
    present, order = merge_order(runs, window.low, window.high)
    column = gather([runs[i].part(RECORDS, window.low[i], window.high[i]) for i in present], order)
    assert column.offsets is not None
    blocks, sizes = bgzf.deflate_blocks(column.values, level)
    found = _Sum()
    found.add(column.values, column.offsets)
    places = _places(column.values, column.offsets, len(references))
    return _Piece(blocks, bgzf.virtual_offsets(column.offsets, sizes), places, found)
