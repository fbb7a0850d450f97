"""Qualities in the order of sequencing (``spec/codecs/strand.md``)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from agd import kernels
from agd.batch import Alignments, AnyColumn, Column
from agd.codecs.base import Kind, register
from agd.codecs.context import Context
from agd.errors import CodecError
from agd.types import Flag, Orientation


@register
class Strand:
    """Turns the records around that alignments have on the reverse strand, where the dataset is oriented as SEQ.

    Qualities fall along the read: a model that knows the position does better where all begin with the first cycle.
    """

    name: ClassVar[str] = "strand"
    version: ClassVar[int] = 1
    kind: ClassVar[Kind] = Kind.VALUES
    needs: ClassVar[tuple[str, ...]] = ("results",)
    needs_reference: ClassVar[bool] = False

    def config(self) -> dict[str, object]:
        """See :class:`agd.codecs.base.Codec`."""
        return {}

    def encode(self, column: AnyColumn, context: Context) -> Column:
        """See :class:`agd.codecs.base.ValuesCodec`."""
        return _turned(column, context)

    def decode(self, column: AnyColumn, context: Context) -> Column:
        """See :class:`agd.codecs.base.ValuesCodec`."""
        return _turned(column, context)


def _turned(column: AnyColumn, context: Context) -> Column:
    if not isinstance(column, Column) or column.offsets is None or column.values.dtype != np.uint8:
        raise CodecError("strand", "codecs", "takes records of text only")
    if context.orientation is Orientation.READ:
        return column
    results = context.column("results")
    if not isinstance(results, Alignments) or len(results) != len(column):
        raise CodecError("strand", "results", "the qualities have no alignments that belong to them")
    column = column.compact()
    values = column.values.copy()
    assert column.offsets is not None
    kernels.reverse_spans(values, column.offsets, (results.flag & np.uint16(Flag.REVERSE)) != 0, False)
    return Column(values, column.offsets)
