"""Kernels that find duplicates."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.errors import KernelError
from agd.kernels import _native, reference

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
