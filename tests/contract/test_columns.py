"""Further columns and generations, by one writer and by several, over every kind of store."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from agd import claim
from agd.batch import Column
from agd.dataset import Dataset
from agd.draft import Draft
from agd.errors import (
    ConflictError,
)
from agd.manifest import MANIFEST_KEY, Chunk, generation_key
from tests.support.manifests import validate
from tests.support.ten_reads import (
    COUNT,
    SIZE,
    add,
    cells,
    keys,
    make,
    numbers,
    spec,
    text,
)


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
