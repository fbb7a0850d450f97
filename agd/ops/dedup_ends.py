"""What finding duplicates needs to know of the reads of a chunk: ends on the reference, sums of qualities, names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from agd import kernels
from agd.batch import I32, I64, U8, U64, Alignments, Batch, Bool, Column
from agd.errors import UsageError
from agd.kernels.duplicates import EXAMINED, FIRST, FOLLOWER, PAIRED, REVERSE, SECOND, Rows, end_dtype
from agd.manifest import Manifest
from agd.ops.lines import all_tags, is_lines, read_names
from agd.ops.select import tag_spans
from agd.samheader import lines_of
from agd.types import Flag

UNKNOWN_LIBRARY = "Unknown Library"

#: Bases of less quality do not count when the best copy is chosen, as in samtools markdup and Picard.
LEAST_QUALITY = 15

#: Fields of alignments that are looked at.
FIELDS = ("flag", "reference", "position", "cigar")

#: Never a duplicate by itself (a mapped read that failed quality control counts as a mate).
_EXCLUDED = np.uint16(Flag.SECONDARY | Flag.SUPPLEMENTARY | Flag.UNMAPPED | Flag.QC_FAIL)

_FURTHER = np.uint16(Flag.SECONDARY | Flag.SUPPLEMENTARY)


@dataclass(frozen=True, slots=True)
class Libraries:
    """Which library (or read group) reads belong to.

    Attributes
    ----------
    names : tuple of str
        The first one is that of reads of which nothing is known.
    groups : dict of str to int
        Index into ``names`` of each read group.
    single : bool
        All reads are of one library, whose index is 0; no tags need be read.
    """

    names: tuple[str, ...]
    groups: dict[str, int]
    single: bool

    @staticmethod
    def of(header: str, read_groups: bool) -> Libraries:
        """Libraries (LB) of a header; with ``read_groups`` every read group stands for itself."""
        lines = [line for line in lines_of(header, "RG") if line.get("ID")]
        found = {line["ID"]: line["ID"] if read_groups else line.get("LB", UNKNOWN_LIBRARY) for line in lines}
        distinct = list(dict.fromkeys(found.values()))
        if len(distinct) <= 1:
            return Libraries((*distinct, UNKNOWN_LIBRARY)[:1], {}, True)
        names = [UNKNOWN_LIBRARY, *(name for name in distinct if name != UNKNOWN_LIBRARY)]
        if len(names) > 1 << 16:
            raise UsageError(f"{len(names):,} libraries are too many", "leave --read-groups out")
        return Libraries(tuple(names), {group: names.index(name) for group, name in found.items()}, False)


@dataclass(frozen=True, slots=True)
class Extraction:
    """How reads are described.

    Attributes
    ----------
    libraries : Libraries
    barcode : bytes
        Tag of the barcode, b"" for none.
    places : bool
        Places on the flow cell are needed.
    lines : bool
        One record per alignment line, in any order; otherwise one per read, mates side by side if ``paired``.
    paired : bool
    names : str
        As in the manifest.
    """

    libraries: Libraries
    barcode: bytes
    places: bool
    lines: bool
    paired: bool
    names: str

    @staticmethod
    def of(manifest: Manifest, libraries: Libraries, barcode: str | None, places: bool) -> Extraction:
        """For a dataset."""
        if barcode is not None and not re.fullmatch(r"[A-Za-z][A-Za-z0-9]", barcode):
            raise UsageError(f"{barcode!r} is not the name of a tag", "give one such as RX")
        lines = is_lines(manifest)
        return Extraction(
            libraries, (barcode or "").encode(), places, lines, manifest.pairing == "interleaved" and not lines,
            manifest.names,
        )  # fmt: skip

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the rows."""
        return end_dtype(barcode=bool(self.barcode), places=self.places)

    @property
    def columns(self) -> list[str]:
        """Columns that are looked at, where there are any, besides ``results`` and further alignments."""
        names = ["qualities"]
        if self.lines or self.places:
            names.append("metadata")
        return [*names, "tags"] if self.tags else names

    @property
    def tags(self) -> bool:
        """Whether tags are looked at, also those of the alignments; of these otherwise only :data:`FIELDS` are."""
        return bool(self.barcode) or not self.libraries.single

    def ends(self, batch: Batch) -> tuple[Rows, I64]:
        """Rows of the records that take part, and counts of the others.

        Returns
        -------
        ndarray of dtype :attr:`dtype`
        ndarray of int64, shape (libraries, 2)
            By library: secondary or supplementary records, and unmapped reads.
        """
        alignments = _valid(batch.alignments())
        flag = alignments.flag
        unmapped = (flag & Flag.UNMAPPED) != 0
        further = (flag & _FURTHER) != 0
        library = self._library(batch)
        counts = np.zeros((len(self.libraries.names), 2), np.int64)
        for column, mask in enumerate((further, unmapped & ~further)):
            counts[:, column] = np.bincount(library[mask], minlength=len(counts))
        examined = (flag & _EXCLUDED) == 0
        follower = further | (unmapped & ((flag & Flag.PAIRED) != 0) & ((flag & Flag.MATE_UNMAPPED) == 0))
        follower &= self.lines or self.paired
        taking_part = np.flatnonzero(examined | follower | (~unmapped & ~further))
        rows = np.zeros(len(taking_part), self.dtype)
        rows["ordinal"] = batch.first + taking_part
        rows["reference"] = alignments.reference[taking_part]
        rows["library"] = library[taking_part]
        kind = flag & np.uint16(REVERSE | FIRST | SECOND | PAIRED)
        kind |= np.where(examined, np.uint16(EXAMINED), np.uint16(0))
        kind |= np.where(follower, np.uint16(FOLLOWER), np.uint16(0))
        rows["kind"] = kind[taking_part]
        start, end = unclipped(alignments)
        rows["start"], rows["end"] = start[taking_part], end[taking_part]
        rows["score"] = _scores(batch)[taking_part]
        self._name(rows, batch, alignments, taking_part)
        if self.barcode:
            rows["barcode"] = _barcodes(all_tags(batch), self.barcode)[taking_part]
        return rows, counts

    def _library(self, batch: Batch) -> I64:
        if self.libraries.single:
            return np.zeros(len(batch), np.int64)
        tags = all_tags(batch).compact()
        assert tags.offsets is not None
        codes, firsts = np.zeros(len(batch), np.int64), np.zeros(len(batch), np.int64)
        distinct = kernels.aux_codes(tags.values, tags.offsets, int.from_bytes(b"RG", "little"), codes, firsts)
        of_code = np.zeros(distinct + 1, np.int64)
        for code, at in enumerate(firsts[:distinct].tolist(), 1):
            text = tags.values[at : at + 1000].tobytes().split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
            of_code[code] = self.libraries.groups.get(text, 0)
        return of_code[codes]

    def _name(self, rows: Rows, batch: Batch, alignments: Alignments, chosen: I64) -> None:
        """Hashes of the names (or of what stands for them) and, if asked for, places on the flow cell."""
        if self.lines or self.places:
            metadata = batch.ragged("metadata")
            starts, ends = read_names(metadata, self.names, (alignments.flag & np.uint16(Flag.PAIRED)) != 0)
            starts, ends = starts[chosen], ends[chosen]
            if self.places:
                rows["tile"], rows["x"], rows["y"] = places(metadata.values, starts, ends)
        if self.lines:
            low, high = np.empty(len(rows), np.uint64), np.empty(len(rows), np.uint64)
            kernels.hash_spans(metadata.values, np.ascontiguousarray(starts), np.ascontiguousarray(ends), low, high)
            rows["low"], rows["high"] = low, high
        else:
            rows["low"] = (batch.first + chosen) >> int(self.paired)


