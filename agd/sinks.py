"""Whole files at any url, written front to back: nothing shows of a :class:`Sink` until it is committed."""

from __future__ import annotations

import contextlib
import os
import re
import select
import sys
import uuid
from collections.abc import Iterator
from typing import Any, Protocol

from agd import clib
from agd.errors import AgdError, StorageError
from agd.storage import (
    TEMPORARY_PREFIX,
    explain,
    filesystem_of,
    is_stale,
    local_path,
    s3_filesystem,
    temporary_name,
)
from agd.storage.local import WRITE_BYTES
from agd.storage.options import S3, check_local_options, check_url, protocol_of
from agd.storage.upload import Upload

#: Bytes of a local file after which the system is asked to begin to write them, so that little is left at the end.
WRITEBACK_BYTES = 16 << 20


class Sink(Protocol):
    """A file in the making."""

    name: str

    def write(self, data: bytes | memoryview) -> None:
        """Append all of these bytes."""
        ...

    def commit(self) -> None:
        """Make the file visible, whole, under its name; replaces what was there. StorageError if that fails."""
        ...

    def abort(self) -> None:
        """Leave nothing behind; nothing happens after ``commit``."""
        ...


def open_sink(url: str | os.PathLike[str], **options: Any) -> Sink:
    """Begin to write a file.

    Parameters
    ----------
    url : str or path
        A path, any url that fsspec understands, or ``-`` for standard output (visible at once).
    **options
        For fsspec.

    Raises
    ------
    StorageError
        The file cannot be made there.
    UsageError
        The url cannot be understood.
    """
    url = os.fspath(url)
    if url == "-":
        return _StdoutSink()
    check_url(url)
    path = local_path(url)
    if path is not None:
        check_local_options(url, options)
        return _LocalSink(path)
    options.pop("s3_client", None)
    with _output_errors(url):
        if protocol_of(url) in S3:
            return _UploadSink(url, Upload(*s3_filesystem(url, **options)))
        return _RemoteSink(url, *filesystem_of(url, **options))


def is_stream(url: str | os.PathLike[str]) -> bool:
    """Whether what is written there goes out at once, and nothing can be put beside it: ``-``, a pipe, a device."""
    text = os.fspath(url)
    path = local_path(text) if text != "-" else None
    if path is None:
        return text == "-"
    # As given: what a link such as /dev/stdout leads to, for a pipe, is no path.
    return _descriptor(path) is not None or (os.path.exists(path) and not os.path.isfile(path))


def _descriptor(path: str) -> int | None:
    """Number of the open file of this process that a path such as /dev/stdout or /dev/fd/63 stands for."""
    if path in ("/dev/stdout", "/dev/stderr"):
        return 1 if path == "/dev/stdout" else 2
    found = re.fullmatch(r"(?:/dev|/proc/self)/fd/([0-9]{1,9})", path)
    return int(found[1]) if found else None


def write_text(url: str, text: str, **options: Any) -> None:
    """Write a text file; nothing is visible before it is whole. Errors as of :func:`open_sink`."""
    sink = open_sink(url, **options)
    try:
        sink.write(text.encode())
        sink.commit()
    except BaseException:
        sink.abort()
        raise


@contextlib.contextmanager
def _output_errors(name: str) -> Iterator[None]:
    try:
        yield
    except (BrokenPipeError, AgdError):
        raise
    except Exception as error:
        local = local_path(name) is not None
        if local and not isinstance(error, OSError):
            raise
        remedy = "check the folder, its permissions and the free space"
        reason, remedy = (str(error), remedy) if local else explain(error)
        raise StorageError(f"{name}: cannot be written: {reason}", remedy) from error


def _write_all(stream: Any, data: bytes | memoryview) -> None:
    """Write every byte, however little a stream takes at a time; one that would block is waited for."""
    view = memoryview(data).cast("B")
    while len(view):
        try:
            written = stream.write(view[:WRITE_BYTES])
        except BlockingIOError as error:
            written = getattr(error, "characters_written", 0)
        view = view[written or 0 :]
        if not written:
            _wait_for(stream)


def _wait_for(stream: Any) -> None:
    poll = select.poll()
    poll.register(stream, select.POLLOUT)
    poll.poll()


