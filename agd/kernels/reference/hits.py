"""Reference of the kernels that turn the bare hits of an aligner into SAM records."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from agd.batch import I64, U8
from agd.errors import KernelError
from agd.kernels.hits import HIT_PROPER, HIT_REVERSE, HIT_SECONDARY, HIT_SUPPLEMENTARY, Hits, Scoring
from agd.kernels.reference.difference import CODES, walk
from agd.kernels.reference.ragged import COMPLEMENT, check_offsets
from agd.types import CIGAR_OPERATIONS, Flag

#: Letter of each 4-bit code.
LETTERS = np.frombuffer(b"=ACMGRSVTWYHKDBN", np.uint8)


def span_strings(values: U8, starts: I64, ends: I64) -> list[str]:
    """Spans of text as strings: what an aligner in this process takes.

    Parameters
    ----------
    values : ndarray of uint8
        ASCII.
    starts, ends : ndarray of int64, shape (spans,)
        0-based, half-open.

    Returns
    -------
    list of str
        Unlike other kernels this one holds the GIL.

    Raises
    ------
    KernelError
        A span lies outside of the values, or is not ASCII.
    """
    if len(starts) != len(ends):
        raise KernelError("starts and ends differ in number")
    out = []
    for i, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        if not 0 <= start <= end <= len(values):
            raise KernelError("span outside of the values", i)
        text = values[start:end].tobytes()
        if not text.isascii():
            raise KernelError("text is not ASCII", i)
        out.append(text.decode())
    return out


def collect_hits(results: Iterable[Any], contigs: dict[str, int]) -> tuple[Any, ...]:
    """Arrays from the hit objects that an aligner in this process gives.

    Parameters
    ----------
    results : iterable
        One list of hits per read, or one tuple of such lists per pair. A hit has the attributes ``contig`` (str),
        ``ref_start``, ``query_start``, ``query_end``, ``mapq`` (int), ``reverse``, ``proper_pair``, ``is_primary``,
        ``is_secondary`` (bool) and ``cigar`` (list of (letter, length)).
    contigs : dict of str to int
        Index of each contig.

    Returns
    -------
    tuple of ndarray
        Fields of :class:`agd.kernels.hits.Hits`, in order. Unlike other kernels this one makes its arrays itself,
        and holds the GIL.

    Raises
    ------
    KernelError
        A contig is not known, a number is out of range, or a CIGAR is not made of known operations; names the read.
    """
    reads = [hits for item in results for hits in (item if isinstance(item, tuple) else (item,))]
    rows, cigars = [], []
    for r, hits in enumerate(reads):
        if not isinstance(hits, list):
            raise KernelError("the hits of a read are not a list", r)
        for hit in hits:
            rows.append(_row(hit, contigs, r))
            cigars.append(_operations(hit.cigar, r))
    columns = list(zip(*rows, strict=True)) or [()] * 6
    types = (np.int32, np.int64, np.int32, np.int32, np.uint8, np.uint8)
    fixed = [np.array(c, t) for c, t in zip(columns, types, strict=True)]
    operations = np.array([o for cigar in cigars for o in cigar], np.uint32)
    return _offsets(map(len, reads)), *fixed, operations, _offsets(map(len, cigars))


def _row(hit: Any, contigs: dict[str, int], r: int) -> tuple[int, ...]:
    if hit.contig not in contigs:
        raise KernelError("the contig of a hit is not one of the reference", r)
    largest = {"ref_start": 2**63 - 1, "query_start": 2**31 - 1, "query_end": 2**31 - 1, "mapq": 255}
    for name, most in largest.items():
        if not 0 <= getattr(hit, name) <= most:
            raise KernelError(f"{name} of a hit is out of range", r)
    kind = 0 if hit.is_primary else HIT_SECONDARY if hit.is_secondary else HIT_SUPPLEMENTARY
    bits = kind | HIT_REVERSE * bool(hit.reverse) | HIT_PROPER * bool(hit.proper_pair)
    return contigs[hit.contig], hit.ref_start, hit.query_start, hit.query_end, hit.mapq, bits


def _operations(cigar: list[tuple[str, int]], r: int) -> list[int]:
    out = []
    for letter, length in cigar:
        if len(letter) != 1 or letter not in CIGAR_OPERATIONS:
            raise KernelError("CIGAR operation is not one of MIDNSHP=X", r)
        if not 0 <= length < 1 << 28:
            raise KernelError("length of a CIGAR operation out of range", r)
        out.append(length << 4 | CIGAR_OPERATIONS.index(letter))
    return out


def _offsets(lengths: Any) -> I64:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.fromiter(lengths, np.int64))])


@dataclass
class Hit:
    """One hit, checked, with what a comparison with the reference finds."""

    reference: int
    start: int
    query: range
    mapping_quality: int
    reverse: bool
    proper: bool
    rank: int  #: 0 primary, 1 supplementary, 2 secondary, as the aligner has it
    cigar: list[tuple[int, str]]
    clips: tuple[int, int]
    nm: int = 0
    md: bytes = b""
    score: int = 0
    secondary: bool = False  #: and not the one that is taken as primary
    parent: Hit | None = None

    @property
    def end(self) -> int:
        return self.start + sum(n for n, op in self.cigar if op in "MDN=X")

    @property
    def five(self) -> int:
        """Place of the 5' end."""
        return self.end - 1 if self.reverse else self.start

    def clipped(self, letter: str) -> list[tuple[int, str]]:
        left, right = self.clips
        return [(left, letter)] * bool(left) + self.cigar + [(right, letter)] * bool(right)

    @property
    def text(self) -> bytes:
        return "".join(f"{n}{op}" for n, op in self.clipped("S")).encode()


