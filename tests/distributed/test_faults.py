"""Stores that fail on purpose, and what AGD makes of their failures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import agd
from agd.errors import DatasetExistsError, DatasetNotFoundError, ObjectNotFoundError, StorageError
from agd.ops.gc import gc
from agd.run import SerialRunner
from agd.storage import WRAPPERS, open_storage
from agd.testing import Fault, FaultyStorage, LatencyStorage, content_digest, fail_at, wrapped

FASTQ = "".join(f"@r{i}\nACGTN\n+\nIIII#\n" for i in range(30))


@pytest.fixture
def reads(tmp_path: Path) -> str:
    (tmp_path / "r.fq").write_text(FASTQ)
    return str(tmp_path / "r.fq")


def make(reads: str, url: str) -> str:
    agd.import_fastq(reads, output=url, chunk_records=10, runner=SerialRunner())
    return content_digest(agd.open(url))


def test_moments_of_a_fault(tmp_path: Path) -> None:
    inner = open_storage(tmp_path)
    for moment, expected in (("before", None), ("torn", b"01"), ("after", b"0123")):
        storage = FaultyStorage(inner, fail_at(2, StorageError("lost"), operations=("put",), moment=moment))  # type: ignore[arg-type]
        storage.put("first", b"x")
        with pytest.raises(StorageError, match="lost"):
            storage.put(moment, b"0123")
        storage.put("third", b"x")
        if expected is None:
            assert storage.size(moment) is None
        else:
            assert storage.get(moment) == expected
    assert sorted(storage.keys()) == ["after", "first", "third", "torn"]


def test_a_context_reaches_what_is_opened_in_it(tmp_path: Path) -> None:
    with wrapped(lambda storage: FaultyStorage(storage, fail_at(1, StorageError("lost"), operations=("get",)))):
        with pytest.raises(StorageError, match="lost"):
            open_storage(tmp_path).get("x")
    assert WRAPPERS == []
    with pytest.raises(ObjectNotFoundError):
        open_storage(tmp_path).get("x")


def test_latency_is_that_of_requests_and_bytes(tmp_path: Path) -> None:
    slept: list[float] = []
    storage = LatencyStorage(open_storage(tmp_path), 0.5, 100.0, slept.append)
    storage.put("x", bytes(200))
    assert (storage.get("x", 0, 50), storage.size("x"), list(storage.keys())) == (bytes(50), 200, ["x"])
    storage.delete("x")
    assert slept == [2.5, 1.0, 0.5, 0.5, 0.5]


@pytest.mark.parametrize("moment", ["before", "torn", "after"])
@pytest.mark.parametrize("error", [OSError(28, "No space left"), StorageError("denied (403)"), TimeoutError("slow")])
def test_an_error_at_any_write_loses_nothing(reads: str, tmp_path: Path, moment: str, error: Exception) -> None:
    expected = make(reads, str(tmp_path / "whole.agd"))
    # Claims and manifests are small: no store tears them. The 12th is the copy of the manifest, see below.
    for number in (3, 7) if moment == "torn" else (1, 3, 7, 11):
        url = str(tmp_path / f"s{number}.agd")
        rule = fail_at(number, error, operations=("put",), moment=moment)  # type: ignore[arg-type]
        with wrapped(lambda storage, rule=rule: FaultyStorage(storage, rule)), pytest.raises(type(error)):
            make(reads, url)
        try:
            done = content_digest(agd.open(url))
        except DatasetNotFoundError:
            done = make(reads, url)
        assert done == expected
        gc(open_storage(url))
        keys = set(open_storage(url).keys()) - {"manifest.json"}  # a copy, which the next generation renews
        assert len(keys) == 3 * 3 + 1


@pytest.mark.parametrize("moment", ["before", "after"])
def test_what_fails_after_the_change_is_published_is_no_failure(reads: str, store: str, moment: str) -> None:
    expected = make(reads, f"{store}/whole.agd")

    def strike() -> None:
        raise StorageError("no answer")

    def rule(operation: str, key: str) -> Fault | None:
        late = (operation, key) == ("put", "manifest.json") or operation == "delete"
        return Fault(strike, moment) if late else None  # type: ignore[arg-type]

    with wrapped(lambda storage: FaultyStorage(storage, rule)):
        assert make(reads, f"{store}/s.agd") == expected
    storage = open_storage(f"{store}/s.agd")
    if moment == "before":
        assert {"manifest.json", "draft-new.json"} & set(storage.keys()) == {"draft-new.json"}
        with pytest.raises(DatasetExistsError, match="made by an equal run"):
            make(reads, f"{store}/s.agd")
        gc(storage)
        assert not [key for key in list(storage.keys()) if key.startswith("draft-")]
        assert content_digest(agd.open(f"{store}/s.agd")) == expected
    with pytest.raises(DatasetExistsError, match="use --overwrite"):
        make(reads, f"{store}/s.agd")


def test_a_folder_that_cannot_be_written(reads: str, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root writes everywhere")
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(StorageError, match="cannot"):
        agd.import_fastq(reads, output=str(tmp_path / "closed" / "s.agd"))
