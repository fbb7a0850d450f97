"""Datasets over every kind of store: made, read, and damaged."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agd.batch import Alignments, AnyColumn, Column
from agd.dataset import Dataset
from agd.draft import Draft, columns_of
from agd.errors import (
    AgdError,
    ChecksumError,
    CodecError,
    ColumnError,
    DatasetExistsError,
    DatasetNotFoundError,
    FormatError,
    TruncatedError,
    UsageError,
)
from agd.files import open_source
from agd.generations import load_manifest
from agd.manifest import MANIFEST_KEY, Chunk, ColumnSpec, generation_key
from agd.ops.history import checkout
from agd.run import Runner, SerialRunner, ThreadRunner
from agd.sinks import open_sink
from agd.storage import Storage, open_storage
from agd.target import name_of
from agd.types import Orientation, RecordType, Reference
from tests.support.columns import assert_equal
from tests.support.manifests import validate
from tests.support.ten_reads import (
    BASES,
    COUNT,
    FIRSTS,
    NAMES,
    PLAN,
    add,
    fill,
    keys,
    make,
    parts,
    spec,
    text,
)

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


def test_columns_come_from_any_iterable_and_are_checked_at_once(url: str) -> None:
    dataset = make(url)

    def names() -> Iterator[str]:
        yield "metadata"

    assert sum((text(b["metadata"]) for b in dataset.batches(names())), []) == NAMES  # noqa: RUF017
    assert list(dataset.read(dataset.chunks[0], names()).columns) == ["metadata"]
    assert dataset.to_arrow(names()).column_names == ["metadata"]
    with pytest.raises(ColumnError, match="no column 'nope'"):
        dataset.batches(["nope"])
    with pytest.raises(UsageError, match="records -5"):
        dataset.batches(start=-5)


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
