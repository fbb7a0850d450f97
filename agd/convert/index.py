"""BAI and CSI indexes of BAM files, built from whole arrays while the file is written.

The bins, chunks and linear index are those that htslib makes (SAM specification, section 5; CSI specification), so that
any program finds the same records with it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agd.batch import I32, I64
from agd.convert.bgzf import EOF, deflate_blocks
from agd.errors import VerificationError
from agd.types import Flag

#: Bases of the smallest bin, as a power of two.
MIN_SHIFT = 14

#: Levels of bins of BAI: it reaches 2**29 bases.
BAI_DEPTH = 5

#: A bin whose chunks lie closer together than this many compressed bytes is merged into its parent, if there is one.
_SMALL_BIN = 0x10000


def csi_depth(longest: int) -> int:
    """Levels of bins that htslib chooses for references of at most this many bases."""
    depth = 0
    while longest + 256 > 1 << (MIN_SHIFT + 3 * depth):
        depth += 1
    return depth


def bins(position: I64, end: I64, depth: int) -> I64:
    """Smallest bin that holds each interval (``reg2bin`` of the specifications).

    Parameters
    ----------
    position, end : ndarray of int64
        0-based, half-open; not empty.
    depth : int
        Levels of bins.

    Returns
    -------
    ndarray of int64
    """
    last = end - 1
    out = np.zeros(len(position), np.int64)
    found = np.zeros(len(position), bool)
    for level in range(depth, 0, -1):
        shift = MIN_SHIFT + 3 * (depth - level)
        here = ~found & (position >> shift == last >> shift)
        out[here] = _first_bin(level) + (position[here] >> shift)
        found |= here
    return out


def _first_bin(level: int) -> int:
    """First bin of a level; level 0 is the one bin that holds everything."""
    return ((1 << 3 * level) - 1) // 7


@dataclass
class _ReferenceIndex:
    """What is known about one reference sequence."""

    runs: list[NDArray[np.int64]] = field(default_factory=list)  # columns: bin, virtual start, virtual end
    windows: list[NDArray[np.int64]] = field(default_factory=list)  # columns: window, virtual start of its first record
    covered: int = -1  # last window that any record reaches
    first: int = -1
    last: int = -1
    mapped: int = 0
    unmapped: int = 0

    def add(self, position: I64, end: I64, unmapped: NDArray[np.bool_], starts: I64, ends: I64, depth: int) -> None:
        """Add consecutive records of this reference."""
        position, end = np.maximum(position, 0), np.maximum(end, 1)
        bin_ = bins(position, end, depth)
        change = np.flatnonzero(np.diff(bin_)) + 1
        begin = np.concatenate([[0], change])
        stop = np.concatenate([change, [len(bin_)]]) - 1
        runs = np.stack([bin_[begin], starts[begin], ends[stop]], axis=1)
        if self.runs and self.runs[-1][-1, 0] == runs[0, 0]:
            # The run of the batch before goes on.
            self.runs[-1][-1, 2] = runs[0, 2]
            runs = runs[1:]
        if len(runs):
            self.runs.append(runs)
        self._add_windows(position, end, starts)
        self.first = int(starts[0]) if self.first < 0 else self.first
        self.last = int(ends[-1])
        self.unmapped += int(unmapped.sum())
        self.mapped += int(len(unmapped) - unmapped.sum())

    def _add_windows(self, position: I64, end: I64, starts: I64) -> None:
        # Records come by position: a window that any earlier record reaches was first met by one of them.
        reach = (end - 1) >> MIN_SHIFT
        before = np.maximum.accumulate(np.concatenate([[self.covered], reach]))
        begin = np.maximum(before[:-1] + 1, position >> MIN_SHIFT)
        count = np.maximum(reach - begin + 1, 0)
        new = np.flatnonzero(count)
        count = count[new]
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        self.windows.append(np.stack([np.repeat(begin[new], count) + within, np.repeat(starts[new], count)], axis=1))
        self.covered = int(before[-1])

    def linear(self) -> NDArray[np.uint64]:
        """Virtual offset of the first record that reaches each window of 16 kbp; that of the next one if none does."""
        offsets = np.full(self.covered + 1, np.iinfo(np.int64).max)
        for part in self.windows:
            offsets[part[:, 0]] = part[:, 1]
        return np.minimum.accumulate(offsets[::-1])[::-1].astype(np.uint64)

    def chunks(self, depth: int) -> tuple[I64, I64, I64]:
        """Bins, and virtual start and end of their chunks, in the order of bins and offsets."""
        bin_, start, end = np.concatenate(self.runs).T
        for level in range(depth, 0, -1):
            bin_ = _merge_small(bin_, start, end, level)
        order = np.lexsort((start, bin_))
        bin_, start, end = bin_[order], start[order], end[order]
        # Chunks of a bin that meet in a BGZF block become one.
        new = np.ones(len(bin_), bool)
        new[1:] = (bin_[1:] != bin_[:-1]) | (end[:-1] >> 16 < start[1:] >> 16)
        begin = np.flatnonzero(new)
        stop = np.concatenate([begin[1:], [len(bin_)]]) - 1
        return bin_[begin], start[begin], end[stop]


def _merge_small(bin_: I64, start: I64, end: I64, level: int) -> I64:
    """Bin of each run after the small bins of a level were merged into their parents, where those are there."""
    names, member = np.unique(bin_, return_inverse=True)
    low = np.full(len(names), np.iinfo(np.int64).max)
    high = np.zeros(len(names), np.int64)
    np.minimum.at(low, member, start)
    np.maximum.at(high, member, end)
    parent = (names - 1) >> 3
    first, stop = _first_bin(level), _first_bin(level + 1)
    small = (names >= first) & (names < stop) & ((high >> 16) - (low >> 16) < _SMALL_BIN) & np.isin(parent, names)
    merged: I64 = np.where(small, parent, names)[member]
    return merged


class IndexBuilder:
    """Builds the index of a BAM file in coordinate order.

    Parameters
    ----------
    lengths : sequence of int
        Bases of each reference sequence of the header.
    csi : bool, optional
        Default: CSI where a reference is longer than the 2**29 bases that BAI reaches, else BAI.
    """

    def __init__(self, lengths: Sequence[int], csi: bool | None = None) -> None:
        longest = max(lengths, default=0)
        self.csi = longest > 1 << 29 if csi is None else csi
        self._depth = csi_depth(longest) if self.csi else BAI_DEPTH
        self._references: list[_ReferenceIndex | None] = [None] * len(lengths)
        self._last = (0, -1)  # reference (unplaced: number of references) and position of the last record
        self._unplaced = 0

    @property
    def suffix(self) -> str:
        """What the name of the index adds to that of the BAM file: ``.bai`` or ``.csi``."""
        return ".csi" if self.csi else ".bai"

    def add(
        self, reference: I32, position: I64, end: I64, flag: NDArray[np.uint16], starts: NDArray[np.integer],
        ends: NDArray[np.integer],
    ) -> None:
        """Add the next records of the file.

        Parameters
        ----------
        reference : ndarray of int32
            Index of the reference sequence, -1 for none.
        position, end : ndarray of int64
            0-based, half-open; the end of records without CIGAR operations on the reference is position + 1.
        flag : ndarray of uint16
            SAM flags.
        starts, ends : ndarray of int
            Virtual offsets at which each record begins and ends.

        Raises
        ------
        VerificationError
            The records are not in coordinate order, or on a reference that the header does not have.
        """
        if not len(reference):
            return
        place = reference.astype(np.int64)
        if place.max() >= len(self._references):
            raise VerificationError(f"a record is on reference {place.max()}, the header has {len(self._references)}")
        place[place < 0] = len(self._references)
        self._check_order(place, position)
        first, last = starts.astype(np.int64), ends.astype(np.int64)
        unmapped = flag & Flag.UNMAPPED != 0
        # What an unmapped record has of a CIGAR does not count.
        end = np.where(unmapped, position + 1, end).astype(np.int64)
        cuts = np.concatenate([[0], np.flatnonzero(np.diff(place)) + 1, [len(place)]])
        for low, high in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
            number = int(place[low])
            if number == len(self._references):
                self._unplaced += high - low
                continue
            known = self._references[number]
            if known is None:
                known = self._references[number] = _ReferenceIndex()
            known.add(
                position[low:high].astype(np.int64), end[low:high], unmapped[low:high], first[low:high],
                last[low:high], self._depth,
            )

    def _check_order(self, place: I64, position: I64) -> None:
        place = np.concatenate([[self._last[0]], place])
        position = np.concatenate([[self._last[1]], position])
        ahead = np.diff(place)
        wrong = (ahead < 0) | ((ahead == 0) & (np.diff(position) < 0) & (place[1:] < len(self._references)))
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            raise VerificationError(
                f"the records are not in coordinate order: position {position[at + 1] + 1:,} of reference "
                f"{place[at + 1]} comes after position {position[at] + 1:,} of reference {place[at]}",
                "sort by coordinate first",
            )
        self._last = int(place[-1]), int(position[-1])

    def to_bytes(self) -> bytes:
        """The index file as it is stored: BAI, or CSI in BGZF."""
        parts = [b"BAI\1"]
        if self.csi:
            parts = [b"CSI\1", struct.pack("<iii", MIN_SHIFT, self._depth, 0)]
        parts.append(struct.pack("<i", len(self._references)))
        for known in self._references:
            self._put_reference(parts, known)
        parts.append(struct.pack("<Q", self._unplaced))
        data = b"".join(parts)
        return deflate_blocks(data)[0] + EOF if self.csi else data

    def _put_reference(self, parts: list[bytes], known: _ReferenceIndex | None) -> None:
        if known is None:
            parts.append(struct.pack("<i", 0) if self.csi else struct.pack("<ii", 0, 0))
            return
        bin_, start, end = known.chunks(self._depth)
        linear = known.linear()
        pairs = np.stack([start, end], axis=1).astype("<u8")
        cuts = np.concatenate([[0], np.flatnonzero(np.diff(bin_)) + 1, [len(bin_)]])
        names = bin_[cuts[:-1]]
        parts.append(struct.pack("<i", len(names) + 1))
        for name, loff, low, high in zip(
            names.tolist(), self._loff(names, linear).tolist(), cuts[:-1].tolist(), cuts[1:].tolist(), strict=True
        ):
            parts.append(self._bin_head(name, loff, high - low))
            parts.append(pairs[low:high].tobytes())
        # The bin that does not exist holds the extent of the reference's records and their counts.
        parts.append(self._bin_head(_first_bin(self._depth + 1) + 1, 0, 2))
        parts.append(struct.pack("<4Q", known.first, known.last, known.mapped, known.unmapped))
        if not self.csi:
            parts.append(struct.pack("<i", len(linear)) + linear.astype("<u8").tobytes())

    def _bin_head(self, name: int, loff: int, chunks: int) -> bytes:
        return struct.pack("<IQi", name, loff, chunks) if self.csi else struct.pack("<Ii", name, chunks)

    def _loff(self, names: I64, linear: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Linear offset of the first window of each bin; 0 where no record reaches it."""
        window = np.zeros(len(names), np.int64)
        for level in range(self._depth + 1):
            first, stop = _first_bin(level), _first_bin(level + 1)
            here = (names >= first) & (names < stop)
            window[here] = (names[here] - first) << 3 * (self._depth - level)
        out = np.zeros(len(names), np.uint64)
        known = window < len(linear)
        out[known] = linear[window[known]]
        return out
