"""Reference of the kernels that leave out tags which can be computed (``spec/codecs/derived.md``)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from agd.batch import I32, I64, U8
from agd.errors import KernelError
from agd.kernels.reference.ragged import check_offsets
from agd.kernels.reference.tags import field_end


def aux_omit(tags: U8, offsets: I64, nm: I32, md: U8, md_offsets: I64, out: U8, out_offsets: I64) -> int:
    """Leave out the values of NM and MD where they are as expected; their type becomes ``*``.

    Parameters
    ----------
    tags, offsets
        Aux fields as BAM has them: record ``i`` is ``tags[offsets[i]:offsets[i + 1]]``.
    nm : ndarray of int32, shape (records,)
        NM that is expected of each record, as a field of type ``C`` (so none above 255 is); -1: neither NM nor MD is.
    md, md_offsets
        MD that is expected, a field of type ``Z``, without the final zero.
    out, out_offsets
        Written: the tags of all records; at least as long as the tags.

    Returns
    -------
    int
        Number of values left out.

    Raises
    ------
    KernelError
        Tags do not parse, or hold an NM or MD without a value; offsets or sizes do not fit.
    """
    expected = _expected(tags, offsets, nm, md, md_offsets, out_offsets)
    if len(out) < offsets[-1] - offsets[0]:
        raise KernelError("no room for the tags")
    made, omitted = b"", 0
    out_offsets[0] = 0
    for i, fields in enumerate(expected):
        for field in _fields(tags, offsets, i):
            if field in (b"NM*", b"MD*"):
                raise KernelError("a tag without a value is there already", i)
            same = fields.get(field[:2]) == field
            omitted += int(same)
            made += field[:2] + b"*" if same else field
        out_offsets[i + 1] = len(made)
    out[: len(made)] = np.frombuffer(made, np.uint8)
    return omitted


def aux_restore(tags: U8, offsets: I64, nm: I32, md: U8, md_offsets: I64, out: U8, out_offsets: I64) -> int:
    """Put back what :func:`aux_omit` left out.

    Parameters
    ----------
    tags, offsets, nm, md, md_offsets
        As there.
    out, out_offsets
        Written. Where ``out`` is too small, what is in it means nothing, but the offsets do.

    Returns
    -------
    int
        Bytes of all tags.

    Raises
    ------
    KernelError
        Fields up to the last that has no value do not parse; a value is missing and none is expected.
    """
    expected = _expected(tags, offsets, nm, md, md_offsets, out_offsets)
    made = b""
    out_offsets[0] = 0
    for i, fields in enumerate(expected):
        rest = tags[offsets[i] : offsets[i + 1]].tobytes()
        fields_there = _fields(tags, offsets, i)
        while b"*" in rest:
            field = next(fields_there)
            rest = rest[len(field) :]
            if field in (b"NM*", b"MD*"):
                if field[:2] not in fields:
                    raise KernelError("a tag was left out that cannot be computed", i)
                made += fields[field[:2]]
            else:
                made += field
        made += rest
        out_offsets[i + 1] = len(made)
    if len(out) >= len(made):
        out[: len(made)] = np.frombuffer(made, np.uint8)
    return len(made)


def _expected(
    tags: U8, offsets: I64, nm: I32, md: U8, md_offsets: I64, out_offsets: I64
) -> list[dict[bytes, bytes]]:
    """The fields that are expected of each record, by tag."""
    check_offsets(offsets, len(tags), "offsets outside of the tags")
    check_offsets(md_offsets, len(md), "offsets outside of the expected values")
    if not len(nm) + 1 == len(md_offsets) == len(offsets) == len(out_offsets):
        raise KernelError("tags and expected values differ in number")
    expected: list[dict[bytes, bytes]] = []
    for i, number in enumerate(nm.tolist()):
        text = md[md_offsets[i] : md_offsets[i + 1]].tobytes()
        expected.append({b"MD": b"MDZ" + text + b"\0"} if number >= 0 else {})
        if 0 <= number < 256:
            expected[-1][b"NM"] = b"NMC" + bytes([number])
    return expected


def _fields(tags: U8, offsets: I64, record: int) -> Iterator[bytes]:
    data, start = tags[offsets[record] : offsets[record + 1]].tobytes(), 0
    while start < len(data):
        try:
            end = start + 3 if data[start + 2 : start + 3] == b"*" else field_end(data, start)
        except ValueError:
            raise KernelError("tags do not parse", record, int(offsets[record]) + start) from None
        yield data[start:end]
        start = end
