"""Readable numpy reference of every kernel (see :mod:`agd.kernels`)."""

from agd.kernels.reference.alignment import alignment_decode, alignment_encode, alignment_sizes
from agd.kernels.reference.bam import bam_decode, bam_encode, bam_measure, bam_scan, bam_sizes
from agd.kernels.reference.difference import md_bound, nm_md, reference_spans, unclipped_ends
from agd.kernels.reference.ragged import copy_spans, reverse_spans
from agd.kernels.reference.reads import fastq_format, name_mismatch
from agd.kernels.reference.tags import aux_codes, aux_merge, aux_numbers, aux_spans, aux_validate

__all__ = [
    "alignment_decode",
    "alignment_encode",
    "alignment_sizes",
    "aux_codes",
    "aux_merge",
    "aux_numbers",
    "aux_spans",
    "aux_validate",
    "bam_decode",
    "bam_encode",
    "bam_measure",
    "bam_scan",
    "bam_sizes",
    "copy_spans",
    "fastq_format",
    "md_bound",
    "name_mismatch",
    "nm_md",
    "reference_spans",
    "reverse_spans",
    "unclipped_ends",
]
