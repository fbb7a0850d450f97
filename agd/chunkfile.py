"""The chunk file: one column of one chunk as a self-describing object (``spec/chunkfile.md``).

Layout: a header of 1,024 bytes, the relative index, the payload. All numbers are little-endian. :func:`frame` and
:func:`unframe` know bytes only; what the payload means is the business of the codec chain that the header names.
"""

from __future__ import annotations

import json
import struct
import uuid
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xxhash

from agd.batch import I64
from agd.errors import ChecksumError, FormatError, TruncatedError, VersionTooNewError, VersionTooOldError
from agd.types import MAX_CHUNK_RECORDS, NUMBER_DTYPES, Orientation, RecordType

MAGIC = b"\x89AGD\r\n\x1a\n"
VERSION = 1
HEADER_SIZE = 1024

#: Index widths: bytes per stored size; EQUAL: one u64 for all records; ABSENT: the payload knows its own sizes.
EQUAL = 0
ABSENT = 255
WIDTHS = (EQUAL, 1, 2, 4, 8, ABSENT)

#: No index or payload of one chunk may be larger than this once decoded (bytes).
MAX_DECODED = 1 << 33

_FIELDS: tuple[tuple[str, int, str], ...] = (
    # name, offset, struct format
    ("magic", 0, "8s"),
    ("version", 8, "H"),
    ("header size", 10, "H"),
    ("record type", 12, "B"),
    ("orientation", 13, "B"),
    ("index width", 14, "B"),
    ("reserved", 15, "B"),
    ("first ordinal", 16, "Q"),
    ("record count", 24, "Q"),
    ("index stored size", 32, "Q"),
    ("index raw size", 40, "Q"),
    ("payload stored size", 48, "Q"),
    ("payload raw size", 56, "Q"),
    ("values", 64, "Q"),
    ("dataset id", 72, "16s"),
    ("index checksum", 88, "Q"),
    ("payload checksum", 96, "Q"),
    ("dtype", 104, "8s"),
    ("column name", 112, "64s"),
    ("dataset name", 176, "128s"),
    ("index codecs", 304, "144s"),
    ("payload codecs", 448, "568s"),
    ("header checksum", 1016, "Q"),
)

#: Byte offset and size of every header field, by its name in the specification.
FIELDS = {name: (offset, struct.calcsize("<" + code)) for name, offset, code in _FIELDS}
_STRUCT = struct.Struct("<" + "".join(code for _, _, code in _FIELDS))
assert _STRUCT.size == HEADER_SIZE

CodecChain = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Header:
    """Header of a chunk file.

    Attributes
    ----------
    column, dataset_name : str
        UTF-8, at most 64 and 128 bytes.
    dataset_id : str
        UUID of the dataset, 32 hexadecimal digits.
    record_type : RecordType
    orientation : Orientation
        Of bases; NONE for other columns.
    first : int
        Ordinal of the first record.
    count : int
        Records.
    values : int
        Sum of the record sizes: bases, characters or bytes of all records. 0 where the index is absent.
    index_width : int
        Bytes per size in the relative index (1, 2, 4, 8), EQUAL (0) or ABSENT (255).
    index_codecs, codecs : list of dict
        Codec chains of the index and of the payload.
    payload_raw : int
        Bytes of the payload before its bytes → bytes codecs.
    dtype : str
        numpy type code of number columns (``"<u1"``), "" otherwise.
    index_stored, index_raw, payload_stored, index_checksum, payload_checksum : int
        Filled by :func:`frame`.
    """

    column: str
    dataset_name: str
    dataset_id: str
    record_type: RecordType
    first: int
    count: int
    values: int
    index_width: int
    codecs: CodecChain
    index_codecs: CodecChain
    payload_raw: int
    orientation: Orientation = Orientation.NONE
    dtype: str = ""
    index_raw: int = 0
    index_stored: int = 0
    payload_stored: int = 0
    index_checksum: int = 0
    payload_checksum: int = 0

    @property
    def size(self) -> int:
        """Bytes of the whole object."""
        return HEADER_SIZE + self.index_stored + self.payload_stored


def checksum(data: Any) -> int:
    """xxh3-64 of a bytes-like object."""
    return int(xxhash.xxh3_64_intdigest(data))


def narrowest_width(sizes: I64) -> int:
    """Index width for these record sizes: EQUAL, or the narrowest unsigned integer that holds them all."""
    if len(sizes) == 0:
        return EQUAL
    low, high = int(sizes.min()), int(sizes.max())
    if low == high:
        return EQUAL
    return next(width for width in (1, 2, 4, 8) if high < 1 << (8 * width))


