"""What mates say of each other, put back."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.errors import KernelError
from agd.kernels import reference


def mates_of(links: list[int]) -> Any:
    """Mates of as many records as there are links, which may be too long."""
    mates = np.full(len(links), -1, np.int32)
    for i, distance in enumerate(links):
        if distance and i + distance < len(links) and mates[i] < 0 and mates[i + distance] < 0:
            mates[i], mates[i + distance] = i + distance, i
    return mates


LINKS = st.lists(st.integers(0, 5), max_size=20)


@given(links=LINKS, seed=st.integers(0, 2**32 - 1))
def test_native_and_reference_agree(kernels: ModuleType, links: list[int], seed: int) -> None:
    rng, mates = np.random.default_rng(seed), mates_of(links)
    count, seconds = len(mates), int((mates >= 0).sum()) // 2
    stored, differences = (rng.integers(0, 4096, n).astype(np.uint16) for n in (count - seconds, seconds))
    contig, position = rng.integers(-1, 2, count), rng.integers(-1, 1000, count)
    sizes = rng.integers(0, 4, count)
    cigar = (rng.integers(0, 90, int(sizes.sum())) << 4 | rng.integers(0, 9, int(sizes.sum()))).astype(np.uint32)
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    others = rng.integers(-9, 9, count - 2 * seconds)
    results = []
    for module in (kernels, reference):
        flag, mate, lengths = np.full(count, 9, np.uint16), np.full(count, 9), np.full(count, 9)
        module.expand_flags(mates, stored, differences, flag)
        module.expand_mate_fields(mates, position, others, mate)
        module.pair_lengths(mates, flag, contig, position, cigar, offsets, lengths)
        results.append((flag.tolist(), mate.tolist(), lengths.tolist()))
    assert results[0] == results[1]
    assert (mate[mates >= 0] == position[mates[mates >= 0]]).all()
    assert (lengths[mates < 0] == 0).all()


@given(links=LINKS, seed=st.integers(0, 2**32 - 1))
def test_what_is_folded_is_put_back(kernels: ModuleType, links: list[int], seed: int) -> None:
    mates = mates_of(links)
    count = len(mates)
    flag = np.random.default_rng(seed).integers(0, 4096, count).astype(np.uint16)
    found, flags, differences = np.empty(count, np.uint32), np.empty(count, np.uint16), np.empty(count, np.uint16)
    others = kernels.fold_mates(mates, flag, found, flags, differences)
    assert others == count - np.count_nonzero(mates >= 0) // 2
    back, same = np.empty(count, np.int32), np.empty(count, np.uint16)
    assert reference.expand_links(found[:others], back) == others
    np.testing.assert_array_equal(back, mates)
    reference.expand_flags(mates, flags[:others], differences[: count - others], same)
    np.testing.assert_array_equal(same, flag)


def test_a_pair(kernels: ModuleType) -> None:
    mates, flag = np.array([1, 0], np.int32), np.empty(2, np.uint16)
    kernels.expand_flags(mates, np.array([99], np.uint16), np.array([0], np.uint16), flag)
    assert flag.tolist() == [99, 147]
    lengths, zero = np.empty(2, np.int64), np.zeros(2, np.int64)
    cigar = np.array([100 << 4, 3 << 4 | 4, 97 << 4], np.uint32)
    kernels.pair_lengths(mates, flag, zero, np.array([100, 200]), cigar, np.array([0, 1, 3]), lengths)
    assert lengths.tolist() == [197, -197]


def test_bad_input(kernels: ModuleType) -> None:
    two, one, zero = np.zeros(2, np.uint16), np.zeros(1, np.uint16), np.zeros(2, np.int64)
    for bad in ([1, 1], [0, -1], [2, 0], [1, -1]):
        with pytest.raises(KernelError, match="name each other"):
            kernels.expand_flags(np.array(bad, np.int32), one, one, two)
        with pytest.raises(KernelError, match="name each other"):
            kernels.fold_mates(np.array(bad, np.int32), two, np.zeros(2, np.uint32), two.copy(), two.copy())
    pair = np.array([1, 0], np.int32)
    for stored, differences in ((two, one[:0]), (one[:0], two), (one, two)):
        with pytest.raises(KernelError, match="differ in number"):
            kernels.expand_flags(pair, stored, differences, two)
    for at in range(4):
        sizes = [1 if k == at else 2 for k in range(4)]
        arrays = [np.zeros(size, np.uint32 if k == 1 else np.uint16) for k, size in enumerate(sizes)]
        with pytest.raises(KernelError, match="differ in length"):
            kernels.fold_mates(pair, *arrays)
    alone = np.full(2, -1, np.int32)
    with pytest.raises(KernelError, match="fewer differences"):
        kernels.expand_mate_fields(alone, zero, zero[:1], zero.copy())
    with pytest.raises(KernelError, match="more differences"):
        kernels.expand_mate_fields(pair, zero, zero, zero.copy())
    with pytest.raises(KernelError, match="differ in length"):
        kernels.pair_lengths(pair, two, zero, zero, np.zeros(0, np.uint32), zero, zero.copy())
    with pytest.raises(KernelError, match="outside of the CIGARs"):
        kernels.pair_lengths(pair, two, zero, zero, np.zeros(0, np.uint32), np.array([0, 0, 1]), zero.copy())
