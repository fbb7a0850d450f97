"""Throughput of the codecs and of their kernels, next to copying memory, on one thread.

Run with ``pytest benchmarks/kernels/test_codecs.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from agd.batch import U8, Column
from agd.codecs import Chain, Rans
from agd.kernels import _native as kernels

READS, LENGTH = 100_000, 150

Measure = Callable[[str, int, Callable[[], Any]], None]


@pytest.fixture
def measure(benchmark: Any) -> Measure:
    """Run a function many times and note the decoded bytes that one run handles."""

    def run(what: str, size: int, function: Callable[[], Any]) -> None:
        benchmark.pedantic(function, rounds=15, warmup_rounds=2)
        benchmark.extra_info["of"] = what
        if benchmark.stats:
            benchmark.extra_info["gigabytes_per_second"] = round(size / benchmark.stats.stats.min / 1e9, 2)

    return run


@pytest.fixture(scope="module", params=[4, 8, 38], ids=lambda levels: f"{levels}-levels")
def qualities(request: Any) -> U8:
    """Qualities that stay, or change to one nearby."""
    levels, rng = request.param, np.random.default_rng(1)
    steps = rng.choice([-1, 0, 1], READS * LENGTH, p=[0.1, 0.8, 0.1])
    walk = np.abs(np.cumsum(steps) % (2 * levels) - levels).clip(0, levels - 1)
    return (35 + walk * 38 // levels).astype(np.uint8)


@pytest.fixture(scope="module")
def names() -> Column:
    """Names of pairs, mates side by side, as sequencers write them."""
    rng = np.random.default_rng(2)
    places = np.sort(rng.integers(1000, 100_000, (READS // 2, 2)), 0).tolist()
    return Column.from_list(
        [b"A00123:45:HXXXXXXXX:1:%d:%d:%d %d:N:0:ACGTACGT" % (1101 + x // 10_000, x, y, mate)
         for x, y in places for mate in (1, 2)]
    )  # fmt: skip


def test_memcpy(measure: Measure, qualities: U8) -> None:
    out = np.empty_like(qualities)
    measure("values", out.nbytes, lambda: np.copyto(out, qualities))


@pytest.mark.parametrize("simd", [0, 1, 2], ids=["plain", "avx2", "avx512"])
def test_rans_encode(measure: Measure, qualities: U8, simd: int) -> None:
    kernels.limit_simd(simd)
    measure("values", qualities.nbytes, lambda: Rans().encode(qualities))
    kernels.limit_simd(2)


@pytest.mark.parametrize("simd", [0, 1, 2], ids=["plain", "avx2", "avx512"])
def test_rans_decode(measure: Measure, qualities: U8, simd: int) -> None:
    stream = Rans().encode(qualities)
    kernels.limit_simd(simd)
    measure("values", qualities.nbytes, lambda: Rans().decode(stream, len(qualities)))
    kernels.limit_simd(2)


@pytest.mark.parametrize("codec", ["names", "zstd"])
@pytest.mark.parametrize("decode", [False, True], ids=["encode", "decode"])
def test_names(measure: Measure, names: Column, codec: str, decode: bool) -> None:
    chain = Chain.from_json([{"name": codec}])
    made = chain.encode(names)
    size = names.values.nbytes
    if decode:
        measure("text", size, lambda: chain.decode(made.data, len(names), made.sizes, made.raw_size))
    else:
        measure("text", size, lambda: chain.encode(names))


@pytest.mark.parametrize("bits", [7, 14, 30])
@pytest.mark.parametrize("join", [False, True], ids=["split", "join"])
def test_planes(measure: Measure, bits: int, join: bool) -> None:
    values = np.random.default_rng(3).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), READS)
    planes = [np.empty(READS, np.uint8) for _ in range((kernels.folded_bits(values, True) + 7) // 8)]
    kernels.planes_split(values, True, planes)
    if join:
        measure("numbers", values.nbytes, lambda: kernels.planes_join(planes, True, 2**40, values))
    else:
        measure("numbers", values.nbytes, lambda: kernels.planes_split(values, True, planes))
