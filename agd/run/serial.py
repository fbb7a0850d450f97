"""Everything in the caller's thread, one item at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from agd.run.runner import A, B, Stage


class SerialRunner:
    """Runner without any concurrency: ``map`` is the builtin ``map``, which closing stops."""

    workers = 1

    def map(
        self, fn: Callable[[A], B], items: Iterable[A], *, on: Stage = "cpu", ahead: int | None = None,
        ordered: bool = True,
    ) -> Iterator[B]:
        """See :meth:`agd.run.runner.Runner.map`."""
        return serial_map(fn, items)

    def close(self) -> None:
        """Nothing to stop."""

    def __enter__(self) -> SerialRunner:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def serial_map(fn: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """The builtin ``map`` as a generator: closing it closes ``items`` too."""
    try:
        yield from map(fn, items)
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()
