"""A column of a chunk as a stored object."""

from __future__ import annotations

import itertools
import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd import cell as cells
from agd import chunkfile
from agd.batch import Alignments, AnyColumn, Column
from agd.chunkfile import FIELDS, HEADER_SIZE
from agd.errors import ChecksumError, CodecError, ColumnError, FormatError, UnknownCodecError
from agd.manifest import Cell, ColumnSpec
from agd.types import MAX_CHUNK_RECORDS, NUMBER_DTYPES, Orientation, RecordType
from tests.support.columns import BASES, TEXT, alignments, assert_equal, numbers

IDENTITY = "00112233445566778899aabbccddeeff"


def encode(column: AnyColumn, name: str, spec: ColumnSpec | None = None, first: int = 0) -> tuple[bytes, Cell]:
    return cells.encode_cell(
        column, name, spec or cells.default_spec(name), first=first, dataset_id=IDENTITY, dataset_name="sample",
        orientation=Orientation.READ,
    )  # fmt: skip


def reseal(data: bytes) -> bytes:
    """Right checksums of header, index and payload."""
    header = bytearray(data[:HEADER_SIZE])
    stored = struct.unpack_from("<Q", header, FIELDS["index stored size"][0])[0]
    index, payload = data[HEADER_SIZE : HEADER_SIZE + stored], data[HEADER_SIZE + stored :]
    struct.pack_into("<Q", header, FIELDS["payload stored size"][0], len(payload))
    struct.pack_into("<QQ", header, FIELDS["index checksum"][0], chunkfile.checksum(index), chunkfile.checksum(payload))
    struct.pack_into("<Q", header, HEADER_SIZE - 8, chunkfile.checksum(bytes(header[:-8])))
    return bytes(header) + index + payload


def with_field(data: bytes, field: str, value: int | bytes) -> bytes:
    offset, size = FIELDS[field]
    raw = value.to_bytes(size, "little") if isinstance(value, int) else value.ljust(size, b"\0")
    return reseal(data[:offset] + raw + data[offset + size :])


COLUMNS = st.one_of(
    st.tuples(st.just("bases"), BASES), st.tuples(st.sampled_from(["qualities", "metadata", "tags"]), TEXT),
    st.tuples(st.sampled_from(["results", "secondary0", "secondary12"]), alignments()),
    st.tuples(st.just("duplicates"), numbers("|u1")),
)  # fmt: skip


@given(COLUMNS, st.integers(0, 1 << 60))
def test_every_column_comes_back(named: tuple[str, AnyColumn], first: int) -> None:
    name, column = named
    data, cell = encode(column, name, first=first)
    header, found = cells.decode_cell(data, "x")
    assert_equal(found, column)
    assert cell.bytes == len(data)
    assert int(cell.checksum, 16) == struct.unpack_from("<Q", data, HEADER_SIZE - 8)[0]
    assert (header.column, header.first, header.count) == (name, first, len(column))
    assert (header.dataset_id, header.dataset_name) == (IDENTITY, "sample")
    assert header.orientation == (Orientation.READ if name == "bases" else Orientation.NONE)
    assert encode(column, name, first=first) == (data, cell), "the same bytes each time"
    assert cells.statistics(header.record_type, found) == cell.statistics
    json.dumps(dict(cell.statistics))


@given(numbers())
def test_numbers_of_every_type(column: Column) -> None:
    spec = ColumnSpec(RecordType.NUMBER, [{"name": "zstd", "level": 1}], "score", column.values.dtype.str)
    assert_equal(cells.decode_cell(encode(column, "score", spec)[0], "x")[1], column)


def test_records_of_equal_size_are_counted_once() -> None:
    column = Column.from_list([b"ACGT" * 25] * 1000)
    header = chunkfile.parse_header(encode(column, "qualities")[0], "x")
    assert (header.index_width, header.index_raw, header.values) == (chunkfile.EQUAL, 8, 100_000)


