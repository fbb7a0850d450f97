"""Import FASTQ."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import agd
from agd.batch import Batch
from agd.convert.fastq_batches import FastqBatches, check_request
from agd.convert.importing import Importing, Once, specs_of
from agd.convert.inputs import describe_input, is_known
from agd.convert.reports import ImportReport, import_report
from agd.dataset import Dataset
from agd.draft import Draft
from agd.manifest import Chunk
from agd.ops.digest import Digest
from agd.run import SILENT, Progress, Runner, in_flight, runner_or_threads
from agd.types import DEFAULT_CHUNK_BYTES, DEFAULT_CHUNK_RECORDS, Orientation, SortOrder

COLUMNS = ("bases", "qualities", "metadata")


def import_fastq(
    reads1: str | os.PathLike[str], reads2: str | os.PathLike[str] | None = None, *, output: str | os.PathLike[str],
    interleaved: bool = False, name: str | None = None, chunk_records: int = DEFAULT_CHUNK_RECORDS,
    chunk_bytes: int = DEFAULT_CHUNK_BYTES, codecs: Mapping[str, list[dict[str, Any]]] | None = None,
    profile: str | None = None, overwrite: bool = False, runner: Runner | None = None, memory: int | None = None,
    progress: Progress = SILENT, command: str = "",
) -> ImportReport:
    """Make a dataset of one FASTQ file, or of the two files of paired reads.

    Parameters
    ----------
    reads1 : str or path
        FASTQ: a path or url, "-" for standard input; plain or compressed, which is found out from the content.
    reads2 : str or path, optional
        The second reads of the pairs, in the order of the first.
    output : str or path
        Where the dataset will be.
    interleaved : bool
        ``reads1`` holds pairs: records 2i and 2i + 1.
    name : str, optional
        Name of the dataset: the first part of its object names. Default: from ``output``.
    chunk_records : int
        Records in a chunk at most; pairs are never split, so a chunk of pairs has 2 at least and an even number.
    chunk_bytes : int
        A chunk ends with the record (or pair) that brings one of its columns to this many decoded bytes.
    codecs : mapping of str to list of dict, optional
        Codec chains of columns that are to be stored in another way than by default.
    profile : str, optional
        "fast", "balanced" or "small": the other columns are stored with its codecs, chosen on a sample of every chunk.
    overwrite : bool
        Replace a dataset that is at ``output``.
    runner : Runner, optional
        Default: threads, one for each processor.
    memory : int, optional
        Bound on the peak resident set, bytes.
    progress : Progress
    command : str
        Command line for the provenance.

    Returns
    -------
    ImportReport

    Raises
    ------
    InputError
        An input is not FASTQ, is damaged, or the two files are out of step. Nothing is left at ``output``.
    DatasetExistsError
        There is a dataset at ``output``.

    Examples
    --------
    >>> report = agd.import_fastq("R1.fastq.gz", "R2.fastq.gz", output="new.agd", chunk_records=200)
    >>> len(agd.open("new.agd")), len(agd.open("new.agd").chunks)
    (600, 3)
    """
    begun = time.perf_counter()
    paths = check_request(
        [path for path in (reads1, reads2) if path is not None], interleaved, chunk_records, chunk_bytes
    )
    inputs = [describe_input(path) for path in paths]
    specs = specs_of(COLUMNS, codecs)
    parameters: dict[str, Any] = {
        "interleaved": interleaved, "chunk_records": chunk_records, "chunk_bytes": chunk_bytes,
    } | ({"profile": profile} if profile else {})  # fmt: skip
    plan = {
        "operation": "import fastq", "inputs": inputs, **parameters, "codecs": {n: s.codecs for n, s in specs.items()},
    }  # fmt: skip
    with contextlib.ExitStack() as stack:
        runner = stack.enter_context(runner_or_threads(runner))
        reads = stack.enter_context(FastqBatches(
            paths, interleaved=interleaved, chunk_records=chunk_records, chunk_bytes=chunk_bytes, runner=runner
        ))  # fmt: skip
        # The first chunk is read before anything that is to be replaced is gone.
        ahead = chunks_ahead(reads.head, memory, runner)
        draft = Draft.create(
            output, specs, plan, orientation=Orientation.READ, name=name, overwrite=overwrite, profile=profile,
            chosen=codecs or (),
        )  # fmt: skip
        step = {"program": "agd import fastq", "version": agd.__version__, "command": command,
                "parameters": parameters | {"inputs": paths}}  # fmt: skip
        # With the default codecs it is reading that takes longest: a chunk more that waits would only take memory,
        # which costs time to get. Slow codecs must not be kept waiting.
        at_work = min(ahead, runner.workers + (1 if profile or codecs else 0))
        dataset = _store(reads, draft, step, keep=all(map(is_known, inputs)), runner=runner,
                         ahead=(at_work, max(1, ahead // 2)), progress=progress)  # fmt: skip
        return import_report([dataset], reads.bytes_in, begun)


def _store(
    reads: FastqBatches, draft: Draft, step: Mapping[str, Any], *, keep: bool, runner: Runner,
    ahead: tuple[int, int], progress: Progress,
) -> Dataset:
    """Store all reads, and publish them."""

    def load(item: Once[Batch]) -> tuple[Batch, Digest]:
        batch = item.take()
        return batch, reads.digest(batch)

    def fields(chunks: list[Chunk]) -> dict[str, Any]:
        return {
            "names": "fastq", "pairing": "interleaved" if reads.mates == 2 else "single",
            "sort_order": SortOrder.UNSORTED, "steps": (step,), "sources": reads.sources(),
        }  # fmt: skip

    return Importing(draft, load, keep=keep).run(
        map(Once, reads.batches()), fields, runner=runner, ahead=ahead, progress=progress, unit="reads"
    )


def chunks_ahead(head: Sequence[Batch], memory: int | None, runner: Runner) -> int:
    """Chunks that may be in memory, going by the first one: beside its columns there is their code."""
    item = int(2.0 * max((batch.nbytes for batch in head), default=0)) + (8 << 20)
    return in_flight(runner, memory, item, fixed=64 << 20)
