"""Codecs that take records apart: round trips against protobuf, one field alone, and damaged payloads."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.batch import I64, U8, Alignments, Column
from agd.codecs import Chain
from agd.codecs.alignment_streams import read_fields, streams_of
from agd.codecs.streams import StreamReader, StreamWriter
from agd.errors import CodecError
from agd.types import Orientation
from tests.kernels.sam_records import tag_names, tag_values
from tests.support.columns import BASES, TEXT, alignments, assert_equal

ALIGNMENTS: list[dict[str, Any]] = [{"name": "alignments", "level": 3}]
BASE2: list[dict[str, Any]] = [{"name": "base2", "level": 1}]
DINUCLEOTIDES: list[dict[str, Any]] = [{"name": "dinucleotides", "level": 3}]
TAGS: list[dict[str, Any]] = [{"name": "tags", "level": 1}]
FIELD_LISTS = st.lists(
    st.lists(st.tuples(st.one_of(st.sampled_from([b"NM", b"RG"]), tag_names), tag_values), max_size=5).map(
        lambda fields: b"".join(tag + value for tag, value in fields)
    ),
    max_size=12,
).map(Column.from_list)


def encode(chain: list[dict[str, Any]], column: Any) -> bytes:
    return bytes(Chain.from_json(chain).encode(column).data)


def decode(chain: list[dict[str, Any]], data: bytes, count: int) -> Any:
    return Chain.from_json(chain).decode(data, count, None, len(data))


def pairs(count: int, step: int, seed: int, *, interleaved: bool) -> Alignments:
    """Pairs as an aligner writes them, one after the other or by coordinate."""
    random = np.random.default_rng(seed)
    start = random.integers(0, 1 << 30 if interleaved else 1 + count * step, count)
    insert = random.integers(150, 600, count)
    turned = random.random(count) < 0.5
    flags = np.where(turned[:, None], [[83, 163]], [[99, 147]])
    left = np.where(turned, 1, 0)
    position = np.empty((count, 2), np.int64)
    position[np.arange(count), left] = start
    position[np.arange(count), 1 - left] = start + insert - 100
    length = np.where(left[:, None] == np.arange(2), insert[:, None], -insert[:, None])
    flat = position.reshape(-1)
    order = np.arange(2 * count) if interleaved else np.argsort(flat, kind="stable")
    mate = position[:, ::-1].reshape(-1)
    cigar = Column.from_lengths(np.full(2 * count, 100 << 4, np.uint32), np.ones(2 * count, np.int64))
    zero = np.zeros(2 * count, np.int32)
    return Alignments(
        flags.reshape(-1).astype(np.uint16)[order], zero, flat[order], np.full(2 * count, 60, np.uint8), zero,
        mate[order], length.reshape(-1)[order], cigar, Column.empty(2 * count),
    )  # fmt: skip


@given(alignments())
def test_any_alignments(column: Alignments) -> None:
    assert_equal(decode(ALIGNMENTS, encode(ALIGNMENTS, column), len(column)), column)


@given(st.integers(0, 40), st.integers(0, 1000), st.booleans(), st.integers(0, 99))
def test_pairs(count: int, step: int, interleaved: bool, seed: int) -> None:
    column = pairs(count, step, seed, interleaved=interleaved)
    assert_equal(decode(ALIGNMENTS, encode(ALIGNMENTS, column), len(column)), column)


@pytest.mark.parametrize("interleaved", [False, True])
def test_what_pairs_predict_costs_nothing(interleaved: bool) -> None:
    column = pairs(5000, 4, 1, interleaved=interleaved)
    names = {name.split(":")[0] for name in StreamReader(encode(ALIGNMENTS, column), "").entries}
    assert names.isdisjoint({"flag.mate", "mate.reference", "mate.position", "length"})
    messages = encode([{"name": "protobuf"}, {"name": "zstd", "level": 1}], column)
    assert len(encode(ALIGNMENTS, column)) * 2 < len(messages)


@given(alignments(), st.sets(st.sampled_from([*Alignments.FIXED, "cigar"])))
def test_some_fields_need_their_streams_only(column: Alignments, fields: set[str]) -> None:
    data = encode(ALIGNMENTS, column)
    whole = StreamReader(data, "alignments")
    count, size = StreamReader.measure(data, "alignments")
    reader = StreamReader(data[: 8 + size], "alignments", parts=True)
    assert len(reader.entries) == count
    for name, entry in whole.entries.items():
        if name.split(":")[0].removesuffix(".0").removesuffix(".1") in streams_of(fields):
            reader.provide(name, data[entry.offset : entry.offset + entry.stored])
    found = read_fields(reader, len(column), fields)
    if column.valid is not None:
        np.testing.assert_array_equal(found["valid"], column.valid)
    for name in fields:
        expected = getattr(column, name)
        if name == "cigar":
            assert_equal(found[name], expected)
        else:
            np.testing.assert_array_equal(found[name], expected)
            assert found[name].dtype == expected.dtype


@given(FIELD_LISTS)
def test_tags(column: Column) -> None:
    assert_equal(decode(TAGS, encode(TAGS, column), len(column)), column)


@given(TEXT)
def test_tags_that_do_not_parse_are_kept(column: Column) -> None:
    assert_equal(decode(TAGS, encode(TAGS, column), len(column)), column)


@given(alignments(), st.data())
def test_a_slice_encodes_like_its_own_records(column: Alignments, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(column)))
    stop = data.draw(st.integers(start, len(column)))
    found = decode(ALIGNMENTS, encode(ALIGNMENTS, column.slice(start, stop)), stop - start)
    messages = Chain.from_json([{"name": "protobuf"}]).encode(column.slice(start, stop))
    expected = Chain.from_json([{"name": "protobuf"}]).decode(
        messages.data, stop - start, messages.sizes, messages.raw_size
    )
    assert_equal(found, expected)


@pytest.mark.parametrize("chain", [BASE2, DINUCLEOTIDES], ids=["base2", "dinucleotides"])
@given(column=st.one_of(TEXT, BASES), repeat=st.sampled_from([1, 200]))
def test_bases(chain: list[dict[str, Any]], column: Column, repeat: int) -> None:
    """What is no base is a run of exceptions, never changed."""
    column = Column.from_list([record * repeat for record in column])
    encoded = Chain.from_json(chain).encode(column)
    found = Chain.from_json(chain).decode(bytes(encoded.data), len(column), encoded.sizes, encoded.raw_size)
    assert_equal(found, column)


def genome_like(records: int) -> Column:
    """Bases among which no G follows a C, and nothing else is known of them."""
    letters = np.random.default_rng(1).choice(np.frombuffer(b"ACGT", np.uint8), 100 * records)
    letters[1:][(letters[:-1] == ord("C")) & (letters[1:] == ord("G"))] = ord("T")
    return Column.from_lengths(letters, np.full(records, 100))


def test_dinucleotides_are_smaller_where_bases_depend_on_each_other() -> None:
    column = genome_like(5000)
    encoded = Chain.from_json(DINUCLEOTIDES).encode(column)
    entries = StreamReader(encoded.data, "dinucleotides").entries
    assert set(entries) == {"pairs"}
    assert entries["pairs"].raw == 250_000
    assert entries["pairs"].stored < 0.99 * len(encode([{"name": "base2", "level": 3}], column))
    found = Chain.from_json(DINUCLEOTIDES).decode(bytes(encoded.data), 5000, encoded.sizes, encoded.raw_size)
    assert_equal(found, column)
    # With fast levels, and where there is nothing to gain, they are as base2 has them.
    fast = [{"name": "dinucleotides", "level": 1}]
    assert encode(fast, column) == encode(BASE2, column)


def four_bases(**streams: bytes) -> Any:
    writer = StreamWriter(3)
    for name, data in streams.items():
        writer.add(name, data)
    payload = writer.finish()
    return Chain.from_json(DINUCLEOTIDES).decode(payload, 1, np.array([4]), len(payload))


def test_pairs_are_halves_of_packed_bytes() -> None:
    assert list(four_bases(pairs=b"\x0f\x04")) == [b"TTAC"]
    assert list(four_bases(bases=b"\x4f")) == [b"TTAC"]


@pytest.mark.parametrize(
    ("streams", "reason"),
    [({"pairs": b"\x0f\x10"}, "none of the symbols"), ({"pairs": b"\x0f"}, "1 bytes, not 2"),
     ({"pairs": b"\x0f\x0f\0\0"}, "4 bytes, more than 2"),
     ({"pairs": b"\x0f\x0f", "bases": b"\xff"}, "unknown stream")],
)  # fmt: skip
def test_pairs_that_make_no_bases_are_refused(streams: dict[str, bytes], reason: str) -> None:
    with pytest.raises(CodecError, match=reason):
        four_bases(**streams)


class Placed:
    """Alignments of the first half of the records to a reference of A, and none of the others."""

    orientation = Orientation.SEQ

    def __init__(self, column: Column) -> None:
        self._lengths = column.lengths

    def column(self, name: str) -> Alignments:
        assert name == "results"
        count = len(self._lengths)
        flag = np.where(np.arange(count) * 2 < count, 0, 4).astype(np.uint16)
        cigar = Column.from_lengths((self._lengths << 4).astype(np.uint32), np.ones(count, np.int64))
        zero = np.zeros(count, np.int64)
        return Alignments.null(count).replace(
            flag=flag, reference=zero.astype(np.int32), position=zero, cigar=cigar, valid=None
        )

    def genome(self) -> tuple[U8, I64]:
        return np.full(10_000, ord("A"), np.uint8), np.array([0, 10_000])


@given(st.lists(st.lists(st.sampled_from(b"AACNa\0"), max_size=40).map(bytes), max_size=8))
def test_differences_of_any_bytes(records: list[bytes]) -> None:
    column = Column.from_list(records)
    context, chain = Placed(column), Chain.from_json([{"name": "refdiff"}])
    encoded = chain.encode(column, context)
    data = bytes(encoded.data)
    assert_equal(chain.decode(data, len(column), encoded.sizes, len(data), context=context), column)


def test_bases_take_two_bits() -> None:
    letters = np.random.default_rng(1).choice(np.frombuffer(b"ACGT", np.uint8), 100_000)
    assert len(encode(BASE2, Column.from_lengths(letters, np.full(1000, 100)))) < 25_200


@given(BASES, st.data())
def test_damaged_bases(column: Column, data: st.DataObject) -> None:
    encoded = Chain.from_json(BASE2).encode(column)
    payload = bytearray(encoded.data)
    payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(CodecError):
        found = Chain.from_json(BASE2).decode(bytes(payload), len(column), encoded.sizes, encoded.raw_size)
        assert len(found) == len(column)


@given(st.one_of(alignments(), FIELD_LISTS), st.data())
def test_damage_is_an_error_or_changes_values_only(column: Any, data: st.DataObject) -> None:
    chain = ALIGNMENTS if isinstance(column, Alignments) else TAGS
    payload = bytearray(encode(chain, column))
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    payload = payload[: data.draw(st.integers(0, len(payload)))] if data.draw(st.booleans()) else payload
    try:
        found = decode(chain, bytes(payload), len(column))
    except CodecError:
        return
    assert len(found) == len(column)


@pytest.mark.parametrize("cut", range(8))
def test_a_payload_without_a_whole_directory(cut: int) -> None:
    with pytest.raises(CodecError, match="directory"):
        decode(TAGS, encode(TAGS, Column.from_list([b"NMC\x01"]))[:cut], 1)


def test_a_directory_that_claims_too_much() -> None:
    with pytest.raises(CodecError, match="directory"):
        decode(TAGS, struct.pack("<II", 1 << 31, 1 << 31), 1)
    writer = StreamWriter(1)
    writer.add("NMC", b"x" * 100)
    writer.add("no", b"y")
    with pytest.raises(CodecError, match=r"tag\.lines"):
        decode(TAGS, writer.finish(), 1)


def test_numbers() -> None:
    for values in ([], [0, 0], [1, 255], [256], [1 << 40, 3], [(1 << 62) - 1]):
        writer = StreamWriter(1)
        writer.numbers("a", np.array(values, np.int64))
        writer.numbers("b", -np.array(values, np.int64), signed=True)
        reader = StreamReader(writer.finish(), "test")
        assert reader.numbers("a", len(values), (1 << 62) - 1).tolist() == values
        assert reader.numbers("b", len(values), (1 << 62) - 1, signed=True).tolist() == [-v for v in values]
        reader.finish()
    writer = StreamWriter(1)
    writer.numbers("a", np.array([255]))
    reader = StreamReader(writer.finish(), "test")
    with pytest.raises(CodecError, match="beyond 254"):
        reader.numbers("a", 1, 254)


def test_large_streams_that_do_not_compress_are_stored() -> None:
    rng = np.random.default_rng(1)
    random = rng.integers(0, 256, 1 << 20).astype(np.uint8)
    half = np.concatenate((random[: 1 << 19], np.zeros(1 << 19, np.uint8)))
    writer = StreamWriter(1)
    writer.add("random", random)
    writer.add("half", half)
    reader = StreamReader(writer.finish(), "test")
    assert [(entry.coder, entry.stored < entry.raw) for entry in reader.entries.values()] == [(0, False), (1, True)]
    assert reader.get("random", 1 << 20).tobytes() == random.tobytes()
    assert reader.get("half", 1 << 20).tobytes() == half.tobytes()


def test_a_bound_beyond_what_numbers_can_be_is_none() -> None:
    writer = StreamWriter(1)
    writer.numbers("x", np.array([0, 300, 70_000], np.int64))
    reader = StreamReader(writer.finish(), "test")
    np.testing.assert_array_equal(reader.numbers("x", 3, 1 << 70), [0, 300, 70_000])