def _valid(alignments: Alignments) -> Alignments:
    """Null records as unmapped ones without a mate, which take no part."""
    if alignments.valid is None:
        return alignments
    alone = np.uint16(Flag.UNMAPPED | Flag.MATE_UNMAPPED)
    return alignments.replace(valid=None, flag=np.where(alignments.valid, alignments.flag, alone))


def unclipped(alignments: Alignments) -> tuple[I64, I64]:
    """Where reads would begin and end on the reference, had nothing been clipped: 0-based, half-open."""
    cigar = alignments.cigar.compact()
    assert cigar.offsets is not None
    start, end = np.empty(len(cigar), np.int64), np.empty(len(cigar), np.int64)
    position = np.ascontiguousarray(alignments.position)
    kernels.unclipped_ends(position, np.ascontiguousarray(cigar.values), cigar.offsets, True, start, end)
    return start, end


def _scores(batch: Batch) -> I64:
    """Sum of the qualities of at least 15 of each record; 0 where there are none."""
    scores = np.zeros(len(batch), np.int64)
    if "qualities" in batch:
        qualities = batch.ragged("qualities")
        assert qualities.offsets is not None
        values = np.ascontiguousarray(qualities.values)
        kernels.quality_sums(values, np.ascontiguousarray(qualities.offsets), LEAST_QUALITY + 33, 33, scores)
    return np.minimum(scores, (1 << 31) - 1)


