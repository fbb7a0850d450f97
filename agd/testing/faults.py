"""A store whose requests fail on purpose."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from agd.storage import Storage

#: Requests that a rule can be about.
Operation = Literal["get", "put", "size", "delete"]

#: Where in a request the fault strikes: before anything is done; half way, with half of the object stored (a torn
#: object) or half of the bytes in the answer (a range cut short); or after all is done, when only the answer is lost.
Moment = Literal["before", "torn", "after"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with a request.

    Attributes
    ----------
    strike : callable
        Raises, or ends the process. Returning means that the request goes on as if nothing had been.
    moment : {"before", "torn", "after"}
        "torn" is about ``put`` and ``get``, and stands for "before" with other requests. With ``get`` nothing strikes:
        the short answer is the fault.
    """

    strike: Callable[[], None]
    moment: Moment = "before"


#: ``rule(operation, key)``: the fault of a request, None for none; called before each request, from many threads.
Rule: TypeAlias = Callable[[Operation, str], Fault | None]


class FaultyStorage:
    """A :class:`agd.storage.Storage` some of whose requests fail.

    Parameters
    ----------
    inner : Storage
        Does the work.
    rule : callable
        ``rule(operation, key)`` is asked before each request and gives its :class:`Fault`, or None; called from many
        threads. See :func:`fail_at` and :func:`kill_at`.
    """

    def __init__(self, inner: Storage, rule: Rule) -> None:
        self.inner = inner
        self.rule = rule
        self.url = inner.url

    @property
    def exclusive(self) -> bool:
        """See :attr:`agd.storage.Storage.exclusive`."""
        return self.inner.exclusive

    def get(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """See :meth:`agd.storage.Storage.get`."""
        fault = self._before("get", key)
        data = self.inner.get(key, start, stop)
        if fault is not None and fault.moment == "torn":
            return data[: len(data) // 2]
        _after(fault)
        return data

    def put(self, key: str, data: bytes | memoryview, *, exclusive: bool = False) -> None:
        """See :meth:`agd.storage.Storage.put`."""
        fault = self._before("put", key)
        if fault is not None and fault.moment == "torn":
            self.inner.put(key, bytes(data)[: len(data) // 2], exclusive=exclusive)
            fault.strike()
            return
        self.inner.put(key, data, exclusive=exclusive)
        _after(fault)

    def size(self, key: str) -> int | None:
        """See :meth:`agd.storage.Storage.size`."""
        fault = self._before("size", key)
        size = self.inner.size(key)
        _after(fault)
        return size

    def delete(self, key: str) -> None:
        """See :meth:`agd.storage.Storage.delete`."""
        fault = self._before("delete", key)
        self.inner.delete(key)
        _after(fault)

    def keys(self) -> Iterator[str]:
        """See :meth:`agd.storage.Storage.keys`; never fails on purpose."""
        return self.inner.keys()

    def inside(self, name: str, *, create: bool = False) -> FaultyStorage:
        """See :meth:`agd.storage.Storage.inside`; the same rule."""
        return FaultyStorage(self.inner.inside(name, create=create), self.rule)

    def _before(self, operation: Operation, key: str) -> Fault | None:
        fault = self.rule(operation, key)
        half = operation in ("get", "put")
        if fault is not None and (fault.moment == "before" or (fault.moment == "torn" and not half)):
            fault.strike()
        return fault


def _after(fault: Fault | None) -> None:
    if fault is not None and fault.moment == "after":
        fault.strike()


class _At:
    """The fault of the n-th request of some operations, over all storages that share this rule."""

    def __init__(self, number: int, operations: tuple[Operation, ...], fault: Fault) -> None:
        self.number, self.operations, self.fault = number, operations, fault
        self.seen = 0
        self._lock = threading.Lock()

    def __call__(self, operation: Operation, key: str) -> Fault | None:
        if operation not in self.operations:
            return None
        with self._lock:
            self.seen += 1
            return self.fault if self.seen == self.number else None


def fail_at(
    number: int, error: BaseException, *, operations: tuple[Operation, ...] = ("get", "put", "size", "delete"),
    moment: Moment = "before",
) -> Rule:
    """Rule: the ``number``-th of these requests (1-based) raises an error, once."""

    def strike() -> None:
        raise error

    return _At(number, operations, Fault(strike, moment))


def kill_at(
    number: int, *, operations: tuple[Operation, ...] = ("put", "delete"), moment: Moment = "before"
) -> Rule:
    """Rule: this process ends by SIGKILL at the ``number``-th of these requests (1-based)."""
    return _At(number, operations, Fault(_kill, moment))


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    # The signal may take a moment to arrive, in which this thread must do nothing else.
    while True:
        signal.pause()
