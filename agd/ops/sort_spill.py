"""A folder for the runs of an external sort, removed on every way out."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator

from agd.errors import StorageError

PREFIX = ".agd-sort-"
_LOCK = "lock"


def default_folder(url: str) -> str:
    """Where runs are kept: beside a local output, in the system's folder for temporary files otherwise ("-", too)."""
    if "://" in url or url == "-":
        return tempfile.gettempdir()
    return os.path.dirname(os.path.abspath(url.rstrip("/")))


@contextlib.contextmanager
def spill_folder(parent: str) -> Iterator[str]:
    """A new folder in ``parent``; it, and those that dead processes have left, are removed.

    A process keeps a lock on a file in its folder for as long as it lives, so what is not locked is left over.

    Raises
    ------
    StorageError
        The folder cannot be made.
    """
    remove_stale(parent)
    try:
        os.makedirs(parent, exist_ok=True)
        folder = tempfile.mkdtemp(prefix=PREFIX, dir=parent)
        lock = open(os.path.join(folder, _LOCK), "w")  # noqa: SIM115
    except OSError as error:
        raise StorageError(
            f"{parent}: a folder for temporary files cannot be made: {error.strerror}", "choose another one"
        ) from error
    try:
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_stale(parent: str) -> None:
    """Remove folders of runs whose process is gone. Never raises."""
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if not entry.name.startswith(PREFIX):
                continue
            with contextlib.suppress(OSError), open(os.path.join(entry.path, _LOCK), "r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(entry.path, ignore_errors=True)
