"""Tags that can be computed from the bases and the reference (``spec/codecs/derived.md``)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from agd import kernels
from agd.batch import I64, U8, Alignments, AnyColumn, Bool, Column
from agd.codecs.base import Kind, register
from agd.codecs.context import Context
from agd.errors import CodecError, KernelError
from agd.types import Flag, Orientation

_NM, _MD = (int.from_bytes(name, "little") for name in (b"NM", b"MD"))

#: Expected values of a tag: the tag, its type, values with offsets, and where there is one.
_Expected = tuple[int, int, U8, I64, Bool]


@register
class Derived:
    """The values of NM and MD are left out where they are what the bases and the reference give; their places stay."""

    name: ClassVar[str] = "derived"
    version: ClassVar[int] = 1
    kind: ClassVar[Kind] = Kind.VALUES
    needs: ClassVar[tuple[str, ...]] = ("bases",)

    def config(self) -> dict[str, Any]:
        """See :class:`agd.codecs.base.Codec`."""
        return {}

    def encode(self, column: AnyColumn, context: Context) -> Alignments:
        """See :class:`agd.codecs.base.ValuesCodec`."""
        if not isinstance(column, Alignments):
            raise CodecError("derived", "codecs", "takes alignments only")
        tags = column.tags
        try:
            for expected in expected_tags(column, context):
                assert tags.offsets is not None
                out, offsets = np.empty(len(tags.values), np.uint8), np.empty(len(tags) + 1, np.int64)
                values = np.ascontiguousarray(tags.values)
                kernels.aux_omit(values, np.ascontiguousarray(tags.offsets), *expected, out, offsets)
                tags = Column(out[: offsets[-1]], offsets)
        except KernelError as error:
            raise CodecError("derived", "tags", str(error)) from error
        return column.replace(tags=tags)

    def decode(self, column: AnyColumn, context: Context) -> Alignments:
        """See :class:`agd.codecs.base.ValuesCodec`."""
        if not isinstance(column, Alignments):
            raise CodecError("derived", "codecs", "follows a step that gives no alignments")
        tags = column.tags
        for expected in expected_tags(column, context):
            assert tags.offsets is not None
            offsets = np.empty(len(tags) + 1, np.int64)
            total = kernels.aux_restore(tags.values, tags.offsets, *expected, np.empty(0, np.uint8), offsets)
            out = np.empty(total, np.uint8)
            kernels.aux_restore(tags.values, tags.offsets, *expected, out, offsets)
            tags = Column(out, offsets)
        return column.replace(tags=tags)


def expected_tags(column: Alignments, context: Context) -> list[_Expected]:
    """NM and MD of every record that has a place and bases, as ``samtools calmd`` writes them."""
    bases = context.column("bases")
    if not isinstance(bases, Column) or len(bases) != len(column):
        raise CodecError("derived", "bases", "the alignments have no bases that belong to them")
    letters, contig_offsets = context.genome()
    bases = bases.compact()
    base_offsets, cigar_offsets = bases.offsets, column.cigar.offsets
    assert base_offsets is not None
    assert cigar_offsets is not None
    if context.orientation is Orientation.READ:
        turned = (column.flag & np.uint16(Flag.REVERSE)) != 0
        sequences = bases.values.copy()
        kernels.reverse_spans(sequences, base_offsets, turned, True)
    else:
        sequences = np.ascontiguousarray(bases.values)
    mapped = (column.flag & np.uint16(Flag.UNMAPPED)) == 0
    reference = np.where(mapped, column.reference, np.int32(-1)).astype(np.int32)
    cigar, cigar_offsets = np.ascontiguousarray(column.cigar.values), np.ascontiguousarray(cigar_offsets)
    nm, md_offsets = np.empty(len(column), np.int32), np.empty(len(column) + 1, np.int64)
    md = np.empty(kernels.md_bound(contig_offsets, reference, cigar, cigar_offsets, base_offsets), np.uint8)
    used = kernels.nm_md(
        letters, contig_offsets, reference, np.ascontiguousarray(column.position), cigar, cigar_offsets, sequences,
        base_offsets, nm, md, md_offsets,
    )  # fmt: skip
    known: Bool = nm >= 0
    small: Bool = known & (nm < 256)
    nm_offsets = np.zeros(len(column) + 1, np.int64)
    np.cumsum(small, out=nm_offsets[1:])
    return [
        (_NM, ord("C"), nm[small].astype(np.uint8), nm_offsets, small),
        (_MD, ord("Z"), md[:used], md_offsets, known),
    ]
