"""Rows that are dealt out to partitions, in memory or in temporary files, so that each can be worked on by itself."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agd.batch import U64
from agd.errors import StorageError

#: Partitions of every shuffle: enough that one of them is a small part of the whole, whatever the number of workers.
PARTITIONS = 64

Rows = NDArray[np.void]


class Shuffle:
    """Rows of one structured dtype in :data:`PARTITIONS` parts, chosen by a hash.

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
        self._parts: list[list[Rows]] = [[] for _ in range(PARTITIONS)]
        self._lock = threading.Lock()

    def add(self, rows: Rows, hashes: U64) -> None:
        """Deal rows out by the highest bits of their hashes."""
        if not len(rows):
            return
        part = (hashes >> np.uint64(58)).astype(np.uint8)
        order = np.argsort(part, kind="stable")
        bounds = np.searchsorted(part[order], np.arange(PARTITIONS + 1))
        ordered = rows[order]
        with self._lock:
            self.rows += len(rows)
            for number in range(PARTITIONS):
                piece = ordered[bounds[number] : bounds[number + 1]]
                if len(piece):
                    self._keep(number, piece)

    def _keep(self, number: int, piece: Rows) -> None:
        if self._folder is None:
            self._parts[number].append(piece.copy())
            return
        path = self._path(number)
        try:
            with open(path, "ab") as file:
                piece.tofile(file)
        except OSError as error:
            raise StorageError(f"{path}: cannot be written: {error.strerror}", "choose another --tmp") from error
        self.spilled += piece.nbytes

    def _path(self, number: int) -> str:
        assert self._folder is not None
        return os.path.join(self._folder, f"{self._name}-{number:02d}")

    def take(self, number: int, *, keep: bool = False) -> Rows:
        """All rows of a part; they are forgotten unless ``keep``."""
        if self._folder is None:
            pieces = self._parts[number]
            rows = np.concatenate(pieces) if pieces else np.empty(0, self.dtype)
            self._parts[number] = [rows] if keep else []
            return rows
        path = self._path(number)
        if not os.path.exists(path):
            return np.empty(0, self.dtype)
        rows = np.fromfile(path, self.dtype)
        if not keep:
            os.unlink(path)
        return rows
