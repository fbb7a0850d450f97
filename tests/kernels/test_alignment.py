"""Alignments as protobuf, with google.protobuf as the oracle."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from agd.batch import Alignments, Column
from agd.errors import KernelError
from agd.kernels import _native, alignments, reference
from agd.kernels.alignments import AlignmentArrays
from agd.schemas.alignment_pb2 import Alignment

POSITION = st.one_of(st.integers(-1, 300_000_000), st.integers(-1, 2**63 - 2))
REFERENCE = st.one_of(st.integers(-1, 30), st.integers(-1, 2**31 - 1))
RECORD = st.one_of(
    st.none(),
    st.tuples(
        st.integers(0, 65535), REFERENCE, POSITION, st.integers(0, 255), REFERENCE, POSITION,
        st.one_of(st.integers(-1000, 1000), st.integers(-(2**63), 2**63 - 1)),
        st.lists(st.integers(0, 2**32 - 1), max_size=40), st.binary(max_size=150),
    ),
)  # fmt: skip
RECORDS = st.lists(RECORD, max_size=8)


def from_records(records: list[Any], cut: int = 0) -> Alignments:
    """Alignments of tuples; ``cut``: unrelated values before the first CIGAR and tags, as a slice has them."""
    null = (0, -1, -1, 0, -1, -1, 0, [], b"")
    columns = list(zip(*(r or null for r in records), strict=True)) or [()] * 9
    operations = np.array([7] * cut + [op for ops in columns[7] for op in ops], np.uint32)
    cigar = Column.from_lengths(operations, np.array([cut, *map(len, columns[7])]))
    tags = Column.from_list([b"x" * cut, *columns[8]])
    valid = None if None not in records else np.array([r is not None for r in records])
    types = (np.uint16, np.int32, np.int64, np.uint8, np.int32, np.int64, np.int64)
    fixed = [np.array(c, t) for c, t in zip(columns, types, strict=False)]
    return Alignments(*fixed, cigar.slice(1, len(cigar)), tags.slice(1, len(tags)), valid)


def to_message(record: Any) -> Alignment:
    flag, ref, pos, mapq, mate_ref, mate_pos, tlen, cigar, tags = record
    return Alignment(
        flag=flag, reference=ref + 1, position=pos + 1, mapping_quality=mapq, cigar=np.array(cigar, "<u4").tobytes(),
        mate_reference=mate_ref + 1, mate_position=mate_pos + 1, template_length=tlen, tags=tags,
    )  # fmt: skip


def to_record(message: Alignment) -> Any:
    m = message
    return (
        m.flag, m.reference - 1, m.position - 1, m.mapping_quality, m.mate_reference - 1, m.mate_position - 1,
        m.template_length, np.frombuffer(m.cigar, "<u4").tolist(), m.tags,
    )  # fmt: skip


def encode(kernels: ModuleType, source: Alignments) -> list[bytes]:
    arrays = alignments.arrays(source)
    sizes = np.full(len(source), -1, np.int64)
    kernels.alignment_sizes(arrays, sizes)
    column = Column.from_lengths(np.zeros(sizes.sum(), np.uint8), sizes)
    kernels.alignment_encode(arrays, column.values, column.offsets)
    return list(column)


def records_of(filled: AlignmentArrays, used: tuple[int, int]) -> list[Any]:
    """Tuples of arrays that a kernel has filled; None for null records."""
    assert used == (filled.cigar_offsets[-1], filled.tag_offsets[-1])
    cigar, tags = Column(filled.cigar, filled.cigar_offsets), Column(filled.tags, filled.tag_offsets)
    rows = zip(*(a.tolist() for a in filled[:7]), (c.tolist() for c in cigar), tags, strict=True)
    assert filled.valid is not None
    return [row if valid else None for row, valid in zip(rows, filled.valid, strict=True)]


def decode(kernels: ModuleType, messages: list[bytes]) -> list[Any]:
    column = Column.from_list(messages)
    filled = AlignmentArrays.allocate(len(messages), len(column.values) // 4, len(column.values))
    return records_of(filled, kernels.alignment_decode(column.values, column.offsets, filled))


@given(records=RECORDS, cut=st.integers(0, 3))
def test_encoding_equals_protobuf(kernels: ModuleType, records: list[Any], cut: int) -> None:
    expected = [b"" if r is None else to_message(r).SerializeToString(deterministic=True) for r in records]
    assert encode(kernels, from_records(records, cut)) == expected


@given(records=RECORDS)
def test_decoding_reads_what_protobuf_writes(kernels: ModuleType, records: list[Any]) -> None:
    assert decode(kernels, [b"" if r is None else to_message(r).SerializeToString() for r in records]) == records


@given(records=RECORDS, cut=st.integers(0, 3))
def test_columns_round_trip(records: list[Any], cut: int) -> None:
    source = from_records(records, cut)
    back = alignments.decode(alignments.encode(source))
    for name in Alignments.FIXED:
        assert getattr(back, name).tolist() == getattr(source, name).tolist()
    assert [c.tolist() for c in back.cigar] == [c.tolist() for c in source.cigar]
    assert list(back.tags) == list(source.tags)
    assert (back.valid is None) == (source.valid is None)


def test_an_alignment_of_defaults_is_not_null(kernels: ModuleType) -> None:
    records = [None, (0, -1, -1, 0, -1, -1, 0, [], b"")]
    messages = encode(kernels, from_records(records))
    assert messages == [b"", b"\x08\x00"]
    assert Alignment.FromString(messages[1]).HasField("flag")
    assert decode(kernels, messages) == records


@given(
    first=RECORD.filter(bool), second=RECORD.filter(bool), cuts=st.randoms(use_true_random=False),
    unknown=st.lists(st.sampled_from([b"\x50\x96\x01", b"\x5a\x03abc", b"\x61" + b"8" * 8, b"\x6d4444", b"\x0d4444",
                                      b"\x2d4444", b"\xfa\xff\xff\xff\x0f\x01x"]), max_size=4),
)  # fmt: skip
def test_any_order_last_wins_unknown_skipped(
    kernels: ModuleType, first: Any, second: Any, cuts: Any, unknown: list[bytes]
) -> None:
    """Fields of two messages shuffled together with unknown ones read as protobuf reads them."""
    pieces = [*unknown]
    for message in (to_message(first), to_message(second)):
        for field, value in message.ListFields():
            pieces.append(Alignment(**{field.name: value}).SerializeToString())
    cuts.shuffle(pieces)
    joined = b"".join(pieces)
    assert decode(kernels, [joined]) == [to_record(Alignment.FromString(joined))]


#: What the kernels refuse although protobuf takes it.
STRICTER = (
    "above", "does not fit 63 bits", "does not fit 64 bits", "CIGAR is not made", "wire type is not one of proto3",
)  # fmt: skip


def outcome(kernels: ModuleType, messages: list[bytes]) -> Any:
    try:
        return decode(kernels, messages)
    except KernelError as error:
        return error.reason, error.record, error.offset


@given(
    base=RECORD.filter(bool), edits=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=3),
    cut=st.integers(0, 12), noise=st.binary(max_size=12),
)  # fmt: skip
def test_damaged_messages(base: Any, edits: list[tuple[int, int]], cut: int, noise: bytes) -> None:
    """Both implementations give the same error, or the same values as protobuf; never anything else."""
    message = bytearray(to_message(base).SerializeToString()[: -cut or None] + noise)
    for at, byte in edits:
        if message:
            message[at % len(message)] = byte
    messages = [b"\x08\x01", bytes(message), b"\x08\x02"]
    ours = outcome(_native, messages)
    assert ours == outcome(reference, messages)
    try:
        parsed = Alignment.FromString(bytes(message))
    except DecodeError:
        assert isinstance(ours, tuple)
        assert ours[1] == 1
        return
    if isinstance(ours, tuple):
        assert any(words in ours[0] for words in STRICTER), ours
    elif message:
        assert ours[1] == to_record(parsed)


@pytest.mark.parametrize(
    ("message", "reason", "offset"),
    [
        (b"\x08", "varint is cut short", 1),
        (b"\x08\x80\x80", "varint is cut short", 1),
        (b"\x08" + b"\x80" * 10 + b"\x01", "varint does not fit 64 bits", 1),
        (b"\x08" + b"\xff" * 9 + b"\x02", "varint does not fit 64 bits", 1),
        (b"\x08\x80\x80\x04", "flag above 65535", 1),
        (b"\x10\x81\x80\x80\x80\x08", "reference above 2^31 - 1", 1),
        (b"\x18" + b"\xff" * 9 + b"\x01", "position does not fit 63 bits", 1),
        (b"\x20\x80\x02", "mapping quality above 255", 1),
        (b"\x2a\x03abc", "CIGAR is not made of whole operations", 0),
        (b"\x2a\x05abcd", "field is longer than its record", 1),
        (b"\x4a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01a", "field is longer than its record", 1),
        (b"\x00\x01", "field number out of range", 0),
        (b"\x88\x80\x80\x80\x10\x01", "field number out of range", 0),
        (b"\x5b\x5c", "wire type is not one of proto3", 0),
        (b"\x5f", "wire type is not one of proto3", 0),
        (b"\x59abcdefg", "field is longer than its record", 1),
        (b"\x5dabc", "field is longer than its record", 1),
    ],
)
def test_malformed_messages(kernels: ModuleType, message: bytes, reason: str, offset: int) -> None:
    with pytest.raises(KernelError) as caught:
        decode(kernels, [b"\x08\x01", message, b"\x08\x01"])
    assert (caught.value.reason, caught.value.record, caught.value.offset) == (reason, 1, 2 + offset)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"reference": np.array([0, -2], np.int32)}, "reference below -1"),
        ({"mate_reference": np.array([0, -2], np.int32)}, "reference below -1"),
        ({"position": np.array([0, -2])}, "position out of range"),
        ({"position": np.array([0, 2**63 - 1])}, "position out of range"),
        ({"mate_position": np.array([0, -2])}, "position out of range"),
        ({"tags": Column(np.zeros(3, np.uint8), np.array([0, 3, 4]))}, "offsets outside of the tags"),
        ({"cigar": Column(np.zeros(3, np.uint32), np.array([0, 3, 2]))}, "offsets outside of the CIGARs"),
    ],
)
def test_bad_arrays(kernels: ModuleType, change: dict[str, Any], reason: str) -> None:
    good = from_records([(0, 0, 0, 0, 0, 0, 0, [], b"")] * 2)
    with pytest.raises(KernelError, match=reason) as caught:
        encode(kernels, good.replace(**change))
    assert caught.value.record == 1


def test_arrays_of_other_lengths(kernels: ModuleType) -> None:
    arrays = alignments.arrays(from_records([(0, 0, 0, 0, 0, 0, 0, [], b"")] * 2))
    out, three = np.zeros(100, np.uint8), np.zeros(3, np.int64)
    for field in range(12):
        if field not in (7, 9):
            dtype = np.bool_ if field == 11 else arrays[field].dtype
            other = arrays._replace(**{arrays._fields[field]: np.zeros(1, dtype)})
            with pytest.raises(KernelError, match="arrays of alignments differ in length"):
                kernels.alignment_sizes(other, three[:2])
            with pytest.raises(KernelError, match="arrays of alignments differ in length"):
                kernels.alignment_encode(other, out, three)
    with pytest.raises(KernelError, match="sizes and alignments differ"):
        kernels.alignment_sizes(arrays, three)
    with pytest.raises(KernelError, match="offsets and alignments differ"):
        kernels.alignment_encode(arrays, out, three[:2])
    with pytest.raises(KernelError, match="offsets and alignments differ"):
        kernels.alignment_decode(out, three[:2], AlignmentArrays.allocate(2, 9, 9))


def test_room_is_checked_before_anything_is_written(kernels: ModuleType) -> None:
    source = alignments.arrays(from_records([(5, 0, 0, 0, 0, 0, 0, [16], b"abc")]))
    out = np.zeros(64, np.uint8)
    for end in (0, 22, 64):
        with pytest.raises(KernelError, match="room of the output is not the size"):
            kernels.alignment_encode(source, out, np.array([0, end]))
    with pytest.raises(KernelError, match="offsets outside of the output"):
        kernels.alignment_encode(source, out, np.array([0, 65]))
    assert not out.any()
    data = np.frombuffer(to_message((5, 0, 0, 0, 0, 0, 0, [16], b"abc")).SerializeToString(), np.uint8)
    offsets = np.array([0, len(data)])
    with pytest.raises(KernelError, match="no room for the CIGARs"):
        kernels.alignment_decode(data, offsets, AlignmentArrays.allocate(1, 0, 3))
    with pytest.raises(KernelError, match="no room for the tags"):
        kernels.alignment_decode(data, offsets, AlignmentArrays.allocate(1, 1, 2))
    with pytest.raises(KernelError, match="offsets outside of the data"):
        kernels.alignment_decode(data, offsets + 1, AlignmentArrays.allocate(1, 1, 3))
