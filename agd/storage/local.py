"""A folder on a local (or mounted) disk."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from agd.errors import ObjectExistsError, ObjectNotFoundError, StorageError
from agd.storage.base import temporary_name

#: Most bytes that are written to a file in one call. Linux keeps longer pieces in large pages, and a host that takes
#: back what its virtual machine has freed lets those be waited for: ten times as long as writing takes (measured).
WRITE_BYTES = 1 << 19


class LocalStorage:
    """A folder on a local (or mounted) disk. Publishing: write a temporary, fsync, link or rename."""

    exclusive = True

    def __init__(self, path: str, *, create: bool = False) -> None:
        self.url = path
        self._path = path
        if create:
            with _local_errors(path, "cannot make the folder"):
                os.makedirs(path, exist_ok=True)

    def __reduce__(self) -> tuple[object, ...]:
        return (LocalStorage, (self._path,))

    def _join(self, key: str) -> str:
        return os.path.join(self._path, key)

    def get(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """See :meth:`Storage.get`."""
        with _local_errors(self._join(key), "cannot be read"), open(self._join(key), "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            stop = size if stop is None else min(stop, size)
            parts = []
            while start < stop:
                part = os.pread(file.fileno(), stop - start, start)
                if not part:
                    break
                parts.append(part)
                start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def put(self, key: str, data: bytes | memoryview, *, exclusive: bool = False) -> None:
        """See :meth:`Storage.put`."""
        final = self._join(key)
        temporary = self._join(f"{temporary_name()}")
        with _local_errors(final, "cannot be written"):
            try:
                with open(temporary, "xb", buffering=0) as file:
                    view = memoryview(data).cast("B")
                    while len(view):
                        view = view[file.write(view[:WRITE_BYTES]) :]
                    os.fsync(file.fileno())
                if exclusive:
                    os.link(temporary, final)
                else:
                    os.replace(temporary, final)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)
        self._sync_folder()

    def _sync_folder(self) -> None:
        with contextlib.suppress(OSError):
            folder = os.open(self._path, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def size(self, key: str) -> int | None:
        """See :meth:`Storage.size`."""
        try:
            with _local_errors(self._join(key), "cannot be looked up"):
                return os.stat(self._join(key)).st_size
        except ObjectNotFoundError:
            return None

    def delete(self, key: str) -> None:
        """See :meth:`Storage.delete`."""
        with contextlib.suppress(ObjectNotFoundError), _local_errors(self._join(key), "cannot be removed"):
            os.unlink(self._join(key))

    def keys(self) -> Iterator[str]:
        """See :meth:`Storage.keys`."""
        names: list[str] = []
        with contextlib.suppress(ObjectNotFoundError), _local_errors(self._path, "cannot be listed"):
            with os.scandir(self._path) as entries:
                names = sorted(entry.name for entry in entries if entry.is_file())
        yield from names

    def inside(self, name: str, *, create: bool = False) -> LocalStorage:
        """See :meth:`Storage.inside`."""
        return LocalStorage(self._join(name), create=create)


@contextlib.contextmanager
def _local_errors(path: str, what: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ObjectNotFoundError(f"{path}: not found") from error
    except FileExistsError as error:
        raise ObjectExistsError(f"{path}: is there already") from error
    except OSError as error:
        remedy = {
            errno.ENOSPC: "free some space on the disk, then run the same command again",
            errno.EDQUOT: "free some of the quota, then run the same command again",
            errno.EACCES: "check the permissions of the folder",
            errno.EROFS: "the disk is read only; choose another place",
            errno.EPERM: "this file system may have no hard links, which publishing needs; choose another place",
            errno.EOPNOTSUPP: "this file system may have no hard links, which publishing needs; choose another place",
            errno.EFBIG: "the file system, or a limit of the shell (ulimit -f), does not allow files of this size",
            errno.EIO: "the disk or network mount failed; run the same command again",
        }.get(error.errno or 0, "")
        raise StorageError(f"{path}: {what}: {error.strerror or error}", remedy) from error
