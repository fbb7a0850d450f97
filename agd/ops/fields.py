"""Some fields of alignments, without fetching or decoding the others."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from agd import cell as cells
from agd.batch import Alignments
from agd.chunkfile import HEADER_SIZE, Header, parse_header, unframe
from agd.codecs.alignment_streams import read_fields, streams_of
from agd.codecs.streams import StreamReader
from agd.dataset import Dataset
from agd.errors import CodecError, UsageError
from agd.manifest import Chunk

#: Bytes that are fetched first: the header, and as a rule the whole directory of streams.
FIRST_BYTES = HEADER_SIZE + 3072

FIELDS = (*Alignments.FIXED, "cigar")


def alignment_fields(
    dataset: Dataset, chunk: Chunk, fields: Collection[str], column: str = "results"
) -> dict[str, Any]:
    """Some fields of the alignments of a chunk, as they are stored.

    Of a column with the codec ``alignments`` only the byte ranges of these fields are fetched; what was stored in
    another way is fetched and decoded whole. The marks of a ``duplicates`` column are not folded in.

    Parameters
    ----------
    fields : collection of str
        Of ``flag``, ``reference``, ``position``, ``mapping_quality``, ``mate_reference``, ``mate_position``,
        ``template_length`` and ``cigar``.
    column : str
        ``results`` or ``secondaryN``.

    Returns
    -------
    dict of str to ndarray (``cigar``: Column)
        As in :class:`agd.batch.Alignments`; ``valid`` is among them where records are null.

    Raises
    ------
    UsageError
        There is no such field, or the column holds no alignments.
    FormatError
        The object is damaged.
    """
    unknown = [name for name in fields if name not in FIELDS]
    if unknown:
        raise UsageError(f"alignments have no field {unknown[0]!r}", f"there are: {', '.join(FIELDS)}")
    dataset.resolve([column])
    if column not in chunk.cells:
        return _of(Alignments.null(chunk.count), fields)
    key = dataset.manifest.object_key(column, chunk.first)
    where = f"{dataset.url}/{key}"
    head = dataset.storage.get(key, 0, FIRST_BYTES)
    header = parse_header(head, where)
    if not _has_streams(header):
        return _whole(dataset, chunk, fields, column)
    cells.check_object(header, where, head, dataset.manifest, chunk, column)
    try:
        reader = _reader(dataset, key, head, header)
        _provide(reader, dataset, key, header, streams_of(fields))
        return read_fields(reader, chunk.count, fields)
    except CodecError as error:
        raise CodecError(where, error.field, error.reason) from error


def decode_fields(
    dataset: Dataset, chunk: Chunk, data: bytes, fields: Collection[str], column: str = "results"
) -> dict[str, Any]:
    """As :func:`alignment_fields`, from the whole object that was fetched before; the rest of it is not decoded."""
    where = f"{dataset.url}/{dataset.manifest.object_key(column, chunk.first)}"
    header, _, payload = unframe(data, where)
    if not _has_streams(header):
        return _whole(dataset, chunk, fields, column)
    cells.check_object(header, where, data, dataset.manifest, chunk, column)
    try:
        return read_fields(StreamReader(payload, "alignments"), chunk.count, fields)
    except CodecError as error:
        raise CodecError(where, error.field, error.reason) from error


def _has_streams(header: Header) -> bool:
    # The step ``derived`` has to do with tags only.
    return [config["name"] for config in header.codecs if config["name"] != "derived"] == ["alignments"]


def _whole(dataset: Dataset, chunk: Chunk, fields: Collection[str], column: str) -> dict[str, Any]:
    """Fields of a column that is stored in another way."""
    found = dataset.decode_column(chunk, column, dataset.fetch(chunk, [column]))
    if not isinstance(found, Alignments):
        raise UsageError(f"the column {column!r} holds no alignments")
    return _of(found, fields)


def _of(alignments: Alignments, fields: Collection[str]) -> dict[str, Any]:
    found = {name: getattr(alignments, name) for name in fields}
    return found if alignments.valid is None else {**found, "valid": alignments.valid}


def _reader(dataset: Dataset, key: str, head: bytes, header: Header) -> StreamReader:
    payload = head[HEADER_SIZE + header.index_stored :]
    _, size = StreamReader.measure(payload, "alignments")
    start = HEADER_SIZE + header.index_stored
    if len(payload) < 8 + size:
        payload = dataset.storage.get(key, start, start + 8 + size)
    return StreamReader(payload[: 8 + size], "alignments", parts=True)


def _provide(reader: StreamReader, dataset: Dataset, key: str, header: Header, streams: set[str]) -> None:
    """Fetch the streams that are wanted; neighbours in one request."""
    start = HEADER_SIZE + header.index_stored
    wanted = [(e.offset, name) for name, e in reader.entries.items() if _field(name) in streams]
    runs: list[list[str]] = []
    end = -1
    for offset, name in sorted(wanted):
        if offset != end:
            runs.append([])
        runs[-1].append(name)
        end = offset + reader.entries[name].stored
    for run in runs:
        first, last = reader.entries[run[0]], reader.entries[run[-1]]
        data = dataset.storage.get(key, start + first.offset, start + last.offset + last.stored)
        for name in run:
            entry = reader.entries[name]
            at = entry.offset - first.offset
            reader.provide(name, data[at : at + entry.stored])


def _field(stream: str) -> str:
    """Name of the numbers that a stream is one byte of."""
    return stream.split(":")[0].removesuffix(".0").removesuffix(".1")
