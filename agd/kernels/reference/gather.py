"""Records of many sources in one order: the merge of sorted runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agd.batch import I64, U8, U32, Bool
from agd.errors import KernelError
from agd.kernels.reference.bases import base2_pack, base2_unpack, fill_runs
from agd.kernels.reference.ragged import check_offsets, reverse_spans

Spans = tuple[I64, I64, "Bool | None", "Bool | None", "I64 | None", int]

_LARGEST = (1 << 61) - 1


def gather_starts(spans: Sequence[Spans], source: U32, row: I64, out_starts: I64, out_offsets: I64) -> int:
    """Where gathered records are, and where they go, for :func:`gather_spans`.

    Parameters
    ----------
    spans : sequence of (starts, ends, turn, marked, rows, width)
        Of each source: record ``i`` is ``values[starts[k]:ends[k]]`` (int64, half-open) with ``k = rows[i]`` (int64;
        None: ``k = i``), to be turned around where ``turn[i]``, and marked where ``marked[i]`` (bool; None: nowhere).
        Where ``width`` (int) is not 0 it is ``values[k * width:(k + 1) * width]`` instead, and need not be looked up.
    source : ndarray of uint32, shape (records,)
        Source of each record that is wanted, in the order in which they are wanted.
    row : ndarray of int64, shape (records,)
        Which record of that source it is.
    out_starts : ndarray of int64, shape (records,)
        Written: four times the start of each record, one more where it is to be turned around, two where it is marked.
    out_offsets : ndarray of int64, shape (records + 1,)
        Written: offsets of the gathered records, from 0.

    Returns
    -------
    int
        Values of all gathered records.

    Raises
    ------
    KernelError
        A source or row is not there, a span is none, or arrays differ in length.
    """
    if len(source) != len(row):
        raise KernelError("sources and rows differ in number")
    if len(out_starts) != len(row) or len(out_offsets) != len(row) + 1:
        raise KernelError("records and outputs differ in length")
    for starts, ends, turn, marked, rows, width in spans:
        if len(starts) != len(ends):
            raise KernelError("spans of a source differ in number")
        count = len(starts if rows is None else rows)
        if any(marks is not None and len(marks) != count for marks in (turn, marked)):
            raise KernelError("a source has more or fewer marks than records")
        if width < 0 or width > _LARGEST // (len(starts) + 1):
            raise KernelError("spans of one width lie outside of their source")
    out_offsets[0] = 0
    for record, (which, at) in enumerate(zip(source.tolist(), row.tolist(), strict=True)):
        if which >= len(spans):
            raise KernelError("a record is of none of the sources", record)
        starts, ends, turn, marked, rows, width = spans[which]
        if not 0 <= at < len(starts if rows is None else rows):
            raise KernelError("a row lies outside of its source", record)
        span = at if rows is None else int(rows[at])
        if not 0 <= span < len(starts):
            raise KernelError("a record has none of the spans of its source", record, span)
        start, end = (span * width, (span + 1) * width) if width else (int(starts[span]), int(ends[span]))
        if not 0 <= start <= end <= _LARGEST:
            raise KernelError("span outside of the source", record, start)
        bits = [marks is not None and bool(marks[at]) for marks in (turn, marked)]
        out_starts[record] = 4 * start + bits[0] + 2 * bits[1]
        out_offsets[record + 1] = out_offsets[record] + end - start
    return int(out_offsets[-1])


def gather_spans(
    values: Sequence[U8], source: U32, starts: I64, complement: bool, out: U8, out_offsets: I64
) -> None:
    """Copy records of many sources to where they go, turning some around.

    Parameters
    ----------
    values : sequence of ndarray of uint8
        Of each source.
    source
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
        zip(source.tolist(), (starts >> 2).tolist(), out_offsets[:-1].tolist(), out_offsets[1:].tolist(), strict=True)
    ):
        if which >= len(values):
            raise KernelError("a record is of none of the sources", record)
        if not 0 <= start <= len(values[which]) or end - target > len(values[which]) - start:
            raise KernelError("span outside of the source", record, start)
        out[target:end] = values[which][start : start + end - target]
    reverse_spans(out, out_offsets, (starts & 1).astype(np.bool_), complement)


def gather_packed(
    bases: Sequence[tuple[U8, I64, I64, U8]], source: U32, starts: I64, out_offsets: I64, out: U8
) -> tuple[I64, I64, U8]:
    """Copy bases of many sources to where they go, turning some around and complementing them, two bits each.

    Parameters
    ----------
    bases : sequence of (packed, starts, lengths, letters)
        Of each source: what :func:`agd.kernels.base2_pack` writes and returns.
    source
        As for :func:`gather_starts`.
    starts : ndarray of int64, shape (records,)
        As :func:`gather_starts` gives them, in bases. Records with runs are marked.
    out_offsets : ndarray of int64, shape (records + 1,)
        As :func:`gather_starts` gives them, in bases, from 0.
    out : ndarray of uint8
        Written; exactly ``(bases + 3) // 4`` long.

    Returns
    -------
    starts, lengths, letters
        What :func:`agd.kernels.base2_pack` would return for the letters of these records.

    Raises
    ------
    KernelError
        A source or span lies outside of what it points into; sizes do not fit; arrays differ in length.
    """
    if len(source) != len(starts) or len(out_offsets) != len(starts) + 1:
        raise KernelError("records and offsets differ in length")
    check_offsets(out_offsets, _LARGEST, "offsets that descend")
    total = int(out_offsets[-1])
    if out_offsets[0] != 0 or len(out) != (total + 3) // 4:
        raise KernelError("size of the output does not fit the bases")
    letters = np.empty(total, np.uint8)
    gather_spans([_letters(*each) for each in bases], source, starts, True, letters, out_offsets)
    return base2_pack(letters, out_offsets, out)


def _letters(packed: U8, starts: I64, lengths: I64, letters: U8) -> U8:
    values = np.empty(4 * len(packed), np.uint8)
    base2_unpack(packed, len(values), values)
    fill_runs(values, starts, lengths, letters)
    return values
