"""Bounded hand-over between threads: work pushed in order through a runner, and reading ahead."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from agd.run import Runner, SerialRunner

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")


class Channel(Generic[T]):
    """A queue of bounded length that either side may close.

    Parameters
    ----------
    length : int
        Most items that wait in it.
    """

    def __init__(self, length: int) -> None:
        self._items: deque[T] = deque()
        self._length = length
        self._changed = threading.Condition()
        self._finished = False
        self._error: BaseException | None = None
        self._stopped = False

    def put(self, item: T) -> bool:
        """Wait for room and add an item; False if nobody will take it any more."""
        with self._changed:
            while len(self._items) >= self._length and not self._stopped:
                self._changed.wait()
            if self._stopped:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def finish(self, error: BaseException | None = None) -> None:
        """No more items come; an error is raised to the taker after the items before it."""
        with self._changed:
            self._finished = True
            self._error = self._error or error
            self._changed.notify_all()

    def stop(self) -> None:
        """No more items are taken."""
        with self._changed:
            self._stopped = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        with self._changed:
            while not self._items and not self._finished and not self._stopped:
                self._changed.wait()
            if self._items:
                self._changed.notify_all()
                return self._items.popleft()
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            raise StopIteration


class ReadAhead(Generic[T]):
    """Runs an iterator in a thread of its own, a bounded number of items ahead.

    Parameters
    ----------
    items : iterator
        Only the thread touches it; a generator is closed by the thread.
    length : int
        Most items that wait to be taken.
    """

    def __init__(self, items: Iterator[T], length: int) -> None:
        self._channel: Channel[T] = Channel(length)
        # The thread does not know this object: forgotten without being closed, it can be collected and end the thread.
        self._thread = threading.Thread(
            target=_fill, args=(self._channel, items), name="agd-read-ahead", daemon=True
        )
        self._thread.start()

    def __del__(self) -> None:
        self._channel.stop()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        return next(self._channel)

    def close(self) -> None:
        """Stop and wait for the thread; what was read ahead is dropped."""
        self._channel.stop()
        self._thread.join()


def _fill(channel: Channel[T], items: Iterator[T]) -> None:
    error: BaseException | None = None
    try:
        for item in items:
            if not channel.put(item):
                break
            del item
    except BaseException as caught:
        error = caught
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()
        channel.finish(error)


class Pieces:
    """Cuts bytes that are written into pieces of one size.

    Parameters
    ----------
    size : int
        Bytes of every piece but the last.
    put : callable
        Gets the pieces.

    Attributes
    ----------
    taken : int
        Bytes written so far.
    """

    def __init__(self, size: int, put: Callable[[memoryview], None]) -> None:
        self.taken = 0
        self._size = size
        self._put = put
        self._pending: list[memoryview] = []
        self._pending_bytes = 0

    def write(self, data: bytes | memoryview) -> None:
        """Take bytes; they are not copied."""
        view = memoryview(data).cast("B")
        self.taken += len(view)
        while len(view):
            part = view[: self._size - self._pending_bytes]
            view = view[len(part) :]
            self._pending.append(part)
            self._pending_bytes += len(part)
            if self._pending_bytes == self._size:
                self.flush()

    def flush(self) -> None:
        """Hand on what is left as a piece of its own, if there is anything."""
        if self._pending:
            piece = self._pending[0] if len(self._pending) == 1 else memoryview(b"".join(self._pending))
            self._pending, self._pending_bytes = [], 0
            self._put(piece)


class Pump(Generic[A, B]):
    """Pushes work through a runner: ``put`` in order, and ``out`` gets the results in that order.

    Parameters
    ----------
    work : callable
        Runs on the runner's workers.
    out : callable
        Runs in one thread, in order.
    runner : Runner, optional
        None or a serial one: everything happens within ``put``.
    """

    def __init__(self, work: Callable[[A], B], out: Callable[[B], None], runner: Runner | None) -> None:
        self._work = work
        self._out = out
        self._runner = None if isinstance(runner, SerialRunner) else runner
        self._channel: Channel[A] | None = None
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def put(self, item: A) -> None:
        """Begin the work on an item, waiting while too many are under way. Raises an error of an earlier one."""
        if self._runner is None:
            self._out(self._work(item))
            return
        if self._channel is None:
            self._channel = Channel(2)
            self._thread = threading.Thread(target=self._run, args=(self._channel,), name="agd-pump", daemon=True)
            self._thread.start()
        if not self._channel.put(item):
            self._finish()

    def _run(self, channel: Channel[A]) -> None:
        assert self._runner is not None
        try:
            for result in self._runner.map(self._work, channel):
                self._out(result)
        except BaseException as error:
            self._error = error
        finally:
            channel.stop()

    def _finish(self) -> None:
        if self._channel is not None and self._thread is not None:
            self._channel.finish()
            self._thread.join()
            self._channel = self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def close(self) -> None:
        """Finish the work; nothing may be put afterwards."""
        self._finish()

    def abort(self) -> None:
        """Drop the work that has not begun."""
        if self._channel is not None:
            self._channel.stop()
        self._error = None
        if self._thread is not None:
            self._thread.join()
        self._channel = self._thread = None
        self._error = None