def finish_hits(
    hits: Hits, bases: U8, base_offsets: I64, genome: U8, contig_offsets: I64, names: U8, name_offsets: I64,
    read_group: U8, paired: bool, secondary: bool, scoring: Scoring, alternatives: int, alternative_ratio: float,
) -> tuple[Any, ...]:  # fmt: skip
    """SAM records of the hits of a batch of reads, as :func:`agd.aligners.finish.finish` describes them.

    Parameters
    ----------
    hits : Hits
    bases, base_offsets
        Reads as sequenced, ASCII; reads 2i and 2i + 1 are mates where ``paired``.
    genome, contig_offsets
        Letters of all contigs end to end.
    names, name_offsets
        Names of the contigs.
    read_group : ndarray of uint8
        ID for the tag RG; empty for none.
    paired : bool
    secondary : bool
        Secondary hits become records (flag 0x100); otherwise they are listed in XA.
    scoring : Scoring
    alternatives : int
        Most entries of an XA; where there are more, there is no XA.
    alternative_ratio : float
        Part of the score of its parent that a secondary hit must reach to be listed.

    Returns
    -------
    tuple of ndarray
        The first eleven fields of :class:`agd.kernels.alignments.AlignmentArrays`: one record per read, then the
        further ones ascending by read; then int64, the 0-based read of each further one. Unlike other kernels this
        one makes its arrays itself.

    Raises
    ------
    KernelError
        A hit lies outside of its read or its contig, its CIGAR is not made of MIDN=X or does not fit, a read is longer
        than 2^28 - 1 bases, NM or a score does not fit 32 bits, mates are missing, or arrays do not fit together.
    """
    _check(hits, bases, base_offsets, genome, contig_offsets, names, name_offsets, paired)
    labels = [names[a:b].tobytes() for a, b in pairwise(name_offsets)]
    reads = []
    for r in range(len(base_offsets) - 1):
        read = bases[base_offsets[r] : base_offsets[r + 1]]
        found = [_examine(hits, i, read, genome, contig_offsets, scoring, r) for i in _between(hits.offsets, r)]
        _relate(found)
        reads.append(found)
    primary = [_primary(found) for found in reads]
    lines = [(r, primary[r]) for r in range(len(reads))]
    further = [(r, hit) for r, found in enumerate(reads) for hit in found if hit is not primary[r]]
    lines += [(r, hit) for r, hit in further if secondary or not hit.secondary]
    rows, cigars, tags = [], [], []
    for r, hit in lines:
        mate = primary[r ^ 1] if paired else None
        rows.append(_fields(r, hit, primary[r], mate, paired))
        cigar = [] if hit is None else hit.clipped("S" if hit is primary[r] else "H")
        cigars.append([n << 4 | CIGAR_OPERATIONS.index(op) for n, op in cigar])
        most = 0 if secondary else alternatives
        tags.append(_tags(hit, mate, reads[r], labels, read_group.tobytes(), most, alternative_ratio))
    columns = list(zip(*rows, strict=True)) or [()] * 7
    types = (np.uint16, np.int32, np.int64, np.uint8, np.int32, np.int64, np.int64)
    return (
        *(np.array(c, t) for c, t in zip(columns, types, strict=True)),
        np.array([o for cigar in cigars for o in cigar], np.uint32), _offsets(map(len, cigars)),
        np.frombuffer(b"".join(tags), np.uint8), _offsets(map(len, tags)),
        np.array([r for r, _ in lines[len(reads) :]], np.int64),
    )  # fmt: skip


