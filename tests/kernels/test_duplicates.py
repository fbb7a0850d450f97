"""Kernels that find duplicates."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.errors import KernelError
from agd.kernels import _native, reference
from agd.kernels.duplicates import (
    END,
    EXAMINED,
    FIRST,
    FOLLOWER,
    FOLLOWS,
    PAIRED,
    REVERSE,
    SECOND,
    TAKEN,
    end_dtype,
    signed_dtype,
)

TEXTS = st.lists(st.binary(max_size=40), max_size=20)


def spans(texts: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    values = np.frombuffer(b"".join(texts), np.uint8)
    return values, np.cumsum([0, *map(len, texts)]).astype(np.int64)


@given(TEXTS, st.integers(0, 255), st.integers(0, 60))
def test_quality_sums(texts: list[bytes], least: int, base: int) -> None:
    values, offsets = spans(texts)
    for kernels in (_native, reference):
        out = np.empty(len(texts), np.int64)
        kernels.quality_sums(values, offsets, least, base, out)
        assert out.tolist() == [sum(q - base for q in text if q >= least) for text in texts]


def test_quality_sums_of_long_reads_do_not_wrap(kernels: ModuleType) -> None:
    values = np.full(3 << 20, 126, np.uint8)
    out = np.empty(1, np.int64)
    kernels.quality_sums(values, np.array([0, len(values)]), 48, 33, out)
    assert out[0] == 93 * len(values)


@given(TEXTS)
def test_hashes_are_the_same_and_tell_texts_apart(texts: list[bytes]) -> None:
    values, offsets = spans(texts)
    found = []
    for kernels in (_native, reference):
        low, high = np.empty(len(texts), np.uint64), np.empty(len(texts), np.uint64)
        kernels.hash_spans(values, offsets[:-1].copy(), offsets[1:].copy(), low, high)
        found.append((low.tolist(), high.tolist()))
    assert found[0] == found[1]
    for half in found[0]:
        assert len(set(half)) == len(set(texts))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), max_size=40))
def test_best_of_groups(entries: list[tuple[int, int, int]]) -> None:
    low, high = (np.array([e[i] for e in entries], np.uint64) for i in (0, 1))
    score = np.array([e[2] for e in entries], np.int64)
    for kernels in (_native, reference):
        best, tied = np.empty(len(entries), np.int64), np.empty(len(entries), np.bool_)
        groups = kernels.best_of_groups(low, high, score, best, tied)
        assert groups == len({e[:2] for e in entries})
        for i, entry in enumerate(entries):
            group = [e[2] for e in entries if e[:2] == entry[:2]]
            winner = entries[int(best[i])]
            assert winner[:2] == entry[:2]
            assert winner[2] == max(group)
            assert int(best[i]) == entries.index(winner)
            assert tied[i] == (entry[2] == max(group) and group.count(entry[2]) > 1)


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 2, st.integers(-2, 12), st.integers(0, 12)), max_size=30),
       st.integers(0, 5))  # fmt: skip
def test_optical_duplicates(entries: list[tuple[int, int, int, int]], distance: int) -> None:
    entries = sorted(entries)
    group, tile, x, y = (np.array([e[i] for e in entries], np.int64) for i in range(4))
    rank = np.random.default_rng(len(entries)).permutation(len(entries))
    expected = [
        any(
            a[:2] == b[:2] and abs(a[2] - b[2]) <= distance and abs(a[3] - b[3]) <= distance and rank[j] < rank[i]
            for j, b in enumerate(entries)
        )
        for i, a in enumerate(entries)
    ]
    for kernels in (_native, reference):
        out = np.empty(len(entries), np.bool_)
        count = kernels.optical_duplicates(
            group, rank, tile.astype(np.uint64), x.astype(np.int32), y.astype(np.int32), distance, out
        )
        assert out.tolist() == expected
        assert count == sum(expected)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=60), st.integers(1, 6), st.integers(8, 20))
def test_rows_are_dealt_out(words: list[int], bits: int, width: int) -> None:
    rows = np.zeros((len(words), width), np.uint8)
    rows[:, :8] = np.array(words, np.uint64).view(np.uint8).reshape(-1, 8)
    rows[:, 8:] = np.arange(width - 8)
    for kernels in (_native, reference):
        out, bounds = np.empty(rows.size, np.uint8), np.empty((1 << bits) + 1, np.int64)
        kernels.deal_rows(rows.reshape(-1), width, bits, out, bounds)
        dealt = out.reshape(-1, width)
        found = [dealt[bounds[i] : bounds[i + 1], :8].copy().view("<u8")[:, 0].tolist() for i in range(1 << bits)]
        parts = [[w for w in words if (w * 0x9E3779B97F4A7C15 % 2**64) >> (64 - bits) == i] for i in range(1 << bits)]
        assert found == parts
        assert (dealt[:, 8:] == np.arange(width - 8)).all()


@given(st.lists(st.integers(0, 9), max_size=20), st.lists(st.integers(0, 9), max_size=40))
def test_members(wanted: list[int], among: list[int]) -> None:
    for kernels in (_native, reference):
        out = np.empty(len(wanted), np.bool_)
        kernels.find_members(np.array(wanted, np.uint64), np.array(among, np.uint64), out)
        assert out.tolist() == [value in among for value in wanted]


KINDS = st.builds(
    lambda bits, part: sum(bits) | part, st.sets(st.sampled_from([REVERSE, FIRST, SECOND, PAIRED])),
    st.sampled_from([0, EXAMINED, EXAMINED, EXAMINED, FOLLOWER]),
)  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 5), KINDS, *[st.integers(0, 3)] * 6), max_size=30), st.booleans(),
       st.booleans())  # fmt: skip
def test_ends_are_signed(entries: list[tuple[int, ...]], barcode: bool, places: bool) -> None:
    dtype = end_dtype(barcode=barcode, places=places)
    rows = np.zeros(len(entries), dtype)
    for i, (name, kind, start, end, reference_, score, library, more) in enumerate(entries):
        rows[i]["low"], rows[i]["high"], rows[i]["kind"] = name // 2, name % 2, kind
        rows[i]["ordinal"] = (i * 7) % 31
        rows[i]["start"], rows[i]["end"], rows[i]["reference"] = start, start + end, reference_ - 1
        rows[i]["score"], rows[i]["library"] = score, library
        if barcode:
            rows[i]["barcode"] = more
        if places:
            rows[i]["tile"], rows[i]["x"], rows[i]["y"] = more, i, -i
    signed = signed_dtype(dtype)
    found = []
    for kernels in (_native, reference):
        parts = kernels.sign_ends(rows.view(np.uint8), dtype.itemsize, barcode)
        parts = [part.view(d) for part, d in zip(parts, (signed, signed, TAKEN, FOLLOWS), strict=True)]
        found.append([sorted(part.tolist()) for part in parts])
    assert found[0] == found[1]
    pairs, singles, taken, follows = found[0]
    assert len(pairs) == len(taken)
    # Every examined read is signed once, and mates have each other's place in no other way than by name.
    examined = [(int(r["ordinal"]), int(r["kind"])) for r in rows if r["kind"] & EXAMINED]
    assert sorted(row[2] for row in pairs + singles) == sorted(ordinal for ordinal, _ in examined)
    lonely = {n for n in range(6) if sum(e[0] == n for e in entries) == 1}
    alone = {int(rows[i]["ordinal"]) for i, entry in enumerate(entries) if entry[0] in lonely}
    assert not alone & {row[2] for row in pairs}
    names = {int(rows[i]["ordinal"]): entry[0] for i, entry in enumerate(entries)}
    assert all(names[follower] == names[leader] for follower, leader in follows)


def test_what_ends_are_told_apart_by(kernels: ModuleType) -> None:
    def singles(**changes: int) -> tuple[int, int]:
        rows = np.zeros(1, end_dtype(barcode=True, places=False))
        for field, value in {"start": 100, "end": 150, "kind": EXAMINED, **changes}.items():
            rows[field] = value
        found = kernels.sign_ends(rows.view(np.uint8), rows.dtype.itemsize, True)[1].view(signed_dtype(rows.dtype))
        return int(found["low"][0]), int(found["high"][0])

    same = [{}, {"end": 160}, {"score": 7}, {"ordinal": 3}, {"low": 5}]
    other = [{"start": 101}, {"reference": 1}, {"library": 1}, {"barcode": 1}, {"kind": EXAMINED | REVERSE}]
    assert len({singles(**changes) for changes in same}) == 1
    assert len({singles(**changes) for changes in [{}, *other]}) == 6
    assert singles(kind=EXAMINED | REVERSE) == singles(kind=EXAMINED | REVERSE, start=90)
    assert singles(kind=EXAMINED | REVERSE) != singles(kind=EXAMINED | REVERSE, end=151)


def test_bad_input(kernels: ModuleType) -> None:
    values, one = np.zeros(4, np.uint8), np.zeros(1, np.int64)
    words, flags = np.zeros(1, np.uint64), np.zeros(1, np.bool_)
    with pytest.raises(KernelError, match="offsets"):
        kernels.quality_sums(values, np.array([0, 5]), 0, 0, one)
    with pytest.raises(KernelError, match="length"):
        kernels.quality_sums(values, np.array([0, 4]), 0, 0, np.zeros(2, np.int64))
    for start, end in ((-1, 2), (3, 2), (0, 5)):
        with pytest.raises(KernelError, match="outside"):
            kernels.hash_spans(values, np.array([start]), np.array([end]), words, words.copy())
    with pytest.raises(KernelError, match="length"):
        kernels.best_of_groups(words, words, np.zeros(2, np.int64), one, flags)
    with pytest.raises(KernelError, match="length"):
        kernels.optical_duplicates(one, one, words, np.zeros(2, np.int32), np.zeros(1, np.int32), 1, flags)
    row = np.zeros(END.itemsize, np.uint8)
    for width, barcode in ((END.itemsize - 1, False), (END.itemsize, True), (END.itemsize + 4, False)):
        with pytest.raises(KernelError, match="width"):
            kernels.sign_ends(np.zeros(width, np.uint8), width, barcode)
    with pytest.raises(KernelError, match="width"):
        kernels.sign_ends(np.zeros(END.itemsize + 1, np.uint8), END.itemsize, False)
    for width, bits, size, count in ((END.itemsize - 2, 1, 52, 3), (7, 1, 52, 3)):
        with pytest.raises(KernelError, match="width"):
            kernels.deal_rows(row, width, bits, np.zeros(size, np.uint8), np.zeros(count, np.int64))
    for bits, size, count in ((1, 51, 3), (1, 52, 4), (0, 52, 2), (17, 52, 3)):
        with pytest.raises(KernelError, match="length"):
            kernels.deal_rows(row, 52, bits, np.zeros(size, np.uint8), np.zeros(count, np.int64))
    with pytest.raises(KernelError, match="length"):
        kernels.find_members(words, words, np.zeros(2, np.bool_))
