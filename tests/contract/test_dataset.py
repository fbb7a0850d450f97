"""Datasets and drafts over every kind of store: nothing is lost, nothing is half visible."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import agd.generations
from agd import claim
from agd.batch import Alignments, AnyColumn, Column
from agd.dataset import Dataset
from agd.draft import Draft, columns_of
from agd.errors import (
    AgdError,
    ChecksumError,
    CodecError,
    ColumnError,
    ConflictError,
    DatasetExistsError,
    DatasetNotFoundError,
    FormatError,
    TruncatedError,
    UsageError,
)
from agd.files import open_source
from agd.footprint import remove
from agd.generations import load_manifest
from agd.manifest import MANIFEST_KEY, Cell, Chunk, ColumnSpec, generation_key
from agd.ops.history import checkout
from agd.run import Runner, SerialRunner, ThreadRunner
from agd.sinks import open_sink
from agd.storage import Storage, open_storage
from agd.target import name_of
from agd.testing import FaultyStorage, fail_at, wrapped
from agd.types import Orientation, RecordType, Reference
from tests.support.columns import assert_equal
from tests.support.manifests import validate

PLAN = {"operation": "test", "inputs": [["a.fastq", 12]], "chunk_records": 4}
COUNT, SIZE = 10, 4
NAMES = [b"read/%d" % i for i in range(COUNT)]
BASES = [b"ACGTN"[i % 5 :] * i for i in range(COUNT)]
FIRSTS = range(0, COUNT, SIZE)


@pytest.fixture
def url(store: str) -> str:
    return f"{store}/x.agd"


def make(url: str, **options: Any) -> Dataset:
    """A dataset of ten reads in three chunks."""
    draft = Draft.create(url, columns_of(["metadata", "bases"]), PLAN, orientation=Orientation.READ, **options)
    return draft.commit(fill(draft))


def parts(first: int) -> dict[str, Column]:
    stop = first + SIZE
    return {"metadata": Column.from_list(NAMES[first:stop]), "bases": Column.from_list(BASES[first:stop])}


def fill(draft: Draft) -> Iterator[Chunk]:
    for first in FIRSTS:
        columns = parts(first)
        yield Chunk(first, len(columns["bases"]), {n: draft.write(n, first, c) for n, c in columns.items()})


def numbers(first: int, last: int = COUNT) -> Column:
    return Column(np.arange(first, min(first + SIZE, last), dtype=np.uint8) % 2)


def add(dataset: Dataset, name: str, draft: Draft | None = None, add_to: int = 0, **fields: Any) -> Dataset:
    """Add a column of numbers, or publish a draft of one."""
    draft = draft or Draft.extend(dataset, spec(name), {"operation": name})
    return draft.commit(cells(dataset, draft, name, add_to), **fields)


def cells(dataset: Dataset, draft: Draft, name: str, add_to: int = 0) -> list[Chunk]:
    return [
        Chunk(c.first, c.count, {name: draft.write(name, c.first, Column(numbers(c.first).values + np.uint8(add_to)))})
        for c in dataset.chunks
    ]


def spec(*names: str) -> dict[str, ColumnSpec]:
    return {name: ColumnSpec(RecordType.NUMBER, [{"name": "zstd", "level": 1}], name, "|u1") for name in names}


def text(column: AnyColumn) -> list[Any]:
    assert isinstance(column, Column)
    return list(column)


def keys(dataset: Dataset) -> list[str]:
    return list(dataset.storage.keys())


# Making and reading


def test_a_dataset_is_made_and_read(url: str) -> None:
    made = make(url)
    found = Dataset.open(url)
    assert found.manifest == made.manifest
    assert len(found) == COUNT
    assert found.columns == ["metadata", "bases"]
    assert (found.name, found.url) == ("x", found.storage.url)
    batches = list(found.batches())
    assert [b.first for b in batches] == list(FIRSTS)
    for batch in batches:
        for name, column in parts(batch.first).items():
            assert_equal(batch[name], column)
    assert keys(found) == [
        "manifest-000001.json", "manifest.json", *sorted(f"x-{f:012d}.{c}" for f in FIRSTS for c in made.columns)
    ]  # fmt: skip
    assert found.storage.get(MANIFEST_KEY) == found.storage.get(generation_key(1))
    validate(found.storage.get(MANIFEST_KEY))
    assert found.manifest.stored_bytes == sum(found.storage.size(k) or 0 for k in keys(found) if k.startswith("x-"))


def test_an_empty_dataset_is_a_dataset(url: str) -> None:
    draft = Draft.create(url, columns_of(["bases", "results", "duplicates"]), PLAN, orientation=Orientation.READ)
    draft.commit([])
    found = Dataset.open(url)
    assert len(found) == 0
    assert list(found.batches()) == []
    assert {name: len(column) for name, column in found[0:0].columns.items()} == dict.fromkeys(found.columns, 0)
    with pytest.raises(IndexError):
        found[0]
    validate(found.storage.get(MANIFEST_KEY))


def test_nothing_is_visible_before_the_commit(url: str) -> None:
    draft = Draft.create(url, columns_of(["metadata", "bases"]), PLAN, orientation=Orientation.READ)
    chunks = list(fill(draft))
    with pytest.raises(DatasetNotFoundError):
        Dataset.open(url)
    draft.commit(chunks)
    assert len(Dataset.open(url)) == COUNT


def test_there_is_no_dataset(url: str) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"x\.agd: there is no dataset here") as caught:
        Dataset.open(url)
    assert caught.value.remedy
    make(url)
    with pytest.raises(DatasetNotFoundError, match="no generation 7"):
        Dataset.open(url, generation=7)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_chunks_may_be_written_in_any_order(url: str, order: list[int]) -> None:
    draft = Draft.create(url, columns_of(["metadata", "bases"]), PLAN, orientation=Orientation.READ)
    chunks = list(fill(draft))
    found = draft.commit([chunks[i] for i in order])
    assert text(found[:]["metadata"]) == NAMES


def test_a_gap_is_refused_and_named(url: str) -> None:
    draft = Draft.create(url, columns_of(["metadata", "bases"]), PLAN, orientation=Orientation.READ)
    chunks = list(fill(draft))
    with pytest.raises(FormatError, match="8, but the records before it end at 4"):
        draft.commit([chunks[0], chunks[2]])
    with pytest.raises(DatasetNotFoundError):
        Dataset.open(url)
    assert len(draft.commit(chunks)) == COUNT


def test_what_cannot_be_read_is_not_published(url: str) -> None:
    dataset = make(url)
    draft = Draft.extend(dataset, spec("score"), {})
    with pytest.raises(FormatError, match="length"):
        add(dataset, "score", draft, references=(Reference("chr1", 1 << 40),))
    assert Dataset.open(url).columns == ["metadata", "bases"]


@pytest.mark.parametrize(
    "records",
    [slice(0, 10), slice(3, 5), slice(2, 9), slice(4, 8), slice(-3, None), slice(5, 5), slice(7, 3), slice(8, 99)],
    ids=str,
)
def test_slices_are_those_of_a_list(url: str, records: slice) -> None:
    found = make(url)[records]
    assert text(found["metadata"]) == NAMES[records]
    assert text(found["bases"]) == BASES[records]


def test_single_records(url: str) -> None:
    found = make(url)
    for i in (0, 3, 4, 9, -1, -10, np.int64(5)):
        batch = found[i]  # type: ignore[index]
        assert text(batch["metadata"]) == [NAMES[i]]
        assert batch.first == i % COUNT
    for i in (10, -11):
        with pytest.raises(IndexError, match=f"record {i} of 10"):
            found[i]
    with pytest.raises(IndexError, match="no step"):
        found[::2]


@pytest.mark.parametrize("runner", [SerialRunner(), ThreadRunner(1), ThreadRunner(2)], ids=["serial", "1", "2"])
@pytest.mark.parametrize(("start", "stop"), [(0, None), (2, 9), (4, 8), (9, 10), (10, None), (6, 2), (0, 99)])
def test_batches_of_a_range(url: str, runner: Runner, start: int, stop: int | None) -> None:
    dataset = make(url)
    batches = list(dataset.batches(["metadata"], start=start, stop=stop, runner=runner, ahead=2))
    assert sum((text(b["metadata"]) for b in batches), []) == NAMES[start:stop]  # noqa: RUF017
    assert all(list(b.columns) == ["metadata"] for b in batches)


class Counting:
    """A storage that counts what is read."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.read: list[str] = []

    def get(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        self.read.append(key)
        return self._storage.get(key, start, stop)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


def test_only_the_columns_and_chunks_wanted_are_fetched(url: str) -> None:
    make(url)
    storage = Counting(open_storage(url))
    dataset = Dataset(storage, load_manifest(storage))
    assert storage.read == ["manifest.json", "manifest-000002.json"], "the newest, and a look whether it is"
    list(dataset.batches(["bases"], start=5, stop=7))
    assert storage.read[2:] == ["x-000000000004.bases"]


def test_records_one_after_the_other(url: str) -> None:
    """As they are for themselves; each object is read once."""
    made = make(url)
    storage = Counting(open_storage(url))
    dataset = Dataset(storage, load_manifest(storage))
    storage.read.clear()
    found = list(dataset)
    assert sorted(storage.read) == sorted(key for key in keys(made) if not key.startswith("manifest"))
    assert [record.first for record in found] == list(range(COUNT))
    for i, record in enumerate(found):
        alone = dataset[i]
        assert list(record.columns) == list(alone.columns)
        for name, column in record.columns.items():
            assert_equal(column, alone[name])
    for item in ("bases", found[0]):
        with pytest.raises(TypeError, match="columns"):
            _ = item in dataset


def test_ordinals_below_zero_and_a_name_that_is_no_list_are_refused(url: str) -> None:
    dataset = make(url)
    for start, stop in ((-1, None), (0, -1), (-3, -1)):
        with pytest.raises(UsageError, match=r"give ordinals of 0 or more"):
            list(dataset.batches(["bases"], start=start, stop=stop))
        with pytest.raises(UsageError):
            dataset.to_arrow(start=start, stop=stop)
    for read in (dataset.batches, dataset.to_arrow, lambda name: dataset.fetch(dataset.chunks[0], name)):
        with pytest.raises(ColumnError, match="'bases' is no list of columns") as caught:
            list(read("bases"))
        assert caught.value.remedy == "give a list: ['bases']"


def test_options_of_stores_are_not_for_paths(tmp_path: Path) -> None:
    path = tmp_path / "x.agd"
    make(str(path))
    for place in (path, f"file://{path}"):
        with pytest.raises(UsageError, match="a local path has no such options: generations, token"):
            Dataset.open(place, generations=1, token="x")
    for opens in (open_source, open_sink):
        with pytest.raises(UsageError, match="endpoint_url"):
            opens(tmp_path / "x", endpoint_url="http://127.0.0.1:9")
    assert len(Dataset.open(path, generation=1, reference="none.fa")) == COUNT


def test_an_unknown_column_is_named(url: str) -> None:
    dataset = make(url)
    for wrong in (lambda: dataset.read(dataset.chunks[0], ["scores"]), lambda: next(dataset.batches(["scores"]))):
        with pytest.raises(ColumnError, match="no column 'scores'") as caught:
            wrong()
        assert "metadata, bases" in caught.value.remedy


def test_a_dataset_travels(url: str) -> None:
    dataset = pickle.loads(pickle.dumps(make(url)))
    assert text(dataset[2:6]["bases"]) == BASES[2:6]
    with pytest.raises(ColumnError) as caught:
        dataset.resolve(["scores"])
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_draft_travels(url: str) -> None:
    draft = Draft.create(url, columns_of(["metadata", "bases"]), PLAN, orientation=Orientation.READ)
    assert len(pickle.loads(pickle.dumps(draft)).commit(fill(draft))) == COUNT


# Names


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("s.agd", "s"), ("/a/b/s.agd/", "s"), ("s3://bucket/run 1.agd", "run_1"), ("s", "s"), ("a/é:*.agd", "___"),
        ("x.y.agd", "x.y"),
    ],
)  # fmt: skip
def test_names_come_from_urls(url: str, name: str) -> None:
    assert name_of(url) == name


