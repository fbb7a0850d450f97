"""Finish whatever was run in parts: a step of a dataset, an import of many files, or a file that is exported."""

from __future__ import annotations

from agd.convert import bam_out, fastq_writer, many, sam_out
from agd.convert.pieces import SUFFIX, absolute
from agd.ops import finalise as steps
from agd.ops.finalise import FinaliseReport
from agd.ops.partition import load_parts
from agd.run import SILENT, Progress, Runner
from agd.storage import open_storage

JOINERS: dict[str, steps.Joiner] = {
    bam_out.OPERATION: bam_out.join_bam, sam_out.OPERATION: sam_out.join_sam,
    fastq_writer.OPERATION: fastq_writer.join_fastq, **many.JOINERS,
}  # fmt: skip


def finalise(
    url: str, *, runner: Runner | None = None, memory: int | None = None, progress: Progress = SILENT
) -> FinaliseReport:
    """Publish a step of a dataset whose parts are done, or join many imported files, or an exported one.

    Parameters
    ----------
    url : str
        Of the dataset, or of the (first) output of the export.
    runner, memory, progress
        As in all operations.

    Raises
    ------
    UsageError
        No part is done, or parts of different steps are.
    GapsError
        Some are missing; it names them.
    """
    beside = open_storage(absolute(url.rstrip("/")) + SUFFIX)
    storage = beside if load_parts(beside) else open_storage(url)
    return steps.finalise(storage, joiners=JOINERS, runner=runner, memory=memory, progress=progress)
