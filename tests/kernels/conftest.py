"""Every test that takes ``kernels`` runs twice: on the native kernels and on their numpy reference."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest

from agd.kernels import _native, reference


@pytest.fixture(params=[_native, reference], ids=["native", "reference"], scope="session")
def kernels(request: pytest.FixtureRequest) -> ModuleType:
    """One of the two implementations of all kernels."""
    module = request.param
    assert isinstance(module, ModuleType)
    return module


@pytest.fixture(params=[0, 1, 2, 3], ids=["plain", "avx2", "avx512", "gathers"], scope="module")
def simd(request: pytest.FixtureRequest) -> Iterator[int]:
    """Native kernels with vector instructions up to each level that this processor has."""
    level = request.param
    best = _native.limit_simd(3)
    if level > best:
        pytest.skip(f"this processor has level {best} only")
    yield _native.limit_simd(level)
    _native.limit_simd(3)