def test_a_url_without_a_name() -> None:
    with pytest.raises(UsageError, match="no name"):
        name_of(".agd")


def test_a_name_may_be_given(url: str) -> None:
    assert make(url, name="sample").storage.size("sample-000000000000.bases")


def test_a_url_may_end_like_a_generation(store: str) -> None:
    make(f"{store}/run@2024")
    assert len(Dataset.open(f"{store}/run@2024")) == COUNT
    assert len(Dataset.open(f"{store}/run@2024@1")) == COUNT
    with pytest.raises(DatasetNotFoundError):
        Dataset.open(f"{store}/run@2024@2")


# Further columns and generations


def test_a_column_is_added_and_nothing_else_is_touched(url: str) -> None:
    before = make(url)
    objects = {key: before.storage.get(key) for key in keys(before) if key != MANIFEST_KEY}
    after = add(before, "score", steps=({"program": "agd test", "version": "1"},))
    assert after.columns == ["metadata", "bases", "score"]
    assert after.manifest.generation == 2
    assert text(Dataset.open(url)[:]["score"]) == [i % 2 for i in range(COUNT)]
    for key, data in objects.items():
        assert after.storage.get(key) == data
    assert len(before.manifest.steps) + 1 == len(after.manifest.steps)
    assert Dataset.open(url, generation=1).manifest == before.manifest
    assert Dataset.open(f"{url}@1").manifest == before.manifest
    assert Dataset.open(f"{url}@2").manifest == after.manifest
    assert not [key for key in keys(after) if key.startswith("draft")]


