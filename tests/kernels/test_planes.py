"""Integers as planes of bytes."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.errors import KernelError
from agd.kernels import reference

NUMBERS = st.one_of(st.integers(0, 255), st.integers(0, 70_000), st.integers(0, 2**62), st.integers(-(2**62), 2**62))


@given(numbers=st.lists(NUMBERS, max_size=40), repeat=st.sampled_from([1, 60]), signed=st.booleans())
def test_numbers_come_back(kernels: ModuleType, simd: int, numbers: list[int], repeat: int, signed: bool) -> None:
    values = np.array(numbers * repeat, np.int64)
    if not signed:
        values = np.abs(values)
    bits = kernels.folded_bits(values, signed)
    folded = [2 * v if v >= 0 else -2 * v - 1 for v in values.tolist()] if signed else values.tolist()
    assert bits == max(folded, default=0).bit_length()
    planes = [np.full(len(values), 7, np.uint8) for _ in range(-(-bits // 8))]
    kernels.planes_split(values, signed, planes)
    for k, plane in enumerate(planes):
        assert plane.tolist() == [number >> 8 * k & 255 for number in folded]
    if planes and not planes[0].any():
        planes[0] = np.empty(0, np.uint8)
    largest = max((max(v, -v - 1) for v in values.tolist()), default=0)
    out = np.full(len(values), 7, np.int64)
    assert kernels.planes_join(planes, signed, largest, out)
    assert out.tolist() == values.tolist()
    if largest:
        assert not kernels.planes_join(planes, signed, largest - 1, out)


@given(planes=st.lists(st.binary(min_size=9, max_size=9), max_size=8), signed=st.booleans())
def test_any_bytes_are_numbers(kernels: ModuleType, planes: list[bytes], signed: bool) -> None:
    arrays = [np.frombuffer(plane, np.uint8) for plane in planes]
    results = []
    for module in (kernels, reference):
        out = np.zeros(9, np.int64)
        results.append((module.planes_join(arrays, signed, 2**40, out), out.tolist()))
    assert results[0] == results[1]


def test_bad_planes(kernels: ModuleType) -> None:
    values, planes = np.zeros(3, np.int64), [np.zeros(2, np.uint8)]
    with pytest.raises(KernelError, match="differ in length"):
        kernels.planes_split(values, False, planes)
    with pytest.raises(KernelError, match="differ in length"):
        kernels.planes_join(planes, False, 9, values)
    with pytest.raises(KernelError, match="more than eight"):
        kernels.planes_join([np.zeros(3, np.uint8)] * 9, False, 9, values)
    with pytest.raises(KernelError, match="negative"):
        kernels.planes_join([], False, -1, values)
