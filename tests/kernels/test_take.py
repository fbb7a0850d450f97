"""Choosing and joining records of columns and batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.batch import Alignments, AnyColumn, Batch, Column
from agd.errors import KernelError
from agd.kernels.ragged import (
    concat,
    concat_any,
    concat_batches,
    insert,
    insert_alignments,
    take,
    take_any,
    take_batch,
)

lengths_of_runs = st.lists(st.integers(0, 40), max_size=12)


def ragged(lengths: list[int], dtype: type, seed: int = 0) -> Column:
    values = np.random.default_rng(seed).integers(0, 256, sum(lengths) + 3).astype(dtype)
    column = Column.from_lengths(values, np.array([3, *lengths], np.int64))
    return column.slice(1, len(lengths) + 1)  # offsets that do not start at 0


def alignments(lengths: list[int], valid: bool, seed: int = 0) -> Alignments:
    n, rng = len(lengths), np.random.default_rng(seed)
    fixed = {name: rng.integers(0, 100, n).astype(getattr(Alignments.null(0), name).dtype) for name in Alignments.FIXED}
    mask = rng.random(n) < 0.5 if valid else None
    return Alignments(**fixed, cigar=ragged(lengths, np.uint32), tags=ragged(lengths[::-1], np.uint8), valid=mask)


def rows(column: AnyColumn) -> list[object]:
    """The records as plain values."""
    if isinstance(column, Column):
        return [x.tolist() if isinstance(x, np.ndarray) else x for x in column]
    parts = [getattr(column, name).tolist() for name in Alignments.FIXED]
    valid = [True] * len(column) if column.valid is None else column.valid.tolist()
    return list(zip(*parts, rows(column.cigar), rows(column.tags), valid, strict=True))


@given(lengths=lengths_of_runs, data=st.data())
@pytest.mark.parametrize("dtype", [np.uint8, np.uint32, np.uint64])
def test_take_gives_the_records_of_the_index(dtype: type, lengths: list[int], data: st.DataObject) -> None:
    column = ragged(lengths, dtype)
    index = data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=20)) if lengths else []
    taken = take(column, np.array(index, np.int64))
    assert taken.values.dtype == dtype
    assert rows(taken) == [rows(column)[i] for i in index]
    assert taken.offsets is not None
    assert taken.offsets[0] == 0
    assert taken.offsets[-1] == len(taken.values)


def test_take_of_a_fixed_column() -> None:
    assert rows(take(Column(np.array([5, 6, 7], np.uint16)), np.array([2, 0, 2]))) == [7, 5, 7]


@given(lengths=lengths_of_runs, more=lengths_of_runs, data=st.data())
def test_records_are_put_among_others(lengths: list[int], more: list[int], data: st.DataObject) -> None:
    total = len(lengths) + len(more)
    places = sorted(data.draw(st.permutations(range(total)))[: len(more)])
    # Places in the result; the others stay in their order.
    index = np.zeros(total, np.int64)
    index[places] = np.arange(len(lengths), total)
    index[np.setdiff1d(np.arange(total), places)] = np.arange(len(lengths))
    at = np.array(places, np.int64)
    for dtype in (np.uint8, np.uint32, np.uint64):
        column, other = ragged(lengths, dtype), ragged(more, dtype, 1)
        assert rows(insert(column, other, at)) == rows(take(concat([column, other]), index))
    for dtype in (np.bool_, np.uint16, np.int64):
        fixed, few = Column(np.arange(len(lengths)).astype(dtype)), Column((np.arange(len(more)) + 50).astype(dtype))
        made = insert(fixed, few, at)
        assert made.values.dtype == dtype
        assert rows(made) == rows(take(concat([fixed, few]), index))
    pair = alignments(lengths, False), alignments(more, False, 1)
    assert rows(insert_alignments(*pair, at)) == rows(take_any(concat_any(pair), index))


@pytest.mark.parametrize("places", [[1, 0], [2, 2], [0, 9], [-1, 0]])
def test_places_must_be_of_the_result(places: list[int]) -> None:
    for column in (ragged([1, 2, 3], np.uint8), Column(np.zeros(3, np.int64))):
        with pytest.raises((KernelError, IndexError)):
            insert(column, take(column, np.array([0, 1])), np.array(places))


@pytest.mark.parametrize("index", [-1, -2, 3, 2**40])
def test_take_refuses_what_is_no_record(index: int) -> None:
    for column in (ragged([1, 2, 3], np.uint8), Column(np.zeros(3, np.uint8)), alignments([1, 2, 3], True)):
        with pytest.raises(IndexError):
            take_any(column, np.array([0, index]))


@given(lengths=lengths_of_runs, valid=st.booleans(), data=st.data())
def test_take_of_alignments_and_batches(lengths: list[int], valid: bool, data: st.DataObject) -> None:
    batch = Batch(7, {"results": alignments(lengths, valid), "bases": ragged(lengths, np.uint8)})
    index = data.draw(st.permutations(range(len(lengths))))
    taken = take_batch(batch, np.array(index, np.int64), first=100)
    assert taken.first == 100
    for name in ("results", "bases"):
        assert rows(taken[name]) == [rows(batch[name])[i] for i in index]


@given(pieces=st.lists(lengths_of_runs, min_size=1, max_size=4))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint32])
def test_concat_is_the_records_in_turn(dtype: type, pieces: list[list[int]]) -> None:
    columns = [ragged(lengths, dtype, seed) for seed, lengths in enumerate(pieces)]
    joined = concat(columns)
    assert rows(joined) == [row for column in columns for row in rows(column)]
    assert joined.values.dtype == dtype


@given(pieces=st.lists(st.tuples(lengths_of_runs, st.booleans()), min_size=1, max_size=4))
def test_concat_of_alignments_and_batches(pieces: list[tuple[list[int], bool]]) -> None:
    batches = [
        Batch(5 + seed, {"results": alignments(lengths, valid, seed), "n": Column(np.arange(len(lengths)))})
        for seed, (lengths, valid) in enumerate(pieces)
    ]
    joined = concat_batches(batches)
    assert joined.first == 5
    for name in ("results", "n"):
        assert rows(joined[name]) == [row for batch in batches for row in rows(batch[name])]


def test_concat_refuses_to_mix() -> None:
    runs, numbers, aligned = ragged([1], np.uint8), Column(np.zeros(1, np.uint8)), alignments([1], True)
    for columns in ([runs, numbers], [numbers, runs]):
        with pytest.raises(TypeError):
            concat(columns)
    with pytest.raises(TypeError):
        concat_any([runs, aligned])
    with pytest.raises(TypeError):
        concat_batches([Batch(0, {"a": runs}), Batch(1, {"a": runs, "b": runs})])
