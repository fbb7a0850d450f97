"""Count records by reference, as ``samtools idxstats``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from agd.batch import I64, Batch
from agd.dataset import Dataset
from agd.ops.handover import add_sparse, sparse
from agd.ops.scan import chunk_bytes, scan
from agd.run import SILENT, Progress, Runner, ThreadRunner, in_flight
from agd.types import Flag, Reference


@dataclass(frozen=True, slots=True)
class IdxstatsReport:
    """Records by reference.

    Attributes
    ----------
    references : tuple of Reference
    mapped, unmapped : ndarray of int64, shape (references + 1,)
        Records placed on each reference, with and without flag 0x4 off; the last entry is of those without a reference.
    """

    references: tuple[Reference, ...]
    mapped: I64
    unmapped: I64

    def text(self) -> str:
        """The same text as ``samtools idxstats``: name, length, mapped records, unmapped ones placed there."""
        rows = [(r.name, r.length) for r in self.references] + [("*", 0)]
        counts = zip(rows, self.mapped.tolist(), self.unmapped.tolist(), strict=True)
        return "".join(f"{name}\t{length}\t{mapped}\t{unmapped}\n" for (name, length), mapped, unmapped in counts)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON."""
        counts = zip(self.references, self.mapped.tolist(), self.unmapped.tolist(), strict=False)
        return {
            "references": [
                {"name": r.name, "length": r.length, "mapped": mapped, "unmapped": unmapped}
                for r, mapped, unmapped in counts
            ],
            "without_reference": int(self.mapped[-1] + self.unmapped[-1]),
        }


def idxstats(
    dataset: Dataset, *, runner: Runner | None = None, memory: int | None = None, progress: Progress = SILENT
) -> IdxstatsReport:
    """Count the records of every reference; reads the alignments only, in any order.

    Parameters
    ----------
    dataset : Dataset
    runner, memory, progress
        As in all operations.

    Returns
    -------
    IdxstatsReport
    """
    references = len(dataset.manifest.references)

    def count(lines: Batch) -> tuple[tuple[I64, I64], int]:
        alignments = lines.alignments()
        place = np.where(alignments.reference < 0, references, alignments.reference).astype(np.int64)
        unmapped = (alignments.flag & Flag.UNMAPPED) != 0
        return sparse(np.bincount(place * 2 + unmapped)), len(lines)

    runner = runner or ThreadRunner()
    ahead = in_flight(runner, memory, chunk_bytes(dataset, []))
    total = np.zeros(2 * references + 2, np.int64)
    progress.begin("counting", len(dataset), "records")
    for counts, records in scan(dataset, count, runner=runner, ahead=ahead, columns=[]):
        add_sparse(total, counts)
        progress.advance(records)
    progress.end()
    return IdxstatsReport(dataset.manifest.references, total[0::2], total[1::2])
