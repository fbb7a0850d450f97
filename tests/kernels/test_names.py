"""Kernels that take names of reads apart."""

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

PIECES = st.sampled_from(
    [b"1", b"2", b"0", b"00", b"007", b"42", b"123456789", b"1234567890", b"/1", b"/2", b" 1:", b" 2:", b":", b"::",
     b" ", b"\t", b"\n", b"/", b"#", b"A", b"N:0:ACGT", b"", b"\xff\x00", b"HISEQ:1:FC:1:1101:15:20",
     b"X:6:73:941:1973#0/1"]
)  # fmt: skip
NAMES = st.lists(st.lists(PIECES, max_size=6).map(b"".join) | st.binary(max_size=12), max_size=12)


def column(names: list[bytes]) -> Column:
    return Column.from_list([b"skipped", *names]).slice(1, 1 + len(names))


def taken(kernels: ModuleType, names: Column, index: Any, turned: Any) -> list[bytes]:
    index = np.array(index, np.int64)
    out, offsets = np.zeros(int(names.lengths[index].sum()), np.uint8), np.zeros(len(index) + 1, np.int64)
    kernels.take_names(names.values, names.offsets, index, turned, out, offsets)
    return list(Column(out, offsets))


def links(kernels: ModuleType, names: Column) -> tuple[list[int], list[int]]:
    distances, mates = np.full(len(names), -7, np.int64), np.full(len(names), 9, np.uint8)
    kernels.name_links(names.values, names.offsets, distances, mates)
    return distances.tolist(), mates.tolist()


@given(names=NAMES)
def test_links(names: list[bytes]) -> None:
    found = links(_native, column(names + names[::-1]))
    assert found == links(reference, column(names + names[::-1]))
    assert all(distance > 0 for distance in found[0][len(names) :])


@pytest.mark.parametrize(
    ("names", "distances", "mates"),
    [
        ([b"a/1", b"a/2", b"a/1"], [0, 1, 1], [0, 1, 1]),
        ([b"a 1:N:0", b"b 1:N:0", b"a 2:N:0"], [0, 0, 2], [0, 0, 1]),
        ([b"a/1 x", b"a/2 x", b"a/3 x"], [0, 1, 0], [0, 1, 0]),
        ([b"a", b"a", b"a"], [0, 1, 1], [0, 0, 0]),
        ([b"a/12", b"a/22", b"1:", b"2:", b"", b""], [0, 0, 0, 0, 0, 1], [0] * 6),
        ([b"a/1 1:N", b"a/1 2:N", b"a/2 1:N"], [0, 0, 2], [0, 0, 1]),
    ],
)
def test_links_of_known_names(
    kernels: ModuleType, names: list[bytes], distances: list[int], mates: list[int]
) -> None:
    assert links(kernels, column(names)) == (distances, mates)
    mask = np.array([name in (b"a/1", b"a 2:N:0") for name in names], np.uint8)
    exchange = {b"a/1": b"a/2", b"a 2:N:0": b"a 1:N:0"}
    assert taken(kernels, column(names), range(len(names)), mask) == [exchange.get(name, name) for name in names]


@given(links=st.lists(st.tuples(st.integers(-1, 20), st.integers(0, 1)), max_size=20), extra=st.integers(-1, 1))
def test_links_are_followed_alike(links: list[tuple[int, int]], extra: int) -> None:
    distances = np.array([min(distance, i) for i, (distance, _) in enumerate(links)], np.int64)
    mates = [mate for (_, mate), distance in zip(links, distances.tolist(), strict=True) if distance]
    mates = mates[:-1] if extra < 0 else mates + [1] * extra
    results = []
    for kernels in (_native, reference):
        index, turned = np.zeros(len(links), np.int64), np.zeros(len(links), np.uint8)
        try:
            new = kernels.follow_links(distances, np.array(mates, np.uint8), index, turned)
            assert new == np.count_nonzero(distances == 0)
            results.append((index.tolist(), turned.tolist()))
        except KernelError as error:
            results.append(error.args)
    assert results[0] == results[1]


@given(names=NAMES)
def test_links_lead_back_to_the_names(kernels: ModuleType, names: list[bytes]) -> None:
    names = names + names[::-1]
    distances, mates = np.empty(len(names), np.int64), np.empty(len(names), np.uint8)
    given_names = column(names)
    kernels.name_links(given_names.values, given_names.offsets, distances, mates)
    index, turned = np.empty(len(names), np.int64), np.empty(len(names), np.uint8)
    kernels.follow_links(distances, mates[distances > 0], index, turned)
    new = [name for name, distance in zip(names, distances.tolist(), strict=True) if not distance]
    assert taken(kernels, column(new), index, turned) == names


