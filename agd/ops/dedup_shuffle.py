"""Rows that are dealt out to partitions, in memory or in temporary files, so that each can be worked on by itself."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np

from agd import kernels
from agd.batch import I64
from agd.kernels.duplicates import Rows
from agd.ops.sort_files import writing

#: Partitions of every shuffle: enough that one of them is a small part of the whole, whatever the number of workers.
PARTITION_BITS = 6
PARTITIONS = 1 << PARTITION_BITS


class Shuffle:
    """Rows of one structured dtype in :data:`PARTITIONS` parts, chosen by the first eight bytes of each.

    Adding may be done from any thread; the order of the rows in a part is that of the calls.

    Parameters
    ----------
    dtype : numpy.dtype
    folder : str or None
        Where rows are kept; None: in memory.
    name : str
        First part of the names of the files.
    """

    def __init__(self, dtype: np.dtype[Any], folder: str | None, name: str) -> None:
        self.dtype = dtype
        self.rows = 0
        self.spilled = 0
        self._folder, self._name = folder, name
        self._blocks: list[tuple[Rows, I64]] = []  # rows in order of their parts, and where each part begins
        self._lock = threading.Lock()

    def add(self, rows: Rows) -> None:
        """Deal rows out."""
        if not len(rows):
            return
        dealt, bounds = np.empty(len(rows), self.dtype), np.empty(PARTITIONS + 1, np.int64)
        kernels.deal_rows(rows.view(np.uint8), self.dtype.itemsize, PARTITION_BITS, dealt.view(np.uint8), bounds)
        with self._lock:
            self.rows += len(rows)
            if self._folder is None:
                self._blocks.append((dealt, bounds))
            else:
                self._write(dealt, bounds)

    def _write(self, dealt: Rows, bounds: I64) -> None:
        for number in range(PARTITIONS):
            piece = dealt[bounds[number] : bounds[number + 1]]
            if not len(piece):
                continue
            path = self._path(number)
            # Not by numpy's tofile, which does not notice when the disk is full as the file is closed.
            with writing(path), open(path, "ab") as file:
                file.write(piece.view(np.uint8).data)
            self.spilled += piece.nbytes

    def _path(self, number: int) -> str:
        assert self._folder is not None
        return os.path.join(self._folder, f"{self._name}-{number:02d}")

    def take(self, number: int, *, keep: bool = False) -> Rows:
        """All rows of a part; of temporary files it is removed unless ``keep``."""
        if self._folder is None:
            # Of bytes, for joining rows field by field would take longer than all else.
            pieces = [dealt[bounds[number] : bounds[number + 1]].view(np.uint8) for dealt, bounds in self._blocks]
            return np.concatenate([np.empty(0, np.uint8), *pieces]).view(self.dtype)
        path = self._path(number)
        if not os.path.exists(path):
            return np.empty(0, self.dtype)
        rows = np.fromfile(path, self.dtype)
        if not keep:
            os.unlink(path)
        return rows

    def clear(self) -> None:
        """Forget the rows that are in memory."""
        self._blocks = []
