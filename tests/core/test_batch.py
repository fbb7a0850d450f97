"""Columns in memory: what slices of them hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.batch import Alignments, AnyColumn, Batch, Column
from tests.support.columns import TEXT, alignments, assert_equal, numbers

PLACES = st.integers(-9, 30)


@given(TEXT | numbers() | alignments(), PLACES, PLACES)
def test_slices_leave_out_what_lies_outside(column: AnyColumn, start: int, stop: int) -> None:
    """As those of a batch do."""
    inside = [i for i in range(len(column)) if start <= i < stop]
    part = column.slice(start, stop)
    assert len(part) == len(inside)
    assert_equal(Batch(0, {"c": column}).slice(start, stop)["c"], part)
    if isinstance(part, Alignments):
        assert isinstance(column, Alignments)
        for name in Alignments.FIXED:
            np.testing.assert_array_equal(getattr(part, name), getattr(column, name)[inside])
        assert list(part.tags) == [column.tags[i] for i in inside]
        assert len(part.cigar) == len(inside)
    else:
        assert isinstance(column, Column)
        np.testing.assert_equal(list(part), [column[i] for i in inside])


@given(TEXT | numbers(), st.none() | PLACES, st.none() | PLACES)
def test_slices_in_brackets_are_those_of_lists(column: Column, start: int | None, stop: int | None) -> None:
    np.testing.assert_equal(list(column[start:stop]), list(column)[start:stop])


def test_what_is_no_place() -> None:
    column = Column.from_list([b"AC", b"G", b"TTT"])
    assert column[np.int64(-1)] == b"TTT"
    with pytest.raises(IndexError, match="no step"):
        column[::2]
    with pytest.raises(IndexError):
        column[3]
    for wrong in ("1", 1.5, None):
        with pytest.raises(TypeError, match="integer"):
            column[wrong]  # type: ignore[index]