def _check(
    hits: Hits, bases: U8, base_offsets: I64, genome: U8, contig_offsets: I64, names: U8, name_offsets: I64,
    paired: bool,
) -> None:  # fmt: skip
    count = len(hits.start)
    if any(len(a) != count for a in hits[1:7]) or len(hits.cigar_offsets) != count + 1:
        raise KernelError("arrays of hits differ in length")
    check_offsets(hits.offsets, count, "offsets outside of the hits")
    check_offsets(hits.cigar_offsets, len(hits.cigar), "offsets outside of the CIGARs")
    check_offsets(base_offsets, len(bases), "offsets outside of the bases")
    check_offsets(contig_offsets, len(genome), "offsets outside of the reference sequences")
    check_offsets(name_offsets, len(names), "offsets outside of the names")
    if len(base_offsets) != len(hits.offsets):
        raise KernelError("hits and bases differ in number of reads")
    if len(name_offsets) != len(contig_offsets):
        raise KernelError("names and contigs differ in number")
    if paired and len(base_offsets) % 2 == 0:
        raise KernelError("mates are missing: the number of reads is odd", len(base_offsets) - 2)


def _between(offsets: I64, i: int) -> range:
    return range(int(offsets[i]), int(offsets[i + 1]))


def _examine(hits: Hits, i: int, read: U8, genome: U8, contig_offsets: I64, scoring: Scoring, r: int) -> Hit:
    """Check a hit and compare its bases with the reference."""
    contig, start = int(hits.reference[i]), int(hits.start[i])
    query = range(int(hits.query_start[i]), int(hits.query_end[i]))
    if len(read) >= 1 << 28:
        raise KernelError("read is longer than a CIGAR can tell", r)
    if not 0 <= contig < len(contig_offsets) - 1:
        raise KernelError("reference of a hit is not one of the contigs", r)
    if not 0 <= query.start <= query.stop <= len(read):
        raise KernelError("hit lies outside of its read", r)
    codes = hits.cigar[hits.cigar_offsets[i] : hits.cigar_offsets[i + 1]].tolist()
    if any(code & 15 not in (0, 1, 2, 3, 7, 8) for code in codes):
        raise KernelError("CIGAR operation of a hit is not one of MIDN=X", r)
    cigar = [(code >> 4, CIGAR_OPERATIONS[code & 15]) for code in codes]
    if not 0 < sum(n for n, op in cigar if op in "MI=X") == len(query):
        raise KernelError("CIGAR of a hit does not fit its part of the read", r)
    sequence = genome[contig_offsets[contig] : contig_offsets[contig + 1]]
    bits, reverse = int(hits.bits[i]), bool(hits.bits[i] & HIT_REVERSE)
    rank = 2 if bits & HIT_SECONDARY else 1 if bits & HIT_SUPPLEMENTARY else 0
    clips = (query.start, len(read) - query.stop)
    hit = Hit(
        contig, start, query, int(hits.mapping_quality[i]), reverse, bool(bits & HIT_PROPER), rank, cigar,
        clips[::-1] if reverse else clips,
    )  # fmt: skip
    if start < 0 or hit.end > len(sequence):
        raise KernelError("hit lies outside of its contig", r)
    part = read[query.start : query.stop]
    turned = COMPLEMENT[LETTERS[CODES[part[::-1]]]]
    hit.nm, hit.md, matches, ambiguous = walk(turned if reverse else part, sequence, start, cigar)
    aligned = sum(n for n, op in cigar if op in "M=X")
    s = scoring
    gaps = [n for n, op in cigar if op in "ID"]
    costs = sum(min(s[3] + n * s[4], s[5] + n * s[6]) for n in gaps)
    hit.score = s[0] * matches - s[2] * ambiguous - s[1] * (aligned - matches - ambiguous) - costs
    if abs(hit.score) >= 1 << 31:
        raise KernelError("score of a hit does not fit 32 bits", r)
    if hit.nm >= 1 << 31:
        raise KernelError("NM does not fit 32 bits", r)
    return hit


