"""Threads of this process: kernels, codecs and storage clients all release the GIL."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from agd.processors import available_cpus, sharing
from agd.run.runner import A, B, Runner, Stage
from agd.run.serial import serial_map

#: Stages of the items that the current thread is in the middle of, outermost first.
_inside = threading.local()


class ThreadRunner:
    """Runner on two thread pools, one for computing and one for waiting on stores.

    Parameters
    ----------
    workers : int, optional
        Threads that compute; default: the processors that this process may use.
    io_workers : int, optional
        Threads that wait for stores; default: 8.
    """

    def __init__(self, workers: int | None = None, io_workers: int = 8) -> None:
        self.workers = workers or available_cpus()
        self._io_workers = io_workers
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._lock = threading.Lock()
        self._computing = 0

    def _pool(self, on: Stage) -> ThreadPoolExecutor:
        with self._lock:
            if on not in self._pools:
                size = self.workers if on == "cpu" else self._io_workers
                self._pools[on] = ThreadPoolExecutor(size, thread_name_prefix=f"agd-{on}")
            return self._pools[on]

    def map(
        self, fn: Callable[[A], B], items: Iterable[A], *, on: Stage = "cpu", ahead: int | None = None,
        ordered: bool = True,
    ) -> Iterator[B]:
        """See :meth:`agd.run.runner.Runner.map`."""
        # What follows happens when the first result is asked for: whoever asks is whoever waits.
        outer: tuple[Stage, ...] = getattr(_inside, "stages", ())
        if on in outer:
            # An item that maps on a pool that it is itself waited for on would wait for threads that wait for it.
            yield from serial_map(fn, items)
            return

        def run(item: A) -> B:
            _inside.stages = (*outer, on)
            self._count(on, 1)
            try:
                with sharing(self._share):
                    return fn(item)
            finally:
                self._count(on, -1)
                _inside.stages = ()

        size = self.workers if on == "cpu" else self._io_workers
        yield from bounded_map(self._pool(on).submit, run, items, max(1, ahead or 2 * size), ordered)

    def _count(self, on: Stage, change: int) -> None:
        if on == "cpu":
            with self._lock:
                self._computing += change

    def _share(self) -> int:
        """Processors for each of the items that compute: those of workers that have no item are shared out."""
        return self.workers // max(1, self._computing)

    def close(self) -> None:
        """Stop the threads; items that have not begun are dropped."""
        for pool in self._pools.values():
            pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> ThreadRunner:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@contextlib.contextmanager
def runner_or_threads(runner: Runner | None) -> Iterator[Runner]:
    """The runner that a caller has given, or threads for all processors, which end with the block."""
    if runner is not None:
        yield runner
        return
    with ThreadRunner() as own:
        yield own


def bounded_map(
    submit: Callable[..., Future[B]], fn: Callable[[A], B], items: Iterable[A], ahead: int, ordered: bool
) -> Iterator[B]:
    """Map over any ``concurrent.futures`` style ``submit`` with at most ``ahead`` items in flight."""
    live: deque[Future[B]] = deque()
    source = iter(items)
    try:
        exhausted = False
        while True:
            while not exhausted and len(live) < ahead:
                try:
                    live.append(submit(fn, next(source)))
                except StopIteration:
                    exhausted = True
            if not live:
                return
            if ordered:
                future = live.popleft()
                live.appendleft(future)  # it stays in flight until its result is out, so that an interrupt cancels it
                result = future.result()
                live.popleft()
                del future
                yield result
                del result
            else:
                done, _ = wait(live, return_when=FIRST_COMPLETED)
                for future in done:
                    live.remove(future)
                    yield future.result()
                del done, future
    finally:
        # Those that are cancelled are not waited for: not every engine ever says that they are over.
        running = [future for future in live if not future.cancel()]
        if running:
            wait(running)
        close = getattr(source, "close", None)
        if close is not None:
            close()
