"""Mark duplicates: one small column, from which every reader makes flag 0x400."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agd.dataset import Dataset
from agd.draft import Draft
from agd.errors import ColumnError, UsageError
from agd.generations import load_manifest
from agd.manifest import Chunk, object_key
from agd.ops.dedup_ends import Extraction, Libraries
from agd.ops.dedup_find import Extract, Finder, bytes_per_read
from agd.ops.dedup_load import Loader, extracts
from agd.ops.dedup_marks import MARKS, is_marks, marks_spec, marks_step, store_marks
from agd.ops.dedup_metrics import LibraryMetrics, picard_file
from agd.ops.dedup_parts import set_aside_extracts
from agd.ops.dedup_remove import remove_duplicates
from agd.ops.dedup_shuffle import PARTITIONS
from agd.ops.handover import Arrays, Handover, unpack
from agd.ops.lines import is_lines
from agd.ops.own import check_name
from agd.ops.partition import Joining, Partition
from agd.ops.scan import chunk_bytes
from agd.ops.sort_spill import default_folder, spill_folder
from agd.run import SILENT, Progress, Runner, ThreadRunner, in_flight, local_runner, memory_of
from agd.run.memory import BASE
from agd.sinks import write_text
from agd.urls import Url, as_text

#: Bytes in memory for each record whatever is spilled: its mark, its flag.
_BYTES_PER_RECORD = 3


@dataclass(frozen=True, slots=True)
class DedupReport:
    """What was found.

    Attributes
    ----------
    records : int
        Records of the dataset.
    marked : int
        Records marked: duplicates, and their further alignments and unmapped mates.
    libraries : tuple of LibraryMetrics
    written_bytes : int
        Bytes of all objects that were written, without the manifest.
    spilled_bytes : int
        Bytes of temporary files.
    output : str
        The dataset without duplicates; "" if none was asked for.
    seconds : float
        Wall time.
    """

    records: int
    marked: int
    libraries: tuple[LibraryMetrics, ...]
    written_bytes: int
    spilled_bytes: int
    output: str
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "records": self.records, "marked": self.marked, "libraries": [x.to_json() for x in self.libraries],
            "written_bytes": self.written_bytes, "spilled_bytes": self.spilled_bytes, "output": self.output,
            "seconds": self.seconds,
        }  # fmt: skip


def dedup(
    dataset: Dataset, *, remove: Url | None = None, metrics: Url | None = None,
    barcode_tag: str | None = None, optical_distance: int = 0, read_groups: bool = False, column: str = MARKS,
    tmp: Url | None = None, overwrite: bool = False, partition: Partition | None = None, runner: Runner | None = None,
    memory: int | None = None, progress: Progress = SILENT, command: str = "", **options: Any,
) -> DedupReport:
    """Mark the duplicates of a dataset, in any order of its records.

    Reads are duplicates under the rules of ``samtools markdup``: pairs whose two unclipped outer ends, orientation and
    library are the same, and single reads whose unclipped 5' end and strand are those of another read of the library.
    The pair (or read) with the greatest sum of base qualities of at least 15 is kept; of equal ones that of the least
    name. A single read at an end of a pair is always the duplicate. Secondary and supplementary alignments and unmapped
    mates are marked with the read that they belong to. Reads that failed quality control are left alone.

    Parameters
    ----------
    dataset : Dataset
        Aligned, sorted or not. Marks that are there already count nothing.
    remove : str or path, optional
        Write a dataset without the duplicates here, and leave this one as it is.
    metrics : str or path, optional
        File for the metrics, in Picard's layout; a path or url.
    barcode_tag : str, optional
        Reads whose barcodes, in this tag, differ are no duplicates of each other.
    optical_distance : int
        Greatest difference in x and in y of optical duplicates, in the units of Illumina's names; 0: look for none.
    read_groups : bool
        Keep read groups apart, not only libraries.
    column : str
        Name of the new column of numbers: bit 0 duplicate, bit 1 optical. Only ``duplicates`` is folded into flags.
    tmp : str or path, optional
        Local folder for temporary files. Default: beside a local dataset, the system's for remote ones.
    overwrite : bool
        Replace marks that are there, or a dataset at ``remove``.
    partition : Partition, optional
        Read this part of the chunks only, and store what the search needs of them;
        :func:`agd.ops.finalise.finalise` searches and publishes when all parts are done.
    runner, memory, progress, command
        As in all operations.
    **options
        For fsspec, about ``remove``.

    Returns
    -------
    DedupReport

    Raises
    ------
    ColumnError
        There are no alignments, there is such a column already, or its name is not possible.
    UsageError
        A parameter makes no sense.

    Examples
    --------
    >>> report = agd.dedup(agd.open("sorted.agd"))
    >>> ds = agd.open("sorted.agd")
    >>> ds.columns[-1], ds.filter(flags="DUPLICATE").count() > 0
    ('duplicates', True)
    """
    begun = time.monotonic()
    metrics, tmp = as_text(metrics), as_text(tmp)
    _check(dataset, column, overwrite or remove is not None, optical_distance, partition, remove)
    libraries = Libraries.of(dataset.manifest.header, read_groups)
    extraction = Extraction.of(dataset.manifest, libraries, barcode_tag, optical_distance > 0)
    parameters = {"barcode_tag": barcode_tag, "optical_distance": optical_distance, "read_groups": read_groups}
    step = marks_step(parameters, command)
    with contextlib.ExitStack() as stack:
        if runner is None:
            runner = stack.enter_context(ThreadRunner())
        if partition is not None:
            draft = begin_marks(Loader(dataset, extraction), column, parameters, overwrite)
            about = {"column": column, "step": step, "metrics": metrics}
            records, written = set_aside_extracts(
                dataset, draft, extraction, partition, about, overwrite, runner, memory, progress
            )
            return DedupReport(records, 0, (), written, 0, "", round(time.monotonic() - begun, 3))
        finder = _find(dataset, extraction, optical_distance, runner, memory, progress, stack, tmp)
        found = finder.metrics()
        if metrics is not None:  # before anything is published, so that a step that stops here can be run again
            write_text(metrics, picard_file(found, command))
        if remove is None:
            written = _publish(Loader(dataset, extraction), finder, column, parameters, step, overwrite, runner)
        else:
            written = remove_duplicates(
                dataset, finder.marks, os.fspath(remove), parameters, step, overwrite, local_runner(runner), memory,
                progress, options,
            )  # fmt: skip
    return DedupReport(
        len(dataset), finder.marked, tuple(found), written, finder.spilled,
        "" if remove is None else os.fspath(remove), round(time.monotonic() - begun, 3),
    )  # fmt: skip


def _check(
    dataset: Dataset, column: str, overwrite: bool, optical_distance: int, partition: Partition | None, remove: object
) -> None:
    if "results" not in dataset.columns:
        raise ColumnError(f"{dataset.url}: there are no alignments", "align the reads first with 'agd align'")
    if column in dataset.columns and not is_marks(dataset.manifest, column):
        raise ColumnError(f"{dataset.url}: the column {column!r} is not one of marks", "choose another name")
    if column != MARKS:
        check_name(column)
    if column in dataset.columns and not overwrite:
        raise ColumnError(f"{dataset.url}: duplicates are marked already", "use --overwrite to mark them again")
    if "metadata" not in dataset.columns and (is_lines(dataset.manifest) or optical_distance):
        raise ColumnError(f"{dataset.url}: there is no column 'metadata'", "names are needed to find mates, or places")
    if partition is not None and remove is not None:
        raise UsageError("parts mark duplicates only", "run with --remove, and without --partition, after that")
    if optical_distance < 0:
        raise UsageError("the optical distance is negative", "give 100 (or 2500 for patterned flow cells)")


def _find(
    dataset: Dataset, extraction: Extraction, distance: int, runner: Runner, memory: int | None, progress: Progress,
    stack: contextlib.ExitStack, tmp: str | None,
) -> Finder:
    loader = Loader(dataset, extraction)
    finder, ahead = make_finder(loader, distance, runner, memory, stack, tmp)
    progress.begin("reading", len(dataset))
    if local_runner(runner) is runner:

        def work(extract: tuple[Chunk, Extract]) -> Chunk:
            finder.take(extract[0].first, extract[1])  # on all threads at one time
            return extract[0]

        for chunk in extracts(loader, dataset.chunks, work, runner, ahead):
            progress.advance(chunk.count)
    else:
        handover = Handover.of(runner, dataset.storage)

        def give(extract: tuple[Chunk, Extract]) -> tuple[Chunk, Arrays | str]:
            return extract[0], handover.give(extract[0].first, extract[1].arrays())

        for chunk, given in extracts(loader, dataset.chunks, give, runner, ahead):
            finder.take(chunk.first, Extract.from_arrays(handover.take(given)))
            progress.advance(chunk.count)
    progress.end()
    local = local_runner(runner)
    finder.find(lambda ordinals: loader.names(ordinals, local), local, progress)
    return finder


def make_finder(
    loader: Loader, distance: int, runner: Runner, memory: int | None, stack: contextlib.ExitStack, tmp: str | None,
) -> tuple[Finder, int]:
    """A search within its memory, and the chunks that may be in flight."""
    memory, workers = memory_of(runner, memory), local_runner(runner).workers
    dataset, extraction = loader.dataset, loader.extraction
    item = chunk_bytes(dataset, [*loader.columns, *loader.alignments])
    fixed = _BYTES_PER_RECORD * len(dataset)
    everything = fixed + bytes_per_read(extraction) * len(dataset)
    # Two chunks for every worker, and everything, or what the largest parts take while they are worked on.
    spill = everything + 2 * workers * item + BASE > memory
    fixed = fixed + 2 * workers * everything // PARTITIONS if spill else everything
    ahead = in_flight(runner, memory, item, fixed=fixed)
    folder = stack.enter_context(spill_folder(tmp or default_folder(dataset.url))) if spill else None
    return Finder(len(dataset), extraction, distance, folder), ahead


def begin_marks(loader: Loader, column: str, parameters: Mapping[str, Any], overwrite: bool) -> Draft:
    """Draft of the column of marks."""
    dataset, plan = loader.dataset, {"operation": "dedup", **parameters}
    return Draft.extend(dataset, {column: marks_spec(column)}, plan, replace=overwrite, reads=loader.reads)


def _publish(
    loader: Loader, finder: Finder, column: str, parameters: Mapping[str, Any], step: Mapping[str, Any],
    overwrite: bool, runner: Runner,
) -> int:
    """Store the marks as a column of the dataset; returns the bytes written."""
    draft = begin_marks(loader, column, parameters, overwrite)
    runner = local_runner(runner)  # the marks are here, and small
    try:
        chunks = store_marks(draft, column, finder, loader.dataset.chunks, runner)
        draft.commit(chunks, steps=(step,))
    except BaseException as error:
        draft.failed(error)
        raise
    return sum(chunk.cells[column].bytes for chunk in chunks)


def finish_dedup(joining: Joining) -> Dataset:
    """Search and publish what parts have prepared."""
    latest, about = joining.latest, joining.parts[0].fields
    assert latest is not None
    dataset, plan, column = Dataset(joining.storage, latest), joining.parts[0].plan, about["column"]
    parameters = {name: plan[name] for name in ("barcode_tag", "optical_distance", "read_groups")}
    libraries = Libraries.of(latest.header, parameters["read_groups"])
    extraction = Extraction.of(latest, libraries, parameters["barcode_tag"], parameters["optical_distance"] > 0)
    spec, runner = joining.parts[0].columns[column], local_runner(joining.runner)
    with contextlib.ExitStack() as stack:
        loader = Loader(dataset, extraction)
        finder, ahead = make_finder(loader, parameters["optical_distance"], runner, joining.memory, stack, None)

        def take(chunk: Chunk) -> None:
            key = object_key(latest.name, chunk.first, spec.key)
            finder.take(chunk.first, Extract.from_arrays(unpack(joining.storage.get(key))))

        for _ in runner.map(take, joining.chunks, on="io", ahead=ahead):
            pass
        finder.find(lambda ordinals: loader.names(ordinals, runner), runner, joining.progress)
        if about["metrics"] is not None:
            write_text(about["metrics"], picard_file(finder.metrics(), about["step"]["command"]))
        _publish(loader, finder, column, parameters, about["step"], joining.parts[0].replace, runner)
    return Dataset(dataset.storage, load_manifest(dataset.storage))


def clear_duplicates(dataset: Dataset, *, column: str = MARKS, command: str = "") -> Dataset:
    """Publish a generation without the marks; the flags are then those of the alignments themselves.

    Parameters
    ----------
    dataset : Dataset
    column : str
        The column of marks.
    command : str
        Command line for the provenance.

    Raises
    ------
    ColumnError
        There is no such column, or it is not one of marks.
    """
    dataset.resolve([column])
    if not is_marks(dataset.manifest, column):
        raise ColumnError(
            f"{dataset.url}: the column {column!r} is not one of marks", "'agd column drop' takes out any column"
        )
    step = marks_step({"clear": column}, command)
    draft = Draft.extend(dataset, {}, {"operation": "dedup --clear", "column": column})
    chunks = [Chunk(chunk.first, chunk.count, {}) for chunk in dataset.chunks]
    return draft.commit(chunks, drop=[column], steps=(step,))
