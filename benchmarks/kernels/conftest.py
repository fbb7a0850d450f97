"""Prints the throughput of each kernel after the run."""

from __future__ import annotations

from typing import Any


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    """One line a benchmark: GB/s and of which bytes, or records a second."""
    session = getattr(config, "_benchmarksession", None)
    for bench in getattr(session, "benchmarks", ()):
        rate = bench.extra_info.get("gigabytes_per_second")
        records = bench.extra_info.get("million_records_per_second")
        if rate is not None:
            terminalreporter.write_line(f"{rate:9.2f} GB/s of {bench.extra_info['of']:8} {bench.name}")
        elif records is not None:
            terminalreporter.write_line(f"{records:9.2f} million records/s {bench.name}")
