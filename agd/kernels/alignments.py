"""Alignments as one record of bytes each: protobuf messages (``schemas/alignment.proto``), which are stored, and rows,
which are moved and go no further than this machine."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from agd.batch import I32, I64, U8, U16, U32, Alignments, Bool, Column
from agd.kernels import active

__all__ = ["ROW_BYTES", "AlignmentArrays", "arrays", "decode", "encode", "pack", "packed_bytes", "unpack"]

#: Bytes of a row beside its CIGAR and tags.
ROW_BYTES = 40


class AlignmentArrays(NamedTuple):
    """The arrays of :class:`agd.batch.Alignments`, flat, in the order in which kernels take them.

    Attributes
    ----------
    flag, reference, position, mapping_quality, mate_reference, mate_position, template_length
        As in :class:`agd.batch.Alignments`: 0-based positions, -1 for none.
    cigar : uint32
        BAM operations; record ``i`` is ``cigar[cigar_offsets[i]:cigar_offsets[i + 1]]``.
    tags : uint8
        BAM-encoded aux fields; likewise.
    valid : bool or None
        False for null fields; None: none is null.
    """

    flag: U16
    reference: I32
    position: I64
    mapping_quality: U8
    mate_reference: I32
    mate_position: I64
    template_length: I64
    cigar: U32
    cigar_offsets: I64
    tags: U8
    tag_offsets: I64
    valid: Bool | None

    @staticmethod
    def allocate(records: int, cigar: int, tags: int) -> AlignmentArrays:
        """Arrays with room for ``records`` records, ``cigar`` operations and ``tags`` bytes."""
        return AlignmentArrays(
            np.empty(records, np.uint16), np.empty(records, np.int32), np.empty(records, np.int64),
            np.empty(records, np.uint8), np.empty(records, np.int32), np.empty(records, np.int64),
            np.empty(records, np.int64), np.empty(cigar, np.uint32), np.zeros(records + 1, np.int64),
            np.empty(tags, np.uint8), np.zeros(records + 1, np.int64), np.empty(records, np.bool_),
        )  # fmt: skip


def arrays(alignments: Alignments) -> AlignmentArrays:
    """The arrays of ``alignments``, shared, contiguous and of the dtypes that kernels ask for."""
    a = alignments
    offsets = [_offsets(column) for column in (a.cigar, a.tags)]
    return AlignmentArrays(
        np.ascontiguousarray(a.flag, np.uint16), np.ascontiguousarray(a.reference, np.int32),
        np.ascontiguousarray(a.position, np.int64), np.ascontiguousarray(a.mapping_quality, np.uint8),
        np.ascontiguousarray(a.mate_reference, np.int32), np.ascontiguousarray(a.mate_position, np.int64),
        np.ascontiguousarray(a.template_length, np.int64),
        np.ascontiguousarray(a.cigar.values, np.uint32), offsets[0],
        np.ascontiguousarray(a.tags.values, np.uint8), offsets[1],
        None if a.valid is None else np.ascontiguousarray(a.valid, np.bool_),
    )  # fmt: skip


def _offsets(column: Column) -> I64:
    if column.offsets is None:
        raise TypeError("CIGARs and tags are ragged columns")
    return np.ascontiguousarray(column.offsets, np.int64)


def encode(alignments: Alignments) -> Column:
    """One protobuf message per alignment.

    Parameters
    ----------
    alignments : Alignments

    Returns
    -------
    Column of uint8
        Zero bytes for a null field, never zero bytes otherwise.

    Raises
    ------
    KernelError
        A value is out of range (a position or reference below -1), or offsets lie outside of their values.
    """
    flat, sizes = arrays(alignments), np.empty(len(alignments), np.int64)
    active.alignment_sizes(flat, sizes)
    offsets = np.zeros(len(alignments) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    out = np.empty(int(offsets[-1]), np.uint8)
    active.alignment_encode(flat, out, offsets)
    return Column(out, offsets)


def decode(column: Column) -> Alignments:
    """Alignments of the protobuf messages in ``column``.

    Parameters
    ----------
    column : Column of uint8
        As :func:`encode` gives it.

    Returns
    -------
    Alignments
        ``valid`` is None when no record is null.

    Raises
    ------
    KernelError
        A message is malformed or holds a value that is out of range; names the record and the offset in ``values``.
    """
    data, offsets = np.ascontiguousarray(column.values, np.uint8), _offsets(column)
    # No message decodes to more than its own bytes; pages that are never written cost nothing.
    size = max(0, min(len(data), int(offsets[-1] - offsets[0])))
    filled = AlignmentArrays.allocate(len(column), size // 4, size)
    return _alignments(filled, *active.alignment_decode(data, offsets, filled))


def pack(alignments: Alignments) -> Column:
    """One row per alignment: :data:`ROW_BYTES` bytes, its CIGAR and its tags; zero bytes for a null field.

    Raises
    ------
    KernelError
        Offsets lie outside of their values.
    """
    flat, offsets = arrays(alignments), np.empty(len(alignments) + 1, np.int64)
    out = np.empty(packed_bytes(alignments), np.uint8)
    active.alignment_pack(flat, out, offsets)
    return Column(out, offsets)


def packed_bytes(alignments: Alignments) -> int:
    """Bytes of all rows of :func:`pack`."""
    cigar, tags, valid = alignments.cigar.lengths, alignments.tags.lengths, alignments.valid
    if valid is not None:
        cigar, tags = cigar[valid], tags[valid]
    return ROW_BYTES * len(cigar) + 4 * int(cigar.sum()) + int(tags.sum())


def unpack(column: Column) -> Alignments:
    """Alignments of the rows in ``column``, as :func:`pack` gives them; ``valid`` is None when no record is null.

    Raises
    ------
    KernelError
        A row is too short; names the record and the offset in ``values``.
    """
    rows, offsets = np.ascontiguousarray(column.values, np.uint8), _offsets(column)
    size = max(0, min(len(rows), int(offsets[-1] - offsets[0])))
    filled = AlignmentArrays.allocate(len(column), size // 4, size)
    return _alignments(filled, *active.alignment_unpack(rows, offsets, filled))


def _alignments(filled: AlignmentArrays, cigar: int, tags: int) -> Alignments:
    valid = filled.valid
    return Alignments(
        *filled[:7], Column(filled.cigar[:cigar], filled.cigar_offsets), Column(filled.tags[:tags], filled.tag_offsets),
        None if valid is None or valid.all() else valid,
    )  # fmt: skip