def _primary(found: list[Hit]) -> Hit | None:
    """What the aligner calls primary; should it call none so, the first that is not secondary, or the first."""
    return min(found, key=lambda hit: hit.rank, default=None)


def _shared(a: Hit, b: Hit) -> int:
    return min(a.query.stop, b.query.stop) - max(a.query.start, b.query.start)


def _relate(found: list[Hit]) -> None:
    """A secondary hit is an alternative of the one that shares most of the read with it; of the primary if in doubt."""
    own = _primary(found)
    for hit in found:
        hit.secondary = hit is not own and hit.rank == 2
    others = [hit for hit in found if not hit.secondary]
    others.sort(key=lambda hit: hit is not own)
    for hit in found:
        if hit.secondary:
            hit.parent = max(others, key=partial(_shared, hit))


def _is_proper(a: Hit | None, b: Hit | None) -> bool:
    if a is None or b is None or not (a.proper and b.proper) or a.reference != b.reference or a.reverse == b.reverse:
        return False
    forward, backward = (b, a) if a.reverse else (a, b)
    return forward.start < backward.end


def _fields(r: int, hit: Hit | None, own: Hit | None, mate: Hit | None, paired: bool) -> tuple[int, ...]:
    """Flag, place, mapping quality, place of the mate, template length."""
    flag = 0
    if hit is None:
        flag |= Flag.UNMAPPED | Flag.REVERSE * bool(mate and mate.reverse)
    else:
        flag |= Flag.REVERSE * hit.reverse
        if hit is not own:
            flag |= Flag.SECONDARY if hit.secondary else Flag.SUPPLEMENTARY
    if paired:
        flag |= Flag.PAIRED | (Flag.READ2 if r % 2 else Flag.READ1) | Flag.PROPER_PAIR * _is_proper(own, mate)
        # An unmapped mate lies where this read does, on the same strand.
        beside = mate or own
        flag |= Flag.MATE_UNMAPPED * (mate is None) | Flag.MATE_REVERSE * bool(beside and beside.reverse)
    place, mate_place = hit or mate, (mate or own) if paired else None
    distance = 0
    if hit and mate and hit.reference == mate.reference:
        distance = mate.five - hit.five
    return (
        int(flag), place.reference if place else -1, place.start if place else -1, hit.mapping_quality if hit else 0,
        mate_place.reference if mate_place else -1, mate_place.start if mate_place else -1,
        distance + (distance > 0) - (distance < 0),
    )  # fmt: skip


def _tags(
    hit: Hit | None, mate: Hit | None, found: list[Hit], names: list[bytes], group: bytes, alternatives: int,
    ratio: float,
) -> bytes:  # fmt: skip
    out = b""
    children = [h for h in found if h.parent is hit] if hit else []
    if hit:
        out += b"NM" + _integer(hit.nm) + b"MDZ" + hit.md + b"\0"
    if mate:
        out += b"MCZ" + mate.text + b"\0"
    if hit:
        out += b"AS" + _integer(hit.score)
        if not hit.secondary:
            out += b"XS" + _integer(max([0, *(h.score for h in children)]))
    if group:
        out += b"RGZ" + group + b"\0"
    if hit is None or hit.secondary:
        return out
    own = _primary(found)
    chimeric = sorted((h for h in found if h is not hit and not h.secondary), key=lambda h: h is not own)
    if chimeric:
        out += b"SAZ" + b"".join(
            b"%s,%d,%c,%s,%d,%d;" % (names[h.reference], h.start + 1, b"+-"[h.reverse], h.text, h.mapping_quality, h.nm)
            for h in chimeric
        ) + b"\0"  # fmt: skip
    listed = [h for h in children if h.score >= ratio * hit.score]
    if 0 < len(listed) <= alternatives:
        out += b"XAZ" + b"".join(
            b"%s,%c%d,%s,%d;" % (names[h.reference], b"+-"[h.reverse], h.start + 1, h.text, h.nm) for h in listed
        ) + b"\0"  # fmt: skip
    return out


def _integer(value: int) -> bytes:
    """Type and value of an aux field, in the smallest type that holds it, as htslib chooses it."""
    for code, form, low, high in (
        ("C", "B", 0, 2**8), ("S", "H", 0, 2**16), ("I", "I", 0, 2**32), ("c", "b", -(2**7), 0),
        ("s", "h", -(2**15), 0),
    ):  # fmt: skip
        if low <= value < high:
            return code.encode() + struct.pack("<" + form, value)
    return b"i" + struct.pack("<i", value)
