"""What every store must do: one suite over a local folder, memory and S3."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import agd.storage
from agd.errors import AgdError, ObjectExistsError, ObjectNotFoundError, StorageError, UsageError
from agd.storage import TEMPORARY_PREFIX, LocalStorage, RemoteStorage, Retry, Storage, is_transient, open_storage
from agd.storage.client import FsspecClient
from agd.storage.failures import is_beyond_end


@pytest.fixture(params=["local", "memory", "s3fs", "obstore"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Url of a place in every kind of store, S3 through each of its clients."""
    if request.param == "local":
        return str(tmp_path)
    if request.param == "memory":
        return f"memory://agd-{uuid.uuid4().hex}"
    if request.param == "obstore":
        pytest.importorskip("obstore")
    monkeypatch.setenv("AGD_S3_CLIENT", request.param)
    return str(request.getfixturevalue("s3_url"))


@pytest.fixture
def storage(store: str) -> Storage:
    return open_storage(f"{store}/x.agd", create=True)


@pytest.mark.parametrize("size", [0, 1, 1000, 3_000_000])
def test_an_object_comes_back_whole(storage: Storage, size: int) -> None:
    data = os.urandom(size)
    storage.put("a.bases", data)
    assert storage.get("a.bases") == data
    assert storage.size("a.bases") == size


def test_any_buffer_can_be_stored(storage: Storage) -> None:
    storage.put("a", memoryview(b"0123456789")[2:5])
    storage.put("b", memoryview(b"0123456789")[2:5], exclusive=True)
    assert storage.get("a") == storage.get("b") == b"234"


def test_put_replaces(storage: Storage) -> None:
    storage.put("a", b"a long first version")
    storage.put("a", b"second")
    assert storage.get("a") == b"second"
    assert storage.size("a") == 6


@pytest.mark.parametrize(
    ("start", "stop"), [(0, None), (0, 4), (3, 7), (3, None), (0, 10), (0, 99), (8, 99), (4, 4), (0, 0), (10, 12)]
)
def test_ranges_are_those_of_a_slice(storage: Storage, start: int, stop: int | None) -> None:
    storage.put("a", b"0123456789")
    assert storage.get("a", start, stop) == b"0123456789"[start:stop]


def test_a_missing_object_is_named(storage: Storage) -> None:
    with pytest.raises(ObjectNotFoundError, match=r"x\.agd/nothing"):
        storage.get("nothing")
    with pytest.raises(ObjectNotFoundError):
        storage.get("nothing", 2, 5)
    assert storage.size("nothing") is None


def test_a_missing_folder_holds_nothing(store: str) -> None:
    storage = open_storage(f"{store}/nowhere.agd")
    assert list(storage.keys()) == []
    assert storage.size("a") is None
    with pytest.raises(ObjectNotFoundError):
        storage.get("a")
    storage.delete("a")


def test_delete_is_final_and_may_be_repeated(storage: Storage) -> None:
    storage.put("a", b"1")
    storage.delete("a")
    storage.delete("a")
    assert storage.size("a") is None
    with pytest.raises(ObjectNotFoundError):
        storage.get("a")
    storage.put("a", b"2", exclusive=True)
    assert storage.get("a") == b"2"


def test_keys_are_those_of_this_folder_only(storage: Storage, store: str) -> None:
    for key in ("x-000000000000.bases", "manifest.json", "x-000000000000.qualities"):
        storage.put(key, b"1")
    open_storage(f"{store}/x.agd2", create=True).put("other", b"1")
    open_storage(f"{store}/x.agd/sub", create=True).put("below", b"1")
    assert list(storage.keys()) == ["manifest.json", "x-000000000000.bases", "x-000000000000.qualities"]