def test_two_writers_of_different_columns_both_succeed(url: str) -> None:
    dataset = make(url)
    one, two = (Draft.extend(dataset, spec(name), {"operation": name}) for name in ("one", "two"))
    step = {"program": "agd test", "version": "1"}
    first = add(dataset, "two", two, steps=({**step, "n": 2},))
    second = add(dataset, "one", one, steps=({**step, "n": 1},))
    assert first.columns == ["metadata", "bases", "two"]
    assert second.columns == ["metadata", "bases", "two", "one"]
    assert [s["n"] for s in second.manifest.steps] == [2, 1]
    assert second.manifest.generation == 3
    assert text(Dataset.open(url)[:]["one"]) == text(Dataset.open(url)[:]["two"])


def test_eight_writers_of_different_columns_all_succeed(url: str) -> None:
    dataset = make(url)
    drafts = {f"c{i}": Draft.extend(dataset, spec(f"c{i}"), {}) for i in range(8)}
    filled = {name: cells(dataset, draft, name) for name, draft in drafts.items()}
    start = threading.Barrier(8)

    def commit(name: str) -> None:
        start.wait(60)
        drafts[name].commit(filled[name])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(commit, drafts))
    found = Dataset.open(url)
    assert sorted(found.columns) == sorted(["metadata", "bases", *drafts])
    assert found.manifest.generation == 9
    assert found.storage.size(generation_key(10)) is None
    for name in drafts:
        assert text(found[:][name]) == [i % 2 for i in range(COUNT)]


def test_the_same_column_twice_is_a_conflict(url: str) -> None:
    dataset = make(url)
    add(dataset, "score")
    with pytest.raises(ConflictError, match="there is a column 'score' already") as caught:
        Draft.extend(dataset, spec("score"), {})
    assert "--overwrite" in caught.value.remedy


def test_the_same_column_at_one_time_is_a_conflict_at_once(url: str) -> None:
    dataset = make(url)
    Draft.extend(dataset, spec("score"), {"operation": "a", "level": 1})
    with pytest.raises(ConflictError, match="differ in: level"):
        Draft.extend(dataset, spec("score"), {"operation": "a", "level": 2})
    with pytest.raises(ConflictError):
        Draft.extend(dataset, spec("other", "score"), {"operation": "b"})
    # What was begun together with it is free again.
    assert add(dataset, "other").columns[-1] == "other"


