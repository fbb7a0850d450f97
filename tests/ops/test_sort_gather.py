"""Records gathered from parts, and columns that share a block of memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.batch import Column
from agd.ops.sort_gather import Part, Places, gather, gather_together

RECORDS = st.lists(st.binary(max_size=20), min_size=1, max_size=12)


@given(st.lists(RECORDS, min_size=1, max_size=5), st.data())
def test_places_are_those_of_the_records_end_to_end(given_: list[list[bytes]], data: Any) -> None:
    parts = [Part.of(Column.from_list(values)) for values in given_]
    wanted = [value for values in given_ for value in values]
    # A few of many records are found in another way than most of them.
    order = np.array(data.draw(st.lists(st.integers(0, len(wanted) - 1), min_size=1)), np.int64)
    places = Places.of([part.records for part in parts], order)
    assert [given_[source][row] for source, row in zip(places.source, places.row, strict=True)] == [
        wanted[i] for i in order
    ]
    assert list(gather(parts, order)) == [wanted[i] for i in order]
    numbers = [Part.of(Column(np.array([len(value) for value in values], np.int16))) for values in given_]
    assert list(gather(numbers, order)) == [len(wanted[i]) for i in order]


@given(st.integers(1, 30), st.integers(0, 5000), st.data())
def test_columns_together_are_those_one_by_one(records: int, least: int, data: Any) -> None:
    lists = st.lists(st.binary(max_size=20), min_size=records, max_size=records)
    columns = {name: Column.from_list(data.draw(lists)) for name in data.draw(st.sets(st.sampled_from("abcd")))}
    columns["numbers"] = Column(np.arange(records, dtype=np.int64))
    order = np.array(data.draw(st.permutations(range(records))), np.int64)
    parts = {name: Part.of(column) for name, column in columns.items()}
    found = gather_together(parts, order, least)
    assert list(found) == list(columns)
    for name, column in found.items():
        alone = gather([parts[name]], order)
        assert list(column) == list(alone)
        assert column.values.dtype == alone.values.dtype
    begins = [column.values.__array_interface__["data"][0] for column in found.values()]
    ends = [column.values.__array_interface__["data"][0] + column.values.nbytes for column in found.values()]
    assert max(ends) - min(begins) <= sum(64 + column.values.nbytes for column in found.values())
    base = found["numbers"].values.base
    assert base is not None
    assert base.nbytes >= least


@pytest.mark.parametrize(("starts", "ends", "width"), [
    ([0, 3, 6], [3, 6, 9], 3), ([0, 3, 6], [3, 6, 8], 0), ([0, 3, 5], [3, 6, 8], 0), ([1, 4, 7], [4, 7, 10], 0),
    ([0, 6, 3], [3, 9, 6], 0), ([0, 0], [0, 0], 0), ([], [], 0),
])  # fmt: skip
def test_spans_of_one_width_are_known_as_such(starts: list[int], ends: list[int], width: int) -> None:
    values = np.frombuffer(b"0123456789", np.uint8)
    turn = np.array([False, True, True][: len(starts)])
    part = Part.spans(values, np.array(starts, np.int64), np.array(ends, np.int64), turn)
    assert part.width == width
    order = np.arange(len(starts))[::-1].copy()
    found = list(gather([part.in_order(order)], np.arange(len(starts))))
    records = [b"0123456789"[start:end] for start, end in zip(starts, ends, strict=True)]
    assert found == [records[i][::-1] if turn[i] else records[i] for i in order]
