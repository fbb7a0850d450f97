"""Hypothesis strategies for columns of every record type."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agd.batch import Alignments, AnyColumn, Column
from agd.types import NUMBER_DTYPES

TEXT = st.lists(st.binary(max_size=60), max_size=20).map(Column.from_list)

#: Mostly bases, some of them unusual.
BASES = st.lists(
    st.text("ACGT", max_size=70).map(str.encode) | st.text("ACGTNacgtnRYKM.-=*", max_size=70).map(str.encode),
    max_size=20,
).map(Column.from_list)


@st.composite
def numbers(draw: st.DrawFn, dtype: str | None = None) -> Column:
    """A fixed column of any type of numbers."""
    dtype = dtype or draw(st.sampled_from(NUMBER_DTYPES))
    return Column(draw(hnp.arrays(dtype, st.integers(0, 20))))


@st.composite
def ragged(draw: st.DrawFn, records: int, dtype: Any) -> Column:
    """A ragged column of ``records`` records."""
    lengths = draw(st.lists(st.integers(0, 4), min_size=records, max_size=records))
    values = draw(hnp.arrays(dtype, sum(lengths)))
    return Column.from_lengths(values, np.array(lengths, np.int64))


@st.composite
def alignments(draw: st.DrawFn) -> Alignments:
    """Alignments with any values that the format allows, some of them null."""
    count = draw(st.integers(0, 12))

    def array(dtype: str, low: int, high: int) -> Any:
        return draw(hnp.arrays(dtype, count, elements=st.integers(low, high)))

    valid = array("bool", 0, 1) if draw(st.booleans()) else None
    made = Alignments(
        array("u2", 0, 65535), array("i4", -1, (1 << 31) - 2), array("i8", -1, 1 << 40), array("u1", 0, 255),
        array("i4", -1, (1 << 31) - 2), array("i8", -1, 1 << 40), array("i8", -(1 << 40), 1 << 40),
        draw(ragged(count, np.uint32)), draw(ragged(count, np.uint8)), valid,
    )  # fmt: skip
    if valid is None or valid.all():
        return made.replace(valid=None)
    # The fields of a null record have no meaning: they are those that a reader gives.
    null = Alignments.null(count)
    fixed = {name: np.where(valid, getattr(made, name), getattr(null, name)) for name in Alignments.FIXED}
    for name in ("cigar", "tags"):
        column = getattr(made, name)
        keep = np.repeat(valid, column.lengths)
        fixed[name] = Column.from_lengths(column.values[keep], np.where(valid, column.lengths, 0))
    return made.replace(**fixed)


def assert_equal(found: AnyColumn, expected: AnyColumn) -> None:
    """Fail unless two columns hold the same records, and numbers of the same type."""
    assert type(found) is type(expected)
    assert len(found) == len(expected)
    if isinstance(expected, Alignments):
        assert isinstance(found, Alignments)
        count = len(expected)
        valid = [np.ones(count, bool) if a.valid is None else a.valid for a in (found, expected)]
        np.testing.assert_array_equal(*valid)
        for name in Alignments.FIXED:
            np.testing.assert_array_equal(getattr(found, name)[valid[0]], getattr(expected, name)[valid[0]], name)
        assert_equal(found.cigar, expected.cigar)
        assert_equal(found.tags, expected.tags)
        return
    assert isinstance(found, Column)
    assert (found.offsets is None) == (expected.offsets is None)
    found, expected = found.compact(), expected.compact()
    assert found.values.dtype == expected.values.dtype
    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_array_equal(found.lengths, expected.lengths)
