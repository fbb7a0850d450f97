"""Reference of the kernels that tell what CIGARs say about reads and reference: lengths, ends, NM and MD."""

from __future__ import annotations

import numpy as np

from agd.batch import I32, I64, U8, U32
from agd.errors import KernelError
from agd.kernels.reference.ragged import check_offsets
from agd.types import CIGAR_OPERATIONS

QUERY, REFERENCE, BOTH, CLIPS = "MIS=X", "MDN=X", "M=X", "SH"

#: 4-bit code of every letter as htslib has it; what is no base is 15 (N).
CODES = np.full(256, 15, np.uint8)
for _code, _letter in enumerate("=ACMGRSVTWYHKDBN"):
    CODES[[ord(_letter), ord(_letter.lower())]] = _code
CODES[[ord("U"), ord("u")]] = 8
CODES[[ord("0"), ord("1"), ord("2"), ord("3")]] = 1, 2, 4, 8


def reference_spans(cigar: U32, cigar_offsets: I64, query: I64, reference: I64) -> None:
    """Bases of the read and of the reference that each CIGAR covers (SAM specification, section 1.4.6).

    Parameters
    ----------
    cigar : ndarray of uint32
        BAM operations.
    cigar_offsets : ndarray of int64, shape (records + 1,)
        Record ``i`` is ``cigar[cigar_offsets[i]:cigar_offsets[i + 1]]``.
    query : ndarray of int64, shape (records,)
        Out: sum of M, I, S, = and X.
    reference : ndarray of int64, shape (records,)
        Out: sum of M, D, N, = and X.

    Raises
    ------
    KernelError
        An operation is not one of the nine, offsets lie outside of the values, or arrays differ in length.
    """
    records = _cigars(cigar, cigar_offsets)
    if not len(query) == len(reference) == len(records):
        raise KernelError("outputs and CIGARs differ in number")
    for i, operations in enumerate(records):
        query[i] = _sum(operations, QUERY)
        reference[i] = _sum(operations, REFERENCE)


def unclipped_ends(position: I64, cigar: U32, cigar_offsets: I64, hard: bool, start: I64, end: I64) -> None:
    """Where each read would begin and end on the reference, had nothing been clipped, as samtools has it.

    Parameters
    ----------
    position : ndarray of int64, shape (records,)
        0-based leftmost position, -1 for none.
    cigar, cigar_offsets
        As in :func:`reference_spans`.
    hard : bool
        Count hard clips too (``samtools markdup``), or soft clips only (``samtools sort --template-coordinate``).
    start, end : ndarray of int64, shape (records,)
        Out: 0-based, half-open; may lie outside of the reference. An alignment without reference bases (and a record
        without CIGAR) counts as one base long, as in ``bam_endpos``.

    Raises
    ------
    KernelError
        As :func:`reference_spans`; and where a position is below -1 or above 2^62.
    """
    records = _cigars(cigar, cigar_offsets)
    if not len(position) == len(start) == len(end) == len(records):
        raise KernelError("positions, outputs and CIGARs differ in number")
    for i, operations in enumerate(records):
        at = int(position[i])
        if not -1 <= at < 1 << 62:
            raise KernelError("position out of range", i)
        start[i] = at - _clipped(operations, hard)
        end[i] = at + max(1, _sum(operations, REFERENCE)) + _clipped(operations[::-1], hard)


def md_bound(contig_offsets: I64, reference: I32, cigar: U32, cigar_offsets: I64, base_offsets: I64) -> int:
    """Characters that the MD texts of the records take at most, together.

    Parameters
    ----------
    contig_offsets, reference, cigar, cigar_offsets, base_offsets
        As in :func:`nm_md`.

    Returns
    -------
    int

    Raises
    ------
    KernelError
        A reference is not one of the contigs, an operation is not one of the nine, or offsets decrease.
    """
    records = _cigars(cigar, cigar_offsets)
    unbounded = (1 << 63) - 1
    check_offsets(contig_offsets, unbounded, "offsets outside of the reference sequences")
    if not len(reference) == len(records) == len(base_offsets) - 1:
        raise KernelError("references, bases and CIGARs differ in number")
    check_offsets(base_offsets, unbounded, "offsets outside of the bases")
    return sum(
        _md_room(operations, int(bases), _contig_length(contig_offsets, int(contig), i))
        for i, (operations, bases, contig) in enumerate(zip(records, np.diff(base_offsets), reference, strict=True))
        if contig >= 0
    )