def test_bases_are_counted_not_words() -> None:
    header = chunkfile.parse_header(encode(Column.from_list([b"ACGT" * 25, b"A"]), "bases")[0], "x")
    assert header.values == 101
    assert header.payload_raw < 101


def test_a_replaced_column_keeps_its_name_in_the_header() -> None:
    spec = cells.default_spec("results", "results~4")
    assert chunkfile.parse_header(encode(Alignments.null(2), "results", spec)[0], "x").column == "results"


def test_columns_that_agd_does_not_know_need_a_type() -> None:
    with pytest.raises(ColumnError, match="'scores'"):
        cells.default_spec("scores")
    assert cells.default_spec("secondary3").type is RecordType.STRUCTURED
    assert cells.default_spec("duplicates").dtype == "|u1"


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("results", Column.from_list([b"x"])), ("bases", Alignments.null(1)), ("tags", Alignments.null(1)),
        ("duplicates", Column.from_list([b"x"])), ("qualities", Column(np.zeros(2, np.uint8))),
        ("duplicates", Alignments.null(1)),
    ],
)  # fmt: skip
def test_records_of_another_type_are_refused(name: str, column: AnyColumn) -> None:
    with pytest.raises(ColumnError, match=name):
        encode(column, name)


def test_numbers_are_never_cut_to_size() -> None:
    good = Column(np.array([0, 255], np.int64))
    assert_equal(cells.decode_cell(encode(good, "duplicates")[0], "x")[1], Column(good.values.astype(np.uint8)))
    for wrong in ([256], [-1]):
        with pytest.raises(ColumnError, match="duplicates"):
            encode(Column(np.array(wrong)), "duplicates")
    spec = ColumnSpec(RecordType.NUMBER, [], "score", "<f4")
    assert_equal(
        cells.decode_cell(encode(Column(np.array([0.5, np.nan])), "score", spec)[0], "x")[1],
        Column(np.array([0.5, np.nan], np.float32)),
    )
    with pytest.raises(ColumnError, match="score"):
        encode(Column(np.array([0.1])), "score", spec)


#: Around every limit of the types of numbers.
EDGES = sorted({s * 2**k + d for s in (1, -1) for k in (0, 7, 8, 11, 15, 24, 31, 32, 53, 63, 64) for d in (-1, 0, 1)})


