"""Folders for temporary files: removed on every way out, and by the next process if that of the folder was killed.

Beside a folder lies a file on which its process keeps a lock for as long as it lives. The file is made before the
folder and removed after it, so a folder without such a file, or with one that nobody holds, is left over.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator

from agd.errors import StorageError

_LOCK = ".lock"


@contextlib.contextmanager
def scratch_folder(parent: str, prefix: str) -> Iterator[str]:
    """A new folder in ``parent``; it, and those of this prefix that dead processes have left, are removed.

    Parameters
    ----------
    parent : str
        Made if it is not there.
    prefix : str
        First part of the folder's name, such as ``.agd-sort-``.

    Raises
    ------
    StorageError
        The folder cannot be made.
    """
    remove_stale(parent, prefix)
    try:
        os.makedirs(parent, exist_ok=True)
        folder, lock = _make(parent, prefix)
    except OSError as error:
        raise StorageError(
            f"{parent}: a folder for temporary files cannot be made: {error.strerror}", "choose another one"
        ) from error
    try:
        yield folder
    finally:
        _remove(folder)
        os.close(lock)


def _make(parent: str, prefix: str) -> tuple[str, int]:
    """A folder, and the open file whose lock says that it is in use."""
    while True:
        folder = os.path.join(parent, f"{prefix}{uuid.uuid4().hex[:12]}")
        lock = os.open(folder + _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with contextlib.suppress(OSError):  # no locks on this file system: nobody else gets one, and removes it
                fcntl.flock(lock, fcntl.LOCK_EX)
            if os.fstat(lock).st_nlink:
                os.mkdir(folder, 0o700)
                return folder, lock
        except BaseException:
            _remove(folder)
            os.close(lock)
            raise
        os.close(lock)  # between opening and locking, another process has held it for left over


def remove_stale(parent: str, prefix: str) -> None:
    """Remove folders of processes that are gone. Never raises."""
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for path in [entry.path for entry in entries if entry.name.startswith(prefix)]:
            if not path.endswith(_LOCK):
                if not os.path.exists(path + _LOCK):
                    shutil.rmtree(path, ignore_errors=True)
                continue
            with contextlib.suppress(OSError), open(path, "r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path.removesuffix(_LOCK))


def _remove(folder: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if not os.path.lexists(folder):
        with contextlib.suppress(OSError):
            os.unlink(folder + _LOCK)
