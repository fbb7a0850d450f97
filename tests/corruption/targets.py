"""Readers of bytes that may be anything: each gives what it read, or raises an error of AGD, and nothing else."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import xxhash

from agd import chunkfile
from agd.batch import Alignments, AnyColumn
from agd.cell import decode_cell, encode_cell
from agd.convert.bam_in import BamReader
from agd.convert.bam_out import bam_layout, deflate_records
from agd.convert.fastq_reader import FastqReader
from agd.convert.records import to_batch
from agd.convert.sam_in import SamReader
from agd.convert.streams import InputStream
from agd.kernels.records import RecordArrays
from agd.manifest import ColumnSpec, Manifest
from agd.ops.digest import digest_records
from agd.run import SerialRunner

#: What a target gives for the same input, whatever it holds.
Outcome = str


class Bytes:
    """Bytes in memory as a stream and as a source."""

    name = "fuzz"

    def __init__(self, data: bytes) -> None:
        self._rest = memoryview(data)
        self.size: int | None = len(data)

    def read(self, size: int = -1) -> Any:
        """The next bytes."""
        size = len(self._rest) if size < 0 else size
        data, self._rest = self._rest[:size], self._rest[size:]
        return bytes(data)

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def cancel(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is open."""


def _arrays(column: AnyColumn) -> Iterator[Any]:
    if isinstance(column, Alignments):
        valid = np.ones(len(column), np.bool_) if column.valid is None else column.valid
        yield valid
        yield from (np.where(valid, getattr(column, name), 0) for name in Alignments.FIXED)
        yield from itertools.chain(_arrays(column.cigar), _arrays(column.tags))
    elif column.offsets is None:
        yield column.values
    else:
        whole = column.compact()
        yield whole.values
        yield whole.offsets


def _outcome(parts: Any) -> Outcome:
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(np.ascontiguousarray(part).tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
    return digest.hexdigest()


def chunk_file(data: bytes) -> Outcome:
    """One stored object."""
    header, column = decode_cell(data, "fuzz")
    return _outcome([header.first, header.count, header.column, *_arrays(column)])


def sealed_chunk_file(data: bytes) -> Outcome:
    """One stored object whose checksums are right, whatever else it says: what a hostile writer would make."""
    raw = bytearray(data)
    if len(raw) >= chunkfile.HEADER_SIZE:
        at = {name: place for name, (place, _) in chunkfile.FIELDS.items()}
        stored = int.from_bytes(raw[at["index stored size"] : at["index stored size"] + 8], "little")
        middle = min(chunkfile.HEADER_SIZE + stored, len(raw))
        for name, part in (("index", raw[chunkfile.HEADER_SIZE : middle]), ("payload", raw[middle:])):
            place = at[f"{name} checksum"]
            raw[place : place + 8] = chunkfile.checksum(bytes(part)).to_bytes(8, "little")
            if name == "payload":
                size = at["payload stored size"]
                raw[size : size + 8] = len(part).to_bytes(8, "little")
        end = at["header checksum"]
        raw[end : end + 8] = chunkfile.checksum(bytes(raw[:end])).to_bytes(8, "little")
    header, column = decode_cell(bytes(raw), "fuzz")
    if header.record_type is not chunkfile.RecordType.NUMBER:
        # What was read can be written again: nothing in it breaks the rules of a column.
        spec = ColumnSpec(header.record_type, header.codecs, "x", header.dtype)
        encode_cell(column, "x", spec, first=0, dataset_id=header.dataset_id, dataset_name="x",
                    orientation=header.orientation)  # fmt: skip
    return _outcome(_arrays(column))


def manifest(data: bytes) -> Outcome:
    """A manifest."""
    return _outcome([Manifest.from_bytes(data, "fuzz").to_bytes()])


def sealed_manifest(data: bytes) -> Outcome:
    """A manifest whose checksum is right, if it is JSON at all."""
    try:
        document = json.loads(data)
        body = {name: value for name, value in document.items() if name != "checksum"}
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
        body["checksum"] = xxhash.xxh3_64_hexdigest(text)
        data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
    except (ValueError, AttributeError, RecursionError):
        pass
    return manifest(data)


def _records(reader: BamReader | SamReader) -> Outcome:
    found: list[Any] = [reader.header, reader.references]
    for raw in reader.chunks(5, 1 << 20):
        records: RecordArrays = reader.decode(raw)
        batch = to_batch(raw.first, records)
        deflate_records(*bam_layout(batch, "sam"), 0)
        digest_records(records)
        for column in batch.columns.values():
            found += _arrays(column)
    return _outcome(found)


def bam(data: bytes) -> Outcome:
    """Uncompressed BAM."""
    return _records(BamReader("fuzz", Bytes(data)))  # type: ignore[arg-type]


def sam(data: bytes) -> Outcome:
    """SAM text."""
    return _records(SamReader("fuzz", Bytes(data)))  # type: ignore[arg-type]


def compressed(data: bytes) -> Outcome:
    """Any compressed file: gzip, BGZF, bzip2, zstd."""
    with InputStream(Bytes(data), SerialRunner(), True) as stream:  # type: ignore[arg-type]
        found, size = [], 0
        for block in stream.blocks():
            found.append(bytes(block))
            size += len(block)
            if size > 1 << 28:
                break
    return _outcome([b"".join(found)])


def fastq(data: bytes) -> Outcome:
    """FASTQ text."""
    reader = FastqReader(Bytes(data), "fuzz", block_bytes=1 << 10)  # type: ignore[arg-type]
    found: list[Any] = []
    for block in reader.blocks():
        found += [block.name(i) for i in range(len(block))]
    return _outcome([*found, reader.source()])


TARGETS: dict[str, Callable[[bytes], Outcome]] = {
    "chunk file": chunk_file, "sealed chunk file": sealed_chunk_file, "manifest": manifest,
    "sealed manifest": sealed_manifest, "bam": bam, "sam": sam, "compressed": compressed, "fastq": fastq,
}  # fmt: skip

#: Targets whose input is guarded by checksums: what is changed is noticed, or makes no difference.
GUARDED = ("chunk file", "manifest")
