"""Throughput of the codecs, next to copying memory, on one thread; their kernels are measured in ``test_coders.py``.

Run with ``pytest benchmarks/kernels/test_codecs.py``.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from agd.batch import U8, Column
from agd.codecs import Chain, Rans
from agd.kernels import _native as kernels
from benchmarks.kernels.measure import Measure


@pytest.fixture(params=[0, 1, 2], ids=["plain", "avx2", "avx512"])
def simd(request: pytest.FixtureRequest) -> Iterator[int]:
    """Vector instructions up to each level that this processor has."""
    level = request.param
    if kernels.limit_simd(level) < level:
        pytest.skip(f"this processor has no level {level}")
    yield level
    kernels.limit_simd(2)


def test_memcpy(measure: Measure, walk: U8) -> None:
    out = np.empty_like(walk)
    measure("values", out.nbytes, lambda: np.copyto(out, walk))


@pytest.mark.usefixtures("simd")
def test_rans_encode(measure: Measure, walk: U8) -> None:
    measure("values", walk.nbytes, lambda: Rans().encode(walk))


@pytest.mark.usefixtures("simd")
def test_rans_decode(measure: Measure, walk: U8) -> None:
    stream = Rans().encode(walk)
    measure("values", walk.nbytes, lambda: Rans().decode(stream, len(walk)))


@pytest.mark.parametrize("codec", ["names", "zstd"])
@pytest.mark.parametrize("decode", [False, True], ids=["encode", "decode"])
def test_names(measure: Measure, headers: Column, codec: str, decode: bool) -> None:
    chain, count = Chain.from_json([{"name": codec}]), len(headers)
    made = chain.encode(headers)
    size = headers.values.nbytes
    if decode:
        measure("headers", size, lambda: chain.decode(made.data, count, made.sizes, made.raw_size), records=count)
    else:
        measure("headers", size, lambda: chain.encode(headers), records=count)
