"""Where a sorted run is kept: a file in a local folder, or, for workers elsewhere, an object of the output's store."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Iterator
from typing import IO, NamedTuple, TypeAlias

from agd.errors import StorageError
from agd.storage import TEMPORARY_PREFIX, Storage, temporary_name


class StoredFile(NamedTuple):
    """A temporary object."""

    storage: Storage
    key: str

    def __str__(self) -> str:
        return f"{self.storage.url}/{self.key}"


#: Path of a local file, or an object.
Place: TypeAlias = str | StoredFile


def place(folder: Place, name: str) -> Place:
    """A file of a folder."""
    if isinstance(folder, StoredFile):
        return StoredFile(folder.storage, f"{folder.key}-{name}")
    return os.path.join(folder, name)


def read_range(file: Place, start: int, stop: int) -> bytes:
    """Bytes ``start`` to ``stop`` (half-open), fewer at the end."""
    if isinstance(file, StoredFile):
        return file.storage.get(file.key, start, stop)
    with open(file, "rb", buffering=0) as opened:
        return os.pread(opened.fileno(), stop - start, start)


@contextlib.contextmanager
def writing(file: Place) -> Iterator[None]:
    """StorageError, with the name of the temporary file, in place of what the system says of a write."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "free some space, or choose another folder for temporary files" if full else ""
        reason = error.strerror or error
        raise StorageError(f"{file}: a temporary file cannot be written: {reason}", remedy) from error


def begin_file(file: Place) -> IO[bytes]:
    """A new file to write to; what goes to a store is kept in memory until :func:`end_file`."""
    if isinstance(file, StoredFile):
        return io.BytesIO()
    with writing(file):
        return open(file, "xb", buffering=1 << 20)


def end_file(file: Place, opened: IO[bytes]) -> None:
    """Close a file that was written. Done again, by another worker, it takes the place of what was there."""
    if isinstance(file, StoredFile):
        assert isinstance(opened, io.BytesIO)
        # No view of it: one that a frame still holds (of Dask's profiler, say) would keep it from being closed.
        file.storage.put(file.key, opened.getvalue())
    with writing(file):
        opened.close()


def remove_file(file: Place) -> None:
    """Remove a file, or what there is of it."""
    if isinstance(file, StoredFile):
        file.storage.delete(file.key)
        return
    with contextlib.suppress(FileNotFoundError):
        os.unlink(file)


@contextlib.contextmanager
def stored_folder(storage: Storage) -> Iterator[StoredFile]:
    """Temporary objects of one process; they are removed at the end, those of a dead process by ``agd gc``."""
    folder = StoredFile(storage, temporary_name())
    assert folder.key.startswith(TEMPORARY_PREFIX)
    try:
        yield folder
    finally:
        with contextlib.suppress(Exception):
            for key in [key for key in list(storage.keys()) if key.startswith(folder.key)]:
                storage.delete(key)
