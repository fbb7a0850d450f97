"""What workers hand to the process that began a step. Between threads arrays go as they are; from other processes and
machines through the store, for nothing that grows with the data may pass a scheduler.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agd.batch import I64
from agd.run import Runner, local_runner
from agd.storage import Storage, temporary_name

Arrays: TypeAlias = Mapping[str, NDArray[Any]]


def pack(arrays: Arrays) -> memoryview:
    """Arrays as one object: an .npz file, whose members have CRCs."""
    buffer = io.BytesIO()
    np.savez(buffer, **{name: np.ascontiguousarray(array) for name, array in arrays.items()})  # type: ignore[arg-type]
    return buffer.getbuffer()


def unpack(data: bytes) -> Arrays:
    """The arrays of :func:`pack`; ValueError if the object is damaged."""
    import zipfile  # as numpy does when it has to: few commands read arrays, and all of them start sooner

    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (zipfile.BadZipFile, EOFError, KeyError, OSError) as error:
        raise ValueError(f"the arrays are damaged: {error}") from error


@dataclass(frozen=True, slots=True)
class Handover:
    """Carries arrays from :meth:`give`, in a worker, to :meth:`take`, in the process that began the step.

    Attributes
    ----------
    storage : Storage
        Where they are in between, as temporary objects; those of a dead process are removed by ``agd gc``.
    name : str
        First part of the keys; "" if workers are threads of this process.
    """

    storage: Storage
    name: str

    @staticmethod
    def of(runner: Runner, storage: Storage) -> Handover:
        """For the workers of a runner."""
        return Handover(storage, "" if local_runner(runner) is runner else temporary_name())

    def give(self, number: int, arrays: Arrays) -> Arrays | str:
        """Put the arrays of item ``number`` down; done again (a worker was lost) it takes the place of what was there.

        Returns
        -------
        What :meth:`take` takes; small if it leaves the process.
        """
        if not self.name:
            return arrays
        key = f"{self.name}-{number:012d}"
        self.storage.put(key, pack(arrays))
        return key

    def take(self, given: Arrays | str) -> Arrays:
        """The arrays; what was in the store is removed."""
        if not isinstance(given, str):
            return given
        arrays = unpack(self.storage.get(given))
        self.storage.delete(given)
        return arrays


def sparse(counts: I64) -> tuple[I64, I64]:
    """The counts that are not 0: indices into the flat array, and values."""
    index = np.flatnonzero(counts)
    return index, counts.reshape(-1)[index]


def add_sparse(total: I64, counts: tuple[I64, I64]) -> None:
    """Add what :func:`sparse` gave."""
    index, values = counts
    total.reshape(-1)[index] += values
