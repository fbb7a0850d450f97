"""General-purpose compression: bytes → bytes."""

from __future__ import annotations

import threading
import zlib
from typing import Any, ClassVar

import zstandard

from agd.codecs.base import Kind, register
from agd.errors import CodecError

#: A payload whose size is not known beforehand may grow to this many bytes, no further.
UNKNOWN_SIZE_LIMIT = 1 << 33


@register
class Zstd:
    """Zstandard (RFC 8878), one frame with its content size and without a checksum.

    Parameters
    ----------
    level : int
        -7 (fastest) to 22.
    """

    name: ClassVar[str] = "zstd"
    version: ClassVar[int] = 1
    kind: ClassVar[Kind] = Kind.BYTES

    def __init__(self, level: int = 1) -> None:
        if not isinstance(level, int) or not -50 <= level <= 22:
            raise ValueError(f"level {level!r} is not one of -50 to 22")
        self.level = level
        self._local = threading.local()

    def config(self) -> dict[str, Any]:
        """See :class:`agd.codecs.base.Codec`."""
        return {"level": self.level}

    def encode(self, data: Any) -> bytes:
        """See :class:`agd.codecs.base.BytesCodec`."""
        # A compressor serves one thread at a time.
        if not hasattr(self._local, "compressor"):
            self._local.compressor = zstandard.ZstdCompressor(level=self.level, write_checksum=False)
        compressed: bytes = self._local.compressor.compress(data)
        return compressed

    def decode(self, data: Any, size: int | None) -> bytes:
        """See :class:`agd.codecs.base.BytesCodec`."""
        try:
            declared = zstandard.frame_content_size(data)
            if declared < 0 or declared > UNKNOWN_SIZE_LIMIT or (size is not None and declared != size):
                raise CodecError("zstd", "payload", f"the frame declares {declared} bytes, not {size}")
            decompressed: bytes = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
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
        if not isinstance(level, int) or not 0 <= level <= 9:
            raise ValueError(f"level {level!r} is not one of 0 to 9")
        self.level = level

    def config(self) -> dict[str, Any]:
        """See :class:`agd.codecs.base.Codec`."""
        return {"level": self.level}

    def encode(self, data: Any) -> bytes:
        """See :class:`agd.codecs.base.BytesCodec`."""
        engine = zlib.compressobj(self.level, zlib.DEFLATED, 31)
        return engine.compress(data) + engine.flush()

    def decode(self, data: Any, size: int | None) -> bytes:
        """See :class:`agd.codecs.base.BytesCodec`."""
        limit = UNKNOWN_SIZE_LIMIT if size is None else size
        engine = zlib.decompressobj(31)
        try:
            out = engine.decompress(data, limit + 1)
        except zlib.error as error:
            raise CodecError("gzip", "payload", str(error)) from error
        if (size is not None and len(out) != size) or not engine.eof or engine.unused_data:
            raise CodecError("gzip", "payload", f"not one member of {size} bytes")
        return out
