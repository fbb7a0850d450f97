"""Processes on one or many machines, by Dask (the extra ``dask``).

Chained maps become one task for each item (:mod:`agd.run.chain`): only the items, and the results of the last stage,
pass the scheduler. What the functions refer to (a dataset, an aligner) is pickled once a map, and loaded once in each
worker process.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any, cast

import cloudpickle

from agd.errors import AgdError, UsageError
from agd.processors import sharing
from agd.run.chain import Chain, ChainRunner, apply
from agd.run.memory import default_memory
from agd.run.threads import ThreadRunner, bounded_map

try:
    import dask
    import distributed
except ImportError as error:  # pragma: no cover - where the extra is not installed
    raise UsageError("Dask is not installed", "pip install distributed cloudpickle") from error


#: A scheduler that does not answer for so long is taken for none.
CONNECT_SECONDS = 20

#: Of the memory limit that a worker was started with, what a step may use: at 80 % Dask holds a worker back.
SHARE_OF_LIMIT = 0.75


class WorkerLostError(AgdError):
    """Workers ended, again and again, while they were at work on one item."""


class DaskRunner(ChainRunner):
    """Runner on the workers of a Dask cluster.

    Parameters
    ----------
    address : str
        ``local:N`` starts N worker processes on this machine; anything else is the address of a scheduler
        (``tcp://host:8786``).
    memory : int, optional
        Bytes that each worker process may use. Default: of local ones, an equal share of the default of one process;
        of others, 75 % of the limit that they were started with. A local worker that goes far beyond is started anew.
    threads : int
        Of each local worker.
    """

    def __init__(self, address: str, *, memory: int | None = None, threads: int = 1) -> None:
        self.address = address
        self._cluster: Any = None
        kind, _, number = address.partition(":")
        if kind == "local":
            if not number.isdecimal() or not int(number):
                raise UsageError(f"{address!r} is no cluster", "give local:N or the address of a scheduler")
            memory = memory or default_memory() // int(number)
            # On a busy machine a worker takes longer to come back than the 15 s after which it would be given up.
            self._settings = contextlib.ExitStack()
            self._settings.enter_context(dask.config.set({"distributed.deploy.lost-worker-timeout": "10 minutes"}))
            self._cluster = distributed.LocalCluster(
                n_workers=int(number), threads_per_worker=threads, processes=True, dashboard_address=":0",
                memory_limit=2 * memory, silence_logs=50,
            )  # fmt: skip
            self._client = distributed.Client(self._cluster)
        else:
            try:
                self._client = distributed.Client(address, timeout=CONNECT_SECONDS)
            except (OSError, ValueError) as error:
                raise UsageError(f"{address}: there is no scheduler: {error}", "check --cluster") from error
        self.local = ThreadRunner(threads if self._cluster else None)
        self._memory = memory

    def _processes(self) -> list[dict[str, Any]]:
        return list(self._client.scheduler_info(n_workers=-1)["workers"].values())

    @property
    def workers(self) -> int:
        """Threads of all workers that the cluster has now."""
        return max(1, sum(int(process["nthreads"]) for process in self._processes()))

    @property
    def threads_each(self) -> int:
        """Most threads that any worker process has now."""
        return max((int(process["nthreads"]) for process in self._processes()), default=1)

    @property
    def memory_each(self) -> int | None:
        """Bytes that each worker process may use."""
        limits = [int(process.get("memory_limit") or 0) for process in self._processes()]
        return self._memory or int(SHARE_OF_LIMIT * min(filter(None, limits), default=0)) or None

    def begin(self, chain: Chain) -> Iterator[Any]:
        """Run the tasks of a chain."""
        processes = self._processes()
        threads = max((int(process["nthreads"]) for process in processes), default=1)
        # As many at one time in a process as its memory allows, be there more threads or not.
        slots = min(chain.ahead or threads, threads)
        blob = cloudpickle.dumps((slots, chain.functions))
        key = f"agd-{uuid.uuid4().hex}"
        # A plugin reaches the workers that come later, too: those that take the place of lost ones.
        self._client.register_plugin(_Functions(key, blob), name=key)
        window = max(1, len(processes)) * min(chain.ahead or 2 * threads, 2 * threads)
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
        finally:
            # What the functions hold (an index, say) goes from the memory of the workers.
            with contextlib.suppress(Exception):
                self._client.unregister_worker_plugin(key)

    def close(self) -> None:
        """Leave the cluster; one that was started here is stopped."""
        self.local.close()
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()
            self._settings.close()

    def __enter__(self) -> DaskRunner:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


#: In a worker: pickled functions of the maps, and those that are loaded, with the slots that they share.
_blobs: dict[str, bytes] = {}
_loaded: dict[str, tuple[threading.Semaphore, tuple[Callable[[Any], Any], ...]]] = {}
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
            slots, functions = cloudpickle.loads(_blobs[key])
            _loaded[key] = threading.Semaphore(slots), functions
        semaphore, functions = _loaded[key]
    with semaphore, sharing(lambda: 1):
        return apply(functions, item)
