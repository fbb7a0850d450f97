"""One stored object: from a column in memory to the bytes of a chunk file, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agd import chunkfile, kernels
from agd.batch import I64, Alignments, AnyColumn, Column
from agd.chunkfile import Header
from agd.codecs import Chain, Context, PackedBases, Zstd, decode_bytes, encode_bytes, needed_columns
from agd.codecs.base import BytesCodec
from agd.errors import ChecksumError, CodecError, ColumnError, FormatError
from agd.kernels.alignments import arrays
from agd.manifest import Cell, Chunk, ColumnSpec, Manifest
from agd.types import Flag, Orientation, RecordType

#: Codec chain of the relative index.
INDEX_CODECS: list[BytesCodec] = [Zstd(level=1)]

#: The columns that AGD knows by name, and how they are stored unless the user says otherwise.
DEFAULT_CODECS: dict[RecordType, list[dict[str, Any]]] = {
    RecordType.TEXT: [{"name": "zstd", "level": 1}],
    RecordType.BASES: [{"name": "base2", "level": 1}],
    RecordType.STRUCTURED: [{"name": "alignments", "level": 1}],
    RecordType.AUX: [{"name": "tags", "level": 1}],
    RecordType.NUMBER: [{"name": "zstd", "level": 1}],
}

#: Qualities have few values and no repeats: an entropy coder is smaller than zstd on them, and faster to write.
QUALITY_CODECS: list[dict[str, Any]] = [{"name": "rans"}]

_COLUMN_TYPES = {
    "bases": RecordType.BASES,
    "qualities": RecordType.TEXT,
    "metadata": RecordType.TEXT,
    "results": RecordType.STRUCTURED,
    "tags": RecordType.AUX,
    "duplicates": RecordType.NUMBER,
}

#: A chunk that touches more references than this has no spans.
MAX_SPANS = 64


def default_spec(name: str, key: str | None = None) -> ColumnSpec:
    """How a column of this name is stored by default.

    Raises
    ------
    ColumnError
        It is not one of the columns that AGD knows.
    """
    kind = RecordType.STRUCTURED if name.startswith("secondary") else _COLUMN_TYPES.get(name)
    if kind is None:
        raise ColumnError(f"there is no standard column {name!r}", "say which type it has")
    codecs = QUALITY_CODECS if name == "qualities" else DEFAULT_CODECS[kind]
    return ColumnSpec(kind, codecs, key or name, "|u1" if kind is RecordType.NUMBER else "")


def null_column(spec: ColumnSpec, count: int) -> AnyColumn:
    """What a chunk without an object of a column has: null fields."""
    if spec.type is RecordType.STRUCTURED:
        return Alignments.null(count)
    return Column(np.zeros(count, spec.dtype)) if spec.type is RecordType.NUMBER else Column.empty(count)


def independent_codecs(name: str, spec: ColumnSpec) -> list[dict[str, Any]]:
    """The codecs of a column, or the default ones where those need other columns of the chunk."""
    return default_spec(name).codecs if needed_columns(spec.codecs) else spec.codecs


def encode_cell(
    column: AnyColumn | PackedBases, name: str, spec: ColumnSpec, *, first: int, dataset_id: str, dataset_name: str,
    orientation: Orientation, context: Context | None = None,
) -> tuple[bytes, Cell]:
    """Bytes of the chunk file of a column, and its entry in the manifest.

    Raises
    ------
    ColumnError
        The column is not of the type that ``spec`` says, or has values that this type cannot hold.
    """
    chain = Chain.from_json(spec.codecs, name)
    if not _is_of(spec.type, column):
        raise ColumnError(f"these are no records of the type {spec.type.name.lower()}, which column {name!r} has")
    if isinstance(column, Column):
        if spec.dtype:
            column = Column(_cast(column.values, spec.dtype, name))
        elif column.values.dtype != np.uint8:
            raise ColumnError(f"column {name!r} holds bytes (uint8), not values of the type {column.values.dtype}")
    encoded = chain.encode(column, context)
    if encoded.sizes is None:
        width, index, total = chunkfile.ABSENT, b"", 0
    else:
        width = chunkfile.narrowest_width(encoded.sizes)
        index = encode_bytes(INDEX_CODECS, chunkfile.pack_index(encoded.sizes, width))
        total = int(encoded.sizes.sum())
    header = Header(
        column=spec.key.split("~")[0], dataset_name=dataset_name, dataset_id=dataset_id, record_type=spec.type,
        first=first, count=len(column), values=total, index_width=width,
        codecs=chain.to_json(), index_codecs=[] if width == chunkfile.ABSENT else [
            {"name": codec.name, **codec.config()} for codec in INDEX_CODECS
        ],
        payload_raw=encoded.raw_size, dtype=spec.dtype,
        orientation=orientation if spec.type is RecordType.BASES else Orientation.NONE,
    )  # fmt: skip
    data = chunkfile.frame(header, index, encoded.data)
    return data, Cell(len(data), header_checksum(data), statistics(spec.type, column))


def _is_of(kind: RecordType, column: AnyColumn | PackedBases) -> bool:
    if isinstance(column, Alignments):
        return kind is RecordType.STRUCTURED
    if isinstance(column, PackedBases):
        return kind is RecordType.BASES
    return kind is not RecordType.STRUCTURED and (kind is RecordType.NUMBER) == (column.offsets is None)


def _cast(values: NDArray[Any], dtype: str, name: str) -> NDArray[Any]:
    if values.dtype == np.dtype(dtype):
        return values
    if values.dtype.kind not in "biuf":
        raise ColumnError(f"column {name!r} holds numbers, not values of the type {values.dtype}")
    with np.errstate(invalid="ignore", over="ignore"):
        cast = values.astype(dtype)
        same = _are_same(cast, values)
    if not same:
        raise ColumnError(f"column {name!r} is given numbers that {dtype} cannot hold", "choose a wider type")
    return cast


def _are_same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Whether two arrays hold exactly the same numbers; numpy compares integers with fractions as float64."""
    if a.dtype.kind == "f" and b.dtype.kind == "f":
        return np.array_equal(a, b, equal_nan=True)
    if a.dtype.kind != "f" and b.dtype.kind != "f":
        return np.array_equal(a.astype(b.dtype), b) and np.array_equal(a < 0, b < 0)
    fractions, whole = (a, b) if a.dtype.kind == "f" else (b, a)
    if whole.dtype.kind == "b":
        whole = whole.view(np.uint8)
    limits = np.iinfo(whole.dtype)
    # What lies beyond the limits becomes another integer on each kind of processor.
    inside = np.isfinite(fractions) & (fractions >= float(limits.min)) & (fractions < float(limits.max) + 1)
    if not inside.all():
        return False
    back = whole.astype(fractions.dtype)
    return np.array_equal(fractions.astype(whole.dtype), whole) and np.array_equal(back, fractions)


