"""Take damaged objects of a dataset back from the file that was imported."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from agd.batch import Batch
from agd.cell import encode_cell
from agd.convert.against import open_records
from agd.convert.fastq_batches import FastqBatches, assemble
from agd.convert.records import to_batch
from agd.dataset import Dataset
from agd.errors import AgdError
from agd.kernels.ragged import concat_batches
from agd.manifest import Chunk, Manifest
from agd.ops.repair import RepairReport, damaged_cells, repair_manifest
from agd.run import Runner, ThreadRunner
from agd.samheader import references_of
from agd.storage import open_storage


def repair(
    url: str, *, sources: Sequence[str] = (), reference: str | None = None, dry_run: bool = False,
    runner: Runner | None = None, command: str = "",
) -> RepairReport:
    """Repair the dataset at a url: its manifest, and its objects as far as they can be had from their source.

    An object is written only when it is, bit for bit, the one that the manifest notes.

    Parameters
    ----------
    sources : sequence of str
        The BAM, SAM or CRAM file, or the one or two FASTQ files, that were imported.
    reference : str, optional
        For CRAM.
    dry_run : bool
        Write nothing.
    """
    runner = runner or ThreadRunner()
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
        for first, name, data in _from_source(dataset, places, sources, reference, runner):
            key = manifest.object_key(name, first)
            if not dry_run:
                storage.put(key, data)
            places[first].remove(name)
            actions.append(f"{key}: taken from {sources[0]}")
    damaged = [manifest.object_key(name, first) for first in sorted(places) for name in places[first]]
    notes += _remedies({name for names in places.values() for name in names}, manifest, bool(sources))
    return RepairReport(report.manifest, tuple(actions), tuple(damaged), tuple(notes))


def _remedies(columns: set[str], manifest: Manifest, tried: bool) -> list[str]:
    notes = []
    for name in sorted(columns):
        if name == "duplicates":
            notes.append("duplicates: mark them again with 'agd dedup --overwrite'")
        elif (name == "results" and manifest.names == "fastq") or name.startswith("secondary"):
            notes.append(f"{name}: align again with 'agd align --overwrite'")
        elif not tried:
            notes.append(f"{name}: give the file that was imported, with --from")
        else:
            notes.append(f"{name}: the source does not give these objects again; restore them from a copy, or import "
                         "the source anew")  # fmt: skip
    return notes


def _has_records(path: str) -> bool:
    return path.lower().endswith((".bam", ".sam", ".sam.gz", ".cram"))


def _from_source(
    dataset: Dataset, places: dict[int, list[str]], sources: Sequence[str], reference: str | None, runner: Runner
) -> Iterator[tuple[int, str, bytes]]:
    """Objects that the source gives again: first ordinal, column, bytes."""
    manifest = dataset.manifest
    if _has_records(sources[0]):
        with open_records(sources[0], reference, runner) as (reader, records):
            if references_of(reader.header) != manifest.references and manifest.references:
                return
            yield from _matching(dataset, places, (to_batch(0, r) for r in records))
    else:
        interleaved = len(sources) == 1 and manifest.pairing == "interleaved"
        with FastqBatches(sources, runner=runner, interleaved=interleaved) as reads:
            yield from _matching(dataset, places, (assemble(text) for text in reads.texts()))


def _matching(
    dataset: Dataset, places: dict[int, list[str]], batches: Iterator[Batch]
) -> Iterator[tuple[int, str, bytes]]:
    manifest = dataset.manifest
    for chunk, batch in _recut(dataset.chunks, batches):
        for name in tuple(places.get(chunk.first, ())):
            if name not in batch:
                continue
            spec = manifest.columns[name]
            try:
                data, cell = encode_cell(
                    batch[name], name, spec, first=chunk.first, dataset_id=manifest.id, dataset_name=manifest.name,
                    orientation=manifest.orientation,
                )  # fmt: skip
            except AgdError:
                continue  # stored in a way that needs other columns
            noted = chunk.cells[name]
            if (cell.bytes, cell.checksum) == (noted.bytes, noted.checksum):
                yield chunk.first, name, data


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
