"""Columns of chunks, filled while the text of FASTQ files is read.

A block of text goes into the columns as long as it is in the processor's caches, and is let go of: what waits to be
encoded are columns, half the size of the text and the places of its records.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from agd import kernels
from agd.batch import I64, U8, Batch, Column
from agd.convert.fastq_reader import BASES, NAME, PLUS, QUALITIES, Block
from agd.kernels.memory import empty

#: The same records, or mates, of every file.
Segment: TypeAlias = tuple[Block, ...]


def chunks(segments: Iterator[Segment], step: int, units: int, limit: int) -> Iterator[Batch]:
    """Chunks at borders that depend on the records alone; the records of two files take turns.

    Parameters
    ----------
    segments : iterator of tuple of Block
    step : int
        Records of a block that stay together; with as many of every file they are a group.
    units : int
        Most groups in a chunk.
    limit : int
        A chunk ends with the group that brings a column to this many bytes.
    """
    first, chunk, full = 0, None, list[Batch]()
    for segment in segments:
        at, total = 0, len(segment[0]) // step
        while at < total:
            part = _Part.of(segment, at * step, min(total, at + units - (chunk.groups if chunk else 0)) * step, step)
            if chunk is None:
                chunk = _Filling(first, part, units, limit)
            at += chunk.add(part, limit)
            if chunk.groups == units or chunk.largest >= limit:
                full.append(chunk.batch())
                first, chunk = first + chunk.groups * step * len(segment), None
                yield full.pop()  # nothing here holds on to it
    if chunk is not None:
        yield chunk.batch()


@dataclass(frozen=True, slots=True)
class _Part:
    """Consecutive groups of a segment.

    Attributes
    ----------
    blocks : tuple of Block
    lengths, widths : ndarray of int64, shape (records,)
        Bytes of the bases and of the metadata of all records, in the order of the chunk.
    each : int
        Records in a group.
    """

    blocks: Segment
    lengths: I64
    widths: I64
    each: int

    @staticmethod
    def of(segment: Segment, start: int, stop: int, step: int) -> _Part:
        """Records ``start`` to ``stop`` (0-based, half-open) of every block."""
        ways = len(segment)
        blocks = tuple(block.slice(start, stop) for block in segment)
        lengths, widths = np.empty((2, (stop - start) * ways), np.int64)
        for way, block in enumerate(blocks):
            plus = _width(block, PLUS)
            lengths[way::ways] = _width(block, BASES)
            widths[way::ways] = _width(block, NAME) + plus + (plus > 0)
        return _Part(blocks, lengths, widths, step * ways)

    def __len__(self) -> int:
        return len(self.lengths) // self.each

    def slice(self, groups: int) -> _Part:
        """The first groups."""
        step = groups * self.each // len(self.blocks)
        records = groups * self.each
        blocks = tuple(block.slice(0, step) for block in self.blocks)
        return _Part(blocks, self.lengths[:records], self.widths[:records], self.each)

    def reaching(self, bases: int, metadata: int) -> int:
        """How many groups bring one of the columns by so many bytes further; all of them if none is."""
        found = len(self)
        for sizes, wanted in ((self.lengths, bases), (self.widths, metadata)):
            if sizes.sum() >= wanted:
                grown = np.cumsum(sizes.reshape(-1, self.each).sum(1))
                found = min(found, int(np.searchsorted(grown, wanted)) + 1)
        return found


def _width(block: Block, field: int) -> I64:
    return np.asarray(block.spans[:, field + 1] - block.spans[:, field])


class _Growing:
    """Bytes that more are put behind."""

    def __init__(self, expected: int) -> None:
        self.values: U8 = empty(expected)
        self.filled = 0

    def grow(self, size: int) -> None:
        """Make so many more bytes part of it, which are whatever they are."""
        self.filled += size
        if self.filled > len(self.values):
            larger = empty(self.filled + self.filled // 2)
            larger[: len(self.values)] = self.values
            self.values = larger

    def column(self, lengths: list[I64]) -> Column:
        """As a column."""
        return Column.from_lengths(self.values[: self.filled], np.concatenate(lengths))


class _Filling:
    """A chunk that is not complete yet.

    Parameters
    ----------
    first : int
        Ordinal of its first record.
    part : _Part
        The first groups: what comes after them will be of much the same size.
    units, limit : int
        Most groups of the chunk, and bytes that end it.
    """

    def __init__(self, first: int, part: _Part, units: int, limit: int) -> None:
        self.groups = 0
        self._first = first
        self._lengths: list[I64] = []
        self._widths: list[I64] = []
        # A little more: the other groups are not of exactly the same size.
        share = 33 * units // 32 / len(part)
        expected = [min(int(sizes.sum() * share), limit) for sizes in (part.lengths, part.lengths, part.widths)]
        self._bases, self._qualities, self._metadata = map(_Growing, expected)

    @property
    def largest(self) -> int:
        """Bytes of the largest column."""
        return max(self._bases.filled, self._metadata.filled)

    def add(self, part: _Part, limit: int) -> int:
        """Take groups until one of the columns has ``limit`` bytes; how many were taken."""
        taken = part.reaching(limit - self._bases.filled, limit - self._metadata.filled)
        part = part.slice(taken)
        reads = self._bases.filled + np.cumsum(part.lengths) - part.lengths
        names = self._metadata.filled + np.cumsum(part.widths) - part.widths
        for growing, lengths in ((self._bases, part.lengths), (self._qualities, part.lengths),
                                 (self._metadata, part.widths)):  # fmt: skip
            growing.grow(int(lengths.sum()))
        ways = len(part.blocks)
        for way, block in enumerate(part.blocks):
            self._copy(block, reads[way::ways], names[way::ways])
        self._lengths.append(part.lengths)
        self._widths.append(part.widths)
        self.groups += taken
        return taken

    def _copy(self, block: Block, reads: I64, names: I64) -> None:
        text, spans, metadata = block.text, block.spans, self._metadata.values
        kernels.copy_spans(text, spans[:, BASES], spans[:, BASES + 1], self._bases.values, reads)
        kernels.copy_spans(text, spans[:, QUALITIES], spans[:, QUALITIES + 1], self._qualities.values, reads)
        kernels.copy_spans(text, spans[:, NAME], spans[:, NAME + 1], metadata, names)
        noted = np.flatnonzero(_width(block, PLUS))
        if len(noted):
            ends = names[noted] + _width(block, NAME)[noted]
            metadata[ends] = ord("\n")
            kernels.copy_spans(text, spans[noted, PLUS], spans[noted, PLUS + 1], metadata, ends + 1)

    def batch(self) -> Batch:
        """The chunk, complete."""
        bases = self._bases.column(self._lengths)
        qualities = Column(self._qualities.values[: self._qualities.filled], bases.offsets)
        return Batch(
            self._first, {"bases": bases, "qualities": qualities, "metadata": self._metadata.column(self._widths)}
        )
