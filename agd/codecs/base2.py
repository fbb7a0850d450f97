"""Bases packed into two bits each (``spec/codecs/base2.md``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from agd import kernels
from agd.batch import I64, U8, AnyColumn, Bool, Column
from agd.codecs.base import Kind, register
from agd.codecs.streams import StreamReader, StreamWriter
from agd.errors import CodecError
from agd.kernels.memory import empty


@dataclass(frozen=True, slots=True)
class PackedBases:
    """Bases in two bits each: who only moves them need not unpack them.

    Attributes
    ----------
    values : ndarray of uint8, shape ((bases + 3) // 4,)
        Four bases in a byte, the first lowest: A 0, C 1, G 2, T 3.
    offsets : ndarray of int64, shape (records + 1,)
        Record ``i`` is bases ``offsets[i]:offsets[i + 1]``; ``offsets[0]`` is 0.
    run_starts, run_lengths : ndarray of int64, shape (runs,)
        Runs of one letter that is not A, C, G or T, ascending: first base (0-based) and number of bases.
    run_letters : ndarray of uint8, shape (runs,)
        The letter of each run.
    """

    values: U8
    offsets: I64
    run_starts: I64
    run_lengths: I64
    run_letters: U8

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> I64:
        """Number of bases of each record, int64, shape (records,)."""
        return np.diff(self.offsets)

    @staticmethod
    def of(column: Column) -> PackedBases:
        """Pack the letters of a column."""
        column = column.compact()
        assert column.offsets is not None
        values = np.empty((len(column.values) + 3) // 4, np.uint8)
        return PackedBases(values, column.offsets, *kernels.base2_pack(column.values, column.offsets, values))

    @property
    def have_runs(self) -> Bool:
        """Which records have some of the runs, bool, shape (records,)."""
        first = np.searchsorted(self.offsets, self.run_starts, "right") - 1
        past = np.searchsorted(self.offsets, self.run_starts + self.run_lengths, "left")
        change = np.zeros(len(self) + 1, np.int32)
        np.add.at(change, first, 1)
        np.subtract.at(change, past, 1)
        return np.cumsum(change[:-1]) > 0

    def unpack(self) -> Column:
        """The letters."""
        values = empty(int(self.offsets[-1]))
        kernels.base2_unpack(self.values, len(values), values)
        kernels.fill_runs(values, self.run_starts, self.run_lengths, self.run_letters)
        return Column(values, self.offsets)


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
        return self.encode_packed(PackedBases.of(column))

    def encode_packed(self, bases: PackedBases) -> bytes:
        """As :meth:`encode`, of what is packed already."""
        writer = StreamWriter(self.level)
        write_packed(writer, bases)
        return writer.finish()

    def decode(self, data: memoryview, count: int, sizes: I64 | None) -> Column:
        """See :class:`agd.codecs.base.PackCodec`."""
        assert sizes is not None
        return self.decode_packed(data, sizes).unpack()

    def decode_packed(self, data: memoryview, sizes: I64) -> PackedBases:
        """As :meth:`decode`, but packed."""
        reader = StreamReader(data, "base2")
        bases = read_packed(reader, sizes)
        reader.finish()
        return bases


def write_packed(writer: StreamWriter, bases: PackedBases) -> None:
    """Streams of bases: ``bases``, and the runs that are not A, C, G or T."""
    write_runs(writer, bases)
    writer.add("bases", bases.values)


def read_packed(reader: StreamReader, sizes: I64) -> PackedBases:
    """What was given to :func:`write_packed`, from the number of bases of each record."""
    return read_runs(reader, reader.get("bases", (int(sizes.sum()) + 3) // 4), sizes)


def write_runs(writer: StreamWriter, bases: PackedBases) -> None:
    """Streams of the runs alone."""
    if len(bases.run_starts):
        gaps = bases.run_starts.copy()
        gaps[1:] -= bases.run_starts[:-1] + bases.run_lengths[:-1]
        writer.add("run.letter", bases.run_letters)
        writer.numbers("run.gap", gaps)
        writer.numbers("run.length", bases.run_lengths - 1)


def read_runs(reader: StreamReader, values: U8, sizes: I64) -> PackedBases:
    """What was given to :func:`write_runs`, from the values and the number of bases of each record."""
    offsets = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    total = int(offsets[-1])
    if len(values) != (total + 3) // 4:
        raise CodecError("base2", "bases", f"{len(values)} bytes for {total} bases")
    if total % 4 and values[-1] >> (2 * (total % 4)):
        raise CodecError("base2", "bases", "padding that is not zero")
    letters = reader.get("run.letter", total)
    lengths = reader.numbers("run.length", len(letters), total) + 1
    ends = np.cumsum(reader.numbers("run.gap", len(letters), total) + lengths)
    if len(letters) and (int(ends.min()) < 0 or int(ends.max()) > total):
        raise CodecError("base2", "run.gap", f"runs end at {int(ends.max())} of {total} bases")
    return PackedBases(values, offsets, ends - lengths, lengths, letters)
