"""Aux fields of whole columns: joined, found, and as typed values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agd import kernels
from agd.batch import I64, U8, Batch, Bool, Column


def all_tags(batch: Batch) -> Column:
    """Aux fields of every line: those of the ``tags`` column, then the aligner's, which win."""
    own = batch.alignments().tags
    if "tags" not in batch:
        return own
    imported = batch.ragged("tags")
    assert own.offsets is not None
    if own.offsets[-1] == own.offsets[0]:
        return imported
    return merge_tags(imported, own)


def merge_tags(first: Column, second: Column) -> Column:
    """Aux fields of ``first`` and ``second`` end to end; a field of ``first`` whose tag ``second`` has is dropped."""
    first, second = first.compact(), second.compact()
    assert first.offsets is not None
    assert second.offsets is not None
    values = np.empty(len(first.values) + len(second.values), np.uint8)
    offsets = np.zeros(len(first) + 1, np.int64)
    kernels.aux_merge(first.values, first.offsets, second.values, second.offsets, values, offsets)
    return Column(values[: offsets[-1]], offsets)


def tag_spans(tags: Column, tag: bytes) -> tuple[I64, I64]:
    """Span of the whole field ``tag`` (with its two letters and type) in ``tags.values``; empty where it is missing."""
    assert tags.offsets is not None
    starts, ends = np.empty(len(tags), np.int64), np.empty(len(tags), np.int64)
    kernels.aux_spans(tags.values, tags.offsets, int.from_bytes(tag, "little"), starts, ends)
    return starts, ends


def rename_values(tags: Column, tag: str, names: Mapping[bytes, bytes]) -> Column:
    """Aux fields with other values of one text tag (type Z), each field where it was; the same column if none changes.

    Parameters
    ----------
    tags : Column
    tag : str
        Two letters.
    names : mapping of bytes to bytes
        From old to new values; what is not in it stays.
    """
    assert tags.offsets is not None
    starts, ends = tag_spans(tags, tag.encode())
    chosen = np.full(len(tags), -1, np.int64)
    for number, old in enumerate(names):
        field = np.frombuffer(f"{tag}Z".encode() + old + b"\0", np.uint8)
        like = np.flatnonzero((ends - starts == len(field)) & (chosen < 0))
        if len(like):
            at = starts[like][:, None] + np.arange(len(field))
            chosen[like[(tags.values[at] == field).all(axis=1)]] = number
    if (chosen < 0).all():
        return tags
    sizes = np.array([len(new) for new in names.values()], np.int64)
    pool = np.frombuffer(b"".join(names.values()), np.uint8)
    changed = chosen >= 0
    # What stands before the value, the value, and what comes after it; where nothing changes, all is "before".
    first, last = tags.offsets[:-1], tags.offsets[1:]
    head = np.where(changed, starts + 3, last)
    tail = np.where(changed, ends - 1, last)
    own = np.where(changed, sizes[chosen], 0)
    begin = np.where(changed, (np.cumsum(sizes) - sizes)[chosen], 0)
    out = Column.from_lengths(
        np.empty(int(((head - first) + own + (last - tail)).sum()), np.uint8), (head - first) + own + (last - tail)
    )
    assert out.offsets is not None
    to = out.offsets[:-1].copy()
    for values, start, stop in ((tags.values, first, head), (pool, begin, begin + own), (tags.values, tail, last)):
        kernels.copy_spans(np.ascontiguousarray(values), start, stop, out.values, to)
        to += stop - start
    return out


def names_and_kinds(tags: Column) -> dict[str, set[str]]:
    """Every tag that occurs and the kinds of its values, in the order of their first appearance by place in a record.

    Returns
    -------
    dict
        Kinds are those of :func:`kind_of`.
    """
    assert tags.offsets is not None
    values = tags.values
    nul = np.flatnonzero(values == 0)
    at, end = tags.offsets[:-1].copy(), tags.offsets[1:]
    found: dict[str, set[str]] = {}
    # One turn looks at the next field of all records at once.
    while len(at):
        inside = at < end
        at, end = at[inside], end[inside]
        if not len(at):
            break
        kind = values[at + 2].astype(np.int64)
        array = kind == ord("B")
        sub = np.where(array, values[np.minimum(at + 3, len(values) - 1)], 0).astype(np.int64)
        code = values[at].astype(np.int64) | values[at + 1].astype(np.int64) << 8 | kind << 16 | sub << 24
        for one in np.unique(code).tolist():
            name = chr(one & 255) + chr(one >> 8 & 255)
            found.setdefault(name, set()).add(kind_of(one >> 16 & 255, one >> 24))
        size = _SIZES[kind] + 3
        text = (kind == ord("Z")) | (kind == ord("H"))
        size[text] = nul[np.searchsorted(nul, at[text])] + 1 - at[text]
        count = values[at[array][:, None] + np.arange(4, 8)].copy().view("<u4")[:, 0].astype(np.int64)
        size[array] = 8 + count * _SIZES[sub[array]]
        at = at + size
    return found


