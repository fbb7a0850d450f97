"""Gathering bases that stay packed: as if they were unpacked, gathered and packed again."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.batch import Column
from agd.errors import KernelError
from agd.kernels import reference

#: Letters that are as they come, and some that have no code: the complement of U has one.
LETTERS = "ACGTACGTACGTNNRUnacgt*"


def packed(values: bytes) -> tuple[Any, ...]:
    letters, out = np.frombuffer(values, np.uint8), np.zeros((len(values) + 3) // 4, np.uint8)
    return out, *reference.base2_pack(letters, np.array([0, len(letters)]), out)


@st.composite
def sources(draw: st.DrawFn) -> list[bytes]:
    plain, mixed = st.text("ACGT", max_size=400), st.text(LETTERS, max_size=60)
    parts = st.lists(plain | mixed, min_size=1, max_size=3).map("".join)
    return [text.encode() for text in draw(st.lists(parts, min_size=1, max_size=3))]


@given(data=st.data(), values=sources())
def test_bases_stay_packed(kernels: ModuleType, data: st.DataObject, values: list[bytes]) -> None:
    records, expected = [], []
    for _ in range(data.draw(st.integers(0, 40))):
        source = data.draw(st.integers(0, len(values) - 1))
        start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(values[source]))] * 2)))
        turn = data.draw(st.booleans())
        marked = any(letter not in b"ACGT" for letter in values[source][start:end]) or data.draw(st.booleans())
        records.append((source, 4 * start + 2 * marked + turn))
        expected.append(values[source][start:end])
    column = Column.from_list(expected)
    assert column.offsets is not None
    source, starts = (np.array([r[i] for r in records], dtype) for i, dtype in enumerate((np.uint32, np.int64)))
    out = np.full((len(column.values) + 3) // 4, 255, np.uint8)
    runs = kernels.gather_packed([packed(each) for each in values], source, starts, column.offsets, out)
    turned = column.values.copy()
    reference.reverse_spans(turned, column.offsets, (starts & 1).astype(np.bool_), True)
    same = np.zeros_like(out)
    wanted = reference.base2_pack(turned, column.offsets, same)
    np.testing.assert_array_equal(out, same)
    for found, want in zip(runs, wanted, strict=True):
        np.testing.assert_array_equal(found, want)
        assert found.dtype == want.dtype


def test_a_run_that_goes_on_in_the_next_record_is_one(kernels: ModuleType) -> None:
    out = np.zeros(2, np.uint8)
    runs = kernels.gather_packed(
        [packed(b"ACNN"), packed(b"NNNT")], np.array([0, 1], np.uint32), np.array([2, 2]), np.array([0, 4, 8]), out
    )
    assert [found.tolist() for found in runs] == [[2], [5], [ord("N")]]


BAD: dict[str, Any] = {
    "span outside": {"starts": [4 * 6]},
    "span before": {"starts": [-4]},
    "none of the sources": {"source": [1]},
    "does not fit": {"out": np.zeros(3, np.uint8)},
    "fit the bases": {"offsets": [1, 5]},
    "descend": {"offsets": [0, -4], "out": np.zeros(0, np.uint8)},
    "differ in length": {"source": [0, 0]},
    "runs differ in number": {"runs": ([1], [1, 2], b"N")},
}


@pytest.mark.parametrize("what", BAD)
def test_what_does_not_fit_is_refused(kernels: ModuleType, what: str) -> None:
    given_ = {"source": [0], "starts": [8], "offsets": [0, 4], "out": np.zeros(1, np.uint8), "runs": ([], [], b"")}
    bad = given_ | BAD[what]
    starts, lengths, letters = bad["runs"]
    source = (np.zeros(2, np.uint8), np.array(starts, np.int64), np.array(lengths, np.int64),
              np.frombuffer(letters, np.uint8))  # fmt: skip
    with pytest.raises(KernelError):
        kernels.gather_packed(
            [source], np.array(bad["source"], np.uint32), np.array(bad["starts"]), np.array(bad["offsets"]), bad["out"]
        )
