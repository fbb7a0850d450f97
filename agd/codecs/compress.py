"""General-purpose compression: bytes → bytes."""

from __future__ import annotations

import threading
import zlib
from typing import Any, ClassVar

import zstandard

from agd.codecs.base import Kind, register
from agd.errors import CodecError

#: Bytes that a block of Zstandard takes at least, and that it decodes to at most (RFC 8878, section 3.1.1.2).
MIN_BLOCK, MAX_BLOCK = 4, 128 << 10


class _Engines(threading.local):
    """Of each thread, which they serve one at a time: making one takes longer than most streams do."""

    def __init__(self) -> None:
        self.decompressor = zstandard.ZstdDecompressor()
        self._compressor = zstandard.ZstdCompressor(level=1, write_checksum=False)
        self._level = 1

    def compressor(self, level: int) -> zstandard.ZstdCompressor:
        """The one of a level; the last that was asked for is kept."""
        if level != self._level:
            self._compressor = zstandard.ZstdCompressor(level=level, write_checksum=False)
            self._level = level
        return self._compressor


_engines = _Engines()


@register
class Zstd:
    """Zstandard (RFC 8878), one frame with its content size and without a checksum.

    Parameters
    ----------
    level : int
        -50 (fastest) to 22.
    """

    name: ClassVar[str] = "zstd"
    version: ClassVar[int] = 1
    kind: ClassVar[Kind] = Kind.BYTES

    def __init__(self, level: int = 1) -> None:
        if type(level) is not int or not -50 <= level <= 22:
            raise ValueError(f"level {level!r} is not one of -50 to 22")
        self.level = level

    def config(self) -> dict[str, Any]:
        """See :class:`agd.codecs.base.Codec`."""
        return {"level": self.level}

    def encode(self, data: Any) -> bytes:
        """See :class:`agd.codecs.base.BytesCodec`."""
        compressed: bytes = _engines.compressor(self.level).compress(data)
        return compressed

    def decode(self, data: Any, limit: int) -> bytes:
        """See :class:`agd.codecs.base.BytesCodec`."""
        try:
            declared = zstandard.frame_content_size(data)
            if not 0 <= declared <= limit:
                raise CodecError("zstd", "payload", f"the frame declares {declared} bytes, more than {limit}")
            if declared > (len(data) // MIN_BLOCK + 1) * MAX_BLOCK:
                raise CodecError("zstd", "payload", f"{len(data)} bytes cannot hold the {declared} that are declared")
            decompressed: bytes = _engines.decompressor.decompress(data, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise CodecError("zstd", "payload", str(error)) from error
        return decompressed


@register
class Gzip:
    """One gzip member (RFC 1952).

    Parameters
    ----------
    level : int
        0 to 9.
    """

    name: ClassVar[str] = "gzip"
    version: ClassVar[int] = 1
    kind: ClassVar[Kind] = Kind.BYTES

    def __init__(self, level: int = 6) -> None:
        if type(level) is not int or not 0 <= level <= 9:
            raise ValueError(f"level {level!r} is not one of 0 to 9")
        self.level = level

    def config(self) -> dict[str, Any]:
        """See :class:`agd.codecs.base.Codec`."""
        return {"level": self.level}

    def encode(self, data: Any) -> bytes:
        """See :class:`agd.codecs.base.BytesCodec`."""
        engine = zlib.compressobj(self.level, zlib.DEFLATED, 31)
        return engine.compress(data) + engine.flush()

    def decode(self, data: Any, limit: int) -> bytes:
        """See :class:`agd.codecs.base.BytesCodec`."""
        engine = zlib.decompressobj(31)
        try:
            out = engine.decompress(data, limit + 1)
        except zlib.error as error:
            raise CodecError("gzip", "payload", str(error)) from error
        if len(out) > limit:
            raise CodecError("gzip", "payload", f"inflates to more than {limit} bytes")
        if not engine.eof or engine.unused_data:
            raise CodecError("gzip", "payload", "not one whole member")
        return out
