"""What the records of a template say of each other, as ``samtools fixmate`` fills it in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from agd import kernels
from agd.batch import I64, U8, Alignments, Batch, Bool, Column
from agd.cell import reference_lengths
from agd.ops.lines import read_names
from agd.ops.qualities import quality_sums
from agd.ops.sort_tags import constant, join
from agd.tags import merge_tags
from agd.types import CIGAR_OPERATIONS, Flag

#: Least quality of the bases that count for a score, as in samtools.
_SCORED = 15

_LETTERS = np.frombuffer(CIGAR_OPERATIONS.encode(), np.uint8)


def same_template(lines: Batch, names: str) -> Bool:
    """Which lines have the name of the line before them; the first one has not.

    Parameters
    ----------
    lines : Batch
        Alignment lines with ``metadata``.
    names : str
        What that column holds, see :class:`agd.manifest.Manifest`.
    """
    metadata = lines.ragged("metadata")
    paired = (lines.alignments().flag & np.uint16(Flag.PAIRED)) != 0
    starts, ends = read_names(metadata, names, paired)
    low, high = np.empty(len(lines), np.uint64), np.empty(len(lines), np.uint64)
    values = np.ascontiguousarray(metadata.values)
    kernels.hash_spans(values, np.ascontiguousarray(starts), np.ascontiguousarray(ends), low, high)
    same = np.zeros(len(lines), np.bool_)
    same[1:] = (low[1:] == low[:-1]) & (high[1:] == high[:-1])
    return same


class _Mates:
    """Fields of records that are being paired; arrays of one length.

    Attributes
    ----------
    quality_of, cigar_of, score_of : ndarray of int64
        Record that MQ, MC and ms of each record are taken from, -1 for none.
    """

    def __init__(self, a: Alignments, proper_pairs: bool, remove: bool) -> None:
        self.flag = a.flag.copy()
        self.reference, self.position = a.reference.copy(), a.position.copy()
        self.mate_reference, self.mate_position = a.mate_reference.copy(), a.mate_position.copy()
        self.template_length = a.template_length.copy()
        self.end = a.position + np.maximum(reference_lengths(a.cigar), 1)
        self.quality_of, self.cigar_of, self.score_of = (np.full(len(a), -1, np.int64) for _ in range(3))
        self._proper_pairs, self._remove = proper_pairs, remove

    def is_(self, bit: Flag, records: I64) -> Bool:
        """Which of the records have a flag."""
        found: Bool = (self.flag[records] & np.uint16(bit)) != 0
        return found

    def set_(self, bits: int, records: I64) -> None:
        """Set flags."""
        self.flag[records] |= np.uint16(bits)

    def clear(self, bits: int, records: I64) -> None:
        """Take flags away."""
        self.flag[records] &= np.uint16(0xFFFF ^ bits)

    def pair(self, one: I64, two: I64) -> None:
        """Records ``one[i]`` and ``two[i]`` are mates; each record stands once at most in both together."""
        self.set_(Flag.PAIRED, one)
        self.set_(Flag.PAIRED, two)
        both = ((one, two), (two, one))
        for source, to in both:
            # An unmapped read lies where its mate does.
            moved = self.is_(Flag.UNMAPPED, to) & ~self.is_(Flag.UNMAPPED, source)
            self.reference[to[moved]] = self.reference[source[moved]]
            self.position[to[moved]] = self.position[source[moved]]
        for source, to in both:
            self.tell(source, to)
            self.score_of[to] = source
        self._measure(one, two)
        if self._remove:
            for source, to in both:
                self.clear(Flag.MATE_REVERSE | Flag.PROPER_PAIR, to[self.is_(Flag.UNMAPPED, source)])

    def tell(self, source: I64, to: I64) -> None:
        """Records ``to[i]`` speak of ``source[i]`` as their mates."""
        self.mate_reference[to], self.mate_position[to] = self.reference[source], self.position[source]
        self.clear(Flag.MATE_REVERSE, to)
        self.set_(Flag.MATE_REVERSE, to[self.is_(Flag.REVERSE, source)])
        mapped = ~self.is_(Flag.UNMAPPED, source)
        self.set_(Flag.MATE_UNMAPPED, to[~mapped])
        either = mapped | ~self.is_(Flag.UNMAPPED, to)
        self.quality_of[to[mapped]] = source[mapped]
        self.cigar_of[to[either]] = source[either]

    def _measure(self, one: I64, two: I64) -> None:
        """Template lengths, and whether pairs may be proper ones."""
        first, second = (np.where(self.is_(Flag.REVERSE, x), self.end[x], self.position[x]) for x in (one, two))
        here = self.reference[one] == self.reference[two]
        unmapped = np.uint16(Flag.UNMAPPED | Flag.MATE_UNMAPPED)
        measured = here & (((self.flag[one] | self.flag[two]) & unmapped) == 0)
        self.template_length[two] = np.where(measured, first - second, 0)
        self.template_length[one] = np.where(measured, second - first, 0)
        if not self._proper_pairs:
            return
        left_is_one = first <= second
        reverse = self.is_(Flag.REVERSE, one), self.is_(Flag.REVERSE, two)
        facing = np.where(left_is_one, ~reverse[0] & reverse[1], ~reverse[1] & reverse[0])
        mapped = ~self.is_(Flag.UNMAPPED, one) & ~self.is_(Flag.UNMAPPED, two)
        doubtful = ~(mapped & here & (self.reference[one] >= 0) & facing)
        self.clear(Flag.PROPER_PAIR, one[doubtful])
        self.clear(Flag.PROPER_PAIR, two[doubtful])

    def alone(self, records: I64) -> None:
        """Records without a mate."""
        self.mate_reference[records], self.mate_position[records], self.template_length[records] = -1, -1, 0
        self.clear(Flag.MATE_REVERSE | Flag.PROPER_PAIR, records)


class Paired(NamedTuple):
    """Records with what they say of their mates, and which of them are kept."""

    alignments: Alignments
    keep: Bool


def fix_mates(
    lines: Batch, names: str, *, proper_pairs: bool = True, scores: bool = False, remove: bool = False
) -> Paired:
    """Fill in mate fields, MQ, MC and ms of primary records, as ``samtools fixmate -z off`` does.

    The first primary record of a name and the next one are mates; of more than two, each further one is paired with the
    first. Supplementary records of pairs speak of the primary record of the mate; secondary ones stay as they are.

    Parameters
    ----------
    lines : Batch
        Alignment lines of whole templates, with ``metadata``; for scores also ``bases`` and ``qualities``.
    names : str
        See :func:`same_template`.
    proper_pairs : bool
        Take the flag 0x2 from pairs that do not lie on one reference and face each other.
    scores : bool
        Add the tag ms: the sum of the mate's qualities of at least 15.
    remove : bool
        Unmapped and secondary records are not kept, and their mates do not speak of their strands.

    Returns
    -------
    Paired
        The new tags follow those of the alignments, in whose place they come.
    """
    a = lines.alignments()
    group = np.cumsum(~same_template(lines, names), dtype=np.int64)
    work = _Mates(a, proper_pairs, remove)
    primary = np.flatnonzero((a.flag & np.uint16(Flag.SECONDARY | Flag.SUPPLEMENTARY)) == 0)
    of = group[primary]
    leads = np.flatnonzero(np.r_[True, of[1:] != of[:-1]]) if len(of) else np.empty(0, np.int64)
    sizes = np.diff(np.r_[leads, len(primary)])
    work.alone(primary[leads[sizes == 1]])
    turn = 1
    while len(more := np.flatnonzero(sizes > turn)):
        leads, sizes = leads[more], sizes[more]
        work.pair(primary[leads], primary[leads + turn])
        turn += 1
    _tell_supplementary(work, group, primary)
    fixed = a.replace(
        flag=work.flag, reference=work.reference, position=work.position, mate_reference=work.mate_reference,
        mate_position=work.mate_position, template_length=work.template_length,
        tags=merge_tags(a.tags, _new_tags(lines, work, scores)),
    )  # fmt: skip
    gone = np.uint16(Flag.SECONDARY | Flag.UNMAPPED)
    return Paired(fixed, (fixed.flag & gone) == 0 if remove else np.ones(len(lines), np.bool_))


def _tell_supplementary(work: _Mates, group: I64, primary: I64) -> None:
    """Supplementary records speak of the last primary record of the other read of their template."""
    wanted = np.uint16(Flag.SUPPLEMENTARY | Flag.PAIRED)
    further = np.flatnonzero((work.flag & wanted) == wanted)
    if not len(further):
        return
    read = group * 2 + ((work.flag & np.uint16(Flag.READ2)) != 0)
    of_read = np.full(2 * (int(group[-1]) + 1), -1, np.int64)
    of_read[read[primary]] = primary
    mate = of_read[read[further] ^ 1]
    work.tell(mate[mate >= 0], further[mate >= 0])


#: Tags that are made from other records.
MATE_TAGS = (b"MQ", b"MC", b"ms")


def _new_tags(lines: Batch, work: _Mates, scores: bool) -> Column:
    a = lines.alignments()
    parts = [
        _fields(b"MQC", Column(a.mapping_quality[:, None].reshape(-1), np.arange(len(a) + 1)), work.quality_of, b""),
        _fields(b"MCZ", cigar_texts(a.cigar), work.cigar_of, b"\0"),
    ]
    if scores:
        sums = quality_sums(lines, _SCORED).astype("<i4").view(np.uint8)
        parts.append(_fields(b"msi", Column(sums, np.arange(len(a) + 1) * 4), work.score_of, b""))
    return join(parts)


def _fields(head: bytes, values: Column, source: I64, tail: bytes) -> Column:
    """Aux fields of the records that take a value from another one; nothing in the others."""
    has = source >= 0
    at = np.where(has, source, 0)
    assert values.offsets is not None
    starts = values.offsets[at]
    ends = np.where(has, values.offsets[at + 1], starts)
    body = Column.from_lengths(np.empty(int((ends - starts).sum()), np.uint8), ends - starts)
    assert body.offsets is not None
    kernels.copy_spans(np.ascontiguousarray(values.values), starts, ends, body.values, body.offsets)
    parts = [_where(head, has), body, _where(tail, has)]
    return join(parts if tail else parts[:2])


def _where(text: bytes, has: Bool) -> Column:
    return Column(constant(text, int(has.sum())).values, np.r_[0, np.cumsum(has)].astype(np.int64) * len(text))


def cigar_texts(cigar: Column) -> Column:
    """CIGARs as text, ``*`` for none.

    Parameters
    ----------
    cigar : Column of uint32

    Returns
    -------
    Column of uint8
    """
    cigar = cigar.compact()
    assert cigar.offsets is not None
    numbers = (cigar.values >> np.uint32(4)).astype(np.int64)
    digits = np.ones(len(numbers), np.int64)
    for power in range(1, 9):
        digits += numbers >= 10**power
    ends = np.cumsum(digits + 1)
    out: U8 = np.empty(int(ends[-1]) if len(ends) else 0, np.uint8)
    out[ends - 1] = _LETTERS[cigar.values & np.uint32(15)]
    for place in range(int(digits.max(initial=0))):
        has = digits > place
        out[ends[has] - 2 - place] = numbers[has] // 10**place % 10 + ord("0")
    bounds = np.r_[0, ends][cigar.offsets]
    texts = Column(out, bounds.astype(np.int64))
    none = np.flatnonzero(cigar.lengths == 0)
    if not len(none):
        return texts
    star = np.zeros(len(texts), np.bool_)
    star[none] = True
    return join([texts, _where(b"*", star)])
