"""Records of many sources in one order: the merge of sorted runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agd.batch import I64, U8, U32, Bool
from agd.errors import KernelError
from agd.kernels.reference.ragged import check_offsets, reverse_spans

Source = tuple[U8, I64, I64, "Bool | None", "I64 | None", int]


def gather_starts(sources: Sequence[Source], source: U32, row: I64, out_starts: I64, out_offsets: I64) -> int:
    """Where gathered records are, and where they go, for :func:`gather_spans`.

    Parameters
    ----------
    sources : sequence of (values, starts, ends, turn, rows, width)
        ``values`` uint8; record ``i`` of a source is ``values[starts[k]:ends[k]]`` (int64, half-open) with
        ``k = rows[i]`` (int64; None: ``k = i``), to be turned around where ``turn[i]`` (bool; None: nowhere). Where
        ``width`` (int) is not 0, it is ``values[k * width:(k + 1) * width]`` instead, which need not be looked up.
    source : ndarray of uint32, shape (records,)
        Source of each record that is wanted, in the order in which they are wanted.
    row : ndarray of int64, shape (records,)
        Which record of that source it is.
    out_starts : ndarray of int64, shape (records,)
        Written: twice the start of each record, and one more where it is to be turned around.
    out_offsets : ndarray of int64, shape (records + 1,)
        Written: offsets of the gathered records, from 0.

    Returns
    -------
    int
        Bytes of all gathered records.

    Raises
    ------
    KernelError
        A source, row or span lies outside of what it points into; arrays differ in length.
    """
    if len(source) != len(row):
        raise KernelError("sources and rows differ in number")
    if len(out_starts) != len(row) or len(out_offsets) != len(row) + 1:
        raise KernelError("records and outputs differ in length")
    for values, starts, ends, turn, rows, width in sources:
        if len(starts) != len(ends):
            raise KernelError("spans of a source differ in number")
        if turn is not None and len(turn) != len(starts if rows is None else rows):
            raise KernelError("a source has more or fewer marks than records")
        if width < 0 or width * len(starts) > len(values):
            raise KernelError("spans of one width lie outside of their source")
    out_offsets[0] = 0
    for record, (which, at) in enumerate(zip(source.tolist(), row.tolist(), strict=True)):
        if which >= len(sources):
            raise KernelError("a record is of none of the sources", record)
        values, starts, ends, turn, rows, width = sources[which]
        if not 0 <= at < len(starts if rows is None else rows):
            raise KernelError("a row lies outside of its source", record)
        span = at if rows is None else int(rows[at])
        if not 0 <= span < len(starts):
            raise KernelError("a record has none of the spans of its source", record, span)
        start, end = (span * width, (span + 1) * width) if width else (int(starts[span]), int(ends[span]))
        if not 0 <= start <= end <= len(values):
            raise KernelError("span outside of the source", record, start)
        out_starts[record] = 2 * start + int(turn is not None and bool(turn[at]))
        out_offsets[record + 1] = out_offsets[record] + end - start
    return int(out_offsets[-1])


def gather_spans(
    sources: Sequence[Source], source: U32, starts: I64, complement: bool, out: U8, out_offsets: I64
) -> None:
    """Copy records of many sources to where they go, turning some around.

    Parameters
    ----------
    sources, source
        As for :func:`gather_starts`.
    starts : ndarray of int64, shape (records,)
        As :func:`gather_starts` gives them.
    complement : bool
        Complement the bases of what is turned around.
    out : ndarray of uint8
        Written.
    out_offsets : ndarray of int64, shape (records + 1,)
        As :func:`gather_starts` gives them.

    Raises
    ------
    KernelError
        A source or span lies outside of what it points into; offsets do not fit the output; arrays differ in length.
    """
    if len(source) != len(starts) or len(out_offsets) != len(starts) + 1:
        raise KernelError("records and offsets differ in length")
    check_offsets(out_offsets, len(out), "offsets outside of the output")
    for record, (which, start, target, end) in enumerate(
        zip(source.tolist(), (starts >> 1).tolist(), out_offsets[:-1].tolist(), out_offsets[1:].tolist(), strict=True)
    ):
        if which >= len(sources):
            raise KernelError("a record is of none of the sources", record)
        if start < 0 or end - target > len(sources[which][0]) - start:
            raise KernelError("span outside of the source", record, start)
        out[target:end] = sources[which][0][start : start + end - target]
    reverse_spans(out, out_offsets, (starts & 1).astype(np.bool_), complement)
