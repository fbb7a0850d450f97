"""Several makers of one dataset, and those that take its place, over every kind of store."""

from __future__ import annotations

import contextlib
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agd import claim
from agd.dataset import Dataset
from agd.draft import Draft, columns_of
from agd.errors import (
    ConflictError,
    DatasetExistsError,
    DatasetNotFoundError,
    FormatError,
    UsageError,
)
from agd.footprint import remove
from agd.manifest import MANIFEST_KEY, generation_key
from agd.storage import open_storage
from agd.testing import FaultyStorage, fail_at, wrapped
from agd.types import Orientation
from tests.support.ten_reads import (
    BASES,
    PLAN,
    Killed,
    add,
    fill,
    keys,
    killed_after,
    make,
    text,
)


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
