"""Plain requests to a remote store: what :class:`agd.storage.remote.RemoteStorage` is built on."""

from __future__ import annotations

import posixpath
import threading
from typing import Any, NamedTuple, Protocol

from agd.storage.failures import is_beyond_end, is_refused_create, is_transient

#: S3 takes this much in one request.
_SINGLE_PUT = 5 << 30

#: Objects of this size are put in several requests at a time, unless they must be created.
_MULTIPART = 100 << 20


class Info(NamedTuple):
    """What a store says about an object."""

    #: Bytes, None if the store does not say (some http servers).
    size: int | None
    #: Changes when the object does; "" if the store has nothing of the kind.
    version: str
    #: Whether a range of it can be asked for.
    ranges: bool = True


class Client(Protocol):
    """One attempt of each request, no retries. Paths are the client's own.

    Errors are those of Python where there is one (FileNotFoundError, FileExistsError, PermissionError, TimeoutError,
    ConnectionError), else those of the library.
    """

    def store(self, path: str) -> str:
        """Names the store (endpoint and bucket) that a path is in."""
        ...

    def get(self, path: str, start: int = 0, stop: int | None = None) -> bytes:
        """Bytes ``start`` to ``stop`` (0-based, half-open) of an object, fewer beyond its end."""
        ...

    def put(self, path: str, data: bytes | memoryview) -> None:
        """Publish an object at once, in place of what was there."""
        ...

    def create(self, path: str, data: bytes | memoryview) -> None:
        """Publish an object unless there is one: FileExistsError then, if the store can tell."""
        ...

    def info(self, path: str) -> Info:
        """Size and version of an object; FileNotFoundError if it is not there."""
        ...

    def delete(self, path: str) -> None:
        """Remove an object; FileNotFoundError if the store says that it was not there."""
        ...

    def names(self, path: str) -> list[str]:
        """Last parts of the paths of all objects in a folder: a listing."""
        ...


def begins_beyond_end(client: Client, path: str, start: int, error: Exception) -> bool:
    """Whether a range could not be had because it begins at or after the end of the object: a slice of nothing.

    The object is asked for its size: were something else taken for this, data would be missing without an error.
    """
    if isinstance(error, (FileNotFoundError, PermissionError)):
        return False
    # s3fs makes an OSError of every answer that it does not know.
    if not is_beyond_end(error) and (is_transient(error) or not isinstance(error, OSError)):
        return False
    size = client.info(path).size
    return is_beyond_end(error) if size is None else start >= size


class FsspecClient:
    """Any store that fsspec reaches."""

    def __init__(self, filesystem: Any) -> None:
        self.filesystem = filesystem

    def store(self, path: str) -> str:
        """See :meth:`Client.store`."""
        protocol = self.filesystem.protocol
        name = protocol if isinstance(protocol, str) else protocol[0]
        return f"{name}:{getattr(self.filesystem, 'endpoint_url', '')}:{path.lstrip('/').split('/')[0]}"

    def get(self, path: str, start: int = 0, stop: int | None = None) -> bytes:
        """See :meth:`Client.get`."""
        if stop is not None and start >= stop:
            return b""
        try:
            # Without a start s3fs asks for the size first: two requests in place of one.
            data: bytes = self.filesystem.cat_file(path, start=start, end=stop)
        except Exception as error:
            if not begins_beyond_end(self, path, start, error):
                raise
            return b""
        if stop is not None and len(data) > stop - start:
            # A server without ranges sends all there is.
            return data[start:stop]
        return data

    def put(self, path: str, data: bytes | memoryview) -> None:
        """See :meth:`Client.put`."""
        self._check_writable()
        self.filesystem.pipe_file(path, bytes(data))

    def _check_writable(self) -> None:
        # fsspec would POST to the server.
        if _is_http(self.filesystem):
            raise NotImplementedError("http")

    def create(self, path: str, data: bytes | memoryview) -> None:
        """See :meth:`Client.create`."""
        self._check_writable()
        try:
            self.filesystem.pipe_file(path, bytes(data), mode="create")
        except Exception as error:
            if is_refused_create(error):
                raise FileExistsError(path) from error
            raise

    def info(self, path: str) -> Info:
        """See :meth:`Client.info`."""
        try:
            info = self.filesystem.info(path)
        except FileNotFoundError as error:
            cause = error.__cause__
            if not _is_http(self.filesystem) or cause is None or getattr(cause, "status", 0) in (404, 410):
                raise
            # fsspec says that of an http server whatever it answered, and if it did not answer.
            raise cause from None
        if info.get("type") == "directory":
            raise FileNotFoundError(path)
        size = info.get("size")
        return Info(None if size is None else int(size), _version(info), bool(info.get("partial", True)))

    def delete(self, path: str) -> None:
        """See :meth:`Client.delete`."""
        self.filesystem.rm_file(path)

    def names(self, path: str) -> list[str]:
        """See :meth:`Client.names`."""
        return [posixpath.basename(found) for found in self.filesystem.find(path, maxdepth=1)]


def _is_http(filesystem: Any) -> bool:
    return "http" in filesystem.protocol


def _version(info: dict[str, Any]) -> str:
    found = (info.get(key) for key in ("ETag", "etag", "mtime", "LastModified", "last_modified", "created"))
    # Some servers give their ETags without the quotes.
    return next((str(value).strip('"') for value in found if value), "")


class S3fsClient(FsspecClient):
    """S3 through s3fs."""

    def __init__(self, filesystem: Any) -> None:
        super().__init__(filesystem)
        # One layer of retries is enough, and an attempt that nobody sees could have made the object that is in the way.
        filesystem.retries = 1

    def __reduce__(self) -> tuple[object, ...]:
        return (S3fsClient, (self.filesystem,))

    def put(self, path: str, data: bytes | memoryview) -> None:
        """See :meth:`Client.put`."""
        bucket, key, _ = self.filesystem.split_path(path)
        if len(data) < _MULTIPART:
            self.filesystem.call_s3("put_object", Bucket=bucket, Key=key, Body=bytes(data))
        else:
            self.filesystem.pipe_file(path, bytes(data))

    def create(self, path: str, data: bytes | memoryview) -> None:
        """See :meth:`Client.create`; one request, as Ceph ignores the condition of a multipart upload."""
        if len(data) > _SINGLE_PUT:
            raise ValueError(f"{path}: {len(data):,} bytes are more than S3 takes in one request")
        bucket, key, _ = self.filesystem.split_path(path)
        try:
            self.filesystem.call_s3("put_object", Bucket=bucket, Key=key, Body=bytes(data), IfNoneMatch="*")
        except Exception as error:
            if is_refused_create(error):
                raise FileExistsError(path) from error
            raise

    def info(self, path: str) -> Info:
        """See :meth:`Client.info`; s3fs itself would list the bucket to see whether a missing object is a folder."""
        bucket, key, _ = self.filesystem.split_path(path)
        head = self.filesystem.call_s3("head_object", Bucket=bucket, Key=key)
        return Info(int(head["ContentLength"]), str(head.get("ETag", "")).strip('"'))


class MemoryClient(FsspecClient):
    """fsspec's store in the memory of this process, with exclusive creation."""

    def create(self, path: str, data: bytes | memoryview) -> None:
        """See :meth:`Client.create`."""
        with _MEMORY_LOCK:
            if self.filesystem.exists(path):
                raise FileExistsError(path)
            self.put(path, data)


_MEMORY_LOCK = threading.Lock()
