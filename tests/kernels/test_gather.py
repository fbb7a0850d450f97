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
def sources(draw: st.DrawFn) -> list[tuple[Any, ...]]:
    found = []
    for _ in range(draw(st.integers(1, 4))):
        letters = draw(st.sampled_from(["ACGTN", "ACGTNRYKMacgtn"]))
        values = draw(st.text(letters, max_size=300)).encode()
        place = st.integers(0, len(values))
        width = draw(st.integers(0, 80))
        if width:
            spans = [(at, at + width) for at in range(0, len(values) - width + 1, width)]
        else:
            spans = draw(st.lists(st.tuples(place, place).map(lambda s: (min(s), max(s))), max_size=8))
        rows = draw(st.none() | st.lists(st.integers(0, len(spans) - 1), max_size=8)) if spans else None
        records = len(spans if rows is None else rows)
        marks = st.none() | st.lists(st.booleans(), min_size=records, max_size=records)
        found.append((values, spans, draw(marks), draw(marks), rows, width))
    return found


def arrays(source: Any) -> tuple[Any, ...]:
    values, spans, turn, marked, rows, width = source
    if width:
        spans = [(-1, -1)] * len(spans)  # not looked at
    return (
        np.frombuffer(values, np.uint8), np.array([s for s, _ in spans], np.int64),
        np.array([e for _, e in spans], np.int64), None if turn is None else np.array(turn, np.bool_),
        None if marked is None else np.array(marked, np.bool_),
        None if rows is None else np.array(rows, np.int64), width,
    )  # fmt: skip


def gather(
    kernels: ModuleType, given_sources: list[Any], places: list[tuple[int, int]], complement: bool
) -> list[bytes]:
    source, row = np.array([s for s, _ in places], np.uint32), np.array([r for _, r in places], np.int64)
    offsets = np.full(len(places) + 1, -1, np.int64)
    starts = np.full(len(places), -1, np.int64)
    total = kernels.gather_starts([tuple(spans) for _, *spans in given_sources], source, row, starts, offsets)
    out = np.zeros(total, np.uint8)
    kernels.gather_spans([values for values, *_ in given_sources], source, starts, complement, out, offsets)
    return [out[a:b].tobytes() for a, b in pairwise(offsets)]


@given(data=st.data(), found=sources(), complement=st.booleans())
def test_records_come_in_order(kernels: ModuleType, data: st.DataObject, found: Any, complement: bool) -> None:
    every = {}
    for i, (values, spans, turn, _, rows, _) in enumerate(found):
        for row, span in enumerate(range(len(spans)) if rows is None else rows):
            record = values[slice(*spans[span])]
            if turn is not None and turn[row]:
                record = record[::-1].translate(COMPLEMENT) if complement else record[::-1]
            every[i, row] = record
    places = data.draw(st.lists(st.sampled_from(sorted(every)), max_size=90)) if every else []
    assert gather(kernels, [arrays(s) for s in found], places, complement) == [every[place] for place in places]


BAD = {
    "source that is not there": lambda s: (s, [(1, 0)]),
    "row beyond its source": lambda s: (s, [(0, 2)]),
    "row below its source": lambda s: (s, [(0, -1)]),
    "row beyond the rows": lambda s: ((*s[:5], np.array([1]), 0), [(0, 1)]),
    "row of a span that is not there": lambda s: ((*s[:5], np.array([2]), 0), [(0, 0)]),
    "row of a span below all": lambda s: ((*s[:5], np.array([-1]), 0), [(0, 0)]),
    "span beyond the values": lambda s: ((s[0], s[1], s[2] + 9, None, None, None, 0), [(0, 1)]),
    "span that ends before it starts": lambda s: ((s[0], s[2] + 1, s[1], None, None, None, 0), [(0, 1)]),
    "span that starts before the values": lambda s: ((s[0], s[1] - 1, s[2], None, None, None, 0), [(0, 0)]),
    "fewer ends than starts": lambda s: ((s[0], s[1], s[2][:1], None, None, None, 0), [(0, 0)]),
    "width beyond the values": lambda s: ((*s[:6], 5), [(0, 1)]),
    "width that is none": lambda s: ((*s[:6], -1), [(0, 0)]),
    "fewer marks than rows": lambda s: ((*s[:3], np.zeros(2, np.bool_), None, np.zeros(3, np.int64), 0), [(0, 0)]),
    "fewer other marks": lambda s: ((*s[:4], np.zeros(1, np.bool_), None, 0), [(0, 0)]),
    "fewer marks than spans": lambda s: ((s[0], s[1], s[2], np.zeros(1, np.bool_), None, None, 0), [(0, 0)]),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_sources_are_refused(kernels: ModuleType, what: str) -> None:
    source, places = BAD[what](arrays((b"ACGTACGT", [(0, 3), (3, 8)], None, None, None, 0)))
    with pytest.raises(KernelError):
        gather(kernels, [source], places, False)


@pytest.mark.parametrize(("source", "starts", "offsets"), [
    ([0], [0], [0, 9]), ([0], [4], [0, 8]), ([0], [-4], [0, 3]), ([0], [36], [0, 0]), ([1], [0], [0, 3]),
    ([0], [0], [-1, 2]), ([0], [0], [6, 9]), ([0], [0], [3, 0]), ([0], [0, 0], [0, 3, 5]), ([0, 0], [0], [0, 3]),
    ([0], [0], [0]),
])  # fmt: skip
def test_starts_must_fit(kernels: ModuleType, source: list[int], starts: list[int], offsets: list[int]) -> None:
    found = [arrays((b"ACGTACGT", [(0, 3)], None, None, None, 0))]
    with pytest.raises(KernelError):
        kernels.gather_spans(
            [found[0][0]], np.array(source, np.uint32), np.array(starts), False, np.zeros(8, np.uint8),
            np.array(offsets),
        )  # fmt: skip


@pytest.mark.parametrize(("source", "starts", "offsets"), [(1, 1, 3), (1, 2, 2), (2, 1, 2), (1, 0, 2)])
def test_starts_and_offsets_are_one_for_each_record(
    kernels: ModuleType, source: int, starts: int, offsets: int
) -> None:
    found, row = [arrays((b"ACGTACGT", [(0, 3)], None, None, None, 0))], np.zeros(1, np.int64)
    with pytest.raises(KernelError):
        kernels.gather_starts(
            [found[0][1:]], np.zeros(source, np.uint32), row, np.zeros(starts, np.int64), np.zeros(offsets, np.int64)
        )
