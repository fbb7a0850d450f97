"""From reads to sorted alignments, marked duplicates and BAM in one go; nothing intermediate is stored twice."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import agd
from agd.aligners import fused
from agd.aligners.fused import FusedReport, ReadSource, dataset_source
from agd.batch import Batch
from agd.convert.bam_out import export_bam
from agd.convert.fastq_batches import FastqBatches
from agd.convert.inputs import describe_input
from agd.convert.kinds import check_output_name
from agd.convert.outputs import open_output
from agd.dataset import Dataset
from agd.errors import UsageError
from agd.ops.digest import Digest
from agd.ops.sort_spill import default_folder
from agd.run import SILENT, Progress, Runner, runner_or_threads
from agd.scratch import scratch_folder
from agd.sinks import is_stream
from agd.types import DEFAULT_CHUNK_BYTES, DEFAULT_CHUNK_RECORDS
from agd.urls import Url, as_text


@dataclass(frozen=True, slots=True)
class PipelineReport:
    """What was done.

    Attributes
    ----------
    reads, records, mapped : int
        Reads, alignment lines, and primary lines that are mapped.
    duplicates : int or None
        Lines marked as duplicates, with their further alignments; None: not looked for.
    dataset, bam : str
        What was written; "" for nothing.
    spilled_bytes : int
        Bytes of temporary files of the sort.
    seconds : float
        Wall time.
    """

    reads: int
    records: int
    mapped: int
    duplicates: int | None
    dataset: str
    bam: str
    spilled_bytes: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    def describe(self) -> str:
        """For people, without the time."""
        share = 100 * self.mapped / max(1, self.reads)
        marked = "" if self.duplicates is None else f", {self.duplicates:,} duplicates"
        return f"{self.reads:,} reads, {share:.2f} % mapped{marked}"


def align_sorted(
    dataset: Dataset, reference: Url, output: Url, *, dedup: bool = False, bam: Url | None = None,
    runner: Runner | None = None, memory: int | None = None, progress: Progress = SILENT, command: str = "",
    **options: Any,
) -> PipelineReport:
    """Align the reads of a dataset into a new, sorted one.

    Parameters
    ----------
    dataset : Dataset
    reference : str or path
        FASTA, path or url.
    output : str or path
        Url of the sorted dataset.
    dedup : bool
        Mark duplicates.
    bam : str or path, optional
        BAM file to write, with its index.
    **options
        As for :func:`agd.aligners.fused.align_sorted`: ``aligner``, ``read_group``, ``by``, ….
    runner, memory, progress, command
        As in all operations.

    Returns
    -------
    PipelineReport
        Reads, alignments, duplicates, and the time that each step took.
    """
    reference, output, bam = as_text(reference), as_text(output), as_text(bam)
    if bam is not None:
        check_output_name(bam, "bam")
    with runner_or_threads(runner) as runner:
        source = dataset_source(dataset, runner)
        return _run(source, reference, output, bam, dedup, runner, memory, progress, command, options)


def pipeline(
    reads1: Url, reads2: Url | None = None, *, reference: Url, bam: Url | None = None, dataset: Url | None = None,
    interleaved: bool = False,
    dedup: bool = True, chunk_records: int = DEFAULT_CHUNK_RECORDS, chunk_bytes: int = DEFAULT_CHUNK_BYTES,
    runner: Runner | None = None, memory: int | None = None, progress: Progress = SILENT, command: str = "",
    **options: Any,
) -> PipelineReport:
    """From FASTQ to sorted alignments.

    Parameters
    ----------
    reads1, reads2 : str or path
        As for :func:`agd.import_fastq`.
    reference : str or path
        FASTA, path or url.
    bam : str or path, optional
        BAM file to write, with its index.
    dataset : str or path, optional
        Url of the sorted dataset; without it only the BAM file stays.
    dedup : bool
        Mark duplicates.
    **options
        As for :func:`agd.aligners.fused.align_sorted`.
    interleaved : bool
        ``reads1`` holds pairs: records 2i and 2i + 1.
    chunk_records, chunk_bytes : int
        A chunk ends after so many records, or so many bytes of one of its columns.
    runner, memory, progress, command
        As in all operations.

    Returns
    -------
    PipelineReport
        Reads, alignments, duplicates, and the time that each step took.

    Raises
    ------
    UsageError
        Neither ``bam`` nor ``dataset`` is asked for, or ``bam`` is named like a dataset.
    """
    reference, bam, dataset = as_text(reference), as_text(bam), as_text(dataset)
    if bam is None and dataset is None:
        raise UsageError("nothing to write", "give a BAM file, a dataset, or both")
    if bam is not None and bam.rstrip("/").endswith(".agd"):
        raise UsageError(f"{bam}: is named like a dataset and would be a BAM file", "write datasets with --dataset")
    if bam is not None:
        check_output_name(bam, "bam")
    paths = [path for path in (reads1, reads2) if path is not None]
    inputs = [describe_input(path) for path in paths]
    with contextlib.ExitStack() as stack:
        runner = stack.enter_context(runner_or_threads(runner))
        reads = stack.enter_context(FastqBatches(
            paths, interleaved=interleaved, chunk_records=chunk_records, chunk_bytes=chunk_bytes, runner=runner
        ))  # fmt: skip
        parameters = {"interleaved": interleaved, "chunk_records": chunk_records, "chunk_bytes": chunk_bytes}
        source = fastq_source(reads, inputs, parameters, command)
        if dataset is None:
            # A place for the dataset of which only the BAM file stays.
            folder = stack.enter_context(scratch_folder(default_folder(str(bam)), ".agd-pipeline-"))
            output = os.path.join(folder, "sorted.agd")
        else:
            output = dataset
        options |= {"chunk_records": chunk_records, "chunk_bytes": chunk_bytes}
        done = _run(source, reference, output, bam, dedup, runner, memory, progress, command, options)
    return done if dataset is not None else PipelineReport(**(asdict(done) | {"dataset": ""}))


def fastq_source(
    reads: FastqBatches, inputs: list[dict[str, Any]], parameters: Mapping[str, Any], command: str
) -> ReadSource:
    """FASTQ files as reads to be aligned."""

    def load(batch: Batch) -> tuple[Batch, Digest]:
        return batch, reads.digest(batch)

    step = {"program": "agd import fastq", "version": agd.__version__, "command": command,
            "parameters": {**parameters, "inputs": reads.paths}}  # fmt: skip
    return ReadSource(
        reads.batches, load, reads.mates == 2, "fastq", {"inputs": inputs, **parameters},
        max((batch.nbytes for batch in reads.head), default=0), max(map(len, reads.head), default=0), None,
        lambda: {"sources": reads.sources(), "steps": (step,)},
    )  # fmt: skip


def _run(
    source: ReadSource, reference: str, output: str, bam: str | None, dedup: bool, runner: Runner,
    memory: int | None, progress: Progress, command: str, options: dict[str, Any],
) -> PipelineReport:
    begun = time.monotonic()
    if bam is not None and not is_stream(bam):
        open_output(bam, compression="none").abort()  # where it cannot be written, nothing has to be aligned
    # A run that was stopped while it wrote the BAM file has published the dataset.
    done: FusedReport = fused.align_sorted(
        source, reference, output, dedup=dedup, again=bam is not None, runner=runner, memory=memory, progress=progress,
        command=command, **options,
    )  # fmt: skip
    if bam is not None:
        export_bam(Dataset.open(output), bam, runner=runner, memory=memory, progress=progress, command=command)
    return PipelineReport(
        done.reads, done.records, done.mapped, done.duplicates, output, bam or "", done.spilled_bytes,
        time.monotonic() - begun,
    )  # fmt: skip