def edges(dtype: str) -> list[Any]:
    """Those that a type holds."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        with np.errstate(over="ignore"):
            return np.array([0.5, -1.5, np.inf, -np.inf, 1e300, *map(float, EDGES)]).astype(kind).tolist()
    if kind.kind == "b":
        return [False, True]
    return [edge for edge in EDGES if np.iinfo(kind).min <= edge <= np.iinfo(kind).max]


@pytest.mark.parametrize("dtype", NUMBER_DTYPES)
@pytest.mark.parametrize("source", [*NUMBER_DTYPES, "<f2", ">i4"])
def test_numbers_are_stored_exactly_or_refused(source: str, dtype: str) -> None:
    """Python, which compares integers with fractions exactly, is the oracle."""
    spec = ColumnSpec(RecordType.NUMBER, [], "score", dtype)
    for value in edges(source):
        column = Column(np.array([value], source))
        with np.errstate(all="ignore"):
            exact = column.values.astype(dtype).tolist() == [value]
        if exact:
            assert list(cells.decode_cell(encode(column, "score", spec)[0], "x")[1]) == [value]
        else:
            with pytest.raises(ColumnError, match="score"):
                encode(column, "score", spec)


@pytest.mark.parametrize("name", ["bases", "qualities", "metadata", "tags"])
@pytest.mark.parametrize("dtype", [np.int8, np.uint32, np.int64, "S1"])
def test_bytes_are_bytes(name: str, dtype: Any) -> None:
    with pytest.raises(ColumnError, match=f"column '{name}' holds bytes"):
        encode(Column.from_lengths(np.zeros(3, dtype), np.array([2, 1])), name)


# Damage that has right checksums


GOOD = {
    "bases": encode(Column.from_list([b"ACGTN", b"ACGTR" * 9, b""]), "bases")[0],
    "qualities": encode(Column.from_list([b"IIIII", b"I" * 45, b""]), "qualities")[0],
    "results": encode(Alignments.null(3), "results")[0],
    "duplicates": encode(Column(np.array([0, 1, 0], np.uint8)), "duplicates")[0],
}

ZSTD = b'[{"name":"zstd","level":1}]'

LIES: list[tuple[str, str, int | bytes, type[FormatError], str]] = [
    ("qualities", "payload codecs", b'[{"name":"base3"},{"name":"zstd","level":1}]', CodecError, ""),
    ("qualities", "payload codecs", b'[{"name":"protobuf"},{"name":"zstd","level":1}]', CodecError, ""),
    ("qualities", "payload codecs", b"[]", CodecError, "payload"),
    ("qualities", "payload codecs", b'[{"name":"gzip"}]', CodecError, "payload"),
    ("qualities", "payload codecs", b'[{"name":"lzma"}]', UnknownCodecError, "codecs"),
    ("qualities", "payload codecs", b'[{"name":"zstd","version":9}]', UnknownCodecError, "codecs"),
    ("qualities", "payload codecs", b'[{"name":"zstd","level":"high"}]', CodecError, "codecs"),
    ("qualities", "payload codecs", ZSTD[:-1] + b',{"name":"base3"}]', CodecError, "codecs"),
    ("qualities", "index codecs", b'[{"name":"base3"}]', CodecError, "index codecs"),
    ("qualities", "index codecs", b'[{"name":"protobuf"}]', CodecError, "index codecs"),
    ("qualities", "index codecs", b'[{"name":"lzma"}]', UnknownCodecError, "codecs"),
    ("qualities", "index codecs", b"[]", FormatError, "relative index"),
    ("qualities", "index codecs", b'[{"name":"gzip"}]', FormatError, "relative index"),
    ("qualities", "payload raw size", 49, CodecError, "payload"),
    ("qualities", "payload raw size", 0, CodecError, "payload"),
    ("qualities", "payload raw size", 1 << 33, CodecError, "payload"),
    ("qualities", "values", 49, FormatError, "relative index"),
    ("qualities", "record type", int(RecordType.STRUCTURED), CodecError, "payload codecs"),
    ("bases", "payload codecs", ZSTD, CodecError, "payload"),
    ("bases", "values", 51, FormatError, "relative index"),
    ("results", "payload codecs", ZSTD, CodecError, "payload"),
    ("results", "record type", int(RecordType.AUX), CodecError, "payload codecs"),
    ("duplicates", "dtype", b"<u2", CodecError, "payload"),
    ("duplicates", "payload codecs", b'[{"name":"base3"},{"name":"zstd","level":1}]', CodecError, ""),
    ("duplicates", "record count", 2, FormatError, "relative index"),
]


@pytest.mark.parametrize(("column", "field", "value", "kind", "named"), LIES)
def test_a_lie_with_right_checksums_is_found(
    column: str, field: str, value: int | bytes, kind: type[FormatError], named: str
) -> None:
    cells.decode_cell(reseal(GOOD[column]), "x")
    with pytest.raises(FormatError) as caught:
        cells.decode_cell(with_field(GOOD[column], field, value), "s3://b/x-0")
    assert isinstance(caught.value, kind)
    assert named in caught.value.field
    assert "s3://b/x-0" in str(caught.value)


@given(st.sampled_from(sorted(GOOD)), st.integers(12, HEADER_SIZE - 9), st.binary(min_size=1, max_size=4))
def test_any_resealed_header_is_read_or_refused(column: str, place: int, change: bytes) -> None:
    change = change[: HEADER_SIZE - 8 - place]
    data = GOOD[column][:place] + change + GOOD[column][place + len(change) :]
    header = data[: HEADER_SIZE - 8]
    data = header + struct.pack("<Q", chunkfile.checksum(header)) + data[HEADER_SIZE:]
    try:
        cells.decode_cell(data, "x")
    except FormatError as error:
        assert "x" in error.where  # noqa: PT017


@given(st.sampled_from(sorted(GOOD)), st.data())
def test_any_resealed_payload_is_read_or_refused(column: str, data: st.DataObject) -> None:
    damaged = bytearray(GOOD[column])
    damaged[data.draw(st.integers(HEADER_SIZE, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        header, found = cells.decode_cell(reseal(bytes(damaged)), "x")
    except FormatError:
        return
    assert len(found) == header.count


CLAIMS = """
import resource, sys
from agd import cell
from agd.errors import FormatError
data = open(sys.argv[1], "rb").read()
now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + (64 << 20),) * 2)
try:
    cell.decode_cell(data, "x")