def header_checksum(data: Any) -> str:
    """Checksum of a chunk file as the manifest notes it: that of its header, which holds those of the rest."""
    return bytes(data[chunkfile.HEADER_SIZE - 8 : chunkfile.HEADER_SIZE])[::-1].hex()


def decode_cell(
    data: Any, where: str, context: Context | None = None, *, core: bool = False
) -> tuple[Header, AnyColumn]:
    """Header and column of a chunk file; everything in it is verified.

    Parameters
    ----------
    context, core
        For :meth:`agd.codecs.Chain.decode`.

    Raises
    ------
    FormatError
        Or one of its kinds, naming the field.
    """
    header, sizes, payload, chain = _open(data, where)
    column = chain.decode(payload, header.count, sizes, header.payload_raw, header.dtype, context, core=core)
    if not _is_of(header.record_type, column):
        raise CodecError(where, "payload codecs", f"give no records of the type {header.record_type.name.lower()}")
    return header, column


def decode_packed(data: Any, where: str) -> tuple[Header, PackedBases | None]:
    """As :func:`decode_cell`, for bases that are stored packed; None where they are not, or not as AGD packs them.

    Raises
    ------
    FormatError
        Or one of its kinds, naming the field.
    """
    header, sizes, payload, chain = _open(data, where)
    if sizes is None or not chain.keeps_packed or header.record_type is not RecordType.BASES:
        return header, None
    bases = chain.decode_packed(payload, header.count, sizes, header.payload_raw)
    # A run of letters that have a code of their own is read well, but not moved.
    return header, None if np.isin(bases.run_letters, np.frombuffer(b"ACGT", np.uint8)).any() else bases


def _open(data: Any, where: str) -> tuple[Header, I64 | None, Any, Chain]:
    """Header, record sizes, payload and codecs of a chunk file."""
    header, index, payload = chunkfile.unframe(data, where)
    sizes: I64 | None = None
    if header.index_width != chunkfile.ABSENT:
        coders = Chain.from_json(header.index_codecs, where)
        if coders.values or coders.pack:
            raise CodecError(where, "index codecs", "only codecs from bytes to bytes may stand here")
        try:
            raw = decode_bytes(coders.bytes, index, header.index_raw)
        except FormatError as error:
            raise type(error)(where, "relative index", error.reason) from error
        sizes = chunkfile.unpack_index(raw, header, where)
    return header, sizes, payload, Chain.from_json(header.codecs, where)