def test_the_same_column_by_two_equal_runs_is_published_once(url: str) -> None:
    dataset = make(url)
    one, two = (Draft.extend(dataset, spec("score"), {"operation": "score"}) for _ in range(2))
    assert (one.resumed, two.resumed) == (False, True)
    chunks = cells(dataset, two, "score")
    add(dataset, "score", one)
    with pytest.raises(ConflictError, match="'score'"):
        two.commit(chunks)
    two.abandon()
    assert text(Dataset.open(url)[:]["score"]) == [i % 2 for i in range(COUNT)]


def test_published_objects_are_never_written_over(url: str) -> None:
    """Somebody removes the claim of a writer that is still at work, and another publishes the same column first."""
    dataset = make(url)
    late = Draft.extend(dataset, spec("score"), {"operation": "a"})
    dataset.storage.delete(claim.claim_key("score"))
    add(dataset, "score", Draft.extend(dataset, spec("score"), {"operation": "b"}))
    with pytest.raises(ConflictError, match="'score'"):
        late.write("score", 0, Column(np.full(SIZE, 9, np.uint8)))
    assert text(Dataset.open(url)[:]["score"]) == [i % 2 for i in range(COUNT)]


def test_a_replaced_column_leaves_the_older_generations_as_they_were(url: str) -> None:
    dataset = add(make(url), "score")
    for generation in (3, 4):
        draft = Draft.extend(dataset, spec("score"), {"operation": "again"}, replace=True)
        assert draft.columns["score"].key == f"score~{generation}"
        dataset = add(dataset, "score", draft, add_to=generation)
    assert dataset.manifest.retired == ("score", "score~3")
    assert text(Dataset.open(f"{url}@2")[:]["score"])[:2] == [0, 1]
    assert text(Dataset.open(f"{url}@3")[:]["score"])[:2] == [3, 4]
    assert text(Dataset.open(url)[:]["score"])[:2] == [4, 5]


def test_a_dropped_column_may_come_back_under_another_key(url: str) -> None:
    dataset = add(make(url), "score")
    draft = Draft.extend(dataset, spec("other"), {})
    without = draft.commit(cells(dataset, draft, "other"), drop=["score"])
    assert without.columns == ["metadata", "bases", "other"]
    assert all("score" not in chunk.cells for chunk in without.chunks)
    assert without.manifest.retired == ("score",)
    again = add(without, "score", add_to=7)
    assert again.manifest.columns["score"].key == "score~4"
    assert text(again[:]["score"])[:2] == [7, 8]
    assert text(Dataset.open(f"{url}@2")[:]["score"])[:2] == [0, 1]
    for generation in range(1, 5):
        validate(again.storage.get(generation_key(generation)))


def test_a_column_that_was_replaced_meanwhile_is_a_conflict(url: str) -> None:
    dataset = add(make(url), "score")
    mine = Draft.extend(dataset, spec("score"), {"by": "me"}, replace=True)
    dataset.storage.delete(claim.claim_key("score"))
    add(dataset, "score", Draft.extend(dataset, spec("score"), {"by": "you"}, replace=True), add_to=3)
    with pytest.raises(ConflictError):
        add(dataset, "score", mine, add_to=5)
    assert text(Dataset.open(url)[:]["score"])[:2] == [3, 4]


def test_a_field_that_another_writer_has_changed_is_a_conflict(url: str) -> None:
    dataset = make(url)
    one, two, three = (Draft.extend(dataset, spec(name), {}) for name in ("one", "two", "three"))
    add(dataset, "one", one, header="@CO\tone\n")
    assert add(dataset, "two", two, header="@CO\tone\n").manifest.header == "@CO\tone\n"
    with pytest.raises(ConflictError, match="changed the header"):
        add(dataset, "three", three, header="@CO\tthree\n")


def test_columns_may_be_declared_late(url: str) -> None:
    dataset = make(url)
    draft = Draft.extend(dataset, spec("one"), {"operation": "align"})
    draft.declare("two", spec("two")["two"])
    draft.declare("two", spec("two")["two"])
    draft.declare("three", spec("three")["three"])
    chunks = cells(dataset, draft, "one")
    chunks[1] = Chunk(4, 4, {**chunks[1].cells, "two": draft.write("two", 4, numbers(4))})
    with pytest.raises(ConflictError):
        Draft.extend(dataset, spec("two"), {"operation": "other"})
    after = draft.commit(chunks)
    assert after.columns == ["metadata", "bases", "one", "two"]
    assert text(after[:]["two"]) == [0] * 4 + [0, 1, 0, 1] + [0] * 2
    assert not [key for key in keys(after) if key.startswith("draft")]
    assert add(after, "three").columns[-1] == "three"


def test_a_late_column_of_another_writer_is_a_conflict(url: str) -> None:
    dataset = make(url)
    draft = Draft.extend(dataset, spec("one"), {"operation": "align"})
    other = Draft.extend(dataset, spec("two"), {"operation": "other"})
    with pytest.raises(ConflictError):
        draft.declare("two", spec("two")["two"])
    add(dataset, "two", other)
    with pytest.raises(ConflictError, match="'two'"):
        draft.declare("two", spec("two")["two"])
    assert add(dataset, "one", draft).columns == ["metadata", "bases", "two", "one"]