def test_an_exclusive_put_leaves_what_is_there(storage: Storage) -> None:
    storage.put("a", b"first", exclusive=True)
    with pytest.raises(ObjectExistsError, match="a: is there already"):
        storage.put("a", b"second", exclusive=True)
    with pytest.raises(ObjectExistsError):
        storage.put("a", b"first", exclusive=True)
    assert storage.get("a") == b"first"


def test_every_store_tested_here_is_exclusive(storage: Storage) -> None:
    assert storage.exclusive
    assert list(storage.keys()) == []


def test_of_eight_racing_writers_one_wins(storage: Storage, store: str) -> None:
    assert storage.exclusive
    for race in range(3):
        start, key = threading.Barrier(8), f"manifest-{race:06d}.json"

        def write(
            number: int, start: threading.Barrier = start, key: str = key
        ) -> bool:
            mine = open_storage(f"{store}/x.agd") if number % 2 else storage
            start.wait(60)
            try:
                mine.put(key, b"%d" % number * 1000, exclusive=True)
            except ObjectExistsError:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(write, range(8)))
        assert sum(won) == 1
        assert storage.get(key) == b"%d" % won.index(True) * 1000


def test_readers_see_whole_objects_while_they_are_replaced(storage: Storage) -> None:
    storage.put("a", b"0" * 200_000)
    writing = threading.Event()
    seen: set[bytes] = set()

    def read() -> int:
        count = 0
        while not writing.is_set() or count == 0:
            data = storage.get("a")
            assert len(data) == 200_000
            assert data == data[:1] * 200_000
            seen.add(data[:1])
            count += 1
        return count

    with ThreadPoolExecutor(3) as pool:
        reads = [pool.submit(read) for _ in range(2)]
        try:
            for version in range(1, 10):
                storage.put("a", b"%d" % version * 200_000)
        finally:
            writing.set()
        assert all(r.result() > 0 for r in reads)
    assert storage.get("a") == b"9" * 200_000


def test_nothing_temporary_stays(storage: Storage) -> None:
    storage.put("a", b"1", exclusive=True)
    storage.put("b", b"1")
    with pytest.raises(ObjectExistsError):
        storage.put("a", b"2", exclusive=True)
    assert list(storage.keys()) == ["a", "b"]


def test_a_storage_travels(storage: Storage) -> None:
    storage.put("a", b"1")
    again = pickle.loads(pickle.dumps(storage))
    assert again.url == storage.url
    assert again.get("a") == b"1"


def test_an_unknown_protocol_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="nosuch"):
        open_storage("nosuch://bucket/x.agd")


# The local store


def test_a_file_url_is_a_local_store(tmp_path: Path) -> None:
    storage = open_storage(f"file://{tmp_path}/x.agd", create=True)
    assert isinstance(storage, LocalStorage)
    storage.put("a", b"1")
    assert (tmp_path / "x.agd" / "a").read_bytes() == b"1"


def test_a_stopped_writer_leaves_no_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LocalStorage(str(tmp_path))
    storage.put("a", b"old")

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        storage.put("a", b"new")
    assert storage.get("a") == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_killed_writer_leaves_only_a_temporary(tmp_path: Path) -> None:
    code = (
        "import os, sys; import agd.storage as s\n"
        "os.fsync = lambda f: os._exit(9)\n"
        "s.LocalStorage(sys.argv[1]).put('a', b'new')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == 9
    left = os.listdir(tmp_path)
    assert len(left) == 1
    assert left[0].startswith(TEMPORARY_PREFIX)


@pytest.mark.parametrize(
    ("number", "hint"),
    [(errno.EACCES, "permissions"), (errno.ENOSPC, "free some space"), (errno.EROFS, "read only"), (errno.EIO, "disk")],
)
def test_a_refusal_of_the_system_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, hint: str
) -> None:
    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match=os.strerror(number)) as caught:
        LocalStorage(str(tmp_path)).put("a", b"1")
    assert hint in caught.value.remedy
    assert str(tmp_path / "a") in caught.value.message
    assert os.listdir(tmp_path) == []


