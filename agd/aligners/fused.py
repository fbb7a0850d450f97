"""Align and sort in one go: aligned chunks become sorted runs at once, nothing is stored in between."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import agd
from agd import samheader
from agd.aligners.align import layers, provenance
from agd.aligners.aligner import Aligned, ChunkAligner, Reads, Request, StreamAligner, load_aligner
from agd.aligners.reference import Genome, load_genome
from agd.batch import AnyColumn, Batch
from agd.cell import default_spec
from agd.dataset import Dataset
from agd.draft import Draft
from agd.errors import DatasetNotFoundError, UsageError
from agd.manifest import Chunk, ColumnSpec
from agd.ops.dedup_ends import Extraction, Libraries
from agd.ops.dedup_find import bytes_per_read
from agd.ops.dedup_marks import MARKS, marks_step
from agd.ops.dedup_merge import MergedDuplicates
from agd.ops.digest import Digest, digest_alignments
from agd.ops.flagstat import flagstat
from agd.ops.run_store import BLOCK, RunStore, run_of_reads
from agd.ops.sort import Sorting
from agd.ops.sort_keys import Ordering
from agd.ops.sort_merge import Run
from agd.ops.sort_plan import MAX_FAN_IN, WINDOW, SortPlan
from agd.ops.sort_runs import MemoryRun, SpilledRun
from agd.ops.sort_spill import default_folder, spill_folder
from agd.run import SILENT, Progress, Runner, ThreadRunner, default_memory, items_in_flight
from agd.run.memory import BASE
from agd.target import check_chunk_size
from agd.types import DEFAULT_CHUNK_BYTES, DEFAULT_CHUNK_RECORDS, Orientation

#: Columns of the sorted dataset.
COLUMNS = ("bases", "qualities", "metadata", "results")

#: Bytes in memory for each byte of a chunk's columns while it is aligned.
_EXPANSION = 6

#: The same for a chunk of the output while it is merged: a column before and after, stored objects of all that wait.
_MERGED = 2.2

#: Bytes for what tells duplicates when it goes through temporary files.
_FINDER = 48 << 20

#: Bytes in memory for each base of the reference: itself, and the index of an aligner in this process.
_INDEX_SIZE = 4


@dataclass(frozen=True, slots=True)
class ReadSource:
    """Reads that are to be aligned.

    Attributes
    ----------
    batches : callable
        Makes the iterator over all reads in order (``bases``, ``qualities``, ``metadata``); called once.
    load : callable
        From what the iterator gives to a batch and the digest of its reads (None: known already); runs on any thread.
    paired : bool
        Records 2i and 2i + 1 are mates.
    names : str
        As in the manifest.
    identity : mapping
        What the reads are, for the plan of the draft (JSON).
    chunk_bytes, chunk_records : int
        Bytes of the columns of the largest chunk, near enough, and its records.
    total : int or None
        Reads in all, None if that is not known.
    fields : callable
        Fields of the manifest that are known once all was read: sources, steps, digest, header.
    inputs : sequence of Dataset
        Datasets that they are read from.
    """

    batches: Callable[[], Iterator[Any]]
    load: Callable[[Any], tuple[Batch, Digest | None]]
    paired: bool
    names: str
    identity: Mapping[str, Any]
    chunk_bytes: int
    chunk_records: int
    total: int | None
    fields: Callable[[], dict[str, Any]]
    inputs: Sequence[Dataset] = ()


@dataclass(frozen=True, slots=True)
class FusedReport:
    """What was done.

    Attributes
    ----------
    output : str
    reads, records, mapped : int
        Reads aligned, alignment lines written, and primary lines of them that are mapped.
    duplicates : int or None
        Lines marked as duplicates; None: not looked for.
    runs, spilled_bytes : int
        Sorted runs, and bytes of temporary files (0: all was done in memory).
    kept : int
        Objects that an earlier, stopped run had finished.
    aligner : str
    seconds : float
        Wall time.
    """

    output: str
    reads: int
    records: int
    mapped: int
    duplicates: int | None
    runs: int
    spilled_bytes: int
    kept: int
    aligner: str
    seconds: float
    parameters: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


def dataset_source(dataset: Dataset, runner: Runner, ahead: int | None = None) -> ReadSource:
    """The reads of a dataset."""
    m = dataset.manifest
    if m.orientation is not Orientation.READ:
        raise UsageError(f"{dataset.url}: holds alignment lines, not reads as they were sequenced")
    columns = [name for name in COLUMNS if name in m.columns and name != "results"]
    largest = max((c.cells["bases"].statistics.get("total", 0) for c in m.chunks if "bases" in c.cells), default=0)
    records = max((c.count for c in m.chunks), default=0)
    return ReadSource(
        lambda: iter(runner.map(lambda c: (c, dataset.fetch(c, columns)), dataset.chunks, on="io", ahead=ahead)),
        lambda fetched: (dataset.decode(fetched[0], fetched[1], columns), None),
        m.pairing == "interleaved", m.names, {"id": m.id, "records": m.records},
        2 * int(largest) + 100 * records, records, m.records,
        lambda: {"sources": m.sources, "steps": m.steps, "digest": m.digest, "header": m.header},
        (dataset,),
    )  # fmt: skip


def align_sorted(
    source: ReadSource, reference: str, output: str, *, by: str = "coordinate", dedup: bool = False,
    aligner: str = "minibwa", read_group: str | None = None, aligner_args: str = "",
    chunk_records: int = DEFAULT_CHUNK_RECORDS, chunk_bytes: int = DEFAULT_CHUNK_BYTES,
    codecs: Mapping[str, list[dict[str, Any]]] | None = None, profile: str | None = None, tmp: str | None = None,
    overwrite: bool = False, again: bool = False, runner: Runner | None = None, memory: int | None = None,
    progress: Progress = SILENT, command: str = "",
) -> FusedReport:
    """Align reads and write them sorted; the records are those of aligning and sorting one after the other.

    A run that a full disk, a lost network or an interrupt has stopped aligns again when it is repeated, and keeps the
    objects that were finished (of programs, whose results need not be the same twice, it keeps nothing).

    Parameters
    ----------
    source : ReadSource
    reference : str
        FASTA, path or url.
    output : str
        Url of the new dataset.
    by : str
        As in :func:`agd.ops.sort.sort`.
    dedup : bool
        Mark duplicates, as :func:`agd.ops.dedup.dedup` does: they are told from what passes by while runs are merged.
    again : bool
        A dataset that an equal run has published, and that is as it was then, is taken as it is.
    others
        As in :func:`agd.aligners.align.align` and :func:`agd.ops.sort.sort`.
    """
    begun = time.monotonic()
    check_chunk_size(chunk_records, chunk_bytes)
    memory = memory or default_memory()
    with contextlib.ExitStack() as stack:
        if runner is None:
            runner = stack.enter_context(ThreadRunner())
        genome = load_genome(reference)
        line = samheader.read_group_line(read_group) if read_group else ""
        tool = load_aligner(aligner)(Request(genome, line, aligner_args, runner, progress))
        bounds = _bounds(
            source, genome, memory, runner, isinstance(tool, ChunkAligner), chunk_records, chunk_bytes, dedup
        )  # fmt: skip
        specs = _specs(codecs)
        parameters = {"by": by, "chunk_records": chunk_records, "chunk_bytes": chunk_bytes}
        plan = {
            "operation": "align sorted", "reads": dict(source.identity), "reference": genome.digest,
            "read_group": line, "columns": {n: s.codecs for n, s in specs.items()}, "dedup": dedup, **parameters,
            **tool.plan(),
        }  # fmt: skip
        made_by = _identity({**plan, "profile": profile})
        if again and not overwrite and (found := _published(output, made_by)) is not None:
            return _report_of(found, tool.name, begun)
        draft = Draft.create(
            output, specs, plan, orientation=Orientation.SEQ, overwrite=overwrite, profile=profile, chosen=codecs or (),
            inputs=source.inputs,
        )  # fmt: skip
        if not isinstance(tool, ChunkAligner):
            draft.resumed = False  # programs need not print the same twice: what they gave is not mixed
        layout = SortPlan(True, (), BLOCK, MAX_FAN_IN, runner.workers, bounds.mergers, WINDOW)
        sorting = Sorting(COLUMNS, draft, layout, runner, progress, chunk_records, chunk_bytes)
        job = _Fused(source, tool, genome, line, by, runner, bounds.ahead, progress)

        @functools.cache
        def folder() -> str:
            return stack.enter_context(spill_folder(tmp or default_folder(output)))

        try:
            report = _publish(job, sorting, bounds.held, folder, dedup, {**parameters, "plan": made_by}, command)
        except BaseException as error:
            draft.failed(error)
            raise
    return replace(report, output=output, seconds=time.monotonic() - begun)


def _publish(
    job: _Fused, sorting: Sorting, budget: int, folder: Callable[[], str], dedup: bool, parameters: Mapping[str, Any],
    command: str,
) -> FusedReport:
    """Align, sort, mark and publish."""
    store = RunStore(COLUMNS, budget, folder)
    runs: Any = store.collect(job.lines(), job.runner)
    if any(isinstance(run, SpilledRun) for run in runs):
        sorting.spilled += sum(run.nbytes for run in runs)
        runs = sorting.fewer(runs, folder())
    used = job.tool.parameters()
    fields = _fields(job, command, used, parameters)
    duplicates = None
    if dedup:
        chunks, duplicates = _merge_marked(sorting, runs, fields, budget - store.held, folder)
    else:
        chunks = sorting.merge(runs)
    made = sorting.draft.commit(chunks, **fields)
    return FusedReport(
        made.url, job.reads, len(made), job.mapped, duplicates, len(runs), sorting.spilled, sorting.kept, job.tool.name,
        0.0, used,
    )  # fmt: skip


def _identity(plan: Mapping[str, Any]) -> str:
    """What a plan is known by in the provenance of the dataset that it made."""
    return hashlib.blake2b(json.dumps(plan, sort_keys=True).encode(), digest_size=16).hexdigest()


def _published(output: str, made_by: str) -> Dataset | None:
    """The dataset that a plan has made, if nothing was done to it since."""
    try:
        found = Dataset.open(output)
    except DatasetNotFoundError:
        return None
    own = [step for step in found.manifest.steps if step.get("parameters", {}).get("plan") == made_by]
    return found if own and found.manifest.generation == 1 else None


def _report_of(dataset: Dataset, aligner: str, begun: float) -> FusedReport:
    """Report of a dataset that an earlier run has published."""
    flags = flagstat(dataset)
    counts = {key: flags.passed[key] + flags.failed[key] for key in ("primary", "primary mapped", "duplicates")}
    m = dataset.manifest
    return FusedReport(
        dataset.url, counts["primary"], m.records, counts["primary mapped"],
        counts["duplicates"] if MARKS in m.columns else None, 0, 0, sum(len(chunk.cells) for chunk in m.chunks),
        aligner, time.monotonic() - begun,
    )  # fmt: skip


def _fields(
    job: _Fused, command: str, used: Mapping[str, Any], parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """Fields of the manifest, once all is aligned."""
    fields = job.source.fields()
    fields["digest"] = job.digest.added_to(fields.get("digest", {}))
    header = samheader.with_references(fields.pop("header", ""), job.genome.contigs)
    for group in job.tool.read_groups():
        header = samheader.with_line(header, group)
    steps = (
        *fields.pop("steps", ()), *provenance(job.tool, job.genome, dict(used), command),
        {"program": "agd sort", "version": agd.__version__, "command": "", "parameters": dict(parameters)},
    )  # fmt: skip
    return {
        **fields, "names": job.source.names, "sort_order": job.ordering.sort_order,
        "header": job.ordering.header(header), "references": job.genome.contigs, "steps": steps,
    }  # fmt: skip


def _merge_marked(
    sorting: Sorting, runs: Sequence[Run], fields: dict[str, Any], room: int, folder: Callable[[], str]
) -> tuple[list[Chunk], int]:
    """Merge and mark duplicates; the chunks, and the number of records marked. The step is added to ``fields``."""
    libraries = Libraries.of(fields["header"], False)
    extraction = Extraction(libraries, b"", places=False, lines=True, paired=False, names=fields["names"])
    records = sum(len(run) for run in runs)
    spill = bytes_per_read(extraction) * records > room
    watch = MergedDuplicates(records, extraction, folder() if spill else None)
    sorting.watch = watch
    chunks = watch.mark(sorting, sorting.merge(runs), runs)
    sorting.spilled += watch.finder.spilled
    parameters = {"barcode_tag": None, "optical_distance": 0, "read_groups": False}
    fields["steps"] = (*fields["steps"], marks_step(parameters, ""))
    return chunks, watch.finder.marked


def _specs(codecs: Mapping[str, list[dict[str, Any]]] | None) -> dict[str, ColumnSpec]:
    specs = {name: default_spec(name) for name in COLUMNS}
    for name, chain in (codecs or {}).items():
        if name not in specs:
            raise UsageError(f"there is no column {name!r} to choose codecs for", f"there are: {', '.join(COLUMNS)}")
        specs[name] = ColumnSpec(specs[name].type, list(chain), name)
    return specs


@dataclass(frozen=True, slots=True)
class Bounds:
    """What keeps a run within its memory.

    Attributes
    ----------
    held : int
        Bytes that runs may have in memory.
    ahead, mergers : int
        Chunks that are aligned, and chunks of the output that are merged, at one time.
    """

    held: int
    ahead: int
    mergers: int


def _bounds(
    source: ReadSource, genome: Genome, memory: int, runner: Runner, in_process: bool, chunk_records: int,
    chunk_bytes: int, dedup: bool,
) -> Bounds:  # fmt: skip
    """Bounds for some memory.

    Raises
    ------
    UsageError
        It is too little to align a chunk, or to merge one.
    """
    chunk = max(source.chunk_bytes, 1 << 20)
    item = _EXPANSION * chunk
    fixed = (_INDEX_SIZE if in_process else 2) * len(genome.bases)
    # Runs are written once there is a chunk too many, and while they are, the lines of the next one wait. What lies
    # between them, small and soon gone, costs a third as much again.
    least = fixed + 2 * chunk
    workers, finder = runner.workers, _FINDER if dedup else 0
    records = min(max(chunk_records, WINDOW), source.total or max(chunk_records, WINDOW))
    record = source.chunk_bytes / max(1, source.chunk_records)
    # A column that reaches its limit closes the chunk; the widest is a third to a half of a record.
    merge = int(min(_MERGED * record * records, 5 * chunk_bytes)) + (1 << 20)
    items_in_flight(memory, max(item, merge + finder), 1, fixed=least)  # says what would do for both
    ahead = min(items_in_flight(memory, item, workers + 1, fixed=least), workers + 1)
    mergers = min(items_in_flight(memory, merge, workers, fixed=least + finder), workers)
    room = memory - BASE - fixed - max(ahead * item, mergers * merge + finder)
    return Bounds(room * 3 // 4 - chunk, ahead, mergers)


class _Fused:
    """The reads on their way through the aligner to lines."""

    def __init__(
        self, source: ReadSource, tool: ChunkAligner | StreamAligner, genome: Genome, read_group: str, by: str,
        runner: Runner, ahead: int, progress: Progress,
    ) -> None:
        libraries = {}
        if read_group:
            tags = samheader.parse_line(read_group)
            if "LB" in tags:
                libraries[tags["ID"].encode()] = tags["LB"].encode()
        self.ordering = Ordering(by, source.names, libraries)
        self.source, self.tool, self.genome = source, tool, genome
        self.runner, self.ahead, self.progress = runner, ahead, progress
        self.digest = Digest()
        self.reads = self.mapped = 0

    def lines(self) -> Iterator[MemoryRun]:
        """Align everything; the lines of each chunk, sorted."""
        items = self.source.batches()
        sampled: list[Any] = []

        def sample(reads: int) -> Iterator[Batch]:
            seen = 0
            for item in items:
                sampled.append(item)
                batch = self._columns(self.source.load(item)[0]).slice(0, reads - seen)
                seen += len(batch)
                yield batch
                if seen >= reads:
                    return

        self.tool.prepare(Reads(sample, self.source.paired, self.source.names))
        self.progress.begin("aligning", self.source.total)
        try:
            rest = _chain(sampled, items)
            made = self._chunkwise(rest) if isinstance(self.tool, ChunkAligner) else self._streamed(rest, self.tool)
            for lines, digest, reads, mapped in made:
                self.digest.add(digest)
                self.reads += reads
                self.mapped += mapped
                self.progress.advance(reads)
                yield lines
        finally:
            self.progress.end()

    def _columns(self, batch: Batch) -> Batch:
        return Batch(batch.first, {n: c for n, c in batch.columns.items() if n in self.tool.columns})

    def _chunkwise(self, items: Iterable[Any]) -> Iterator[tuple[MemoryRun, Digest, int, int]]:
        def work(item: Any) -> tuple[MemoryRun, Digest, int, int]:
            batch, digest = self.source.load(item)
            assert isinstance(self.tool, ChunkAligner)
            return self._lines(batch, self.tool.align_batch(self._columns(batch)), digest)

        return self.runner.map(work, items, on="cpu", ahead=self.ahead)

    def _streamed(
        self, items: Iterable[Any], tool: StreamAligner
    ) -> Iterator[tuple[MemoryRun, Digest, int, int]]:
        waiting: deque[tuple[Batch, Digest | None]] = deque()

        def feed() -> Iterator[Batch]:
            for batch, digest in self.runner.map(self.source.load, items, on="cpu", ahead=self.ahead):
                waiting.append((batch, digest))
                yield self._columns(batch)

        # Closing stops the program, whatever ends this.
        with contextlib.closing(tool.align_stream(feed())) as results:
            aligned = ((*waiting.popleft(), each) for each in results)
            yield from self.runner.map(lambda x: self._lines(x[0], x[2], x[1]), aligned, on="cpu", ahead=self.ahead)

    def _lines(
        self, batch: Batch, aligned: Aligned, digest: Digest | None
    ) -> tuple[MemoryRun, Digest, int, int]:
        columns: dict[str, AnyColumn] = dict(batch.columns)
        columns["results"] = aligned.primary
        columns.update({f"secondary{i}": layer for i, layer in enumerate(layers(aligned))})
        reads = Batch(batch.first, columns)
        lines = run_of_reads(reads, self.ordering, COLUMNS, self.source.paired)
        found = digest_alignments(reads, COLUMNS, self.source.names, self.source.paired)
        found.reads = {} if digest is None else digest.reads
        return lines, found, len(batch), int(((aligned.primary.flag & 4) == 0).sum())


def _chain(first: list[Any], rest: Iterator[Any]) -> Iterator[Any]:
    while first:
        yield first.pop(0)
    yield from rest


def align_dataset_sorted(
    dataset: Dataset, reference: str, output: str | os.PathLike[str], **options: Any
) -> FusedReport:
    """Align the reads of a dataset into a new, sorted one; options as for :func:`align_sorted`."""
    with contextlib.ExitStack() as stack:
        runner = options.pop("runner", None) or stack.enter_context(ThreadRunner())
        return align_sorted(
            dataset_source(dataset, runner), reference, os.fspath(output), runner=runner, **options
        )  # fmt: skip
