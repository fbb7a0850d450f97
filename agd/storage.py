"""Objects in a folder of any store that fsspec reaches.

A :class:`Storage` holds the objects of one dataset: flat keys, whole immutable objects. Publishing is atomic: an object
is there with all its bytes or it is not there. ``create`` is exclusive where the store can do it (see
:attr:`Storage.exclusive`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import random
import re
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from agd.errors import ObjectExistsError, ObjectNotFoundError, StorageError, UsageError

T = TypeVar("T")

#: Prefix of temporary files beside the objects; nothing with this prefix is ever part of a dataset.
TEMPORARY_PREFIX = ".tmp-"

#: Requests to a remote store that fail for a passing reason are tried this many times in all.
ATTEMPTS = 5


class Storage(Protocol):
    """Objects under one url."""

    url: str

    @property
    def exclusive(self) -> bool:
        """Whether ``put(..., exclusive=True)`` lets exactly one of many concurrent writers win."""
        ...

    def get(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """Bytes ``start`` to ``stop`` (0-based, half-open) of an object; ObjectNotFoundError if it is not there."""
        ...

    def put(self, key: str, data: bytes | memoryview, *, exclusive: bool = False) -> None:
        """Publish an object at once; with ``exclusive`` ObjectExistsError if there is one of this key."""
        ...

    def size(self, key: str) -> int | None:
        """Bytes of an object, None if it is not there."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; no error if it is not there."""
        ...

    def keys(self) -> Iterator[str]:
        """Keys of all objects: a listing, for maintenance only, never on the path of normal work."""
        ...


#: What every storage is wrapped in when it is opened; for tests (:func:`agd.testing.wrapped`).
WRAPPERS: list[Callable[[Storage], Storage]] = []


def open_storage(url: str | os.PathLike[str], *, create: bool = False, **options: Any) -> Storage:
    """Storage for a url or path.

    Parameters
    ----------
    url : str or path
        A local path, or any url that fsspec understands (``s3://bucket/folder``, ``memory://name``).
    create : bool
        Make the folder where the store has folders.
    **options
        Passed to fsspec (``endpoint_url``, credentials, …).
    """
    url = os.fspath(url)
    try:
        filesystem, path = fsspec.core.url_to_fs(url, **store_options(url, options))
    except (ImportError, ValueError) as error:
        raise UsageError(f"{url}: {error}", "check the url; a protocol may need a package of its own") from error
    storage: Storage
    if isinstance(filesystem, LocalFileSystem):
        storage = LocalStorage(path, create=create)
    else:
        storage = FsspecStorage(url, filesystem, path)
    for wrap in WRAPPERS:
        storage = wrap(storage)
    return storage


def store_options(url: str, options: dict[str, Any]) -> dict[str, Any]:
    """Options for fsspec: the given ones, and for S3 an endpoint of the environment and no stale listings."""
    protocol = url.split("://", 1)[0] if "://" in url else "file"
    defaults: dict[str, Any] = {}
    if protocol in ("s3", "s3a"):
        endpoint = os.environ.get("AGD_S3_ENDPOINT") or os.environ.get("AWS_ENDPOINT_URL_S3")
        # A stale listing would hide objects that other machines have just written.
        defaults = {"use_listings_cache": False, "default_fill_cache": False}
        if endpoint:
            defaults["endpoint_url"] = endpoint
    return defaults | options


def temporary_name() -> str:
    """Name of a new temporary file; tells by whom, so that those of dead processes can be found and removed."""
    return f"{TEMPORARY_PREFIX}{socket.gethostname()}+{os.getpid()}+{uuid.uuid4().hex}"


def is_stale(key: str) -> bool:
    """Whether a temporary file was left by a process of this machine that is not alive any more."""
    host, _, rest = key.removeprefix(TEMPORARY_PREFIX).rpartition("+")[0].partition("+")
    if host != socket.gethostname() or not rest.isdigit():
        return False
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


