"""What many workers bring: ``python -m benchmarks.scale_out``.

A verb (``agd recompress --profile small``) runs in this process, then on local Dask workers. Workers that sleep for as
long as its chunks took show what the runner and the scheduler cost with more workers than this machine has processors.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import distributed

import agd
from agd.run import Runner, SerialRunner
from agd.run.dask import DaskRunner
from agd.testing import content_digest


class TimedRunner(SerialRunner):
    """A serial runner that notes what the stages of each item take.

    Attributes
    ----------
    chains : list of list of float
        For each chain of maps, the seconds of each item through all of its stages.
    """

    def __init__(self) -> None:
        super().__init__()
        self.chains: list[list[float]] = []

    def map(self, fn: Callable[[Any], Any], items: Iterable[Any], **_: Any) -> Iterator[Any]:
        """See :meth:`agd.run.runner.Runner.map`."""
        if not isinstance(items, _Stage):
            self.chains.append([])
        return _Stage(fn, items, items.seconds if isinstance(items, _Stage) else self.chains[-1])


class _Stage(Iterator[Any]):
    def __init__(self, fn: Callable[[Any], Any], items: Iterable[Any], seconds: list[float]) -> None:
        self.fn, self.items, self.seconds, self.done = fn, iter(items), seconds, 0

    def __next__(self) -> Any:
        item = next(self.items)
        begun = time.perf_counter()
        result = self.fn(item)
        self.seconds += [0.0] * (self.done + 1 - len(self.seconds))
        self.seconds[self.done] += time.perf_counter() - begun
        self.done += 1
        return result


def verb(source: Path, folder: Path, runner: Runner) -> tuple[float, str]:
    """Wall seconds of the verb on a copy of a dataset, and the digest of what it gives."""
    copy = folder / "copy.agd"
    shutil.copytree(source, copy)
    try:
        begun = time.perf_counter()
        agd.recompress(agd.open(str(copy)), profile="small", runner=runner)
        return time.perf_counter() - begun, content_digest(agd.open(str(copy)))
    finally:
        shutil.rmtree(copy)


def real(pairs: int, chunk_records: int) -> list[float]:
    """Run the verb serially and on one and two workers; print its figures, return the seconds of its chunks."""
    with tempfile.TemporaryDirectory(prefix="agd-scale-") as name:
        folder = Path(name)
        reads = [str(folder / f"R{i}.fq") for i in (1, 2)]
        agd.simulate(*reads, pairs=pairs, seed=1)
        agd.import_fastq(*reads, output=str(folder / "s.agd"), chunk_records=chunk_records)
        timed = TimedRunner()
        serial, expected = verb(folder / "s.agd", folder, timed)
        costs = [seconds for chain in timed.chains for seconds in chain]
        tell(workers="none", wall=serial, items=len(costs), mean=sum(costs) / len(costs), largest=max(costs))
        walls = [serial]
        for workers in (1, 2):
            with DaskRunner(f"local:{workers}") as runner:
                list(runner.map(pause, [0.0] * 2 * workers))
                wall, digest = verb(folder / "s.agd", folder, runner)
            assert digest == expected
            walls.append(wall)
            tell(workers=workers, wall=wall, efficiency=walls[1] / wall / workers)
    print(table(walls), flush=True)
    return costs


def table(walls: list[float]) -> str:
    """Wall seconds of one process, and of one and more workers, as Markdown."""
    heads = ["serial", *(f"{n} worker{'s' if n > 1 else ''}" for n in range(1, len(walls)))]
    rows = [
        ["agd recompress --profile small", *heads], ["---"] * (len(walls) + 1),
        ["seconds", *(f"{wall:.1f}" for wall in walls)],
        ["times as fast as serial", *(f"{walls[0] / wall:.2f}" for wall in walls)],
    ]  # fmt: skip
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def pause(seconds: float) -> float:
    """Stands for a chunk."""
    time.sleep(seconds)
    return seconds


def sleeping(threads: int, costs: list[float], chunks: int) -> None:
    """Efficiency of ``threads`` sleeping workers, in processes of 16 at most, and the cost of a chunk of no length."""
    processes = -(-threads // 16)
    items = list(itertools.islice(itertools.cycle(costs), chunks * threads))
    with distributed.LocalCluster(
        n_workers=processes, threads_per_worker=threads // processes, dashboard_address=":0", silence_logs=50
    ) as cluster, DaskRunner(cluster.scheduler_address) as runner:
        list(runner.map(pause, [0.0] * 2 * threads))
        begun = time.perf_counter()
        empty = sum(1 for _ in runner.map(pause, [0.0] * 500))
        overhead = (time.perf_counter() - begun) / empty
        begun = time.perf_counter()
        done = sum(1 for _ in runner.map(pause, items, ordered=False))
        wall = time.perf_counter() - begun
    assert done == len(items)
    tell(sleeping=threads, items=done, wall=wall, efficiency=sum(items) / wall / threads, overhead_ms=1000 * overhead)


def tell(**figures: Any) -> None:
    """Print a line of JSON."""
    print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in figures.items()}), flush=True)


def main() -> int:
    """Print one line of JSON for each number of workers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100_000, help="that the verb works on")
    parser.add_argument("--chunk-records", type=int, default=10_000)
    parser.add_argument("--chunks", type=int, default=8, help="for each sleeping worker")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32], help="that sleep")
    chosen = parser.parse_args()
    costs = real(chosen.pairs, chosen.chunk_records)
    for workers in chosen.workers:
        sleeping(workers, costs, chosen.chunks)
    return 0


if __name__ == "__main__":
    sys.exit(main())
