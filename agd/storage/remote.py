"""A folder of a remote store: retries, named errors, exclusive creation, over any client."""

from __future__ import annotations

import contextlib
import posixpath
import uuid
from collections.abc import Callable, Iterator
from typing import TypeVar

from agd.errors import AgdError, ObjectExistsError, ObjectNotFoundError, StorageError
from agd.storage.base import TEMPORARY_PREFIX
from agd.storage.client import Client
from agd.storage.failures import Retry, explain, is_refused_condition

T = TypeVar("T")

#: Whether a store refuses to create what is there, by its name: asked once a process.
_PROBED: dict[str, bool] = {}


class RemoteStorage:
    """A folder of S3, GCS, Azure, http, memory, ….

    Parameters
    ----------
    url : str
        For messages.
    client : Client
        Makes the requests.
    path : str
        The folder, as the client calls it.
    retry : Retry, optional
    """

    def __init__(self, url: str, client: Client, path: str, retry: Retry | None = None) -> None:
        self.url = url.rstrip("/")
        self._client = client
        self._path = path.rstrip("/")
        self._retry = retry or Retry()

    @property
    def exclusive(self) -> bool:
        """See :attr:`agd.storage.Storage.exclusive`; probed once a store, by creating one object twice."""
        name = self._client.store(self._path)
        if name not in _PROBED:
            _PROBED[name] = self._probe()
        return _PROBED[name]

    def _probe(self) -> bool:
        path = self._join(f"{TEMPORARY_PREFIX}probe-{uuid.uuid4().hex}")
        try:
            self._retry(lambda: self._client.put(path, b"first"))
        except Exception as error:
            raise self._failure("", "cannot be written", error) from error
        try:
            self._retry(lambda: self._client.create(path, b"second"))
        except FileExistsError:
            return True
        except Exception as error:
            # Some stores refuse the condition itself; whatever else went wrong tells nothing of the store.
            if not is_refused_condition(error):
                raise self._failure("", "cannot be written", error) from error
        finally:
            with contextlib.suppress(Exception):
                self._client.delete(path)
        return False

    def _join(self, key: str) -> str:
        return posixpath.join(self._path, key)

    def get(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """See :meth:`agd.storage.Storage.get`."""
        return self._request(key, "cannot be read", lambda: self._client.get(self._join(key), start, stop))

    def put(self, key: str, data: bytes | memoryview, *, exclusive: bool = False) -> None:
        """See :meth:`agd.storage.Storage.put`."""
        if exclusive and self.exclusive:
            self._create(key, data)
            return
        if exclusive and self.size(key) is not None:
            # The store cannot refuse: look first, and accept the small window (docs/storage.md).
            raise ObjectExistsError(f"{self.url}/{key}: is there already")
        self._request(key, "cannot be written", lambda: self._client.put(self._join(key), data))

    def _create(self, key: str, data: bytes | memoryview) -> None:
        attempts = 0

        def attempt() -> None:
            nonlocal attempts
            attempts += 1
            self._client.create(self._join(key), data)

        try:
            self._request(key, "cannot be written", attempt)
        except ObjectExistsError:
            # After an attempt whose answer was lost, the object that is in the way may be our own.
            if attempts == 1 or self.get(key) != data:
                raise

    def size(self, key: str) -> int | None:
        """See :meth:`agd.storage.Storage.size`."""
        try:
            return self._request(key, "cannot be looked up", lambda: self._client.info(self._join(key)).size)
        except ObjectNotFoundError:
            return None

    def delete(self, key: str) -> None:
        """See :meth:`agd.storage.Storage.delete`."""
        with contextlib.suppress(ObjectNotFoundError):
            self._request(key, "cannot be removed", lambda: self._client.delete(self._join(key)))

    def keys(self) -> Iterator[str]:
        """See :meth:`agd.storage.Storage.keys`."""
        try:
            names = self._request("", "cannot be listed", lambda: self._client.names(self._path))
        except ObjectNotFoundError:
            return
        yield from sorted(names)

    def inside(self, name: str, *, create: bool = False) -> RemoteStorage:
        """See :meth:`agd.storage.Storage.inside`."""
        return RemoteStorage(f"{self.url}/{name}", self._client, self._join(name), self._retry)

    def _request(self, key: str, what: str, request: Callable[[], T]) -> T:
        try:
            return self._retry(request)
        except Exception as error:
            raise self._failure(key, what, error) from error

    def _failure(self, key: str, what: str, error: Exception) -> AgdError:
        if isinstance(error, AgdError):
            return error
        where = f"{self.url}/{key}".rstrip("/")
        if isinstance(error, FileExistsError):
            return ObjectExistsError(f"{where}: is there already")
        reason, remedy = explain(error)
        if isinstance(error, FileNotFoundError):
            # Without a bucket there is no object either, but whoever writes wants to know which it was.
            return ObjectNotFoundError(f"{where}: {reason if 'bucket' in reason else 'not found'}", remedy)
        return StorageError(f"{where}: {what}: {reason}", remedy)