class LocalStorage:
    """A folder on a local (or mounted) disk. Publishing: write a temporary, fsync, link or rename."""

    exclusive = True

    def __init__(self, path: str, *, create: bool = False) -> None:
        self.url = path
        self._path = path
        if create:
            with _local_errors(path, "cannot make the folder"):
                os.makedirs(path, exist_ok=True)

    def __reduce__(self) -> tuple[object, ...]:
        return (LocalStorage, (self._path,))

    def _join(self, key: str) -> str:
        return os.path.join(self._path, key)

    def get(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """See :meth:`Storage.get`."""
        with _local_errors(self._join(key), "cannot be read"), open(self._join(key), "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            stop = size if stop is None else min(stop, size)
            parts = []
            while start < stop:
                part = os.pread(file.fileno(), stop - start, start)
                if not part:
                    break
                parts.append(part)
                start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def put(self, key: str, data: bytes | memoryview, *, exclusive: bool = False) -> None:
        """See :meth:`Storage.put`."""
        final = self._join(key)
        temporary = self._join(f"{temporary_name()}")
        with _local_errors(final, "cannot be written"):
            try:
                with open(temporary, "xb", buffering=0) as file:
                    view = memoryview(data).cast("B")
                    while len(view):
                        view = view[file.write(view) :]
                    os.fsync(file.fileno())
                if exclusive:
                    os.link(temporary, final)
                else:
                    os.replace(temporary, final)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)
        self._sync_folder()

    def _sync_folder(self) -> None:
        with contextlib.suppress(OSError):
            folder = os.open(self._path, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def size(self, key: str) -> int | None:
        """See :meth:`Storage.size`."""
        try:
            with _local_errors(self._join(key), "cannot be looked up"):
                return os.stat(self._join(key)).st_size
        except ObjectNotFoundError:
            return None

    def delete(self, key: str) -> None:
        """See :meth:`Storage.delete`."""
        with contextlib.suppress(ObjectNotFoundError), _local_errors(self._join(key), "cannot be removed"):
            os.unlink(self._join(key))

    def keys(self) -> Iterator[str]:
        """See :meth:`Storage.keys`."""
        names: list[str] = []
        with contextlib.suppress(ObjectNotFoundError), _local_errors(self._path, "cannot be listed"):
            with os.scandir(self._path) as entries:
                names = sorted(entry.name for entry in entries if entry.is_file())
        yield from names


class FsspecStorage:
    """A folder of any other store that fsspec reaches: S3, GCS, Azure, memory, http."""

    def __init__(self, url: str, filesystem: Any, path: str) -> None:
        self.url = url.rstrip("/")
        self._fs = filesystem
        self._path = path.rstrip("/")
        self._exclusive: bool | None = None

    @property
    def exclusive(self) -> bool:
        """See :attr:`Storage.exclusive`; probed once, by creating one object twice."""
        if self._exclusive is None:
            probe = f"{TEMPORARY_PREFIX}probe-{uuid.uuid4().hex}"
            try:
                self._create(probe, b"first")
                try:
                    self._create(probe, b"second")
                    self._exclusive = False
                except ObjectExistsError:
                    self._exclusive = True
                except StorageError:
                    self._exclusive = False
            except StorageError:
                self._exclusive = False
            finally:
                with contextlib.suppress(Exception):
                    self.delete(probe)
        return self._exclusive

    def _join(self, key: str) -> str:
        return posixpath.join(self._path, key)

    def get(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """See :meth:`Storage.get`."""
        if stop is not None and start >= stop:
            return b""
        return self._retry(key, "cannot be read", lambda: self._range(self._join(key), start, stop))

    def _range(self, path: str, start: int, stop: int | None) -> bytes:
        try:
            # Without a start s3fs asks for the size first: two requests in place of one.
            data: bytes = self._fs.cat_file(path, start=start, end=stop)
        except FileNotFoundError:
            raise
        except OSError:
            # A store refuses a range that begins after the end; a slice of nothing is nothing.
            if start < int(self._fs.info(path)["size"]):
                raise
            return b""
        return data

    def put(self, key: str, data: bytes | memoryview, *, exclusive: bool = False) -> None:
        """See :meth:`Storage.put`."""
        if exclusive and self._is_memory():
            self._create(key, bytes(data))
        elif exclusive:
            if self.exclusive:
                self._create(key, bytes(data))
            else:
                # The store cannot refuse: look first, and accept the small window (docs/storage.md).
                if self.size(key) is not None:
                    raise ObjectExistsError(f"{self.url}/{key}: is there already")
                self._retry(key, "cannot be written", lambda: self._fs.pipe_file(self._join(key), bytes(data)))
        else:
            self._retry(key, "cannot be written", lambda: self._fs.pipe_file(self._join(key), bytes(data)))

    def _is_memory(self) -> bool:
        return type(self._fs).__name__ == "MemoryFileSystem"

    def _create(self, key: str, data: bytes) -> None:
        path = self._join(key)
        if self._is_memory():
            with _MEMORY_LOCK:
                if self._fs.exists(path):
                    raise ObjectExistsError(f"{self.url}/{key}: is there already")
                self._fs.pipe_file(path, data)
            return

        attempts = 0

        def attempt() -> None:
            nonlocal attempts
            attempts += 1
            try:
                self._fs.pipe_file(path, data, mode="create")
            except FileExistsError as error:
                raise ObjectExistsError(f"{self.url}/{key}: is there already") from error
            except OSError as error:
                if _is_precondition(error):
                    raise ObjectExistsError(f"{self.url}/{key}: is there already") from error
                raise

        try:
            self._retry(key, "cannot be written", attempt)
        except ObjectExistsError:
            # After a failed attempt the object that is in the way may be our own.
            if attempts == 1 or self.get(key) != data:
                raise

    def _retry(self, key: str, what: str, request: Callable[[], T]) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return request()
            except StorageError:
                raise
            except FileNotFoundError as error:
                raise ObjectNotFoundError(f"{self.url}/{key}: not found") from error
            except PermissionError as error:
                raise StorageError(
                    f"{self.url}/{key}: {what}: access denied", "check the credentials and the policy of the bucket"
                ) from error
            except Exception as error:
                if attempt == ATTEMPTS or not is_transient(error):
                    raise StorageError(
                        f"{self.url}/{key}: {what}: {type(error).__name__}: {error}",
                        "check the network, the endpoint and the credentials, then run the same command again",
                    ) from error
                time.sleep(min(8.0, 0.1 * 2**attempt) * (0.5 + random.random()))
        raise AssertionError("unreachable")

    def size(self, key: str) -> int | None:
        """See :meth:`Storage.size`."""
        try:
            info = self._retry(key, "cannot be looked up", lambda: self._fs.info(self._join(key)))
        except ObjectNotFoundError:
            return None
        return int(info["size"]) if info.get("type") != "directory" else None

    def delete(self, key: str) -> None:
        """See :meth:`Storage.delete`."""
        with contextlib.suppress(ObjectNotFoundError):
            self._retry(key, "cannot be removed", lambda: self._fs.rm_file(self._join(key)))

    def keys(self) -> Iterator[str]:
        """See :meth:`Storage.keys`."""
        try:
            found = self._retry("", "cannot be listed", lambda: self._fs.find(self._path, maxdepth=1))
        except ObjectNotFoundError:
            return
        for path in sorted(found):
            yield posixpath.basename(path)


def is_transient(error: BaseException) -> bool:
    """Whether a failed request may succeed when it is simply made again."""
    if isinstance(error, (TimeoutError, ConnectionError)):
        return True
    text = f"{type(error).__name__} {error}"
    return _TRANSIENT.search(text) is not None


_TRANSIENT = re.compile(
    r"Timeout|timed out|Connection|EndOfStream|IncompleteRead|SlowDown|InternalError|ServiceUnavailable"
    r"|ServerDisconnected|ClientOSError|(?<![\w.-])50[0234](?![\w-]|\.\w)"
)


def _is_precondition(error: OSError) -> bool:
    # Ceph answers a lost race without the Condition field, which s3fs turns into EINVAL.
    cause = error.__cause__
    text = f"{error} {cause}"
    return "PreconditionFailed" in text or "ConditionalRequestConflict" in text or "412" in text


@contextlib.contextmanager
def _local_errors(path: str, what: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ObjectNotFoundError(f"{path}: not found") from error
    except FileExistsError as error:
        raise ObjectExistsError(f"{path}: is there already") from error
    except OSError as error:
        remedy = {
            errno.ENOSPC: "free some space on the disk, then run the same command again",
            errno.EDQUOT: "free some of the quota, then run the same command again",
            errno.EACCES: "check the permissions of the folder",
            errno.EROFS: "the disk is read only; choose another place",
            errno.EPERM: "this file system may have no hard links, which publishing needs; choose another place",
            errno.EOPNOTSUPP: "this file system may have no hard links, which publishing needs; choose another place",
            errno.EFBIG: "the file system, or a limit of the shell (ulimit -f), does not allow files of this size",
            errno.EIO: "the disk or network mount failed; run the same command again",
        }.get(error.errno or 0, "")
        raise StorageError(f"{path}: {what}: {error.strerror or error}", remedy) from error


def _make_lock() -> Any:
    import threading

    return threading.Lock()


_MEMORY_LOCK = _make_lock()
