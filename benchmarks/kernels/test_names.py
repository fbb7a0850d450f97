"""Throughput of the kernels that take names apart and put them together (see also ``test_codecs.py``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from agd.batch import I64, U8, U32, Column
from agd.kernels import _native as kernels
from agd.kernels.ragged import take
from benchmarks.kernels.measure import Measure
from benchmarks.kernels.samples import offsets_of


@pytest.fixture(scope="module")
def new(headers: Column) -> Column:
    """The headers of read 1, which are what is left to be stored."""
    return take(headers, np.arange(0, len(headers), 2))


@pytest.fixture(scope="module")
def links(headers: Column) -> tuple[I64, U8]:
    """Which header each one repeats but for the digit of the mate, and whether that differs."""
    distances, mates = np.empty(len(headers), np.int64), np.empty(len(headers), np.uint8)
    kernels.name_links(headers.values, offsets_of(headers), distances, mates)
    assert np.count_nonzero(distances) == len(headers) // 2
    return distances, mates


def test_name_links(measure: Measure, headers: Column, links: tuple[I64, U8]) -> None:
    values, offsets = headers.values, offsets_of(headers)
    measure("headers", values.nbytes, lambda: kernels.name_links(values, offsets, *links), records=len(headers))


def test_follow_links(measure: Measure, links: tuple[I64, U8], reads: int) -> None:
    distances, mates = links[0], links[1][links[0] > 0]
    index, turned = np.empty(reads, np.int64), np.empty(reads, np.uint8)
    assert kernels.follow_links(distances, mates, index, turned) == reads // 2
    measure(
        "links", distances.nbytes, lambda: kernels.follow_links(distances, mates, index, turned), records=reads
    )  # fmt: skip


def test_take_names(measure: Measure, headers: Column, links: tuple[I64, U8], new: Column) -> None:
    distances, mates = links
    index, turned = np.empty(len(headers), np.int64), np.empty(len(headers), np.uint8)
    kernels.follow_links(distances, mates[distances > 0], index, turned)
    values, offsets = new.values, offsets_of(new)
    out, out_offsets = np.empty_like(headers.values), np.empty(len(headers) + 1, np.int64)
    kernels.take_names(values, offsets, index, turned, out, out_offsets)
    assert (out == headers.values).all()
    measure(
        "headers", out.nbytes, lambda: kernels.take_names(values, offsets, index, turned, out, out_offsets),
        records=len(headers),
    )  # fmt: skip


@dataclass(frozen=True)
class Numbers:
    """The numbers of all names; a row for each name, since all have as many."""

    counts: I64
    starts: I64
    ends: I64
    numbers: U32
    kinds: U8

    @property
    def each(self) -> int:
        """Numbers of a name."""
        return int(self.counts[0])


@pytest.fixture(scope="module")
def numbers(new: Column) -> Numbers:
    """Where the numbers stand, and what they are."""
    counts, shapes = np.empty(len(new), np.int64), np.empty(len(new), np.uint64)
    kernels.name_shapes(new.values, offsets_of(new), counts, shapes)
    assert (counts == counts[0]).all()
    total = int(counts.sum())
    starts, ends = np.empty((2, total), np.int64)
    values, kinds = np.empty(total, np.uint32), np.empty(total, np.uint8)
    kernels.name_numbers(new.values, offsets_of(new), starts, ends, values, kinds)
    return Numbers(counts, starts, ends, values, kinds)


def test_name_shapes(measure: Measure, new: Column) -> None:
    values, offsets = new.values, offsets_of(new)
    counts, shapes = np.empty(len(new), np.int64), np.empty(len(new), np.uint64)
    measure("headers", values.nbytes, lambda: kernels.name_shapes(values, offsets, counts, shapes), records=len(new))


def test_name_numbers(measure: Measure, new: Column, numbers: Numbers) -> None:
    values, offsets = new.values, offsets_of(new)
    out = numbers.starts, numbers.ends, numbers.numbers, numbers.kinds
    measure("headers", values.nbytes, lambda: kernels.name_numbers(values, offsets, *out), records=len(new))


def test_name_fields(measure: Measure, new: Column) -> None:
    values, offsets, out = new.values, offsets_of(new), np.empty(4 * len(new), np.int64)
    measure("headers", values.nbytes, lambda: kernels.name_fields(values, offsets, out), records=len(new))


@pytest.mark.parametrize("text", ["one", "many"])
def test_span_numbers(measure: Measure, new: Column, numbers: Numbers, text: str) -> None:
    # What stands between two numbers, the same in all names; and y, of which there are many.
    ends, starts = numbers.ends.reshape(-1, numbers.each), numbers.starts.reshape(-1, numbers.each)
    y = numbers.each - 3
    pair = (ends[:, 0], starts[:, 1]) if text == "one" else (starts[:, y], ends[:, y])
    begin, end = (np.ascontiguousarray(column) for column in pair)
    ids, size = np.empty(len(new), np.int64), int((end - begin).sum())
    assert (kernels.span_numbers(new.values, begin, end, ids) == 1) == (text == "one")
    measure("text", size, lambda: kernels.span_numbers(new.values, begin, end, ids), records=len(new))


@pytest.fixture(scope="module")
def pieces(new: Column, numbers: Numbers) -> list[Any]:
    """What the names consist of: fixed text, tile, ``:``, x, ``:``, y, fixed text."""

    def fixed(text: bytes) -> Any:
        return np.frombuffer(text, np.uint8), np.array([0, len(text)]), None

    table = numbers.numbers.reshape(-1, numbers.each)
    tile, x, y = (np.ascontiguousarray(table[:, numbers.each + k]) for k in (-5, -4, -3))
    colon, last = fixed(b":"), fixed(b" 1:N:0:ACGTACGT")
    return [fixed(b"A00123:45:HXXXXXXXX:1:"), (tile, 0), colon, (x, 0), colon, (y, 0), last]


def test_name_sizes(measure: Measure, new: Column, pieces: list[Any]) -> None:
    sizes = np.empty(len(new), np.int64)
    kernels.name_sizes(pieces, sizes)
    assert (sizes == new.lengths).all()
    measure("headers", new.values.nbytes, lambda: kernels.name_sizes(pieces, sizes), records=len(new))


def test_write_names(measure: Measure, new: Column, pieces: list[Any]) -> None:
    starts, out = offsets_of(new)[:-1].copy(), np.empty_like(new.values)
    kernels.write_names(pieces, starts, out)
    assert (out == new.values).all()
    measure("headers", out.nbytes, lambda: kernels.write_names(pieces, starts, out), records=len(new))
