"""Equal runs at one time, errors of one of them, and clocks that are wrong."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

import fsspec
import pytest

import agd
from agd.claim import NEW
from agd.draft import Draft, columns_of
from agd.errors import (
    AlignerError,
    ConflictError,
    FormatError,
    InputError,
    InputUnreachableError,
    StorageError,
    UsageError,
)
from agd.files import _RangeSource
from agd.manifest import Chunk, ColumnSpec
from agd.ops.gc import gc
from agd.ops.own import to_column
from agd.run import SerialRunner
from agd.storage import Retry, open_storage
from agd.testing import FaultyStorage, content_digest, fail_at, wrapped
from agd.types import Orientation, RecordType

#: What stops one run and not every equal one.
PASSING = [
    KeyboardInterrupt(), MemoryError(), StorageError("lost"), RuntimeError("mistake"), AlignerError("ended"),
    InputUnreachableError("r.fq", "lost"),
]  # fmt: skip

#: What another run may meet, too, but has not met yet.
OTHERS = [*PASSING, InputError("r.fq", "is damaged"), UsageError("no"), FormatError("s.agd", "x", "y")]


def begin(url: str) -> Draft:
    return Draft.create(url, columns_of(["metadata"]), {"operation": "test"}, orientation=Orientation.READ)


def write(draft: Draft, first: int) -> Chunk:
    return Chunk(first, 2, {"metadata": draft.write("metadata", first, to_column(["a", f"r{first}"], "metadata"))})


@pytest.mark.parametrize("error", OTHERS, ids=lambda e: type(e).__name__)
def test_a_run_that_is_stopped_leaves_what_an_equal_one_needs(store: str, error: BaseException) -> None:
    one, two = begin(f"{store}/s.agd"), begin(f"{store}/s.agd")
    chunks = [write(one, 0), write(two, 2)]
    one.failed(error)
    dataset = two.commit(chunks, names="fastq", pairing="single")
    assert [bytes(name) for name in agd.open(dataset.url)[0:4].ragged("metadata")] == [b"a", b"r0", b"a", b"r2"]
    assert gc(open_storage(dataset.url)).keys == ()


@pytest.mark.parametrize("error", PASSING, ids=lambda e: type(e).__name__)
def test_what_is_left_of_a_run_alone(store: str, error: BaseException) -> None:
    draft = begin(f"{store}/s.agd")
    draft.failed(error)
    assert list(open_storage(f"{store}/s.agd").keys()) == [], "nothing was done, so nothing is in the way of another"
    draft = begin(f"{store}/s.agd")
    write(draft, 0)
    draft.failed(error)
    left = [] if isinstance(error, AlignerError) else [NEW, draft.key("metadata", 0)]
    assert sorted(open_storage(f"{store}/s.agd").keys()) == left
    assert begin(f"{store}/s.agd").resumed == bool(left)


def test_what_every_run_would_meet_leaves_nothing(store: str) -> None:
    draft = begin(f"{store}/s.agd")
    write(draft, 0)
    open_storage(f"{store}/s.agd").put("notes.txt", b"not ours")
    draft.failed(InputError("r.fq", "is damaged"))
    assert list(open_storage(f"{store}/s.agd").keys()) == ["notes.txt"]


@pytest.mark.parametrize("column", [False, True])
def test_a_draft_that_was_given_up_is_not_published(store: str, column: bool) -> None:
    """One run sees nobody else, fails, and removes all; the other began at that moment."""
    url = f"{store}/s.agd"
    if column:
        begin(url).commit([], names="fastq", pairing="single")
    for again in (False, True):
        drafts = [
            Draft.extend(agd.open(url), {"n": ColumnSpec(RecordType.TEXT, [], "n")}, {}) if column else begin(url)
            for _ in range(2)
        ]
        drafts[0].abandon()
        if again:  # a third run of the same step has taken it up since
            drafts[0] = Draft.extend(agd.open(url), drafts[0].columns, {}) if column else begin(url)
        with pytest.raises(ConflictError, match="the claim of this run was removed") as caught:
            drafts[1].commit([])
        assert "run the same command again" in caught.value.remedy
        drafts[0].abandon()


def test_an_input_that_is_lost_for_a_while_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(f"@r{i}\nACGTN\n+\nIIII#\n" for i in range(40)).encode()
    fsspec.filesystem("memory").pipe_file("/lost/r.fq", text)
    whole, lost = _RangeSource._range, [400]

    def ranged(self: _RangeSource, start: int, stop: int) -> bytes:
        if lost and stop > lost[0]:
            raise TimeoutError
        return whole(self, start, stop)

    monkeypatch.setattr(_RangeSource, "_range", ranged)
    monkeypatch.setattr("agd.files.REQUEST_BYTES", 100)
    monkeypatch.setattr("agd.files.Retry", lambda: Retry(attempts=2, sleep=lambda _: None))

    def work() -> agd.Dataset:
        agd.import_fastq("memory://lost/r.fq", output=str(tmp_path / "s.agd"), chunk_records=5, runner=SerialRunner())
        return agd.open(tmp_path / "s.agd")

    with pytest.raises(InputUnreachableError, match=r"r.fq, record [0-9]+, line [0-9]+, offset 400: cannot be read"):
        work()
    kept = {path.name: path.stat().st_ino for path in (tmp_path / "s.agd").glob("s-*")}
    assert len(kept) >= 9, "three columns of three chunks"
    lost.clear()
    assert len(work()) == 40
    assert {name: (tmp_path / "s.agd" / name).stat().st_ino for name in kept} == kept


def test_no_clock_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads, url = str(tmp_path / "r.fq"), str(tmp_path / "s.agd")
    Path(reads).write_text("".join(f"@r{i}\nACGTN\n+\nIIII#\n" for i in range(40)))

    def work(where: str) -> None:
        agd.import_fastq(reads, output=where, chunk_records=10, runner=SerialRunner())

    work(str(tmp_path / "expected.agd"))
    rule = fail_at(8, StorageError("lost"), operations=("put",))
    with wrapped(lambda storage: FaultyStorage(storage, rule)), pytest.raises(StorageError):
        work(url)
    # The store's clock is of another century, and that of this process goes backwards.
    kept = {}
    for number, path in enumerate(sorted(Path(url).iterdir())):
        os.utime(path, (4e9, 4e9) if number % 2 else (1, 1))
        kept[path.name] = path.stat().st_ino
    ticks = itertools.count(1_000_000, -1000)
    monkeypatch.setattr(time, "time", lambda: float(next(ticks)))
    gc(open_storage(url))
    assert {path.name: path.stat().st_ino for path in Path(url).iterdir()} == kept
    work(url)
    assert content_digest(agd.open(url)) == content_digest(agd.open(str(tmp_path / "expected.agd")))
    objects = [name for name in kept if not name.startswith("draft-")]
    assert len(objects) > 3
    assert {name: (Path(url) / name).stat().st_ino for name in objects} == {name: kept[name] for name in objects}
    assert gc(open_storage(url)).keys == ()
