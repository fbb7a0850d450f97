"""Reference of the kernels that leave out tags which can be computed (``spec/codecs/derived.md``)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from agd.batch import I64, U8, Bool
from agd.errors import KernelError
from agd.kernels.reference.ragged import check_offsets
from agd.kernels.reference.tags import field_end


def aux_omit(
    tags: U8, offsets: I64, tag: int, kind: int, expected: U8, expected_offsets: I64, present: Bool, out: U8,
    out_offsets: I64,
) -> int:
    """Leave out the value of a tag where it is as expected; its type becomes ``*``.

    Parameters
    ----------
    tags, offsets
        Aux fields as BAM has them: record ``i`` is ``tags[offsets[i]:offsets[i + 1]]``.
    tag : int
        Its two letters, little-endian.
    kind : int
        Type of the field that is expected: ``C`` or ``Z``.
    expected, expected_offsets
        Value that is expected of each record; of ``Z`` without the final zero.
    present : ndarray of bool, shape (records,)
        Where a value is expected at all.
    out, out_offsets
        Written: the tags of all records; at least as long as the tags.

    Returns
    -------
    int
        Number of values left out.

    Raises
    ------
    KernelError
        Tags do not parse, or hold such a field without a value; offsets or sizes do not fit.
    """
    values = _expected(tags, offsets, expected, expected_offsets, present, out_offsets)
    if len(out) < offsets[-1] - offsets[0]:
        raise KernelError("no room for the tags")
    name, made, omitted = tag.to_bytes(2, "little"), b"", 0
    out_offsets[0] = 0
    for i in range(len(present)):
        for field in _fields(tags, offsets, i):
            marked = field[2:3] == b"*"
            if marked and field[:2] == name:
                raise KernelError("a tag without a value is there already", i)
            value = values[i] + b"\0" * (kind == ord("Z"))
            same = not marked and present[i] and field == name + bytes([kind]) + value
            omitted += int(same)
            made += name + b"*" if same else field
        out_offsets[i + 1] = len(made)
    out[: len(made)] = np.frombuffer(made, np.uint8)
    return omitted


def aux_restore(
    tags: U8, offsets: I64, tag: int, kind: int, expected: U8, expected_offsets: I64, present: Bool, out: U8,
    out_offsets: I64,
) -> int:
    """Put back what :func:`aux_omit` left out.

    Parameters
    ----------
    tags, offsets, tag, kind, expected, expected_offsets, present
        As there.
    out, out_offsets
        Written. Where ``out`` is empty only the offsets are.

    Returns
    -------
    int
        Bytes of all tags.

    Raises
    ------
    KernelError
        Tags do not parse; a value is missing and none is expected; there is no room.
    """
    values = _expected(tags, offsets, expected, expected_offsets, present, out_offsets)
    name, made = tag.to_bytes(2, "little"), b""
    out_offsets[0] = 0
    for i in range(len(present)):
        for field in _fields(tags, offsets, i):
            if field == name + b"*":
                if not present[i]:
                    raise KernelError("a tag was left out that cannot be computed", i)
                made += name + bytes([kind]) + values[i] + b"\0" * (kind == ord("Z"))
            else:
                made += field
        out_offsets[i + 1] = len(made)
    if len(out):
        if len(out) < len(made):
            raise KernelError("no room for the tags")
        out[: len(made)] = np.frombuffer(made, np.uint8)
    return len(made)


def _expected(
    tags: U8, offsets: I64, expected: U8, expected_offsets: I64, present: Bool, out_offsets: I64
) -> list[bytes]:
    check_offsets(offsets, len(tags), "offsets outside of the tags")
    check_offsets(expected_offsets, len(expected), "offsets outside of the expected values")
    if len(present) + 1 != len(expected_offsets):
        raise KernelError("expected values differ in number")
    if len(present) != len(offsets) - 1 or len(out_offsets) != len(offsets):
        raise KernelError("tags and expected values differ in number")
    return [expected[expected_offsets[i] : expected_offsets[i + 1]].tobytes() for i in range(len(present))]


def _fields(tags: U8, offsets: I64, record: int) -> Iterator[bytes]:
    data, start = tags[offsets[record] : offsets[record + 1]].tobytes(), 0
    while start < len(data):
        try:
            end = start + 3 if data[start + 2 : start + 3] == b"*" else field_end(data, start)
        except ValueError:
            raise KernelError("tags do not parse", record, int(offsets[record]) + start) from None
        yield data[start:end]
        start = end