def pack_index(sizes: I64, width: int) -> bytes:
    """Relative index of these record sizes, before its codecs."""
    if width == ABSENT:
        return b""
    if width == EQUAL:
        return struct.pack("<Q", int(sizes[0]) if len(sizes) else 0)
    return sizes.astype(f"<u{width}").tobytes()


def unpack_index(raw: Any, header: Header, where: str) -> I64:
    """Record sizes, int64, shape (count,), from the decoded relative index; their sum is checked."""
    if header.index_width == EQUAL:
        size = struct.unpack("<Q", raw)[0]
        if size * header.count != header.values or (size and not header.count):
            raise FormatError(where, "relative index", f"{header.count} sizes of {size} do not make {header.values}")
        return np.full(header.count, size, np.int64)
    stored = np.frombuffer(raw, f"<u{header.index_width}")
    if header.index_width == 8 and len(stored) and int(stored.max()) > header.values:
        raise FormatError(where, "relative index", f"a size of {int(stored.max())} in {header.values} values")
    sizes = stored.astype(np.int64)
    if int(sizes.sum()) != header.values:
        raise FormatError(where, "relative index", f"sizes add up to {int(sizes.sum())}, not to {header.values}")
    return sizes


def frame(header: Header, index: Any, payload: Any) -> bytes:
    """Chunk file from its header, the stored (encoded) index and the stored payload.

    Returns
    -------
    bytes
        The whole object; sizes and checksums in its header are set from what is given.
    """
    index, payload = memoryview(index).cast("B"), memoryview(payload).cast("B")
    header = replace(
        header,
        index_stored=len(index), payload_stored=len(payload),
        index_checksum=checksum(index), payload_checksum=checksum(payload),
        index_raw=index_raw_size(header.index_width, header.count),
    )  # fmt: skip
    return b"".join((pack_header(header), index, payload))


def index_raw_size(width: int, count: int) -> int:
    """Bytes of the relative index before its codecs."""
    return 0 if width == ABSENT else 8 if width == EQUAL else width * count


def pack_header(header: Header) -> bytes:
    """The 1,024 bytes of a header, its own checksum included.

    Raises
    ------
    FormatError
        A field has a value that :func:`parse_header` would refuse.
    """
    _check_fields(header, f"{header.column} of {header.dataset_name}")
    raw = _STRUCT.pack(
        MAGIC, VERSION, HEADER_SIZE, header.record_type, header.orientation, header.index_width, 0,
        header.first, header.count, header.index_stored, header.index_raw, header.payload_stored, header.payload_raw,
        header.values, uuid.UUID(header.dataset_id).bytes, header.index_checksum, header.payload_checksum,
        _text(header.dtype, "dtype"), _text(header.column, "column name"),
        _text(header.dataset_name, "dataset name"), _chain(header.index_codecs, "index codecs"),
        _chain(header.codecs, "payload codecs"), 0,
    )  # fmt: skip
    body = raw[:-8]
    return body + struct.pack("<Q", checksum(body))


def _text(text: str, field: str) -> bytes:
    data = text.encode()
    if len(data) > FIELDS[field][1] or b"\0" in data:
        raise FormatError(repr(text), field, f"does not fit into {FIELDS[field][1]} bytes", "choose a shorter one")
    return data


def _chain(chain: CodecChain, field: str) -> bytes:
    return _text(json.dumps(chain, separators=(",", ":"), ensure_ascii=False), field)


