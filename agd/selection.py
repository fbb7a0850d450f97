"""Which records of a dataset are wanted: regions, flags, mapping quality, read groups."""

from __future__ import annotations

import contextlib
import operator
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from agd.batch import Alignments, Batch, Bool, Column
from agd.cell import alignment_ends
from agd.errors import UsageError
from agd.manifest import Chunk, Manifest
from agd.tags import all_tags, tag_spans
from agd.types import Flag, Reference


class Published(Protocol):
    """Whatever has a manifest: a dataset."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of a reference.

    Attributes
    ----------
    reference : int
        Index of the reference; -1 for the records without a place (``*``).
    start, end : int
        0-based, half-open.
    """

    reference: int
    start: int
    end: int


def parse_region(text: str, references: Sequence[Reference]) -> Region:
    """Region from ``name``, ``name:start``, ``name:start-end`` (1-based, closed, commas allowed) or ``*``.

    Raises
    ------
    UsageError
        The reference is unknown or the numbers make no sense.
    """
    if text == "*":
        return Region(-1, 0, 0)
    index = {reference.name: i for i, reference in enumerate(references)}
    if text in index:
        return Region(index[text], 0, references[index[text]].length)
    name, colon, span = text.rpartition(":")
    match = re.fullmatch(r"([0-9][0-9,]*)(?:-([0-9][0-9,]*)?)?", span)
    if not colon or name not in index:
        raise UsageError(f"region {text!r}: there is no such reference here", "see 'agd info' for the references")
    if not match:
        raise UsageError(f"region {text!r}: {span!r} is no stretch", f"give one such as {name}:1,000-2,000")
    start = int(match[1].replace(",", ""))
    end = match[2].replace(",", "") if match[2] else ""
    stop = int(end) if end else references[index[name]].length
    if start < 1 or stop < start:
        raise UsageError(f"region {text!r}: positions count from 1 and the end is not before the start")
    return Region(index[name], start - 1, stop)


class Condition(Protocol):
    """Any other condition on alignment lines."""

    #: Columns that it looks at, besides the alignments.
    columns: list[str]

    def mask(self, lines: Batch) -> Bool:
        """For which alignment lines it holds."""
        ...


@dataclass(frozen=True, slots=True)
class Selection:
    """Conditions that a record meets all at once.

    Attributes
    ----------
    regions : tuple of Region
        Overlap with any of them; empty: anywhere.
    require, exclude : int
        Flags of which all must be set, and none may be.
    min_mapq : int
    read_groups : tuple of bytes
        Values of the RG tag; empty: any.
    expression : Condition, optional
        Any other condition.

    Raises
    ------
    UsageError
        There are no such flags.
    """

    regions: tuple[Region, ...] = ()
    require: int = 0
    exclude: int = 0
    min_mapq: int = 0
    read_groups: tuple[bytes, ...] = ()
    expression: Condition | None = None

    def __post_init__(self) -> None:
        _check_flags(self.require, self.require)
        _check_flags(self.exclude, self.exclude)

    @property
    def columns(self) -> list[str]:
        """Columns that the conditions look at, besides the alignments."""
        tags = ["tags"] if self.read_groups else []
        return list(dict.fromkeys([*tags, *(self.expression.columns if self.expression else [])]))

    @property
    def everything(self) -> bool:
        """Whether no condition is set."""
        return self == Selection()

    def chunks(self, dataset: Published) -> list[Chunk]:
        """Chunks that may hold wanted records, by the statistics in the manifest."""
        return [chunk for chunk in dataset.manifest.chunks if self._may_hold(chunk, dataset)]

    def _may_hold(self, chunk: Chunk, dataset: Published) -> bool:
        if "duplicates" not in dataset.manifest.columns and not self._flags_occur(chunk):
            return False
        # No statistic tells how many records are without a place: flags do not, for such a record may lack 0x4.
        if not self.regions or any(region.reference < 0 for region in self.regions):
            return True
        return any(_spans_overlap(chunk, name, self.regions) for name in dataset.manifest.columns)

    def _flags_occur(self, chunk: Chunk) -> bool:
        if not (self.require or self.exclude) or _has_nulls(chunk):
            return True
        for name, cell in chunk.cells.items():
            flags = cell.statistics.get("flags")
            if flags is None:
                if name == "results":
                    return True
                continue
            if any(self._flag_fits(int(flag)) for flag in flags):
                return True
        return "results" not in chunk.cells

    def _flag_fits(self, flag: int) -> bool:
        return flag & self.require == self.require and not flag & self.exclude

    def mask(self, batch: Batch) -> Bool:
        """Which records of a batch of alignment lines are wanted."""
        alignments = batch.alignments()
        flag = alignments.flag
        wanted: Bool = ((flag & self.require) == self.require) & ((flag & self.exclude) == 0)
        if self.min_mapq:
            wanted &= alignments.mapping_quality >= self.min_mapq
        if self.regions:
            wanted &= overlaps(alignments, self.regions)
        if self.read_groups:
            wanted &= _in_read_groups(all_tags(batch), self.read_groups)
        if self.expression is not None:
            wanted &= self.expression.mask(batch)
        return wanted


