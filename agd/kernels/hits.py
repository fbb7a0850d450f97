"""Bare hits of an aligner, and what they are scored with."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from agd.batch import I32, I64, U8, U32

#: Bits of :attr:`Hits.bits`.
HIT_REVERSE, HIT_PROPER, HIT_SECONDARY, HIT_SUPPLEMENTARY = 1, 2, 4, 8


class Hits(NamedTuple):
    """Hits of many reads, in the aligner's order within each, as kernels take them.

    Attributes
    ----------
    offsets : int64, shape (reads + 1,)
        Read ``i`` has hits ``offsets[i]`` to ``offsets[i + 1]`` (half-open).
    reference : int32
        0-based contig.
    start : int64
        0-based leftmost position.
    query_start, query_end : int32
        0-based, half-open, along the read as sequenced, whatever the strand.
    mapping_quality : uint8
    bits : uint8
        HIT_REVERSE: on the reverse strand. HIT_PROPER: the aligner takes it as one of a proper pair. HIT_SECONDARY,
        HIT_SUPPLEMENTARY: neither is set for the primary hit.
    cigar : uint32
        BAM operations in the order of the reference, without clips.
    cigar_offsets : int64, shape (hits + 1,)
        Hit ``i`` has ``cigar[cigar_offsets[i]:cigar_offsets[i + 1]]``.
    """

    offsets: I64
    reference: I32
    start: I64
    query_start: I32
    query_end: I32
    mapping_quality: U8
    bits: U8
    cigar: U32
    cigar_offsets: I64

    @staticmethod
    def concatenate(parts: list[Hits]) -> Hits:
        """Hits of the reads of all parts, one after the other."""
        def values(name: str, dtype: type) -> Any:
            return np.concatenate([np.empty(0, dtype), *(getattr(part, name) for part in parts)])

        return Hits(
            _join([part.offsets for part in parts]), values("reference", np.int32), values("start", np.int64),
            values("query_start", np.int32), values("query_end", np.int32), values("mapping_quality", np.uint8),
            values("bits", np.uint8), values("cigar", np.uint32), _join([part.cigar_offsets for part in parts]),
        )  # fmt: skip


def _join(parts: list[I64]) -> I64:
    """Offsets that each start at 0, one after the other."""
    out, last = [np.zeros(1, np.int64)], 0
    for part in parts:
        out.append(part[1:] + last)
        last += int(part[-1])
    return np.concatenate(out)


class Scoring(NamedTuple):
    """What an alignment is scored with; the score of a gap of n bases is the cheaper of two affine costs.

    Attributes
    ----------
    match, mismatch, ambiguous : int
        Gain of a matching base, cost of another one, cost of a base where either is N.
    gap_open, gap_extend, long_gap_open, long_gap_extend : int
        A gap of n bases costs ``min(gap_open + n * gap_extend, long_gap_open + n * long_gap_extend)``.
    """

    match: int
    mismatch: int
    ambiguous: int
    gap_open: int
    gap_extend: int
    long_gap_open: int
    long_gap_extend: int


#: minibwa's own scoring (all its presets).
MINIBWA_SCORING = Scoring(2, 8, 1, 12, 2, 23, 1)

#: That of bwa mem.
BWA_SCORING = Scoring(1, 4, 1, 6, 1, 6, 1)
