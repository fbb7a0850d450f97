"""BGZF: gzip in blocks of at most 64 KiB, each a member of its own (SAM specification, section 4.1).

Blocks are compressed and inflated in parallel, some 2 MiB to a task so that Python costs little beside the work.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import deflate
import numpy as np

from agd.batch import I64, U8
from agd.convert.inflate import READ_BYTES, Feed, inflate_gzip, is_bgzf
from agd.convert.pump import Pieces, Pump
from agd.errors import InputError
from agd.run import Runner
from agd.sinks import Sink

#: Uncompressed bytes of every block but the last: as htslib's, so that a block that does not compress fits too.
BLOCK_BYTES = 65_280

#: Uncompressed bytes of a compression task.
TASK_BYTES = 32 * BLOCK_BYTES

#: The empty block at the end of every BGZF file.
EOF = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")

#: As samtools writes BAM.
DEFAULT_LEVEL = 6

_HEADER = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0"
_HEADER_BYTES = 18
_LARGEST_BLOCK = 65_536


@dataclass
class Ending:
    """How a BGZF file ends.

    Attributes
    ----------
    has_marker : bool or None
        Whether with the end-of-file marker; None: not known (yet).
    """

    has_marker: bool | None = None


# ---------------------------------------------------------------------------------------------------------- writing


def deflate_blocks(data: bytes | memoryview | U8, level: int = DEFAULT_LEVEL) -> tuple[bytes, I64]:
    """BGZF blocks of some bytes: 65,280 bytes to a block, the last may have fewer.

    Parameters
    ----------
    data : bytes-like
    level : int
        0 (stored) to 12 of libdeflate.

    Returns
    -------
    blocks : bytes
        Blocks end to end, without the end-of-file marker.
    sizes : ndarray of int64
        Compressed size of each block.
    """
    view = memoryview(data).cast("B")  # type: ignore[arg-type]
    parts: list[bytes | bytearray] = []
    stored: list[int] = []
    for start in range(0, len(view), BLOCK_BYTES):
        block = view[start : start + BLOCK_BYTES]
        body = deflate.deflate_compress(block, level)
        size = _HEADER_BYTES + len(body) + 8
        parts += (_HEADER, struct.pack("<H", size - 1), body, struct.pack("<II", deflate.crc32(block), len(block)))
        stored.append(size)
    return b"".join(parts), np.array(stored, np.int64)


def virtual_offsets(offsets: I64, sizes: I64) -> I64:
    """Virtual offsets in the blocks that :func:`deflate_blocks` has made.

    Parameters
    ----------
    offsets : ndarray of int64
        0-based offsets in the uncompressed bytes, ascending; the last one is the end of all of them.
    sizes : ndarray of int64
        Compressed sizes of the blocks.

    Returns
    -------
    ndarray of int64
        Relative to the first block; the end is the beginning of the block that comes next. Where the blocks begin at
        byte ``n`` of a file, add ``n << 16``.
    """
    starts = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=starts[1:])
    block = offsets // BLOCK_BYTES
    virtual: I64 = starts[block] << 16 | offsets - block * BLOCK_BYTES
    if len(offsets):
        virtual[offsets == offsets[-1]] = starts[-1] << 16
    return virtual


def _deflate_piece(data: memoryview, level: int) -> bytes:
    return deflate_blocks(data, level)[0]


class BgzfWriter:
    """Writes a BGZF file; blocks are compressed ahead in parallel and written in order.

    Parameters
    ----------
    sink : Sink
        Committed by :meth:`close`, aborted by :meth:`abort`.
    level : int
        0 (stored) to 12 of libdeflate.
    runner : Runner, optional
        Compresses on its workers; default: in the caller's thread.
    """

    def __init__(self, sink: Sink, level: int = DEFAULT_LEVEL, runner: Runner | None = None) -> None:
        self._sink = sink
        self._pump = Pump(functools.partial(_deflate_piece, level=level), sink.write, runner)
        self._pieces = Pieces(TASK_BYTES, self._pump.put)

    def write(self, data: bytes | memoryview) -> None:
        """Append uncompressed bytes; they must not change afterwards. Blocks are cut every 65,280 bytes."""
        self._pieces.write(data)

    def close(self) -> None:
        """Write the rest and the end-of-file marker, and make the file visible."""
        try:
            self._pieces.flush()
            self._pump.close()
            self._sink.write(EOF)
        except BaseException:
            self.abort()
            raise
        self._sink.commit()

    def abort(self) -> None:
        """Drop everything."""
        self._pump.abort()
        self._sink.abort()


# ---------------------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True)
class BlockGroup:
    """Consecutive blocks as they are stored.

    Attributes
    ----------
    data : memoryview
    offset : int
        0-based offset of the first block in the file.
    stored, plain : list of int
        Compressed and uncompressed size of each block.
    """

    data: memoryview
    offset: int
    stored: list[int]
    plain: list[int]


def cut_groups(feed: Feed) -> Iterator[BlockGroup]:
    """Groups of whole blocks from where the feed stands; ends before the first thing that is no whole BGZF block."""
    while len(data := feed.peek(READ_BYTES)) >= _HEADER_BYTES:
        stored: list[int] = []
        plain: list[int] = []
        at, sane = 0, True
        while sane and at + _HEADER_BYTES <= len(data) and is_bgzf(data[at : at + _HEADER_BYTES]):
            size = int.from_bytes(data[at + 16 : at + 18], "little") + 1
            if at + size > len(data):
                break
            length = int.from_bytes(data[at + size - 4 : at + size], "little")
            # A block that cannot be right goes out too: the error is then raised after all blocks before it.
            sane = size >= _HEADER_BYTES + 8 and length <= _LARGEST_BLOCK
            stored.append(size)
            plain.append(length)
            at += size
        if not at:
            return
        group = BlockGroup(data[:at], feed.offset, stored, plain)
        feed.skip(at)
        yield group
        if not sane:
            return


def inflate_group(name: str, group: BlockGroup) -> bytes:
    """Uncompressed bytes of a group.

    Raises
    ------
    InputError
        A block is damaged; the offset is that of the block.
    """
    parts: list[bytearray] = []
    at = 0
    for size, length in zip(group.stored, group.plain, strict=True):
        if size < _HEADER_BYTES + 8 or length > _LARGEST_BLOCK:
            raise _damaged(name, group.offset + at, "its sizes cannot be right")
        body = group.data[at + _HEADER_BYTES : at + size - 8]
        try:
            plain = deflate.deflate_decompress(body, length) if length else _inflate_empty(body)
        except deflate.DeflateError as error:
            raise _damaged(name, group.offset + at, str(error) or "it cannot be inflated") from error
        if len(plain) != length:
            raise _damaged(name, group.offset + at, "it does not have the length noted for it")
        checksum = int.from_bytes(group.data[at + size - 8 : at + size - 4], "little")
        if deflate.crc32(plain) != checksum:
            raise _damaged(name, group.offset + at, "it does not have the checksum noted for it")
        parts.append(plain)
        at += size
    return b"".join(parts)


def _inflate_empty(body: memoryview) -> bytearray:
    # Room for one byte, so that a block that is not empty after all shows.
    inflated: bytearray = deflate.deflate_decompress(body, 1)
    return inflated


def _damaged(name: str, offset: int, reason: str) -> InputError:
    return InputError(
        name, f"damaged BGZF block: {reason}", offset=offset,
        remedy="the file is damaged: copy or download it again and compare its checksum with the original's",
    )


def inflate_bgzf(
    feed: Feed, runner: Runner, ending: Ending, require_eof: bool | None
) -> Iterator[bytes | memoryview]:
    """Decompressed blocks of a BGZF file, inflated on all workers.

    Plain gzip members after the blocks (``cat a.bgz b.gz``) are read too.

    Parameters
    ----------
    feed : Feed
    runner : Runner
    ending : Ending
        Known at the end.
    require_eof : bool or None
        Whether a file without the end-of-file marker is an error. None: if it is BAM; some programs that write FASTQ
        leave the marker out.

    Raises
    ------
    InputError
        The file is damaged or cut short.
    """
    marker = False

    def groups() -> Iterator[BlockGroup]:
        nonlocal marker
        for group in cut_groups(feed):
            marker = bytes(group.data[-len(EOF) :]) == EOF
            yield group

    ahead = runner.workers + 4
    for data in runner.map(functools.partial(inflate_group, feed.name), groups(), ahead=ahead):
        if require_eof is None and data:
            require_eof = data.startswith(b"BAM\1")
        if data:
            yield data
    if feed.peek(1):
        if is_bgzf(feed.peek(_HEADER_BYTES)):
            raise feed.cut_short("within a BGZF block")
        yield from inflate_gzip(feed)
        return
    if require_eof and not marker:
        raise feed.cut_short("without the BGZF end-of-file marker")
    ending.has_marker = marker