def parse_header(data: Any, where: str) -> Header:
    """Header from the first bytes of a chunk file; every field is checked.

    Raises
    ------
    FormatError
        Or one of its kinds: TruncatedError, ChecksumError, VersionTooNewError, VersionTooOldError.
    """
    data = bytes(data[:HEADER_SIZE])
    if data[: len(MAGIC)] != MAGIC[: len(data)] or len(data) < len(MAGIC):
        raise FormatError(where, "magic", "this is not an AGD chunk file")
    if len(data) < HEADER_SIZE:
        raise TruncatedError(where, "header", f"{len(data)} bytes of {HEADER_SIZE}")
    version = struct.unpack_from("<H", data, 8)[0]
    if version > VERSION:
        raise VersionTooNewError(where, "version", f"format {version}; this release reads up to {VERSION}")
    (
        _, _, header_size, record_type, orientation, width, reserved, first, count, index_stored, index_raw,
        payload_stored, payload_raw, values, dataset_id, index_checksum, payload_checksum, dtype, column,
        dataset_name, index_codecs, codecs, header_checksum,
    ) = _STRUCT.unpack(data)  # fmt: skip
    if checksum(data[:-8]) != header_checksum:
        raise ChecksumError(where, "header checksum", "the header is damaged")
    if version < 1:
        raise VersionTooOldError(where, "version", f"format {version} is not read any more")
    _check(where, "header size", header_size == HEADER_SIZE, header_size)
    _check(where, "record type", record_type in set(RecordType), record_type)
    _check(where, "orientation", orientation in set(Orientation), orientation)
    _check(where, "reserved", reserved == 0, reserved)
    header = Header(
        column=_untext(column, where, "column name"),
        dataset_name=_untext(dataset_name, where, "dataset name"),
        dataset_id=uuid.UUID(bytes=dataset_id).hex,
        record_type=RecordType(record_type), first=first, count=count, values=values, index_width=width,
        codecs=_unchain(codecs, where, "payload codecs"), index_codecs=_unchain(index_codecs, where, "index codecs"),
        payload_raw=payload_raw, orientation=Orientation(orientation), dtype=_untext(dtype, where, "dtype"),
        index_raw=index_raw, index_stored=index_stored, payload_stored=payload_stored,
        index_checksum=index_checksum, payload_checksum=payload_checksum,
    )  # fmt: skip
    _check_fields(header, where)
    return header


def _check_fields(h: Header, where: str) -> None:
    _check(where, "orientation", (h.record_type is RecordType.BASES) == (h.orientation != 0), h.orientation)
    _check(where, "index width", h.index_width in WIDTHS, h.index_width)
    _check(where, "record count", 0 <= h.count <= MAX_CHUNK_RECORDS, h.count)
    _check(where, "first ordinal", 0 <= h.first < (1 << 63) - h.count, h.first)
    _check(where, "index raw size", h.index_raw == index_raw_size(h.index_width, h.count), h.index_raw)
    _check(where, "index stored size", h.index_width != ABSENT or h.index_stored == 0, h.index_stored)
    _check(where, "payload raw size", 0 <= h.payload_raw <= MAX_DECODED, h.payload_raw)
    _check(where, "values", 0 <= h.values <= (0 if h.index_width == ABSENT else MAX_DECODED), h.values)
    _check(where, "column name", bool(h.column), repr(h.column))
    _check(where, "dtype", (h.record_type is RecordType.NUMBER) == bool(h.dtype), repr(h.dtype))
    _check(where, "dtype", h.dtype in ("", *NUMBER_DTYPES), repr(h.dtype))


def _check(where: str, field: str, ok: bool, value: object) -> None:
    if not ok:
        raise FormatError(where, field, f"{value} is not possible here")


def _untext(data: bytes, where: str, field: str) -> str:
    text, _, rest = data.partition(b"\0")
    if rest.strip(b"\0"):
        raise FormatError(where, field, "bytes after the end of the text")
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise FormatError(where, field, "not UTF-8") from error


def _unchain(data: bytes, where: str, field: str) -> CodecChain:
    try:
        chain = json.loads(_untext(data, where, field))
    except (json.JSONDecodeError, RecursionError) as error:
        raise FormatError(where, field, "not a JSON list of codecs") from error
    if not isinstance(chain, list) or not all(isinstance(c, dict) and isinstance(c.get("name"), str) for c in chain):
        raise FormatError(where, field, "not a JSON list of codecs")
    return chain



def unframe(data: Any, where: str) -> tuple[Header, memoryview, memoryview]:
    """Header, stored index and stored payload of a chunk file; sizes and checksums are verified.

    Parameters
    ----------
    data : bytes-like
        The whole object.
    where : str
        Name of the object for errors.
    """
    header = parse_header(data, where)
    view = memoryview(data).cast("B")
    if len(view) != header.size:
        raise TruncatedError(where, "object size", f"{len(view)} bytes, the header says {header.size}")
    index = view[HEADER_SIZE : HEADER_SIZE + header.index_stored]
    payload = view[HEADER_SIZE + header.index_stored :]
    if checksum(index) != header.index_checksum:
        raise ChecksumError(where, "relative index", "its bytes do not give the checksum in the header")
    if checksum(payload) != header.payload_checksum:
        raise ChecksumError(where, "payload", "its bytes do not give the checksum in the header")
    return header, index, payload
