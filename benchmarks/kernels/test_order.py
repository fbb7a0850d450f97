"""Throughput of the kernels that sort, and of those that make the keys."""

from __future__ import annotations

import numpy as np
import pytest

from agd.batch import Column
from agd.kernels import _native as kernels
from agd.kernels.ragged import take
from benchmarks.kernels.measure import Measure
from benchmarks.kernels.samples import offsets_of


@pytest.mark.parametrize("kind", ["random", "sorted", "two-runs", "displaced"])
def test_argsort_of_coordinates(measure: Measure, rng: np.random.Generator, reads: int, kind: str) -> None:
    count = 10 * reads
    keys = (rng.integers(0, 24, count) << 32 | rng.integers(0, 2**29, count)).astype(np.uint64)
    if kind != "random":
        keys.sort()
    if kind == "two-runs":
        keys = np.concatenate([keys[::2], keys[1::2]])
    if kind == "displaced":
        keys[::100] += np.uint64(50_000)
    out = np.zeros(count, np.int64)
    measure("keys", keys.nbytes, lambda: kernels.argsort_u64(keys, out), records=count)


def test_coordinate_keys(measure: Measure, rng: np.random.Generator, reads: int) -> None:
    count = 10 * reads
    reference, position = rng.integers(-1, 24, count).astype(np.int32), rng.integers(-1, 2**28, count)
    flag, out = rng.integers(0, 4096, count).astype(np.uint16), np.zeros(count, np.uint64)
    measure("keys", out.nbytes, lambda: kernels.coordinate_keys(reference, position, flag, out), records=count)


@pytest.fixture
def shuffled(rng: np.random.Generator, names: Column) -> Column:
    """Names in no order, as those of reads that are sorted by coordinate."""
    return take(names, rng.permutation(len(names)))


@pytest.mark.parametrize("natural", [True, False])
def test_name_keys(measure: Measure, shuffled: Column, natural: bool) -> None:
    values, offsets, count = shuffled.values, offsets_of(shuffled), len(shuffled)
    out, out_offsets = np.zeros(2 * len(values) + 2 * count, np.uint8), np.zeros(count + 1, np.int64)
    flags = np.zeros(count, np.uint16)
    measure(
        "names", values.nbytes, lambda: kernels.name_keys(values, offsets, flags, natural, out, out_offsets),
        records=count,
    )  # fmt: skip


def test_argsort_of_names(measure: Measure, shuffled: Column) -> None:
    values, offsets, out = shuffled.values, offsets_of(shuffled), np.zeros(len(shuffled), np.int64)
    measure("names", values.nbytes, lambda: kernels.argsort_bytes(values, offsets, out), records=len(out))
