"""Reference of the kernels that make sort keys and sort by them."""

from __future__ import annotations

import re

import numpy as np

from agd.batch import I32, I64, U8, U16, U64
from agd.errors import KernelError
from agd.kernels.reference.ragged import check_offsets


def coordinate_keys(reference: I32, position: I64, flag: U16, out: U64) -> None:
    """Keys whose order is the coordinate order of samtools sort.

    By reference (-1, none, comes last), then position, then strand (forward first); records without a position come
    before all others of their reference. Ties keep the order of the input, so the sort must be stable.

    Parameters
    ----------
    reference : ndarray of int32
        Index of the reference, -1 for none.
    position : ndarray of int64
        0-based leftmost position, -1 for none.
    flag : ndarray of uint16
        SAM flags.
    out : ndarray of uint64
        Written: ``reference << 32 | (position + 1) << 1 | reverse``, with 2^32 - 1 for reference -1.

    Raises
    ------
    KernelError
        A reference is less than -1; a position is less than -1 or more than 2^31 - 2 (the last one that BAM can
        hold); arrays differ in length.
    """
    if not len(reference) == len(position) == len(flag) == len(out):
        raise KernelError("arrays differ in length")
    bad_reference = reference < -1
    bad = np.flatnonzero(bad_reference | (position < -1) | (position >= 2**31 - 1))
    if len(bad):
        first = int(bad[0])
        raise KernelError(
            "reference is less than -1" if bad_reference[first] else "position is not between -1 and 2^31 - 2", first
        )
    references = reference.astype(np.uint32).astype(np.uint64)
    strand = (flag.astype(np.uint64) >> np.uint64(4)) & np.uint64(1)
    out[:] = references << np.uint64(32) | (position + 1).astype(np.uint64) << np.uint64(1) | strand


def argsort_u64(keys: U64, out: I64) -> None:
    """Indices that sort the keys, stable.

    Raises
    ------
    KernelError
        Keys and output differ in length.
    """
    if len(keys) != len(out):
        raise KernelError("keys and output differ in length")
    out[:] = np.argsort(keys, kind="stable")


def argsort_bytes(values: U8, offsets: I64, out: I64) -> None:
    """Indices that sort ragged byte strings as memcmp does (a prefix comes before what it begins), stable.

    Parameters
    ----------
    values, offsets
        String ``i`` is ``values[offsets[i]:offsets[i + 1]]``.
    out : ndarray of int64, shape (records,)
        Written: 0-based indices of the strings, in order.

    Raises
    ------
    KernelError
        Offsets lie outside of the values; the output is not as long as there are strings.
    """
    check_offsets(offsets, len(values), "offsets outside of the values")
    if len(out) != len(offsets) - 1:
        raise KernelError("records and output differ in length")
    text, bounds = values.tobytes(), offsets.tolist()
    out[:] = sorted(range(len(out)), key=lambda i: text[bounds[i] : bounds[i + 1]])


def name_keys(names: U8, offsets: I64, flags: U16, natural: bool, out: U8, out_offsets: I64) -> int:
    """Byte strings whose memcmp order is the query name order of samtools sort.

    A key is the name, a zero byte, and a byte of flags: read 1 before read 2, and among these primary, supplementary,
    secondary. In natural order (``samtools sort -n``) a run of digits is compared as a number without its leading
    zeros, and comes between the characters before ``0`` and those after ``9``; it is written as a byte
    ``0`` + number of digits (at most 9; from 9 digits on followed by 255 for every 255 further ones and the rest) and
    the digits. In lexicographical order (``samtools sort -N``) the name stays as it is.

    Parameters
    ----------
    names, offsets
        QNAME of record ``i`` is ``names[offsets[i]:offsets[i + 1]]``.
    flags : ndarray of uint16, shape (records,)
        SAM flags.
    natural : bool
    out : ndarray of uint8
        Written: the keys end to end. ``2 * bytes of names + 2 * records`` is always room enough.
    out_offsets : ndarray of int64, shape (records + 1,)
        Written: offsets of the keys, from 0.

    Returns
    -------
    int
        Bytes of all keys.

    Raises
    ------
    KernelError
        Offsets lie outside of the names; arrays differ in length; a name holds a zero byte; the output is too small.
    """
    check_offsets(offsets, len(names), "offsets outside of the names")
    if len(flags) != len(offsets) - 1 or len(out_offsets) != len(offsets):
        raise KernelError("arrays differ in length")
    text, bounds = names.tobytes(), offsets.tolist()
    used = 0
    out_offsets[0] = 0
    for i, flag in enumerate(flags.tolist()):
        name = text[bounds[i] : bounds[i + 1]]
        if 0 in name:
            raise KernelError("a name holds a zero byte", i, bounds[i] + name.index(0))
        if natural:
            name = re.sub(rb"[0-9]+", lambda run: _number(run[0]), name)
        key = name + bytes([0, flag & 0xC0 | (flag & 0x100) >> 5 | (flag & 0x800) >> 11])
        if used + len(key) > len(out):
            raise KernelError("keys do not fit the output", i)
        out[used : used + len(key)] = np.frombuffer(key, np.uint8)
        used += len(key)
        out_offsets[i + 1] = used
    return used


def _number(digits: bytes) -> bytes:
    digits = digits.lstrip(b"0")
    more, rest = divmod(max(len(digits) - 9, 0), 255)
    long = b"\xff" * more + bytes([rest]) if len(digits) >= 9 else b""
    return b"%d" % min(len(digits), 9) + long + digits
