"""Readable numpy reference of every kernel (see :mod:`agd.kernels`)."""

from agd.kernels.reference.alignment import alignment_decode, alignment_encode, alignment_sizes
from agd.kernels.reference.alignment_rows import alignment_pack, alignment_unpack
from agd.kernels.reference.bam import bam_decode, bam_encode, bam_measure, bam_places, bam_scan, bam_sizes
from agd.kernels.reference.bases import (
    base2_pack,
    base2_unpack,
    base3_exceptions,
    base3_pack,
    base3_unpack,
    fill_runs,
)
from agd.kernels.reference.checksum import checksum, crc32, record_crcs, span_product
from agd.kernels.reference.coverage import add_spans, aligned_blocks, aligned_qualities
from agd.kernels.reference.cycles import base_cycles, quality_cycles
from agd.kernels.reference.derive import aux_omit, aux_restore
from agd.kernels.reference.difference import md_bound, nm_md, reference_spans, unclipped_ends
from agd.kernels.reference.duplicates import (
    best_of_groups,
    deal_rows,
    find_members,
    hash_spans,
    optical_duplicates,
    quality_sums,
    sign_ends,
)
from agd.kernels.reference.fastq import fastq_scan
from agd.kernels.reference.gather import gather_packed, gather_spans, gather_starts
from agd.kernels.reference.hits import collect_hits, finish_hits, span_strings
from agd.kernels.reference.mates import expand_flags, expand_links, expand_mate_fields, fold_mates, pair_lengths
from agd.kernels.reference.names import (
    follow_links,
    name_fields,
    name_links,
    name_numbers,
    name_shapes,
    name_sizes,
    span_numbers,
    take_names,
    write_names,
)
from agd.kernels.reference.order import argsort_bytes, argsort_u64, coordinate_keys, name_keys
from agd.kernels.reference.planes import folded_bits, planes_join, planes_split
from agd.kernels.reference.predict import fill_zeros, predict_bases
from agd.kernels.reference.quality_model import quality_decode, quality_encode
from agd.kernels.reference.ragged import copy_spans, reverse_spans
from agd.kernels.reference.rans import (
    pair_counts,
    rans_counts,
    rans_decode,
    rans_encode,
    rans_table,
    repeats_join,
    repeats_split,
    symbols_pack,
    symbols_unpack,
)
from agd.kernels.reference.reads import fastq_format, name_ends, same_names
from agd.kernels.reference.sam import sam_capacity, sam_format, sam_format_bound, sam_parse
from agd.kernels.reference.streams import (
    link_mates,
    number_cigars,
    tag_join,
    tag_split,
)
from agd.kernels.reference.summary import reference_lengths, summarise_alignments
from agd.kernels.reference.tags import aux_codes, aux_merge, aux_numbers, aux_spans, aux_validate

__all__ = [
    "add_spans",
    "aligned_blocks",
    "aligned_qualities",
    "alignment_decode",
    "alignment_encode",
    "alignment_pack",
    "alignment_sizes",
    "alignment_unpack",
    "argsort_bytes",
    "argsort_u64",
    "aux_codes",
    "aux_merge",
    "aux_numbers",
    "aux_omit",
    "aux_restore",
    "aux_spans",
    "aux_validate",
    "bam_decode",
    "bam_encode",
    "bam_measure",
    "bam_places",
    "bam_scan",
    "bam_sizes",
    "base2_pack",
    "base2_unpack",
    "base3_exceptions",
    "base3_pack",
    "base3_unpack",
    "base_cycles",
    "best_of_groups",
    "checksum",
    "collect_hits",
    "coordinate_keys",
    "copy_spans",
    "crc32",
    "deal_rows",
    "expand_flags",
    "expand_links",
    "expand_mate_fields",
    "fastq_format",
    "fastq_scan",
    "fill_runs",
    "fill_zeros",
    "find_members",
    "finish_hits",
    "fold_mates",
    "folded_bits",
    "follow_links",
    "gather_packed",
    "gather_spans",
    "gather_starts",
    "hash_spans",
    "link_mates",
    "md_bound",
    "name_ends",
    "name_fields",
    "name_keys",
    "name_links",
    "name_numbers",
    "name_shapes",
    "name_sizes",
    "nm_md",
    "number_cigars",
    "optical_duplicates",
    "pair_counts",
    "pair_lengths",
    "planes_join",
    "planes_split",
    "predict_bases",
    "quality_cycles",
    "quality_decode",
    "quality_encode",
    "quality_sums",
    "rans_counts",
    "rans_decode",
    "rans_encode",
    "rans_table",
    "record_crcs",
    "reference_lengths",
    "reference_spans",
    "repeats_join",
    "repeats_split",
    "reverse_spans",
    "sam_capacity",
    "sam_format",
    "sam_format_bound",
    "sam_parse",
    "same_names",
    "sign_ends",
    "span_numbers",
    "span_product",
    "span_strings",
    "summarise_alignments",
    "symbols_pack",
    "symbols_unpack",
    "tag_join",
    "tag_split",
    "take_names",
    "unclipped_ends",
    "write_names",
]
