"""Keep the reference in the dataset: the parts of it that lie under alignments, as a small dataset inside."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from agd import __version__
from agd.batch import I64, U8, Alignments, Batch, Bool, Column
from agd.cell import reference_lengths
from agd.codecs import needed_columns
from agd.dataset import Dataset, open_inside
from agd.draft import Draft
from agd.embedded import embedded_reference
from agd.errors import ColumnError, DatasetNotFoundError, UsageError
from agd.generations import load_manifest
from agd.genome import GenomeSource
from agd.manifest import Chunk
from agd.ops.create import create
from agd.ops.handover import Arrays, Handover
from agd.ops.lines import secondary_columns
from agd.run import SILENT, Progress, Runner, ThreadRunner, default_memory, in_flight
from agd.samheader import with_references
from agd.types import Flag, Orientation, Reference

#: The reference is kept in blocks of so many bases: gaps that are shorter cost less than the places of more spans.
BLOCK = 1024

#: Longest record of an embedded reference, in bases, and records in a chunk of it.
LONGEST, RECORDS = 1 << 20, 16


@dataclass(frozen=True, slots=True)
class EmbedReport:
    """What is kept of the reference.

    Attributes
    ----------
    url : str
    name : str
        Of the dataset inside.
    bases, total : int
        Bases of the references that are kept, and that there are.
    bytes : int
        Stored.
    embedded : bool
        False if all that is needed was there already.
    seconds : float
        Wall time.
    """

    url: str
    name: str
    bases: int
    total: int
    bytes: int
    embedded: bool
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


def embed_reference(
    dataset: Dataset, *, reference: str | None = None, runner: Runner | None = None, memory: int | None = None,
    progress: Progress = SILENT, command: str = "",
) -> tuple[Dataset, EmbedReport]:
    """Keep what the alignments need of the reference in the dataset, so that it needs no other place to be read.

    Parameters
    ----------
    dataset : Dataset
        With alignments, and the MD5 of its references.
    reference : str, optional
        FASTA file. Default: see :class:`agd.genome.GenomeSource`.
    runner, memory, progress, command
        As in all operations.

    Returns
    -------
    Dataset
        The generation that names it.
    EmbedReport

    Raises
    ------
    ColumnError
        There are no alignments.
    ReferenceNotFoundError
        The reference is not found, or is another one.
    """
    begun = time.monotonic()
    manifest = dataset.manifest
    if "results" not in manifest.columns:
        raise ColumnError(f"{dataset.url}: there are no alignments", "align the reads first with 'agd align'")
    runner = runner or ThreadRunner()
    offsets = np.zeros(len(manifest.references) + 1, np.int64)
    np.cumsum([r.length for r in manifest.references], out=offsets[1:])
    wanted = _wanted(dataset, offsets, runner, memory or default_memory(), progress)
    name, held = embedded_reference(manifest), None
    if name:
        letters, _ = dataset.genome.load()
        held = _blocks_of(letters, offsets)
        if not (wanted & ~held).any():
            inner = open_inside(dataset.storage, name)
            return dataset, _report(dataset, inner, letters, False, begun)
        wanted |= held  # older generations may need it
    hints = [str(step.get("parameters", {}).get("reference", "")) for step in reversed(manifest.steps)]
    letters, _ = GenomeSource(manifest.references, dataset.url, reference, [hint for hint in hints if hint]).load()
    name = _unused(dataset)
    inner = create(
        dataset.storage.inside(name, create=True), _batches(manifest.references, letters, offsets, wanted),
        overwrite=True,
        header=with_references("", manifest.references), orientation=Orientation.READ, chunk_records=RECORDS,
        runner=runner, command=command,
    )  # fmt: skip
    parameters = {"embedded": name, "dataset": manifest.id}
    step = {"program": "agd embed", "version": __version__, "command": command, "parameters": parameters}
    draft = Draft.extend(dataset, {}, {"operation": "embed", **parameters}, reads=["results"])
    done = draft.commit([Chunk(c.first, c.count, {}) for c in dataset.chunks], steps=(step,))
    return done, _report(done, inner, letters, True, begun)


def check_embedded(datasets: Sequence[Dataset]) -> None:
    """Refuse to join datasets, object by object, of which some keep their reference and others need it from elsewhere.

    Raises
    ------
    UsageError
    """
    keeping = [dataset for dataset in datasets if embedded_reference(dataset.manifest)]
    for dataset in datasets if keeping else ():
        specs = dataset.manifest.columns.values()
        if dataset not in keeping and any(needed_columns(spec.codecs) for spec in specs):
            raise UsageError(
                f"{keeping[0].url} keeps its reference, {dataset.url} needs it from elsewhere",
                f"keep it there too: agd recompress {dataset.url} --embed-reference",
            )


def join_embedded(
    datasets: Sequence[Dataset], draft: Draft, references: Sequence[Reference], runner: Runner
) -> tuple[dict[str, Any], ...]:
    """Keep in a new dataset what some others keep of one reference; before it is committed.

    Parameters
    ----------
    datasets : sequence of Dataset
        Those of them that keep nothing need nothing (:func:`check_embedded`).
    draft : Draft
        Of the new one.
    references : sequence of Reference

    Returns
    -------
    tuple of dict
        The step for its history; none if nothing is kept.

    Raises
    ------
    UsageError
        They keep different letters of one place.
    """
    letters, offsets = np.empty(0, np.uint8), np.empty(0, np.int64)
    for dataset in datasets:
        if embedded_reference(dataset.manifest):
            # Another view of it, which is gone before the next one: all letters of a reference may be much.
            held, offsets = Dataset(dataset.storage, dataset.manifest).genome.load()
            letters = letters if len(letters) else np.zeros_like(held)
            for low, high in itertools.pairwise(offsets):
                have, more = letters[low:high], held[low:high]
                if ((have != more) & (have != 0) & (more != 0)).any():
                    raise UsageError(
                        f"{dataset.url}: keeps another reference than {datasets[0].url}",
                        f"store it without: agd recompress {dataset.url} --profile fast",
                    )
                np.maximum(have, more, out=have)
    if not len(letters):
        return ()
    name = "reference.agd"
    create(
        draft.storage.inside(name, create=True), _batches(references, letters, offsets, _blocks_of(letters, offsets)),
        overwrite=True, header=with_references("", references), orientation=Orientation.READ, chunk_records=RECORDS,
        runner=runner,
    )  # fmt: skip
    parameters = {"embedded": name, "dataset": draft.id}
    return ({"program": "agd embed", "version": __version__, "command": "", "parameters": parameters},)


def _unused(dataset: Dataset) -> str:
    """A name for an embedded reference that no generation knows: what is there of that name, a killed run has left."""
    known = set()
    for number in range(1, load_manifest(dataset.storage).generation + 1):
        with contextlib.suppress(DatasetNotFoundError):
            known.add(embedded_reference(load_manifest(dataset.storage, number)))
    names = ("reference.agd" if count == 1 else f"reference-{count}.agd" for count in itertools.count(1))
    return next(name for name in names if name not in known)


def _report(dataset: Dataset, inner: Dataset, letters: U8, embedded: bool, begun: float) -> EmbedReport:
    bases = sum(int(chunk.cells["bases"].statistics.get("total", 0)) for chunk in inner.chunks)
    return EmbedReport(
        dataset.url, inner.url.rstrip("/").split("/")[-1], bases, len(letters), inner.manifest.stored_bytes, embedded,
        round(time.monotonic() - begun, 3),
    )  # fmt: skip


def _wanted(dataset: Dataset, offsets: I64, runner: Runner, memory: int, progress: Progress) -> Bool:
    """Blocks of the references, contig after contig, that lie under an alignment."""
    columns = ["results", *secondary_columns(dataset.columns)]
    firsts = _first_blocks(offsets)
    ahead = in_flight(runner, memory, 1 << 26)

    handover = Handover.of(runner, dataset.storage)

    def cover(chunk: Chunk) -> Arrays | str:
        blobs = dataset.fetch(chunk, columns)
        edges = np.zeros(int(firsts[-1]) + 1, np.int64)
        for name in columns:
            _mark(dataset.context(chunk, blobs).column(name), offsets, firsts, edges)
        return handover.give(chunk.first, {"covered": np.cumsum(edges[:-1]) > 0})

    progress.begin("reference", len(dataset.chunks), "chunks")
    wanted = np.zeros(int(firsts[-1]), np.bool_)
    for given in runner.map(cover, dataset.chunks, on="cpu", ahead=ahead):
        wanted |= handover.take(given)["covered"]
        progress.advance(1)
    progress.end()
    return wanted


def _first_blocks(offsets: I64) -> I64:
    """Number of the first block of every contig, and the number of all blocks."""
    firsts = np.zeros(len(offsets), np.int64)
    np.cumsum(-(-np.diff(offsets) // BLOCK), out=firsts[1:])
    return firsts


def _mark(column: Any, offsets: I64, firsts: I64, edges: I64) -> None:
    """Count the alignments that begin with each block, less those that have ended before it."""
    assert isinstance(column, Alignments)
    placed = (column.reference >= 0) & (column.position >= 0) & ((column.flag & np.uint16(Flag.UNMAPPED)) == 0)
    if column.valid is not None:
        placed &= column.valid
    contig, start = column.reference[placed], column.position[placed]
    length = np.diff(offsets)[contig]
    end = np.minimum(start + reference_lengths(column.cigar)[placed], length)
    some = end > start
    np.add.at(edges, firsts[contig[some]] + start[some] // BLOCK, 1)
    np.add.at(edges, firsts[contig[some]] + (end[some] - 1) // BLOCK + 1, -1)


def _blocks_of(letters: U8, offsets: I64) -> Bool:
    """Blocks whose letters are there."""
    starts = [np.arange(low, high, BLOCK) for low, high in itertools.pairwise(offsets)]
    at = np.concatenate([np.empty(0, np.int64), *starts])
    there: Bool = letters[at] != 0
    return there


def _batches(references: Sequence[Reference], letters: U8, offsets: I64, wanted: Bool) -> Iterator[Batch]:
    """Spans of wanted blocks, a record each, none longer than :data:`LONGEST`."""
    firsts = _first_blocks(offsets)
    bases: list[bytes] = []
    places: list[bytes] = []
    for i, reference in enumerate(references):
        edges = np.diff(wanted[firsts[i] : firsts[i + 1]].astype(np.int8), prepend=0, append=0)
        for low, high in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
            for start in range(int(low) * BLOCK, min(int(high) * BLOCK, reference.length), LONGEST):
                end = min(start + LONGEST, int(high) * BLOCK, reference.length)
                bases.append(letters[int(offsets[i]) + start : int(offsets[i]) + end].tobytes().upper())
                places.append(f"{reference.name}:{start + 1}-{end}".encode())
                if len(bases) == RECORDS:
                    yield Batch(0, {"bases": Column.from_list(bases), "metadata": Column.from_list(places)})
                    bases, places = [], []
    yield Batch(0, {"bases": Column.from_list(bases), "metadata": Column.from_list(places)})
