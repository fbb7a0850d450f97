"""Streams that somebody has changed and sealed again: they are read, or refused as a CodecError, nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.batch import Alignments, AnyColumn, Column
from agd.codecs import AlignmentStreams, Base2, Chain, Names, Tags
from agd.codecs.streams import StreamReader, StreamWriter
from agd.errors import CodecError
from tests.support.columns import BASES, alignments

FIELDS = (
    b"NMC\1", b"ASc\x07", b"MDZ10A5\0", b"XBBs\2\0\0\0\1\0\2\0", b"RGZa\0", b"XIi\1\2\3\4", b"XFf\0\0\0\0", b"XAA!",
)  # fmt: skip
TAGS = st.lists(st.lists(st.sampled_from(FIELDS), max_size=4, unique=True).map(b"".join), max_size=12)


def paired(count: int) -> Alignments:
    """Pairs that name each other, with CIGARs that occur more than once."""
    here = np.arange(count)
    position = here // 2 * 50 + 20 * (here % 2)
    reads = Alignments.null(count).replace(
        flag=np.where(here % 2, 147, 99).astype(np.uint16), reference=np.zeros(count, np.int32), position=position,
        mate_reference=np.zeros(count, np.int32), mate_position=position[here ^ 1],
        mapping_quality=np.full(count, 60, np.uint8), valid=None,
        cigar=Column.from_lengths(np.array([100 << 4, 5 << 4 | 4, 95 << 4] * (count // 2), np.uint32),
                                  np.array([1, 2] * (count // 2))),
        tags=Column.from_list([b"NMC\1MDZ10A5\0", b"NMC\0"] * (count // 2)),
    )  # fmt: skip
    return reads.replace(template_length=np.where(here % 2, -121, 121))


def streams(payload: bytes, codec: str) -> dict[str, bytes]:
    reader = StreamReader(payload, codec)
    return {name: reader.get(name, 1 << 20).tobytes() for name in reader.entries}


def sealed(found: dict[str, bytes]) -> bytes:
    writer = StreamWriter(1)
    for name, data in found.items():
        writer.add(name, data)
    return writer.finish()


COLUMNS = st.one_of(
    st.tuples(st.just(Base2()), BASES), st.tuples(st.just(Tags()), TAGS.map(Column.from_list)),
    st.tuples(st.just(AlignmentStreams()), alignments()),
    st.tuples(st.just(AlignmentStreams()), st.integers(1, 6).map(lambda pairs: paired(2 * pairs))),
)  # fmt: skip


def decode(codec: Any, payload: bytes, column: AnyColumn) -> AnyColumn:
    sizes = column.lengths if codec.sized and isinstance(column, Column) else None
    return Chain([codec], "x").decode(payload, len(column), sizes, len(payload))


@given(COLUMNS, st.data())
def test_streams_that_were_changed(coded: tuple[Any, AnyColumn], data: st.DataObject) -> None:
    codec, column = coded
    try:
        good = streams(bytes(codec.encode(column)), codec.name)
    except CodecError:
        return  # values that the codec does not take
    for _ in range(data.draw(st.integers(1, 3))):
        filled = sorted(name for name, stream in good.items() if stream)
        if not filled:
            break
        name = data.draw(st.sampled_from(filled))
        stream = bytearray(good[name])
        change = data.draw(st.sampled_from(["byte", "cut", "longer", "gone", "renamed", "exchanged"]))
        if change == "byte":
            stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.sampled_from([0, 1, 2, 127, 128, 255]))
        elif change == "cut":
            stream = stream[: data.draw(st.integers(0, len(stream) - 1))]
        elif change == "longer":
            stream += data.draw(st.binary(min_size=1, max_size=9))
        elif change == "exchanged":
            stream = bytearray(good[data.draw(st.sampled_from(sorted(good)))])
        good[name] = bytes(stream)
        if change in ("gone", "renamed"):
            del good[name]
        if change == "renamed":
            others = [name[:-1] + "1", name[:-1] + "7", name + ":0", "layout", "tag.raw", "NMC"]
            good[data.draw(st.sampled_from(others))] = bytes(stream)
    try:
        found = decode(codec, sealed(good), column)
    except CodecError as error:
        assert error.where == "x"  # noqa: PT017
        return
    assert len(found) == len(column)
    try:
        codec.encode(found)
    except CodecError as error:
        # The writer keeps more distance from what 64 bits hold than the reader must.
        assert "a value that is not from" in str(error)  # noqa: PT017


@pytest.mark.parametrize("codec", [Base2(), Tags(), AlignmentStreams()], ids=lambda c: c.name)
def test_streams_that_nobody_knows(codec: Any) -> None:
    column: AnyColumn = paired(4) if codec.name == "alignments" else Column.from_list([b"", b""])
    good = streams(bytes(codec.encode(column)), codec.name)
    with pytest.raises(CodecError):
        decode(codec, sealed(good | {"surprise": b"1"}), column)


@pytest.mark.parametrize("size", ["width:3", "length:3"])
def test_names_of_a_text_that_is_not_there(size: str) -> None:
    """Two hundred bytes that say how long a text is, and no text: not zeros."""
    writer = StreamWriter(1)
    writer.add(f"0.t0.{size}", b"\x10")
    writer.add("layout", b'[{"kinds":[],"numbers":[],"texts":[{"each":1}]}]')
    if size.startswith("width"):
        writer.add("0.t0.width:0", b"\1")
    payload = writer.finish()
    with pytest.raises(CodecError, match="0 bytes, not 2684354"):
        Chain([Names()], "x").decode(payload, 1, None, len(payload))


def test_cigars_that_unfold_to_more_than_memory_holds() -> None:
    """A few hundred bytes: one CIGAR of 60,000 operations, and a million records that have it."""
    records, length = 1_000_000, 60_000
    writer = StreamWriter(1)
    writer.numbers("cigar", np.ones(records, np.int64))
    writer.numbers("cigar.operations", np.array([length]))
    writer.add("cigar.operation", b"\2" * length)
    writer.numbers("cigar.length", np.ones(length, np.int64))
    writer.add("mapq", bytes(records))
    writer.add("tag.lines", bytes(4))
    payload = writer.finish()
    assert len(payload) < 1000
    with pytest.raises(CodecError, match="operations in one chunk"):
        Chain([AlignmentStreams()], "x").decode(payload, records, None, len(payload))
