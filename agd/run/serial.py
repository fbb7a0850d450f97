"""Everything in the caller's thread, one item at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from agd.run.runner import A, B, Stage


class SerialRunner:
    """Runner without any concurrency: ``map`` is the builtin ``map``."""

    workers = 1

    def map(
        self, fn: Callable[[A], B], items: Iterable[A], *, on: Stage = "cpu", ahead: int | None = None,
        ordered: bool = True,
    ) -> Iterator[B]:
        """See :meth:`agd.run.runner.Runner.map`."""
        return map(fn, items)

    def close(self) -> None:
        """Nothing to stop."""

    def __enter__(self) -> SerialRunner:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
