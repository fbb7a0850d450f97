"""Bases packed into two bits each, coded in twos (``spec/codecs/dinucleotides.md``)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from agd import kernels
from agd.batch import I64, AnyColumn, Column
from agd.codecs.base import register
from agd.codecs.base2 import Base2, PackedBases, read_runs, write_runs
from agd.codecs.streams import RANS_LEVEL, StreamReader, StreamWriter
from agd.errors import CodecError

_HALVES = np.arange(16, dtype=np.uint8)


@register
class Dinucleotides(Base2):
    """As ``base2``; but where it is smaller, two bases make a symbol, whose probability depends on the two before it.

    Genomes are not random: of 16 dinucleotides after each other some are rare, such as those with CG in mammals.

    Parameters
    ----------
    level : int
        Of Zstandard, -50 to 22; dinucleotides are tried from 3 on.
    """

    name: ClassVar[str] = "dinucleotides"

    def __init__(self, level: int = 3) -> None:
        super().__init__(level)

    def encode(self, column: AnyColumn) -> bytes:
        """See :class:`agd.codecs.base.PackCodec`."""
        if not isinstance(column, Column):
            raise CodecError("dinucleotides", "codecs", "takes records of letters only")
        writer, bases = StreamWriter(self.level), PackedBases.of(column)
        write_runs(writer, bases)
        streams = {"bases": bases.values}
        if self.level >= RANS_LEVEL:
            streams["pairs"] = np.empty(2 * len(bases.values), np.uint8)
            kernels.symbols_unpack(bases.values, _HALVES, streams["pairs"])
        writer.add_smaller(streams)
        return writer.finish()

    def decode(self, data: memoryview, count: int, sizes: I64 | None) -> Column:
        """See :class:`agd.codecs.base.PackCodec`."""
        assert sizes is not None
        reader = StreamReader(data, "dinucleotides")
        size = (int(sizes.sum()) + 3) // 4
        if "pairs" in reader.entries:
            pairs = reader.exactly("pairs", 2 * size)
            packed = np.empty(size, np.uint8)
            kernels.symbols_pack(pairs, _HALVES, packed)
        else:
            packed = reader.get("bases", size)
        bases = read_runs(reader, packed, sizes)
        reader.finish()
        return bases.unpack()
