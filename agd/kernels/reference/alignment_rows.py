"""Reference of the kernels that write and read alignments as rows of bytes, to move them one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from agd.batch import I64, U8
from agd.errors import KernelError
from agd.kernels.reference.alignment import check_alignments, same_length
from agd.kernels.reference.ragged import check_offsets

if TYPE_CHECKING:
    from agd.kernels.alignments import AlignmentArrays

#: What each row begins with; the CIGAR (four bytes an operation) and the tags follow.
HEAD = np.dtype([
    ("position", np.int64), ("mate_position", np.int64), ("template_length", np.int64), ("reference", np.int32),
    ("mate_reference", np.int32), ("operations", np.uint32), ("flag", np.uint16), ("mapping_quality", np.uint8),
    ("unused", np.uint8),
])  # fmt: skip

_NONE = np.array((-1, -1, 0, -1, -1, 0, 0, 0, 0), HEAD)
_FIELDS = [name for name in HEAD.names or () if name not in ("operations", "unused")]


def alignment_pack(alignments: AlignmentArrays, rows: U8, offsets: I64) -> None:
    """Write every alignment as a row.

    Parameters
    ----------
    alignments : AlignmentArrays
        Records to be written.
    rows : ndarray of uint8
        Out: one row after the other; 40 bytes, four for each operation of the CIGAR and the tags, nothing for a null
        record.
    offsets : ndarray of int64, shape (records + 1,)
        Out: row ``i`` is ``rows[offsets[i]:offsets[i + 1]]``.

    Raises
    ------
    KernelError
        Arrays differ in length, offsets lie outside of the values, or the room is not exactly that of the rows.
    """
    check_alignments(alignments)
    if len(offsets) != len(alignments.flag) + 1:
        raise KernelError("offsets and alignments differ in number")
    a, at = alignments, 0
    offsets[0] = 0
    for i in range(len(a.flag)):
        if a.valid is None or a.valid[i]:
            cigar = a.cigar[a.cigar_offsets[i] : a.cigar_offsets[i + 1]]
            head = np.zeros((), HEAD)
            for name in _FIELDS:
                head[name] = getattr(a, name)[i]
            head["operations"] = len(cigar)
            row = head.tobytes() + cigar.tobytes() + a.tags[a.tag_offsets[i] : a.tag_offsets[i + 1]].tobytes()
            if len(row) > len(rows) - at:
                raise KernelError("no room for the rows", i)
            rows[at : at + len(row)] = bytearray(row)
            at += len(row)
        offsets[i + 1] = at
    if at != len(rows):
        raise KernelError("room of the output is not the size of the rows")


def alignment_unpack(rows: U8, offsets: I64, alignments: AlignmentArrays) -> tuple[int, int]:
    """Read rows into arrays.

    Parameters
    ----------
    rows : ndarray of uint8
        As :func:`alignment_pack` writes them; a row of zero bytes is a null record: no reference, no positions.
    offsets : ndarray of int64, shape (records + 1,)
        Row ``i`` is ``rows[offsets[i]:offsets[i + 1]]``.
    alignments : AlignmentArrays
        Out; ``cigar_offsets`` and ``tag_offsets`` start at 0.

    Returns
    -------
    cigar_operations, tag_bytes : int
        How much of ``cigar`` and ``tags`` is used.

    Raises
    ------
    KernelError
        A row is too short for its fields or its CIGAR, there is no room, arrays differ in length, or offsets lie
        outside of the rows.
    """
    check_offsets(offsets, len(rows), "offsets outside of the rows")
    a = alignments
    if len(offsets) != len(a.flag) + 1:
        raise KernelError("offsets and alignments differ in number")
    same_length(a)
    cigar = tags = 0
    a.cigar_offsets[0] = a.tag_offsets[0] = 0
    for i, (first, end) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
        row = rows[first:end].tobytes()
        if 0 < len(row) < HEAD.itemsize:
            raise KernelError("row is too short", i, first)
        head = np.frombuffer(row, HEAD, 1)[0] if row else _NONE
        split = HEAD.itemsize + 4 * int(head["operations"])
        if row and len(row) < split:
            raise KernelError("CIGAR is longer than its row", i, first)
        operations, rest = np.frombuffer(row[HEAD.itemsize : split], np.uint32), np.frombuffer(row[split:], np.uint8)
        if len(operations) > len(a.cigar) - cigar:
            raise KernelError("no room for the CIGARs", i, first)
        if len(rest) > len(a.tags) - tags:
            raise KernelError("no room for the tags", i, first)
        for name in _FIELDS:
            getattr(a, name)[i] = head[name]
        a.cigar[cigar : cigar + len(operations)] = operations
        a.tags[tags : tags + len(rest)] = rest
        a.cigar_offsets[i + 1] = cigar = cigar + len(operations)
        a.tag_offsets[i + 1] = tags = tags + len(rest)
        if a.valid is not None:
            a.valid[i] = bool(row)
    return cigar, tags
