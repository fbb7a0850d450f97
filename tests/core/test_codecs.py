"""Codecs and chains: round trips, wrong chains, and data that claim to be more than they are."""

from __future__ import annotations

import gzip
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

import agd.codecs.base
from agd.batch import Alignments, AnyColumn, Column
from agd.codecs import Base3, Chain, Gzip, Kind, Protobuf, Rans, Zstd, decode_bytes, encode_bytes, names, register
from agd.codecs.base import describe, make
from agd.codecs.strand import Strand
from agd.errors import CodecError, FormatError, UnknownCodecError
from agd.types import Orientation
from tests.support.columns import BASES, TEXT, alignments, assert_equal, numbers

SQUEEZERS: list[list[dict[str, Any]]] = [
    [], [{"name": "zstd", "level": 1}], [{"name": "zstd", "level": -7}], [{"name": "zstd", "level": 19}],
    [{"name": "gzip", "level": 6}], [{"name": "gzip", "level": 0}], [{"name": "gzip", "level": 9}],
    [{"name": "zstd", "level": 1}, {"name": "gzip", "level": 1}], [{"name": "gzip", "level": 1}] * 3,
    [{"name": "rans"}], [{"name": "rans"}, {"name": "zstd", "level": 1}],
]  # fmt: skip
CHAINS = st.sampled_from(SQUEEZERS)


def round_trip(chain: list[dict[str, Any]], column: AnyColumn, dtype: str = "") -> AnyColumn:
    encoded = Chain.from_json(chain).encode(column)
    chain_again = Chain.from_json(Chain.from_json(chain).to_json())
    return chain_again.decode(bytes(encoded.data), len(column), encoded.sizes, encoded.raw_size, dtype)


# Round trips


@given(TEXT, CHAINS)
def test_text(column: Column, chain: list[dict[str, Any]]) -> None:
    assert_equal(round_trip(chain, column), column)


@given(BASES, CHAINS)
def test_bases(column: Column, chain: list[dict[str, Any]]) -> None:
    assert_equal(round_trip([{"name": "base3"}, *chain], column), column)
    assert_equal(round_trip(chain, column), column)


@given(alignments(), CHAINS)
def test_structured(column: Alignments, chain: list[dict[str, Any]]) -> None:
    assert_equal(round_trip([{"name": "protobuf"}, *chain], column), column)


@given(numbers(), CHAINS)
def test_numbers(column: Column, chain: list[dict[str, Any]]) -> None:
    assert_equal(round_trip(chain, column, column.values.dtype.str), column)


@given(TEXT)
def test_any_bytes_survive_base3(column: Column) -> None:
    """What is no base is an exception, never changed."""
    assert_equal(round_trip([{"name": "base3"}], column), column)


@given(BASES, st.data())
def test_a_slice_encodes_like_its_own_records(column: Column, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(column)))
    stop = data.draw(st.integers(start, len(column)))
    part = column.slice(start, stop)
    own = Column.from_list(list(part))
    for chain in ([{"name": "base3"}], []):
        found, expected = Chain.from_json(chain).encode(part), Chain.from_json(chain).encode(own)
        assert bytes(found.data) == bytes(expected.data)
        assert found.sizes is not None
        assert found.sizes.tolist() == own.lengths.tolist()


@given(st.binary(max_size=3000), CHAINS)
def test_bytes(data: bytes, chain: list[dict[str, Any]]) -> None:
    steps = Chain.from_json(chain).bytes
    assert bytes(decode_bytes(steps, encode_bytes(steps, data), len(data))) == data


@pytest.mark.parametrize("codec", [Zstd(1), Zstd(22), Gzip(6)], ids=["zstd-1", "zstd-22", "gzip-6"])
def test_encoding_is_deterministic(codec: Zstd | Gzip) -> None:
    data = bytes(range(256)) * 1000
    assert codec.encode(data) == type(codec)(**codec.config()).encode(data)


def test_others_read_what_is_written() -> None:
    data = b"ACGT" * 1000
    assert gzip.decompress(Gzip(6).encode(data)) == data
    assert zstandard.decompress(Zstd(1).encode(data)) == data
    assert zstandard.frame_content_size(Zstd(1).encode(data)) == len(data)


