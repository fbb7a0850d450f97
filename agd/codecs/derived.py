"""Tags that can be computed from the bases and the reference (``spec/codecs/derived.md``)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from agd import kernels
from agd.batch import I32, I64, U8, Alignments, AnyColumn, Column
from agd.codecs.base import Kind, register
from agd.codecs.context import Context, lacking_letters
from agd.errors import CodecError, KernelError
from agd.kernels.memory import empty
from agd.types import Flag, Orientation

#: No column of tags is larger than this once decoded (bytes).
LIMIT = 1 << 33

#: Bytes that the MD of a record has room for at first, besides one for 16 bases.
USUAL_MD = 16

#: NM of each record (int32, -1 where there is none), and the texts of MD with their offsets.
_Expected = tuple[I32, U8, I64]


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
        assert tags.offsets is not None
        values, offsets = np.ascontiguousarray(tags.values), np.ascontiguousarray(tags.offsets)
        out, out_offsets = np.empty(len(values), np.uint8), np.empty(len(tags) + 1, np.int64)
        try:
            kernels.aux_omit(values, offsets, *expected_tags(column, context), out, out_offsets)
        except KernelError as error:
            raise CodecError("derived", "tags", str(error)) from error
        return column.replace(tags=Column(out[: out_offsets[-1]], out_offsets))

    def decode(self, column: AnyColumn, context: Context) -> Alignments:
        """See :class:`agd.codecs.base.ValuesCodec`."""
        if not isinstance(column, Alignments):
            raise CodecError("derived", "codecs", "follows a step that gives no alignments")
        tags = column.tags
        assert tags.offsets is not None
        expected = expected_tags(column, context)
        # One NM and one MD a record is what there is, hardly ever more.
        room = len(tags.values) + 2 * len(tags) + int(expected[2][-1])
        out, offsets = empty(room), np.empty(len(tags) + 1, np.int64)
        total = kernels.aux_restore(tags.values, tags.offsets, *expected, out, offsets)
        if total > LIMIT:
            raise CodecError("derived", "tags", f"{total} bytes of tags")
        if total > room:
            out = np.empty(total, np.uint8)
            kernels.aux_restore(tags.values, tags.offsets, *expected, out, offsets)
        return column.replace(tags=Column(out[:total], offsets))


def expected_tags(column: Alignments, context: Context) -> _Expected:
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
    position = np.ascontiguousarray(column.position)

    def compute(room: int) -> tuple[U8, int]:
        md = empty(room)
        return md, kernels.nm_md(
            letters, contig_offsets, reference, position, cigar, cigar_offsets, sequences, base_offsets, nm, md,
            md_offsets,
        )  # fmt: skip

    try:
        # Few differences are the rule; what all of them could take is much more, and takes time to find out.
        md, used = compute(USUAL_MD * len(column) + len(sequences) // 16 + (1 << 12))
    except KernelError:
        md, used = compute(kernels.md_bound(contig_offsets, reference, cigar, cigar_offsets, base_offsets))
    if not md[:used].all():
        raise lacking_letters("derived")
    return nm, md[:used], md_offsets
