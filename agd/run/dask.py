"""Processes on one or many machines, by Dask (``pip install 'agd[dask]'``).

Maps that are chained (fetch, then compute, then store) become one task for each item, so that what the stages hand to
one another never leaves a worker: only the items, and the results of the last stage, pass the scheduler. What the
functions refer to (a dataset, an aligner) is pickled once a map, and loaded once in each worker process.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import cloudpickle

from agd.errors import AgdError, UsageError
from agd.run.runner import A, B, Stage
from agd.run.serial import SerialRunner
from agd.run.threads import ThreadRunner, bounded_map

try:
    import distributed
except ImportError as error:  # pragma: no cover - where the extra is not installed
    raise UsageError("Dask is not installed", "pip install 'agd[dask]'") from error


#: A scheduler that does not answer for so long is taken for none.
CONNECT_SECONDS = 20


class WorkerLostError(AgdError):
    """Workers ended, again and again, while they were at work on one item."""


class DaskRunner:
    """Runner on the workers of a Dask cluster.

    Parameters
    ----------
    address : str
        ``local:N`` starts N worker processes of one thread on this machine; anything else is the address of a
        scheduler (``tcp://host:8786``).
    memory : int, optional
        Bound on the memory of each local worker, bytes; a worker that goes far beyond is started anew.
    """

    def __init__(self, address: str, *, memory: int | None = None) -> None:
        self.address = address
        self._cluster: Any = None
        kind, _, number = address.partition(":")
        if kind == "local":
            if not number.isdigit() or not int(number):
                raise UsageError(f"{address!r} is no cluster", "give local:N or the address of a scheduler")
            self._cluster = distributed.LocalCluster(
                n_workers=int(number), threads_per_worker=1, processes=True, dashboard_address=":0",
                memory_limit=memory or 0, silence_logs=50,
            )  # fmt: skip
            self._client = distributed.Client(self._cluster)
        else:
            try:
                self._client = distributed.Client(address, timeout=CONNECT_SECONDS)
            except (OSError, ValueError) as error:
                raise UsageError(f"{address}: there is no scheduler: {error}", "check --cluster") from error
        #: For work that belongs to this process: samples, indexes.
        self.local = ThreadRunner()
        self._functions: list[str] = []

    @property
    def workers(self) -> int:
        """Threads of all workers that the cluster has now."""
        return max(1, sum(int(n) for n in self._client.nthreads().values()))

    def map(
        self, fn: Callable[[A], B], items: Iterable[A], *, on: Stage = "cpu", ahead: int | None = None,
        ordered: bool = True,
    ) -> Iterator[B]:
        """See :meth:`agd.run.runner.Runner.map`; ``on`` makes no difference. Functions and items are pickled."""
        functions: tuple[Callable[[Any], Any], ...] = (fn,)
        if isinstance(items, _Chain) and items.runner is self and not items.begun:
            items.begun = True
            functions, ordered = (*items.functions, fn), ordered and items.ordered
            ahead = max(ahead or 0, items.ahead or 0) or None
            items = items.items
        return cast("Iterator[B]", _Chain(self, functions, items, ahead, ordered))

    def begin(self, chain: _Chain) -> Iterator[Any]:
        """Run the tasks of a chain."""
        blob = cloudpickle.dumps(chain.functions)
        key = "agd-" + hashlib.sha256(blob).hexdigest()[:16]
        if key not in self._functions:
            # A plugin reaches the workers that come later, too: those that take the place of lost ones.
            self._client.register_plugin(_Functions(key, blob), name=key)
            self._functions.append(key)
        workers = self.workers
        window = max(chain.ahead, workers) if chain.ahead else 2 * workers
        executor = self._client.get_executor(pure=False)

        def submit(function: Callable[..., Any], item: Any) -> Any:
            return executor.submit(function, key, item)

        try:
            yield from bounded_map(submit, cast("Any", run_functions), chain.items, window, chain.ordered)
        except distributed.KilledWorker as error:
            raise WorkerLostError(
                f"{self.address}: workers ended, again and again, at work on one item: {error}",
                "they may need more memory: use fewer threads for each, or smaller chunks",
            ) from error

    def close(self) -> None:
        """Leave the cluster; one that was started here is stopped."""
        for key in self._functions:
            if self._cluster is None:
                self._client.unregister_worker_plugin(key)
        self.local.close()
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()

    def __enter__(self) -> DaskRunner:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        # In a worker, what maps inside of a task maps there and then.
        return (SerialRunner, ())


class _Chain:
    """Results of chained maps; nothing begins before the first is asked for, so that one more map may be chained."""

    def __init__(
        self, runner: DaskRunner, functions: tuple[Callable[[Any], Any], ...], items: Iterable[Any],
        ahead: int | None, ordered: bool,
    ) -> None:
        self.runner, self.functions, self.items, self.ahead, self.ordered = runner, functions, items, ahead, ordered
        self.begun = False
        self._results: Iterator[Any] | None = None

    def __iter__(self) -> _Chain:
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


#: In a worker: pickled functions of the maps, and those that are loaded.
_blobs: dict[str, bytes] = {}
_loaded: dict[str, tuple[Callable[[Any], Any], ...]] = {}
_LOADING = threading.Lock()


class _Functions(distributed.WorkerPlugin):  # type: ignore[misc]
    """Brings the functions of a map to every worker."""

    def __init__(self, key: str, blob: bytes) -> None:
        self.key, self.blob = key, blob

    def setup(self, worker: Any) -> None:
        _blobs[self.key] = self.blob

    def teardown(self, worker: Any) -> None:
        _blobs.pop(self.key, None)
        _loaded.pop(self.key, None)


def run_functions(key: str, item: Any) -> Any:
    """In a worker: apply the functions of a map, one after the other, to an item."""
    with _LOADING:
        if key not in _loaded:
            _loaded[key] = cloudpickle.loads(_blobs[key])
    for function in _loaded[key]:
        item = function(item)
    return item
