"""Large arrays whose memory is used again."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from typing import Any

import numpy as np

from agd.batch import U8

#: Arrays of fewer bytes come from numpy; no more bytes than this are kept for what is asked for next.
SMALLEST, KEPT = 1 << 18, 1 << 26


class Pool:
    """Memory of large arrays that are gone, for those that come next.

    Fresh memory has to be cleared by the system: for columns that come and go that takes a third as long as to decode
    them. An array gives its memory back when it and all views of it are gone.
    """

    def __init__(self, smallest: int = SMALLEST, kept: int = KEPT) -> None:
        self._smallest, self._most = smallest, kept
        self._free: list[U8] = []
        self._kept = 0
        self._lent: dict[int, Any] = {}
        self._back: deque[U8] = deque()
        self._lock = threading.Lock()

    def empty(self, size: int) -> U8:
        """Array of bytes that are whatever they are, as ``numpy.empty`` gives them."""
        if size < self._smallest:
            return np.empty(size, np.uint8)
        block = self._take(size)
        # Views of an array name as their base the first that owns no memory: this one, never the block.
        array = np.frombuffer(block.data, np.uint8, size)
        key = id(array)
        self._lent[key] = weakref.ref(array, lambda _: self._give(key, block))
        return array

    def _take(self, size: int) -> U8:
        with self._lock:
            fitting = [i for i, block in enumerate(self._free) if size <= len(block) <= 2 * size]
            found = self._free.pop(min(fitting, key=lambda i: len(self._free[i]))) if fitting else None
            self._kept -= 0 if found is None else len(found)
        self._settle()
        # A little more than is asked for: the next one may need it.
        return np.empty(size + size // 16, np.uint8) if found is None else found

    def _give(self, key: int, block: U8) -> None:
        """Runs wherever an array goes, in the middle of anything: maybe in the thread that holds the lock."""
        self._lent.pop(key, None)
        self._back.append(block)
        self._settle()

    def _settle(self) -> None:
        """Keep the blocks that came back; while the lock is held they wait for its holder, who settles afterwards."""
        while self._back and self._lock.acquire(blocking=False):
            try:
                while self._back:
                    block = self._back.popleft()
                    self._free.append(block)
                    self._kept += len(block)
                while self._kept > self._most:
                    self._kept -= len(self._free.pop(0))
            finally:
                self._lock.release()

    def keep(self, most: int) -> None:
        """Keep as many bytes at most."""
        self._most = most

    def clear(self) -> list[U8]:
        """Keep nothing; the blocks that were kept."""
        self._settle()
        with self._lock:
            blocks, self._free = self._free, []
            self._kept = 0
        self._settle()
        return blocks


_pool = Pool()


def empty(size: int) -> U8:
    """Array of ``size`` bytes that are whatever they are, for a column of a chunk."""
    return _pool.empty(size)


def keep(most: int) -> None:
    """Keep as many bytes at most."""
    _pool.keep(most)


def release() -> list[U8]:
    """Keep nothing any more; the blocks that were kept, which go back to the C library when they are gone."""
    return _pool.clear()
