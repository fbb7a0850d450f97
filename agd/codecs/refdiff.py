"""Bases as differences to the reference (``spec/codecs/refdiff.md``)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from agd import kernels
from agd.batch import I64, U8, Alignments, AnyColumn, Column
from agd.codecs.base import Kind, register
from agd.codecs.base2 import PackedBases, read_packed, write_packed
from agd.codecs.context import Context, lacking_letters
from agd.codecs.streams import StreamReader, StreamWriter
from agd.errors import CodecError
from agd.kernels.memory import empty
from agd.types import Flag, Orientation


@register
class RefDiff:
    """What the reads have other than the reference under their alignments (the column ``results`` of the same chunk).

    Parameters
    ----------
    level : int
        Of Zstandard, -50 to 22.
    """

    name: ClassVar[str] = "refdiff"
    version: ClassVar[int] = 1
    kind: ClassVar[Kind] = Kind.PACK
    sized: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("results",)

    def __init__(self, level: int = 3) -> None:
        self.level = level
        StreamWriter(level)

    def config(self) -> dict[str, Any]:
        """See :class:`agd.codecs.base.Codec`."""
        return {"level": self.level}

    def encode(self, column: AnyColumn, context: Context) -> bytes:
        """See :class:`agd.codecs.base.PackCodec`."""
        if not isinstance(column, Column):
            raise CodecError("refdiff", "codecs", "takes records of letters only")
        column = column.compact()
        assert column.offsets is not None
        expected, predicted = predict(column.offsets, context)
        writer = StreamWriter(self.level)
        different = np.flatnonzero(column.values != expected)
        free = expected[different] == 0
        literals = column.values[different[free]]
        if len(literals) != len(expected) - predicted:
            literals = column.values[expected == 0]  # some of them are zeros themselves
        write_packed(writer, PackedBases.of(Column(literals, np.array([0, len(literals)]))))
        different = different[~free]
        writer.numbers("different.gap", np.diff(different, prepend=-1) - 1)
        writer.add("different.letter", column.values[different])
        return writer.finish()

    def decode(self, data: memoryview, count: int, sizes: I64 | None, context: Context) -> Column:
        """See :class:`agd.codecs.base.PackCodec`."""
        assert sizes is not None
        column = Column.from_lengths(np.empty(0, np.uint8), sizes)
        assert column.offsets is not None
        values, predicted = predict(column.offsets, context)
        reader = StreamReader(data, "refdiff")
        literals = read_packed(reader, np.array([len(values) - predicted], np.int64))
        kernels.fill_zeros(values, literals.unpack().values)
        letters = reader.get("different.letter", len(values))
        if len(letters):
            places = np.cumsum(reader.numbers("different.gap", len(letters), len(values)) + 1) - 1
            if int(places[-1]) >= len(values):
                raise CodecError("refdiff", "different.gap", f"a place beyond {len(values)} bases")
            values[places] = letters
        reader.finish()
        return Column(values, column.offsets)


def predict(offsets: I64, context: Context) -> tuple[U8, int]:
    """Bases that the alignments of the chunk lead to expect, 0 where there is nothing to expect; and how many."""
    results = context.column("results")
    if not isinstance(results, Alignments) or len(results) != len(offsets) - 1:
        raise CodecError("refdiff", "results", "the bases have no alignments that belong to them")
    letters, contig_offsets = context.genome()
    placed = results.flag & np.uint16(Flag.UNMAPPED) == 0
    turned = (results.flag & np.uint16(Flag.REVERSE) != 0) & (context.orientation is Orientation.READ)
    out = empty(int(offsets[-1]))
    cigar = results.cigar
    assert cigar.offsets is not None
    predicted, lacking = kernels.predict_bases(
        letters, contig_offsets, np.where(placed, results.reference, np.int32(-1)).astype(np.int32),
        np.ascontiguousarray(results.position), np.ascontiguousarray(cigar.values),
        np.ascontiguousarray(cigar.offsets), turned, offsets, out,
    )  # fmt: skip
    if lacking:
        raise lacking_letters("refdiff")
    return out, predicted
