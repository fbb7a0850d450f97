"""Alignments as one stream for each field (``spec/codecs/alignments.md``)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import numpy as np

from agd import kernels
from agd.batch import I32, I64, U16, Alignments, AnyColumn, Column
from agd.codecs.base import Kind, register
from agd.codecs.cigar_streams import read_cigars, write_cigars
from agd.codecs.streams import StreamReader, StreamWriter
from agd.codecs.tag_streams import read_tags, write_tags
from agd.errors import CodecError
from agd.kernels.ragged import take

#: Largest position, template length and difference between two of them that can be stored.
LARGEST = (1 << 62) - 1

#: Streams (the part of their names before ':') that each field is made from, besides those that it says it needs.
FIELD_STREAMS: Mapping[str, tuple[str, ...]] = {
    "valid": ("valid",),
    "links": ("link",),
    "reference": ("layout", "reference"),
    "position": ("layout", "position"),
    "flag": ("flag", "flag.mate"),
    "mapping_quality": ("mapq",),
    "cigar": ("cigar", "cigar.operations", "cigar.operation", "cigar.length"),
    "mate_reference": ("mate.reference",),
    "mate_position": ("mate.position",),
    "template_length": ("length",),
}  # fmt: skip

#: Fields that must be decoded first.
FIELD_NEEDS: Mapping[str, tuple[str, ...]] = {
    "flag": ("links",),
    "mate_reference": ("links", "reference"),
    "mate_position": ("links", "position"),
    "template_length": ("links", "flag", "reference", "position", "cigar"),
}


@register
class AlignmentStreams:
    """Alignments taken apart: a stream for each field, mates and template lengths as differences to what pairs predict.

    Parameters
    ----------
    level : int
        Of Zstandard, -50 to 22.
    """

    name: ClassVar[str] = "alignments"
    version: ClassVar[int] = 1
    kind: ClassVar[Kind] = Kind.PACK
    sized: ClassVar[bool] = False

    def __init__(self, level: int = 3) -> None:
        self.level = level
        StreamWriter(level)

    def config(self) -> dict[str, Any]:
        """See :class:`agd.codecs.base.Codec`."""
        return {"level": self.level}

    def encode(self, column: AnyColumn) -> bytes:
        """See :class:`agd.codecs.base.PackCodec`."""
        if not isinstance(column, Alignments):
            raise CodecError("alignments", "codecs", "takes alignments only")
        _check(column)
        writer = StreamWriter(self.level)
        if column.valid is not None and not column.valid.all():
            writer.add("valid", np.packbits(~column.valid, bitorder="little"))
            column = _only(column, np.flatnonzero(column.valid))
        c, count = np.ascontiguousarray, len(column)
        mates, flag = np.empty(count, np.int32), c(column.flag)
        kernels.link_mates(
            flag, c(column.reference), c(column.position), c(column.mate_reference), c(column.mate_position), mates
        )
        links, flags, differences = np.empty(count, np.uint32), np.empty(count, np.uint16), np.empty(count, np.uint16)
        others = kernels.fold_mates(mates, flag, links, flags, differences)
        writer.numbers("link", links[:others])
        _write_places(writer, column, count - others)
        writer.numbers("flag", flags[:others])
        writer.numbers("flag.mate", differences[: count - others])
        writer.add("mapq", column.mapping_quality)
        write_cigars(writer, column.cigar)
        alone = np.flatnonzero(mates < 0)
        difference = column.mate_reference[alone].astype(np.int64) - column.reference[alone]
        writer.numbers("mate.reference", difference, signed=True)
        writer.numbers("mate.position", column.mate_position[alone] - column.position[alone], signed=True)
        expected = _expected_lengths(mates, column.flag, column.reference, column.position, column.cigar)
        writer.numbers("length", column.template_length - expected, signed=True)
        write_tags(writer, column.tags)
        return writer.finish()

    def decode(self, data: memoryview, count: int, sizes: I64 | None) -> Alignments:
        """See :class:`agd.codecs.base.PackCodec`."""
        reader = StreamReader(data, self.name)
        fields = read_fields(reader, count, (*Alignments.FIXED, "cigar"))
        valid = fields.get("valid")
        tags = read_tags(reader, count if valid is None else int(valid.sum()))
        reader.finish()
        if valid is not None:
            tags = _spread(tags, valid)
        return Alignments(**{name: fields[name] for name in Alignments.FIXED}, cigar=fields["cigar"], tags=tags,
                          valid=valid)  # fmt: skip


def streams_of(fields: Collection[str]) -> set[str]:
    """Names of the streams (before ':') that these fields are decoded from."""
    wanted: set[str] = set()
    left = ["valid", *fields]
    while left:
        field = left.pop()
        wanted.update(FIELD_STREAMS[field])
        left.extend(FIELD_NEEDS.get(field, ()))
    return wanted


def read_fields(reader: StreamReader, count: int, fields: Collection[str]) -> dict[str, Any]:
    """Some fields of the ``count`` alignments of a payload; only their streams are decoded.

    Parameters
    ----------
    reader : StreamReader
    count : int
    fields : collection of str
        Of :data:`agd.batch.Alignments.FIXED`, and ``cigar``.

    Returns
    -------
    dict
        By name; ``valid`` is among them where some records are null.
    """
    valid = None
    if "valid" in reader.entries:
        bits = reader.exactly("valid", -(-count // 8))
        valid = ~np.unpackbits(bits, count=count, bitorder="little").astype(np.bool_)
    decoder = _Fields(reader, count if valid is None else int(valid.sum()))
    null = Alignments.null(count if valid is not None else 0)
    found: dict[str, Any] = {}
    for name in fields:
        value = getattr(decoder, name)()
        if name != "cigar":
            value = value.astype(getattr(null, name).dtype)
        if valid is not None:
            value = _spread(value, valid, None if name == "cigar" else getattr(null, name))
        found[name] = value
    if valid is not None:
        found["valid"] = valid
    return found


class _Fields:
    """Decodes the fields that are asked for, each once."""

    def __init__(self, reader: StreamReader, count: int) -> None:
        self.reader = reader
        self.count = count
        self._known: dict[str, Any] = {}

    def _once(self, name: str, make: Any) -> Any:
        if name not in self._known:
            self._known[name] = make()
        return self._known[name]

    def links(self) -> I32:
        """Index of the mate of every record, -1 where it has none."""
        return self._once("links", self._links)  # type: ignore[no-any-return]

    def _links(self) -> I32:
        planes = [entry.raw for name, entry in self.reader.entries.items() if name.startswith("link:")]
        if not planes:
            return np.full(self.count, -1, np.int32)
        stored = self.reader.numbers("link", min(planes[0], self.count), self.count).astype(np.uint32)
        mates = np.empty(self.count, np.int32)
        if kernels.expand_links(stored, mates) != len(stored):
            raise CodecError("alignments", "link", "more links than records")
        return mates

    def _places(self, name: str, largest: int) -> I64:
        layout = self.reader.get("layout", 1)
        if not len(layout):
            return np.cumsum(self.reader.numbers(name, self.count, LARGEST, signed=True)) - 1
        even = self.reader.numbers(f"{name}.0", (self.count + 1) // 2, largest + 1) - 1
        odd = self.reader.numbers(f"{name}.1", self.count // 2, LARGEST, signed=True)
        values = np.empty(self.count, np.int64)
        values[::2] = even
        values[1::2] = even[: self.count // 2] + odd
        return values

    def _checked(self, name: str, largest: int) -> I64:
        values = self._places(name, largest)
        if len(values) and (int(values.min()) < -1 or int(values.max()) > largest):
            raise CodecError("alignments", name, "out of range")
        return values

    def reference(self) -> I64:
        return self._once("reference", lambda: self._checked("reference", (1 << 31) - 1))  # type: ignore[no-any-return]

    def position(self) -> I64:
        return self._once("position", lambda: self._checked("position", LARGEST))  # type: ignore[no-any-return]

    def flag(self) -> Any:
        return self._once("flag", self._flag)

    def _flag(self) -> Any:
        mates = self.links()
        seconds = int(np.count_nonzero(mates >= 0)) // 2
        flag = np.empty(self.count, np.uint16)
        kernels.expand_flags(
            mates, self.reader.numbers("flag", self.count - seconds, 0xFFFF).astype(np.uint16),
            self.reader.numbers("flag.mate", seconds, 0xFFFF).astype(np.uint16), flag,
        )  # fmt: skip
        return flag

    def mapping_quality(self) -> Any:
        return self.reader.exactly("mapq", self.count)

    def cigar(self) -> Column:
        return self._once("cigar", lambda: read_cigars(self.reader, self.count))  # type: ignore[no-any-return]

    def _mate(self, stream: str, own: I64, largest: int) -> I64:
        mates, mate = self.links(), np.empty(self.count, np.int64)
        difference = self.reader.numbers(stream, int(np.count_nonzero(mates < 0)), LARGEST, signed=True)
        kernels.expand_mate_fields(mates, own, difference, mate)
        if len(mate) and (int(mate.min()) < -1 or int(mate.max()) > largest):
            raise CodecError("alignments", stream, "out of range")
        return mate

    def mate_reference(self) -> I64:
        return self._mate("mate.reference", self.reference(), (1 << 31) - 1)

    def mate_position(self) -> I64:
        return self._mate("mate.position", self.position(), LARGEST)

    def template_length(self) -> I64:
        difference = self.reader.numbers("length", self.count, LARGEST, signed=True)
        return difference + _expected_lengths(
            self.links(), self.flag(), self.reference(), self.position(), self.cigar()
        )


def _check(a: Alignments) -> None:
    beyond = LARGEST // 4
    for name, low in (("position", -1), ("mate_position", -1), ("template_length", -beyond)):
        values = getattr(a, name)
        if len(values) and (int(values.max()) > beyond or int(values.min()) < low):
            raise CodecError("alignments", name, f"a value that is not from {low} to {beyond}")
    for name in ("reference", "mate_reference"):
        values = getattr(a, name)
        if len(values) and int(values.min()) < -1:
            raise CodecError("alignments", name, "a reference below -1")


def _only(a: Alignments, index: I64) -> Alignments:
    fixed = {name: getattr(a, name)[index] for name in Alignments.FIXED}
    return Alignments(**fixed, cigar=take(a.cigar, index), tags=take(a.tags, index))


def _spread(values: Any, valid: Any, null: Any = None) -> Any:
    """Values of the valid records among those of null ones."""
    if isinstance(values, Column):
        lengths = np.zeros(len(valid), np.int64)
        lengths[valid] = values.lengths
        return Column.from_lengths(values.compact().values, lengths)
    null[valid] = values
    return null


def _write_places(writer: StreamWriter, a: Alignments, pairs: int) -> None:
    """References and positions: differences to the record before, or to the first of two mates that alternate."""
    count = len(a)
    near = np.abs(a.position[1::2] - a.position[: 2 * (count // 2) : 2]) < 1 << 14
    disordered = np.count_nonzero(a.position[1:] < a.position[:-1]) * 5 > count
    if disordered and pairs * 4 > count and np.count_nonzero(near) * 4 > count:
        writer.add("layout", b"\1")
        for name, values in (("reference", a.reference.astype(np.int64)), ("position", a.position)):
            writer.numbers(f"{name}.0", values[::2] + 1)
            writer.numbers(f"{name}.1", values[1::2] - values[: 2 * (count // 2) : 2], signed=True)
        return
    for name, values in (("reference", a.reference.astype(np.int64)), ("position", a.position)):
        differences = np.empty(count, np.int64)
        np.subtract(values[1:], values[:-1], out=differences[1:])
        differences[:1] = values[:1] + 1
        writer.numbers(name, differences, signed=True)


def _expected_lengths(mates: I32, flag: U16, reference: Any, position: I64, cigar: Column) -> I64:
    """Template lengths of linked mates as bwa mem writes them, 0 for all other records.

    From one 5' end to the other, both included; positive for the first along the reference.
    """
    assert cigar.offsets is not None
    c, lengths = np.ascontiguousarray, np.empty(len(flag), np.int64)
    kernels.pair_lengths(
        mates, c(flag), c(reference, np.int64), c(position), c(cigar.values), c(cigar.offsets), lengths
    )
    return lengths