# Two makers of one dataset


def test_a_dataset_is_not_made_twice(url: str) -> None:
    make(url)
    with pytest.raises(DatasetExistsError, match="there is a dataset already"):
        make(url)


def test_an_unfinished_dataset_of_another_plan_is_a_conflict(url: str) -> None:
    columns = columns_of(["bases"])
    Draft.create(url, columns, {"inputs": ["a"], "level": 1}, orientation=Orientation.READ)
    with pytest.raises(ConflictError, match="differ in: inputs") as caught:
        Draft.create(url, columns, {"inputs": ["b"], "level": 1}, orientation=Orientation.READ)
    assert caught.value.remedy
    draft = Draft.create(url, columns, {"inputs": ["b"]}, orientation=Orientation.READ, overwrite=True)
    assert not draft.resumed


def test_of_eight_makers_one_wins(url: str) -> None:
    start = threading.Barrier(8)

    def work(number: int) -> str | None:
        start.wait(60)
        try:
            columns = columns_of(["metadata", "bases"])
            draft = Draft.create(url, columns, PLAN | {"n": number % 2}, orientation=Orientation.READ)
            return draft.commit(fill(draft), header=f"@CO\t{number}\n").manifest.header
        except (ConflictError, DatasetExistsError):
            return None

    with ThreadPoolExecutor(8) as pool:
        won = [header for header in pool.map(work, range(8)) if header]
    found = Dataset.open(url)
    assert won == [found.manifest.header]
    assert text(found[:]["bases"]) == BASES
    assert found.manifest.generation == 1


def test_overwriting_removes_the_dataset_and_nothing_else(url: str) -> None:
    old = add(make(url), "score")
    old.storage.put("README.txt", b"mine")
    new = make(url, overwrite=True)
    assert new.manifest.id != old.manifest.id
    assert "score" not in Dataset.open(url).columns
    assert not [key for key in keys(new) if key.endswith(".score")]
    assert new.storage.get("README.txt") == b"mine"
    remove(new.storage)
    assert keys(new) == ["README.txt"]


#: Keys that look like AGD's, and what may lie under them.
FOREIGN = {
    "IMG-202001010000.jpg": b"\xff\xd8\xff", "run-202611281543.log": b"begun", "draft-letter.json": b"{}",
    "draft-new.json": b"[]", "manifest-1.json": b"{}", ".tmp-mine": b"",
}  # fmt: skip


def test_overwriting_what_is_no_dataset_removes_nothing(store: str) -> None:
    storage = open_storage(f"{store}/photos", create=True)
    for key, data in FOREIGN.items():
        storage.put(key, data)
    remove(storage)
    assert {key: storage.get(key) for key in list(storage.keys())} == FOREIGN
    storage.put(MANIFEST_KEY, b'{"name": "a page of the web"}')
    with pytest.raises(UsageError, match=r"manifest\.json there is not AGD's"):
        make(f"{store}/photos", overwrite=True)
    assert len(list(storage.keys())) == len(FOREIGN) + 1


@pytest.mark.parametrize("left", ["generations", "only the copy", "damaged", "unfinished", "damaged claim"])
def test_a_removal_that_is_stopped_anywhere_can_be_done_again(tmp_path: Path, left: str) -> None:
    foreign = {key: data for key, data in FOREIGN.items() if key != claim.NEW}
    for number in itertools.count(1):
        url = str(tmp_path / f"{number}" / "x.agd")
        if "claim" in left or left == "unfinished":
            killed_after(url, 3)
        else:
            add(add(make(url), "score"), "other")
        storage = open_storage(url)
        if left == "only the copy":
            for generation in range(1, 4):
                storage.delete(generation_key(generation))
        elif left == "damaged":
            for key in [key for key in list(storage.keys()) if key.startswith("manifest")]:
                storage.put(key, storage.get(key)[:-50])
        elif left == "damaged claim":
            storage.put(claim.NEW, b'{"id')
        for key, data in foreign.items():
            storage.put(key, data)
        rule = fail_at(number, Killed(), operations=("delete",))
        stopped = False
        with wrapped(lambda inner, rule=rule: FaultyStorage(inner, rule)):
            try:
                remove(open_storage(url))
            except Killed:
                stopped = True
        # What can be read then is a whole generation.
        with contextlib.suppress(DatasetNotFoundError, FormatError):
            assert text(Dataset.open(url)[:]["bases"]) == BASES
        new = make(url, overwrite=True, name="y")
        assert text(new[:]["bases"]) == BASES
        assert {key: storage.get(key) for key in keys(new) if key in foreign} == foreign
        assert not [key for key in keys(new) if key.startswith("x-")]
        assert new.manifest.generation == 1
        if not stopped:
            assert number > 3
            return


# Stopped runs


class Killed(BaseException):
    """Stands for the end of the process."""


def killed_after(url: str, objects: int) -> None:
    draft = Draft.create(url, columns_of(["metadata", "bases"]), PLAN, orientation=Orientation.READ)
    for first, name in list(itertools.product(FIRSTS, parts(0)))[:objects]:
        draft.write(name, first, parts(first)[name])


