"""Add alignments to a dataset: one column of results, nothing is rewritten."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from agd import samheader
from agd.aligners.aligner import Aligned, AlignerFactory, ChunkAligner, Reads, Request, StreamAligner, load_aligner
from agd.aligners.reference import Genome, load_genome
from agd.batch import Alignments, AnyColumn, Batch, Bool, Column
from agd.cell import decode_cell, default_spec
from agd.dataset import Dataset
from agd.draft import Draft
from agd.errors import ColumnError, UsageError
from agd.kernels.ragged import take_any
from agd.manifest import Cell, Chunk, ColumnSpec
from agd.ops.digest import Digest, digest_alignments
from agd.ops.lines import secondary_columns
from agd.ops.partition import Partition, set_aside
from agd.run import SILENT, Progress, Runner, ThreadRunner, default_memory, items_in_flight, local_runner
from agd.run.memory import BASE
from agd.types import Flag, Orientation
from agd.urls import Url, as_text

#: Bytes in memory per byte of bases while a chunk is aligned: text, hits, alignments and their encoded form.
_EXPANSION = 12

#: Bytes in memory per base of the reference: itself, and the index of an aligner in this process.
_INDEX_SIZE = 4

#: The cells of a chunk on their way from the encoding to the storing stage.
_Encoded = dict[str, tuple[bytes, Cell]]

#: A chunk, what is to be stored of it, and the digest of its alignment lines.
_Aligned = tuple[Chunk, _Encoded, Digest]


@dataclass(frozen=True, slots=True)
class AlignReport:
    """What was aligned.

    Attributes
    ----------
    reads, mapped, proper : int
        Reads in all, mapped, and mapped in proper pairs; primary alignments only.
    supplementary, secondary : int
        Further alignments.
    chunks, resumed : int
        Chunks in all, and those kept from an earlier run that was stopped.
    aligner, version : str
    parameters : dict
        What the aligner used.
    seconds : float
        Wall time.
    """

    reads: int
    mapped: int
    proper: int
    supplementary: int
    secondary: int
    chunks: int
    resumed: int
    aligner: str
    version: str
    parameters: dict[str, Any]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def align(
    dataset: Dataset, reference: Url, *, aligner: str | AlignerFactory = "minibwa", read_group: str | None = None,
    aligner_args: str = "", overwrite: bool = False, codecs: Mapping[str, list[dict[str, Any]]] | None = None,
    partition: Partition | None = None, runner: Runner | None = None, memory: int | None = None,
    progress: Progress = SILENT, command: str = "",
) -> AlignReport:
    r"""Align the reads of a dataset and add the columns ``results`` and, where needed, ``secondary0…``.

    They are part of a new generation: open the dataset again to see them.

    Parameters
    ----------
    dataset : Dataset
        Reads as sequenced (from FASTQ).
    reference : str or path
        FASTA, path or url. An index is built where there is none.
    aligner : str or AlignerFactory
        "minibwa", or a program: see :func:`agd.aligners.aligner.aligner_names`. Or one of your own, see
        :mod:`agd.aligners.aligner`.
    read_group : str, optional
        ``@RG`` line, tabs as such or as ``\t``.
    aligner_args : str
        Options of the aligner's own, as on its command line.
    overwrite : bool
        Replace alignments that are there; duplicate marks, which were found by them, go.
    codecs : mapping of str to codec chain, optional
        For ``results``; the further alignments are stored alike.
    partition : Partition, optional
        Align this part of the chunks only; :func:`agd.ops.finalise.finalise` publishes when all parts are done.
    runner, memory, progress, command
        As in all operations; a program gets as many threads as the runner has workers.

    Returns
    -------
    AlignReport

    Raises
    ------
    UsageError
        The dataset holds alignments already, or no reads as sequenced.
    AlignerError
        The aligner is missing or failed; the dataset is as it was.

    Examples
    --------
    >>> report = agd.align(agd.open("run.agd"), "ref.fa", read_group=r"@RG\tID:1\tSM:sample")
    >>> agd.open("run.agd").columns
    ['bases', 'qualities', 'metadata', 'results']
    """
    started = time.monotonic()
    runner = runner or ThreadRunner()
    _check(dataset, overwrite)
    spec = _spec("results", codecs)
    genome = load_genome(as_text(reference))
    line = samheader.read_group_line(read_group) if read_group else ""
    make = load_aligner(aligner) if isinstance(aligner, str) else aligner
    tool = make(Request(genome, line, aligner_args, local_runner(runner), progress))
    if "bases" not in dataset.columns:
        raise ColumnError(f"{dataset.url}: there is no column 'bases'", "import the reads again")
    if partition and not isinstance(tool, ChunkAligner):
        raise UsageError(
            f"{tool.name} aligns all reads in one go, and its results depend on that", "run it without --partition"
        )
    if local_runner(runner) is not runner and not isinstance(tool, ChunkAligner):
        raise UsageError(f"{tool.name} aligns all reads in one go, on one machine", "run it without --cluster")
    columns = [name for name in tool.columns if name in dataset.columns]
    ahead = _ahead(dataset, memory, runner, genome, isinstance(tool, ChunkAligner))
    job = _Job(dataset, columns, tool, runner, ahead, partition)
    plan = {
        "operation": "align", "reference": genome.digest, "read_group": line, "codecs": dict(codecs or {}),
        **tool.plan(),
    }  # fmt: skip
    stale = [n for n in ("duplicates", *secondary_columns(dataset.columns)) if n in dataset.columns]
    draft = Draft.extend(dataset, {"results": spec}, plan, replace=overwrite, reads=columns)
    job.begin(draft, codecs)
    try:
        tool.prepare(Reads(job.sample, dataset.manifest.pairing == "interleaved", dataset.manifest.names))
        chunks = job.run(progress)
    except BaseException as error:
        job.draft.failed(error, part=partition is not None)
        raise
    header = samheader.with_references(dataset.manifest.header, genome.contigs)
    for group in tool.read_groups():
        header = samheader.with_line(header, group)
    parameters = tool.parameters()
    fields: dict[str, Any] = {
        "header": header, "references": genome.contigs, "steps": provenance(tool, genome, parameters, command),
    }  # fmt: skip
    noted = dataset.manifest.digest
    if partition:
        set_aside(
            job.draft, partition, chunks, len(dataset), replace=overwrite, drop=stale, part_digest=job.digest.to_json(),
            digest=noted, **fields,
        )  # fmt: skip
    else:
        drop = [n for n in stale if n not in job.draft.columns]
        job.draft.commit(chunks, drop=drop, digest=job.digest.added_to(noted), **fields)
    return _report(chunks, job.resumed, tool, parameters, time.monotonic() - started)


def _check(dataset: Dataset, overwrite: bool) -> None:
    if "results" in dataset.columns and not overwrite and dataset.orientation is Orientation.READ:
        raise UsageError(f"{dataset.url}: the reads are aligned already", "use --overwrite to align them again")
    if dataset.orientation is not Orientation.READ:
        raise UsageError(
            f"{dataset.url}: holds alignment lines, not reads as they were sequenced",
            "write the reads with 'agd export fastq', import those, and align that dataset",
        )


def _spec(name: str, codecs: Mapping[str, list[dict[str, Any]]] | None) -> ColumnSpec:
    spec = default_spec(name)
    for column in codecs or {}:
        if column != "results":
            raise UsageError(f"there is no column {column!r} to choose codecs for", "there are: results")
    chain = (codecs or {}).get("results")
    if chain is None:
        return spec
    if not chain or chain[0]["name"] not in ("protobuf", "alignments"):
        chain = [{"name": "protobuf"}, *chain]
    return ColumnSpec(spec.type, list(chain), spec.key)


def _ahead(dataset: Dataset, memory: int | None, runner: Runner, genome: Genome, in_process: bool) -> int:
    """Chunks in flight. The reference and the index have to be in memory, whatever is left for chunks."""
    bases = [c.cells["bases"] for c in dataset.chunks if "bases" in c.cells]
    largest = max((cell.statistics.get("total", 0) for cell in bases), default=0)
    records = max((c.count for c in dataset.chunks), default=0)
    item = int(largest) * _EXPANSION + records * 400
    fixed = _INDEX_SIZE * len(genome.bases) if in_process else 2 * len(genome.bases)
    # Workers that are processes of their own have a memory of their own.
    workers = runner.workers if local_runner(runner) is runner else 1
    if memory is None:
        # Half of the memory is a fair share, not a limit that a large genome should fail on.
        memory = max(default_memory(), BASE + fixed + item * workers)
    return items_in_flight(memory, item, workers, fixed=fixed)


class _Job:
    """One run: the reads go through the aligner into the draft."""

    draft: Draft

    def __init__(
        self, dataset: Dataset, columns: list[str], tool: ChunkAligner | StreamAligner, runner: Runner, ahead: int,
        partition: Partition | None = None,
    ) -> None:
        self.chunks = partition.of(dataset.chunks) if partition else dataset.chunks
        self.dataset, self.columns, self.tool, self.runner, self.ahead = dataset, columns, tool, runner, ahead
        self.codecs: Mapping[str, list[dict[str, Any]]] | None = None
        self.resumed = 0
        self.digest = Digest()

    def begin(self, draft: Draft, codecs: Mapping[str, list[dict[str, Any]]] | None) -> None:
        """Take the draft that the results go to."""
        self.draft, self.codecs = draft, codecs

    def sample(self, reads: int) -> Iterator[Batch]:
        """The first reads of the dataset."""
        return self.dataset.batches(self.columns, stop=min(reads, len(self.dataset)), runner=local_runner(self.runner))

    def run(self, progress: Progress) -> list[Chunk]:
        """Align everything; the chunks with their new cells."""
        progress.begin("aligning", sum(chunk.count for chunk in self.chunks))
        done: list[Chunk] = []
        source = self._chunkwise(done) if isinstance(self.tool, ChunkAligner) else self._streamed(self.tool)
        try:
            for chunk, digest in self.runner.map(self._store, source, on="io", ahead=self.ahead):
                for name in chunk.cells:
                    # The chunk may have been aligned in another process, whose declarations are not seen here.
                    self.draft.declare(name, self._further(name))
                done.append(chunk)
                self.digest.add(digest)
                progress.advance(chunk.count)
            kept = done[: self.resumed]
            for digest in self.runner.map(self._digest_kept, kept, on="cpu", ahead=self.ahead):
                self.digest.add(digest)
        finally:
            progress.end()
        return sorted(done, key=lambda c: c.first)

    def _chunkwise(self, done: list[Chunk]) -> Iterator[_Aligned]:
        todo = []
        for chunk, cells in self.runner.map(self._kept, self.chunks, on="io") if self.draft.resumed else ():
            if cells is None:
                todo.append(chunk)
            else:
                done.append(Chunk(chunk.first, chunk.count, cells))
        if not self.draft.resumed:
            todo = list(self.chunks)
        self.resumed = len(done)
        fetched = self.runner.map(self._fetch, todo, on="io", ahead=self.ahead)
        return self.runner.map(self._align, fetched, on="cpu", ahead=self.ahead)

    def _streamed(self, tool: StreamAligner) -> Iterator[_Aligned]:
        waiting: deque[Batch] = deque()

        def feed() -> Iterator[Batch]:
            for batch in self.dataset.batches(self.columns, runner=self.runner, ahead=min(2, self.ahead)):
                waiting.append(batch)
                yield batch

        # Whatever goes wrong later on, the program is stopped at once, not when its iterator happens to be collected.
        with contextlib.closing(tool.align_stream(feed())) as results:
            aligned = zip(self.dataset.chunks, results, strict=True)
            items = ((chunk, waiting.popleft(), each) for chunk, each in aligned)
            yield from self.runner.map(lambda item: self._finish(*item), items, on="cpu", ahead=self.ahead)

    def _kept(self, chunk: Chunk) -> tuple[Chunk, dict[str, Cell] | None]:
        """Cells that an earlier run of the same plan has stored: ``results`` is stored last, so it vouches for all."""
        results = self.draft.finished("results", chunk.first, chunk.count) if self.draft.resumed else None
        if results is None:
            return chunk, None
        cells, number = {"results": results}, 0
        while True:
            name = f"secondary{number}"
            self.draft.declare(name, self._further(name))
            cell = self.draft.finished(name, chunk.first, chunk.count)
            if cell is None:
                return chunk, cells
            cells[name] = cell
            number += 1

    def _further(self, name: str) -> ColumnSpec:
        return _spec(name, self.codecs)

    def _fetch(self, chunk: Chunk) -> tuple[Chunk, dict[str, bytes]]:
        return chunk, self.dataset.fetch(chunk, self.columns)

    def _align(self, fetched: tuple[Chunk, dict[str, bytes]]) -> _Aligned:
        chunk, blobs = fetched
        assert isinstance(self.tool, ChunkAligner)
        batch = self.dataset.decode(chunk, blobs, self.columns)
        return self._finish(chunk, batch, self.tool.align_batch(batch))

    def _finish(self, chunk: Chunk, reads: Batch, aligned: Aligned) -> _Aligned:
        further = {f"secondary{number}": column for number, column in enumerate(layers(aligned))}
        encoded = {}
        for name, column in further.items():
            self.draft.declare(name, self._further(name))
            encoded[name] = self.draft.encode(name, chunk.first, column)
        encoded["results"] = self.draft.encode("results", chunk.first, aligned.primary)
        return chunk, encoded, self._digest(reads, {"results": aligned.primary, **further})

    def _digest(self, reads: Batch, alignments: Mapping[str, AnyColumn]) -> Digest:
        m = self.dataset.manifest
        batch = Batch(reads.first, {**reads.columns, **alignments})
        return digest_alignments(batch, self.dataset.columns, m.names, m.pairing == "interleaved")

    def _digest_kept(self, chunk: Chunk) -> Digest:
        """Digest of lines that an earlier run has stored."""
        alignments = {}
        for name in chunk.cells:
            key = self.draft.key(name, chunk.first)
            alignments[name] = decode_cell(self.draft.storage.get(key), key)[1]
        old = next(c for c in self.chunks if c.first == chunk.first)
        return self._digest(self.dataset.decode(*self._fetch(old), self.columns), alignments)

    def _store(self, item: _Aligned) -> tuple[Chunk, Digest]:
        chunk, encoded, digest = item
        for name, (data, _) in encoded.items():
            self.draft.store(name, chunk.first, data)
        return Chunk(chunk.first, chunk.count, {name: cell for name, (_, cell) in encoded.items()}), digest


def layers(aligned: Aligned) -> Iterator[Alignments]:
    """Further alignments as columns: the first ones of all reads, then the second ones, …; null where there is none."""
    count = len(aligned.primary)
    read = aligned.read
    rank = np.arange(len(read)) - np.searchsorted(read, read)
    for number in range(int(rank.max(initial=-1)) + 1):
        chosen = np.flatnonzero(rank == number)
        valid = np.zeros(count, np.bool_)
        valid[read[chosen]] = True
        yield _masked(take_any(aligned.further, chosen), valid)


def _masked(some: AnyColumn, valid: Bool) -> Alignments:
    """Alignments of the reads where ``valid`` holds, spread over all reads."""
    count = len(valid)
    null = Alignments.null(count)
    changes: dict[str, Any] = {"valid": valid}
    for name in Alignments.FIXED:
        changes[name] = getattr(null, name).copy()
        changes[name][valid] = getattr(some, name)
    for name in ("cigar", "tags"):
        column: Column = getattr(some, name).compact()
        lengths = np.zeros(count, np.int64)
        lengths[valid] = column.lengths
        changes[name] = Column.from_lengths(column.values, lengths)
    return null.replace(**changes)


def provenance(
    tool: ChunkAligner | StreamAligner, genome: Genome, parameters: dict[str, Any], command: str
) -> tuple[dict[str, Any], ...]:
    # Whoever opens the dataset from another folder is to find it.
    where = genome.url if "://" in genome.url else os.path.abspath(genome.url)
    about = {
        "aligner": tool.name, "aligner_version": tool.version, "reference": where,
        "reference_digest": genome.digest, **parameters,
    }  # fmt: skip
    own = {"program": tool.name, "version": tool.version, "command": about.pop("command", ""), "parameters": {}}
    return own, {"program": "agd align", "version": version("agd"), "command": command, "parameters": about}


def _report(
    chunks: list[Chunk], resumed: int, tool: ChunkAligner | StreamAligner, parameters: dict[str, Any], seconds: float
) -> AlignReport:
    mapped = proper = supplementary = secondary = 0
    for chunk in chunks:
        for name, cell in chunk.cells.items():
            for text, number in cell.statistics.get("flags", {}).items():
                flag = int(text)
                if name == "results":
                    mapped += number * (not flag & Flag.UNMAPPED)
                    proper += number * (flag & (Flag.UNMAPPED | Flag.PROPER_PAIR) == Flag.PROPER_PAIR)
                else:
                    supplementary += number * bool(flag & Flag.SUPPLEMENTARY)
                    secondary += number * bool(flag & Flag.SECONDARY)
    return AlignReport(
        sum(c.count for c in chunks), mapped, proper, supplementary, secondary, len(chunks), resumed, tool.name,
        tool.version, parameters, seconds,
    )  # fmt: skip
