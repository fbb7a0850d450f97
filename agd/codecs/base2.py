"""Bases packed into two bits each (``spec/codecs/base2.md``)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from agd import kernels
from agd.batch import I64, U8, AnyColumn, Column
from agd.codecs.base import Kind, register
from agd.codecs.streams import StreamReader, StreamWriter
from agd.errors import CodecError
from agd.kernels.memory import empty


@register
class Base2:
    """Four bases in each byte, and a list of the runs of letters that are not A, C, G or T.

    Parameters
    ----------
    level : int
        Of Zstandard, -50 to 22.
    """

    name: ClassVar[str] = "base2"
    version: ClassVar[int] = 1
    kind: ClassVar[Kind] = Kind.PACK
    sized: ClassVar[bool] = True

    def __init__(self, level: int = 1) -> None:
        self.level = level
        StreamWriter(level)

    def config(self) -> dict[str, Any]:
        """See :class:`agd.codecs.base.Codec`."""
        return {"level": self.level}

    def encode(self, column: AnyColumn) -> bytes:
        """See :class:`agd.codecs.base.PackCodec`."""
        if not isinstance(column, Column):
            raise CodecError("base2", "codecs", "takes records of letters only")
        writer = StreamWriter(self.level)
        write_bases(writer, column.compact())
        return writer.finish()

    def decode(self, data: memoryview, count: int, sizes: I64 | None) -> Column:
        """See :class:`agd.codecs.base.PackCodec`."""
        assert sizes is not None
        reader = StreamReader(data, "base2")
        values = read_bases(reader, int(sizes.sum()))
        reader.finish()
        return Column.from_lengths(values, sizes)


def write_bases(writer: StreamWriter, column: Column) -> None:
    """Streams of letters laid end to end: ``bases``, and the runs that are not A, C, G or T."""
    writer.add("bases", pack_bases(writer, column))


def pack_bases(writer: StreamWriter, column: Column) -> U8:
    """Four letters in a byte; the runs that are not A, C, G or T go to streams of their own."""
    assert column.offsets is not None
    packed = np.empty((len(column.values) + 3) // 4, np.uint8)
    starts, lengths, letters = kernels.base2_pack(column.values, column.offsets, packed)
    if len(starts):
        gaps = starts.copy()
        gaps[1:] -= starts[:-1] + lengths[:-1]
        writer.add("run.letter", letters)
        writer.numbers("run.gap", gaps)
        writer.numbers("run.length", lengths - 1)
    return packed


def read_bases(reader: StreamReader, total: int) -> U8:
    """The ``total`` letters that were given to :func:`write_bases`."""
    return unpack_bases(reader, reader.get("bases", (total + 3) // 4), total)


def unpack_bases(reader: StreamReader, packed: U8, total: int) -> U8:
    """The ``total`` letters that were given to :func:`pack_bases`."""
    if len(packed) != (total + 3) // 4:
        raise CodecError("base2", "bases", f"{len(packed)} bytes for {total} bases")
    values = empty(total)
    kernels.base2_unpack(packed, total, values)
    letters = reader.get("run.letter", total)
    if len(letters):
        lengths = reader.numbers("run.length", len(letters), total) + 1
        ends = np.cumsum(reader.numbers("run.gap", len(letters), total) + lengths)
        if int(ends[-1]) > total:
            raise CodecError("base2", "run.gap", f"runs end at {int(ends[-1])} of {total} bases")
        kernels.fill_runs(values, ends - lengths, lengths, letters)
    return values
