"""Records gathered from parts of several kinds, and parts that share a block of memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agd.batch import Column
from agd.ops.sort_gather import Part, Places, gather, together

RECORDS = st.lists(st.binary(max_size=20), min_size=1, max_size=12)


def records(part: Part) -> list[bytes]:
    assert part.starts is not None
    assert part.ends is not None
    return [part.values[start:end].tobytes() for start, end in zip(part.starts, part.ends, strict=True)]


@given(st.lists(st.tuples(RECORDS, st.booleans(), st.integers(0, 99)), min_size=1, max_size=5), st.randoms())
def test_places_are_those_of_the_wanted_records(given_: list[tuple[list[bytes], bool, int]], chance: Any) -> None:
    parts, wanted = [], []
    for values, some, seed in given_:
        rows = None
        if some:
            rows = np.random.default_rng(seed).permutation(len(values))[: seed % (len(values) + 1)]
        parts.append(Part.of(Column.from_list(values), rows))
        wanted += values if rows is None else [values[row] for row in rows]
    order = np.array(chance.sample(range(len(wanted)), len(wanted)), np.int64)
    places = Places.of(parts, order)
    found = [records(parts[source])[row] for source, row in zip(places.source, places.row, strict=True)]
    assert found == [wanted[i] for i in order]
    if len(order):
        assert list(gather(parts, order)) == found


@given(st.dictionaries(st.sampled_from("abcd"), RECORDS), st.integers(0, 5000))
def test_parts_that_are_together_are_the_same(columns: dict[str, list[bytes]], least: int) -> None:
    parts = {name: Part.of(Column.from_list(values)) for name, values in columns.items()}
    parts["numbers"] = Part.of(Column(np.arange(5, dtype=np.int64)))
    moved = together(parts, least)
    assert list(moved) == list(parts)
    for name, part in parts.items():
        assert not np.shares_memory(part.values, moved[name].values) or not len(part.values)
        assert moved[name].values.dtype == part.values.dtype
        np.testing.assert_array_equal(moved[name].values, part.values)
        assert moved[name].starts is part.starts
    ends = [each.values.__array_interface__["data"][0] + each.values.nbytes for each in moved.values()]
    begin = min(each.values.__array_interface__["data"][0] for each in moved.values())
    assert max(ends) - begin <= sum(64 + part.values.nbytes for part in parts.values())
    base = moved["numbers"].values.base
    assert base is not None
    assert base.nbytes >= least
