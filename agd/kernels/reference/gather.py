"""Records of many sources in one order: the merge of sorted runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agd.batch import I64, U8, Bool
from agd.errors import KernelError
from agd.kernels.reference.ragged import reverse_spans

Source = tuple[U8, I64, I64, "Bool | None", "I64 | None"]


def _spans(sources: Sequence[Source], order: I64) -> list[tuple[U8, bool]]:
    every: list[tuple[U8, bool]] = []
    for values, starts, ends, turn, rows in sources:
        if len(starts) != len(ends) or (turn is not None and len(turn) != len(starts)):
            raise KernelError("spans of a source differ in number")
        for row in range(len(starts)) if rows is None else rows.tolist():
            if not 0 <= row < len(starts):
                raise KernelError("a row lies outside of its source")
            start, end = int(starts[row]), int(ends[row])
            if not 0 <= start <= end <= len(values):
                raise KernelError("span outside of the source", offset=start)
            every.append((values[start:end], turn is not None and bool(turn[row])))
    if len(order) and not (order.min() >= 0 and order.max() < len(every)):
        raise KernelError("an index lies outside of the sources")
    return [every[index] for index in order.tolist()]


def gather_lengths(sources: Sequence[Source], order: I64, out_offsets: I64) -> int:
    """Where each gathered record goes, for :func:`gather_spans`.

    Parameters
    ----------
    sources : sequence of (values, starts, ends, turn, rows)
        ``values`` uint8; record ``i`` of a source is ``values[starts[i]:ends[i]]`` (int64, half-open), to be turned
        around where ``turn[i]`` (bool, or None for none); ``rows`` (int64) are the records that are wanted, None for
        all of them.
    order : ndarray of int64
        Indices (0-based) into the wanted records of all sources end to end.
    out_offsets : ndarray of int64, shape (len(order) + 1,)
        Written: offsets of the gathered records, from 0.

    Returns
    -------
    int
        Bytes of all gathered records.

    Raises
    ------
    KernelError
        An index, row or span lies outside of what it points into; arrays differ in length.
    """
    if len(out_offsets) != len(order) + 1:
        raise KernelError("order and offsets differ in length")
    out_offsets[0] = 0
    np.cumsum([len(span) for span, _ in _spans(sources, order)], out=out_offsets[1:])
    return int(out_offsets[-1])


def gather_spans(sources: Sequence[Source], order: I64, complement: bool, out: U8, out_offsets: I64) -> None:
    """Copy records of many sources to where they go, turning some around.

    Parameters
    ----------
    sources, order
        As for :func:`gather_lengths`.
    complement : bool
        Complement the bases of what is turned around.
    out : ndarray of uint8
        Written.
    out_offsets : ndarray of int64, shape (len(order) + 1,)
        As :func:`gather_lengths` gives them.

    Raises
    ------
    KernelError
        As :func:`gather_lengths`; and where the offsets do not fit the records or the output.
    """
    spans = _spans(sources, order)
    if len(out_offsets) != len(spans) + 1 or (np.diff(out_offsets) != [len(span) for span, _ in spans]).any():
        raise KernelError("offsets do not fit the records")
    if out_offsets[0] < 0 or out_offsets[-1] > len(out):
        raise KernelError("offsets outside of the output")
    for (span, _), target in zip(spans, out_offsets.tolist(), strict=False):
        out[target : target + len(span)] = span
    reverse_spans(out, out_offsets, np.array([turn for _, turn in spans], np.bool_), complement)
