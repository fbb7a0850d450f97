"""Decompress streams front to back: gzip, bzip2 and zstd of any number of members, told by content.

BGZF, whose blocks can be inflated in parallel, has a module of its own (:mod:`agd.convert.bgzf`). Every damaged or
truncated input is an InputError; none ends silently.
"""

from __future__ import annotations

import bz2
import enum
import os
from collections.abc import Iterator

import deflate
import zstandard
from isal import igzip_lib

from agd.errors import InputError
from agd.files import Source

#: Decompressed bytes of a block handed on.
BLOCK_BYTES = 1 << 20

#: Compressed bytes that are read at a time.
READ_BYTES = 1 << 19

# The stub of the library types its exception as an instance.
_ISAL_ERROR: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment]

_FIRST_FEED = 1 << 14
_LARGEST_FEED = 1 << 18
_ZSTD_FEED = 1 << 14

_CUT_SHORT = "the file is cut short: copy or download it again and compare its size and checksum with the original's"
_DAMAGED = "the file is damaged: copy or download it again and compare its checksum with the original's"


class Compression(enum.StrEnum):
    """How a file is compressed."""

    NONE = "none"
    GZIP = "gzip"
    BGZF = "bgzf"
    BZIP2 = "bzip2"
    ZSTD = "zstd"


SUFFIXES = {
    ".gz": Compression.GZIP, ".bgz": Compression.BGZF, ".bgzf": Compression.BGZF, ".bam": Compression.BGZF,
    ".bz2": Compression.BZIP2, ".zst": Compression.ZSTD, ".zstd": Compression.ZSTD,
}  # fmt: skip

_FOREIGN = {
    b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "zip", b"\x1f\x9d": "compress (.Z)", b"\x04\x22\x4d\x18": "lz4",
    b"\x1f\x8b": "gzip with a method other than deflate",
}  # fmt: skip


class Feed:
    """The stored bytes of a file, with a view ahead and the offset of where it stands.

    Attributes
    ----------
    name : str
    offset : int
        0-based offset in the file of the next byte.
    """

    def __init__(self, source: Source) -> None:
        self.name = source.name
        self.offset = 0
        self._source = source
        self._data = memoryview(b"")
        self._at = 0

    def peek(self, size: int) -> memoryview:
        """The next bytes without taking them: ``size``, or fewer at the end of the file."""
        while len(self._data) - self._at < size:
            more = self._source.read(max(READ_BYTES, size))
            if not more:
                break
            rest = self._data[self._at :]
            self._data = memoryview(bytes(rest) + more if len(rest) else more)
            self._at = 0
        return self._data[self._at : self._at + size]

    def take(self, size: int) -> memoryview:
        """The next bytes that are at hand: 1 to ``size``, none at the end of the file."""
        data = self.peek(1) and self._data[self._at : self._at + size]
        self.skip(len(data))
        return data

    def skip(self, size: int) -> None:
        """Move over bytes that were peeked at; negative: give back bytes of the last ``take``."""
        self._at += size
        self.offset += size

    def error(self, reason: str, remedy: str = _DAMAGED, offset: int | None = None) -> InputError:
        """An error at an offset, by default here."""
        return InputError(self.name, reason, offset=self.offset if offset is None else offset, remedy=remedy)

    def cut_short(self, what: str) -> InputError:
        """The error for a file that ends within something."""
        return self.error(f"the file ends {what}", _CUT_SHORT)


