"""The vector instructions that kernels use."""

from __future__ import annotations

from agd.kernels import _native


def test_the_level_is_at_most_the_one_that_is_asked_for() -> None:
    best = _native.limit_simd(3)
    assert [_native.limit_simd(level) for level in range(4)] == [min(best, level) for level in range(4)]
