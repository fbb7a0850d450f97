"""Bases packed into three bits each (``spec/codecs/base3.md``)."""

from __future__ import annotations

import struct
from typing import Any, ClassVar

import numpy as np

from agd import kernels
from agd.batch import I64, AnyColumn, Column
from agd.codecs.base import Kind, register
from agd.errors import CodecError


@register
class Base3:
    """21 bases in each 64-bit word, and a list of the letters that are not A, C, G, T or N.

    Payload: u64 number of exceptions ``n``; ``n`` u64 positions (0-based, within all bases of the chunk end to end,
    ascending); ``n`` letters, zero padded to a multiple of 8 bytes; the words of all records.
    """

    name: ClassVar[str] = "base3"
    version: ClassVar[int] = 1
    kind: ClassVar[Kind] = Kind.PACK
    sized: ClassVar[bool] = True

    def config(self) -> dict[str, Any]:
        """See :class:`agd.codecs.base.Codec`."""
        return {}

    def encode(self, column: AnyColumn) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """See :class:`agd.codecs.base.PackCodec`."""
        assert isinstance(column, Column)
        column = column.compact()
        assert column.offsets is not None
        words = np.empty(int((column.lengths // 21 + 1).sum()), np.uint64)
        exceptions = kernels.base3_pack(column.values, column.offsets, words)
        head = struct.pack("<Q", exceptions)
        if exceptions:
            positions, letters = np.empty(exceptions, np.int64), np.zeros(-(-exceptions // 8) * 8, np.uint8)
            kernels.base3_exceptions(column.values, positions, letters)
            head += positions.astype("<u8").tobytes() + letters.tobytes()
        out = np.empty(len(head) + words.nbytes, np.uint8)
        out[: len(head)] = np.frombuffer(head, np.uint8)
        out[len(head) :] = words.view(np.uint8)
        return out

    def decode(self, data: memoryview, count: int, sizes: I64 | None) -> Column:
        """See :class:`agd.codecs.base.PackCodec`."""
        assert sizes is not None
        if len(data) < 8 or len(data) % 8:
            raise CodecError("base3", "payload", f"{len(data)} bytes are not whole words")
        exceptions = struct.unpack_from("<Q", data)[0]
        start = 8 + exceptions * 8 + -(-exceptions // 8) * 8
        total = int(sizes.sum())
        if exceptions > total or start > len(data):
            raise CodecError("base3", "exceptions", f"{exceptions} exceptions in {total} bases")
        words = np.frombuffer(data, "<u8", offset=start)
        if len(words) != int((sizes // 21 + 1).sum()):
            raise CodecError("base3", "payload", f"{len(words)} words do not fit the record sizes")
        values = np.empty(total, np.uint8)
        kernels.base3_unpack(words, sizes, values)
        if exceptions:
            positions = np.frombuffer(data, "<u8", exceptions, 8)
            if int(positions.max()) >= total or (positions[1:] <= positions[:-1]).any():
                raise CodecError("base3", "exceptions", "positions do not ascend within the bases")
            values[positions.astype(np.int64)] = np.frombuffer(data, np.uint8, exceptions, 8 + 8 * exceptions)
        return Column.from_lengths(values, sizes)
