"""Reference of the kernels on aux fields as BAM holds them (SAM specification, section 4.2.4): tag, type, value."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from agd.batch import I64, U8, Bool
from agd.errors import KernelError
from agd.kernels.reference.ragged import check_offsets

#: struct formats of the numeric types; ``d`` was never in the specification, but htslib has always read and written it
NUMBERS = {"c": "<b", "C": "<B", "s": "<h", "S": "<H", "i": "<i", "I": "<I", "f": "<f", "d": "<d"}
INTEGERS = "cCsSiI"


def field_end(data: bytes, start: int) -> int:
    """End of the field at ``start``; ValueError if it does not parse within ``data``."""
    if len(data) - start < 4:
        raise ValueError
    kind = chr(data[start + 2])
    if kind == "A":
        end = start + 4
    elif kind in NUMBERS:
        end = start + 3 + struct.calcsize(NUMBERS[kind])
    elif kind in "ZH":
        end = data.index(0, start + 3) + 1
    elif kind == "B" and len(data) - start >= 8 and chr(data[start + 3]) in INTEGERS + "f":
        (count,) = struct.unpack_from("<I", data, start + 4)
        end = start + 8 + count * struct.calcsize(NUMBERS[chr(data[start + 3])])
    else:
        raise ValueError
    if end > len(data):
        raise ValueError
    return end


def fields(data: bytes, record: int, offset: int) -> Iterator[bytes]:
    """The fields of one record; ``offset`` is where its tags begin in the buffer (for the error)."""
    start = 0
    while start < len(data):
        try:
            end = field_end(data, start)
        except ValueError:
            raise KernelError("tags do not parse", record, offset + start) from None
        yield data[start:end]
        start = end


def integer(field: bytes) -> int | None:
    """Value of a field of integer type, None for other types."""
    kind = chr(field[2])
    return int(struct.unpack_from(NUMBERS[kind], field, 3)[0]) if kind in INTEGERS else None


def pack_integer(value: int) -> bytes:
    """Type and value of an integer in the smallest type, as htslib does."""
    kinds = "csi" if value < 0 else "CSI"
    for kind in kinds:
        try:
            return kind.encode() + struct.pack(NUMBERS[kind], value)
        except struct.error:
            continue
    raise ValueError(value)


def _runs(tags: U8, offsets: I64) -> Iterator[tuple[int, bytes]]:
    """Start and bytes of the tags of each record."""
    check_offsets(offsets, len(tags), "offsets outside of the tags")
    for start, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        yield start, tags[start:end].tobytes()


def aux_validate(tags: U8, offsets: I64) -> None:
    """Check that the aux fields of every record parse.

    Parameters
    ----------
    tags : ndarray of uint8
        Aux fields of all records, end to end.
    offsets : ndarray of int64, shape (records + 1,)
        Record ``i`` is ``tags[offsets[i]:offsets[i + 1]]``.

    Raises
    ------
    KernelError
        A field has an unknown type or goes beyond its record.
    """
    for record, (start, data) in enumerate(_runs(tags, offsets)):
        for _ in fields(data, record, start):
            pass


def aux_spans(tags: U8, offsets: I64, tag: int, starts: I64, ends: I64) -> int:
    """Find the first field named ``tag`` of every record.

    Parameters
    ----------
    tags, offsets
        As for :func:`aux_validate`.
    tag : int
        The two letters, little-endian: ``int.from_bytes(b"NM", "little")``.
    starts, ends : ndarray of int64, shape (records,)
        Output: span in ``tags`` of the whole field (tag, type and value), 0-based, half-open. Where there is no such
        field, both are the end of the record.

    Returns
    -------
    int
        Records that have the field.
    """
    _same_length(offsets, starts, ends)
    wanted = tag.to_bytes(2, "little")
    found = 0
    for record, (start, data) in enumerate(_runs(tags, offsets)):
        starts[record] = ends[record] = start + len(data)
        at = start
        for field in fields(data, record, start):
            if field[:2] == wanted:
                starts[record], ends[record] = at, at + len(field)
                found += 1
                break
            at += len(field)
    return found


def aux_numbers(tags: U8, offsets: I64, tag: int, out: I64, present: Bool) -> int:
    """Values of the first field named ``tag`` of every record, an integer of any type.

    Parameters
    ----------
    tags, offsets, tag
        As for :func:`aux_spans`.
    out : ndarray of int64, shape (records,)
        Output: the value, 0 where there is none.
    present : ndarray of bool, shape (records,)
        Output: whether there is one. A field of another type counts as missing.

    Returns
    -------
    int
        Records that have such a field.
    """
    _same_length(offsets, out, present)
    wanted = tag.to_bytes(2, "little")
    for record, (start, data) in enumerate(_runs(tags, offsets)):
        first = next((field for field in fields(data, record, start) if field[:2] == wanted), None)
        value = None if first is None else integer(first)
        out[record], present[record] = value or 0, value is not None
    return int(present.sum())


def aux_codes(tags: U8, offsets: I64, tag: int, codes: I64, firsts: I64) -> int:
    """Number the distinct values of a text field (type Z), such as the read groups.

    Parameters
    ----------
    tags, offsets, tag
        As for :func:`aux_spans`. Of several such fields in a record the last counts, as in ``samtools checksum``.
    codes : ndarray of int64, shape (records,)
        Output: 0 where the field is missing or of another type, else ``k`` for the ``k``-th distinct value (1-based) in
        the order of their first appearance.
    firsts : ndarray of int64, shape (records,)
        Output: ``firsts[k - 1]`` is where value ``k`` begins in ``tags`` (it ends before the next NUL); the rest is
        left as it is.

    Returns
    -------
    int
        Distinct values.
    """
    _same_length(offsets, codes, firsts)
    wanted = tag.to_bytes(2, "little")
    numbers: dict[bytes, int] = {}
    for record, (start, data) in enumerate(_runs(tags, offsets)):
        value, value_at, at = None, 0, start
        for field in fields(data, record, start):
            if field[:3] == wanted + b"Z":
                value, value_at = field[3:], at + 3
            at += len(field)
        if value is not None and value not in numbers:
            firsts[len(numbers)] = value_at
            numbers[value] = len(numbers) + 1
        codes[record] = 0 if value is None else numbers[value]
    return len(numbers)


def aux_merge(tags: U8, offsets: I64, others: U8, other_offsets: I64, out: U8, out_offsets: I64) -> int:
    """Join two sets of aux fields record by record; where both have a tag, ``others`` wins.

    Parameters
    ----------
    tags, offsets, others, other_offsets
        As for :func:`aux_validate`, of one number of records.
    out : ndarray of uint8
        Output: of each record, the fields of ``tags`` whose tag is not in ``others``, then those of ``others``, in
        their order. ``len(tags) + len(others)`` is always enough.
    out_offsets : ndarray of int64, shape (records + 1,)
        Output.

    Returns
    -------
    int
        Bytes used of ``out``.

    Raises
    ------
    KernelError
        Fields do not parse, or ``out`` is too small.
    """
    if not len(offsets) == len(other_offsets) == len(out_offsets):
        raise KernelError("the arrays differ in length")
    used = 0
    out_offsets[0] = 0
    pairs = zip(_runs(tags, offsets), _runs(others, other_offsets), strict=True)
    for record, ((start, data), (other_start, other)) in enumerate(pairs):
        taken = {field[:2] for field in fields(other, record, other_start)}
        joined = b"".join(field for field in fields(data, record, start) if field[:2] not in taken) + other
        if used + len(joined) > len(out):
            raise KernelError("the output is too small", record)
        out[used : used + len(joined)] = np.frombuffer(joined, np.uint8)
        used += len(joined)
        out_offsets[record + 1] = used
    return used


def _same_length(offsets: I64, *arrays: I64 | Bool) -> None:
    if any(len(array) != len(offsets) - 1 for array in arrays):
        raise KernelError("the arrays differ in length")
