"""Throughput of the kernels that codecs are made of: entropy coding, packing, repeats, bytes of numbers.

Run with ``pytest benchmarks/kernels/test_coders.py``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from agd.batch import U8, U16, Column
from agd.codecs import rans
from agd.codecs.qualities import TRIED, Model, code_lengths
from agd.kernels import _native as kernels
from benchmarks.kernels.measure import Measure
from benchmarks.kernels.samples import LENGTH, letters, offsets_of

#: Precision of the frequencies, and values in a step of a long stream.
BITS, LANES = 12, rans.WIDE_LANES

#: The halves of a byte of four bases, as numbers.
HALVES = np.arange(16, dtype=np.uint8)


def test_pair_counts(measure: Measure, walk: U8) -> None:
    counts = np.empty(1 << 16, np.uint32)
    measure("values", walk.nbytes, lambda: kernels.pair_counts(walk, counts))


class Coding(NamedTuple):
    """How values are coded."""

    base: int
    span: int
    order: int
    frequencies: U16


@pytest.fixture(params=[0, 1], ids=["order-0", "order-1"])
def coding(request: pytest.FixtureRequest, walk: U8) -> Coding:
    """The frequencies of the values, by themselves or after the value before."""
    base, order = int(walk.min()), request.param
    span = int(walk.max()) - base + 1
    counts = np.empty((span if order else 1, span), np.uint32)
    kernels.rans_counts(walk, base, span, order, LANES, counts.reshape(-1))
    return Coding(base, span, order, frequencies_of(counts))


def frequencies_of(counts: np.ndarray) -> U16:
    """Frequencies that add up to ``2 ** BITS`` in each context that occurs."""
    total = counts.sum(1, keepdims=True, dtype=np.int64)
    found = np.where(counts > 0, np.maximum((counts.astype(np.int64) << BITS) // np.maximum(total, 1), 1), 0)
    found[np.arange(len(found)), found.argmax(1)] += np.where(total[:, 0] > 0, (1 << BITS) - found.sum(1), 0)
    return found.astype(np.uint16).reshape(-1)


def test_rans_counts(measure: Measure, walk: U8, coding: Coding) -> None:
    base, span, order, frequencies = coding
    counts = np.empty(len(frequencies), np.uint32)
    measure("values", walk.nbytes, lambda: kernels.rans_counts(walk, base, span, order, LANES, counts))


def test_rans_encode(measure: Measure, walk: U8, coding: Coding) -> None:
    base, span, order, frequencies = coding
    out = np.empty(2 * len(walk) + 6 * LANES + 64, np.uint8)
    measure(
        "values", walk.nbytes,
        lambda: kernels.rans_encode(walk, base, span, order, BITS, frequencies, LANES, out),
    )  # fmt: skip


def test_rans_decode(measure: Measure, walk: U8, coding: Coding) -> None:
    base, span, order, frequencies = coding
    out = np.empty(2 * len(walk) + 6 * LANES + 64, np.uint8)
    data = out[kernels.rans_encode(walk, base, span, order, BITS, frequencies, LANES, out) :]
    values = np.empty_like(walk)
    kernels.rans_decode(data, base, span, order, BITS, frequencies, LANES, values)
    assert (values == walk).all()
    measure(
        "values", walk.nbytes,
        lambda: kernels.rans_decode(data, base, span, order, BITS, frequencies, LANES, values),
    )  # fmt: skip


def test_rans_table(measure: Measure, coding: Coding) -> None:
    there = coding.frequencies > 0
    rest = coding.frequencies[there] - 1
    raw = np.concatenate((
        np.packbits(there, bitorder="little"), (rest & 255).astype(np.uint8), (rest >> 8).astype(np.uint8)
    ))  # fmt: skip
    out = np.empty_like(coding.frequencies)
    kernels.rans_table(raw, out)
    assert (out == coding.frequencies).all()
    measure("table", out.nbytes, lambda: kernels.rans_table(raw, out))


@pytest.mark.parametrize("symbols", [2, 4, 16])
@pytest.mark.parametrize("unpack", [False, True], ids=["pack", "unpack"])
def test_symbols(measure: Measure, rng: np.random.Generator, reads: int, symbols: int, unpack: bool) -> None:
    alphabet = HALVES[:symbols]
    values = letters(rng, alphabet.tobytes(), reads * LENGTH)
    packed = np.empty(-(-len(values) // {2: 8, 4: 4, 16: 2}[symbols]), np.uint8)
    kernels.symbols_pack(values, alphabet, packed)
    if unpack:
        measure("values", values.nbytes, lambda: kernels.symbols_unpack(packed, alphabet, values))
    else:
        measure("values", values.nbytes, lambda: kernels.symbols_pack(values, alphabet, packed))


@pytest.fixture
def stretches(rng: np.random.Generator, reads: int) -> U8:
    """Qualities of four levels, of which the highest nearly always follows itself."""
    values = np.full(reads * LENGTH, ord("F"), np.uint8)
    places = rng.integers(0, len(values), len(values) // 30)
    values[places] = letters(rng, b"#,:", len(places))
    return values


def test_repeats_split(measure: Measure, stretches: U8) -> None:
    often, none = np.frombuffer(b"F", np.uint8), np.empty(0, np.uint8)
    sizes = kernels.repeats_split(stretches, often, none, none)
    kept, repeats = (np.empty(size, np.uint8) for size in sizes)
    measure("values", stretches.nbytes, lambda: kernels.repeats_split(stretches, often, kept, repeats))


def test_repeats_join(measure: Measure, stretches: U8) -> None:
    often, none = np.frombuffer(b"F", np.uint8), np.empty(0, np.uint8)
    sizes = kernels.repeats_split(stretches, often, none, none)
    kept, repeats = (np.empty(size, np.uint8) for size in sizes)
    kernels.repeats_split(stretches, often, kept, repeats)
    out = np.empty_like(stretches)
    measure("values", out.nbytes, lambda: kernels.repeats_join(kept, repeats, often, out))


@pytest.fixture(params=[7, 14, 30])
def numbers(request: pytest.FixtureRequest, rng: np.random.Generator, reads: int) -> np.ndarray:
    """Signed numbers of so many bits."""
    return rng.integers(-(2 ** (request.param - 1)), 2 ** (request.param - 1), reads)


def test_folded_bits(measure: Measure, numbers: np.ndarray) -> None:
    measure("numbers", numbers.nbytes, lambda: kernels.folded_bits(numbers, True))


@pytest.mark.parametrize("join", [False, True], ids=["split", "join"])
def test_planes(measure: Measure, numbers: np.ndarray, join: bool) -> None:
    planes = [np.empty(len(numbers), np.uint8) for _ in range((kernels.folded_bits(numbers, True) + 7) // 8)]
    kernels.planes_split(numbers, True, planes)
    if join:
        measure("numbers", numbers.nbytes, lambda: kernels.planes_join(planes, True, 2**40, numbers))
    else:
        measure("numbers", numbers.nbytes, lambda: kernels.planes_split(numbers, True, planes))


class Fitted(NamedTuple):
    """Qualities, and the tables that code them; see :class:`agd.codecs.qualities.Model`."""

    column: Column
    model: Model

    def tables(self) -> tuple[object, ...]:
        """What the kernels take of the model."""
        m = self.model
        return m.lengths, m.last, m.before, m.position, m.change, m.contexts, m.limit


@pytest.fixture(scope="module")
def fitted(qualities: Column) -> Fitted:
    """One slice, as a thread codes it."""
    column = qualities.slice(0, len(qualities) // 4).compact()
    return Fitted(column, Model(code_lengths(np.bincount(column.values, minlength=256)), LENGTH, TRIED[0], 255))


def test_quality_encode(measure: Measure, fitted: Fitted) -> None:
    values, offsets, tables = fitted.column.values, offsets_of(fitted.column), fitted.tables()
    out = np.empty(4 * len(values) + 64, np.uint8)
    measure("qualities", values.nbytes, lambda: kernels.quality_encode(values, offsets, *tables, out))


def test_quality_decode(measure: Measure, fitted: Fitted) -> None:
    data = np.frombuffer(fitted.model.encode(fitted.column), np.uint8)
    offsets, tables, out = offsets_of(fitted.column), fitted.tables(), np.empty_like(fitted.column.values)
    kernels.quality_decode(data, offsets, *tables, out)
    assert (out == fitted.column.values).all()
    measure("qualities", out.nbytes, lambda: kernels.quality_decode(data, offsets, *tables, out))
