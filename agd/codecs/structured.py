"""Alignments as protobuf messages (``schemas/alignment.proto``)."""

from __future__ import annotations

from typing import Any, ClassVar

from agd.batch import Alignments, AnyColumn, Column
from agd.codecs.base import Kind, register
from agd.errors import CodecError
from agd.kernels import alignments


@register
class Protobuf:
    """One message ``agd.v1.Alignment`` per record; zero bytes for a null field."""

    name: ClassVar[str] = "protobuf"
    version: ClassVar[int] = 1
    kind: ClassVar[Kind] = Kind.VALUES

    def config(self) -> dict[str, Any]:
        """See :class:`agd.codecs.base.Codec`."""
        return {}

    def encode(self, column: AnyColumn) -> Column:
        """See :class:`agd.codecs.base.ValuesCodec`."""
        if not isinstance(column, Alignments):
            raise CodecError("protobuf", "codecs", "takes alignments only")
        return alignments.encode(column)

    def decode(self, column: AnyColumn) -> Alignments:
        """See :class:`agd.codecs.base.ValuesCodec`."""
        if not isinstance(column, Column):
            raise CodecError("protobuf", "codecs", "follows a step that gives no messages")
        return alignments.decode(column)