except FormatError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc and a limit of the address space")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("record count", 1 << 60), ("record count", MAX_CHUNK_RECORDS + 1), ("payload raw size", 1 << 33),
        ("payload raw size", 1 << 60), ("index raw size", 1 << 60), ("values", 1 << 33),
    ],
)  # fmt: skip
def test_a_size_that_lies_takes_no_memory(tmp_path: Path, field: str, value: int) -> None:
    assert_takes_no_memory(tmp_path, with_field(GOOD["qualities"], field, value))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc and a limit of the address space")
def test_sizes_that_lie_together_take_no_memory(tmp_path: Path) -> None:
    """A header and a payload that agree with each other, and not with the relative index."""
    claimed = 1 << 33
    data = encode(Column.from_list([b"IIIII" * 999]), "qualities")[0]
    at = HEADER_SIZE + chunkfile.parse_header(data, "x").index_stored + 1
    assert struct.unpack_from("<Q", data, at) == (4995,)
    assert_takes_no_memory(
        tmp_path, with_field(data[:at] + struct.pack("<Q", claimed) + data[at + 8 :], "payload raw size", claimed)
    )


def assert_takes_no_memory(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "lie").write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", CLAIMS, tmp_path / "lie"], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "Error x: " in done.stdout


# What the manifest says of an object


def test_an_object_must_be_the_one_that_the_manifest_means() -> None:
    data, cell = encode(Column.from_list([b"I"]), "qualities")
    header = chunkfile.parse_header(data, "x")
    cells.check_header(header, "x", cell, data, {"first": 0, "column": "qualities"})
    with pytest.raises(FormatError, match="x: first: 0, but the manifest says 7"):
        cells.check_header(header, "x", cell, data, {"first": 7})
    with pytest.raises(ChecksumError, match="the manifest says"):
        cells.check_header(header, "x", Cell(cell.bytes, "0" * 16), data, {})


# Statistics


def test_lengths_of_bases_are_noted() -> None:
    _, cell = encode(Column.from_list([b"ACG", b"", b"ACGTT"]), "bases")
    assert cell.statistics == {"total": 8, "min_length": 0, "max_length": 5}
    assert encode(Column.empty(), "bases")[1].statistics == {}


def test_bytes_of_text_are_noted() -> None:
    column = Column.from_list([b"one", b"", b"three"])
    assert [encode(column, name)[1].statistics for name in ("qualities", "metadata")] == [{"total": 8}] * 2


SAM = """@HD\tVN:1.6
@SQ\tSN:one\tLN:1000
@SQ\tSN:two\tLN:1000
a\t0\tone\t11\t60\t3S4M1I2D3N5=1X2H\t*\t0\t0\t*\t*
b\t16\ttwo\t5\t60\t10M\t*\t0\t0\t*\t*
c\t69\tone\t700\t0\t*\tone\t700\t0\t*\t*
d\t4\t*\t0\t0\t*\t*\t0\t0\t*\t*
e\t16\tone\t2\t60\t5S\t*\t0\t0\t*\t*
"""


