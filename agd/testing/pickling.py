"""A runner that sends everything through pickle, as one on other machines does, without any other process."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

from agd.run.chain import Chain, ChainRunner, apply
from agd.run.threads import ThreadRunner


class PicklingRunner(ChainRunner):
    """Runs items in threads, on copies of functions and items, and hands out copies of results.

    What an operation does right on this runner it does right on Dask: nothing hangs on memory that is shared. Needs
    ``cloudpickle``.

    Parameters
    ----------
    workers : int

    Attributes
    ----------
    largest_item, largest_result : int
        Bytes of the largest item and result that were sent.
    """

    memory_each = None

    def __init__(self, workers: int = 2) -> None:
        self.local = ThreadRunner(workers)
        self._pool = ThreadRunner(workers)
        self.largest_item = self.largest_result = 0

    @property
    def workers(self) -> int:
        """See :class:`agd.run.Runner`."""
        return self.local.workers

    @property
    def threads_each(self) -> int:
        """See :class:`agd.run.chain.ChainRunner`."""
        return self.local.workers

    def begin(self, chain: Chain) -> Iterator[Any]:
        """See :meth:`agd.run.chain.ChainRunner.begin`."""
        import cloudpickle

        blob = cloudpickle.dumps(chain.functions)

        def work(item: bytes) -> bytes:
            return bytes(cloudpickle.dumps(apply(pickle.loads(blob), pickle.loads(item))))

        def items() -> Iterator[bytes]:
            for item in chain.items:
                data = cloudpickle.dumps(item)
                self.largest_item = max(self.largest_item, len(data))
                yield data

        for result in self._pool.map(work, items(), ahead=chain.ahead, ordered=chain.ordered):
            self.largest_result = max(self.largest_result, len(result))
            yield pickle.loads(result)

    def close(self) -> None:
        """See :class:`agd.run.Runner`."""
        self.local.close()
        self._pool.close()

    def __enter__(self) -> PicklingRunner:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
