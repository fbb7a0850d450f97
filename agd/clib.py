"""Functions of the C library that Python does not have; where the library lacks one too, nothing happens."""

from __future__ import annotations

import ctypes
import functools
import mmap
from collections.abc import Callable
from typing import Any

#: Parameters of :func:`mallopt` (glibc, malloc.h).
TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8

_INT, _SIZE, _OFFSET = ctypes.c_int, ctypes.c_size_t, ctypes.c_int64
_SYNC_FILE_RANGE_WRITE = 2


@functools.cache
def _function(name: str, *arguments: Any) -> Callable[..., int]:
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError, TypeError):
        return lambda *_: 0
    function.argtypes, function.restype = arguments, _INT
    found: Callable[..., int] = function
    return found


def malloc_trim() -> None:
    """Give memory that was freed back to the system (glibc)."""
    _function("malloc_trim", _SIZE)(0)


def mallopt(parameter: int, value: int) -> None:
    """Set a parameter of the allocator (glibc)."""
    _function("mallopt", _INT, _INT)(parameter, value)


def discard(start: int, size: int) -> None:
    """Give whole pages of memory back to the system, whatever they hold; when used again they are empty (Linux).

    Parameters
    ----------
    start, size : int
        Address and number of bytes; pages that lie in them only in part stay.
    """
    low, high = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE, (start + size) // mmap.PAGESIZE * mmap.PAGESIZE
    if low < high and hasattr(mmap, "MADV_DONTNEED"):
        _function("madvise", ctypes.c_void_p, _SIZE, _INT)(low, high - low, mmap.MADV_DONTNEED)


def begin_writeback(descriptor: int, start: int, size: int) -> None:
    """Have the system begin to write a part of a file to its disk; does not wait for it, and keeps no promise (Linux).

    Parameters
    ----------
    descriptor : int
        Of the open file.
    start, size : int
        0-based offset and number of bytes.
    """
    _function("sync_file_range", _INT, _OFFSET, _OFFSET, ctypes.c_uint)(descriptor, start, size, _SYNC_FILE_RANGE_WRITE)
