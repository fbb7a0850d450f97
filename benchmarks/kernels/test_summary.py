"""Throughput of the kernels that tell what a chunk of alignments holds."""

from __future__ import annotations

import numpy as np

from agd.kernels import _native as kernels
from agd.kernels.alignments import arrays
from benchmarks.kernels.measure import Measure
from benchmarks.kernels.samples import Aligned, offsets_of


def test_reference_lengths(measure: Measure, ordered: Aligned, reads: int) -> None:
    cigar, out = ordered.lines.cigar, np.empty(reads, np.int64)
    values, offsets = cigar.values, offsets_of(cigar)
    measure("lengths", out.nbytes, lambda: kernels.reference_lengths(values, offsets, out), records=reads)


def test_summarise_alignments(measure: Measure, ordered: Aligned, reads: int) -> None:
    a = arrays(ordered.lines)
    fields = a.flag, a.reference, a.position, a.mate_reference, a.mapping_quality, a.cigar, a.cigar_offsets
    size = sum(field.nbytes for field in fields)
    measure("fields", size, lambda: kernels.summarise_alignments(*fields, None, 64), records=reads)