def _has_nulls(chunk: Chunk) -> bool:
    """Whether some records of a chunk may have no alignment at all: the statistics know nothing of them."""
    cell = chunk.cells.get("results")
    return cell is None or sum(cell.statistics.get("flags", {}).values()) != chunk.count


def _spans_overlap(chunk: Chunk, column: str, regions: Iterable[Region]) -> bool:
    """Whether the spans that the statistics of a column note touch any region; True when there are none to look at."""
    cell = chunk.cells.get(column)
    if cell is None or not (column == "results" or column.startswith("secondary")):
        return False
    spans = cell.statistics.get("spans")
    if spans is None or (column == "results" and _has_nulls(chunk)):
        return True
    return any(
        r == region.reference and a < region.end and b > region.start for region in regions for r, a, b in spans
    )


def overlaps(alignments: Alignments, regions: Iterable[Region]) -> Bool:
    """Which alignments overlap any of the regions; a placed unmapped record covers one base, whatever its CIGAR.

    A record that names a reference and no position (POS 0) is without a place, as it is to htslib when it reads SAM.
    """
    end = alignment_ends(alignments)
    placed = (alignments.reference >= 0) & (alignments.position >= 0)
    found = np.zeros(len(alignments), np.bool_)
    for region in regions:
        if region.reference < 0:
            found |= ~placed
        else:
            here = placed & (alignments.reference == region.reference)
            found |= here & (alignments.position < region.end) & (end > region.start)
    return found


def _in_read_groups(tags: Column, groups: tuple[bytes, ...]) -> Bool:
    starts, ends = tag_spans(tags, b"RG")
    found = np.zeros(len(tags), np.bool_)
    for group in groups:
        field = np.frombuffer(b"RGZ" + group + b"\0", np.uint8)
        like = np.flatnonzero(ends - starts == len(field))
        if len(like):
            at = starts[like][:, None] + np.arange(len(field))
            found[like] |= (tags.values[at] == field).all(axis=1)
    return found


def parse_flags(value: int | str) -> int:
    """Flags from a number, or from text such as ``2308``, ``0x904`` or ``SECONDARY,SUPPLEMENTARY``.

    Raises
    ------
    UsageError
        A name is none of :class:`agd.types.Flag` (or of samtools' names for them), or the number has not 16 bits.
    """
    if not isinstance(value, str):
        return _check_flags(operator.index(value), value)
    with contextlib.suppress(ValueError):
        return _check_flags(int(value, 0), value)
    names = {"UNMAP": "UNMAPPED", "MUNMAP": "MATE_UNMAPPED", "MREVERSE": "MATE_REVERSE", "DUP": "DUPLICATE",
             "QCFAIL": "QC_FAIL"}  # fmt: skip
    bits = 0
    for part in value.upper().split(","):
        try:
            bits |= Flag[names.get(part, part)]
        except KeyError:
            raise UsageError(f"{part!r} is not a flag", f"flags are: {', '.join(Flag.__members__)}") from None
    return bits


def _check_flags(value: int, given: int | str) -> int:
    if not 0 <= value <= 0xFFFF:
        raise UsageError(f"{given} is no set of flags", "flags are a number from 0 to 65535, or names")
    return value
