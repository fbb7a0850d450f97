"""Sums of the checksum kernel: what they begin with, and how they are combined."""

from __future__ import annotations

import numpy as np

from agd.batch import U64

#: the field in which checksums are multiplied
PRIME = np.uint64(2**31 - 1)
#: rows of each group, by flag 0x200
ROWS = ("all", "pass", "fail")
#: columns of each row: a count, then products
COLUMNS = ("count", "seq", "name", "qual", "aux", "pos", "cigar", "mate")


def empty_sums(groups: int) -> U64:
    """Sums of no records.

    Parameters
    ----------
    groups : int

    Returns
    -------
    ndarray of uint64, shape (groups, 3, 8)
        ``.reshape(-1)`` of it is what the kernel ``checksum`` takes. Rows and columns are :data:`ROWS` and
        :data:`COLUMNS`.
    """
    sums = np.ones((groups, len(ROWS), len(COLUMNS)), np.uint64)
    sums[..., 0] = 0
    return sums


def combine_sums(left: U64, right: U64) -> U64:
    """Sums of two disjoint sets of records together; the order does not matter.

    Parameters
    ----------
    left, right : ndarray of uint64, shape (..., 8)

    Returns
    -------
    ndarray of uint64, of the same shape
    """
    combined = left % PRIME * (right % PRIME) % PRIME
    combined[..., 0] = left[..., 0] + right[..., 0]
    return combined


def combined_checksum(sums: U64, placed: bool = False) -> U64:
    """The last column of the report of ``samtools checksum``: one number for a whole row.

    Parameters
    ----------
    sums : ndarray of uint64, shape (..., 8)
    placed : bool
        Whether positions, CIGAR and mates are among the columns of the report.

    Returns
    -------
    ndarray of uint64, shape (...)

    Notes
    -----
    samtools takes ``seq`` twice and leaves ``qual`` out; this does the same, so that the numbers can be compared.
    """
    count, seq, name, _, aux, pos, cigar, mate = np.moveaxis(sums, -1, 0)
    parts = [count >> np.uint64(32), count & np.uint64(0xFFFFFFFF), seq, name, seq, aux]
    result = np.ones(sums.shape[:-1], np.uint64)
    for part in parts + ([pos, cigar, mate] if placed else []):
        factor = part & PRIME
        result = result * np.where((factor == 0) | (factor == PRIME), np.uint64(1), factor) % PRIME
    return result
