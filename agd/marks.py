"""Flags that are not stored as such: those of reads without alignments, and marks of duplicates.

The marks are a column of their own, folded into the flags of alignments when these are read.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from agd.batch import U8, U16, Alignments, AnyColumn, Column
from agd.types import Flag


def unmapped_flags(first: int, count: int, paired: bool) -> U16:
    """Flags of reads that were never aligned: 4, or 77 and 141 in turn for pairs (by the parity of the ordinal)."""
    if not paired:
        return np.full(count, Flag.UNMAPPED, np.uint16)
    return np.where((first + np.arange(count)) % 2, 141, 77).astype(np.uint16)


def is_marked(column: str) -> bool:
    """Whether the marks of the duplicates column are folded into the flags of a column."""
    return column == "results" or column.startswith("secondary")


def unmarked(flag: U16) -> U16:
    """Flags without 0x400."""
    return flag & np.uint16(0xFFFF ^ Flag.DUPLICATE)


def marked(flag: U16, marks: U8) -> U16:
    """Flags, 0x400 of them as marks say (bit 0: a duplicate), whatever it was."""
    return unmarked(flag) | np.where(marks & 1, np.uint16(Flag.DUPLICATE), np.uint16(0))


def fold_marks(columns: Mapping[str, AnyColumn], marks: Column) -> dict[str, AnyColumn]:
    """Columns of a chunk by name, the flag 0x400 of alignments as the marks say.

    Further alignments of a read are duplicates if it is one.
    """
    folded = dict(columns)
    for name, column in columns.items():
        if isinstance(column, Alignments) and is_marked(name):
            folded[name] = column.replace(flag=marked(column.flag, marks.values))
    return folded
