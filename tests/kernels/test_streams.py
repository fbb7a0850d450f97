"""Links between mates, numbers of CIGARs, and aux fields by tag."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.batch import Column
from agd.errors import KernelError
from agd.kernels import _native, reference
from tests.kernels.sam_records import tag_names, tag_values

FLAGS = st.sampled_from([99, 147, 83, 163, 73, 133, 77, 141, 0, 16, 2147, 99 | 1024, 65, 129])
PLACES = st.lists(st.tuples(FLAGS, st.integers(-1, 1), st.integers(-1, 3), st.integers(-1, 1), st.integers(-1, 3)),
                  max_size=60)  # fmt: skip


def place_arrays(places: list[tuple[int, ...]]) -> list[Any]:
    columns = list(zip(*places, strict=True)) or [()] * 5
    dtypes = ("u2", "i4", "i8", "i4", "i8")
    return [np.array(column, dtype) for column, dtype in zip(columns, dtypes, strict=True)]


@given(places=PLACES)
def test_links_lead_to_mates(kernels: ModuleType, places: list[tuple[int, ...]]) -> None:
    mates, expected = np.full(len(places), 7, np.int32), np.empty(len(places), np.int32)
    linked = kernels.link_mates(*place_arrays(places), mates)
    assert linked == reference.link_mates(*place_arrays(places), expected)
    np.testing.assert_array_equal(mates, expected)
    assert 2 * linked == np.count_nonzero(mates >= 0)
    for own, mate in enumerate(mates.tolist()):
        if mate >= 0:
            a, b = places[own], places[mate]
            assert mates[mate] == own != mate
            assert a[1:3] == b[3:]
            assert b[1:3] == a[3:]
            assert a[0] & b[0] & 1


def test_mates_in_order(kernels: ModuleType) -> None:
    places = [(99, 0, 10, 0, 50), (99, 0, 10, 0, 50), (147, 0, 50, 0, 10), (147, 0, 50, 0, 10), (0, 0, 60, -1, -1)]
    mates = np.empty(5, np.int32)
    assert kernels.link_mates(*place_arrays(places), mates) == 2
    assert mates.tolist() == [2, 3, 0, 1, -1]


@given(stored=st.lists(st.integers(0, 12), max_size=12), count=st.integers(0, 12))
def test_bad_links_are_refused_alike(stored: list[int], count: int) -> None:
    results = []
    for kernels in (_native, reference):
        mates = np.zeros(count, np.int32)
        try:
            results.append((kernels.expand_links(np.array(stored, np.uint32), mates), mates.tolist()))
        except KernelError as error:
            results.append((error.args, []))
    assert results[0] == results[1]


@given(records=st.lists(st.lists(st.integers(0, 3), max_size=3), max_size=20))
def test_cigars_are_numbered_as_they_appear(kernels: ModuleType, records: list[list[int]]) -> None:
    flat = np.array([value for record in records for value in record], np.uint32)
    column = Column.from_lengths(flat, np.array([len(record) for record in records], np.int64))
    codes = np.empty(len(records), np.int64)
    distinct = list(dict.fromkeys(map(tuple, records)))
    firsts, counts = kernels.number_cigars(column.values, column.offsets, codes)
    every = [tuple(record) for record in records]
    assert codes.tolist() == [distinct.index(record) for record in every]
    assert firsts.tolist() == [every.index(cigar) for cigar in distinct]
    assert counts.tolist() == [every.count(cigar) for cigar in distinct]


FIELDS = st.lists(
    st.tuples(st.one_of(st.sampled_from([b"NM", b"XX"]), tag_names), st.one_of(tag_values, st.just(b"*"))), max_size=5
)


@st.composite
def tag_records(draw: st.DrawFn) -> list[bytes]:
    """Records of any fields, and of a few kinds of fields again and again."""
    kinds = draw(st.lists(st.lists(st.sampled_from(REPEATED), max_size=4), min_size=1, max_size=2))
    again = st.sampled_from(kinds).flatmap(lambda kind: st.tuples(*kind))
    records = draw(st.lists(st.one_of(again, again, FIELDS), max_size=12))
    return [b"".join(name + value for name, value in fields) for fields in records]


# Names with values of one type each.
REPEATED = [
    st.tuples(st.just(name), values)
    for name, values in {
        b"AC": st.integers(0, 255).map(lambda value: b"C" + bytes([value])),
        b"AS": st.binary(min_size=2, max_size=2).map(lambda value: b"S" + value),
        b"Xi": st.binary(min_size=4, max_size=4).map(lambda value: b"i" + value),
        b"Xd": st.binary(min_size=8, max_size=8).map(lambda value: b"d" + value),
        b"MD": st.text("ACGT0", max_size=40).map(lambda value: b"Z" + value.encode() + b"\0"),
        b"XB": st.binary(max_size=9).map(lambda value: b"BC" + len(value).to_bytes(4, "little") + value),
        b"X*": st.just(b"*"),
    }.items()
]


@given(records=tag_records())
def test_tags_come_back(kernels: ModuleType, records: list[bytes]) -> None:
    column = Column.from_list(records)
    codes = np.empty(len(records), np.uint32)
    assert column.offsets is not None
    lines, counts, keys, streams = kernels.tag_split(column.values, column.offsets, codes)
    assert counts.tolist() == [codes.tolist().count(line) for line in range(len(lines))]
    expected = np.empty(len(records), np.uint32)
    same_lines, same_counts, same_keys, same_streams = reference.tag_split(column.values, column.offsets, expected)
    assert (lines, keys, codes.tolist()) == (same_lines, same_keys, expected.tolist())
    assert counts.tolist() == same_counts.tolist()
    assert [stream.tolist() for stream in streams] == [stream.tolist() for stream in same_streams]
    out, offsets = np.empty(len(column.values), np.uint8), np.empty(len(records) + 1, np.int64)
    kernels.tag_join(codes, lines, keys, streams, out, offsets)
    np.testing.assert_array_equal(out, column.values)
    np.testing.assert_array_equal(offsets, column.offsets)
    with pytest.raises(KernelError, match="room of the output"):
        kernels.tag_join(codes, lines, keys, streams, np.empty(len(out) + 1, np.uint8), offsets)


@given(data=st.lists(st.binary(max_size=12), max_size=4), codes=st.lists(st.integers(0, 3), max_size=5),
       lines=st.lists(st.lists(st.integers(0, 3), max_size=3), max_size=3))
def test_bad_streams_are_refused_alike(data: list[bytes], codes: list[int], lines: list[list[int]]) -> None:
    keys = [b"XAZ", b"XBs", b"XCB", b"XDq"][: len(data)]
    made = [b"".join(([b"XAZ", b"XBs", b"XCB", b"XDq"])[k] for k in line) for line in lines]
    results: list[tuple[list[int], str]] = []
    room = sum(map(len, data)) + sum(len(made[code]) for code in codes if code < len(made))
    for kernels in (_native, reference):
        out, offsets = np.zeros(room, np.uint8), np.zeros(len(codes) + 1, np.int64)
        streams = [np.frombuffer(d, np.uint8) for d in data]
        try:
            kernels.tag_join(np.array(codes, np.uint32), made, keys, streams, out, offsets)
            results.append((out.tolist() + offsets.tolist(), ""))
        except KernelError as error:
            results.append(([], str(error)))
    assert results[0] == results[1]


@pytest.mark.parametrize("tags", [b"NMC", b"NM", b"NMZabc", b"NMBx\1\0\0\0", b"NM?x"])
@pytest.mark.parametrize("before", [b"XXC\1", b"NMC\1", b"NMZabc\0", b"NMBC\1\0\0\0\1"])
@pytest.mark.parametrize("after", [b"", b"NMZabc\0"])
def test_tags_that_do_not_parse(kernels: ModuleType, before: bytes, tags: bytes, after: bytes) -> None:
    column = Column.from_list([before, tags, after])
    with pytest.raises(KernelError, match="tags do not parse") as caught:
        kernels.tag_split(column.values, column.offsets, np.empty(3, np.uint32))
    assert (caught.value.record, caught.value.offset) == (1, len(before))
