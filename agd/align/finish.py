"""From the bare hits of an aligner to alignments: flags, mates, clips, tags."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from agd import kernels
from agd.align.reference import Genome
from agd.batch import I32, I64, U8, Alignments, Bool, Column
from agd.kernels.ragged import take, take_any
from agd.types import CIGAR_OPERATIONS, Flag

PRIMARY, SUPPLEMENTARY, SECONDARY = 0, 1, 2

_SOFT, _HARD = 4, 5


class Hits(NamedTuple):
    """Hits of many reads, ascending by read, in the aligner's order within one.

    Attributes
    ----------
    read : int64
        0-based index of the read.
    reference : int32
        0-based contig.
    start : int64
        0-based leftmost position.
    query_start, query_end : int32
        Half-open, along the read as sequenced.
    reverse, proper : bool
        On the reverse strand; the aligner takes it as one of a proper pair.
    mapping_quality : uint8
    score : int32
    kind : uint8
        PRIMARY, SUPPLEMENTARY or SECONDARY.
    cigar : Column of uint32
        Without clips.
    """

    read: I64
    reference: I32
    start: I64
    query_start: I32
    query_end: I32
    reverse: Bool
    proper: Bool
    mapping_quality: U8
    score: I32
    kind: U8
    cigar: Column


def collect(results: Sequence[Sequence[Any]], contigs: dict[str, int]) -> Hits:
    """Arrays from one list of hit objects per read."""
    flat = [(i, h) for i, hits in enumerate(results) for h in hits]
    hits = [h for _, h in flat]
    kinds = [PRIMARY if h.is_primary else SECONDARY if h.is_secondary else SUPPLEMENTARY for h in hits]
    cigars = [[n << 4 | CIGAR_OPERATIONS.index(op) for op, n in h.cigar] for h in hits]
    return Hits(
        np.array([i for i, _ in flat], np.int64),
        np.array([contigs[h.contig] for h in hits], np.int32),
        np.array([h.ref_start for h in hits], np.int64),
        np.array([h.query_start for h in hits], np.int32),
        np.array([h.query_end for h in hits], np.int32),
        np.array([h.reverse for h in hits], np.bool_),
        np.array([h.proper_pair for h in hits], np.bool_),
        np.array([h.mapq for h in hits], np.uint8),
        np.array([h.score for h in hits], np.int32),
        np.array(kinds, np.uint8),
        Column.from_lengths(
            np.array([x for c in cigars for x in c], np.uint32), np.fromiter(map(len, cigars), np.int64, len(cigars))
        ),
    )  # fmt: skip


def finish(
    hits: Hits, bases: Column, genome: Genome, *, read_group: str = "", paired: bool, secondary: bool = False
) -> tuple[Alignments, Alignments, I64]:
    """Alignments as ``bwa mem`` would write them.

    Parameters
    ----------
    hits : Hits
        Of the reads of one batch.
    bases : Column of uint8
        As sequenced.
    genome : Genome
    read_group : str
        ID for the tag RG; "" for none.
    paired : bool
        Reads 2i and 2i + 1 are mates.
    secondary : bool
        Keep secondary hits.

    Returns
    -------
    primary : Alignments
        One per read.
    further : Alignments
        Supplementary (and secondary) ones, ascending by read.
    read : ndarray of int64
        Index of the read of each further one.
    """
    count = len(bases)
    at = np.full(count, -1, np.int64)  # the primary hit of each read
    primary_hits = np.flatnonzero(hits.kind == PRIMARY)
    at[hits.read[primary_hits]] = primary_hits
    kept = np.flatnonzero((hits.kind == SUPPLEMENTARY) | ((hits.kind == SECONDARY) & secondary))
    kept = kept[at[hits.read[kept]] >= 0]
    # One line per read, then one per further alignment.
    read = np.concatenate([np.arange(count), hits.read[kept]])
    hit = np.concatenate([at, kept])
    lines = _lines(hits, read, hit, at, bases, genome, paired, read_group)
    first, rest = take_any(lines, np.arange(count)), take_any(lines, np.arange(count, len(read)))
    assert isinstance(first, Alignments)
    assert isinstance(rest, Alignments)
    return first, rest, hits.read[kept]


def _lines(
    hits: Hits, read: I64, hit: I64, at: I64, bases: Column, genome: Genome, paired: bool, read_group: str
) -> Alignments:
    mapped = hit >= 0
    reference = np.where(mapped, hits.reference[hit], -1) if len(hits.read) else np.full(len(hit), -1)
    position = np.where(mapped, hits.start[hit], -1) if len(hits.read) else np.full(len(hit), -1)
    reverse = mapped & hits.reverse[hit] if len(hits.read) else np.zeros(len(hit), np.bool_)
    quality = np.where(mapped, hits.mapping_quality[hit], 0) if len(hits.read) else np.zeros(len(hit))
    kind = np.where(mapped, hits.kind[hit], PRIMARY) if len(hits.read) else np.zeros(len(hit))
    proper = mapped & hits.proper[hit] if len(hits.read) else np.zeros(len(hit), np.bool_)
    flag: Any = np.where(mapped, 0, int(Flag.UNMAPPED)) | np.where(reverse, int(Flag.REVERSE), 0)
    flag |= np.where(kind == SUPPLEMENTARY, int(Flag.SUPPLEMENTARY), 0)
    flag |= np.where(kind == SECONDARY, int(Flag.SECONDARY), 0)
    cigar = _with_clips(hits, hit, mapped, kind, bases.lengths[read])
    spans = np.empty(len(hit), np.int64)
    assert cigar.offsets is not None
    kernels.reference_spans(cigar.values, cigar.offsets, np.empty(len(hit), np.int64), spans)
    end = position + spans
    mate_reference, mate_position = np.full(len(hit), -1), np.full(len(hit), -1)
    template = np.zeros(len(hit), np.int64)
    if paired:
        own, mate = read, read ^ 1  # the primary line of read r is line r
        mate_mapped = mapped[mate]
        both = mapped & mate_mapped
        same = both & (reference == reference[mate])
        five, mate_five = np.where(reverse, end - 1, position), np.where(reverse[mate], end[mate] - 1, position[mate])
        fr = (reverse != reverse[mate]) & np.where(reverse, mate_five <= five, five <= mate_five)
        proper &= same & fr & proper[mate]
        flag |= int(Flag.PAIRED) | np.where(read % 2, int(Flag.READ2), int(Flag.READ1))
        flag |= np.where(proper, int(Flag.PROPER_PAIR), 0)
        flag |= np.where(mate_mapped, 0, int(Flag.MATE_UNMAPPED))
        flag |= np.where(reverse[mate], int(Flag.MATE_REVERSE), 0)
        delta = mate_five - five
        template = np.where(same, delta + np.sign(delta), 0)
        # The unmapped one of a pair is placed where its mate is.
        mate_reference = np.where(mate_mapped, reference[mate], np.where(mapped, reference[own], -1))
        mate_position = np.where(mate_mapped, position[mate], np.where(mapped, position[own], -1))
        reference = np.where(mapped, reference, mate_reference)
        position = np.where(mapped, position, mate_position)
    tags = _tags(hits, read, hit, at, cigar, bases, genome, reference, position, reverse, paired, read_group)
    return Alignments(
        flag.astype(np.uint16), reference.astype(np.int32), position.astype(np.int64), quality.astype(np.uint8),
        mate_reference.astype(np.int32), mate_position.astype(np.int64), template.astype(np.int64), cigar, tags,
    )  # fmt: skip


def _with_clips(hits: Hits, hit: I64, mapped: Bool, kind: Any, lengths: I64) -> Column:
    out: list[int] = []
    sizes = np.zeros(len(hit), np.int64)
    for i in np.flatnonzero(mapped).tolist():
        h = int(hit[i])
        left, right = int(hits.query_start[h]), int(lengths[i] - hits.query_end[h])
        if hits.reverse[h]:
            left, right = right, left
        clip = _HARD if kind[i] == SUPPLEMENTARY else _SOFT
        before = len(out)
        out += [left << 4 | clip] if left else []
        out += hits.cigar[h].tolist()
        out += [right << 4 | clip] if right else []
        sizes[i] = len(out) - before
    return Column.from_lengths(np.array(out, np.uint32), sizes)


def _tags(
    hits: Hits, read: I64, hit: I64, at: I64, cigar: Column, bases: Column, genome: Genome, reference: Any,
    position: Any, reverse: Bool, paired: bool, read_group: str,
) -> Column:
    nm, md = _nm_md(read, hit, cigar, bases, genome, reference, position, reverse)
    second: dict[int, int] = {}
    chimeric: dict[int, list[int]] = {}
    for h in range(len(hits.read)):
        r = int(hits.read[h])
        if hits.kind[h] == SECONDARY:
            second[r] = max(second.get(r, 0), int(hits.score[h]))
    for i in np.flatnonzero(hit >= 0).tolist():
        if hits.kind[hit[i]] != SECONDARY:
            chimeric.setdefault(int(read[i]), []).append(i)
    texts = {i: _text(cigar[i]) for i in range(len(hit)) if hit[i] >= 0 and (paired or len(chimeric[int(read[i])]) > 1)}
    group = b"RGZ" + read_group.encode() + b"\0" if read_group else b""
    records = []
    for i in range(len(hit)):
        r, tags = int(read[i]), b""
        if hit[i] >= 0:
            tags += b"NM" + _integer(int(nm[i])) + b"MDZ" + md[i] + b"\0"
        if paired and at[r ^ 1] >= 0:
            tags += b"MCZ" + texts[r ^ 1] + b"\0"
        if hit[i] >= 0:
            tags += b"AS" + _integer(int(hits.score[hit[i]])) + b"XS" + _integer(second.get(r, 0))
            others = [j for j in chimeric[r] if j != i] if i in chimeric[r] else []
            if others:
                tags += b"SAZ" + b"".join(_sa(hits, genome, j, hit, texts, nm) for j in others) + b"\0"
        records.append(tags + group)
    return Column.from_list(records)


def _nm_md(
    read: I64, hit: I64, cigar: Column, bases: Column, genome: Genome, reference: Any, position: Any, reverse: Bool
) -> tuple[I32, Column]:
    seq = take(bases, read)
    assert seq.offsets is not None
    assert cigar.offsets is not None
    kernels.reverse_spans(seq.values, seq.offsets, reverse, True)
    hard = cigar.values & 15 == _HARD
    soft = cigar.values.copy()
    soft[hard] ^= _HARD ^ _SOFT
    reference = np.where(hit >= 0, reference, -1).astype(np.int32)
    position = position.astype(np.int64)
    room = kernels.md_bound(genome.offsets, reference, soft, cigar.offsets, seq.offsets)
    nm, md, offsets = np.empty(len(hit), np.int32), np.empty(room, np.uint8), np.zeros(len(hit) + 1, np.int64)
    kernels.nm_md(
        genome.bases, genome.offsets, reference, position, soft, cigar.offsets, seq.values, seq.offsets, nm, md, offsets
    )
    return nm, Column(md, offsets)


def _sa(hits: Hits, genome: Genome, j: int, hit: I64, texts: dict[int, bytes], nm: I32) -> bytes:
    h = int(hit[j])
    strand = "-" if hits.reverse[h] else "+"
    cigar = texts[j].decode().replace("H", "S")
    name = genome.contigs[hits.reference[h]].name
    return f"{name},{hits.start[h] + 1},{strand},{cigar},{hits.mapping_quality[h]},{nm[j]};".encode()


def _text(cigar: Any) -> bytes:
    return "".join(f"{x >> 4}{CIGAR_OPERATIONS[x & 15]}" for x in cigar.tolist()).encode()


def _integer(value: int) -> bytes:
    for code, low, high in (("C", 0, 255), ("c", -128, -1), ("S", 0, 65535), ("s", -32768, -1)):
        if low <= value <= high:
            return code.encode() + struct.pack("<" + {"C": "B", "c": "b", "S": "H", "s": "h"}[code], value)
    return b"i" + struct.pack("<i", value)
