"""What many workers bring: ``python -m benchmarks.scale_out``.

Workers that sleep for as long as a chunk takes show what the runner and the scheduler cost, whatever this machine's
processors; ``--seconds`` is the cost of a chunk (measure one: ``agd align --json``, seconds times threads by chunks).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from functools import partial

import distributed

from agd.run.dask import DaskRunner


def pause(seconds: float, item: int) -> int:
    """Stands for a chunk."""
    time.sleep(seconds)
    return item


def measure(threads: int, seconds: float, chunks: int) -> dict[str, float]:
    """Efficiency of ``threads`` sleeping workers, in processes of 16 at most."""
    processes = -(-threads // 16)
    with distributed.LocalCluster(
        n_workers=processes, threads_per_worker=threads // processes, dashboard_address=":0", silence_logs=50
    ) as cluster, DaskRunner(cluster.scheduler_address) as runner:
        list(runner.map(partial(pause, 0.0), range(2 * threads)))
        begun = time.perf_counter()
        empty = sum(1 for _ in runner.map(partial(pause, 0.0), range(500)))
        cost = (time.perf_counter() - begun) / empty
        begun = time.perf_counter()
        done = list(runner.map(partial(pause, seconds), range(chunks * threads), ordered=False))
        wall = time.perf_counter() - begun
    assert sorted(done) == list(range(chunks * threads))
    return {"workers": threads, "seconds a chunk": seconds, "chunks": len(done), "wall seconds": round(wall, 3),
            "efficiency": round(chunks * seconds / wall, 3), "overhead ms a chunk": round(1000 * cost, 2)}  # fmt: skip


def main() -> int:
    """Print one line of JSON for each number of workers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.5, help="cost of a chunk")
    parser.add_argument("--chunks", type=int, default=8, help="for each worker")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    chosen = parser.parse_args()
    for workers in chosen.workers:
        print(json.dumps(measure(workers, chosen.seconds, chosen.chunks)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
