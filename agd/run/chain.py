"""What runners have in common whose items run in other processes: maps that are chained become one task an item.

What the stages (fetch, then compute, then store) hand to one another never leaves a worker: only the items, and the
results of the last stage, are sent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from agd.run.runner import A, B, Runner, Stage
from agd.run.serial import SerialRunner


class ChainRunner(ABC):
    """Runner (:class:`agd.run.Runner`) on workers that are processes of their own.

    Functions and items are pickled, so what a function changes is changed in a worker and seen by nobody: results are
    small values, and what is large is put into a store by the function itself.

    Attributes
    ----------
    local : Runner
        For work that belongs to this process: samples, indexes, what comes as one stream.
    """

    local: Runner

    @property
    @abstractmethod
    def workers(self) -> int:
        """Threads of all workers."""

    @property
    @abstractmethod
    def threads_each(self) -> int:
        """Most threads that any worker process has."""

    @property
    @abstractmethod
    def memory_each(self) -> int | None:
        """Bytes that each worker process may use; None if nothing is known."""

    @abstractmethod
    def begin(self, chain: Chain) -> Iterator[Any]:
        """Run the items of a chain, each as one task."""

    @abstractmethod
    def close(self) -> None:
        """Stop."""

    def map(
        self, fn: Callable[[A], B], items: Iterable[A], *, on: Stage = "cpu", ahead: int | None = None,
        ordered: bool = True,
    ) -> Iterator[B]:
        """See :meth:`agd.run.runner.Runner.map`; ``on`` makes no difference, ``ahead`` is that of each process."""
        functions: tuple[Callable[[Any], Any], ...] = (fn,)
        if isinstance(items, Chain) and items.runner is self and not items.begun:
            items.begun = True
            functions, ordered = (*items.functions, fn), ordered and items.ordered
            ahead = max(ahead or 0, items.ahead or 0) or None
            items = items.items
        return cast("Iterator[B]", Chain(self, functions, items, ahead, ordered))

    def __reduce__(self) -> tuple[Any, ...]:
        # In a worker, what maps inside of a task maps there and then.
        return (SerialRunner, ())


class Chain:
    """Results of chained maps; nothing begins before the first is asked for, so that one more map may be chained."""

    def __init__(
        self, runner: ChainRunner, functions: tuple[Callable[[Any], Any], ...], items: Iterable[Any],
        ahead: int | None, ordered: bool,
    ) -> None:
        self.runner, self.functions, self.items, self.ahead, self.ordered = runner, functions, items, ahead, ordered
        self.begun = False
        self._results: Iterator[Any] | None = None

    def __iter__(self) -> Chain:
        return self

    def __next__(self) -> Any:
        if self._results is None:
            self.begun = True
            self._results = self.runner.begin(self)
        return next(self._results)

    def close(self) -> None:
        """Stop: what has not begun is cancelled."""
        source = self.items if self._results is None else self._results
        close = getattr(source, "close", None)
        if close is not None:
            close()


def apply(functions: tuple[Callable[[Any], Any], ...], item: Any) -> Any:
    """Apply functions one after the other."""
    for function in functions:
        item = function(item)
    return item
