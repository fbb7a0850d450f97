"""How kernels are measured, and the line that is printed of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Measure:
    """Runs a function many times on one thread, and notes how much the best run handles in a second.

    Attributes
    ----------
    benchmark : fixture of pytest-benchmark
    """

    benchmark: Any

    def __call__(
        self, of: str, size: int, function: Callable[[], Any], *, records: int = 0,
        before: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        """Measure a function.

        Parameters
        ----------
        of : str
            Which bytes are counted: what the kernel is about, not all that it touches.
        size : int
            How many of them one run handles.
        function : callable
            Calls the kernel, on arrays that are there already.
        records : int
            How many records one run handles, where the kernel is about records.
        before : callable, optional
            What is done before each run, and not measured.
        """
        self.benchmark.pedantic(function, setup=before, rounds=15, warmup_rounds=2)
        info = self.benchmark.extra_info
        info |= {"of": of, "bytes": int(size)}
        if self.benchmark.stats:
            seconds = self.benchmark.stats.stats.min
            info["gigabytes_per_second"] = round(size / seconds / 1e9, 2)
            if records:
                info["million_records_per_second"] = round(records / seconds / 1e6, 2)


def table(benchmarks: list[Any]) -> list[str]:
    """One line a benchmark: GB/s and of which bytes, and records a second; those of memcpy first."""
    lines = []
    for bench in sorted(benchmarks, key=lambda b: ("memcpy" not in b.name, b.fullname.partition("::")[0])):
        info = bench.extra_info
        if "gigabytes_per_second" in info:
            records = info.get("million_records_per_second")
            rate = f"{records:9.2f} million records/s" if records else ""
            name = bench.fullname.rpartition("/")[2]
            lines.append(f"{info['gigabytes_per_second']:9.2f} GB/s of {info['of']:10}{rate:28} {name}")
    return lines
