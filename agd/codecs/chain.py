"""A chain of codecs: from a column to the bytes that are stored, and back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import numpy as np

from agd.batch import I64, Alignments, AnyColumn, Column
from agd.codecs.base import BytesCodec, Codec, Kind, PackCodec, ValuesCodec, describe, make
from agd.codecs.base2 import Base2, PackedBases
from agd.codecs.context import Context, needs
from agd.errors import AgdError, CodecError, KernelError


class Encoded(NamedTuple):
    """What a chain makes of a column.

    Attributes
    ----------
    sizes : ndarray of int64, shape (records,), or None
        Record sizes for the relative index; None when the payload knows them itself.
    data : bytes-like
        The payload as it is stored.
    raw_size : int
        Bytes of the payload before the bytes → bytes steps.
    """

    sizes: I64 | None
    data: Any
    raw_size: int


class Chain:
    """Codecs in the order of encoding.

    Parameters
    ----------
    codecs : list of Codec
        VALUES steps, then at most one PACK step, then BYTES steps.
    where : str
        Name of the object for errors.
    """

    def __init__(self, codecs: list[Codec], where: str = "codec chain") -> None:
        order = [Kind.VALUES, Kind.PACK, Kind.BYTES]
        ranks = [order.index(codec.kind) for codec in codecs]
        if ranks != sorted(ranks) or ranks.count(1) > 1:
            raise CodecError(where, "codecs", f"cannot follow each other: {' '.join(c.name for c in codecs)}")
        self.values = [cast(ValuesCodec, c) for c in codecs if c.kind is Kind.VALUES]
        self.pack = next((cast(PackCodec, c) for c in codecs if c.kind is Kind.PACK), None)
        self.bytes = [cast(BytesCodec, c) for c in codecs if c.kind is Kind.BYTES]
        self.where = where

    @staticmethod
    def from_json(chain: list[dict[str, Any]], where: str = "codec chain") -> Chain:
        """Chain from the JSON that headers and manifests hold."""
        return Chain([make(config, where) for config in chain], where)

    def to_json(self) -> list[dict[str, Any]]:
        """JSON for headers and manifests."""
        steps: list[Codec] = [*self.values, *([self.pack] if self.pack else []), *self.bytes]
        return [describe(codec) for codec in steps]

    @property
    def keeps_packed(self) -> bool:
        """Whether the chain takes and gives packed bases: ``base2`` stores them, and no other step changes them."""
        return type(self.pack) is Base2 and not self.values

    def encode(self, column: AnyColumn | PackedBases, context: Context | None = None) -> Encoded:
        """Run all steps over a column; the context is for steps that need other columns of the chunk."""
        if isinstance(column, PackedBases):
            assert self.keeps_packed
            return self._encode_bytes(column.lengths, cast(Base2, self.pack).encode_packed(column))
        for step in self.values:
            column = step.encode(column, *self._given(step, context))
        sizes: I64 | None = None
        if self.pack is not None:
            if self.pack.sized:
                if not isinstance(column, Column) or column.offsets is None:
                    raise CodecError(self.where, "codecs", f"{self.pack.name} takes records of letters or bytes only")
                sizes = column.lengths
            data = self.pack.encode(column, *self._given(self.pack, context))
        else:
            if isinstance(column, Alignments):
                raise CodecError(self.where, "codecs", "no step turns alignments into bytes")
            column = column.compact()
            sizes = column.lengths if column.offsets is not None else np.full(
                len(column), column.values.itemsize, np.int64
            )  # fmt: skip
            data = np.ascontiguousarray(column.values)
        return self._encode_bytes(sizes, data)

    def _encode_bytes(self, sizes: I64 | None, data: Any) -> Encoded:
        data = memoryview(data).cast("B") if memoryview(data).nbytes else b""
        raw_size = len(data)
        for coder in self.bytes:
            data = coder.encode(data)
        return Encoded(sizes, data, raw_size)

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns of the same chunk that the steps need."""
        steps: list[Codec] = [*self.values, *([self.pack] if self.pack else [])]
        return tuple(name for step in steps for name in needs(step))

    def _given(self, step: Codec, context: Context | None) -> tuple[Any, ...]:
        if not needs(step):
            return ()
        if context is None:
            raise CodecError(self.where, "codecs", f"{step.name} needs other columns of the chunk ({needs(step)[0]})")
        return (context,)

    def decode(
        self, data: Any, count: int, sizes: I64 | None, raw_size: int, dtype: str = "",
        context: Context | None = None, *, core: bool = False,
    ) -> AnyColumn:
        """The column of ``count`` records that was given to ``encode``.

        Parameters
        ----------
        context : Context, optional
            For steps that need other columns of the chunk.
        core : bool
            Leave out the last steps (values to values) that need a context.

        Raises
        ------
        CodecError
            The payload is not what the chain wrote.
        """
        with self._placed_errors():
            return self._decode(data, count, sizes, raw_size, dtype, context, core)

    def decode_packed(self, data: Any, count: int, sizes: I64, raw_size: int) -> PackedBases:
        """As ``decode``, for a chain that keeps bases packed."""
        assert self.keeps_packed
        with self._placed_errors():
            bases = cast(Base2, self.pack).decode_packed(memoryview(decode_bytes(self.bytes, data, raw_size)), sizes)
            if len(bases) != count:
                raise CodecError("chain", "payload", f"{len(bases)} records, not {count}")
            return bases

    def complete(self, column: AnyColumn, context: Context) -> AnyColumn:
        """The whole column from what ``decode`` gave with ``core``: the steps that were left out."""
        with self._placed_errors():
            for step in reversed(self.values):
                if needs(step):
                    column = step.decode(column, *self._given(step, context))
        return column

    @contextlib.contextmanager
    def _placed_errors(self) -> Iterator[None]:
        """Errors of the steps, with the name of the object."""
        try:
            yield
        except KernelError as error:
            raise CodecError(self.where, "payload", str(error)) from error
        except CodecError as error:
            raise type(error)(self.where, error.field, f"{error.where}: {error.reason}", error.remedy) from error
        except (ValueError, OverflowError) as error:
            if isinstance(error, AgdError):
                raise
            raise CodecError(self.where, "payload", f"cannot be decoded: {error}") from error

    def _decode(
        self, data: Any, count: int, sizes: I64 | None, raw_size: int, dtype: str, context: Context | None, core: bool
    ) -> AnyColumn:
        if sizes is not None and self.pack is None and int(sizes.sum()) != raw_size:
            # Known before memory is taken for what a few bytes may say that they hold.
            raise CodecError("chain", "payload", f"{raw_size} bytes, the record sizes add up to {int(sizes.sum())}")
        data = decode_bytes(self.bytes, data, raw_size)
        column: AnyColumn
        if self.pack is not None:
            if self.pack.sized and sizes is None:
                raise CodecError("chain", "codecs", "the relative index is absent")
            given = self._given(self.pack, context)
            column = self.pack.decode(memoryview(data), count, sizes if self.pack.sized else None, *given)
        elif sizes is None:
            raise CodecError("chain", "codecs", "the relative index is absent")
        else:
            column = _lay_out(data, count, sizes, dtype)
        for step in reversed(self.values):
            if not (core and needs(step)):
                column = step.decode(column, *self._given(step, context))
        if len(column) != count:
            raise CodecError("chain", "payload", f"{len(column)} records, not {count}")
        return column


def _lay_out(data: Any, count: int, sizes: I64, dtype: str) -> Column:
    if dtype:
        values = np.frombuffer(data, dtype)
        if len(values) != count or (sizes != values.itemsize).any():
            raise CodecError("chain", "payload", f"{len(values)} numbers for {count} records")
        return Column(values)
    return Column.from_lengths(np.frombuffer(data, np.uint8), sizes)


def encode_bytes(codecs: list[BytesCodec], data: Any) -> Any:
    """Run bytes → bytes steps forward."""
    for codec in codecs:
        data = codec.encode(data)
    return data


def decode_bytes(codecs: list[BytesCodec], data: Any, size: int) -> Any:
    """Run bytes → bytes steps backward; the result has ``size`` bytes or it is a CodecError."""
    for i, codec in enumerate(reversed(codecs)):
        # What lies between two steps is hardly larger than what goes in, even where nothing can be compressed.
        data = codec.decode(data, size if i == len(codecs) - 1 else 2 * size + (1 << 16))
    if len(data) != size:
        raise CodecError("chain", "payload", f"{len(data)} bytes, not {size}")
    return data
