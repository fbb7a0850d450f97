"""Runs that were stopped are taken up, and nothing is half visible, over every kind of store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import agd.generations
from agd import claim
from agd.dataset import Dataset
from agd.draft import Draft, columns_of
from agd.errors import (
    ConflictError,
    DatasetExistsError,
    DatasetNotFoundError,
)
from agd.manifest import MANIFEST_KEY, Cell, Chunk, ColumnSpec
from agd.storage import open_storage
from agd.types import Orientation, RecordType
from tests.support.ten_reads import (
    BASES,
    COUNT,
    FIRSTS,
    PLAN,
    SIZE,
    Killed,
    add,
    cells,
    fill,
    keys,
    killed_after,
    make,
    numbers,
    parts,
    spec,
    text,
)


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
