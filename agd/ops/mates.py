"""Whether the two records of each pair name each other's places, in any order of the records."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agd import kernels
from agd.batch import U64, Batch, Column
from agd.kernels.ragged import take_any
from agd.ops.lines import read_names
from agd.types import Flag

#: Bytes that one record takes until the end.
BYTES = 24

_SKIPPED = np.uint16(Flag.SECONDARY | Flag.SUPPLEMENTARY)


class MateCheck:
    """Collects what primary records say of themselves and of their mates.

    Parameters
    ----------
    records : int
        That will come.
    memory : int
        Bytes to stay under: where all records are too many, a fixed share of all names is looked at.
    """

    def __init__(self, records: int, memory: int) -> None:
        self._one_of = np.uint64(max(1, -(-records * BYTES // max(1, memory))))
        self._parts: list[NDArray[np.uint64]] = []

    def of(self, lines: Batch, names: str) -> NDArray[np.uint64]:
        """What a batch of alignment lines says: uint64, shape (records, 3): name, own place, place of the mate."""
        a = lines.alignments()
        chosen = np.flatnonzero(((a.flag & _SKIPPED) == 0) & ((a.flag & np.uint16(Flag.PAIRED)) != 0))
        metadata = take_any(lines.ragged("metadata"), chosen)
        assert isinstance(metadata, Column)
        starts, ends = read_names(metadata, names, np.ones(len(chosen), np.bool_))
        low, high = np.empty(len(chosen), np.uint64), np.empty(len(chosen), np.uint64)
        kernels.hash_spans(metadata.values, np.ascontiguousarray(starts), np.ascontiguousarray(ends), low, high)
        flag = a.flag[chosen]
        own = _place(a.reference[chosen], a.position[chosen], flag, Flag.UNMAPPED, Flag.REVERSE)
        mate = _place(
            a.mate_reference[chosen], a.mate_position[chosen], flag, Flag.MATE_UNMAPPED, Flag.MATE_REVERSE
        )
        rows = np.stack([low, own, mate], axis=1)
        return rows[low % self._one_of == 0] if self._one_of > 1 else rows

    def add(self, rows: NDArray[np.uint64] | None) -> None:
        """Take in what :meth:`of` gave."""
        if rows is not None and len(rows):
            self._parts.append(rows)

    def wrong(self) -> int:
        """Pairs, of those of which both primary records are there, that contradict each other."""
        if not self._parts:
            return 0
        rows = np.concatenate(self._parts)
        rows = rows[np.argsort(rows[:, 0], kind="stable")]
        begins = np.flatnonzero(np.r_[True, rows[1:, 0] != rows[:-1, 0]])
        sizes = np.diff(np.r_[begins, len(rows)])
        one = begins[sizes == 2]  # a name that more records share says nothing
        two = one + 1
        same = (rows[one, 1] == rows[two, 2]) & (rows[two, 1] == rows[one, 2])
        return int((~same).sum())


def _place(
    reference: NDArray[np.int32], position: NDArray[np.int64], flag: NDArray[np.uint16], unmapped: int, reverse: int
) -> U64:
    place: U64 = (reference.astype(np.int64) + 1).astype(np.uint64) << np.uint64(34)
    place |= (position + 1).astype(np.uint64) << np.uint64(2)
    place |= ((flag & np.uint16(unmapped)) != 0).astype(np.uint64) << np.uint64(1)
    place |= ((flag & np.uint16(reverse)) != 0).astype(np.uint64)
    return place
