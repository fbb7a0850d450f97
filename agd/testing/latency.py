"""A store that takes its time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from agd.storage import Storage


class LatencyStorage:
    """A :class:`agd.storage.Storage` with the delay of a distant one.

    Parameters
    ----------
    inner : Storage
        Does the work.
    seconds : float
        Delay of each request.
    bandwidth : float
        Bytes a second that one request moves on top of that; 0 is without limit.
    sleep : callable
        How to wait; a test may count instead.
    """

    def __init__(
        self, inner: Storage, seconds: float, bandwidth: float = 0.0, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.inner, self.seconds, self.bandwidth, self.sleep = inner, seconds, bandwidth, sleep
        self.url = inner.url

    def _wait(self, size: int = 0) -> None:
        self.sleep(self.seconds + (size / self.bandwidth if self.bandwidth else 0.0))

    @property
    def exclusive(self) -> bool:
        """See :attr:`agd.storage.Storage.exclusive`."""
        return self.inner.exclusive

    def get(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """See :meth:`agd.storage.Storage.get`."""
        data = self.inner.get(key, start, stop)
        self._wait(len(data))
        return data

    def put(self, key: str, data: bytes | memoryview, *, exclusive: bool = False) -> None:
        """See :meth:`agd.storage.Storage.put`."""
        self._wait(len(data))
        self.inner.put(key, data, exclusive=exclusive)

    def size(self, key: str) -> int | None:
        """See :meth:`agd.storage.Storage.size`."""
        self._wait()
        return self.inner.size(key)

    def delete(self, key: str) -> None:
        """See :meth:`agd.storage.Storage.delete`."""
        self._wait()
        self.inner.delete(key)

    def keys(self) -> Iterator[str]:
        """See :meth:`agd.storage.Storage.keys`."""
        self._wait()
        return self.inner.keys()

    def inside(self, name: str, *, create: bool = False) -> LatencyStorage:
        """See :meth:`agd.storage.Storage.inside`."""
        return LatencyStorage(self.inner.inside(name, create=create), self.seconds, self.bandwidth, self.sleep)
