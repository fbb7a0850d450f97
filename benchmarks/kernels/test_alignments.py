"""Throughput of the kernels for alignments: their messages, rows and CIGARs, and what the reference says of them.

Run with ``pytest benchmarks/kernels/test_alignments.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agd.aligners.finish import ALTERNATIVE_RATIO, ALTERNATIVES
from agd.batch import Column
from agd.kernels import _native as kernels
from agd.kernels import alignments
from agd.kernels.alignments import AlignmentArrays
from agd.kernels.hits import MINIBWA_SCORING
from benchmarks.kernels.measure import Measure
from benchmarks.kernels.samples import Aligned, hit_objects, offsets_of


@pytest.fixture(scope="module")
def arrays(aligned: Aligned) -> AlignmentArrays:
    """The alignments as the kernels take them."""
    return alignments.arrays(aligned.lines)


@pytest.fixture(scope="module")
def messages(aligned: Aligned) -> Column:
    """The same as protobuf."""
    return alignments.encode(aligned.lines)


def test_alignment_sizes(measure: Measure, arrays: AlignmentArrays, messages: Column, reads: int) -> None:
    sizes = np.empty(reads, np.int64)
    measure("protobuf", messages.values.nbytes, lambda: kernels.alignment_sizes(arrays, sizes), records=reads)


def test_alignment_encode(measure: Measure, arrays: AlignmentArrays, messages: Column, reads: int) -> None:
    out, offsets = np.empty_like(messages.values), offsets_of(messages)
    measure("protobuf", out.nbytes, lambda: kernels.alignment_encode(arrays, out, offsets), records=reads)


def test_alignment_decode(measure: Measure, arrays: AlignmentArrays, messages: Column, reads: int) -> None:
    data, offsets = messages.values, offsets_of(messages)
    out = AlignmentArrays.allocate(reads, len(arrays.cigar), len(arrays.tags))
    measure("protobuf", data.nbytes, lambda: kernels.alignment_decode(data, offsets, out), records=reads)


def test_alignment_pack(measure: Measure, aligned: Aligned, arrays: AlignmentArrays, reads: int) -> None:
    out, offsets = np.empty(alignments.packed_bytes(aligned.lines), np.uint8), np.empty(reads + 1, np.int64)
    measure("rows", out.nbytes, lambda: kernels.alignment_pack(arrays, out, offsets), records=reads)


def test_alignment_unpack(measure: Measure, aligned: Aligned, arrays: AlignmentArrays, reads: int) -> None:
    rows, out = alignments.pack(aligned.lines), AlignmentArrays.allocate(reads, len(arrays.cigar), len(arrays.tags))
    offsets = offsets_of(rows)
    measure("rows", rows.nbytes, lambda: kernels.alignment_unpack(rows.values, offsets, out), records=reads)


def test_reference_spans(measure: Measure, aligned: Aligned, reads: int) -> None:
    cigar, (query, reference) = aligned.cigar, np.empty((2, reads), np.int64)
    measure("CIGAR", cigar[0].nbytes, lambda: kernels.reference_spans(*cigar, query, reference), records=reads)


def test_unclipped_ends(measure: Measure, aligned: Aligned, reads: int) -> None:
    position, cigar, (start, end) = aligned.lines.position, aligned.cigar, np.empty((2, reads), np.int64)
    measure("CIGAR", cigar[0].nbytes, lambda: kernels.unclipped_ends(position, *cigar, True, start, end), records=reads)


def test_md_bound(measure: Measure, aligned: Aligned, reads: int) -> None:
    place, cigar, offsets = (aligned.genome.offsets, aligned.lines.reference), aligned.cigar, offsets_of(aligned.bases)
    measure("CIGAR", cigar[0].nbytes, lambda: kernels.md_bound(*place, *cigar, offsets), records=reads)


@pytest.mark.parametrize("order", ["sequencer", "coordinate"])
def test_nm_md(measure: Measure, aligned: Aligned, ordered: Aligned, reads: int, order: str) -> None:
    of = ordered if order == "coordinate" else aligned
    place, cigar, bases = (of.genome.offsets, of.lines.reference), of.cigar, (of.bases.values, offsets_of(of.bases))
    room = kernels.md_bound(*place, *cigar, bases[1])
    out = np.empty(reads, np.int32), np.empty(room, np.uint8), np.empty(reads + 1, np.int64)
    measure(
        "bases", bases[0].nbytes,
        lambda: kernels.nm_md(of.genome.bases, *place, of.lines.position, *cigar, *bases, *out), records=reads,
    )  # fmt: skip


@pytest.mark.parametrize("turned", [False, True])
def test_predict_bases(measure: Measure, ordered: Aligned, reads: int, turned: bool) -> None:
    lines, genome = ordered.lines, ordered.genome
    turn = (lines.flag & 0x10 != 0) & turned
    place = genome.bases, genome.offsets, lines.reference, lines.position, *ordered.cigar
    offsets, out = offsets_of(ordered.bases), np.empty_like(ordered.bases.values)
    measure("bases", out.nbytes, lambda: kernels.predict_bases(*place, turn, offsets, out), records=reads)


def test_fill_zeros(measure: Measure, ordered: Aligned, reads: int) -> None:
    lines, genome, bases = ordered.lines, ordered.genome, ordered.bases
    values = np.empty_like(bases.values)
    kernels.predict_bases(
        genome.bases, genome.offsets, lines.reference, lines.position, *ordered.cigar, np.zeros(reads, np.bool_),
        offsets_of(bases), values,
    )  # fmt: skip
    free = np.flatnonzero(values == 0)
    rest = bases.values[free]

    def empty() -> None:
        values[free] = 0

    measure("bases", values.nbytes, lambda: kernels.fill_zeros(values, rest), records=reads, before=empty)


def test_collect_hits(measure: Measure, aligned: Aligned, reads: int) -> None:
    results, contigs = list(hit_objects(aligned.hits)), {c.name: i for i, c in enumerate(aligned.genome.contigs)}
    size = sum(values.nbytes for values in aligned.hits)
    measure("hits", size, lambda: kernels.collect_hits(results, contigs), records=reads)


def finished(aligned: Aligned, references: Column) -> tuple[Any, ...]:
    """What the kernel that makes lines of hits takes."""
    genome = aligned.genome
    return (
        aligned.hits, aligned.sequenced.values, offsets_of(aligned.sequenced), genome.bases, genome.offsets,
        references.values, offsets_of(references), np.frombuffer(b"sample", np.uint8), True, False, MINIBWA_SCORING,
        ALTERNATIVES, ALTERNATIVE_RATIO,
    )  # fmt: skip


def test_finish_hits(measure: Measure, aligned: Aligned, references: Column, reads: int) -> None:
    given = finished(aligned, references)
    assert kernels.finish_hits(*given)[0].tolist() == aligned.lines.flag.tolist()
    measure("bases", aligned.bases.values.nbytes, lambda: kernels.finish_hits(*given), records=reads)
