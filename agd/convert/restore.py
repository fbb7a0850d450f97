"""Take damaged objects of a dataset back from the file that was imported."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from agd.batch import I64, U8, AnyColumn, Batch, Column
from agd.cell import encode_cell, independent_codecs
from agd.codecs import Context, needed_columns
from agd.codecs.profile import PROFILES, Config, candidates
from agd.convert.against import open_records
from agd.convert.fastq_batches import FastqBatches
from agd.convert.kinds import kind_of
from agd.convert.records import to_batch
from agd.convert.renew import Renewal, obstacle
from agd.dataset import Dataset
from agd.errors import AgdError, InputError
from agd.kernels.ragged import concat_batches
from agd.manifest import Cell, Chunk, Manifest
from agd.ops.repair import RepairReport, damaged_cells, repair_manifest
from agd.run import Runner, runner_or_threads
from agd.samheader import references_of
from agd.storage import open_storage
from agd.types import Orientation


@dataclass(frozen=True, slots=True)
class _Taken:
    """An object made from the records of a source."""

    chunk: Chunk
    name: str
    data: bytes
    cell: Cell
    exact: bool
    different: str = ""


def repair(
    url: str, *, sources: Sequence[str] = (), reference: str | None = None, dry_run: bool = False,
    runner: Runner | None = None, command: str = "",
) -> RepairReport:
    """Repair the dataset at a url: its manifest, and its objects as far as they can be had from their source.

    An object that the source gives again bit for bit, as the manifest notes it, is put back. Where another encoder has
    written it, the column is stored anew, as the next generation, if the source agrees with the sound columns of the
    chunk and the dataset then passes ``verify(deep=True)``, digest included.

    Parameters
    ----------
    sources : sequence of str
        The BAM, SAM or CRAM file, or the one or two FASTQ files, that were imported.
    reference : str, optional
        For CRAM.
    dry_run : bool
        Write nothing.
    """
    with runner_or_threads(runner) as runner:
        return _repair(url, sources, reference, dry_run, runner, command)


def _repair(
    url: str, sources: Sequence[str], reference: str | None, dry_run: bool, runner: Runner, command: str
) -> RepairReport:
    storage = open_storage(url)
    header = None
    if sources and _has_records(sources[0]):
        with open_records(sources[0], reference, runner) as (reader, _):
            header = reader.header
    manifest, report = repair_manifest(storage, header=header, dry_run=dry_run, runner=runner, command=command)
    dataset = Dataset(storage, manifest)
    actions, notes = list(report.actions), list(report.notes)
    places: dict[int, list[str]] = defaultdict(list)
    for chunk, name in damaged_cells(dataset, runner):
        places[chunk.first].append(name)
    if places and sources:
        job = _Restoring(dataset, places, sources, dry_run, Renewal(dataset, sources, runner, command))
        with _batches(dataset, sources, reference, runner) as batches:
            job.run(batches)
        actions += job.actions
        notes += job.notes
    damaged = [manifest.object_key(name, first) for first in sorted(places) for name in places[first]]
    notes += _remedies({name for names in places.values() for name in names}, manifest, bool(sources))
    return RepairReport(report.manifest, tuple(actions), tuple(damaged), tuple(dict.fromkeys(notes)))


def _remedies(columns: set[str], manifest: Manifest, tried: bool) -> list[str]:
    notes = []
    for name in sorted(columns):
        if name == "duplicates":
            notes.append(f"duplicates: mark them again with 'agd dedup --overwrite'{_made_by(manifest, 'agd dedup')}")
        elif (name == "results" and manifest.names == "fastq") or name.startswith("secondary"):
            notes.append(f"{name}: align again with 'agd align --overwrite'{_made_by(manifest, 'agd align')}")
        elif not tried:
            notes.append(f"{name}: give the file that was imported, with --from")
        else:
            notes.append(f"{name}: the source does not give these objects again; restore them from a copy, or import "
                         "the source anew")  # fmt: skip
    return notes


def _made_by(manifest: Manifest, program: str) -> str:
    commands = [step.get("command") for step in manifest.steps if step.get("program") == program]
    return f"; it was made by: {commands[-1]}" if commands and commands[-1] else ""


def _has_records(path: str) -> bool:
    return kind_of(path) != "fastq"


@contextlib.contextmanager
def _batches(
    dataset: Dataset, sources: Sequence[str], reference: str | None, runner: Runner
) -> Iterator[Iterator[Batch]]:
    """Records of the source as batches of the columns that an import makes."""
    manifest = dataset.manifest
    if _has_records(sources[0]):
        with open_records(sources[0], reference, runner) as (reader, records):
            theirs = [(r.name, r.length) for r in references_of(reader.header)]
            if manifest.references and theirs != [(r.name, r.length) for r in manifest.references]:
                raise InputError(
                    sources[0], "its references are not those of the dataset", remedy="give the file that was imported"
                )
            yield (to_batch(0, r) for r in records)
    else:
        interleaved = len(sources) == 1 and manifest.pairing == "interleaved"
        with FastqBatches(sources, runner=runner, interleaved=interleaved) as reads:
            yield reads.batches()


class _Restoring:
    """Takes the damaged objects from the records of a source; those that it brings back leave ``places``."""

    def __init__(
        self, dataset: Dataset, places: dict[int, list[str]], sources: Sequence[str], dry_run: bool, renewal: Renewal
    ) -> None:
        self.dataset = dataset
        self.places = places
        self.sources = sources
        self.dry_run = dry_run
        self.renewal = renewal
        self.actions: list[str] = []
        self.notes: list[str] = []
        self._renewed: list[_Taken] = []

    def run(self, batches: Iterator[Batch]) -> None:
        """Read the source up to the last damaged chunk."""
        last = max(self.places)
        chunks = [chunk for chunk in self.dataset.chunks if chunk.first <= last]
        try:
            for chunk, batch in _recut(chunks, batches):
                if chunk.first in self.places:
                    for taken in _objects(self.dataset, chunk, batch, tuple(self.places[chunk.first])):
                        self._take(taken)
        except BaseException:
            self.renewal.discard()
            raise
        if self._renewed:
            self._publish()

    def _take(self, taken: _Taken) -> None:
        first, name = taken.chunk.first, taken.name
        key = self.dataset.manifest.object_key(name, first)
        if taken.exact:
            if not self.dry_run:
                self.dataset.storage.put(key, taken.data)
            self.places[first].remove(name)
            self.actions.append(f"{key}: taken from {self.sources[0]}")
            return
        reason = taken.different or obstacle(self.dataset, name, _has_records(self.sources[0]))
        if reason:
            self.notes.append(f"{key}: not taken from {self.sources[0]}: {reason}")
            return
        if not self.dry_run:
            self.renewal.add(taken.chunk, name, taken.data, taken.cell)
        self._renewed.append(replace(taken, data=b""))

    def _publish(self) -> None:
        wrong = "" if self.dry_run else self.renewal.publish()
        if wrong:
            self.notes.append(f"with the values of {self.sources[0]} the dataset is not what it was, so they were not "
                              f"taken: {wrong}")  # fmt: skip
            return
        for taken in self._renewed:
            key = self.dataset.manifest.object_key(taken.name, taken.chunk.first)
            self.places[taken.chunk.first].remove(taken.name)
            self.actions.append(f"{key}: encoded anew from {self.sources[0]}, in a new generation")
        if self.dry_run:
            self.notes.append("objects that are encoded anew are published only if 'verify --deep' then finds nothing")
        if self.dataset.manifest.names == "fastq" and any(taken.name == "metadata" for taken in self._renewed):
            self.notes.append("metadata: what follows the names in the header lines is in no digest; it is taken as "
                              "the source has it")  # fmt: skip


def _objects(dataset: Dataset, chunk: Chunk, batch: Batch, damaged: Collection[str]) -> Iterator[_Taken]:
    """What the records of a source give for the damaged objects of a chunk."""
    manifest = dataset.manifest
    keys = {name: manifest.object_key(name, chunk.first) for name in chunk.cells}
    sound = {name: dataset.storage.get(key) for name, key in keys.items() if name not in damaged}
    context = _Surroundings(dataset.context(chunk, sound), batch)
    different = _difference(dataset, chunk, sound, batch)
    for name in damaged:
        if name not in batch:
            continue
        spec, noted = manifest.columns[name], chunk.cells[name]
        anew: tuple[bytes, Cell] | None = None
        for codecs in _chains(dataset, chunk, name):
            try:
                data, cell = encode_cell(
                    batch[name], name, replace(spec, codecs=codecs), first=chunk.first, dataset_id=manifest.id,
                    dataset_name=manifest.name, orientation=manifest.orientation, context=context,
                )  # fmt: skip
            except AgdError:
                continue  # not made for these values, or it needs what is lost as well
            if (cell.bytes, cell.checksum) == (noted.bytes, noted.checksum):
                yield _Taken(chunk, name, data, cell, exact=True)
                break
            if anew is None and needed_columns(codecs) in ((), needed_columns(spec.codecs)):
                anew = data, cell
        else:
            if anew is not None:
                other = anew[1].statistics != noted.statistics
                reason = different or (f"the manifest notes other statistics of {name}" if other else "")
                yield _Taken(chunk, name, *anew, exact=False, different=reason)


def _chains(dataset: Dataset, chunk: Chunk, name: str) -> list[Config]:
    """Codec chains that an object may have been stored with, the likeliest first."""
    spec = dataset.manifest.columns[name]
    chains = [spec.codecs, independent_codecs(name, spec)]
    chains += [c for profile in PROFILES for c in candidates(profile, name, spec.type)]
    with contextlib.suppress(AgdError):  # the header may be sound where the payload is not
        chains.insert(0, dataset.chunk_header(chunk, name).codecs)
    return [chain for i, chain in enumerate(chains) if chain not in chains[:i]]


def _difference(dataset: Dataset, chunk: Chunk, sound: dict[str, bytes], batch: Batch) -> str:
    """What shows that a batch is not of the records of a chunk; "" if nothing does."""
    for name in ("metadata", "bases", "qualities"):
        if name not in sound or name not in batch:
            continue
        try:
            column = dataset.decode_column(chunk, name, sound)
        except AgdError:
            continue  # stored as differences to what is lost
        ours, theirs = column, batch[name]
        assert isinstance(ours, Column)
        assert isinstance(theirs, Column)
        ours, theirs = ours.compact(), theirs.compact()
        if not (np.array_equal(ours.lengths, theirs.lengths) and np.array_equal(ours.values, theirs.values)):
            return f"{name} of the chunk differ from those of the source, which is another file"
    return ""


class _Surroundings:
    """What codecs may know of a chunk: its columns, and in the place of those that are lost the source's."""

    def __init__(self, own: Context, batch: Batch) -> None:
        self._own = own
        self._batch = batch

    @property
    def orientation(self) -> Orientation:
        return self._own.orientation

    def column(self, name: str) -> AnyColumn:
        try:
            return self._own.column(name)
        except AgdError:
            if name not in self._batch:
                raise
            return self._batch[name]

    def genome(self) -> tuple[U8, I64]:
        return self._own.genome()


def _recut(chunks: Sequence[Chunk], batches: Iterator[Batch]) -> Iterator[tuple[Chunk, Batch]]:
    """The records of each chunk."""
    rest: Batch | None = None
    for chunk in chunks:
        parts: list[Batch] = []
        missing = chunk.count
        while missing:
            if rest is None or not len(rest):
                rest = next(batches, None)
                if rest is None:
                    return
                rest = Batch(0, rest.columns)
            count = min(missing, len(rest))
            parts.append(rest.slice(0, count))
            rest = Batch(0, rest.slice(count, len(rest)).columns)
            missing -= count
        yield chunk, concat_batches(parts)
