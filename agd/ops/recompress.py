"""Store the columns of a dataset with other codecs; the records stay the same."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from agd import __version__
from agd.batch import AnyColumn
from agd.codecs import Context, needed_columns, needs_reference
from agd.codecs.profile import PROFILES, Config, candidates, choose
from agd.dataset import Dataset
from agd.draft import Draft
from agd.errors import ColumnError, ReferenceNotFoundError, UsageError
from agd.manifest import Cell, Chunk, ColumnSpec
from agd.ops.embed import embed_reference
from agd.run import SILENT, Progress, Runner, ThreadRunner, in_flight
from agd.urls import Url, as_text


@dataclass(frozen=True, slots=True)
class RecompressReport:
    """What a recompression did.

    Attributes
    ----------
    url : str
    profile : str
    before, after : dict
        Stored bytes of each column.
    codecs : dict
        The chain that most chunks of each column were to be stored with.
    generation : int
        Of the dataset afterwards.
    seconds : float
        Wall time.
    """

    url: str
    profile: str
    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)
    codecs: dict[str, Config] = field(default_factory=dict)
    generation: int = 0
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


def recompress(
    dataset: Dataset, *, profile: str = "balanced", columns: Sequence[str] | None = None,
    codecs: Mapping[str, Config] | None = None, reference: Url | None = None, embed: bool = False,
    runner: Runner | None = None, memory: int | None = None, progress: Progress = SILENT, command: str = "",
) -> RecompressReport:
    """Store columns with the codecs of a profile, column by column.

    Each column becomes one generation of the dataset; a stopped run can be run again and goes on, and what is
    done already is left as it is. The objects of older
    generations stay (``agd gc --keep 1`` removes them).

    Parameters
    ----------
    profile : str
        "fast", "balanced" or "small": which codecs are tried on a sample of every chunk.
    columns : sequence of str, optional
        Default: all.
    codecs : mapping of str to codec chain, optional
        Columns that get these codecs, whatever the profile.
    reference : str or path, optional
        FASTA file, for bases as differences to the reference. Default: where the dataset or the environment says.
    embed : bool
        Keep what the alignments need of the reference in the dataset; see :func:`agd.ops.embed.embed_reference`.
    runner, memory, progress
        As everywhere.
    command : str
        The command line, for the history.

    Returns
    -------
    RecompressReport
        Bytes of each column, before and after.

    Raises
    ------
    UsageError
        The profile or a column does not exist, or another column is stored as differences to one that would be.
    ReferenceNotFoundError
        The codecs that were asked for need a reference that is not found.
    """
    if profile not in PROFILES:
        raise UsageError(f"there is no profile {profile!r}", f"there are: {', '.join(PROFILES)}")
    started = time.monotonic()
    runner = runner or ThreadRunner()
    chosen, reference = dict(codecs or {}), as_text(reference)
    for name in chosen:
        if name not in dataset.columns:
            raise ColumnError(f"{dataset.url}: there is no column {name!r}", f"there are: {', '.join(dataset.columns)}")
    names = dataset.resolve(list(columns) if columns is not None else list(chosen) or None)
    report = RecompressReport(dataset.url, profile)
    if embed:
        dataset, _ = embed_reference(
            dataset, reference=reference, runner=runner, memory=memory, progress=progress, command=command
        )
    dataset = Dataset(dataset.storage, dataset.manifest, reference)
    for name in names:
        job = _Job(dataset, name, profile, chosen.get(name), runner, memory, progress)
        report.before[name] = _stored(dataset, name)
        dataset = job.run(command)
        report.after[name] = _stored(dataset, name)
        report.codecs[name] = dataset.manifest.columns[name].codecs
        dataset = Dataset(dataset.storage, dataset.manifest, reference)
    return RecompressReport(
        report.url, profile, report.before, report.after, report.codecs, dataset.manifest.generation,
        round(time.monotonic() - started, 3),
    )  # fmt: skip


def _stored(dataset: Dataset, name: str) -> int:
    return sum(chunk.cells[name].bytes for chunk in dataset.chunks if name in chunk.cells)


class _Job:
    """The recompression of one column."""

    def __init__(
        self, dataset: Dataset, name: str, profile: str, codecs: Config | None, runner: Runner, memory: int | None,
        progress: Progress,
    ) -> None:
        self.dataset = dataset
        self.name = name
        self.profile = profile
        self.runner = runner
        self.memory = memory
        self.progress = progress
        spec = dataset.manifest.columns[name]
        self.chains = [codecs] if codecs is not None else self._usable(candidates(profile, name, spec.type))
        self.nominal = self.chains[0] if len(self.chains) == 1 else self._sampled()
        # What the manifest says a column needs must be what any of its chunks needs.
        if not needed_columns(self.nominal):
            self.chains = [chain for chain in self.chains if not needed_columns(chain)]
        self.spec = ColumnSpec(spec.type, self.nominal, name, spec.dtype)

    def _usable(self, chains: list[Config]) -> list[Config]:
        """The chains whose columns, and whose reference, are there."""
        have, usable, found = self.dataset.columns, [], None
        for chain in chains:
            if needed_columns(chain):
                if not all(name in have for name in needed_columns(chain)) or not self.dataset.manifest.references:
                    continue
                if found is None and needs_reference(chain):
                    try:
                        self.dataset.genome.load()
                        found = True
                    except ReferenceNotFoundError:
                        found = False
                if not found and needs_reference(chain):
                    continue
            usable.append(chain)
        return usable

    def _sampled(self) -> Config:
        """What the middle chunk of the column is stored with."""
        chunks = [chunk for chunk in self.dataset.chunks if self.name in chunk.cells]
        if not chunks:
            return self.chains[0]
        values, context = self._read(chunks[len(chunks) // 2])
        return choose(self.chains, values, context)

    def _needed(self) -> set[str]:
        stored = self.dataset.manifest.columns[self.name].codecs
        return {n for chain in (stored, *self.chains) for n in needed_columns(chain)}

    def _fetch(self, chunk: Chunk) -> dict[str, bytes]:
        have = [name for name in self._needed() if name in chunk.cells]
        return self.dataset.fetch(chunk, [self.name, *have])

    def _read(self, chunk: Chunk) -> tuple[AnyColumn, Context]:
        blobs = self._fetch(chunk)
        return self.dataset.decode_column(chunk, self.name, blobs), self.dataset.context(chunk, blobs)

    def run(self, command: str) -> Dataset:
        """Store all chunks and publish them."""
        parameters: dict[str, Any] = {"column": self.name, "profile": self.profile, "codecs": self.chains}
        key = self.dataset.manifest.columns[self.name].key
        if any(step.get("parameters") == {**parameters, "key": key} for step in self.dataset.manifest.steps):
            return self.dataset  # an earlier run has done it
        plan = {"operation": "recompress", "from": key, **parameters}
        reads = {self.name, *(n for n in self._needed() if n in self.dataset.columns)}
        draft = Draft.extend(self.dataset, {self.name: self.spec}, plan, replace=True, same_records=True, reads=reads)
        chunks = [chunk for chunk in self.dataset.chunks if self.name in chunk.cells]
        largest = max((_in_memory(c.count, c.cells[self.name]) for c in chunks), default=1)
        ahead = in_flight(self.runner, self.memory, largest)
        self.progress.begin(f"recompress {self.name}", sum(c.count for c in chunks), "records")
        cells: dict[int, Cell] = {}
        try:
            for first, count, cell in self._stored(draft, chunks, ahead):
                cells[first] = cell
                self.progress.advance(count)
            parameters["key"] = draft.columns[self.name].key
            step = {"program": "agd recompress", "version": __version__, "command": command, "parameters": parameters}
            return draft.commit(
                [Chunk(c.first, c.count, {self.name: cells[c.first]} if c.first in cells else {})
                 for c in self.dataset.chunks],
                steps=(step,),
            )  # fmt: skip
        except BaseException as error:
            draft.failed(error)
            raise
        finally:
            self.progress.end()

    def _stored(self, draft: Draft, chunks: list[Chunk], ahead: int) -> Iterator[tuple[int, int, Cell]]:
        def fetch(chunk: Chunk) -> tuple[Chunk, dict[str, bytes] | None, Cell | None]:
            done = draft.finished(self.name, chunk.first, chunk.count, chains=self.chains)
            return chunk, None if done else self._fetch(chunk), done

        def encode(item: tuple[Chunk, dict[str, bytes] | None, Cell | None]) -> tuple[Chunk, bytes | None, Cell]:
            chunk, blobs, done = item
            if blobs is None:
                assert done is not None
                return chunk, None, done
            values = self.dataset.decode_column(chunk, self.name, blobs)
            context = self.dataset.context(chunk, blobs)
            data, cell = draft.encode(self.name, chunk.first, values, chains=self.chains, context=context)
            return chunk, data, cell

        def store(item: tuple[Chunk, bytes | None, Cell]) -> tuple[int, int, Cell]:
            chunk, data, cell = item
            if data is not None:
                draft.store(self.name, chunk.first, data)
            return chunk.first, chunk.count, cell

        fetched = self.runner.map(fetch, chunks, on="io", ahead=ahead)
        encoded = self.runner.map(encode, fetched, on="cpu", ahead=ahead)
        yield from self.runner.map(store, encoded, on="io", ahead=ahead)


def _in_memory(records: int, cell: Cell) -> int:
    """Peak bytes while a cell is decoded and encoded anew: its values, the code of several chains, their tables."""
    return records * 400 + max(12 * cell.bytes, 6 * int(cell.statistics.get("total", 0)))