@pytest.mark.parametrize("objects", range(7))
def test_a_stopped_run_is_taken_up_where_it_was(url: str, objects: int) -> None:
    killed_after(url, objects)
    draft = Draft.create(url, columns_of(["metadata", "bases"]), PLAN, orientation=Orientation.READ)
    assert draft.resumed
    chunks, kept = [], 0
    for first in FIRSTS:
        row: dict[str, Cell] = {}
        for name, column in parts(first).items():
            cell = draft.finished(name, first, len(column))
            kept += cell is not None
            row[name] = cell or draft.write(name, first, column)
            assert row[name] == draft.encode(name, first, column)[1]
        chunks.append(Chunk(first, len(column), row))
    assert kept == objects
    resumed = draft.commit(chunks).manifest
    assert text(Dataset.open(url)[:]["bases"]) == BASES
    fresh = make(f"{url}2", name="x").manifest
    for mine, other in zip(resumed.chunks, fresh.chunks, strict=True):
        assert {n: c.bytes for n, c in mine.cells.items()} == {n: c.bytes for n, c in other.cells.items()}


def test_a_new_draft_has_nothing_finished(url: str) -> None:
    draft = Draft.create(url, columns_of(["bases"]), PLAN, orientation=Orientation.READ)
    draft.write("bases", 0, parts(0)["bases"])
    assert draft.finished("bases", 0) is None