def _barcodes(tags: Column, tag: bytes) -> U64:
    """Hash of the text of a tag, 0 where there is none."""
    starts, ends = tag_spans(tags, tag)
    low, high = np.empty(len(tags), np.uint64), np.empty(len(tags), np.uint64)
    has = ends > starts
    if has.any() and not np.isin(tags.values[starts[has] + 2], (ord("Z"), ord("H"))).all():
        raise UsageError(f"the tag {tag.decode()} is no text", "name the tag that holds the barcodes, such as RX")
    kernels.hash_spans(np.ascontiguousarray(tags.values), starts, ends, low, high)
    return np.where(has, low, np.uint64(0))


def places(values: U8, starts: I64, ends: I64) -> tuple[U64, I32, I32]:
    """Tile, x and y of Illumina names, as samtools markdup reads them.

    Names have 4, 5, 7 or 8 fields with colons between them; x and y are the 3rd and 4th, the 4th and 5th, or the 6th
    and 7th, and all that comes before x is the tile. Names of another form have the place (-1, -1) on a tile of their
    own each.
    """
    count = len(starts)
    x, y = np.full(count, -1, np.int32), np.full(count, -1, np.int32)
    tile = np.arange(count, dtype=np.uint64)
    colons = np.flatnonzero(values == ord(":"))
    before = np.searchsorted(colons, starts)
    fields = np.searchsorted(colons, ends) - before + 1
    for number, x_field in ((4, 2), (5, 3), (7, 5), (8, 5)):
        some = np.flatnonzero(fields == number)
        if not len(some):
            continue
        first = before[some] + x_field - 1
        x_start, x_end = colons[first] + 1, colons[first + 1]
        last = x_field + 2 == number
        y_end = ends[some] if last else colons[np.minimum(first + 2, len(colons) - 1)]
        some_x, x_good = _numbers(values, x_start, x_end)
        some_y, y_good = _numbers(values, x_end + 1, y_end)
        good = x_good & y_good
        x[some[good]], y[some[good]] = some_x[good], some_y[good]
        low, high = np.empty(len(some), np.uint64), np.empty(len(some), np.uint64)
        kernels.hash_spans(np.ascontiguousarray(values), np.ascontiguousarray(starts[some]), x_start, low, high)
        tile[some[good]] = low[good]
    return tile, x, y


def _numbers(values: U8, starts: I64, ends: I64) -> tuple[I32, Bool]:
    """Digits at the beginning of spans as numbers, and where there are any."""
    total, more = np.zeros(len(starts), np.int64), np.ones(len(starts), np.bool_)
    good = np.zeros(len(starts), np.bool_)
    for place in range(9):
        more &= starts + place < ends
        digit = values[np.minimum(starts + place, len(values) - 1)].astype(np.int64) - ord("0")
        more &= (digit >= 0) & (digit <= 9)
        good |= more
        total = np.where(more, total * 10 + digit, total)
    return total.astype(np.int32), good
