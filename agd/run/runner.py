"""The one primitive of parallel work: a ``map`` that runs a bounded number of items ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, Protocol, TypeVar, runtime_checkable

A = TypeVar("A")
B = TypeVar("B")

#: What an item mostly waits for: the processor, or a disk or network.
Stage = Literal["cpu", "io"]


@runtime_checkable
class Runner(Protocol):
    """Runs independent items.

    The law that every runner keeps: ``list(runner.map(f, xs)) == list(map(f, xs))``. Engines may run an item more than
    once, so what an item writes must be the same each time and be published exclusively.
    """

    @property
    def workers(self) -> int:
        """Items of CPU work that make progress at one time."""
        ...

    def map(
        self, fn: Callable[[A], B], items: Iterable[A], *, on: Stage = "cpu", ahead: int | None = None,
        ordered: bool = True,
    ) -> Iterator[B]:
        """Apply ``fn`` to every item.

        Parameters
        ----------
        fn : callable
        items : iterable
            Read lazily, at most ``ahead`` items before the result that the caller waits for.
        on : {"cpu", "io"}
            Which pool the items run on.
        ahead : int, optional
            Most items begun and not yet handed out: the bound on memory. Default: twice the workers of the stage.
        ordered : bool
            False: results come as they are finished.

        Yields
        ------
        The results. The first error cancels what has not begun and is raised; closing the iterator does the same.
        """
        ...

    def close(self) -> None:
        """Stop the workers. The runner cannot be used afterwards."""
        ...


def local_runner(runner: Runner) -> Runner:
    """The runner itself, or, if its workers are other processes, one of this process."""
    local: Runner = getattr(runner, "local", runner)
    return local