@pytest.mark.parametrize(
    "damage", ["torn", "flipped", "of another chunk", "of another dataset", "other codecs", "short"]
)
def test_a_damaged_object_of_a_stopped_run_is_made_again(url: str, damage: str) -> None:
    killed_after(url, 6)
    storage, key = open_storage(url), "x-000000000004.bases"
    data = storage.get(key)
    if damage == "torn":
        data = data[: len(data) // 2]
    elif damage == "flipped":
        data = data[:-1] + bytes([data[-1] ^ 1])
    elif damage == "of another chunk":
        data = storage.get("x-000000000000.bases")
    elif damage == "of another dataset":
        data = make(f"{url}2", name="x").storage.get(key)
    else:
        columns = {"bases": ColumnSpec(RecordType.BASES, [{"name": "base3"}], "bases")}
        plan_of_other = Draft.create(f"{url}2", columns, PLAN, orientation=Orientation.READ)
        plan_of_other.id = json.loads(storage.get(claim.NEW))["id"]
        if damage == "short":
            plan_of_other.columns = columns_of(["bases"])
        data, _ = plan_of_other.encode("bases", 4, parts(4)["bases"].slice(0, 3 if damage == "short" else 4))
    storage.put(key, data)
    draft = Draft.create(url, columns_of(["metadata", "bases"]), PLAN, orientation=Orientation.READ)
    assert draft.finished("bases", 4, 4) is None
    assert draft.finished("bases", 0, 4) is not None
    draft.commit(fill(draft))
    assert text(Dataset.open(url)[:]["bases"]) == BASES


def test_a_missing_object_of_a_stopped_run_is_made_again(url: str) -> None:
    killed_after(url, 1)
    draft = Draft.create(url, columns_of(["metadata", "bases"]), PLAN, orientation=Orientation.READ)
    assert draft.finished("bases", 0) is None
    assert draft.finished("metadata", 0) is not None


def test_settings_left_out_are_the_same_settings(url: str) -> None:
    columns = {"bases": ColumnSpec(RecordType.BASES, [{"name": "base3"}, {"name": "zstd"}], "bases")}
    Draft.create(url, columns, PLAN, orientation=Orientation.READ).write("bases", 0, parts(0)["bases"])
    again = Draft.create(url, columns, PLAN, orientation=Orientation.READ)
    assert again.finished("bases", 0) is not None


def test_a_stopped_column_is_taken_up_where_it_was(url: str) -> None:
    dataset = make(url)
    draft = Draft.extend(dataset, spec("score"), {"operation": "score"})
    cell = draft.write("score", 0, numbers(0))
    add(dataset, "other")
    with pytest.raises(ConflictError):
        Draft.extend(dataset, spec("score"), {"operation": "other"})
    again = Draft.extend(dataset, spec("score"), {"operation": "score"})
    assert again.resumed
    assert again.finished("score", 0, SIZE) == cell
    assert add(dataset, "score", again).columns == ["metadata", "bases", "other", "score"]


def test_a_stopped_replacement_is_taken_up_where_it_was(url: str) -> None:
    dataset = add(make(url), "score")
    draft = Draft.extend(dataset, spec("score"), {"operation": "score"}, replace=True)
    cell = draft.write("score", 0, numbers(0))
    add(dataset, "other")
    again = Draft.extend(dataset, spec("score"), {"operation": "score"}, replace=True)
    assert again.key("score", 0) == draft.key("score", 0)
    assert again.finished("score", 0, SIZE) == cell
    assert add(dataset, "score", again).manifest.columns["score"].key == "score~3"


@pytest.mark.parametrize("column", ["new", "score"])
def test_the_claim_of_a_column_that_was_published_is_of_no_force(
    url: str, column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that is killed after publishing, before it removes its claim."""
    dataset = add(make(url), "score")
    replace = column == "score"
    draft = Draft.extend(dataset, spec(column), {"operation": "a"}, replace=replace)
    chunks = cells(dataset, draft, column, 1)
    with monkeypatch.context() as patch:
        patch.setattr(agd.generations, "publish_copy", stop)
        with pytest.raises(Killed):
            draft.commit(chunks)
    assert claim.claim_key(column) in keys(dataset)
    again = Draft.extend(dataset, spec(column), {"operation": "b"}, replace=True)
    assert not again.resumed
    assert text(add(dataset, column, again, add_to=2)[:][column])[:2] == [2, 3]
    assert text(Dataset.open(f"{url}@3")[:][column])[:2] == [1, 2]


def stop(*_: Any) -> None:
    raise Killed


def test_a_writer_that_stops_between_generation_and_copy_has_published(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make(url)
    draft = Draft.extend(dataset, spec("score"), {})
    chunks = cells(dataset, draft, "score")
    with monkeypatch.context() as patch:
        patch.setattr(agd.generations, "publish_copy", stop)
        with pytest.raises(Killed):
            draft.commit(chunks)
    assert json.loads(dataset.storage.get(MANIFEST_KEY))["generation"] == 1
    found = Dataset.open(url)
    assert found.manifest.generation == 2
    assert found.columns[-1] == "score"
    assert add(found, "next").manifest.generation == 3
    assert json.loads(dataset.storage.get(MANIFEST_KEY))["generation"] == 3


def test_a_maker_that_stops_before_the_first_copy_has_published(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = Draft.create(url, columns_of(["metadata", "bases"]), PLAN, orientation=Orientation.READ)
    chunks = list(fill(draft))
    with monkeypatch.context() as patch:
        patch.setattr(agd.generations, "publish_copy", stop)
        with pytest.raises(Killed):
            draft.commit(chunks)
    assert text(Dataset.open(url)[:]["bases"]) == BASES
    with pytest.raises(DatasetExistsError):
        make(url)


def test_a_copy_that_lags_behind_does_no_harm(url: str) -> None:
    dataset = make(url)
    old = dataset.storage.get(MANIFEST_KEY)
    add(add(dataset, "one"), "two")
    dataset.storage.put(MANIFEST_KEY, old)
    assert Dataset.open(url).columns == ["metadata", "bases", "one", "two"]


@pytest.mark.parametrize("published", [False, True])
def test_giving_up_leaves_nothing_of_the_draft(url: str, published: bool) -> None:
    draft = Draft.create(url, columns_of(["metadata", "bases"]), PLAN, orientation=Orientation.READ)
    chunks = list(fill(draft))
    if published:
        twin = Draft.create(url, columns_of(["metadata", "bases"]), PLAN, orientation=Orientation.READ)
        twin.commit(chunks)
    draft.abandon()
    if published:
        assert text(Dataset.open(url)[:]["bases"]) == BASES
    else:
        assert list(draft.storage.keys()) == []
        assert len(make(url)) == COUNT


def test_giving_up_a_column_leaves_the_dataset(url: str) -> None:
    dataset = make(url)
    before = keys(dataset)
    draft = Draft.extend(dataset, spec("score"), {})
    cells(dataset, draft, "score")
    draft.abandon()
    assert keys(dataset) == before
    draft.abandon()


def test_a_killed_process_leaves_no_dataset_and_can_be_run_again(tmp_path: Path) -> None:
    """The same with a process that really ends, without any cleaning up."""
    url = str(tmp_path / "x.agd")
    code = (
        "import os, sys\nfrom agd.batch import Column\nfrom agd.draft import Draft, columns_of\n"
        "from agd.types import Orientation\n"
        "columns = columns_of(['metadata', 'bases'])\n"
        f"draft = Draft.create(sys.argv[1], columns, {PLAN!r}, orientation=Orientation.READ)\n"
        f"draft.write('bases', 0, Column.from_list({BASES[:4]!r}))\nos._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, url], check=False).returncode == 9
    with pytest.raises(DatasetNotFoundError):
        Dataset.open(url)
    draft = Draft.create(url, columns_of(["metadata", "bases"]), PLAN, orientation=Orientation.READ)
    assert draft.finished("bases", 0, 4) is not None
    assert len(draft.commit(fill(draft))) == COUNT
    assert not [name for name in os.listdir(url) if name.startswith("draft")]


# Null fields and duplicates


def alignments(flags: list[int]) -> Alignments:
    column = Alignments.null(len(flags)).replace(flag=np.array(flags, np.uint16), valid=None)
    return column.replace(reference=np.zeros(len(flags), np.int32), position=np.arange(len(flags)))


def with_results(url: str, marks: Mapping[int, list[int]]) -> Dataset:
    dataset = make(url)
    flags = {0: [0, 16, 1024, 1040], 4: [99, 147, 83, 163]}
    dataset = add_some(dataset, "results", {first: alignments(values) for first, values in flags.items()})
    if not marks:
        return dataset
    return add_some(dataset, "duplicates", {first: Column(np.array(values)) for first, values in marks.items()})


def add_some(dataset: Dataset, name: str, columns: Mapping[int, AnyColumn]) -> Dataset:
    """Add a column that some chunks have no cell of."""
    draft = Draft.extend(dataset, columns_of([name]), {})
    written = {first: {name: draft.write(name, first, column)} for first, column in columns.items()}
    return draft.commit(Chunk(c.first, c.count, written.get(c.first, {})) for c in dataset.chunks)


def test_a_column_without_a_cell_is_null(url: str) -> None:
    dataset = with_results(url, {})
    results = dataset[:].alignments()
    assert results.valid is not None
    assert results.valid.tolist() == [True] * 8 + [False] * 2
    assert results.flag[:8].tolist() == [0, 16, 1024, 1040, 99, 147, 83, 163]
    assert results.position[8:].tolist() == [-1, -1]
    draft = Draft.extend(dataset, columns_of(["tags", "duplicates"]), {})
    found = draft.commit([Chunk(c.first, c.count, {}) for c in dataset.chunks])[3:6]
    assert text(found["tags"]) == [b""] * 3
    assert text(found["duplicates"]) == [0] * 3
    assert found.ragged("duplicates").values.dtype == np.uint8


def test_duplicates_are_folded_into_the_flags(url: str) -> None:
    dataset = with_results(url, {0: [1, 0, 0, 1], 8: [1, 0]})
    for columns in (["results"], ["results", "duplicates"], None):
        batch = dataset.read(dataset.chunks[0], columns)
        assert batch.alignments().flag.tolist() == [1024, 16, 0, 1040]
        assert list(batch.columns) == (columns or dataset.columns)
    # Without marks the flags are as they were written.
    assert dataset.read(dataset.chunks[1]).alignments().flag.tolist() == [99, 147, 83, 163]
    assert text(dataset.read(dataset.chunks[0], ["duplicates"])["duplicates"]) == [1, 0, 0, 1]
    assert dataset[3:6].alignments().flag.tolist() == [1040, 99, 147]
    assert Dataset.open(f"{url}@2").read(dataset.chunks[0]).alignments().flag.tolist() == [0, 16, 1024, 1040]


# Damage


def damaged(dataset: Dataset, key: str, change: Any) -> AgdError:
    good = dataset.storage.get(key)
    bad = change(good)
    if bad is None:
        dataset.storage.delete(key)
    else:
        dataset.storage.put(key, bad)
    with pytest.raises(AgdError) as caught:
        dataset[:]
    dataset.storage.put(key, good)
    assert text(dataset[:]["bases"]) == BASES
    assert f"{dataset.url}/{key}" in str(caught.value)
    assert caught.value.remedy
    return caught.value


def test_damage_is_found_and_named(url: str) -> None:
    dataset = make(url)
    key, other = "x-000000000004.bases", make(f"{url}2", name="x")
    assert "is missing" in str(damaged(dataset, key, lambda _: None))
    assert isinstance(damaged(dataset, key, lambda d: d[:-1]), TruncatedError)
    assert isinstance(damaged(dataset, key, lambda d: d + b"\0"), TruncatedError)
    assert isinstance(damaged(dataset, key, lambda d: d[:-1] + bytes([d[-1] ^ 1])), ChecksumError)
    assert isinstance(damaged(dataset, key, lambda d: d[:20] + bytes([d[20] ^ 1]) + d[21:]), ChecksumError)
    assert "dataset_id" in str(damaged(dataset, key, lambda _: other.storage.get(key)))
    assert "first: 0" in str(damaged(dataset, key, lambda _: dataset.storage.get("x-000000000000.bases")))
    assert "column" in str(damaged(dataset, key, lambda _: dataset.storage.get("x-000000000004.metadata")))


def test_another_version_of_an_object_is_found(url: str) -> None:
    """Valid, of the right place, but not the bytes that the manifest has noted."""
    dataset = make(url)
    draft = Draft(
        dataset.storage, dataset.manifest.id, "x", Orientation.READ, dataset.manifest.columns, None, {}, False
    )
    data, _ = draft.encode("bases", 4, Column.from_list([b"ACGT"] * 4))
    assert isinstance(damaged(dataset, "x-000000000004.bases", lambda _: data), ChecksumError)


def test_damaged_manifests_are_found_and_older_ones_can_be_read(url: str) -> None:
    dataset = add(make(url), "score")
    for key in (MANIFEST_KEY, generation_key(2)):
        data = dataset.storage.get(key)
        dataset.storage.put(key, data[:-9])
    with pytest.raises(FormatError, match="older generation"):
        Dataset.open(url)
    with pytest.raises(DatasetExistsError):
        make(url)
    assert text(Dataset.open(f"{url}@1")[:]["bases"]) == BASES


def test_a_wrong_column_is_refused_before_it_is_stored(url: str) -> None:
    draft = Draft.create(url, columns_of(["bases", "results"]), PLAN, orientation=Orientation.READ)
    with pytest.raises(ColumnError):
        draft.write("results", 0, parts(0)["bases"])
    draft.columns["bases"] = ColumnSpec(RecordType.BASES, [{"name": "lz77"}], "bases")
    with pytest.raises(CodecError):
        draft.write("bases", 0, parts(0)["bases"])


def test_going_back_leaves_what_came_between(url: str) -> None:
    dataset = checkout(add(make(url), "score"), 1)
    assert dataset.columns == ["metadata", "bases"]
    assert dataset.manifest.retired == ("score",)
    again = add(dataset, "score", add_to=7)
    assert again.manifest.columns["score"].key == "score~4"
    assert text(Dataset.open(f"{url}@2")[:]["score"])[:2] == [0, 1]
    back = checkout(again, 2)
    assert back.manifest.retired == ("score~4",)
    assert text(Dataset.open(url)[:]["score"])[:2] == [0, 1]
    validate(back.storage.get(MANIFEST_KEY))
    replaced = Draft.extend(back, spec("score"), {}, replace=True)
    assert text(add(back, "score", replaced, add_to=9)[:]["score"])[:2] == [9, 10]
    assert text(Dataset.open(f"{url}@4")[:]["score"])[:2] == [7, 8]
