"""How much memory an operation may use, and how many chunks that allows in flight."""

from __future__ import annotations

import ctypes
import functools
import os
import re
from collections.abc import Callable
from typing import cast

from agd.errors import UsageError

#: Of the memory that this process could have, the share that it takes unless the user says otherwise.
DEFAULT_SHARE = 0.5

#: What the interpreter and the libraries need before any data are loaded, in bytes.
BASE = 96 << 20

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_size(text: str) -> int:
    """Bytes of a size such as ``512M``, ``4G``, ``1.5GiB``.

    Raises
    ------
    UsageError
        It is no size.
    """
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(?:([KMGT])(?:i?B)?|B)?\s*", text, re.IGNORECASE)
    if not match:
        raise UsageError(f"{text!r} is not a size", "give one such as 512M or 4G")
    return int(float(match[1]) * _UNITS[(match[2] or "").upper()])


def format_size(size: float) -> str:
    """A size for people: three digits and a binary unit."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if round(size) < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.3g} {unit}" if size < 99.95 and unit != "B" else f"{size:.0f} {unit}"


def available_memory() -> int:
    """Bytes that this process may use: physical memory, or the limit of its cgroup if that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = open(path).read().strip()  # noqa: SIM115
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


def release() -> None:
    """Give freed memory back to the system where the C library keeps it (glibc); a hint, without effect elsewhere.

    Threads that take turns with large arrays otherwise leave holes behind that add to the resident set.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        function = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
    function.argtypes, function.restype = [ctypes.c_size_t], ctypes.c_int
    return cast("Callable[[int], int]", function)