def test_a_name_without_mate_digit_cannot_be_turned(kernels: ModuleType) -> None:
    with pytest.raises(KernelError, match="no digit that tells mates apart") as caught:
        taken(kernels, column([b"a/1", b"a1", b"1:"]), range(3), np.array([1, 1, 0], np.uint8))
    assert caught.value.record == 1


@given(names=NAMES, seed=st.integers(0, 99), long=st.sampled_from([b"", b"x" * 70]))
def test_names_are_taken_in_any_order(kernels: ModuleType, names: list[bytes], seed: int, long: bytes) -> None:
    names = [name + long * (i % 2) for i, name in enumerate(names)]
    index = np.random.default_rng(seed).integers(0, max(len(names), 1), 3 * len(names))
    assert taken(kernels, column(names), index, np.zeros(len(index), np.uint8)) == [names[i] for i in index.tolist()]


@pytest.mark.parametrize(("index", "room", "reason"), [([0, 2], 4, "no such name"), ([-1], 2, "no such name"),
                                                       ([0, 1], 4, "no room"), ([0, 1], 6, "do not fill")])  # fmt: skip
def test_names_and_outputs_must_fit(kernels: ModuleType, index: list[int], room: int, reason: str) -> None:
    names = Column.from_list([b"ab", b"cde"])
    out, offsets = np.zeros(room, np.uint8), np.zeros(len(index) + 1, np.int64)
    with pytest.raises(KernelError, match=reason):
        kernels.take_names(names.values, names.offsets, np.array(index), np.zeros(len(index), np.uint8), out, offsets)


@given(names=NAMES)
def test_numbers(names: list[bytes]) -> None:
    text = column(names)
    results = []
    for kernels in (_native, reference):
        counts, shapes = np.empty(len(text), np.int64), np.empty(len(text), np.uint64)
        kernels.name_shapes(text.values, text.offsets, counts, shapes)
        total = int(counts.sum())
        starts, ends = np.empty(total, np.int64), np.empty(total, np.int64)
        numbers, kinds = np.empty(total, np.uint32), np.empty(total, np.uint8)
        kernels.name_numbers(text.values, text.offsets, starts, ends, numbers, kinds)
        same = (shapes[:, None] == shapes).tolist()
        results.append((counts.tolist(), same, starts.tolist(), ends.tolist(), numbers.tolist(), kinds.tolist()))
        for room in {0, total - 1, total + 1} - {total, -1}:
            short = [np.empty(room, dtype) for dtype in (np.int64, np.int64, np.uint32, np.uint8)]
            with pytest.raises(KernelError):
                kernels.name_numbers(text.values, text.offsets, *short)
    assert results[0] == results[1]


def test_no_more_than_64_numbers_are_taken(kernels: ModuleType) -> None:
    text = Column.from_list([b"1," * 70])
    counts, shapes = np.empty(1, np.int64), np.empty(1, np.uint64)
    kernels.name_shapes(text.values, text.offsets, counts, shapes)
    assert counts[0] == 64


@given(spans=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4)), max_size=30))
def test_spans(kernels: ModuleType, spans: list[tuple[int, int]]) -> None:
    values = np.frombuffer(b"aabaabaaba", np.uint8)
    starts = np.array([start for start, _ in spans], np.int64)
    ends = starts + np.array([length for _, length in spans], np.int64)
    ids = np.empty(len(spans), np.int64)
    texts = [values[a:b].tobytes() for a, b in zip(starts, ends, strict=True)]
    assert kernels.span_numbers(values, starts, ends, ids) == len(set(texts))
    assert ids.tolist() == [list(dict.fromkeys(texts)).index(text) for text in texts]
    if spans:
        ends[-1] = 11
        with pytest.raises(KernelError):
            kernels.span_numbers(values, starts, ends, ids)


PIECES = st.one_of(
    st.tuples(st.just("text"), st.lists(st.binary(max_size=40), min_size=1, max_size=3), st.booleans()),
    st.tuples(st.just("number"), st.sampled_from([0, 1, 3, 9]), st.booleans()),
)