def detect(feed: Feed) -> Compression:
    """How the file is compressed, by its first bytes.

    Raises
    ------
    InputError
        The file has a compression that is not supported, or is too short to be what its name says.
    """
    head = bytes(feed.peek(18))
    if head[:3] == b"\x1f\x8b\x08":
        return Compression.BGZF if is_bgzf(head) else Compression.GZIP
    if head[:3] == b"BZh" and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):
        return Compression.BZIP2
    if head[:4] == b"\x28\xb5\x2f\xfd" or (head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F):
        return Compression.ZSTD
    for magic, name in _FOREIGN.items():
        if len(head) >= 3 and head.startswith(magic):
            raise feed.error(f"is compressed with {name}", "decompress it, or use gzip, bgzip, bzip2 or zstd")
    expected = SUFFIXES.get(os.path.splitext(feed.name)[1].lower(), Compression.NONE)
    if expected is not Compression.NONE and len(head) < 10 and not head.startswith((b"@", b">")):
        raise feed.cut_short(f"after {len(head)} bytes, too few for the {expected} file that its name promises")
    return Compression.NONE


def is_bgzf(head: bytes | memoryview) -> bool:
    """Whether a gzip header (18 bytes) is that of a BGZF block (SAM specification, section 4.1)."""
    return bytes(head[:4]) == b"\x1f\x8b\x08\x04" and bytes(head[12:16]) == b"BC\x02\x00"


def inflate(feed: Feed, compression: Compression) -> Iterator[bytes | memoryview]:
    """Decompressed blocks of a file from where it stands to its end; BGZF is taken as gzip."""
    if compression is Compression.BZIP2:
        return _inflate_bzip2(feed)
    if compression is Compression.ZSTD:
        return _inflate_zstd(feed)
    return _copy(feed) if compression is Compression.NONE else inflate_gzip(feed)


def _copy(feed: Feed) -> Iterator[memoryview]:
    while data := feed.take(READ_BYTES):
        yield data


def _damaged(feed: Feed, kind: str, part: str, start: int, error: Exception) -> InputError:
    return feed.error(f"damaged {kind} data here or shortly before, in the {part} that begins at {start:,} ({error})")


# ------------------------------------------------------------------------------------------------------------- gzip


def inflate_gzip(feed: Feed) -> Iterator[bytes]:
    """Decompressed blocks of all gzip members (RFC 1952) from here to the end of the file."""
    members = 0
    while feed.peek(1):
        start = feed.offset
        _skip_gzip_header(feed, members)
        yield from _inflate_member(feed, start)
        members += 1


def _skip_gzip_header(feed: Feed, members: int) -> None:
    head = bytes(feed.peek(10))
    if head[:3] != b"\x1f\x8b\x08"[: len(head)]:
        what = "zero bytes" if not any(head) else "bytes that are not gzip"
        raise feed.error(
            f"{what} follow {members:,} whole gzip member{'s' * (members != 1)}",
            "the file may have lost its end; if 'gzip -dc' gives all reads that you expect, compress its output anew",
        )
    if len(head) < 10:
        raise feed.cut_short("within a gzip header")
    flags = head[3]
    size = 10
    if flags & 4:
        size += 2 + int.from_bytes(_header_bytes(feed, size + 2)[size:], "little")
    for bit in (8, 16):
        if flags & bit:
            size = _end_of_text(feed, size)
    if flags & 2:
        size += 2
        header = _header_bytes(feed, size)
        if deflate.crc32(header[:-2]) & 0xFFFF != int.from_bytes(header[-2:], "little"):
            raise feed.error("damaged gzip header: its checksum is wrong")
    if flags & 0xE0:
        raise feed.error("damaged gzip header: reserved flags are set")
    _header_bytes(feed, size)
    feed.skip(size)


def _header_bytes(feed: Feed, size: int) -> bytes:
    header = bytes(feed.peek(size))
    if len(header) < size:
        raise feed.cut_short("within a gzip header")
    return header


def _end_of_text(feed: Feed, start: int) -> int:
    """End of a zero-terminated text of a gzip header."""
    length = 256
    while True:
        header = bytes(feed.peek(start + length))
        end = header.find(b"\0", start)
        if end >= 0:
            return end + 1
        if len(header) < start + length:
            raise feed.cut_short("within a gzip header")
        if length > 1 << 20:
            raise feed.error("damaged gzip header: a name without an end")
        length *= 2


