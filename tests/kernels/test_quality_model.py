"""Adaptive coding of qualities."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.batch import U8, Column
from agd.codecs.qualities import Model, Settings, code_lengths
from agd.errors import KernelError
from agd.kernels import _native, reference


@st.composite
def qualities(draw: st.DrawFn, most: int = 60) -> Column:
    """Records of some lengths, values of few or many kinds that follow each other now and then."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    sizes = np.array(draw(st.lists(st.integers(0, most), min_size=1, max_size=12)), np.int64)
    kinds = draw(st.sampled_from([1, 2, 4, 8, 40]))
    base = draw(st.sampled_from([0, 33, 216]))
    n = int(sizes.sum())
    values = rng.choice(kinds, n, p=(w := (1 + np.arange(kinds)) ** -1.5) / w.sum())
    stay = np.maximum.accumulate(np.where(rng.random(n) < draw(st.sampled_from([0, 0.8, 0.99])), 0, np.arange(n)))
    column = Column.from_lengths((values[stay] + base).astype(np.uint8) if n else np.empty(0, np.uint8), sizes)
    return column.slice(draw(st.integers(0, 1)), len(sizes))


SETTINGS = st.builds(
    Settings, st.integers(1, 9), st.integers(1, 9), st.integers(1, 20), st.integers(0, 4)
)  # fmt: skip


def model(column: Column, settings: Settings = Settings(2, 2, 2, 0), limit: int = 255) -> Model:  # noqa: B008
    values = column.compact().values
    counts = np.bincount(values, minlength=256) if len(values) else np.eye(1, 256, dtype=np.int64)[0]
    return Model(code_lengths(counts), max(1, int(column.lengths.max(initial=1))), settings, limit)


def arguments(made: Model) -> list[Any]:
    return [made.lengths, made.last, made.before, made.position, made.change, made.contexts, made.limit]


def encode(kernels: ModuleType, column: Column, made: Model) -> U8:
    out = np.zeros(10 * len(column.values) + 64, np.uint8)
    return out[: kernels.quality_encode(column.values, column.offsets, *arguments(made), out)]


@given(column=qualities(), settings=SETTINGS, limit=st.sampled_from([1, 30, 255, 1023]))
def test_both_ways_to_code_give_the_same_and_bring_it_back(column: Column, settings: Settings, limit: int) -> None:
    made = model(column, settings, limit)
    coded = encode(_native, column, made)
    assert coded.tobytes() == encode(reference, column, made).tobytes()
    assert column.offsets is not None
    for kernels in (_native, reference):
        out = np.full(len(column.values), 255, np.uint8)
        kernels.quality_decode(coded, column.offsets, *arguments(made), out)
        first, last = column.offsets[[0, -1]].tolist()
        assert out[first:last].tobytes() == column.values[first:last].tobytes()


@given(column=qualities(30), seed=st.integers(0, 2**32))
def test_damage_is_a_typed_error_or_as_many_values(kernels: ModuleType, column: Column, seed: int) -> None:
    made = model(column)
    coded = encode(_native, column, made)
    expected = np.zeros(len(column.values), np.uint8)
    kernels.quality_decode(coded, column.offsets, *arguments(made), expected)
    rng = np.random.default_rng(seed)
    for _ in range(4):
        bad = coded.copy()
        bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
        bad = bad[: rng.integers(len(bad) + 1)] if rng.random() < 0.4 else bad
        out = np.zeros(len(column.values), np.uint8)
        try:
            kernels.quality_decode(bad, column.offsets, *arguments(made), out)
        except KernelError:
            continue
        # In a few bytes, all decisions of which are new, one bit may be one decision: that is for the checksum.
        assert out.shape == expected.shape


def test_damage_of_many_values_is_an_error(kernels: ModuleType) -> None:
    rng = np.random.default_rng(7)
    column = Column.from_list([bytes(rng.choice(9, 600, p=np.arange(9) / 36).astype(np.uint8).tolist())])
    made = model(column)
    coded = encode(_native, column, made)
    for at in rng.integers(0, len(coded) // 2, 20).tolist():
        bad = coded.copy()
        bad[at] ^= 1 << rng.integers(8)
        with pytest.raises(KernelError):
            kernels.quality_decode(bad, column.offsets, *arguments(made), np.zeros(600, np.uint8))


@pytest.mark.parametrize("size", [0, 1, 100, 200, 5000])
def test_too_few_or_too_many_bytes(kernels: ModuleType, size: int) -> None:
    column = Column.from_list([bytes(np.random.default_rng(1).integers(0, 200, 300).astype(np.uint8).tolist())])
    made = model(column)
    coded = np.resize(np.append(encode(_native, column, made), np.zeros(5000, np.uint8)), size)
    with pytest.raises(KernelError):
        kernels.quality_decode(coded, column.offsets, *arguments(made), column.values.copy())


def lengths_of(entries: dict[int, int]) -> U8:
    lengths = np.zeros(256, np.uint8)
    for value, length in entries.items():
        lengths[value] = length
    return lengths


@pytest.mark.parametrize(
    ("position", "other"),
    [
        (0, lengths_of({1: 1})), (0, lengths_of({})), (0, lengths_of({1: 1, 2: 2})),
        (0, lengths_of({1: 1, 2: 1, 3: 1})),
        (0, lengths_of({1: 33, 2: 1})), (0, np.ones(255, np.uint8)), (1, np.zeros(255, np.uint32)),
        (1, np.full(256, 99, np.uint32)), (3, np.zeros(1023, np.uint32)), (4, np.full(256, 2**32 - 1, np.uint32)),
        (5, 0), (5, 1), (5, 1 << 21), (6, 0), (6, 1024),
    ],
)  # fmt: skip
def test_models_that_cannot_be(kernels: ModuleType, position: int, other: Any) -> None:
    column = Column.from_list([b"\x01\x02\x01\x02"] * 3)
    given = arguments(model(column))
    given[position] = other
    with pytest.raises(KernelError):
        kernels.quality_encode(column.values, column.offsets, *given, np.zeros(99, np.uint8))
    with pytest.raises(KernelError):
        kernels.quality_decode(np.zeros(9, np.uint8), column.offsets, *given, np.zeros(12, np.uint8))


def test_values_without_code_and_outputs_without_room(kernels: ModuleType) -> None:
    column = Column.from_list([b"\x01\x02", b"\x07"])
    made = model(Column.from_list([b"\x01\x02"]))
    with pytest.raises(KernelError) as caught:
        kernels.quality_encode(column.values, column.offsets, *arguments(made), np.zeros(99, np.uint8))
    assert caught.value.record == 1
    with pytest.raises(KernelError):
        kernels.quality_encode(column.values, column.offsets[:2], *arguments(made), np.zeros(0, np.uint8))