def check_header(header: Header, where: str, cell: Cell | None, data: Any, expected: Mapping[str, Any]) -> None:
    """Compare a header with what the manifest says of its object.

    Raises
    ------
    FormatError
        The object is not the one that the manifest means.
    """
    for field, value in expected.items():
        found = getattr(header, field)
        if found != value:
            raise FormatError(where, field, f"{found!r}, but the manifest says {value!r}")
    if cell is not None and header_checksum(data) != cell.checksum:
        raise ChecksumError(where, "header checksum", f"{header_checksum(data)}, the manifest says {cell.checksum}")


def check_object(header: Header, where: str, data: Any, manifest: Manifest, chunk: Chunk, column: str) -> None:
    """Compare a header with what the manifest says of this column of a chunk.

    Raises
    ------
    FormatError
        The object is not the one that the manifest means.
    """
    spec = manifest.columns[column]
    expected = {
        "dataset_id": manifest.id, "column": spec.key.split("~")[0], "record_type": spec.type, "first": chunk.first,
        "count": chunk.count, "dtype": spec.dtype,
    }  # fmt: skip
    if spec.type is RecordType.BASES:
        expected["orientation"] = manifest.orientation
    check_header(header, where, chunk.cells.get(column), data, expected)


#: What :func:`statistics` may note.
STATISTICS = frozenset(
    ("total", "min_length", "max_length", "flags", "distant", "cigar_operations", "tag_bytes", "spans")
)


def statistics(kind: RecordType, column: AnyColumn | PackedBases) -> dict[str, Any]:
    """What readers may use to leave a chunk unread (``spec/manifest.md``)."""
    if isinstance(column, Alignments):
        return alignment_statistics(column)
    if kind is RecordType.BASES and len(column):
        lengths = column.lengths
        return {"total": int(lengths.sum()), "min_length": int(lengths.min()), "max_length": int(lengths.max())}
    return {} if kind is RecordType.NUMBER or not len(column) else {"total": int(column.lengths.sum())}


def alignment_statistics(alignments: Alignments) -> dict[str, Any]:
    """Number of records of each flag, and the span of the placed records on each reference.

    Returns
    -------
    dict
        ``flags``: {flag: records}; ``distant``: as :func:`distant_mates`; ``cigar_operations`` and ``tag_bytes`` of all
        records together; ``spans``: [[reference, first position, end]]
        0-based, half-open, by reference; an unmapped record placed at its mate covers one base, as in a BAM index.
    """
    valid = alignments.valid
    flags, distant, spans = _summary(alignments, MAX_SPANS)
    result: dict[str, Any] = {"flags": _by_flag(flags), "distant": distant.tolist()}
    for name, column in (("cigar_operations", alignments.cigar), ("tag_bytes", alignments.tags)):
        result[name] = int((column.lengths if valid is None else column.lengths[valid]).sum())
    if spans is not None:
        result["spans"] = spans.reshape(-1, 3).tolist()
    return result


def _summary(alignments: Alignments, most_spans: int) -> tuple[I64, I64, I64 | None]:
    a = arrays(alignments)
    return kernels.summarise_alignments(
        a.flag, a.reference, a.position, a.mate_reference, a.mapping_quality, a.cigar, a.cigar_offsets, a.valid,
        most_spans,
    )  # fmt: skip


def flag_counts(flag: NDArray[np.uint16]) -> dict[str, int]:
    """Number of records of each flag that occurs, as the manifest notes it."""
    return _by_flag(np.bincount(flag))


def _by_flag(counts: I64) -> dict[str, int]:
    return {str(f): int(counts[f]) for f in np.flatnonzero(counts)}


def distant_mates(alignments: Alignments) -> list[int]:
    """What flags alone do not tell a flag statistic: primary records of pairs, both mapped, on different references.

    Returns
    -------
    list of int
        Records that passed quality control, records that failed it, and how many of each have a mapping quality of at
        least 5.
    """
    return _summary(alignments, 0)[1].tolist()  # type: ignore[no-any-return]


def alignment_ends(alignments: Alignments) -> I64:
    """Where each alignment ends, int64, 0-based, exclusive; at least one base after its position.

    A record with the flag 0x4 covers one base, whatever CIGAR it has (``bam_endpos`` of htslib).
    """
    lengths = np.maximum(reference_lengths(alignments.cigar), 1)
    return alignments.position + np.where(alignments.flag & np.uint16(Flag.UNMAPPED), 1, lengths)


def reference_lengths(cigar: Column) -> I64:
    """Reference bases that each CIGAR covers (M, D, N, = and X), int64, shape (records,)."""
    assert cigar.offsets is not None
    lengths = np.empty(len(cigar), np.int64)
    kernels.reference_lengths(np.ascontiguousarray(cigar.values), np.ascontiguousarray(cigar.offsets), lengths)
    return lengths