def test_spans_are_those_of_a_bam_index(tmp_path: Path) -> None:
    (tmp_path / "x.sam").write_text(SAM)
    with pysam.AlignmentFile(str(tmp_path / "x.sam")) as file:
        records = list(file)
    cigars = [[length << 4 | code for code, length in r.cigartuples or ()] for r in records]
    operations = np.array(list(itertools.chain(*cigars)), np.uint32)
    column = Alignments(
        np.array([r.flag for r in records], np.uint16), np.array([r.reference_id for r in records], np.int32),
        np.array([r.reference_start for r in records], np.int64), np.zeros(5, np.uint8), np.full(5, -1, np.int32),
        np.full(5, -1, np.int64), np.zeros(5, np.int64),
        Column.from_lengths(operations, np.array([len(c) for c in cigars])),
        Column.from_list([b"NMC\1", b"", b"", b"", b"NMC\2ASC\3"]),
    )  # fmt: skip
    lengths = cells.reference_lengths(column.cigar)
    # htslib counts one base for a record whose CIGAR covers none.
    assert np.maximum(lengths, 1).tolist() == [r.reference_length or 1 for r in records]
    found = encode(column, "results")[1].statistics
    assert found.pop("distant") == [0, 0, 0, 0]
    assert found == {
        "flags": {"0": 1, "4": 1, "16": 2, "69": 1}, "spans": [[0, 1, 700], [1, 4, 14]],
        "cigar_operations": len(operations), "tag_bytes": 12,
    }  # fmt: skip
    part = column.slice(1, 3)
    none = {"distant": [0, 0, 0, 0]}
    assert cells.alignment_statistics(part) == none | {
        "flags": {"16": 1, "69": 1}, "spans": [[0, 699, 700], [1, 4, 14]], "cigar_operations": 1, "tag_bytes": 0
    }  # fmt: skip
    hidden = column.replace(valid=np.array([True, False, False, True, True]))
    assert cells.alignment_statistics(hidden) == none | {
        "flags": {"0": 1, "4": 1, "16": 1}, "spans": [[0, 1, 25]], "cigar_operations": len(operations) - 1,
        "tag_bytes": 12,
    }  # fmt: skip


def test_a_chunk_of_many_references_notes_no_spans() -> None:
    count = cells.MAX_SPANS + 1
    column = Alignments.null(count).replace(
        valid=None, reference=np.arange(count, dtype=np.int32), position=np.zeros(count, np.int64)
    )
    assert "spans" not in cells.alignment_statistics(column)
    assert len(cells.alignment_statistics(column.slice(0, count - 1))["spans"]) == cells.MAX_SPANS


@pytest.mark.parametrize("references", [[3, 1, 3, 0, 1], [7, 1 << 16, 7, 2], [5]])
def test_spans_are_by_reference(references: list[int]) -> None:
    count = len(references)
    column = Alignments.null(count).replace(
        valid=None, reference=np.array(references, np.int32), position=np.arange(count, dtype=np.int64)
    )
    wanted = {r: [i for i in range(count) if references[i] == r] for r in sorted(references)}
    assert cells.alignment_statistics(column)["spans"] == [[r, at[0], at[-1] + 1] for r, at in wanted.items()]


@given(alignments())
def test_statistics_cover_every_record(column: Alignments) -> None:
    found: dict[str, Any] = cells.alignment_statistics(column)
    valid = np.ones(len(column), bool) if column.valid is None else column.valid
    assert sum(found["flags"].values()) == valid.sum()
    lengths = cells.reference_lengths(column.cigar)
    spans = {r: (start, end) for r, start, end in found.get("spans", ())}
    for i in np.flatnonzero(valid & (column.reference >= 0) & (column.position >= 0)):
        start, end = spans[int(column.reference[i])]
        assert start <= column.position[i]
        assert column.position[i] + max(1, int(lengths[i])) <= end


def test_the_types_of_numbers_are_numpy_codes() -> None:
    assert [np.dtype(code).str for code in NUMBER_DTYPES] == list(NUMBER_DTYPES)
