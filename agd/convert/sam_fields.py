"""Choose fields of SAM lines, as whole columns of text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agd import kernels
from agd.batch import U8, Column
from agd.errors import UsageError

#: Fields of a line, in order; the last stands for all tags.
FIELDS = ("QNAME", "FLAG", "RNAME", "POS", "MAPQ", "CIGAR", "RNEXT", "PNEXT", "TLEN", "SEQ", "QUAL", "TAGS")

#: Columns of a dataset that a field is made from, besides the alignments.
_COLUMNS = {
    "QNAME": ["metadata"], "SEQ": ["bases"], "TAGS": ["tags"],
    "QUAL": ["bases", "qualities"],  # a line is not written whose qualities are not of its bases
}  # fmt: skip

_TAB, _NEWLINE = ord("\t"), ord("\n")


def parse_fields(text: str) -> tuple[str, ...]:
    """Names of fields joined by commas.

    Raises
    ------
    UsageError
        There is no such field.
    """
    names = tuple(part.strip().upper() for part in text.split(","))
    for name in names:
        if name not in FIELDS:
            raise UsageError(f"there is no field {name!r}", f"fields are {', '.join(FIELDS)}")
    return names


def columns_for(fields: Sequence[str]) -> list[str]:
    """Columns of a dataset that these fields are made from."""
    return list(dict.fromkeys(column for name in fields for column in _COLUMNS.get(name, ())))


def cut_fields(text: U8, fields: Sequence[str]) -> U8:
    """The fields of every line, separated by tabs.

    Parameters
    ----------
    text : ndarray of uint8
        Whole lines of SAM.
    """
    ends = np.flatnonzero(text == _NEWLINE)
    if not len(ends):
        return text[:0]
    begins = np.concatenate([[0], ends[:-1] + 1])
    tabs = np.flatnonzero(text == _TAB)
    first = np.searchsorted(tabs, begins)
    count = np.searchsorted(tabs, ends) - first
    starts = np.empty((len(ends), len(fields)), np.int64)
    stops = np.empty_like(starts)
    for k, name in enumerate(fields):
        i = FIELDS.index(name)
        # Each piece begins after the tab (or at the beginning), and takes one more byte with it for what follows.
        has = count >= i
        starts[:, k] = begins if i == 0 else np.where(has, tabs[np.minimum(first + i - 1, len(tabs) - 1)] + 1, ends)
        more = (count > i) & (name != "TAGS")
        stops[:, k] = np.where(more, tabs[np.minimum(first + i, len(tabs) - 1)], ends) + 1
    lengths = (stops - starts).reshape(-1)
    out = Column.from_lengths(np.empty(int(lengths.sum()), np.uint8), lengths)
    assert out.offsets is not None
    kernels.copy_spans(text, starts.reshape(-1), stops.reshape(-1), out.values, out.offsets)
    last = out.offsets[1:] - 1
    out.values[last] = _TAB
    out.values[last[len(fields) - 1 :: len(fields)]] = _NEWLINE
    result: U8 = out.values
    return result
