"""Equal runs at one time, errors of one of them, and clocks that are wrong."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

import pytest

import agd
from agd.claim import NEW
from agd.draft import Draft, columns_of
from agd.errors import AlignerError, InputError, StorageError
from agd.manifest import Chunk
from agd.ops.gc import gc
from agd.ops.own import to_column
from agd.run import SerialRunner
from agd.storage import open_storage
from agd.testing import FaultyStorage, content_digest, fail_at, wrapped
from agd.types import Orientation

#: What stops one run and not every equal one.
PASSING = [KeyboardInterrupt(), MemoryError(), StorageError("lost"), RuntimeError("mistake"), AlignerError("ended")]


def begin(url: str) -> Draft:
    return Draft.create(url, columns_of(["metadata"]), {"operation": "test"}, orientation=Orientation.READ)


def write(draft: Draft, first: int) -> Chunk:
    return Chunk(first, 2, {"metadata": draft.write("metadata", first, to_column(["a", f"r{first}"], "metadata"))})


@pytest.mark.parametrize("error", PASSING, ids=lambda e: type(e).__name__)
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
    one, two = begin(f"{store}/s.agd"), begin(f"{store}/s.agd")
    write(one, 0)
    write(two, 2)
    open_storage(f"{store}/s.agd").put("notes.txt", b"not ours")
    one.failed(InputError("r.fq", "is damaged"))
    assert list(open_storage(f"{store}/s.agd").keys()) == ["notes.txt"]


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
