"""Throughput of the kernels that read, change and take apart the tags of alignments: those of bwa mem."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agd.batch import Column
from agd.kernels import _native as kernels
from benchmarks.kernels.measure import Measure
from benchmarks.kernels.samples import Aligned, offsets_of

XS, RG, MD = (int.from_bytes(tag, "little") for tag in (b"XS", b"RG", b"MD"))


def test_aux_validate(measure: Measure, aligned: Aligned, reads: int) -> None:
    tags = aligned.tags
    measure("tags", tags[0].nbytes, lambda: kernels.aux_validate(*tags), records=reads)


def test_aux_spans(measure: Measure, aligned: Aligned, reads: int) -> None:
    tags, (starts, ends) = aligned.tags, np.empty((2, reads), np.int64)
    measure("tags", tags[0].nbytes, lambda: kernels.aux_spans(*tags, MD, starts, ends), records=reads)


def test_aux_numbers(measure: Measure, aligned: Aligned, reads: int) -> None:
    tags, out, present = aligned.tags, np.zeros(reads, np.int64), np.zeros(reads, np.bool_)
    measure("tags", tags[0].nbytes, lambda: kernels.aux_numbers(*tags, XS, out, present), records=reads)


def test_aux_codes(measure: Measure, aligned: Aligned, reads: int) -> None:
    tags, (codes, firsts) = aligned.tags, np.zeros((2, reads), np.int64)
    assert kernels.aux_codes(*tags, RG, codes, firsts) == 1
    measure("tags", tags[0].nbytes, lambda: kernels.aux_codes(*tags, RG, codes, firsts), records=reads)


def test_aux_merge(measure: Measure, aligned: Aligned, reads: int) -> None:
    tags = aligned.tags
    added = Column.from_lengths(np.tile(np.frombuffer(b"NMC\x01", np.uint8), reads), np.full(reads, 4))
    others = added.values, offsets_of(added)
    size = tags[0].nbytes
    out, offsets = np.zeros(size + len(added.values), np.uint8), np.zeros(reads + 1, np.int64)
    measure("tags", size, lambda: kernels.aux_merge(*tags, *others, out, offsets), records=reads)


@pytest.fixture(scope="module")
def expected(aligned: Aligned, reads: int) -> tuple[Any, ...]:
    """NM and MD that the reference leads to expect."""
    genome, lines, (cigar, cigar_offsets) = aligned.genome, aligned.lines, aligned.cigar
    offsets = offsets_of(aligned.bases)
    nm, md_offsets = np.empty(reads, np.int32), np.empty(reads + 1, np.int64)
    md = np.empty(kernels.md_bound(genome.offsets, lines.reference, cigar, cigar_offsets, offsets), np.uint8)
    used = kernels.nm_md(
        genome.bases, genome.offsets, lines.reference, lines.position, cigar, cigar_offsets, aligned.bases.values,
        offsets, nm, md, md_offsets,
    )  # fmt: skip
    return nm, md[:used], md_offsets


def test_aux_omit(measure: Measure, aligned: Aligned, expected: tuple[Any, ...], reads: int) -> None:
    tags = aligned.tags
    out, offsets = np.empty_like(tags[0]), np.empty(reads + 1, np.int64)
    assert kernels.aux_omit(*tags, *expected, out, offsets) == 2 * reads
    measure("tags", tags[0].nbytes, lambda: kernels.aux_omit(*tags, *expected, out, offsets), records=reads)


def test_aux_restore(measure: Measure, aligned: Aligned, expected: tuple[Any, ...], reads: int) -> None:
    tags = aligned.tags
    short, offsets = np.empty_like(tags[0]), np.empty(reads + 1, np.int64)
    kernels.aux_omit(*tags, *expected, short, offsets)
    short, out, out_offsets = short[: offsets[-1]], np.empty_like(tags[0]), np.empty_like(offsets)
    assert kernels.aux_restore(short, offsets, *expected, out, out_offsets) == len(out)
    size = tags[0].nbytes
    measure("tags", size, lambda: kernels.aux_restore(short, offsets, *expected, out, out_offsets), records=reads)


def test_tag_split(measure: Measure, aligned: Aligned, reads: int) -> None:
    tags, codes = aligned.tags, np.empty(reads, np.uint32)
    measure("tags", tags[0].nbytes, lambda: kernels.tag_split(*tags, codes), records=reads)


def test_tag_join(measure: Measure, aligned: Aligned, reads: int) -> None:
    tags, codes = aligned.tags, np.empty(reads, np.uint32)
    lines, _, keys, streams = kernels.tag_split(*tags, codes)
    out, offsets = np.empty_like(tags[0]), np.empty(reads + 1, np.int64)
    measure("tags", out.nbytes, lambda: kernels.tag_join(codes, lines, keys, streams, out, offsets), records=reads)
