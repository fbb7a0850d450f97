"""Kernels of depth."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.errors import KernelError
from agd.kernels import _native, reference

CIGAR = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 15)).map(lambda x: x[0] << 4 | x[1]), max_size=6)
READ = st.tuples(st.integers(-1, 20), CIGAR, st.integers(0, 10), st.integers(0, 30), st.binary(max_size=30))


def arrays(reads: list[tuple[int, list[int], int, int, bytes]]) -> tuple[np.ndarray, ...]:
    position, low, high = (np.array([r[i] for r in reads], np.int64) for i in (0, 2, 3))
    cigar = np.array([c for r in reads for c in r[1]], np.uint32)
    offsets = np.cumsum([0, *(len(r[1]) for r in reads)]).astype(np.int64)
    qualities = np.frombuffer(b"".join(r[4] for r in reads), np.uint8)
    quality_offsets = np.cumsum([0, *(len(r[4]) for r in reads)]).astype(np.int64)
    return position, cigar, offsets, low, high, qualities, quality_offsets


def walk(read: tuple[int, list[int], int, int, bytes]) -> list[tuple[int, int]]:
    """Every aligned base within the bounds: place on the reference, place in the read."""
    at, base, found = read[0], 0, []
    for operation in read[1]:
        for _ in range(operation >> 4):
            code = operation & 15
            if code in (0, 7, 8) and read[2] <= at < read[3]:
                found.append((at, base))
            at += code in (0, 2, 3, 7, 8)
            base += code in (0, 1, 4, 7, 8)
    return found


@given(st.lists(READ, max_size=6))
def test_blocks_hold_every_aligned_base(reads: list[tuple[int, list[int], int, int, bytes]]) -> None:
    position, cigar, offsets, low, high, qualities, quality_offsets = arrays(reads)
    expected = np.zeros(200, np.int64)
    for read in reads:
        for at, _ in walk(read):
            expected[at] += 1
    for kernels in (_native, reference):
        starts, ends = np.empty(len(cigar), np.int64), np.empty(len(cigar), np.int64)
        count = kernels.aligned_blocks(position, cigar, offsets, low, high, starts, ends)
        differences = np.zeros(201, np.int32)
        kernels.add_spans(starts[:count], ends[:count], differences)
        assert np.cumsum(differences)[:-1].tolist() == expected.tolist()
        sums, counts = np.empty(len(reads), np.int64), np.empty(len(reads), np.int64)
        kernels.aligned_qualities(
            position, cigar, offsets, qualities, quality_offsets, 33, low, high, sums, counts
        )
        for i, read in enumerate(reads):
            own = [read[4][base] - 33 for _, base in walk(read) if base < len(read[4])]
            assert (sums[i], counts[i]) == (sum(own), len(own))


def test_bad_input(kernels: ModuleType) -> None:
    one, cigar, offsets = np.zeros(1, np.int64), np.array([16], np.uint32), np.array([0, 1])
    high, none = np.array([9]), np.empty(0, np.int64)
    with pytest.raises(KernelError, match="room"):
        kernels.aligned_blocks(one, cigar, offsets, one, high, none, none.copy())
    with pytest.raises(KernelError, match="offsets"):
        kernels.aligned_blocks(one, cigar, np.array([0, 2]), one, high, one.copy(), one.copy())
    with pytest.raises(KernelError, match="position"):
        kernels.aligned_blocks(np.array([-2]), cigar, offsets, one, high, one.copy(), one.copy())
    with pytest.raises(KernelError, match="length"):
        kernels.aligned_blocks(one, cigar, offsets, one, none, one.copy(), one.copy())
    with pytest.raises(KernelError, match="qualities"):
        kernels.aligned_qualities(
            one, cigar, offsets, np.zeros(1, np.uint8), np.array([0, 2]), 0, one, high, one.copy(), one.copy()
        )
    for start, end in ((-1, 1), (2, 1), (0, 3)):
        with pytest.raises(KernelError, match="outside"):
            kernels.add_spans(np.array([start]), np.array([end]), np.zeros(3, np.int32))
