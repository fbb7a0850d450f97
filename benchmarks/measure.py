"""Run a command to its end and account for it: time, peak memory, bytes."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a command.

    Attributes
    ----------
    wall, cpu : float
        Seconds; ``cpu`` is user and system time of the process and all that it waited for.
    memory : int
        Peak resident set of the largest single process, bytes.
    read, written : int
        Bytes that the first process read and wrote through system calls, files and pipes alike.
    """

    wall: float
    cpu: float
    memory: int
    read: int
    written: int


class CommandFailedError(Exception):
    """A benchmarked command did not succeed."""


def run(command: Sequence[str], folder: Path) -> Run:
    """Run a command in a folder; what it prints goes to ``log`` there.

    Raises
    ------
    CommandFailedError
        Its exit code was not 0.
    """
    with open(folder / "log", "wb") as log:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        wall = time.perf_counter() - start
        # The process is over but not reaped yet: its accounts can still be read.
        counts = _io(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = (folder / "log").read_text(errors="replace")[-2000:]
        raise CommandFailedError(f"{' '.join(command)}: exit code {process.returncode}\n{tail}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, *counts)


def _io(pid: int) -> tuple[int, int]:
    try:
        fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    except OSError:
        return 0, 0
    return int(fields["rchar"]), int(fields["wchar"])


def median(runs: Sequence[Run]) -> Run:
    """Median of each figure on its own."""
    def middle(name: str) -> float:
        return statistics.median(getattr(run, name) for run in runs)

    return Run(middle("wall"), middle("cpu"), int(middle("memory")), int(middle("read")), int(middle("written")))
