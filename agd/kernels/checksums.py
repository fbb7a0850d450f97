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
