"""The arrays of SAM records that the SAM and BAM kernels read and fill."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from agd.batch import I32, I64, U8, U16, U32


class RecordArrays(NamedTuple):
    """SAM records as arrays, in the order in which native kernels take them.

    All offsets are int64, shape (records + 1,); ragged field of record ``i``: ``values[offsets[i]:offsets[i + 1]]``.
    Kernels that fill records get arrays with room enough (values may be longer than what is used).

    Attributes
    ----------
    flag, reference, position, mapping_quality, mate_reference, mate_position, template_length
        As in :class:`agd.batch.Alignments`: 0-based positions, -1 for none.
    names : uint8
        QNAME without terminator; empty stands for ``*``.
    cigar : uint32
        BAM operations ``length << 4 | code``; empty stands for ``*``.
    bases : uint8
        SEQ as ASCII; empty stands for ``*``.
    qualities : uint8
        QUAL as ASCII (Phred + 33); empty stands for ``*`` (missing).
    tags : uint8
        Aux fields as in BAM (SAM specification, section 4.2.4): tag, type, value, end to end.
    """

    flag: U16
    reference: I32
    position: I64
    mapping_quality: U8
    mate_reference: I32
    mate_position: I64
    template_length: I64
    names: U8
    name_offsets: I64
    cigar: U32
    cigar_offsets: I64
    bases: U8
    base_offsets: I64
    qualities: U8
    quality_offsets: I64
    tags: U8
    tag_offsets: I64

    def slice(self, start: int, stop: int) -> RecordArrays:
        """Records ``start`` to ``stop`` (0-based, half-open); shares the arrays, so offsets need not begin at 0."""
        fixed, ragged = self[:7], self[7:]
        parts: list[Any] = [values[start:stop] for values in fixed]
        for values, offsets in zip(ragged[::2], ragged[1::2], strict=True):
            parts += (values, offsets[start : stop + 1])
        return RecordArrays(*parts)

    @staticmethod
    def allocate(records: int, names: int, cigar: int, bases: int, qualities: int, tags: int) -> RecordArrays:
        """Arrays with room for ``records`` records and that many values of each ragged field."""
        return RecordArrays(
            np.empty(records, np.uint16), np.empty(records, np.int32), np.empty(records, np.int64),
            np.empty(records, np.uint8), np.empty(records, np.int32), np.empty(records, np.int64),
            np.empty(records, np.int64),
            np.empty(names, np.uint8), np.zeros(records + 1, np.int64),
            np.empty(cigar, np.uint32), np.zeros(records + 1, np.int64),
            np.empty(bases, np.uint8), np.zeros(records + 1, np.int64),
            np.empty(qualities, np.uint8), np.zeros(records + 1, np.int64),
            np.empty(tags, np.uint8), np.zeros(records + 1, np.int64),
        )  # fmt: skip
