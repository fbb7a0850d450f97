"""Throughput of the kernels that pack bases."""

from __future__ import annotations

import numpy as np
import pytest

from agd.batch import Column
from agd.kernels import _native as kernels
from benchmarks.kernels.measure import Measure
from benchmarks.kernels.samples import LENGTH, letters, offsets_of


@pytest.mark.parametrize("rare", [0, 1000], ids=["acgtn", "one-in-1000-iupac"])
def test_base3_pack(measure: Measure, rng: np.random.Generator, bases: Column, rare: int) -> None:
    values = bases.values.copy()
    if rare:
        values[rng.integers(0, len(values), len(values) // rare)] = ord("R")
    words = np.zeros(len(bases) * (LENGTH // 21 + 1), np.uint64)
    measure("bases", values.nbytes, lambda: kernels.base3_pack(values, offsets_of(bases), words))


def test_base3_exceptions(measure: Measure, bases: Column) -> None:
    positions, found = np.zeros(1, np.int64), np.zeros(1, np.uint8)
    measure("bases", bases.values.nbytes, lambda: kernels.base3_exceptions(bases.values, positions, found))


def test_base3_unpack(measure: Measure, bases: Column) -> None:
    words, out = np.zeros(len(bases) * (LENGTH // 21 + 1), np.uint64), np.zeros_like(bases.values)
    kernels.base3_pack(bases.values, offsets_of(bases), words)
    measure("bases", out.nbytes, lambda: kernels.base3_unpack(words, bases.lengths, out))


@pytest.mark.parametrize("with_n", [False, True])
def test_base2_pack(measure: Measure, rng: np.random.Generator, bases: Column, with_n: bool) -> None:
    values = bases.values if with_n else letters(rng, b"ACGT", len(bases.values))
    out = np.zeros((len(values) + 3) // 4, np.uint8)
    measure("bases", values.nbytes, lambda: kernels.base2_pack(values, offsets_of(bases), out))


def test_base2_unpack(measure: Measure, bases: Column) -> None:
    packed, out = np.zeros((len(bases.values) + 3) // 4, np.uint8), np.zeros_like(bases.values)
    kernels.base2_pack(bases.values, offsets_of(bases), packed)
    measure("bases", out.nbytes, lambda: kernels.base2_unpack(packed, len(out), out))


def test_fill_runs(measure: Measure, bases: Column) -> None:
    runs = kernels.base2_pack(bases.values, offsets_of(bases), np.zeros((len(bases.values) + 3) // 4, np.uint8))
    values = bases.values.copy()
    measure("bases", values.nbytes, lambda: kernels.fill_runs(values, *runs))
