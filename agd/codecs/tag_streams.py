"""Tags as one stream for each tag (``spec/codecs/tags.md``)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from agd import kernels
from agd.batch import I64, U32, AnyColumn, Column
from agd.codecs.base import Kind, register
from agd.codecs.streams import StreamReader, StreamWriter
from agd.errors import CodecError, KernelError
from agd.kernels.memory import empty

#: Bytes of the values of the types of one size.
SIZES = {"A": 1, "c": 1, "C": 1, "s": 2, "S": 2, "i": 4, "I": 4, "f": 4, "d": 8}

#: No stream of a tag, and no column of tags, is larger than this once decoded (bytes).
LIMIT = 1 << 33

#: No chunk has more different lines of tags than records; each field of one costs three bytes.
MAX_LINES_BYTES = 1 << 26


@register
class Tags:
    """Aux fields taken apart: the line of names and types of each record, and the values of each tag end to end.

    Parameters
    ----------
    level : int
        Of Zstandard, -50 to 22.
    """

    name: ClassVar[str] = "tags"
    version: ClassVar[int] = 1
    kind: ClassVar[Kind] = Kind.PACK
    sized: ClassVar[bool] = False

    def __init__(self, level: int = 3) -> None:
        self.level = level
        StreamWriter(level)

    def config(self) -> dict[str, Any]:
        """See :class:`agd.codecs.base.Codec`."""
        return {"level": self.level}

    def encode(self, column: AnyColumn) -> bytes:
        """See :class:`agd.codecs.base.PackCodec`."""
        if not isinstance(column, Column):
            raise CodecError("tags", "codecs", "takes records of bytes only")
        writer = StreamWriter(self.level)
        write_tags(writer, column)
        return writer.finish()

    def decode(self, data: memoryview, count: int, sizes: I64 | None) -> Column:
        """See :class:`agd.codecs.base.PackCodec`."""
        reader = StreamReader(data, "tags")
        column = read_tags(reader, count)
        reader.finish()
        return column


def write_tags(writer: StreamWriter, column: Column) -> None:
    """Streams of a column of tags: ``tag.line`` (the line of each record), ``tag.lines`` and one for each tag.

    A column with tags that do not parse is kept as it is, in ``tag.raw`` and ``tag.size``.
    """
    assert column.offsets is not None
    values, offsets = np.ascontiguousarray(column.values), np.ascontiguousarray(column.offsets)
    codes = np.empty(len(column), np.uint32)
    try:
        lines, counts, keys, streams = kernels.tag_split(values, offsets, codes)
    except KernelError:
        lines = None
    if lines is None or any(key[2] == 0 for key in keys) or sum(len(line) + 4 for line in lines) > MAX_LINES_BYTES:
        column = column.compact()
        writer.add("tag.raw", column.values)
        writer.numbers("tag.size", column.lengths)
        return
    codes, lines = _by_frequency(codes, lines, counts)
    writer.numbers("tag.line", codes)
    writer.add("tag.lines", b"".join(len(line).to_bytes(4, "little") + line for line in lines))
    for key, stream in zip(keys, streams, strict=True):
        size, name = SIZES.get(chr(key[2]), 0), key.decode("latin-1")
        if size > 1:
            for plane in range(size):
                writer.add(f"{name}:{plane}", np.ascontiguousarray(stream[plane::size]))
        else:
            writer.add(name, stream)


def _by_frequency(codes: U32, lines: list[bytes], counts: I64) -> tuple[U32, list[bytes]]:
    order = np.argsort(-counts, kind="stable")
    rank = np.empty(len(lines), np.uint32)
    rank[order] = np.arange(len(lines), dtype=np.uint32)
    return rank[codes], [lines[i] for i in order.tolist()]


def read_tags(reader: StreamReader, count: int) -> Column:
    """The column of ``count`` records that was given to :func:`write_tags`."""
    if any(name.startswith(("tag.raw", "tag.size")) for name in reader.entries):
        raw = reader.get("tag.raw", LIMIT)
        lengths = reader.numbers("tag.size", count, len(raw))
        if int(lengths.sum()) != len(raw):
            raise CodecError("tags", "tag.size", f"sizes do not add up to {len(raw)}")
        return Column.from_lengths(raw, lengths)
    lines = _lines(reader.get("tag.lines", MAX_LINES_BYTES).tobytes())
    codes = reader.numbers("tag.line", count, max(0, len(lines) - 1)).astype(np.uint32)
    if not lines and count:
        raise CodecError("tags", "tag.lines", "there is no line of tags")
    keys = list(dict.fromkeys(line[i : i + 3] for line in lines for i in range(0, len(line), 3)))
    streams = [_values(reader, key) for key in keys]
    sizes = np.array([len(line) for line in lines], np.int64)
    total = sum(map(len, streams)) + int(sizes[codes].sum())
    if total > LIMIT:
        raise CodecError("tags", "tag.line", f"{total} bytes of tags")
    values, offsets = empty(total), np.empty(count + 1, np.int64)
    kernels.tag_join(codes, lines, keys, streams, values, offsets)
    return Column(values, offsets)


def _lines(data: bytes) -> list[bytes]:
    lines, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        at += 4 + size
        if at > len(data) or size % 3:
            raise CodecError("tags", "tag.lines", "a line of tags is cut short")
        lines.append(data[at - size : at])
    return lines


def _values(reader: StreamReader, key: bytes) -> Any:
    size, name = SIZES.get(chr(key[2]), 0), key.decode("latin-1")
    if size <= 1:
        return reader.get(name, LIMIT)
    planes = [reader.get(f"{name}:{plane}", LIMIT) for plane in range(size)]
    if len({len(plane) for plane in planes}) > 1:
        raise CodecError("tags", name, "its bytes differ in number")
    return np.ascontiguousarray(np.stack(planes, axis=1)).reshape(-1)
