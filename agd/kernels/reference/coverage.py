"""Reference of the kernels of depth: aligned blocks, differences of depth, qualities of aligned bases."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from agd.batch import I32, I64, U8, U32
from agd.errors import KernelError
from agd.kernels.reference.ragged import check_offsets
from agd.types import CIGAR_OPERATIONS


def aligned_blocks(
    position: I64, cigar: U32, cigar_offsets: I64, low: I64, high: I64, starts: I64, ends: I64
) -> int:
    """Stretches of the reference that reads are aligned to, base by base: M, = and X.

    Parameters
    ----------
    position : ndarray of int64, shape (records,)
        Of the first aligned base; 0-based, in any linear coordinate.
    cigar, cigar_offsets
        BAM operations; record ``i`` is ``cigar[cigar_offsets[i]:cigar_offsets[i + 1]]``.
    low, high : ndarray of int64, shape (records,)
        Blocks are cut to this interval, half-open.
    starts, ends : ndarray of int64
        Written: blocks, half-open; those of a record that touch (an insertion lies between them) are one. As many as
        there are operations is room enough.

    Returns
    -------
    int
        Number of blocks.

    Raises
    ------
    KernelError
        Offsets lie outside of the CIGARs; a position is below -1 or from 2^62; arrays differ in length; no room.
    """
    check_offsets(cigar_offsets, len(cigar), "offsets outside of the CIGARs")
    if not len(position) == len(cigar_offsets) - 1 == len(low) == len(high) or len(starts) != len(ends):
        raise KernelError("the arrays differ in length")
    count = 0
    for i in range(len(position)):
        first = count
        for begin, end, _ in _blocks(position, cigar, cigar_offsets, low, high, i):
            if count > first and ends[count - 1] == begin:
                ends[count - 1] = end
                continue
            if count == len(starts):
                raise KernelError("no room for the blocks", i)
            starts[count], ends[count] = begin, end
            count += 1
    return count


def _blocks(
    position: I64, cigar: U32, offsets: I64, low: I64, high: I64, record: int
) -> Iterator[tuple[int, int, int]]:
    at, read = int(position[record]), 0
    if not -1 <= at < 1 << 62:
        raise KernelError("position out of range", record)
    for operation in cigar[offsets[record] : offsets[record + 1]].tolist():
        length = operation >> 4
        letter = CIGAR_OPERATIONS[operation & 15] if operation & 15 < len(CIGAR_OPERATIONS) else "P"
        if letter in "M=X":
            begin, end = max(at, int(low[record])), min(at + length, int(high[record]))
            if begin < end:
                yield begin, end, read + begin - at
        read += length if letter in "MIS=X" else 0
        at += length if letter in "MDN=X" else 0


def aligned_qualities(
    position: I64, cigar: U32, cigar_offsets: I64, qualities: U8, quality_offsets: I64, base: int, low: I64, high: I64,
    sums: I64, counts: I64,
) -> None:
    """Sum and number of the qualities of the aligned bases of each record.

    Parameters
    ----------
    position, cigar, cigar_offsets, low, high
        As in :func:`aligned_blocks`.
    qualities, quality_offsets
        Of each record, in the orientation of the CIGAR.
    base : int
        What is taken off each value (33 where qualities are text).
    sums, counts : ndarray of int64, shape (records,)
        Written. Bases without a quality count nothing.

    Raises
    ------
    KernelError
        As :func:`aligned_blocks`; or offsets lie outside of the qualities.
    """
    check_offsets(cigar_offsets, len(cigar), "offsets outside of the CIGARs")
    check_offsets(quality_offsets, len(qualities), "offsets outside of the qualities")
    lengths = {len(position), len(cigar_offsets) - 1, len(quality_offsets) - 1, len(low), len(high), len(sums)}
    if len(lengths) > 1 or len(counts) != len(sums):
        raise KernelError("the arrays differ in length")
    for i in range(len(position)):
        own = qualities[quality_offsets[i] : quality_offsets[i + 1]].astype(np.int64) - base
        sums[i] = counts[i] = 0
        for begin, end, read in _blocks(position, cigar, cigar_offsets, low, high, i):
            some = own[read : read + end - begin]
            sums[i] += int(some.sum())
            counts[i] += len(some)


def add_spans(starts: I64, ends: I64, differences: I32) -> None:
    """Add 1 where each span begins and take 1 off where it ends: the running sum is then the depth.

    Parameters
    ----------
    starts, ends : ndarray of int64, shape (spans,)
        Half-open.
    differences : ndarray of int32
        Changed.

    Raises
    ------
    KernelError
        A span ends before it begins or outside of the differences; arrays differ in length.
    """
    if len(starts) != len(ends):
        raise KernelError("the arrays differ in length")
    bad = np.flatnonzero((starts < 0) | (starts > ends) | (ends >= len(differences)))
    if len(bad):
        raise KernelError("span outside of the differences", int(bad[0]))
    np.add.at(differences, starts, 1)
    np.subtract.at(differences, ends, 1)