def test_what_others_write_is_read() -> None:
    data = b"ACGT" * 1000
    assert Gzip().decode(gzip.compress(data), len(data)) == data
    assert Zstd().decode(zstandard.compress(data, 7), len(data)) == data
    assert Zstd().decode(zstandard.ZstdCompressor(write_checksum=True).compress(data), len(data)) == data


def test_gzip_has_no_time_in_it() -> None:
    assert Gzip().encode(b"x")[4:8] == bytes(4)


# Chains


@pytest.mark.parametrize(
    "chain",
    [
        [{"name": "zstd"}, {"name": "base3"}], [{"name": "base3"}, {"name": "base3"}],
        [{"name": "base3"}, {"name": "protobuf"}], [{"name": "gzip"}, {"name": "protobuf"}],
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_order_is_refused(chain: list[dict[str, Any]]) -> None:
    with pytest.raises(CodecError, match="x: codecs: cannot follow each other"):
        Chain.from_json(chain, "x")


@pytest.mark.parametrize("name", ["lz4", "", "Zstd", "agd.codecs:Zstd", None, 7, [], {}])
def test_an_unknown_name_is_refused(name: Any) -> None:
    with pytest.raises(UnknownCodecError, match="x: codecs: there is no codec") as caught:
        make({"name": name}, "x")
    assert "upgrade" in caught.value.remedy
    assert "zstd" in caught.value.reason


@pytest.mark.parametrize("version", [2, 0, -1, "1", None, 1.0, True])
def test_an_unknown_version_is_refused(version: Any) -> None:
    with pytest.raises(UnknownCodecError, match="version"):
        make({"name": "zstd", "version": version}, "x")


@pytest.mark.parametrize(
    "config",
    [
        {"name": "zstd", "level": 23}, {"name": "zstd", "level": -51}, {"name": "zstd", "level": "1"},
        {"name": "zstd", "level": True}, {"name": "zstd", "level": None}, {"name": "zstd", "window": 3},
        {"name": "gzip", "level": 10}, {"name": "gzip", "level": -1}, {"name": "gzip", "level": 1.0},
        {"name": "base3", "bits": 3}, {"name": "protobuf", "level": 1}, {"name": "zstd", "self": 1},
    ],
    ids=str,
)  # fmt: skip
def test_unknown_settings_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises(CodecError, match="does not take") as caught:
        make(config, "x")
    assert not isinstance(caught.value, UnknownCodecError)


def test_settings_are_recorded_in_full() -> None:
    chain = Chain.from_json([{"name": "base3"}, {"name": "zstd"}, {"name": "gzip", "version": 1}])
    assert chain.to_json() == [{"name": "base3"}, {"name": "zstd", "level": 1}, {"name": "gzip", "level": 6}]


def test_the_known_codecs() -> None:
    assert {"base3", "gzip", "protobuf", "zstd"} <= set(names())


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agd.codecs.base, "_registry", dict(agd.codecs.base._registry))


def test_a_codec_of_ones_own(registry: None) -> None:
    @register
    class Invert:
        name: ClassVar[str] = "invert"
        version: ClassVar[int] = 2
        kind: ClassVar[Kind] = Kind.BYTES

        def config(self) -> dict[str, Any]:
            return {}

        def encode(self, data: Any) -> bytes:
            return bytes(255 - b for b in bytes(data))

        def decode(self, data: Any, limit: int) -> bytes:
            return self.encode(data)

    chain = [{"name": "invert", "version": 2}, {"name": "zstd", "level": 1}]
    column = Column.from_list([b"one", b"", b"three"])
    assert Chain.from_json(chain).to_json() == chain
    assert_equal(round_trip(chain, column), column)
    assert describe(make({"name": "invert", "version": 1}, "x")) == {"name": "invert", "version": 2}
    assert register(Invert) is Invert
    with pytest.raises(ValueError, match="already"):
        register(type("Other", (), {"name": "invert"}))


@pytest.mark.parametrize(
    ("chain", "column"),
    [
        ([{"name": "protobuf"}], Column.from_list([b"A"])), ([{"name": "zstd"}], Alignments.null(1)),
        ([], Alignments.null(1)), ([{"name": "base3"}], Alignments.null(1)),
        ([{"name": "base3"}], Column(np.zeros(3, np.uint8))),
    ],
)  # fmt: skip
def test_a_column_that_does_not_fit_the_chain_is_refused(chain: list[dict[str, Any]], column: AnyColumn) -> None:
    with pytest.raises(CodecError):
        Chain.from_json(chain, "x").encode(column)


def test_a_pack_step_needs_the_sizes() -> None:
    with pytest.raises(CodecError, match="relative index is absent"):
        Chain([Base3()], "x").decode(bytes(8), 0, None, 8)
    with pytest.raises(CodecError, match="relative index is absent"):
        Chain([], "x").decode(b"", 0, None, 0)


@pytest.mark.parametrize(
    ("data", "sizes", "dtype"),
    [
        (b"abc", [1, 1], ""), (b"a", [1, 1], ""), (b"abcd", [2, 2], "<u4"), (b"abc", [1, 2], "<u2"),
        (b"abcd", [1, 3], "<u2"), (b"ab", [1, 1], "<u2"), (b"abcd", [4], "<u2"),
    ],
)  # fmt: skip
def test_a_payload_that_does_not_fit_the_sizes_is_refused(data: bytes, sizes: list[int], dtype: str) -> None:
    with pytest.raises(CodecError, match="x: payload"):
        Chain([], "x").decode(data, len(sizes), np.array(sizes, np.int64), len(data), dtype)


# Damage


@pytest.mark.parametrize("codec", [Zstd(3), Gzip(6)], ids=["zstd", "gzip"])
def test_damaged_frames_are_codec_errors(codec: Zstd | Gzip) -> None:
    data = b"ACGTTGCA" * 50 + bytes(range(200))
    good = codec.encode(data)
    for bad in (b"", good[:1], good[:-1], good[: len(good) // 2], good + b"\0", good + good, b"\0" * 50, data):
        with pytest.raises(CodecError):
            decode_bytes([codec], bad, len(data))
    for size in (0, 1, len(data) - 1, len(data) + 1):
        with pytest.raises(CodecError):
            decode_bytes([codec], good, size)


@given(st.data(), st.sampled_from([Zstd(1), Gzip(1)]))
def test_any_flipped_byte_gives_the_data_or_a_codec_error(data: st.DataObject, codec: Zstd | Gzip) -> None:
    raw = data.draw(st.binary(max_size=200))
    good = bytearray(codec.encode(raw))
    good[data.draw(st.integers(0, len(good) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = decode_bytes([codec], bytes(good), len(raw))
    except CodecError:
        return
    assert len(found) == len(raw)


def test_a_zstd_frame_must_say_its_size() -> None:
    silent = zstandard.ZstdCompressor(write_content_size=False).compress(b"x" * 100)
    with pytest.raises(CodecError, match="declares"):
        Zstd().decode(silent, 100)


def words(*lengths: int) -> bytes:
    return bytes(Base3().encode(Column.from_list([b"ACGTN"[i % 5 :][:1] * n for i, n in enumerate(lengths)]))[8:])


BASE3_DAMAGE: list[tuple[str, bytes, list[int]]] = [
    ("empty", b"", [3]), ("half a count", bytes(4), [3]), ("not whole words", bytes(8) + words(3)[:7], [3]),
    ("a word too few", bytes(8), [3]), ("a word too many", bytes(8) + words(3) + bytes(8), [3]),
    ("wrong lengths", bytes(8) + words(3), [4]), ("lengths swapped", bytes(8) + words(3, 30), [30, 3]),
    ("an impossible code", bytes(8) + struct.pack("<Q", 5 | 7 << 3), [1]),
    ("bits behind the end", bytes(8) + struct.pack("<Q", 7 << 3 | 1 << 40), [1]),
    ("the top bit", bytes(8) + struct.pack("<Q", 7 << 3 | 1 << 63), [1]),
    ("no end", bytes(8) + struct.pack("<Q", 0), [1]),
    ("more exceptions than bases", struct.pack("<Q", 4) + bytes(40) + words(3), [3]),
    ("huge number of exceptions", struct.pack("<Q", (1 << 64) - 1) + words(3), [3]),
    ("an exception behind the end", struct.pack("<QQ", 1, 3) + b"R".ljust(8, b"\0") + words(3), [3]),
    ("a negative position", struct.pack("<QQ", 1, (1 << 64) - 1) + b"R".ljust(8, b"\0") + words(3), [3]),
    ("falling to a small position", struct.pack("<QQQ", 2, (1 << 64) - 1, 1) + b"RR".ljust(8, b"\0") + words(3), [3]),
    ("positions that fall", struct.pack("<QQQ", 2, 1, 0) + b"RR".ljust(8, b"\0") + words(3), [3]),
    ("a position twice", struct.pack("<QQQ", 2, 1, 1) + b"RR".ljust(8, b"\0") + words(3), [3]),
]


@pytest.mark.parametrize(("data", "lengths"), [d[1:] for d in BASE3_DAMAGE], ids=[d[0] for d in BASE3_DAMAGE])
def test_damaged_bases_are_codec_errors(data: bytes, lengths: list[int]) -> None:
    with pytest.raises(CodecError, match="x: "):
        Chain([Base3()], "x").decode(data, len(lengths), np.array(lengths, np.int64), len(data))


@given(st.data())
def test_any_damage_to_bases_gives_bases_or_a_codec_error(data: st.DataObject) -> None:
    column = data.draw(BASES)
    encoded = Chain([Base3()]).encode(column)
    raw = bytearray(encoded.data)
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = Chain([Base3()]).decode(bytes(raw), len(column), encoded.sizes, len(raw))
    except CodecError:
        return
    assert isinstance(found, Column)
    assert found.lengths.tolist() == column.lengths.tolist()


@given(TEXT)
def test_noise_is_never_an_alignment_by_accident(column: Column) -> None:
    """Messages are read, or refused as a CodecError that names the record."""
    chain = Chain([Protobuf()], "x")
    data = column.compact().values.tobytes()
    try:
        found = chain.decode(data, len(column), column.lengths, len(data))
    except CodecError as error:
        assert "record" in error.reason  # noqa: PT017
        return
    assert len(found) == len(column)


# Bombs: nothing is allocated for what a file merely claims

LIMITED = """
import resource, sys
import numpy as np
from agd.codecs import Chain
from agd.errors import FormatError
data = open(sys.argv[1], "rb").read()
chain = Chain.from_json(eval(sys.argv[2]), "x")
now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + (32 << 20),) * 2)
try:
    chain.decode(data, 1, np.array([eval(sys.argv[3])]), eval(sys.argv[3]))
except FormatError as error:
    print(type(error).__name__, error)
"""


def bomb(size: int) -> bytes:
    engine = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(engine.compress(bytes(1 << 20)) for _ in range(size >> 20)), engine.flush()])


def frame(declared: int, content: bytes = b"") -> bytes:
    """A Zstandard frame that declares a size; an 8-byte content size, and RLE blocks of zeros by hand."""
    return b"\x28\xb5\x2f\xfd" + bytes([0b1110_0000]) + struct.pack("<Q", declared) + content


RLE = struct.pack("<I", 0 | 1 << 1 | (128 << 10) << 3)[:3] + b"\0"
LAST = struct.pack("<I", 1)[:3]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc and a limit of the address space")
@pytest.mark.parametrize(
    ("data", "chain", "claimed"),
    [
        (lambda: bomb(200 << 20), [{"name": "gzip"}], 1000),
        (lambda: bomb(200 << 20), [{"name": "zstd"}, {"name": "gzip"}], 1000),
        (lambda: frame(8 << 30), [{"name": "zstd"}], 8 << 30),
        (lambda: frame(1 << 63), [{"name": "zstd"}], 1 << 20),
        (lambda: frame(200 << 20, RLE * 1600 + LAST), [{"name": "zstd"}], 1000),
        (lambda: frame(200 << 20, RLE * 1600 + LAST), [{"name": "gzip"}, {"name": "zstd"}], 1000),
        (lambda: frame(1000, RLE * 1600 + LAST), [{"name": "zstd"}], 1000),
    ],
    ids=["gzip", "gzip within", "zstd claims 8 GiB", "zstd claims 8 EiB", "zstd", "zstd within", "zstd lies"],
)  # fmt: skip
def test_a_bomb_is_refused_within_little_memory(tmp_path: Path, data: Any, chain: Any, claimed: int) -> None:
    (tmp_path / "bomb").write_bytes(data())
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path / "bomb", repr(chain), str(claimed)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("CodecError x: payload")


def test_a_real_frame_of_the_highest_ratio_is_read() -> None:
    """The bound on what a frame can hold refuses no frame that does hold it."""
    size = 4 << 20
    blocks = frame(size, RLE * (size >> 17) + LAST)
    assert Zstd().decode(blocks, size) == bytes(size)
    for level in (1, 19):
        assert Zstd().decode(zstandard.compress(bytes(size), level), size) == bytes(size)


def test_incompressible_data_grow_within_the_bound_between_steps() -> None:
    data = np.random.default_rng(1).bytes(300_000)
    steps = Chain.from_json([{"name": "gzip", "level": 0}] * 3 + [{"name": "zstd", "level": -7}] * 2).bytes
    assert decode_bytes(steps, encode_bytes(steps, data), len(data)) == data
    empty = encode_bytes(steps, b"")
    assert decode_bytes(steps, empty, 0) == b""


class NoAlignments:
    """A context of qualities whose alignments are of another chunk."""

    orientation = Orientation.SEQ

    def column(self, name: str) -> AnyColumn:
        return Alignments.null(7)

    def genome(self) -> Any:
        raise AssertionError


@pytest.mark.parametrize("core", [False, True])
def test_errors_of_steps_that_need_other_columns_name_the_object(core: bool) -> None:
    where = "s3://b/x-000000000000.qualities"
    chain = Chain([Strand()], where)

    def read() -> AnyColumn:
        found = chain.decode(b"II", 2, np.array([1, 1]), 2, context=NoAlignments(), core=core)
        return chain.complete(found, NoAlignments())

    with pytest.raises(CodecError) as caught:
        read()
    assert (caught.value.where, caught.value.field) == (where, "results")


def test_errors_name_the_object() -> None:
    with pytest.raises(FormatError, match=r"s3://b/x-000000000000\.bases") as caught:
        Chain([Zstd()], "s3://b/x-000000000000.bases").decode(b"nonsense", 1, np.array([1]), 1)
    assert caught.value.where == "s3://b/x-000000000000.bases"


def test_errors_of_steps_name_the_object_and_keep_their_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise CodecError("rans", "table", "is odd", "make it even")

    chain = Chain.from_json([{"name": "rans"}], "s-000.qualities")
    made = chain.encode(Column.from_list([b"IIII"]))
    monkeypatch.setattr(Rans, "decode", fail)
    with pytest.raises(CodecError, match=r"s-000.qualities: table: rans: is odd") as caught:
        chain.decode(made.data, 1, made.sizes, made.raw_size)
    assert caught.value.remedy == "make it even"


def test_codecs_are_loaded_when_they_are_asked_for() -> None:
    script = """
import sys
import agd.codecs as codecs
from agd.codecs.base import make
later = {"agd.codecs." + name for name in ("read_names", "qualities", "refdiff", "derived", "strand", "structured")}
assert not later & set(sys.modules)
class Taken:
    name = "names"
try:
    codecs.register(Taken)
except ValueError as error:
    print(error)
assert "names" in codecs.names() and not later & set(sys.modules)
assert type(make({"name": "names"}, "here")) is codecs.Names
assert codecs.Fqz is sys.modules["agd.codecs.qualities"].Fqz
print(hasattr(codecs, "Nothing"), hasattr(codecs, "strand"), "agd.codecs.derived" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["there is a codec 'names' already", "False False False"]
