"""Input streams: decompressed bytes of any file at any url, in large blocks."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from typing import Any

from agd.batch import U8
from agd.convert.bgzf import Ending, inflate_bgzf
from agd.convert.inflate import Compression, Feed, detect, inflate
from agd.convert.outputs import OutputStream, open_output
from agd.convert.pump import ReadAhead
from agd.files import Source, open_source
from agd.run import Runner, SerialRunner

__all__ = ["InputStream", "OutputStream", "open_input", "open_output"]

#: Decompressed blocks (of about 1 to 4 MiB) that wait for the reader.
BLOCKS_AHEAD = 8


class InputStream:
    """Decompressed bytes of a file, read ahead by a thread. Made by :func:`open_input`.

    Attributes
    ----------
    name : str
        The url or path, for messages.
    compression : Compression
        Told by the content.
    stored_size : int or None
        Bytes of the file as it is stored, if known.
    offset : int
        Decompressed bytes handed out so far.
    """

    def __init__(self, source: Source, runner: Runner | None, require_eof: bool | None) -> None:
        self.name = source.name
        self.stored_size = source.size
        self._ending = Ending()
        self.offset = 0
        self._source = source
        self._feed = Feed(source)
        self._block = memoryview(b"")
        self._closed = False
        self._error: Exception | None = None
        self.compression = detect(self._feed)
        blocks = self._open_blocks(runner, require_eof)
        # A serial runner means that everything happens in the caller's thread.
        self._blocks = blocks if isinstance(runner, SerialRunner) else ReadAhead(blocks, BLOCKS_AHEAD)

    def _open_blocks(self, runner: Runner | None, require_eof: bool | None) -> Iterator[bytes | memoryview]:
        if self.compression is Compression.BGZF:
            return inflate_bgzf(self._feed, runner or SerialRunner(), self._ending, require_eof)
        return inflate(self._feed, self.compression)

    @property
    def bytes_in(self) -> int:
        """Bytes of the file as it is stored; the decompressed ones handed out so far where that is not known."""
        return self.offset if self.stored_size is None else self.stored_size

    def _advance(self) -> bool:
        """Make the current block one that has bytes; False at the end."""
        while not self._block:
            if self._closed:
                raise ValueError(f"{self.name}: the stream is closed")
            if self._error is not None:
                raise self._error
            try:
                block = next(self._blocks, None)
            except Exception as error:
                # Whoever reads on after an error gets it again, never what looks like the end of the file.
                self._error = error
                raise
            if block is None:
                self._warn_without_marker()
                return False
            self._block = memoryview(block)
        return True

    def _warn_without_marker(self) -> None:
        if self._ending.has_marker is False:
            self._ending.has_marker = None
            warnings.warn(
                f"{self.name}: no BGZF end-of-file marker: the file may be cut short (some programs that write FASTQ "
                "leave the marker out)",
                stacklevel=4,
            )

    def read(self, size: int = -1) -> memoryview:
        """The next bytes, without a copy.

        Parameters
        ----------
        size : int
            Most bytes to give; -1: whatever the next block has.

        Returns
        -------
        memoryview
            1 to ``size`` bytes, fewer than asked for at will; empty at the end only.

        Raises
        ------
        InputError
            The file is damaged or cut short. What was handed out before is right, if not all that is before the damage.
        """
        if size == 0 or not self._advance():
            return memoryview(b"")
        stop = len(self._block) if size < 0 else min(size, len(self._block))
        data, self._block = self._block[:stop], self._block[stop:]
        self.offset += stop
        return data

    def readinto(self, buffer: U8 | bytearray | memoryview) -> int:
        """Fill a buffer.

        Parameters
        ----------
        buffer : writable buffer of bytes
            A ``uint8`` array, for one.

        Returns
        -------
        int
            Bytes written to it: all of it, or fewer at the end of the file.

        Raises
        ------
        InputError
            The file is damaged or cut short.
        """
        target = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        filled = 0
        while filled < len(target):
            data = self.read(len(target) - filled)
            if not data:
                break
            target[filled : filled + len(data)] = data
            filled += len(data)
        return filled

    def blocks(self) -> Iterator[memoryview]:
        """The rest of the file, block by block."""
        while data := self.read():
            yield data

    def close(self) -> None:
        """Stop reading ahead and let go of the file; may be called at any time, and twice."""
        if self._closed:
            return
        self._closed = True
        self._block = memoryview(b"")
        self._source.cancel()
        close = getattr(self._blocks, "close", None)
        if close is not None:
            close()
        self._source.close()

    def __enter__(self) -> InputStream:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def open_input(
    url: str | os.PathLike[str], runner: Runner | None = None, *, require_eof: bool | None = None, **options: Any
) -> InputStream:
    """Open a file, compressed or not, for reading front to back.

    Plain, gzip (any number of members), BGZF, bzip2 and zstd files are told apart by their content, not by their name.

    Parameters
    ----------
    url : str or path
        A path, any url that fsspec understands, or ``-`` for standard input.
    runner : Runner, optional
        Inflates BGZF blocks and requests parts of remote files in parallel. A serial runner does everything in the
        caller's thread; without one a thread reads ahead.
    require_eof : bool, optional
        Whether a BGZF file without the end-of-file marker is an error, else a warning. Default: an error for BAM, a
        warning for all else, as some sequencers' programs leave it out of FASTQ.
    **options
        For fsspec: credentials, ``endpoint_url``, ….

    Raises
    ------
    InputError
        There is no such file, it cannot be read, or it has a compression that is not supported.
    UsageError
        The url cannot be understood.
    """
    source = open_source(url, runner, **options)
    try:
        return InputStream(source, runner, require_eof)
    except BaseException:
        source.close()
        raise
