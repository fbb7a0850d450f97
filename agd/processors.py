"""Processors that this process may use, and how many of them fall to what runs in the current thread."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator

_here = threading.local()


def available_cpus() -> int:
    """Processors that this process may use (affinity and cgroup quota), at least 1."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = open("/sys/fs/cgroup/cpu.max").read().split()  # noqa: SIM115
        if quota != "max":
            cpus = min(cpus, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):
        pass
    return max(1, cpus)


def threads_here() -> int:
    """Threads that what runs in the current thread may use for itself, at least 1."""
    share: Callable[[], int] = getattr(_here, "share", available_cpus)
    return max(1, share())


@contextlib.contextmanager
def sharing(share: Callable[[], int]) -> Iterator[None]:
    """Within it, the current thread is one of several at work.

    Parameters
    ----------
    share : callable
        Gives the processors that are its own whenever :func:`threads_here` is asked for.
    """
    before = getattr(_here, "share", available_cpus)
    _here.share = share
    try:
        yield
    finally:
        _here.share = before
