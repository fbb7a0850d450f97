"""Gathering records of many sources: both implementations against plain Python."""

from __future__ import annotations

from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.errors import KernelError

COMPLEMENT = bytes.maketrans(b"ACGTNRYKMacgtn", b"TGCANYRMKtgcan")


@st.composite
def sources(draw: st.DrawFn) -> list[tuple[bytes, list[tuple[int, int]], list[bool] | None, list[int] | None]]:
    found = []
    for _ in range(draw(st.integers(1, 4))):
        letters = draw(st.sampled_from(["ACGTN", "ACGTNRYKMacgtn"]))
        values = draw(st.text(letters, max_size=300)).encode()
        place = st.integers(0, len(values))
        spans = draw(st.lists(st.tuples(place, place).map(lambda s: (min(s), max(s))), max_size=8))
        turn = draw(st.none() | st.lists(st.booleans(), min_size=len(spans), max_size=len(spans)))
        rows = draw(st.none() | st.lists(st.integers(0, len(spans) - 1), max_size=12)) if spans else None
        found.append((values, spans, turn, rows))
    return found


def arrays(source: Any) -> tuple[Any, ...]:
    values, spans, turn, rows = source
    return (
        np.frombuffer(values, np.uint8), np.array([s for s, _ in spans], np.int64),
        np.array([e for _, e in spans], np.int64), None if turn is None else np.array(turn, np.bool_),
        None if rows is None else np.array(rows, np.int64),
    )  # fmt: skip


def gather(kernels: ModuleType, given_sources: list[Any], order: list[int], complement: bool) -> list[bytes]:
    order_array, offsets = np.array(order, np.int64), np.full(len(order) + 1, -1, np.int64)
    total = kernels.gather_lengths(given_sources, order_array, offsets)
    out = np.zeros(total, np.uint8)
    kernels.gather_spans(given_sources, order_array, complement, out, offsets)
    return [out[a:b].tobytes() for a, b in pairwise(offsets)]


@given(data=st.data(), found=sources(), complement=st.booleans())
def test_records_come_in_order(kernels: ModuleType, data: st.DataObject, found: Any, complement: bool) -> None:
    every = []
    for values, spans, turn, rows in found:
        for row in range(len(spans)) if rows is None else rows:
            record = values[slice(*spans[row])]
            if turn is not None and turn[row]:
                record = record[::-1].translate(COMPLEMENT) if complement else record[::-1]
            every.append(record)
    index = st.integers(0, len(every) - 1)
    order = data.draw(st.lists(index, max_size=90) | st.permutations(range(len(every)))) if every else []
    assert gather(kernels, [arrays(s) for s in found], order, complement) == [every[i] for i in order]


BAD = {
    "index beyond the sources": lambda s: (s, [2]),
    "index below them": lambda s: (s, [-1]),
    "row beyond its source": lambda s: ((*s[:4], np.array([2])), [0]),
    "row below its source": lambda s: ((*s[:4], np.array([-1])), [0]),
    "span beyond the values": lambda s: ((s[0], s[1], s[2] + 9, None, None), [1]),
    "span that ends before it starts": lambda s: ((s[0], s[2] + 1, s[1], None, None), [1]),
    "span that starts before the values": lambda s: ((s[0], s[1] - 1, s[2], None, None), [0]),
    "fewer ends than starts": lambda s: ((s[0], s[1], s[2][:1], None, None), [0]),
    "fewer marks than spans": lambda s: ((s[0], s[1], s[2], np.zeros(1, np.bool_), None), [0]),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_sources_are_refused(kernels: ModuleType, what: str) -> None:
    source, order = BAD[what](arrays((b"ACGTACGT", [(0, 3), (3, 8)], None, None)))
    with pytest.raises(KernelError):
        gather(kernels, [source], order, False)


@pytest.mark.parametrize("offsets", [[0, 4], [0, 3, 8], [-1, 2], [6, 9]])
def test_offsets_must_fit(kernels: ModuleType, offsets: list[int]) -> None:
    source = arrays((b"ACGTACGT", [(0, 3)], None, None))
    with pytest.raises(KernelError):
        kernels.gather_spans([source], np.array([0]), False, np.zeros(8, np.uint8), np.array(offsets))
    with pytest.raises(KernelError):
        kernels.gather_lengths([source], np.array([0]), np.zeros(3, np.int64))
