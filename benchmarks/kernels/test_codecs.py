"""Throughput of the codecs, next to copying memory, on one thread; their kernels are measured in ``test_coders.py``.

Run with ``pytest benchmarks/kernels/test_codecs.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from agd.batch import U8, AnyColumn, Column
from agd.codecs import Chain, Rans
from agd.kernels import _native as kernels
from benchmarks.kernels.measure import Measure
from benchmarks.kernels.samples import Aligned


def label(config: dict[str, Any]) -> str:
    """Name and level of a codec."""
    return "-".join(map(str, config.values()))


@pytest.fixture(params=[0, 1, 2, 3], ids=["plain", "avx2", "avx512", "gathers"])
def simd(request: pytest.FixtureRequest) -> Iterator[int]:
    """Vector instructions up to each level that this processor has."""
    level = request.param
    if kernels.limit_simd(level) < level:
        pytest.skip(f"this processor has no level {level}")
    yield level
    kernels.limit_simd(3)


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


#: Codecs of whole columns, and the column that each is measured on.
CODECS = (
    ("headers", {"name": "names"}), ("headers", {"name": "zstd"}), ("bases", {"name": "base2", "level": 1}),
    ("alignments", {"name": "alignments", "level": 1}), ("alignments", {"name": "alignments", "level": 3}),
)  # fmt: skip


@pytest.mark.parametrize(("of", "config"), CODECS, ids=lambda value: value if isinstance(value, str) else label(value))
@pytest.mark.parametrize("decode", [False, True], ids=["encode", "decode"])
def test_columns(
    measure: Measure, headers: Column, aligned: Aligned, of: str, config: dict[str, Any], decode: bool
) -> None:
    column: AnyColumn = {"headers": headers, "bases": aligned.bases, "alignments": aligned.lines}[of]
    chain, count = Chain.from_json([config]), len(column)
    size = column.values.nbytes if isinstance(column, Column) else column.nbytes
    made = chain.encode(column)
    if decode:
        measure(of, size, lambda: chain.decode(made.data, count, made.sizes, made.raw_size), records=count)
    else:
        measure(of, size, lambda: chain.encode(column), records=count)
