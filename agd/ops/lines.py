"""Alignment lines: one record per line of SAM, from reads with further alignments beside them.

Reads as they were imported from FASTQ have one record per read, bases as sequenced, and their supplementary and
secondary alignments in the columns ``secondary0…``. SAM, BAM and sorted datasets have one record per alignment, bases
as in SEQ. :func:`to_lines` turns the first into the second; :func:`to_records` makes what the SAM and BAM kernels take.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from agd import kernels
from agd.batch import I64, Alignments, AnyColumn, Batch, Bool, Column
from agd.errors import ColumnError
from agd.kernels.ragged import concat_any, insert, insert_alignments, take_any
from agd.kernels.records import RecordArrays
from agd.manifest import Manifest
from agd.marks import unmapped_flags
from agd.tags import all_tags, merge_tags
from agd.types import Flag, Orientation

__all__ = [
    "SeqPlaces", "alignment_lines", "all_tags", "cut", "is_lines", "merge_tags", "read_names", "secondary_columns",
    "seq_spans", "to_lines", "to_records", "unmapped_flags",
]  # fmt: skip

_REVERSE = np.uint16(Flag.REVERSE)
_SECONDARY = np.uint16(Flag.SECONDARY)
_HARD_CLIP = 5


def secondary_columns(columns: Sequence[str]) -> list[str]:
    """Names of the columns of further alignments, in order."""
    found = [name for name in columns if name.startswith("secondary") and name[9:].isdecimal()]
    return sorted(found, key=lambda name: int(name[9:]))


def is_lines(manifest: Manifest) -> bool:
    """Whether the dataset holds one record per alignment line already."""
    return manifest.orientation is Orientation.SEQ and not secondary_columns(list(manifest.columns))


def to_lines(batch: Batch, orientation: Orientation, paired: bool = False) -> Batch:
    """One record per alignment line.

    Parameters
    ----------
    batch : Batch
        With ``results``; ``bases``, ``qualities`` and any other columns may be missing. Where ``results`` is missing,
        or null, the reads are unmapped.
    orientation : Orientation
        Of the bases and qualities of the batch.
    paired : bool
        Records 2i and 2i + 1 of the dataset are mates; says what the flags of reads without results are.

    Returns
    -------
    Batch
        Without ``secondaryN``; a read's further alignments follow its primary one. Bases and qualities are as in SEQ:
        none for secondary alignments, without the hard-clipped ends for supplementary ones (as bwa mem writes them).
    """
    extra = secondary_columns(list(batch.columns))
    alignments, read = alignment_lines(batch, paired)
    columns: dict[str, AnyColumn] = {}
    for name, column in batch.columns.items():
        if name in extra:
            continue
        if name == "results":
            columns[name] = alignments
        elif name in ("bases", "qualities"):
            column = batch.ragged(name)
            spans = seq_spans(column, alignments, read, orientation, bool(extra))
            columns[name] = _as_seq(column, *spans, complement=name == "bases")
        else:
            columns[name] = column if read is None else take_any(column, read)
    columns.setdefault("results", alignments)
    return Batch(batch.first, columns)


def alignment_lines(batch: Batch, paired: bool = False) -> tuple[Alignments, I64 | None]:
    """Alignments of all lines, and the read of each (None: one line per read); see :func:`to_lines`."""
    count = len(batch)
    primary = batch.alignments() if "results" in batch else Alignments.null(count)
    if primary.valid is not None and not primary.valid.all():
        flag = np.where(primary.valid, primary.flag, unmapped_flags(batch.first, count, paired))
        primary = primary.replace(flag=flag)
    primary = primary.replace(valid=None)
    reads, parts = list[I64](), list[Alignments]()
    for name in secondary_columns(list(batch.columns)):
        alignments = batch.alignments(name)
        valid = np.flatnonzero(alignments.valid) if alignments.valid is not None else np.arange(count)
        if len(valid):
            reads.append(valid)
            chosen = take_any(alignments, valid)
            assert isinstance(chosen, Alignments)
            parts.append(chosen.replace(valid=None))
    if not parts:
        return primary, None
    # There are few of them: they are put among the others, which stay in their order.
    read = np.concatenate(reads)
    order = np.argsort(read, kind="stable")
    read = read[order]
    further, places = take_any(concat_any(parts), order), read + 1 + np.arange(len(read))
    assert isinstance(further, Alignments)
    merged = insert_alignments(primary, further, places)
    return merged, insert(Column(np.arange(count)), Column(read), places).values


def seq_spans(
    column: Column, alignments: Alignments, read: I64 | None, orientation: Orientation, trim: bool
) -> tuple[I64, I64, Bool | None]:
    """Where SEQ (or QUAL) of each line is in a column of reads; parameters as of :meth:`SeqPlaces.of`."""
    return SeqPlaces.of(alignments, read, orientation, trim).spans(column)


class SeqPlaces(NamedTuple):
    """What of its read each line shows as SEQ and QUAL.

    Attributes
    ----------
    read : ndarray of int64, shape (lines,), or None
        Read of each line; None: line ``i`` is of read ``i``.
    turn : ndarray of bool, shape (lines,), or None
        Where it must be turned around; None: nowhere.
    head, tail : ndarray of int64, shape (lines,), or None
        Bases of the read that are left out at its two ends; None: nowhere any.
    hidden : ndarray of bool, shape (lines,), or None
        Where nothing of it is shown; None: nowhere.
    """

    read: I64 | None
    turn: Bool | None
    head: I64 | None
    tail: I64 | None
    hidden: Bool | None

    @staticmethod
    def of(alignments: Alignments, read: I64 | None, orientation: Orientation, trim: bool) -> SeqPlaces:
        """Places of some lines.

        Parameters
        ----------
        alignments, read
            As :func:`alignment_lines` gives them.
        orientation : Orientation
            Of the bases and qualities of the reads.
        trim : bool
            Leave out what is hard-clipped, and secondary alignments.
        """
        turn = (alignments.flag & _REVERSE) != 0 if orientation is Orientation.READ else None
        head = tail = hidden = None
        if trim:
            left, right = _hard_clips(alignments)
            if left.any() or right.any():
                head = left if turn is None else np.where(turn, right, left)
                tail = right if turn is None else np.where(turn, left, right)
            secondary = (alignments.flag & _SECONDARY) != 0
            hidden = secondary if secondary.any() else None
        return SeqPlaces(read, turn, head, tail, hidden)

    def spans(self, column: Column) -> tuple[I64, I64, Bool | None]:
        """Where SEQ (or QUAL) of each line is in a column of reads.

        Parameters
        ----------
        column : Column
            Bases or qualities of the reads.

        Returns
        -------
        starts, ends : ndarray of int64, shape (lines,)
            Into ``column.values``, half-open.
        turn : ndarray of bool, shape (lines,), or None
            As :attr:`turn`.
        """
        assert column.offsets is not None
        starts = column.offsets[:-1] if self.read is None else column.offsets[self.read]
        ends = column.offsets[1:] if self.read is None else column.offsets[self.read + 1]
        if self.head is not None and self.tail is not None:
            fits = ends - starts >= self.head + self.tail  # missing qualities stay missing
            starts, ends = starts + np.where(fits, self.head, 0), ends - np.where(fits, self.tail, 0)
        if self.hidden is not None:
            ends = np.where(self.hidden, starts, ends)
        return starts, ends, self.turn


def _as_seq(column: Column, starts: I64, ends: I64, turn: Bool | None, *, complement: bool) -> Column:
    out = cut(column, starts, ends)
    if turn is None or not turn.any():
        return out
    if out is column:
        whole = column.compact()
        out = Column(whole.values.copy(), whole.offsets)
    assert out.offsets is not None
    kernels.reverse_spans(out.values, out.offsets, turn, complement)
    return out


def _hard_clips(alignments: Alignments) -> tuple[I64, I64]:
    """Bases that hard clips cut from the left and right end of SEQ."""
    cigar = alignments.cigar
    assert cigar.offsets is not None
    count = len(alignments)
    left, right = np.zeros(count, np.int64), np.zeros(count, np.int64)
    if not (cigar.values[cigar.offsets[0] : cigar.offsets[-1]] & 15 == _HARD_CLIP).any():
        return left, right
    has = np.flatnonzero(cigar.offsets[1:] > cigar.offsets[:-1])
    first = cigar.values[cigar.offsets[has]]
    last = cigar.values[cigar.offsets[has + 1] - 1]
    left[has] = np.where(first & 15 == _HARD_CLIP, first >> 4, 0)
    several = cigar.offsets[has + 1] - cigar.offsets[has] > 1
    right[has] = np.where((last & 15 == _HARD_CLIP) & several, last >> 4, 0)
    return left, right


def read_names(metadata: Column, names: str, paired: Bool) -> tuple[I64, I64]:
    """Where QNAME stands in each record of the metadata column.

    Parameters
    ----------
    metadata : Column
    names : str
        "sam": the whole record. "fastq": up to the first white space, without a final ``/1`` or ``/2`` of a pair.
    paired : ndarray of bool, shape (records,)
        Which reads have a mate.

    Returns
    -------
    starts, ends : ndarray of int64, shape (records,)
        Into ``metadata.values``, half-open.
    """
    assert metadata.offsets is not None
    starts, ends = metadata.offsets[:-1], metadata.offsets[1:].copy()
    if names != "sam":
        kernels.name_ends(metadata.values, metadata.offsets, paired, ends)
    return starts, ends


def to_records(batch: Batch, names: str) -> RecordArrays:
    """Arrays for the SAM and BAM kernels from alignment lines (see :func:`to_lines`).

    Tags of the ``tags`` column come first, then those of the alignments, which win where both have one.

    Raises
    ------
    ColumnError
        There are qualities, and no bases that they could be of.
    """
    alignments = batch.alignments()
    metadata = batch.ragged("metadata") if "metadata" in batch else Column.empty(len(batch))
    starts, ends = read_names(metadata, names, (alignments.flag & np.uint16(Flag.PAIRED)) != 0)
    qname = cut(metadata, starts, ends).compact()
    bases = (batch.ragged("bases") if "bases" in batch else Column.empty(len(batch))).compact()
    qualities = (batch.ragged("qualities") if "qualities" in batch else Column.empty(len(batch))).compact()
    if "bases" not in batch and len(qualities.values):
        raise ColumnError(
            "there is no column 'bases', and no record has qualities (QUAL) without bases (SEQ)",
            "take the qualities out too ('agd column drop'), or go back to a generation with bases ('agd log')",
        )
    cigar = alignments.cigar.compact()
    tags = all_tags(batch).compact()
    arrays: list[Column] = [qname, cigar, bases, qualities, tags]
    flat = [array for column in arrays for array in (column.values, column.offsets)]
    fixed = [np.ascontiguousarray(getattr(alignments, name)) for name in Alignments.FIXED]
    return RecordArrays(*fixed, *flat)


def cut(column: Column, starts: I64, ends: I64) -> Column:
    """Parts of a column's records, which need not be in its order; the column itself where they are whole, and all.

    Parameters
    ----------
    starts, ends : ndarray of int64
        Into ``column.values``, half-open.
    """
    assert column.offsets is not None
    if (
        len(starts) == len(column) and np.array_equal(starts, column.offsets[:-1])
        and np.array_equal(ends, column.offsets[1:])
    ):  # fmt: skip
        return column
    out = Column.from_lengths(np.empty(int((ends - starts).sum()), np.uint8), ends - starts)
    assert out.offsets is not None
    kernels.copy_spans(column.values, starts, ends, out.values, out.offsets)
    return out