@given(pieces=st.lists(PIECES, max_size=5), count=st.integers(0, 6), seed=st.integers(0, 2**32 - 1),
       gap=st.integers(0, 3))  # fmt: skip
def test_pieces_make_names(kernels: ModuleType, pieces: list[Any], count: int, seed: int, gap: int) -> None:
    rng = np.random.default_rng(seed)
    given, expected = [], [b""] * count
    for kind, what, listed in pieces:
        if kind == "number":
            digits = rng.integers(1, (what or 9) + 1, count)
            numbers = rng.integers(10 ** (digits - 1), 10**digits).astype(np.uint32) * np.uint32(listed)
            given.append((numbers, what))
            texts = [b"%0*d" % (what, n) for n in numbers.tolist()]
        elif listed:
            entries, ids = Column.from_list(what), rng.integers(0, len(what), count)
            given.append((entries.values, entries.offsets, ids))
            texts = [what[i] for i in ids.tolist()]
        else:
            texts = [what[0]] * count if len(what) == 1 else [what[i % len(what)] + b"%d" % i for i in range(count)]
            entries = Column.from_list(what if len(what) == 1 else texts)
            given.append((entries.values, entries.offsets, None))
        expected = [name + text for name, text in zip(expected, texts, strict=True)]
    sizes = np.full(count, 7, np.int64)
    kernels.name_sizes(given, sizes)
    assert sizes.tolist() == [len(name) for name in expected]
    starts = np.cumsum(sizes + gap) - sizes
    out = np.full(int((sizes + gap).sum()), 255, np.uint8)
    kernels.write_names(given, starts, out)
    assert out.tobytes() == b"".join(b"\xff" * gap + name for name in expected)


def test_pieces_that_do_not_fit(kernels: ModuleType) -> None:
    text, zero = Column.from_list([b"ab", b"c"]), np.zeros(1, np.int64)
    number = np.array([10], np.uint32)
    for piece, reason in (
        ((number, 1), "too large"), ((number * 100_000_000, 0), "too large"), ((number, 10), "no such width"),
        ((number, -1), "no such width"), ((number[:0], 0), "differ in number"),
        ((text.values, text.offsets, zero + 2), "no such text"), ((text.values, text.offsets, zero - 1), "such text"),
        ((text.values, text.offsets, zero[:0]), "differ in number"), ((text.values, text.offsets, None), "in number"),
        ((text.values[:1], text.offsets, zero), "outside of the texts"),
    ):  # fmt: skip
        with pytest.raises(KernelError, match=reason):
            kernels.name_sizes([piece], zero.copy())
        with pytest.raises(KernelError, match=reason):
            kernels.write_names([piece], zero, np.zeros(9, np.uint8))
    for start, size in ((-1, 9), (8, 9), (0, 1)):
        with pytest.raises(KernelError, match="outside of the output"):
            kernels.write_names([(number, 0)], zero + start, np.zeros(size, np.uint8))


def fields(kernels: ModuleType, names: Column) -> list[list[int]]:
    out = np.empty(4 * len(names), np.int64)
    kernels.name_fields(names.values, names.offsets, out)
    return [row.tolist() for row in out.reshape(-1, 4)]


@given(names=NAMES)
def test_fields(names: list[bytes]) -> None:
    assert fields(_native, column(names)) == fields(reference, column(names))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"HISEQ_HU01:89:H7YRLADXX:1:1101:1116:2123 1:N:0:ATCACG", [1, 1101, 1116, 2123]),
        (b"ERR6005894.15 K00287:38:HTHV5BBXX:7:1101:13403:12023/1", [7, 1101, 13403, 12023]),
        (b"HWUSI-EAS100R:6:73:941:1973#0/1", [6, 73, 941, 1973]),
        (b"A:1:F:1:1101:5:7:ACGT+TTGA 2:N:0:A", [1, 1101, 5, 7]),
        (b"A:1:F:1:1101:5", [-1] * 4),
        (b"A:1:F:1:1101:5:x", [-1] * 4),
        (b"A:1:F:1:1101:5:1234567890", [-1] * 4),
        (b"A:1:F:1::5:1", [-1] * 4),
        (b"read1 comment", [-1] * 4),
        (b"", [-1] * 4),
    ],
)
def test_fields_of_known_names(kernels: ModuleType, name: bytes, expected: list[int]) -> None:
    assert fields(kernels, Column.from_list([name])) == [expected]
