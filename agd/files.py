"""Whole files at any url, read front to back: a :class:`Source` gives the bytes of a file as they are stored."""

from __future__ import annotations

import contextlib
import io
import os
import select
import stat
import sys
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from agd.errors import InputError, InputUnreachableError
from agd.run import Runner, SerialRunner
from agd.storage import Client, Info, Retry, explain, filesystem_of, local_path, open_client
from agd.storage.options import check_local_options, check_url

T = TypeVar("T")

#: Bytes of one request to a remote store.
REQUEST_BYTES = 8 * 1024 * 1024

#: Requests to a remote store that are under way at one time for one file.
REQUESTS_AHEAD = 4


class Source(Protocol):
    """Bytes of a file, front to back."""

    #: The url or path, for messages.
    name: str
    #: Bytes in all, None if that is not known (pipes).
    size: int | None

    def read(self, size: int) -> bytes:
        """The next bytes, at most ``size``, fewer at will; ``b""`` at the end only. InputError if reading fails."""
        ...

    def cancel(self) -> None:
        """Make a ``read`` that waits in another thread return ``b""``."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


def open_source(url: str | os.PathLike[str], runner: Runner | None = None, **options: Any) -> Source:
    """Open a file for reading.

    Parameters
    ----------
    url : str or path
        A path, any url that fsspec understands, or ``-`` for standard input.
    runner : Runner, optional
        Reads a remote file in several requests at a time.
    **options
        For fsspec: credentials, ``endpoint_url``, ….

    Raises
    ------
    InputError
        There is no such file, or it may not be read; InputUnreachableError where the store does not give it.
    UsageError
        The url cannot be understood.
    """
    url = os.fspath(url)
    if url == "-":
        return _open_stdin()
    check_url(url)
    here = local_path(url)
    if here is not None:
        check_local_options(url, options)
        with _input_errors(url):
            return _open_local(here)
    client, path = open_client(url, **options)
    info = _request(url, lambda: client.info(path))
    if info.size is not None and info.ranges:
        return _RangeSource(url, client, path, info, runner or SerialRunner())
    # A server that knows no ranges: one long answer.
    filesystem, path = filesystem_of(url, **options)
    return _FileSource(url, _request(url, lambda: filesystem.open(path, "rb", block_size=REQUEST_BYTES)), info.size)


def describe_remote(url: str, **options: Any) -> Info:
    """Size and version of a file at a url.

    Raises
    ------
    InputError
        There is no such file; InputUnreachableError where the store does not tell.
    """
    client, path = open_client(url, **options)
    return _request(url, lambda: client.info(path))


def _request(name: str, request: Callable[[], T], offset: int = -1) -> T:
    """The answer to a request about a remote input; tried again where that may help."""
    try:
        return Retry()(request)
    except InputError:
        raise
    except FileNotFoundError as error:
        reason, remedy = explain(error)
        if "bucket" not in reason:
            reason, remedy = "there is no such file", "check the path or url"
        raise InputError(name, reason, remedy=remedy) from error
    except Exception as error:
        reason, remedy = explain(error)
        raise InputUnreachableError(name, f"cannot be read: {reason}", offset=offset, remedy=remedy) from error


@contextlib.contextmanager
def _input_errors(name: str, offset: int = -1) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(name, "there is no such file", remedy="check the path or url") from error
    except IsADirectoryError as error:
        raise InputError(name, "is a folder, not a file", remedy="give the files in it") from error
    except PermissionError as error:
        raise InputError(name, "may not be read", remedy="check the permissions or credentials") from error
    except OSError as error:
        raise InputUnreachableError(
            name, f"reading failed: {error}", offset=offset, remedy="check the disk or the connection, then run again"
        ) from error


def _open_local(path: str) -> Source:
    file = open(path, "rb", buffering=0)  # noqa: SIM115
    status = os.fstat(file.fileno())
    if stat.S_ISREG(status.st_mode):
        with contextlib.suppress(AttributeError, OSError):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        return _FileSource(path, file, status.st_size)
    return _PipeSource(path, file)


def _open_stdin() -> Source:
    stream = getattr(sys.stdin, "buffer", sys.stdin)
    try:
        number = stream.fileno()
    except (OSError, AttributeError, io.UnsupportedOperation):
        return _FileSource("standard input", stream, None)
    return _PipeSource("standard input", os.fdopen(os.dup(number), "rb", buffering=0))


class _FileSource:
    """An open file object."""

    def __init__(self, name: str, file: Any, size: int | None) -> None:
        self.name = name
        self.size = size
        self._file = file
        self._offset = 0

    def read(self, size: int) -> bytes:
        with _input_errors(self.name, self._offset):
            data: bytes = self._file.read(size)
        self._offset += len(data)
        return data

    def cancel(self) -> None:
        pass

    def close(self) -> None:
        self._file.close()


class _PipeSource:
    """A pipe, socket or terminal: reading may wait for ever, so it must be possible to call it off."""

    def __init__(self, name: str, file: Any) -> None:
        self.name = name
        self.size: int | None = None
        self._file = file
        self._wake, self._waker = os.pipe()
        self._poll = select.poll()
        self._poll.register(self._file, select.POLLIN)
        self._poll.register(self._wake, select.POLLIN)

    def read(self, size: int) -> bytes:
        if any(number == self._wake for number, _ in self._poll.poll()):
            return b""
        with _input_errors(self.name):
            data: bytes = self._file.read(size)
        return data

    def cancel(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._waker, b"x")

    def close(self) -> None:
        if not self._file.closed:
            self._file.close()
            os.close(self._wake)
            os.close(self._waker)


class _RangeSource:
    """A remote file of known size, several ranges requested at a time."""

    def __init__(self, name: str, client: Client, path: str, info: Info, runner: Runner) -> None:
        self.name = name
        self.size = info.size
        self._size = info.size or 0
        self._version = info.version
        self._client = client
        self._path = path
        self._parts = runner.map(self._get, range(0, self._size, REQUEST_BYTES), on="io", ahead=REQUESTS_AHEAD)
        self._rest = memoryview(b"")

    def _get(self, start: int) -> bytes:
        stop = min(start + REQUEST_BYTES, self._size)
        data = _request(self.name, lambda: self._range(start, stop), start)
        if stop == self._size:
            after = _request(self.name, lambda: self._client.info(self._path), start)
            if (after.size, after.version) != (self.size, self._version):
                raise InputError(
                    self.name, "was replaced while it was read", remedy="run again when nobody writes to it"
                )
        return data

    def _range(self, start: int, stop: int) -> bytes:
        data = self._client.get(self._path, start, stop)
        if len(data) < stop - start and self._client.info(self._path).size == self._size:
            # Cut short on the way: the next attempt may bring all of it.
            raise ConnectionError(f"{len(data):,} bytes came where {stop - start:,} were asked for")
        if len(data) != stop - start:
            raise InputError(
                self.name, f"{len(data):,} bytes came where {stop - start:,} were asked for", offset=start,
                remedy="the file has changed while it was read: run again",
            )
        return data

    def read(self, size: int) -> bytes:
        if not self._rest:
            self._rest = memoryview(next(self._parts, b""))
        data, self._rest = self._rest[:size], self._rest[size:]
        return data.tobytes()

    def cancel(self) -> None:
        pass

    def close(self) -> None:
        close = getattr(self._parts, "close", None)
        if close is not None:
            close()
