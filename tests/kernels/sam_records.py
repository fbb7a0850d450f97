"""What the tests of the SAM, BAM and checksum kernels share: reading files, comparing arrays, random records."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from agd.batch import Column
from agd.kernels.records import RecordArrays


class BamFile(NamedTuple):
    header: str
    names: list[str]
    body: np.ndarray[Any, np.dtype[np.uint8]]  # the uncompressed records


def read_bam(path: Path) -> BamFile:
    data = gzip.decompress(path.read_bytes())
    assert data[:4] == b"BAM\1"
    (size,) = struct.unpack_from("<i", data, 4)
    header = data[8 : 8 + size].decode()
    at = 8 + size
    (count,) = struct.unpack_from("<i", data, at)
    at += 4
    names = []
    for _ in range(count):
        (length,) = struct.unpack_from("<i", data, at)
        names.append(data[at + 4 : at + 3 + length].decode())
        at += 8 + length
    return BamFile(header, names, np.frombuffer(data, np.uint8, offset=at))


def references(names: list[str]) -> tuple[Any, Any]:
    """Names of the references as the kernels take them."""
    column = Column.from_list([name.encode() for name in names])
    return column.values, column.offsets


def scan(kernels: ModuleType, body: Any, capacity: int | None = None) -> Any:
    offsets = np.zeros((len(body) // 37 if capacity is None else capacity) + 1, np.int64)
    records, consumed = kernels.bam_scan(body, True, offsets)
    assert consumed == offsets[records]
    return offsets[: records + 1]


def decode_bam(kernels: ModuleType, body: Any, references: int) -> RecordArrays:
    offsets = scan(kernels, body)
    sizes = kernels.bam_measure(body, offsets)
    records = RecordArrays.allocate(len(offsets) - 1, *sizes)
    assert kernels.bam_decode(body, offsets, references, records) == sizes
    return records


def encode_bam(kernels: ModuleType, records: RecordArrays) -> bytes:
    sizes = np.zeros(len(records.flag), np.int64)
    kernels.bam_sizes(records, sizes)
    offsets = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    out = np.zeros(offsets[-1], np.uint8)
    kernels.bam_encode(records, out, offsets)
    return out.tobytes()


def parse_sam(kernels: ModuleType, text: bytes, names: list[str]) -> RecordArrays:
    """Records of SAM lines, in arrays of just their size."""
    buffer = np.frombuffer(text, np.uint8)
    records = RecordArrays.allocate(*kernels.sam_capacity(buffer))
    count, consumed, *used = kernels.sam_parse(buffer, *references(names), records, True)
    assert (count, consumed) == (len(records.flag), len(text))
    arrays = list(records)
    for k, size in zip(range(7, 17, 2), used, strict=True):
        arrays[k] = arrays[k][:size]
    return RecordArrays(*arrays)


def format_sam(kernels: ModuleType, records: RecordArrays, names: list[str]) -> bytes:
    out = np.zeros(kernels.sam_format_bound(records, *references(names)), np.uint8)
    written = kernels.sam_format(records, *references(names), out)
    return out[:written].tobytes()


def assert_same(left: RecordArrays, right: RecordArrays) -> None:
    for name, a, b in zip(RecordArrays._fields, left, right, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)


def from_tuples(records: list[tuple[Any, ...]]) -> RecordArrays:
    """Arrays from (flag, reference, position, quality, mate, mate position, template, name, cigar, …, tags)."""
    arrays: list[Any] = [
        np.array([record[k] for record in records], dtype)
        for k, dtype in enumerate([np.uint16, np.int32, np.int64, np.uint8, np.int32, np.int64, np.int64])
    ]
    for k in range(7, 12):
        runs = [record[k] for record in records]
        dtype = np.uint32 if k == 8 else np.uint8
        values = [np.frombuffer(run, np.uint8) if isinstance(run, bytes) else np.array(run, dtype) for run in runs]
        joined = np.concatenate([np.zeros(0, dtype), *values]).astype(dtype)
        column = Column.from_lengths(joined, [len(run) for run in runs])  # type: ignore[arg-type]
        arrays += [column.values, column.offsets]
    return RecordArrays(*arrays)


def _tags(pairs: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join({tag: tag + value for tag, value in pairs if tag != b"CG"}.values())


letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
tag_names = st.builds(lambda a, b: (a + b).encode(), st.sampled_from(letters), st.sampled_from(letters + "0123456789"))
printable = st.characters(min_codepoint=32, max_codepoint=126)
finite = st.floats(width=32, allow_nan=False)
NUMPY = {"c": np.int8, "C": np.uint8, "s": np.int16, "S": np.uint16, "i": np.int32, "I": np.uint32, "f": np.float32}


def _array(kind: str) -> st.SearchStrategy[bytes]:
    dtype = np.dtype(NUMPY[kind])
    item = finite if kind == "f" else st.integers(int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    return st.lists(item, max_size=6).map(
        lambda items: b"B" + kind.encode() + struct.pack("<I", len(items)) + np.array(items, dtype).tobytes()
    )


def _integer(value: int) -> bytes:
    kinds = "csi" if value < 0 else "CSI"
    kind = next(k for k in kinds if np.iinfo(NUMPY[k]).min <= value <= np.iinfo(NUMPY[k]).max)
    return kind.encode() + np.array(value, NUMPY[kind]).tobytes()


#: type and value of a field; integers in the smallest type, as text is read
tag_values = st.one_of(
    st.integers(-(2**31), 2**32 - 1).map(_integer),
    st.characters(min_codepoint=33, max_codepoint=126).map(lambda c: b"A" + c.encode()),
    finite.map(lambda x: b"f" + struct.pack("<f", x)),
    st.text(printable, max_size=9).map(lambda t: b"Z" + t.encode() + b"\0"),
    st.binary(max_size=4).map(lambda b: b"H" + b.hex().upper().encode() + b"\0"),
    *map(_array, NUMPY),
)
tags = st.lists(st.tuples(tag_names, tag_values), max_size=5).map(_tags)


@st.composite
def record_tuples(draw: st.DrawFn, references: int = 3) -> tuple[Any, ...]:
    """Records that BAM and SAM text can both hold without a change."""
    sequence = draw(st.text("=ACMGRSVTWYHKDBN", max_size=20)).encode()
    missing = not sequence or draw(st.booleans())
    scores = st.integers(33, 126)
    qualities = b"" if missing else bytes(draw(st.lists(scores, min_size=len(sequence), max_size=len(sequence))))
    if qualities == b"*":  # text cannot tell this quality from a missing one
        qualities = b"I"
    operations = draw(st.lists(st.tuples(st.integers(0, 2**20), st.sampled_from([1, 2, 3, 5, 6])), max_size=4))
    cigar = [length << 4 | code for length, code in operations if code != 1]
    if cigar and sequence:
        cigar.insert(draw(st.integers(0, len(cigar))), len(sequence) << 4 | draw(st.sampled_from([0, 1, 4, 7, 8])))
    place = st.integers(-1, 2**31 - 2)
    index = st.integers(-1, references - 1)
    name = draw(st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="@"), max_size=12))
    if draw(st.integers(0, 20)) == 0:
        name = "n" * 254
    return (
        draw(st.integers(0, 65535)), draw(index), draw(place), draw(st.integers(0, 255)), draw(index), draw(place),
        draw(st.integers(-(2**31), 2**31 - 1)), b"" if name == "*" else name.encode(), cigar, sequence, qualities,
        draw(tags),
    )  # fmt: skip


record_lists = st.lists(record_tuples(), max_size=6)
