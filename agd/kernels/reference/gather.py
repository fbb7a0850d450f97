"""Records of many sources in one order: the merge of sorted runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agd.batch import I64, U8, U32, Bool
from agd.errors import KernelError
from agd.kernels.reference.ragged import reverse_spans

Source = tuple[U8, I64, I64, "Bool | None", "I64 | None"]


def _spans(sources: Sequence[Source], source: U32, row: I64) -> list[tuple[U8, bool]]:
    if len(source) != len(row):
        raise KernelError("sources and rows differ in number")
    for _, starts, ends, turn, _ in sources:
        if len(starts) != len(ends) or (turn is not None and len(turn) != len(starts)):
            raise KernelError("spans of a source differ in number")
    found: list[tuple[U8, bool]] = []
    for record, (which, at) in enumerate(zip(source.tolist(), row.tolist(), strict=True)):
        if which >= len(sources):
            raise KernelError("a record is of none of the sources", record)
        values, starts, ends, turn, rows = sources[which]
        if not 0 <= at < len(starts if rows is None else rows):
            raise KernelError("a row lies outside of its source", record)
        at = at if rows is None else int(rows[at])
        if not 0 <= at < len(starts):
            raise KernelError("a record has none of the spans of its source", record, at)
        start, end = int(starts[at]), int(ends[at])
        if not 0 <= start <= end <= len(values):
            raise KernelError("span outside of the source", record, start)
        found.append((values[start:end], turn is not None and bool(turn[at])))
    return found


def gather_lengths(sources: Sequence[Source], source: U32, row: I64, out_offsets: I64) -> int:
    """Where each gathered record goes, for :func:`gather_spans`.

    Parameters
    ----------
    sources : sequence of (values, starts, ends, turn, rows)
        ``values`` uint8; record ``i`` of a source is ``values[starts[k]:ends[k]]`` (int64, half-open), to be turned
        around where ``turn[k]`` (bool, or None for none), with ``k = rows[i]`` (int64; None: ``k = i``).
    source : ndarray of uint32, shape (records,)
        Source of each record that is wanted, in the order in which they are wanted.
    row : ndarray of int64, shape (records,)
        Which record of that source it is.
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
    if len(out_offsets) != len(row) + 1:
        raise KernelError("records and offsets differ in length")
    out_offsets[0] = 0
    np.cumsum([len(span) for span, _ in _spans(sources, source, row)], out=out_offsets[1:])
    return int(out_offsets[-1])


def gather_spans(
    sources: Sequence[Source], source: U32, row: I64, complement: bool, out: U8, out_offsets: I64
) -> None:
    """Copy records of many sources to where they go, turning some around.

    Parameters
    ----------
    sources, source, row
        As for :func:`gather_lengths`.
    complement : bool
        Complement the bases of what is turned around.
    out : ndarray of uint8
        Written.
    out_offsets : ndarray of int64, shape (records + 1,)
        As :func:`gather_lengths` gives them.

    Raises
    ------
    KernelError
        As :func:`gather_lengths`; and where the offsets do not fit the records or the output.
    """
    spans = _spans(sources, source, row)
    if len(out_offsets) != len(spans) + 1 or (np.diff(out_offsets) != [len(span) for span, _ in spans]).any():
        raise KernelError("offsets do not fit the records")
    if out_offsets[0] < 0 or out_offsets[-1] > len(out):
        raise KernelError("offsets outside of the output")
    for (span, _), target in zip(spans, out_offsets.tolist(), strict=False):
        out[target : target + len(span)] = span
    reverse_spans(out, out_offsets, np.array([turn for _, turn in spans], np.bool_), complement)