def nm_md(
    genome: U8, contig_offsets: I64, reference: I32, position: I64, cigar: U32, cigar_offsets: I64, bases: U8,
    base_offsets: I64, nm: I32, md: U8, md_offsets: I64,
) -> int:  # fmt: skip
    """Differences of reads from the reference, exactly as ``samtools calmd`` writes them.

    A base matches when its 4-bit code equals that of the reference and neither is N; ``=`` matches anything. Reads and
    contigs that end before the CIGAR does end the comparison there.

    Parameters
    ----------
    genome : ndarray of uint8
        Letters of all contigs end to end, in any case.
    contig_offsets : ndarray of int64, shape (contigs + 1,)
        Contig ``i`` is ``genome[contig_offsets[i]:contig_offsets[i + 1]]``.
    reference : ndarray of int32, shape (records,)
        Contig of each record, -1 for none; give -1 for unmapped reads, which may have a place (that of their mate).
    position : ndarray of int64, shape (records,)
        0-based leftmost position, -1 for none.
    cigar, cigar_offsets
        As in :func:`reference_spans`.
    bases, base_offsets
        SEQ of each record as ASCII: reverse complemented where the read is.
    nm : ndarray of int32, shape (records,)
        Out: NM, or -1 where there is no contig, position, CIGAR or SEQ.
    md : ndarray of uint8
        Out: MD texts end to end, empty where NM is -1; at least :func:`md_bound` long.
    md_offsets : ndarray of int64, shape (records + 1,)
        Out: record ``i`` is ``md[md_offsets[i]:md_offsets[i + 1]]``.

    Returns
    -------
    int
        How much of ``md`` is used.

    Raises
    ------
    KernelError
        A reference is not one of the contigs, an operation is not one of the nine, there is no room, NM does not fit
        32 bits, offsets lie outside of their values, or arrays differ in length.
    """
    records = _cigars(cigar, cigar_offsets)
    check_offsets(contig_offsets, len(genome), "offsets outside of the reference sequences")
    check_offsets(base_offsets, len(bases), "offsets outside of the bases")
    n = len(records)
    if not len(reference) == len(position) == len(base_offsets) - 1 == len(nm) == len(md_offsets) - 1 == n:
        raise KernelError("arrays of records differ in length")
    used = 0
    md_offsets[0] = 0
    for i, operations in enumerate(records):
        contig, at = int(reference[i]), int(position[i])
        read = bases[base_offsets[i] : base_offsets[i + 1]]
        nm[i] = -1
        if contig >= 0 and at >= 0 and len(read) and operations:
            length = _contig_length(contig_offsets, contig, i)
            if _md_room(operations, len(read), length) > len(md) - used:
                raise KernelError("no room for the MD texts", i)
            first = int(contig_offsets[contig])
            differences, text, _, _ = walk(read, genome[first : first + length], at, operations)
            if differences > np.iinfo(np.int32).max:
                raise KernelError("NM does not fit 32 bits", i)
            nm[i] = differences
            md[used : used + len(text)] = np.frombuffer(text, np.uint8)
            used += len(text)
        md_offsets[i + 1] = used
    return used


def walk(read: U8, contig: U8, at: int, operations: list[tuple[int, str]]) -> tuple[int, bytes, int, int]:
    """NM and MD of one record, and how many bases match, or do not match because one is N."""
    text, matched, nm, here, matches, ambiguous = "", 0, 0, 0, 0, 0
    for length, operation in operations:
        inside = length
        if operation in BOTH:
            inside = max(0, min(length, len(read) - here, len(contig) - at))
            for letter, other in zip(read[here : here + inside], contig[at : at + inside], strict=True):
                if (CODES[letter] == CODES[other] != 15) or CODES[letter] == 0:
                    matched += 1
                    matches += 1
                else:
                    text += f"{matched}{_upper(other.tobytes())}"
                    matched, nm = 0, nm + 1
                    ambiguous += 15 in (CODES[letter], CODES[other])
        elif operation == "D":
            inside = max(0, min(length, len(contig) - at))
            text += f"{matched}^{_upper(contig[at : at + inside].tobytes())}"
            matched, nm = 0, nm + inside
        elif operation == "I":
            nm += length
        here += inside if operation in QUERY else 0
        at += inside if operation in REFERENCE else 0
        if inside < length:
            break
    return nm, f"{text}{matched}".encode("latin-1"), matches, ambiguous


def _upper(letters: bytes) -> str:
    return letters.upper().decode("latin-1")


def _cigars(cigar: U32, offsets: I64) -> list[list[tuple[int, str]]]:
    """Operations of every record as (length, letter)."""
    check_offsets(offsets, len(cigar), "offsets outside of the CIGARs")
    first = int(offsets[0])
    bad = np.flatnonzero((cigar[first : int(offsets[-1])] & 15) >= len(CIGAR_OPERATIONS))
    if len(bad):
        at = first + int(bad[0])
        record = int(np.searchsorted(offsets, at, side="right")) - 1
        raise KernelError("CIGAR operation is not one of MIDNSHP=X", record, at)
    return [
        [(int(o) >> 4, CIGAR_OPERATIONS[int(o) & 15]) for o in cigar[start:end]]
        for start, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    ]


def _sum(operations: list[tuple[int, str]], counted: str) -> int:
    return sum(length for length, operation in operations if operation in counted)


def _clipped(operations: list[tuple[int, str]], hard: bool) -> int:
    total = 0
    for length, operation in operations:
        if operation not in CLIPS:
            break
        total += length if hard or operation == "S" else 0
    return total


def _contig_length(contig_offsets: I64, contig: int, record: int) -> int:
    if contig >= len(contig_offsets) - 1:
        raise KernelError("reference is not one of the contigs", record)
    return int(contig_offsets[contig + 1] - contig_offsets[contig])


def _md_room(operations: list[tuple[int, str]], bases: int, contig_length: int) -> int:
    """Most characters: "0A" for a base, "0^" before a deletion and its letters, one more digit at the end."""
    deletions = sum(operation == "D" for _, operation in operations)
    deleted = min(contig_length, _sum(operations, "D"))
    return 2 * min(bases, _sum(operations, BOTH)) + deleted + 2 * deletions + 1
