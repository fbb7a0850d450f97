"""The chunk file: round trips, and damage to every one of its bytes."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agd import chunkfile
from agd.chunkfile import ABSENT, EQUAL, FIELDS, HEADER_SIZE, MAX_DECODED, Header
from agd.errors import ChecksumError, FormatError, TruncatedError, VersionTooNewError, VersionTooOldError
from agd.types import MAX_CHUNK_RECORDS, NUMBER_DTYPES, Orientation, RecordType

SIZES = np.array([3, 0, 300, 5], np.int64)
INDEX = chunkfile.pack_index(SIZES, 2)
PAYLOAD = bytes(range(256)) + bytes(52)


def header(**changes: Any) -> Header:
    fields: dict[str, Any] = {
        "column": "qualities", "dataset_name": "sample", "dataset_id": "00112233445566778899aabbccddeeff",
        "record_type": RecordType.TEXT, "first": 4000, "count": 4, "values": 308, "index_width": 2,
        "codecs": [{"name": "zstd", "level": 1}], "index_codecs": [], "payload_raw": 308,
    }  # fmt: skip
    return Header(**(fields | changes))


GOOD = chunkfile.frame(header(), INDEX, PAYLOAD)


def reseal(data: bytes) -> bytes:
    """The object with a right header checksum: what somebody who knows the format would have written."""
    return data[: HEADER_SIZE - 8] + struct.pack("<Q", chunkfile.checksum(data[: HEADER_SIZE - 8])) + data[HEADER_SIZE:]


def with_field(name: str, value: bytes, data: bytes = GOOD) -> bytes:
    offset, size = FIELDS[name]
    assert len(value) <= size
    return data[:offset] + value.ljust(size, b"\0") + data[offset + size :]


def number(name: str, value: int) -> bytes:
    return value.to_bytes(FIELDS[name][1], "little")


# Round trips

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=16)


@given(
    column=NAMES, name=NAMES, identity=st.uuids(), kind=st.sampled_from(RecordType), first=st.integers(0, 1 << 62),
    sizes=hnp.arrays(np.int64, st.integers(0, 30), elements=st.sampled_from([0, 1, 255, 256, 65535, 65536])),
    payload=st.binary(max_size=300), index_codecs=st.sampled_from([[], [{"name": "zstd", "level": 1}]]),
    absent=st.booleans(), dtype=st.sampled_from(NUMBER_DTYPES), orientation=st.sampled_from([1, 2]),
)  # fmt: skip
def test_what_is_framed_comes_back(
    column: str, name: str, identity: Any, kind: RecordType, first: int, sizes: Any, payload: bytes,
    index_codecs: list[dict[str, Any]], absent: bool, dtype: str, orientation: int,
) -> None:
    width = ABSENT if absent else chunkfile.narrowest_width(sizes)
    index = chunkfile.pack_index(sizes, width)
    made = header(
        column=column, dataset_name=name, dataset_id=identity.hex, record_type=kind, first=first, count=len(sizes),
        values=0 if absent else int(sizes.sum()), index_width=width, index_codecs=index_codecs,
        payload_raw=2 * len(payload), dtype=dtype if kind is RecordType.NUMBER else "",
        orientation=Orientation(orientation if kind is RecordType.BASES else 0),
    )  # fmt: skip
    data = chunkfile.frame(made, index, payload)
    found, index_view, payload_view = chunkfile.unframe(data, "x")
    assert len(data) == HEADER_SIZE + len(index) + len(payload) == found.size
    assert bytes(index_view) == index
    assert bytes(payload_view) == payload
    for field in (
        "column", "dataset_name", "dataset_id", "record_type", "first", "count", "values", "index_width", "codecs",
        "index_codecs", "payload_raw", "orientation", "dtype",
    ):  # fmt: skip
        assert getattr(found, field) == getattr(made, field), field
    assert chunkfile.frame(found, index_view, payload_view) == data
    if not absent:
        assert (chunkfile.unpack_index(index, found, "x") == sizes).all()


@pytest.mark.parametrize(
    ("sizes", "width"),
    [
        ([], EQUAL), ([0], EQUAL), ([7, 7], EQUAL), ([1 << 40] * 2, EQUAL), ([0, 255], 1), ([0, 256], 2),
        ([1, 65535], 2), ([1, 65536], 4), ([1, (1 << 32) - 1], 4), ([1, 1 << 32], 8),
    ],
)  # fmt: skip
def test_sizes_take_the_narrowest_width(sizes: list[int], width: int) -> None:
    assert chunkfile.narrowest_width(np.array(sizes, np.int64)) == width
    raw = chunkfile.pack_index(np.array(sizes, np.int64), width)
    assert len(raw) == chunkfile.index_raw_size(width, len(sizes))
    found = chunkfile.unpack_index(raw, header(count=len(sizes), values=sum(sizes), index_width=width), "x")
    assert found.tolist() == sizes
    assert found.dtype == np.int64


def test_any_buffer_can_be_framed() -> None:
    array = np.frombuffer(PAYLOAD, "<u4")
    assert chunkfile.frame(header(), memoryview(bytearray(INDEX)), array) == GOOD


def test_the_header_stands_alone() -> None:
    assert chunkfile.parse_header(GOOD[:HEADER_SIZE], "x") == chunkfile.unframe(GOOD, "x")[0]


# The byte map


def test_fields_lie_end_to_end() -> None:
    end = 0
    for offset, size in FIELDS.values():
        assert offset == end
        end = offset + size
    assert end == HEADER_SIZE


def test_the_byte_map_is_that_of_version_1() -> None:
    """Written out by hand: a change of any offset is a change of the format."""
    assert struct.unpack_from("<8sHHBBBB", GOOD) == (b"\x89AGD\r\n\x1a\n", 1, 1024, 0, 0, 2, 0)
    assert struct.unpack_from("<7Q", GOOD, 16) == (4000, 4, 8, 8, 308, 308, 308)
    assert GOOD[72:88].hex() == "00112233445566778899aabbccddeeff"
    assert struct.unpack_from("<QQ", GOOD, 88) == (chunkfile.checksum(INDEX), chunkfile.checksum(PAYLOAD))
    assert GOOD[104:112] == bytes(8)
    assert GOOD[112:176] == b"qualities".ljust(64, b"\0")
    assert GOOD[176:304] == b"sample".ljust(128, b"\0")
    assert GOOD[304:448] == b"[]".ljust(144, b"\0")
    assert GOOD[448:1016] == b'[{"name":"zstd","level":1}]'.ljust(568, b"\0")
    assert struct.unpack_from("<Q", GOOD, 1016) == (chunkfile.checksum(GOOD[:1016]),)
    assert GOOD[1024:] == INDEX + PAYLOAD


# Damage

@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("bit", [0, 7])
def test_a_flipped_bit_in_any_field_is_found(field: str, bit: int) -> None:
    offset, size = FIELDS[field]
    for place in (offset, offset + size - 1):
        damaged = bytearray(GOOD)
        damaged[place] ^= 1 << bit
        with pytest.raises(FormatError) as caught:
            chunkfile.unframe(bytes(damaged), "s3://bucket/sample-000000004000.qualities")
        error = caught.value
        assert error.where == "s3://bucket/sample-000000004000.qualities"
        assert error.where in str(error)
        assert error.remedy
        if field == "magic":
            assert (type(error), error.field) == (FormatError, "magic")
        elif field == "version":
            assert error.field in ("version", "header checksum")
        else:
            assert (type(error), error.field) == (ChecksumError, "header checksum")


@pytest.mark.parametrize("place", range(HEADER_SIZE, len(GOOD), 7))
def test_a_flipped_bit_behind_the_header_is_found(place: int) -> None:
    damaged = bytearray(GOOD)
    damaged[place] ^= 16
    with pytest.raises(ChecksumError) as caught:
        chunkfile.unframe(bytes(damaged), "x")
    assert caught.value.field == ("relative index" if place < HEADER_SIZE + len(INDEX) else "payload")


LIES: list[tuple[str, bytes, type[FormatError]]] = [
    ("magic", b"\x89AGD\n\n\x1a\n", FormatError),
    ("magic", b"BAM\1", FormatError),
    ("version", number("version", 2), VersionTooNewError),
    ("version", number("version", 65535), VersionTooNewError),
    ("version", number("version", 0), VersionTooOldError),
    ("header size", number("header size", 1023), FormatError),
    ("header size", number("header size", 0), FormatError),
    ("record type", number("record type", 5), FormatError),
    ("record type", number("record type", 255), FormatError),
    ("record type", number("record type", RecordType.BASES), FormatError),  # without an orientation
    ("record type", number("record type", RecordType.NUMBER), FormatError),  # without a dtype
    ("orientation", number("orientation", 1), FormatError),  # these are no bases
    ("orientation", number("orientation", 3), FormatError),
    ("index width", number("index width", 3), FormatError),
    ("index width", number("index width", 16), FormatError),
    ("index width", number("index width", 254), FormatError),
    ("reserved", number("reserved", 1), FormatError),
    ("first ordinal", number("first ordinal", (1 << 63) - 4), FormatError),
    ("first ordinal", number("first ordinal", (1 << 64) - 1), FormatError),
    ("record count", number("record count", MAX_CHUNK_RECORDS + 1), FormatError),
    ("record count", number("record count", (1 << 64) - 1), FormatError),
    ("record count", number("record count", 5), FormatError),
    ("index stored size", number("index stored size", 9), TruncatedError),
    ("index stored size", number("index stored size", 7), TruncatedError),
    ("index stored size", number("index stored size", (1 << 64) - 1), TruncatedError),
    ("index raw size", number("index raw size", 9), FormatError),
    ("index raw size", number("index raw size", (1 << 64) - 1), FormatError),
    ("payload stored size", number("payload stored size", 0), TruncatedError),
    ("payload stored size", number("payload stored size", 309), TruncatedError),
    ("payload stored size", number("payload stored size", (1 << 64) - 1), TruncatedError),
    ("payload raw size", number("payload raw size", MAX_DECODED + 1), FormatError),
    ("payload raw size", number("payload raw size", (1 << 64) - 1), FormatError),
    ("values", number("values", MAX_DECODED + 1), FormatError),
    ("values", number("values", (1 << 64) - 1), FormatError),
    ("dtype", b"<u4", FormatError),  # these are no numbers
    ("dtype", b"O", FormatError),
    ("dtype", b"\0<u4", FormatError),
    ("column name", b"", FormatError),
    ("column name", b"\xff\xfe", FormatError),
    ("column name", b"bases\0tail", FormatError),
    ("dataset name", b"\x80", FormatError),
    ("dataset name", b"a\0b", FormatError),
    ("index codecs", b"", FormatError),
    ("index codecs", b"null", FormatError),
    ("index codecs", b"[1]", FormatError),
    ("index codecs", b'[{"level":1}]', FormatError),
    ("index codecs", b"[" * 144, FormatError),
    ("payload codecs", b"", FormatError),
    ("payload codecs", b"{}", FormatError),
    ("payload codecs", b'{"name":"zstd"}', FormatError),
    ("payload codecs", b'[{"name":1}]', FormatError),
    ("payload codecs", b"[" * 568, FormatError),
    ("payload codecs", b'[{"name":"zstd"', FormatError),
    ("payload codecs", b'[{"name":"\xff"}]', FormatError),
]


@pytest.mark.parametrize(("field", "value", "kind"), LIES, ids=lambda v: v if isinstance(v, str) else "")
def test_a_lie_with_a_right_checksum_is_found(field: str, value: bytes, kind: type[FormatError]) -> None:
    with pytest.raises(FormatError) as caught:
        chunkfile.unframe(reseal(with_field(field, value)), "memory://x/sample-000000004000.qualities")
    error = caught.value
    assert type(error) is kind
    if kind is TruncatedError:
        assert error.field == "object size"
    elif (field, value) == ("record type", number("record type", RecordType.BASES)):
        assert error.field == "orientation"
    elif (field, value) == ("record type", number("record type", RecordType.NUMBER)):
        assert error.field == "dtype"
    elif field == "record count" and value == number("record count", 5):
        assert error.field == "index raw size"
    else:
        assert error.field == field
    assert "memory://x/sample-000000004000.qualities" in str(error)
    assert "remedy" in str(error)


def test_every_field_is_lied_about() -> None:
    sealed_otherwise = {"dataset id", "index checksum", "payload checksum", "header checksum"}
    assert {field for field, _, _ in LIES} | sealed_otherwise == set(FIELDS)


@pytest.mark.parametrize("field", ["index checksum", "payload checksum"])
def test_a_wrong_checksum_with_a_right_header_is_found(field: str) -> None:
    with pytest.raises(ChecksumError) as caught:
        chunkfile.unframe(reseal(with_field(field, number(field, 12345))), "x")
    assert caught.value.field == field.replace(" checksum", "").replace("index", "relative index")


@pytest.mark.parametrize("field", ["index stored size", "values"])
def test_an_absent_index_has_no_size(field: str) -> None:
    good = chunkfile.frame(header(index_width=ABSENT, values=0), b"", PAYLOAD)
    assert chunkfile.unframe(good, "x")[0].count == 4
    with pytest.raises(FormatError, match=field):
        chunkfile.unframe(reseal(with_field(field, number(field, 1), good)), "x")


def test_versions_say_what_to_do() -> None:
    with pytest.raises(VersionTooNewError, match="newer release"):
        chunkfile.unframe(with_field("version", number("version", 2)), "x")
    with pytest.raises(VersionTooOldError, match="recompute"):
        chunkfile.unframe(reseal(with_field("version", number("version", 0))), "x")


@pytest.mark.parametrize(
    "length", [0, 1, 7, 8, 9, 100, 1015, 1016, 1023, 1024, 1028, 1032, 1033, len(GOOD) - 1]
)
def test_a_truncated_object_is_found(length: int) -> None:
    kind, field = (TruncatedError, "header") if length < HEADER_SIZE else (TruncatedError, "object size")
    if length < 8:
        kind, field = FormatError, "magic"
    with pytest.raises(kind) as caught:
        chunkfile.unframe(GOOD[:length], "x")
    assert caught.value.field == field


@pytest.mark.parametrize("tail", [b"\0", b"more", GOOD])
def test_trailing_bytes_are_found(tail: bytes) -> None:
    with pytest.raises(TruncatedError, match=f"{len(GOOD) + len(tail)} bytes, the header says {len(GOOD)}"):
        chunkfile.unframe(GOOD + tail, "x")


@given(st.binary(max_size=2000))
def test_noise_is_never_a_chunk_file(noise: bytes) -> None:
    for data in (noise, chunkfile.MAGIC + noise, GOOD[:16] + noise):
        with pytest.raises(FormatError):
            chunkfile.unframe(data, "x")


@given(st.integers(0, HEADER_SIZE - 9), st.binary(min_size=1, max_size=8))
def test_any_resealed_change_is_read_or_refused(place: int, change: bytes) -> None:
    """Whatever a header says, the answer is a header or a FormatError, never another exception."""
    change = change[: HEADER_SIZE - 8 - place]
    data = reseal(GOOD[:place] + change + GOOD[place + len(change) :])
    try:
        found, index, _ = chunkfile.unframe(data, "x")
        chunkfile.unpack_index(index, found, "x")
    except FormatError:
        return
    assert chunkfile.frame(found, *chunkfile.unframe(data, "x")[1:])[: HEADER_SIZE - 8] == data[: HEADER_SIZE - 8]


# Relative index


@pytest.mark.parametrize(
    ("width", "raw", "count", "values"),
    [
        (EQUAL, struct.pack("<Q", 3), 4, 13), (EQUAL, struct.pack("<Q", (1 << 64) - 1), 4, 12),
        (EQUAL, struct.pack("<Q", 1), 0, 0), (EQUAL, struct.pack("<Q", 1 << 63), 2, 0), (1, bytes([1, 2]), 2, 4),
        (2, struct.pack("<HH", 1, 2), 2, 2), (4, struct.pack("<II", 1, 2), 2, 0),
        (8, struct.pack("<QQ", 1, (1 << 64) - 1), 2, 0), (8, struct.pack("<QQ", 1 << 63, 1 << 63), 2, 0),
    ],
)  # fmt: skip
def test_sizes_that_do_not_add_up_are_found(width: int, raw: bytes, count: int, values: int) -> None:
    with pytest.raises(FormatError, match="x: relative index"):
        chunkfile.unpack_index(raw, header(count=count, values=values, index_width=width), "x")


# What is too long, or not possible, is refused when it is written


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"column": "c" * 65}, "column name"), ({"column": ""}, "column name"), ({"column": "a\0b"}, "column name"),
        ({"dataset_name": "é" * 65}, "dataset name"), ({"codecs": [{"name": "x" * 600}]}, "payload codecs"),
        ({"index_codecs": [{"name": "x" * 200}]}, "index codecs"), ({"count": MAX_CHUNK_RECORDS + 1}, "record count"),
        ({"payload_raw": MAX_DECODED + 1}, "payload raw size"), ({"values": MAX_DECODED + 1}, "values"),
        ({"orientation": Orientation.READ}, "orientation"), ({"record_type": RecordType.BASES}, "orientation"),
        ({"record_type": RecordType.NUMBER}, "dtype"), ({"dtype": "<u4"}, "dtype"), ({"first": -1}, "first ordinal"),
        ({"index_width": 3}, "index width"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_not_written(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(FormatError) as caught:
        chunkfile.frame(header(**changes), INDEX, PAYLOAD)
    assert caught.value.field == field


def test_the_longest_names_fit() -> None:
    made = header(column="c" * 64, dataset_name="é" * 64)
    found = chunkfile.unframe(chunkfile.frame(made, INDEX, PAYLOAD), "x")[0]
    assert (found.column, found.dataset_name) == (made.column, made.dataset_name)


def test_codec_chains_are_compact_json() -> None:
    chain = [{"name": "é", "level": 1, "nested": {"a": [1, 2]}}]
    data = chunkfile.frame(header(codecs=chain), INDEX, PAYLOAD)
    offset, size = FIELDS["payload codecs"]
    text = data[offset : offset + size].rstrip(b"\0")
    assert text.decode() == '[{"name":"é","level":1,"nested":{"a":[1,2]}}]'
    assert json.loads(text) == chain == chunkfile.unframe(data, "x")[0].codecs
