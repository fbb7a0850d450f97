"""Reference of the kernels that write and read alignments as protobuf (``schemas/alignment.proto``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agd.batch import I64, U8
from agd.errors import KernelError
from agd.kernels.reference.ragged import check_offsets

if TYPE_CHECKING:
    from agd.kernels.alignments import AlignmentArrays

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

#: Field number, what a value may be at most, and the reason given where it is more.
NUMBERS = {
    1: (0xFFFF, "flag above 65535"),
    2: (1 << 31, "reference above 2^31 - 1"),
    3: ((1 << 63) - 1, "position does not fit 63 bits"),
    4: (0xFF, "mapping quality above 255"),
    6: (1 << 31, "mate reference above 2^31 - 1"),
    7: ((1 << 63) - 1, "mate position does not fit 63 bits"),
    8: ((1 << 64) - 1, ""),
}
CIGAR, TAGS = 5, 9


def alignment_sizes(alignments: AlignmentArrays, sizes: I64) -> None:
    """Encoded size of every alignment.

    Parameters
    ----------
    alignments : AlignmentArrays
        Records to be written.
    sizes : ndarray of int64, shape (records,)
        Out: bytes of each record; 0 where the record is null.

    Raises
    ------
    KernelError
        Arrays differ in length, offsets lie outside of the values, a reference is below -1, or a position is below -1
        or does not leave room for adding one.
    """
    check_alignments(alignments)
    if len(sizes) != len(alignments[0]):
        raise KernelError("sizes and alignments differ in number")
    for i in range(len(sizes)):
        sizes[i] = len(_message(alignments, i))


def alignment_encode(alignments: AlignmentArrays, out: U8, offsets: I64) -> None:
    """Write every alignment as a protobuf message, fields in the order of their numbers.

    Parameters
    ----------
    alignments : AlignmentArrays
        Records to be written.
    out : ndarray of uint8
        Out: message ``i`` goes to ``out[offsets[i]:offsets[i + 1]]``.
    offsets : ndarray of int64, shape (records + 1,)
        Running sum of what :func:`alignment_sizes` gives.

    Raises
    ------
    KernelError
        As :func:`alignment_sizes`; and where the room for a record is not exactly its size.
    """
    check_alignments(alignments)
    if len(offsets) != len(alignments[0]) + 1:
        raise KernelError("offsets and alignments differ in number")
    check_offsets(offsets, len(out), "offsets outside of the output")
    for i, (start, end) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
        message = _message(alignments, i)
        if len(message) != end - start:
            raise KernelError("room of the output is not the size of the record", i, start)
        out[start:end] = bytearray(message)


def alignment_decode(data: U8, offsets: I64, alignments: AlignmentArrays) -> tuple[int, int]:
    """Read protobuf messages into arrays.

    Fields may come in any order; the last of a number wins; unknown numbers, and known ones with another wire type,
    are skipped, as protobuf does. A message of zero bytes is the null field: no reference, no positions, ``valid``
    False.

    Parameters
    ----------
    data : ndarray of uint8
        Messages.
    offsets : ndarray of int64, shape (records + 1,)
        Message ``i`` is ``data[offsets[i]:offsets[i + 1]]``.
    alignments : AlignmentArrays
        Out. A quarter of the messages' bytes is always room enough for the CIGARs, and their bytes for the tags;
        ``cigar_offsets`` and ``tag_offsets`` start at 0.

    Returns
    -------
    cigar_operations, tag_bytes : int
        How much of ``cigar`` and ``tags`` is used.

    Raises
    ------
    KernelError
        A varint is cut short or does not fit 64 bits, a field reaches beyond its record, a field number is 0 or above
        2^29 - 1, a wire type is a group's or unknown, a CIGAR is not made of whole operations, a value is out of range
        (flag, mapping quality, reference, position), or there is no room.
    """
    check_offsets(offsets, len(data), "offsets outside of the data")
    arrays = alignments
    if len(offsets) != len(arrays.flag) + 1:
        raise KernelError("offsets and alignments differ in number")
    same_length(arrays)
    arrays.cigar_offsets[0] = arrays.tag_offsets[0] = 0
    for i in range(len(arrays.flag)):
        number, runs = _parse(data, offsets, i)
        zigzag = number.get(8, 0)
        arrays.flag[i] = number.get(1, 0)
        arrays.reference[i] = number.get(2, 0) - 1
        arrays.position[i] = number.get(3, 0) - 1
        arrays.mapping_quality[i] = number.get(4, 0)
        arrays.mate_reference[i] = number.get(6, 0) - 1
        arrays.mate_position[i] = number.get(7, 0) - 1
        arrays.template_length[i] = zigzag >> 1 ^ -(zigzag & 1)
        for values, ends, field, width, what in (
            (arrays.cigar, arrays.cigar_offsets, CIGAR, 4, "no room for the CIGARs"),
            (arrays.tags, arrays.tag_offsets, TAGS, 1, "no room for the tags"),
        ):
            content = runs.get(field, b"")
            start, end = int(ends[i]), int(ends[i]) + len(content) // width
            if end > len(values):
                raise KernelError(what, i, int(offsets[i]))
            values[start:end] = memoryview(content).cast("B" if width == 1 else "I")
            ends[i + 1] = end
        if arrays.valid is not None:
            arrays.valid[i] = offsets[i + 1] > offsets[i]
    return int(arrays.cigar_offsets[-1]), int(arrays.tag_offsets[-1])


def same_length(arrays: AlignmentArrays) -> None:
    """Raise unless the arrays are of the same records."""
    n = len(arrays.flag)
    same = all(len(a) == n for a in arrays[:7]) and (arrays.valid is None or len(arrays.valid) == n)
    if not same or len(arrays.cigar_offsets) != n + 1 or len(arrays.tag_offsets) != n + 1:
        raise KernelError("arrays of alignments differ in length")


def check_alignments(arrays: AlignmentArrays) -> None:
    """Raise unless the arrays are of the same records and no offsets lie outside of their values."""
    same_length(arrays)
    check_offsets(arrays.cigar_offsets, len(arrays.cigar), "offsets outside of the CIGARs")
    check_offsets(arrays.tag_offsets, len(arrays.tags), "offsets outside of the tags")


def _message(a: AlignmentArrays, i: int) -> bytes:
    """One record as a message; empty when the record is null."""
    if a.valid is not None and not a.valid[i]:
        return b""
    reference, mate_reference = int(a.reference[i]), int(a.mate_reference[i])
    position, mate_position, template_length = int(a.position[i]), int(a.mate_position[i]), int(a.template_length[i])
    if min(reference, mate_reference) < -1:
        raise KernelError("reference below -1", i)
    if min(position, mate_position) < -1 or max(position, mate_position) >= (1 << 63) - 1:
        raise KernelError("position out of range", i)
    cigar = a.cigar[a.cigar_offsets[i] : a.cigar_offsets[i + 1]].astype("<u4").tobytes()
    tags = a.tags[a.tag_offsets[i] : a.tag_offsets[i + 1]].tobytes()
    zigzag = (template_length << 1 ^ template_length >> 63) & (1 << 64) - 1
    return b"".join((
        _varint(1 << 3 | VARINT) + _varint(int(a.flag[i])),  # always written: an alignment is never zero bytes long
        _number(2, reference + 1), _number(3, position + 1), _number(4, int(a.mapping_quality[i])), _run(CIGAR, cigar),
        _number(6, mate_reference + 1), _number(7, mate_position + 1), _number(8, zigzag), _run(TAGS, tags),
    ))  # fmt: skip


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | VARINT) + _varint(value) if value else b""


def _run(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | BYTES) + _varint(len(content)) + content if content else b""


def _parse(data: U8, offsets: I64, record: int) -> tuple[dict[int, int], dict[int, bytes]]:
    """Known fields of one message by number: varints, and runs of bytes."""
    base, end = int(offsets[record]), int(offsets[record + 1])
    message = data[base:end].tobytes()
    numbers: dict[int, int] = {}
    runs: dict[int, bytes] = {}
    at = 0
    while at < len(message):
        start = at
        tag, at = _read_varint(message, at, record, base)
        field, wire = tag >> 3, tag & 7
        if not 1 <= field < 1 << 29:
            raise KernelError("field number out of range", record, base + start)
        value_start = at
        if wire == VARINT:
            number, at = _read_varint(message, at, record, base)
            if field in NUMBERS:
                largest, reason = NUMBERS[field]
                if number > largest:
                    raise KernelError(reason, record, base + value_start)
                numbers[field] = number
            continue
        if wire == BYTES:
            length, at = _read_varint(message, at, record, base)
        elif wire in (FIXED32, FIXED64):
            length = 8 if wire == FIXED64 else 4
        else:
            raise KernelError("wire type is not one of proto3", record, base + start)
        if length > len(message) - at:
            raise KernelError("field is longer than its record", record, base + value_start)
        if wire == BYTES and field == CIGAR and length % 4:
            raise KernelError("CIGAR is not made of whole operations", record, base + start)
        if wire == BYTES and field in (CIGAR, TAGS):
            runs[field] = message[at : at + length]
        at += length
    return numbers, runs


def _read_varint(message: bytes, at: int, record: int, base: int) -> tuple[int, int]:
    """Value of the varint at ``at`` and where it ends."""
    start, value = at, 0
    for shift in range(0, 70, 7):
        if at == len(message):
            raise KernelError("varint is cut short", record, base + start)
        byte = message[at]
        at += 1
        if shift == 63 and byte > 1:
            raise KernelError("varint does not fit 64 bits", record, base + start)
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    return value, at
