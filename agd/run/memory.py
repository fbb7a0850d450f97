"""How much memory an operation may use, and how many chunks that allows in flight."""

from __future__ import annotations

import collections
import os

from agd import clib
from agd.batch import U8
from agd.errors import UsageError
from agd.kernels import memory as arrays
from agd.run.runner import Runner
from agd.units import format_size

#: Of the memory that this process could have, the share that it takes unless the user says otherwise.
DEFAULT_SHARE = 0.5

#: What the interpreter and the libraries need before any data are loaded, in bytes.
BASE = 96 << 20


def available_memory() -> int:
    """Bytes that this process may use: physical memory, or the limit of its cgroup if that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path) as file:
                text = file.read().strip()
        except OSError:
            continue
        if text.isdigit():
            total = min(total, int(text))
    return total


def default_memory() -> int:
    """Bytes that an operation may use unless the user says otherwise."""
    return int(available_memory() * DEFAULT_SHARE)


def items_in_flight(memory: int, item: int, workers: int, *, fixed: int = 0) -> int:
    """Items that may be in memory at one time.

    Parameters
    ----------
    memory : int
        The user's bound on the peak resident set, bytes.
    item : int
        Peak bytes of one item while it is worked on.
    workers : int
        Items worked on at one time; more than three for each is never of use.
    fixed : int
        Bytes that are needed whatever the number of items.

    Raises
    ------
    UsageError
        Not even one item fits; the error says what would.
    """
    room = (memory - BASE - fixed) // max(1, item)
    if room < 1:
        raise UsageError(
            f"{format_size(memory)} of memory are too little for this",
            f"give at least --memory {-(-(BASE + fixed + item) >> 20)}M",
        )
    return int(max(1, min(room, 3 * workers)))


def memory_of(runner: Runner, memory: int | None) -> int:
    """Bytes that each process at work may use: what the user says, or a fair share of what there is."""
    return memory or getattr(runner, "memory_each", None) or default_memory()


def in_flight(runner: Runner, memory: int | None, item: int, *, fixed: int = 0) -> int:
    """Items that may be in memory at one time in each process at work; see :func:`items_in_flight`."""
    threads: int = getattr(runner, "threads_each", runner.workers)
    return items_in_flight(memory_of(runner, memory), item, threads, fixed=fixed)


def release() -> None:
    """Give freed memory back to the system where the C library keeps it (glibc); a hint, without effect elsewhere.

    Threads that take turns with large arrays otherwise leave holes behind that add to the resident set.
    """
    arrays.release()
    clib.malloc_trim()


def give_back(runner: Runner) -> None:
    """Give the memory of large arrays that are gone back to the system, on all threads.

    From a process that ends the system takes it page by page on one processor, for which a sort in memory has to wait
    (a fiftieth of its time, measured). For threads of this process only.
    """

    def discard(block: U8) -> None:
        clib.discard(block.ctypes.data, len(block))

    collections.deque(runner.map(discard, arrays.release(), on="cpu"), maxlen=0)


def keep_freed() -> None:
    """Have the C library keep freed memory for what is allocated next (glibc); without effect elsewhere.

    Large arrays come and go all the time, and a seventh of the time of a sort is otherwise spent on handing pages back
    and clearing them again (measured). For programs, not for libraries, and not where memory is short. To be called
    before any threads are started.
    """
    # Columns that are in memory one after the other, as a whole, use the same memory; C allocates much between them.
    arrays.keep(min(1 << 30, available_memory() // 16))
    clib.mallopt(clib.MMAP_THRESHOLD, 1 << 30)
    clib.mallopt(clib.TRIM_THRESHOLD, (1 << 31) - 1)
    clib.mallopt(clib.ARENA_MAX, 1)
