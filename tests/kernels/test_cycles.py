"""Kernels that count by cycle."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.batch import Column
from agd.errors import KernelError
from agd.kernels import _native, reference

CYCLES, BINS = 24, 9
BIN = (np.arange(CYCLES) * BINS // CYCLES).astype(np.int32)
ADAPTERS = ["ACGTAC", "AAAAAA", "GTACGT"]
COMPLEMENT = bytes.maketrans(b"ACGTacgt", b"TGCAtgca")

READ = st.tuples(
    st.one_of(st.text("ACGTNacgtnR", max_size=CYCLES), st.lists(st.sampled_from(ADAPTERS), max_size=4).map("".join)),
    st.sampled_from([0, 1, 1, 255]), st.booleans(), st.integers(0, 30),
)  # fmt: skip


def codes(adapters: list[str]) -> np.ndarray:
    return np.array([int("".join(f"{'ACGT'.index(c):02b}" for c in text), 2) for text in adapters], np.uint64)


def bases(kernels: ModuleType, reads: list[tuple[str, int, bool, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    column = Column.from_list([r[0].encode() for r in reads])
    counts, first = np.zeros(2 * BINS * 6, np.int64), np.zeros(2 * len(ADAPTERS) * BINS, np.int64)
    strong = np.full(len(reads), 9, np.int64)
    group, reverse, limits = (np.array([r[i] for r in reads], t) for i, t in ((1, "u1"), (2, "?"), (3, "i8")))
    kernels.base_cycles(
        column.values, column.offsets, group, reverse, BIN, BINS, limits, codes(ADAPTERS), 6, counts, first, strong
    )
    return counts.reshape(2, BINS, 6), first.reshape(2, len(ADAPTERS), BINS), strong


@given(st.lists(READ, max_size=8))
def test_bases(reads: list[tuple[str, int, bool, int]]) -> None:
    counts, first = np.zeros((2, BINS, 6), np.int64), np.zeros((2, len(ADAPTERS), BINS), np.int64)
    strong = []
    for text, group, reverse, limit in reads:
        sequence = (text[::-1].encode().translate(COMPLEMENT).decode() if reverse else text).upper()
        strong.append(0 if group == 255 else sum(c in "GC" for c in sequence[:limit]))
        if group == 255:
            continue
        for cycle, letter in enumerate(sequence):
            counts[group, BIN[cycle], "ACGTN".find(letter)] += 1
        for a, adapter in enumerate(ADAPTERS):
            if (at := sequence.find(adapter)) >= 0:
                first[group, a, BIN[at]] += 1
    for kernels in (_native, reference):
        found = bases(kernels, reads)
        assert (found[0] == counts).all()
        assert (found[1] == first).all()
        assert found[2].tolist() == strong


@given(st.lists(st.tuples(st.binary(max_size=CYCLES), st.sampled_from([0, 1, 255]), st.booleans()), max_size=8))
def test_qualities(reads: list[tuple[bytes, int, bool]]) -> None:
    texts = [bytes(b % 94 + 33 for b in r[0]) for r in reads]
    counts, means = np.zeros((2, BINS, 94), np.int64), []
    for text, (_, group, reverse) in zip(texts, reads, strict=True):
        qualities = [b - 33 for b in (text[::-1] if reverse else text)]
        means.append(sum(qualities) // len(qualities) if qualities and group != 255 else -1)
        for cycle, quality in enumerate(qualities if group != 255 else []):
            counts[group, BIN[cycle], quality] += 1
    column = Column.from_list(texts)
    group, reverse = np.array([r[1] for r in reads], np.uint8), np.array([r[2] for r in reads], np.bool_)
    for kernels in (_native, reference):
        found, mean = np.ones(counts.size, np.int64), np.empty(len(reads), np.int64)
        kernels.quality_cycles(column.values, column.offsets, group, reverse, BIN, BINS, 33, found, mean)
        assert (found.reshape(counts.shape) == counts + 1).all()
        assert mean.tolist() == means


def test_refused(kernels: ModuleType) -> None:
    with pytest.raises(KernelError, match="longer than the cycles"):
        bases(kernels, [("A" * (CYCLES + 1), 0, False, 0)])
    with pytest.raises(KernelError, match="no such group"):
        bases(kernels, [("A", 2, False, 0)])
    one, ends = np.zeros(1, np.int64), np.array([0, 1])
    text, group, reverse, bins = np.full(1, 32, np.uint8), np.zeros(1, "u1"), np.zeros(1, "?"), np.zeros(1, "i4")
    counts = np.zeros(94, np.int64)
    with pytest.raises(KernelError, match="quality outside of 0 to 93, record 0, offset 0"):
        kernels.quality_cycles(text, ends, group, reverse, bins, 1, 33, counts, one)
    with pytest.raises(KernelError, match="no such bin"):
        kernels.quality_cycles(text, ends, group, reverse, bins + 1, 1, 33, counts, one)
    with pytest.raises(KernelError, match="of this many bins"):
        kernels.quality_cycles(text, ends, group, reverse, bins, 1, 33, counts[1:], one)
    with pytest.raises(KernelError, match="outside of the values"):
        kernels.quality_cycles(text, ends + 1, group, reverse, bins, 1, 33, counts, one)
    with pytest.raises(KernelError, match="differ in length"):
        kernels.quality_cycles(text, ends, group, reverse, bins, 1, 33, counts, np.zeros(2, np.int64))
    with pytest.raises(KernelError, match="of 6 to 31 bases"):
        kernels.base_cycles(
            text, ends, group, reverse, bins, 1, one, codes(["ACGT"]), 4, counts[:6], one, one.copy()
        )
    with pytest.raises(KernelError, match="differ from their counts"):
        kernels.base_cycles(
            text, ends, group, reverse, bins, 1, one, codes(["ACGTAC"]), 6, counts[:6], counts[:2], one
        )
