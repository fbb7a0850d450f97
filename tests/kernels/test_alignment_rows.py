"""Alignments as rows: what is packed is unpacked, in any order, and what is no row is refused."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.batch import Alignments, Column
from agd.errors import KernelError
from agd.kernels import _native, alignments, reference
from agd.kernels.alignments import AlignmentArrays
from tests.kernels.test_alignment import RECORDS, from_records, records_of


def pack(kernels: ModuleType, source: Alignments) -> Column:
    rows, offsets = np.empty(alignments.packed_bytes(source), np.uint8), np.empty(len(source) + 1, np.int64)
    kernels.alignment_pack(alignments.arrays(source), rows, offsets)
    return Column(rows, offsets)


def unpack(kernels: ModuleType, column: Column) -> list[Any]:
    filled = AlignmentArrays.allocate(len(column), len(column.values) // 4, len(column.values))
    return records_of(filled, kernels.alignment_unpack(column.values, column.offsets, filled))


@given(RECORDS, st.integers(0, 3), st.randoms())
def test_rows_come_back_in_any_order(kernels: ModuleType, records: list[Any], cut: int, random: Any) -> None:
    column = pack(kernels, from_records(records, cut))
    assert unpack(kernels, column) == records
    order = list(range(len(records)))
    random.shuffle(order)
    rows = list(column)
    assert unpack(kernels, Column.from_list([rows[i] for i in order])) == [records[i] for i in order]


@given(RECORDS)
def test_both_implementations_write_the_same_rows(records: list[Any]) -> None:
    source = from_records(records)
    assert list(pack(_native, source)) == list(pack(reference, source))


@given(RECORDS, st.integers(0, 2))
def test_columns_of_rows(records: list[Any], cut: int) -> None:
    source = from_records(records, cut)
    column = alignments.pack(source)
    assert [len(row) for row in column] == [
        0 if r is None else alignments.ROW_BYTES + 4 * len(r[7]) + len(r[8]) for r in records
    ]
    found = alignments.unpack(column.slice(1, len(column)))
    wanted = source.slice(1, len(source))
    for name in Alignments.FIXED:
        assert getattr(found, name).tolist() == getattr(wanted, name).tolist()
    assert [c.tolist() for c in found.cigar] == [c.tolist() for c in wanted.cigar]
    assert list(found.tags) == list(wanted.tags)


RECORD = (99, 0, 100, 60, 0, 300, 350, [1600, 33], b"NMC\x01")


def test_what_is_no_row_is_refused(kernels: ModuleType) -> None:
    row = pack(kernels, from_records([RECORD])).values
    assert len(row) == 40 + 8 + 4
    for size, reason in ((39, "row is too short"), (47, "CIGAR is longer than its row")):
        with pytest.raises(KernelError, match=reason) as caught:
            unpack(kernels, Column.from_list([b"", row[:size].tobytes()]))
        assert (caught.value.record, caught.value.offset) == (1, 0)
    assert unpack(kernels, Column.from_list([row[:48].tobytes()])) == [(*RECORD[:8], b"")]
    offsets = np.array([0, len(row)])
    for cigar, tags, reason in ((1, 99, "no room for the CIGARs"), (2, 3, "no room for the tags")):
        with pytest.raises(KernelError, match=reason):
            kernels.alignment_unpack(row, offsets, AlignmentArrays.allocate(1, cigar, tags))
    with pytest.raises(KernelError, match="outside of the rows"):
        kernels.alignment_unpack(row, offsets + 1, AlignmentArrays.allocate(1, 9, 99))
    with pytest.raises(KernelError, match="differ in number"):
        kernels.alignment_unpack(row, offsets, AlignmentArrays.allocate(2, 9, 99))


def test_the_room_is_that_of_the_rows(kernels: ModuleType) -> None:
    arrays = alignments.arrays(from_records([RECORD, None, RECORD]))
    offsets = np.empty(4, np.int64)
    kernels.alignment_pack(arrays, np.empty(104, np.uint8), offsets)
    assert offsets.tolist() == [0, 52, 52, 104]
    with pytest.raises(KernelError, match="no room for the rows") as caught:
        kernels.alignment_pack(arrays, np.empty(103, np.uint8), offsets)
    assert caught.value.record == 2
    with pytest.raises(KernelError, match="not the size of the rows"):
        kernels.alignment_pack(arrays, np.empty(105, np.uint8), offsets)
    with pytest.raises(KernelError, match="differ in number"):
        kernels.alignment_pack(arrays, np.empty(104, np.uint8), offsets[:3])
    broken = arrays._replace(tag_offsets=arrays.tag_offsets + 5)
    with pytest.raises(KernelError, match="outside of the tags"):
        kernels.alignment_pack(broken, np.empty(104, np.uint8), offsets)