def test_a_disk_that_fills_up_leaves_nothing_behind(tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: the kernel refuses the rest of a write."""
    pytest.importorskip("resource")
    code = (
        "import resource, signal, sys; from agd.storage import LocalStorage; from agd.errors import StorageError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "storage = LocalStorage(sys.argv[1])\n"
        "storage.put('fits', bytes(90_000))\n"
        "try:\n    storage.put('large', bytes(1_000_000))\n"
        "except StorageError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True)
    assert "large: cannot be written" in done.stdout
    assert "remedy" in done.stdout
    assert sorted(os.listdir(tmp_path)) == ["fits"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do everything")
def test_permissions_are_respected(tmp_path: Path) -> None:
    storage = LocalStorage(str(tmp_path / "x.agd"), create=True)
    storage.put("a", b"1")
    (tmp_path / "x.agd" / "a").chmod(0)
    with pytest.raises(StorageError, match="Permission denied"):
        storage.get("a")
    (tmp_path / "x.agd").chmod(0o500)
    try:
        with pytest.raises(StorageError, match="Permission denied") as caught:
            storage.put("b", b"1")
        assert "permissions" in caught.value.remedy
        with pytest.raises(StorageError, match="Permission denied"):
            storage.delete("a")
        (tmp_path / "x.agd").chmod(0)
        with pytest.raises(StorageError, match="Permission denied"):
            storage.size("a")
        with pytest.raises(StorageError, match="Permission denied"):
            list(storage.keys())
    finally:
        (tmp_path / "x.agd").chmod(0o700)


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(AgdError, match="file"):
        open_storage(str(tmp_path / "file" / "x.agd"), create=True)


def test_a_file_in_place_of_the_folder_holds_no_objects(tmp_path: Path) -> None:
    (tmp_path / "reads.bam").write_bytes(b"BAM")
    storage = LocalStorage(str(tmp_path / "reads.bam"))
    with pytest.raises(ObjectNotFoundError):
        storage.get("manifest.json")
    assert storage.size("manifest.json") is None
    assert list(storage.keys()) == []


# Remote stores


class _Flaky:
    """A file system that fails a number of times before it answers."""

    protocol = "flaky"

    def __init__(self, failures: list[BaseException], lost: int = 0) -> None:
        self.failures = failures
        self.lost = lost
        self.requests = 0
        self.objects: dict[str, bytes] = {}

    def cat_file(self, path: str, start: int, end: int | None) -> bytes:
        self.requests += 1
        if self.failures:
            raise self.failures.pop(0)
        return self.objects.get(path, b"data")[start:end]

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite") -> None:
        self.requests += 1
        if mode == "create" and path in self.objects:
            raise FileExistsError(path)
        self.objects[path] = value
        if self.lost and "probe" not in path:
            self.lost -= 1
            raise TimeoutError("the answer was lost")

    def info(self, path: str) -> dict[str, object]:
        return {"size": len(self.objects.get(path, b"data")), "type": "file"}

    def rm_file(self, path: str) -> None:
        self.objects.pop(path)


@pytest.fixture
def waits() -> list[float]:
    return []


def _open(filesystem: object, waits: list[float], draw: float = 0.5) -> RemoteStorage:
    agd.storage.remote._PROBED.clear()
    return RemoteStorage("flaky://x", FsspecClient(filesystem), "x", Retry(sleep=waits.append, draw=lambda: draw))


def test_passing_failures_are_tried_again(waits: list[float]) -> None:
    flaky = _Flaky([TimeoutError(), ConnectionResetError(), OSError("SlowDown: reduce your request rate")])
    assert _open(flaky, waits).get("a") == b"data"
    assert flaky.requests == 4
    assert len(waits) == 3
    assert max(waits) < 13


def test_lasting_failures_are_given_up(waits: list[float]) -> None:
    flaky = _Flaky([TimeoutError("no answer")] * 99)
    with pytest.raises(StorageError, match=r"flaky://x/a: cannot be read: no answer in time .*no answer") as caught:
        _open(flaky, waits).get("a")
    assert flaky.requests == agd.storage.ATTEMPTS
    assert "AGD_TIMEOUT" in caught.value.remedy
    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 8.0]


def test_an_object_of_ones_own_is_no_obstacle_after_a_lost_answer(waits: list[float]) -> None:
    flaky = _Flaky([], lost=1)
    storage = _open(flaky, waits)
    storage.put("a", b"mine", exclusive=True)
    assert flaky.objects == {"x/a": b"mine"}
    with pytest.raises(ObjectExistsError):
        storage.put("a", b"mine", exclusive=True)
    flaky.lost = 1
    with pytest.raises(ObjectExistsError):
        storage.put("a", b"other", exclusive=True)


@pytest.mark.parametrize("error", [PermissionError("no"), FileNotFoundError("no"), ValueError("no"), OSError("no")])
def test_other_failures_are_not_tried_again(waits: list[float], error: Exception) -> None:
    flaky = _Flaky([error])
    with pytest.raises(StorageError):
        _open(flaky, waits).get("a")
    assert flaky.requests == 1
    assert not waits


def test_what_is_transient() -> None:
    assert is_transient(OSError("An error occurred (503) when calling PutObject"))
    assert is_transient(OSError("PUT http://host/k failed: status=503"))
    assert not is_transient(OSError("PUT http://host/k?partNumber=503&uploadId=1 in 503.1µs: AccessDenied"))
    assert not is_transient(OSError("An error occurred (AccessDenied) when calling PutObject"))
    assert not is_transient(OSError("s3://bucket/sample500/x: bad"))


@pytest.mark.parametrize(
    ("text", "is_beyond"),
    [
        ("GET http://host/k in 2.7ms - Server returned non-2xx status code: 416 Range Not Satisfiable: <Error>", True),
        ("An error occurred (InvalidRange) when calling GetObject: The requested range is not satisfiable", True),
        ("416, message='Requested Range Not Satisfiable', url='http://host/k'", True),
        ("status 416", True),
        ("GET http://host/k in 416.226µs - Server returned non-2xx status code: 403 Forbidden: <Error>", False),
        ("GET http://host:416/416/k.416 in 1ms - Server returned non-2xx status code: 403 Forbidden: <Error>", False),
        ("GET http://host/k?n=416&m=1 in 1ms - certificate of 'a-416' <HostId>+416/416+</HostId>", False),
        ("GET http://host/k in 416.226µs - Server returned non-2xx status code: 503 Service Unavailable", False),
    ],
)
def test_what_is_beyond_the_end(text: str, is_beyond: bool) -> None:
    assert is_beyond_end(ValueError(text)) is is_beyond


def test_a_store_that_cannot_refuse_is_looked_at_first() -> None:
    class Careless:
        """Overwrites whatever the mode says."""

        protocol = "careless"

        def __init__(self) -> None:
            self.objects: dict[str, bytes] = {}

        def pipe_file(self, path: str, value: bytes, mode: str = "overwrite") -> None:
            self.objects[path] = value

        def cat_file(self, path: str, start: int, end: int | None) -> bytes:
            return self.objects[path][start:end]

        def info(self, path: str) -> dict[str, object]:
            if path not in self.objects:
                raise FileNotFoundError(path)
            return {"size": len(self.objects[path]), "type": "file"}

        def rm_file(self, path: str) -> None:
            self.objects.pop(path)

    filesystem = Careless()
    storage = _open(filesystem, [])
    assert not storage.exclusive
    assert filesystem.objects == {}
    storage.put("a", b"1", exclusive=True)
    with pytest.raises(ObjectExistsError):
        storage.put("a", b"2", exclusive=True)
    assert storage.get("a") == b"1"
