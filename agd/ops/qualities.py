"""Sums of the qualities of alignment lines, as samtools has them: a quality that is missing counts as it is in BAM."""

from __future__ import annotations

import numpy as np

from agd import kernels
from agd.batch import I64, Batch, Column

#: A missing quality in BAM (SAM specification, section 4.2).
MISSING = 255


def quality_sums(lines: Batch, least: int = 0) -> I64:
    """Sum of the qualities of each line that are at least so large: int64, shape (lines,).

    Bases of lines without qualities count :data:`MISSING` each; lines without bases are 0.
    """
    qualities = (lines.ragged("qualities") if "qualities" in lines else Column.empty(len(lines))).compact()
    assert qualities.offsets is not None
    sums = np.empty(len(qualities), np.int64)
    kernels.quality_sums(np.ascontiguousarray(qualities.values), qualities.offsets, 33 + least, 33, sums)
    return sums + MISSING * missing_qualities(lines)


def missing_qualities(lines: Batch) -> I64:
    """Bases of each line that have no quality, 0 where there are qualities: int64, shape (lines,)."""
    bases = lines.ragged("bases").lengths if "bases" in lines else np.zeros(len(lines), np.int64)
    if "qualities" not in lines:
        return np.asarray(bases)
    return np.asarray(np.where(lines.ragged("qualities").lengths == 0, bases, 0))
