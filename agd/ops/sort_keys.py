"""Sort keys: whole columns whose order as numbers, or as byte strings, is the order of the records."""

from __future__ import annotations

import bisect as python_bisect
import re
from typing import NamedTuple, TypeAlias

import numpy as np

from agd import kernels
from agd.batch import I64, U8, U64, Batch, Column
from agd.errors import UsageError
from agd.manifest import Manifest
from agd.ops.lines import all_tags, read_names
from agd.ops.sort_tags import join, tag_keys, template_keys
from agd.samheader import lines_of, with_sort_order
from agd.types import Flag, SortOrder

#: A key of one record: a number, or a byte string.
Key: TypeAlias = int | bytes

ORDERS = {
    "coordinate": SortOrder.COORDINATE,
    "queryname": SortOrder.QUERYNAME,
    "queryname-lexicographic": SortOrder.QUERYNAME_LEXICOGRAPHIC,
    "template-coordinate": SortOrder.TEMPLATE_COORDINATE,
}

#: Records of one name together, names in no order that means anything: what ``agd collate`` asks for.
COLLATED = "collated"


class Ordering(NamedTuple):
    """An order of alignment lines.

    Attributes
    ----------
    by : str
        ``coordinate``, ``queryname`` (natural, ``samtools sort -n``), ``queryname-lexicographic`` (``-N``),
        ``template-coordinate`` (``--template-coordinate``), or ``tag:XX`` (``-t XX``, then by coordinate).
    names : str
        What the metadata column holds, see :class:`agd.manifest.Manifest`.
    libraries : mapping of bytes to bytes
        LB of each read group of the header, for template-coordinate.
    """

    by: str
    names: str
    libraries: dict[bytes, bytes]

    @staticmethod
    def of(by: str, manifest: Manifest) -> Ordering:
        """Ordering of the lines of a dataset.

        Raises
        ------
        UsageError
            There is no such order, or the dataset lacks what it needs.
        """
        ordering = Ordering.of_header(by, manifest.header, manifest.names)
        if "metadata" in ordering.columns and "metadata" not in manifest.columns:
            raise UsageError(f"an order by {by} needs the column 'metadata', which is missing")
        return ordering

    @staticmethod
    def of_header(by: str, header: str, names: str = "sam") -> Ordering:
        """Ordering of records with all columns.

        Raises
        ------
        UsageError
            There is no such order.
        """
        if by not in (*ORDERS, COLLATED) and not re.fullmatch("tag:[A-Za-z][A-Za-z0-9]", by):
            raise UsageError(f"there is no order {by!r}", f"choose one of {', '.join(ORDERS)}, tag:XX")
        groups = lines_of(header, "RG")
        libraries = {g["ID"].encode(): g["LB"].encode() for g in groups if g.get("ID") and "LB" in g}
        return Ordering(by, names, libraries)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns besides ``results`` that the keys are made from, where the dataset has them."""
        if self.by == "coordinate":
            return ()
        if self.by.startswith("queryname") or self.by == COLLATED:
            return ("metadata",)
        return ("tags",) if self.by.startswith("tag:") else ("metadata", "tags")

    @property
    def sort_order(self) -> SortOrder:
        """The order as the manifest notes it."""
        return ORDERS.get(self.by, SortOrder.UNSORTED)

    def header(self, text: str) -> str:
        """SAM header text with the order noted in its ``@HD`` line, as samtools sort does."""
        text = with_sort_order(text, self.sort_order)
        if self.by == COLLATED:
            return text.replace("\tSO:unsorted", "\tSO:unsorted\tGO:query", 1)
        if not self.by.startswith("tag:"):
            return text
        return text.replace("\tSO:unsorted", f"\tSO:unsorted\tSS:unsorted:{self.by[4:]}:coordinate", 1)

    def keys(self, lines: Batch) -> Column:
        """Keys of alignment lines: numbers (uint64) for coordinate, byte strings (ragged uint8) otherwise."""
        if self.by == "coordinate":
            return Column(coordinate_keys(lines))
        if self.by.startswith("queryname"):
            return name_keys(self._names(lines), lines, self.by == "queryname")
        if self.by == COLLATED:
            return collated_keys(self._names(lines), lines)
        if self.by.startswith("tag:"):
            return tag_keys(all_tags(lines), self.by[4:], coordinate_keys(lines))
        return template_keys(lines.alignments(), all_tags(lines), self._names(lines), self.libraries)

    def _names(self, lines: Batch) -> Column:
        """QNAME of each line; ``*`` where there is none."""
        metadata = lines.ragged("metadata")
        paired = (lines.alignments().flag & Flag.PAIRED) != 0
        starts, ends = read_names(metadata, self.names, paired)
        lengths = ends - starts
        missing = lengths == 0
        names = Column.from_lengths(np.full(int(lengths.sum()) + int(missing.sum()), ord("*"), np.uint8),
                                    np.maximum(lengths, 1))  # fmt: skip
        assert names.offsets is not None
        kernels.copy_spans(metadata.values, starts, ends, names.values, names.offsets)
        return names


def coordinate_keys(lines: Batch) -> U64:
    """Numbers in the order of samtools sort: reference (none last), position, strand."""
    alignments = lines.alignments()
    keys = np.empty(len(alignments), np.uint64)
    kernels.coordinate_keys(
        np.ascontiguousarray(alignments.reference), np.ascontiguousarray(alignments.position),
        np.ascontiguousarray(alignments.flag), keys,
    )  # fmt: skip
    return keys


def name_keys(names: Column, lines: Batch, natural: bool) -> Column:
    """Byte strings in the order of ``samtools sort -n`` (natural) or ``-N``."""
    assert names.offsets is not None
    out = np.empty(2 * len(names.values) + 2 * len(names), np.uint8)
    offsets = np.zeros(len(names) + 1, np.int64)
    flags = np.ascontiguousarray(lines.alignments().flag)
    used = kernels.name_keys(names.values, names.offsets, flags, natural, out, offsets)
    return Column(out[:used].copy(), offsets)


def collated_keys(names: Column, lines: Batch) -> Column:
    """Byte strings that keep one name together: its hash, then what :func:`name_keys` gives."""
    assert names.offsets is not None
    hashes, _ = np.empty(len(names), np.uint64), np.empty(len(names), np.uint64)
    kernels.hash_spans(names.values, names.offsets[:-1], names.offsets[1:], hashes, _)
    # The low bits of the hash are mixed best.
    short = hashes.astype(np.uint32).astype(">u4").view(np.uint8)
    return join([Column(short, np.arange(len(names) + 1, dtype=np.int64) * 4), name_keys(names, lines, False)])


def argsort(keys: Column) -> I64:
    """Order of keys, stable: int64, shape (records,)."""
    order = np.empty(len(keys), np.int64)
    if keys.offsets is None:
        kernels.argsort_u64(np.ascontiguousarray(keys.values), order)
    else:
        values: U8 = np.ascontiguousarray(keys.values)
        kernels.argsort_bytes(values, np.ascontiguousarray(keys.offsets), order)
    return order


def key_at(keys: Column, record: int) -> Key:
    """Key of one record."""
    return int(keys.values[record]) if keys.offsets is None else bytes(keys[record])


def bisect(keys: Column, key: Key, low: int, high: int, *, right: bool) -> int:
    """Number of sorted keys before ``key`` (or up to it, with ``right``), clipped to ``low`` … ``high``."""
    if keys.offsets is None:
        # Of numpy, the call takes longer than the search.
        find = python_bisect.bisect_right if right else python_bisect.bisect_left
        return find(keys.values.data, key, low, high)
    assert isinstance(key, bytes)
    while low < high:
        middle = (low + high) // 2
        found = keys[middle]
        if found < key or (right and found == key):
            low = middle + 1
        else:
            high = middle
    return low
