"""How records are cut into chunks carries no meaning."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agd.batch import AnyColumn, Column
from agd.dataset import Dataset
from agd.draft import Draft, columns_of
from agd.kernels.ragged import concat_any
from agd.manifest import Chunk
from agd.run import Runner, SerialRunner, ThreadRunner
from agd.types import Orientation
from tests.support.columns import alignments, assert_equal

_numbers = itertools.count()
RUNNERS: list[Runner] = [SerialRunner(), ThreadRunner(1), ThreadRunner(2)]


@st.composite
def tables(draw: st.DrawFn) -> dict[str, AnyColumn]:
    """Columns of every record type, of one length."""
    results = draw(alignments())
    count = len(results)

    def ragged(letters: st.SearchStrategy[bytes]) -> Column:
        return Column.from_list(draw(st.lists(letters, min_size=count, max_size=count)))

    return {
        "bases": ragged(st.text("ACGTNacgtRY", max_size=50).map(str.encode)), "metadata": ragged(st.binary(max_size=9)),
        "tags": ragged(st.binary(max_size=5)), "results": results,
        "duplicates": Column(np.array(draw(st.lists(st.integers(0, 1), min_size=count, max_size=count)), np.uint8)),
    }  # fmt: skip


def write(columns: dict[str, AnyColumn], cuts: list[int], runner: Runner) -> Dataset:
    count = len(columns["bases"])
    edges = sorted({0, count, *(cut for cut in cuts if cut < count)})
    url = f"memory://chunks-{next(_numbers)}/x.agd"
    draft = Draft.create(url, columns_of(list(columns)), {}, orientation=Orientation.READ)

    def store(edge: tuple[int, int]) -> Chunk:
        first, stop = edge
        cells = {name: draft.write(name, first, column.slice(first, stop)) for name, column in columns.items()}
        return Chunk(first, stop - first, cells)

    return draft.commit(runner.map(store, itertools.pairwise(edges), on="cpu"))


@given(tables(), st.lists(st.integers(1, 12), max_size=4), st.sampled_from(RUNNERS), st.data())
def test_the_same_records_come_back_from_any_cuts(
    columns: dict[str, AnyColumn], cuts: list[int], runner: Runner, data: st.DataObject
) -> None:
    dataset = write(columns, cuts, runner)
    count = len(columns["bases"])
    assert len(dataset) == count
    start = data.draw(st.integers(0, count))
    stop = data.draw(st.integers(start, count))
    # Flags without the marks of duplicates, as they were written: without the columns that the marks are folded into.
    for name in ("bases", "metadata", "tags", "duplicates"):
        batches = list(dataset.batches([name], start=start, stop=stop, runner=runner))
        expected = columns[name].slice(start, stop)
        if batches:
            assert_equal(concat_any([batch[name] for batch in batches]), expected)
        else:
            assert start == stop
    flags = dataset[start:stop].alignments().flag
    results, marks = columns["results"].slice(start, stop), columns["duplicates"].slice(start, stop)
    assert isinstance(marks, Column)
    assert (flags & 0x400 != 0).tolist() == (marks.values == 1).tolist()
    valid = results.valid if results.valid is not None else np.ones(stop - start, bool)  # type: ignore[union-attr]
    assert ((flags ^ results.flag)[valid] & 0xFBFF == 0).all()  # type: ignore[union-attr]


@given(tables(), st.lists(st.integers(1, 12), max_size=4))
def test_the_same_cuts_give_the_same_objects_by_any_runner(columns: dict[str, AnyColumn], cuts: list[int]) -> None:
    first, *others = [write(columns, cuts, runner) for runner in RUNNERS]
    for other in others:
        for one, two in zip(first.chunks, other.chunks, strict=True):
            # All but the identity of the dataset, which the header holds.
            assert {n: (c.bytes, c.statistics) for n, c in one.cells.items()} == {
                n: (c.bytes, c.statistics) for n, c in two.cells.items()
            }
            for name in one.cells:
                a, b = (d.storage.get(d.manifest.object_key(name, one.first)) for d in (first, other))
                assert a[1024:] == b[1024:]
