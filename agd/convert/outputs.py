"""Output streams: bytes to any url, compressed in parallel, visible only when they are whole."""

from __future__ import annotations

import bz2
import os
from typing import Any

import zstandard

from agd.batch import U8
from agd.convert.bgzf import BgzfWriter
from agd.convert.inflate import SUFFIXES, Compression
from agd.convert.pump import Pieces, Pump
from agd.errors import UsageError
from agd.run import Runner
from agd.sinks import Sink, open_sink

#: Levels unless the caller says otherwise: FASTQ is written for speed, much as pigz and bgzip at their lower levels.
DEFAULT_LEVELS = {
    Compression.NONE: 0, Compression.GZIP: 4, Compression.BGZF: 6, Compression.BZIP2: 9, Compression.ZSTD: 3,
}  # fmt: skip

_LEVELS = {
    Compression.NONE: range(1), Compression.GZIP: range(13), Compression.BGZF: range(13),
    Compression.BZIP2: range(1, 10), Compression.ZSTD: range(1, 23),
}  # fmt: skip

#: Uncompressed bytes of a bzip2 stream (a block of level 9) and of a zstd frame.
_PIECE_BYTES = {Compression.BZIP2: 900_000, Compression.ZSTD: 1 << 22}


class OutputStream:
    """Takes bytes, compresses them in parallel, shows nothing before :meth:`close`. Made by :func:`open_output`.

    As a context manager it commits at the end, and leaves nothing behind if an error comes.
    """

    def __init__(self, sink: Sink, compression: Compression, level: int | None, runner: Runner | None) -> None:
        self.name = sink.name
        self.compression = compression
        self._done = False
        chosen = DEFAULT_LEVELS[compression] if level is None else level
        self._writer: BgzfWriter | _MemberWriter | _PlainWriter
        if compression is Compression.NONE:
            self._writer = _PlainWriter(sink)
        elif compression in (Compression.GZIP, Compression.BGZF):
            self._writer = BgzfWriter(sink, chosen, runner)
        else:
            self._writer = _MemberWriter(sink, compression, chosen, runner)

    def write(self, data: bytes | memoryview | U8) -> None:
        """Append bytes (any buffer); they must not change afterwards."""
        self._writer.write(memoryview(data))  # type: ignore[arg-type]

    def close(self) -> None:
        """Write the rest and make the file visible. StorageError if that fails, and then nothing is left behind."""
        if not self._done:
            self._done = True
            self._writer.close()

    def abort(self) -> None:
        """Leave nothing behind."""
        if not self._done:
            self._done = True
            self._writer.abort()

    def __enter__(self) -> OutputStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


class _PlainWriter:
    """Writes bytes as they are."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def write(self, data: memoryview) -> None:
        self._sink.write(data)

    def close(self) -> None:
        try:
            self._sink.commit()
        except BaseException:
            self._sink.abort()
            raise

    def abort(self) -> None:
        self._sink.abort()


class _MemberWriter:
    """Writes pieces of one size, each a bzip2 stream or zstd frame of its own."""

    def __init__(self, sink: Sink, compression: Compression, level: int, runner: Runner | None) -> None:
        self._sink = sink
        compress = compress_zstd if compression is Compression.ZSTD else bz2.compress
        self._pump: Pump[memoryview, bytes] = Pump(lambda data: compress(data, level), sink.write, runner)
        self._pieces = Pieces(_PIECE_BYTES[compression], self._pump.put)

    def write(self, data: memoryview) -> None:
        self._pieces.write(data)

    def close(self) -> None:
        try:
            if not self._pieces.taken:
                # An empty file is still a file of its format.
                self._pump.put(memoryview(b""))
            self._pieces.flush()
            self._pump.close()
            self._sink.commit()
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        self._pump.abort()
        self._sink.abort()


def compress_zstd(data: memoryview, level: int) -> bytes:
    """A frame with a checksum."""
    frame: bytes = zstandard.ZstdCompressor(level=level, write_checksum=True).compress(data)
    return frame


def check_level(name: str, kind: Compression, level: int | None) -> None:
    """Refuse a level that the compression of a file has not.

    Raises
    ------
    UsageError
        With the levels that there are.
    """
    if level is None or level in _LEVELS[kind]:
        return
    if kind is Compression.NONE:
        raise UsageError(f"{name}: is not compressed, and has no level", "end the name in .gz, or leave it out")
    allowed = _LEVELS[kind]
    raise UsageError(f"{name}: there is no level {level} of {kind}", f"give {allowed[0]} to {allowed[-1]}")


def open_output(
    url: str | os.PathLike[str], *, level: int | None = None, compression: Compression | str | None = None,
    runner: Runner | None = None, **options: Any,
) -> OutputStream:
    """Begin to write a file; nothing is visible at the url until it is closed.

    Parameters
    ----------
    url : str or path
        A path, any url that fsspec understands, or ``-`` for standard output.
    level : int, optional
        Of compression: gzip 0 to 12 (default 4), BGZF 0 to 12 (default 6), zstd 1 to 22 (default 3), bzip2 1 to 9
        (default 9).
    compression : Compression or str, optional
        Default: by the suffix (``.gz .bgz .bz2 .zst``; none for ``.bam``). Gzip files are written as BGZF, which
        every gzip reads.
    runner : Runner, optional
        Compresses on all its workers.
    **options
        For fsspec.

    Raises
    ------
    UsageError
        The url or the level cannot be used.
    StorageError
        The file cannot be made there.
    """
    name = os.fspath(url)
    if compression is None:
        suffix = os.path.splitext(name)[1].lower()
        # Who writes BAM cuts and compresses the blocks on its own.
        kind = Compression.NONE if suffix == ".bam" else SUFFIXES.get(suffix, Compression.NONE)
    else:
        try:
            kind = Compression(compression)
        except ValueError as error:
            choices = ", ".join(Compression)
            raise UsageError(f"unknown compression {compression!r}", f"choose one of {choices}") from error
    check_level(name, kind, level)
    return OutputStream(open_sink(url, **options), kind, level, runner)
