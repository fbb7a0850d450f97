"""Reference of the kernels that tell what a chunk of alignments holds (``spec/manifest.md``)."""

from __future__ import annotations

import numpy as np

from agd.batch import I32, I64, U8, U16, U32, Bool
from agd.errors import KernelError
from agd.kernels.reference.ragged import check_offsets

#: Whether an operation of a CIGAR, by its code, covers bases of the reference: M, D, N, = and X do.
_COVERS = np.array([code in (0, 2, 3, 7, 8) for code in range(16)], np.int64)


def reference_lengths(cigar: U32, cigar_offsets: I64, out: I64) -> None:
    """Bases of the reference that each CIGAR covers (M, D, N, = and X; SAM specification, 1.4.6).

    Parameters
    ----------
    cigar, cigar_offsets
        Operations of record ``i`` are ``cigar[cigar_offsets[i]:cigar_offsets[i + 1]]``.
    out : ndarray of int64, shape (records,)
        Written.

    Raises
    ------
    KernelError
        Offsets lie outside of their values, or arrays differ in length.
    """
    check_offsets(cigar_offsets, len(cigar), "offsets outside of the CIGARs")
    if len(out) != len(cigar_offsets) - 1:
        raise KernelError("lengths and CIGARs differ in number")
    total = np.zeros(len(cigar) + 1, np.int64)
    np.cumsum((cigar >> 4) * _COVERS[cigar & 15], out=total[1:])
    out[:] = total[cigar_offsets[1:]] - total[cigar_offsets[:-1]]


def summarise_alignments(
    flag: U16, reference: I32, position: I64, mate_reference: I32, mapping_quality: U8, cigar: U32, cigar_offsets: I64,
    valid: Bool | None, most_spans: int,
) -> tuple[I64, I64, I64 | None]:  # fmt: skip
    """Counts of flags and of distant mates, and the span of what is placed on each reference.

    Parameters
    ----------
    flag, reference, position, mate_reference, mapping_quality, cigar, cigar_offsets, valid
        As in :class:`agd.batch.Alignments`; records that are not valid count for nothing.
    most_spans : int
        Spans of more references than these are not wanted.

    Returns
    -------
    counts : ndarray of int64, shape (65536,)
        Records of each flag.
    distant : ndarray of int64, shape (4,)
        Primary records of pairs, both mapped, on different references: those that passed quality control, those that
        failed it, and how many of each have a mapping quality of at least 5.
    spans : ndarray of int64, shape (3 * references,), or None
        Reference, first position and end (0-based, half-open) of the records that have both a reference and a position,
        of one base at least each, by reference; None where there are more than ``most_spans``.

    Raises
    ------
    KernelError
        Offsets lie outside of their values, or arrays differ in length.
    """
    known = np.ones(len(flag), np.bool_) if valid is None else valid
    columns = (reference, position, mate_reference, mapping_quality, cigar_offsets[1:], known)
    if any(len(column) != len(flag) for column in columns):
        raise KernelError("arrays of records differ in length")
    lengths = np.empty(len(flag), np.int64)
    reference_lengths(cigar, cigar_offsets, lengths)
    counts = np.bincount(flag[known], minlength=1 << 16)
    # Paired and neither unmapped, of an unmapped mate, secondary nor supplementary.
    far = known & ((flag & 0x90D) == 1) & (reference != mate_reference)
    failed, high = (flag & 0x200) != 0, mapping_quality >= 5
    distant = [np.count_nonzero(far & which) for which in (~failed, failed, ~failed & high, failed & high)]
    placed = known & (reference >= 0) & (position >= 0)
    start, end = position, position + np.maximum(lengths, 1)
    spans: list[int] = []
    for r in np.unique(reference[placed]).tolist():
        here = placed & (reference == r)
        spans += [r, int(start[here].min()), int(end[here].max())]
    return counts, np.array(distant, np.int64), None if len(spans) > 3 * most_spans else np.array(spans, np.int64)