def _inflate_member(feed: Feed, start: int) -> Iterator[bytes]:
    # The raw deflate mode: in its gzip mode ISA-L reports the end of a member before it has seen the trailer, and takes
    # a missing one for whole.
    inflater = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_DEFLATE)
    size, checksum, data, length = _FIRST_FEED, 0, b"", 0
    while not inflater.eof:
        given: bytes | memoryview = b""
        if inflater.needs_input:
            # Small at first: what is left over at the end of a member is copied, and members may be tiny.
            given = feed.take(size)
            size = min(2 * size, _LARGEST_FEED)
            if not given:
                raise feed.cut_short(f"within the gzip member that begins at offset {start:,}")
        try:
            data = inflater.decompress(given, BLOCK_BYTES)
        except _ISAL_ERROR as error:
            raise _damaged(feed, "gzip", "member", start, error) from error
        checksum = deflate.crc32(data, checksum)
        length += len(data)
        if data:
            yield data
    feed.skip(-len(inflater.unused_data))
    trailer = bytes(feed.peek(8))
    if len(trailer) < 8:
        raise feed.cut_short(f"within the trailer of the gzip member that begins at offset {start:,}")
    if int.from_bytes(trailer[:4], "little") != checksum:
        raise feed.error(f"the gzip member that begins at offset {start:,} does not have the checksum noted for it")
    if int.from_bytes(trailer[4:], "little") != length & 0xFFFFFFFF:
        raise feed.error(f"the gzip member that begins at offset {start:,} does not have the length noted for it")
    feed.skip(8)


# --------------------------------------------------------------------------------------------------- bzip2 and zstd


def _inflate_bzip2(feed: Feed) -> Iterator[bytes]:
    while feed.peek(1):
        start = feed.offset
        head = bytes(feed.peek(3))
        if head != b"BZh"[: len(head)]:
            raise feed.error("bytes that are not bzip2 follow a whole bzip2 stream", "remove what follows the stream")
        inflater = bz2.BZ2Decompressor()
        while not inflater.eof:
            given = feed.take(_LARGEST_FEED) if inflater.needs_input else b""
            if inflater.needs_input and not given:
                raise feed.cut_short(f"within the bzip2 stream that begins at offset {start:,}")
            try:
                data = inflater.decompress(given, BLOCK_BYTES)
            except (OSError, ValueError) as error:
                raise _damaged(feed, "bzip2", "stream", start, error) from error
            if data:
                yield data
        feed.skip(-len(inflater.unused_data))


def _inflate_zstd(feed: Feed) -> Iterator[bytes]:
    context = zstandard.ZstdDecompressor()
    while feed.peek(1):
        start = feed.offset
        if _skip_zstd_frame(feed):
            continue
        inflater = context.decompressobj()
        parts: list[bytes] = []
        while not inflater.eof:
            # What comes out is not bounded by the library, so little goes in.
            given = feed.take(_ZSTD_FEED)
            if not given:
                raise feed.cut_short(f"within the zstd frame that begins at offset {start:,}")
            try:
                parts.append(inflater.decompress(given))
            except zstandard.ZstdError as error:
                raise _damaged(feed, "zstd", "frame", start, error) from error
            if sum(map(len, parts)) >= BLOCK_BYTES:
                yield b"".join(parts)
                parts = []
        feed.skip(-len(inflater.unused_data))
        if any(parts):
            yield b"".join(parts)


def _skip_zstd_frame(feed: Feed) -> bool:
    """Skip a skippable frame (RFC 8878, section 3.1.2) if there is one; whether there was."""
    head = bytes(feed.peek(8))
    if head[1:4] != b"\x2a\x4d\x18" or not 0x50 <= head[0] <= 0x5F:
        return False
    left = 8 + int.from_bytes(head[4:8], "little")
    while left:
        given = feed.take(left)
        if not given:
            raise feed.cut_short("within a skippable zstd frame")
        left -= len(given)
    return True