class _StdoutSink:
    name = "standard output"

    def __init__(self) -> None:
        self._stream: Any = getattr(sys.stdout, "buffer", sys.stdout)

    def write(self, data: bytes | memoryview) -> None:
        with _output_errors(self.name):
            _write_all(self._stream, data)

    def commit(self) -> None:
        with _output_errors(self.name):
            while True:
                try:
                    self._stream.flush()
                    return
                except BlockingIOError:
                    _wait_for(self._stream)

    def abort(self) -> None:
        pass


def _remove_stale(folder: str, stem: str) -> None:
    """Remove what writers of the same file left when they were killed."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(TEMPORARY_PREFIX) and entry.name.endswith(stem) and is_stale(entry.name):
                os.unlink(entry.path)


class _LocalSink:
    """A temporary file beside the final one, renamed at the end. Pipes and devices are written as they are."""

    def __init__(self, path: str) -> None:
        self.name = path
        self._temporary: str | None = None
        self._written = self._begun = 0
        with _output_errors(path):
            number = _descriptor(path)
            if number is not None:
                # Not opened anew: whoever else writes to that file goes on after this.
                self._file = os.fdopen(os.dup(number), "wb", buffering=0)
                return
            if is_stream(path):
                self._file = open(path, "wb", buffering=0)  # noqa: SIM115
                return
            # A link is followed: what it points to is replaced, as opening it for writing would do.
            self._path = os.path.realpath(path)
            folder, base = os.path.split(self._path)
            stem = "." + base[:100].replace("+", "_")
            _remove_stale(folder, stem)
            self._temporary = os.path.join(folder, temporary_name() + stem)
            self._file = open(self._temporary, "xb", buffering=0)  # noqa: SIM115

    def write(self, data: bytes | memoryview) -> None:
        with _output_errors(self.name):
            _write_all(self._file, data)
        self._written += memoryview(data).nbytes
        if self._temporary is not None and self._written - self._begun >= WRITEBACK_BYTES:
            clib.begin_writeback(self._file.fileno(), self._begun, self._written - self._begun)
            self._begun = self._written

    def commit(self) -> None:
        with _output_errors(self.name):
            if self._temporary is not None:
                os.fsync(self._file.fileno())
            self._file.close()
            if self._temporary is not None:
                os.replace(self._temporary, self._path)

    def abort(self) -> None:
        if not self._file.closed:
            self._file.close()
        if self._temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._temporary)


class _UploadSink:
    """An object of S3."""

    def __init__(self, name: str, upload: Upload) -> None:
        self.name = name
        self._upload = upload
        self._done = False

    def write(self, data: bytes | memoryview) -> None:
        with _output_errors(self.name):
            self._upload.write(data)

    def commit(self) -> None:
        with _output_errors(self.name):
            self._upload.commit()
        self._done = True

    def abort(self) -> None:
        if not self._done:
            self._done = True
            self._upload.abort()


class _RemoteSink:
    """A file of another remote store: an upload that is completed at the end, or a temporary that is moved."""

    def __init__(self, name: str, filesystem: Any, path: str) -> None:
        self.name = name
        self._filesystem = filesystem
        self._path = path
        self._temporary: str | None = None
        self._done = False
        with _output_errors(name):
            self._file: Any
            if self._has_uploads():
                self._file = filesystem.open(path, "wb", autocommit=False)
            else:
                folder, _, base = path.rpartition("/")
                self._temporary = f"{folder}/{TEMPORARY_PREFIX}{base}-{uuid.uuid4().hex[:12]}"
                self._file = filesystem.open(self._temporary, "wb")

    def _has_uploads(self) -> bool:
        protocols = self._filesystem.protocol
        names = {protocols} if isinstance(protocols, str) else set(protocols)
        return bool(names & {"gs", "gcs", "abfs", "az"})

    def write(self, data: bytes | memoryview) -> None:
        with _output_errors(self.name):
            self._file.write(data)

    def commit(self) -> None:
        with _output_errors(self.name):
            self._file.close()
            if self._temporary is not None:
                self._filesystem.mv(self._temporary, self._path)
            else:
                self._file.commit()
        self._done = True

    def abort(self) -> None:
        if self._done:
            return
        self._done = True
        # What stays behind after a failure here is an unfinished upload, which nobody sees.
        with contextlib.suppress(Exception):
            if self._temporary is not None:
                self._file.close()
                self._filesystem.rm_file(self._temporary)
            else:
                self._file.discard()
                self._file.closed = True
