"""What a report counts of one chunk, and how it comes from a worker."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from agd.batch import Column
from agd.ops.handover import Arrays
from agd.ops.report.alignments import AlignmentCounts
from agd.ops.report.duplication import Sequences
from agd.ops.report.reads import ENDS, ReadCounts

_READS = ("quality", "base", "adapter", "mean")
_ALIGNMENTS = tuple(field.name for field in fields(AlignmentCounts))
_TOTALS = ("mismatches", "measured")


@dataclass(frozen=True, slots=True)
class Part:
    """What one chunk gives.

    Attributes
    ----------
    reads : ReadCounts
    sequences : list of Sequences
        Of each end.
    alignments : AlignmentCounts, or None
        None: the reads were never aligned.
    """

    reads: ReadCounts
    sequences: list[Sequences]
    alignments: AlignmentCounts | None

    def to_arrays(self) -> Arrays:
        """Everything as arrays, for :class:`agd.ops.handover.Handover`."""
        arrays = {name: getattr(self.reads, name) for name in _READS}
        for end in range(len(ENDS)):
            lengths, gc, found = self.reads.lengths[end], self.reads.gc[end], self.sequences[end]
            assert found.text.offsets is not None
            arrays |= {
                f"lengths{end}": np.array(list(lengths.items()), np.int64).reshape(-1, 2),
                f"gc{end}": np.array([(*pair, n) for pair, n in gc.items()], np.int64).reshape(-1, 3),
                f"hashes{end}": found.hashes, f"first{end}": found.first, f"counts{end}": found.counts,
                f"values{end}": found.text.values, f"offsets{end}": found.text.offsets,
                f"of{end}": np.array(found.reads),
            }  # fmt: skip
        if self.alignments is not None:
            arrays |= {f"alignments.{name}": np.asarray(getattr(self.alignments, name)) for name in _ALIGNMENTS}
        return arrays

    @staticmethod
    def from_arrays(arrays: Arrays) -> Part:
        """The part of :meth:`to_arrays`."""
        quality, base, adapter, mean = (arrays[name] for name in _READS)
        reads = ReadCounts(quality, base, adapter, mean)
        sequences = []
        for end in range(len(ENDS)):
            reads.lengths[end] = dict(arrays[f"lengths{end}"].tolist())
            reads.gc[end] = {(looked_at, strong): n for looked_at, strong, n in arrays[f"gc{end}"].tolist()}
            text = Column(arrays[f"values{end}"], arrays[f"offsets{end}"])
            hashes, first, counts = (arrays[f"{name}{end}"] for name in ("hashes", "first", "counts"))
            sequences.append(Sequences(hashes, first, counts, text, arrays[f"of{end}"].item()))
        if f"alignments.{_ALIGNMENTS[0]}" not in arrays:
            return Part(reads, sequences, None)
        found: dict[str, Any] = {name: arrays[f"alignments.{name}"] for name in _ALIGNMENTS}
        found |= {name: found[name].item() for name in _TOTALS}
        return Part(reads, sequences, AlignmentCounts(**found))