#: numpy types of the numeric codes of BAM (SAM specification, section 4.2.4; ``d`` is htslib's)
_NUMBERS = {"c": "<i1", "C": "<u1", "s": "<i2", "S": "<u2", "i": "<i4", "I": "<u4", "f": "<f4", "d": "<f8"}

_SIZES = np.zeros(256, np.int64)
_SIZES[ord("A")] = 1
for _code, _dtype in _NUMBERS.items():
    _SIZES[ord(_code)] = np.dtype(_dtype).itemsize


def kind_of(code: int, sub: int = 0) -> str:
    """Kind of a BAM type code (and the one of the elements): ``i``, ``f``, ``Z`` (text), ``Bi`` or ``Bf``."""
    if chr(code) == "B":
        return "Bf" if chr(sub) == "f" else "Bi"
    if chr(code) in "fd":
        return "f"
    return "Z" if chr(code) in "AZH" else "i"


def kinds_of(tags: Column, starts: I64, ends: I64) -> set[str]:
    """Kinds of the fields at some spans, see :func:`tag_spans`; empty spans do not count."""
    starts = starts[ends > starts]
    sub = np.where(tags.values[starts + 2] == ord("B"), tags.values[starts + 3], 0).astype(np.int64)
    codes = tags.values[starts + 2].astype(np.int64) | sub << 8
    return {kind_of(code & 255, code >> 8) for code in np.unique(codes).tolist()}


def tag_numbers(tags: Column, tag: str, dtype: str) -> tuple[NDArray[Any], Bool]:
    """Values of a numeric tag.

    Parameters
    ----------
    tags : Column
    tag : str
        Two letters.
    dtype : str
        "i8" or "f8".

    Returns
    -------
    values : ndarray, shape (records,)
        0 where there is none.
    present : ndarray of bool, shape (records,)
        Whether there is one that is a number.
    """
    starts, _, kinds = _coded_spans(tags, tag)
    out, present = np.zeros(len(tags), dtype), np.zeros(len(tags), np.bool_)
    for code, stored in _NUMBERS.items():
        which = np.flatnonzero(kinds == ord(code))
        if len(which):
            width = np.dtype(stored).itemsize
            out[which] = tags.values[starts[which][:, None] + 3 + np.arange(width)].copy().view(stored)[:, 0]
            present[which] = True
    return out, present


def tag_text(tags: Column, tag: str) -> tuple[Column, Bool]:
    """Values of a text tag (types A, Z and H), and which records have one."""
    starts, ends, codes = _coded_spans(tags, tag)
    present = np.isin(codes, [ord(c) for c in "AZH"])
    # A text ends with NUL, a single character does not.
    stops = ends - (codes != ord("A"))
    return _cut(tags, np.where(present, starts + 3, 0), np.where(present, stops, 0)), present


def tag_arrays(tags: Column, tag: str, dtype: str) -> tuple[Column, Bool]:
    """Values of an array tag (type B) as a ragged column of ``dtype``, and which records have one."""
    starts, ends, codes = _coded_spans(tags, tag)
    present = codes == ord("B")
    sub = np.zeros(len(tags), np.uint8)
    sub[present] = tags.values[starts[present] + 3]
    lengths = np.where(present, (ends - starts - 8) // np.maximum(_SIZES[sub], 1), 0)
    out = Column.from_lengths(np.zeros(int(lengths.sum()), dtype), lengths)
    assert out.offsets is not None
    for code in np.unique(sub[present]).tolist():
        which = np.flatnonzero(present & (sub == code))
        raw = _cut(tags, starts[which] + 8, ends[which]).values.view(_NUMBERS[chr(code)])
        begin = np.cumsum(lengths[which]) - lengths[which]
        at = np.repeat(out.offsets[which] - begin, lengths[which]) + np.arange(len(raw))
        out.values[at] = raw
    return out, present


def _coded_spans(tags: Column, tag: str) -> tuple[I64, I64, U8]:
    """Spans of a tag and the type code of each; 0 where a record has none."""
    starts, ends = tag_spans(tags, tag.encode())
    codes = np.zeros(len(tags), np.uint8)
    there = ends > starts
    codes[there] = tags.values[starts[there] + 2]
    return starts, ends, codes


def _cut(column: Column, starts: I64, ends: I64) -> Column:
    out = Column.from_lengths(np.empty(int((ends - starts).sum()), np.uint8), ends - starts)
    assert out.offsets is not None
    kernels.copy_spans(column.values, starts, ends, out.values, out.offsets)
    return out
