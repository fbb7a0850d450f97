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
from agd.errors import ColumnError, StorageError, UsageError
from agd.manifest import Chunk
from agd.ops.dedup_ends import Extraction, Libraries
from agd.ops.dedup_find import Finder, bytes_per_read
from agd.ops.dedup_load import Loader
from agd.ops.dedup_marks import marks_spec, marks_step, store_marks
from agd.ops.dedup_metrics import LibraryMetrics, picard_file
from agd.ops.dedup_remove import remove_duplicates
from agd.ops.dedup_shuffle import PARTITIONS
from agd.ops.lines import is_lines
from agd.ops.scan import chunk_bytes
from agd.ops.sort_spill import default_folder, spill_folder
from agd.run import SILENT, Progress, Runner, ThreadRunner, default_memory, items_in_flight
from agd.run.memory import BASE
from agd.storage import store_options
from agd.types import RecordType

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
    dataset: Dataset, *, remove: str | os.PathLike[str] | None = None, metrics: str | None = None,
    barcode_tag: str | None = None, optical_distance: int = 0, read_groups: bool = False, column: str = "duplicates",
    tmp: str | None = None, overwrite: bool = False, runner: Runner | None = None, memory: int | None = None,
    progress: Progress = SILENT, command: str = "", **options: Any,
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
    metrics : str, optional
        File for the metrics, in Picard's layout; a path or url.
    barcode_tag : str, optional
        Reads whose barcodes, in this tag, differ are no duplicates of each other.
    optical_distance : int
        Greatest difference in x and in y of optical duplicates, in the units of Illumina's names; 0: look for none.
    read_groups : bool
        Keep read groups apart, not only libraries.
    column : str
        Name of the new column of numbers: bit 0 duplicate, bit 1 optical. Only ``duplicates`` is folded into flags.
    tmp : str, optional
        Local folder for temporary files. Default: beside a local dataset, the system's for remote ones.
    overwrite : bool
        Replace marks that are there, or a dataset at ``remove``.
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
        There are no alignments, or there is such a column already.
    UsageError
        A parameter makes no sense.
    """
    begun = time.monotonic()
    _check(dataset, column, overwrite or remove is not None, optical_distance)
    libraries = Libraries.of(dataset.manifest.header, read_groups)
    extraction = Extraction.of(dataset.manifest, libraries, barcode_tag, optical_distance > 0)
    parameters = {"barcode_tag": barcode_tag, "optical_distance": optical_distance, "read_groups": read_groups}
    step = marks_step(parameters, command)
    with contextlib.ExitStack() as stack:
        if runner is None:
            runner = stack.enter_context(ThreadRunner())
        finder = _find(dataset, extraction, optical_distance, runner, memory, progress, stack, tmp)
        if remove is None:
            written = _publish(dataset, finder, column, parameters, step, overwrite, runner)
        else:
            written = remove_duplicates(
                dataset, finder.marks, os.fspath(remove), parameters, step, overwrite, runner, memory, progress, options
            )
        found = finder.metrics()
        if metrics is not None:
            write_text(metrics, picard_file(found, command))
    return DedupReport(
        len(dataset), finder.marked, tuple(found), written, finder.spilled,
        "" if remove is None else os.fspath(remove), round(time.monotonic() - begun, 3),
    )  # fmt: skip


def _check(dataset: Dataset, column: str, overwrite: bool, optical_distance: int) -> None:
    if "results" not in dataset.columns:
        raise ColumnError(f"{dataset.url}: there are no alignments", "align the reads first with 'agd align'")
    spec = dataset.manifest.columns.get(column)
    if spec is not None and spec.type is not RecordType.NUMBER:
        raise ColumnError(f"{dataset.url}: the column {column!r} is not one of marks", "choose another name")
    if spec is not None and not overwrite:
        raise ColumnError(f"{dataset.url}: duplicates are marked already", "use --overwrite to mark them again")
    if "metadata" not in dataset.columns and (is_lines(dataset.manifest) or optical_distance):
        raise ColumnError(f"{dataset.url}: there is no column 'metadata'", "names are needed to find mates, or places")
    if optical_distance < 0:
        raise UsageError("the optical distance is negative", "give 100 (or 2500 for patterned flow cells)")


def _find(
    dataset: Dataset, extraction: Extraction, distance: int, runner: Runner, memory: int | None, progress: Progress,
    stack: contextlib.ExitStack, tmp: str | None,
) -> Finder:
    memory = memory or default_memory()
    loader = Loader(dataset, extraction)
    item = chunk_bytes(dataset, [*loader.columns, *loader.alignments])
    fixed = _BYTES_PER_RECORD * len(dataset)
    everything = fixed + bytes_per_read(extraction) * len(dataset)
    # Two chunks for every worker, and everything, or what the largest parts take while they are worked on.
    spill = everything + 2 * runner.workers * item + BASE > memory
    fixed = fixed + 2 * runner.workers * everything // PARTITIONS if spill else everything
    ahead = items_in_flight(memory, item, runner.workers, fixed=fixed)
    folder = stack.enter_context(spill_folder(tmp or default_folder(dataset.url))) if spill else None
    finder = Finder(len(dataset), extraction, distance, folder)
    progress.begin("reading", len(dataset))
    fetched = runner.map(loader.fetch, dataset.chunks, on="io", ahead=ahead)
    for count in runner.map(lambda item: finder.add(loader.decode(*item)), fetched, on="cpu", ahead=ahead):
        progress.advance(count)
    progress.end()
    finder.find(lambda ordinals: loader.names(ordinals, runner), runner, progress)
    return finder


def _publish(
    dataset: Dataset, finder: Finder, column: str, parameters: Mapping[str, Any], step: Mapping[str, Any],
    overwrite: bool, runner: Runner,
) -> int:
    """Store the marks as a column of the dataset; returns the bytes written."""
    plan = {"operation": "dedup", "results": dataset.manifest.columns["results"].key, **parameters}
    draft = Draft.extend(dataset, {column: marks_spec(column)}, plan, replace=overwrite)
    try:
        chunks = store_marks(draft, column, finder, dataset.chunks, runner)
        draft.commit(chunks, steps=(step,))
    except Exception as error:
        # What a full disk or a lost network has stopped is taken up when this is run again.
        if not isinstance(error, StorageError):
            draft.abandon(draft.key(column, chunk.first) for chunk in dataset.chunks)
        raise
    return sum(chunk.cells[column].bytes for chunk in chunks)


def clear_duplicates(dataset: Dataset, *, column: str = "duplicates", command: str = "") -> Dataset:
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
    if dataset.manifest.columns[column].type is not RecordType.NUMBER:
        raise ColumnError(f"{dataset.url}: the column {column!r} is not one of marks", "choose another name")
    step = marks_step({"clear": column}, command)
    draft = Draft.extend(dataset, {}, {"operation": "dedup --clear", "column": column})
    chunks = [Chunk(chunk.first, chunk.count, {}) for chunk in dataset.chunks]
    return draft.commit(chunks, drop=[column], steps=(step,))


def write_text(url: str, text: str) -> None:
    """Write a small file to a path or url."""
    import fsspec

    try:
        with fsspec.open(url, "w", encoding="utf-8", **store_options(url, {})) as file:
            file.write(text)
    except OSError as error:
        raise StorageError(f"{url}: cannot be written: {error.strerror or error}", "choose another place") from error
