"""Files that many workers write: a piece of each chunk is put down beside the output, and at last they are joined.

A piece is made of complete blocks of the compression of its file, so joining copies bytes and nothing is done twice.
"""

from __future__ import annotations

import bz2
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agd import claim
from agd.batch import Batch
from agd.convert.bgzf import EOF, deflate_blocks
from agd.convert.inflate import SUFFIXES, Compression
from agd.convert.outputs import DEFAULT_LEVELS, compress_zstd
from agd.dataset import Dataset
from agd.errors import ObjectNotFoundError, UsageError
from agd.manifest import Cell, Chunk, ColumnSpec, object_key
from agd.ops.digest import Digest
from agd.ops.handover import pack, unpack
from agd.ops.partition import INTERMEDIATE, Joining, Part, Partition
from agd.run import Progress, Runner, in_flight, local_runner
from agd.sinks import is_stream
from agd.storage import Storage, local_path, open_storage
from agd.types import Orientation, RecordType

#: What the name of the folder of the pieces adds to that of the output.
SUFFIX = ".parts"

PIECE, _SPEC = "piece", ColumnSpec(RecordType.TEXT, [], f"file{INTERMEDIATE}", "")


@dataclass(frozen=True, slots=True)
class Piece:
    """What one chunk gives.

    Attributes
    ----------
    files : tuple of bytes
        For each output, compressed.
    counts : tuple of int
        Records in each.
    sizes : tuple of int
        Bytes of each before its compression.
    bases : int
    digest : Digest
    arrays : mapping of str to ndarray
        What else joining needs.
    """

    files: tuple[bytes, ...]
    counts: tuple[int, ...]
    sizes: tuple[int, ...]
    bases: int
    digest: Digest = field(default_factory=Digest)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def to_bytes(self) -> memoryview:
        """As an object."""
        about = json.dumps([self.counts, self.sizes, self.bases, self.digest.to_json()]).encode()
        files = {f"file{i}": np.frombuffer(data, np.uint8) for i, data in enumerate(self.files)}
        return pack({"about": np.frombuffer(about, np.uint8), **files, **self.arrays})

    @staticmethod
    def from_bytes(data: bytes) -> Piece:
        """From an object; ValueError if it is damaged."""
        arrays = dict(unpack(data))
        counts, sizes, bases, digest = json.loads(arrays.pop("about").tobytes())
        files = tuple(arrays.pop(f"file{i}").tobytes() for i in range(len(counts)))
        return Piece(files, tuple(counts), tuple(sizes), bases, Digest.from_json(digest), arrays)


def compression_of(output: str) -> Compression:
    """Compression of a file by its suffix."""
    found = SUFFIXES.get(os.path.splitext(output)[1].lower(), Compression.NONE)
    return Compression.BGZF if found is Compression.GZIP else found


def compress(data: bytes, kind: Compression, level: int | None = None) -> bytes:
    """Complete blocks (members, frames) of a compression."""
    if not data or kind is Compression.NONE:
        return data
    if level is None:
        # A file by its suffix is written at the level of gzip.
        level = DEFAULT_LEVELS[Compression.GZIP if kind is Compression.BGZF else kind]
    return _compress(data, kind, level)


def _compress(data: bytes, kind: Compression, level: int) -> bytes:
    if kind is Compression.BGZF:
        return deflate_blocks(data, level)[0]
    return compress_zstd(memoryview(data), level) if kind is Compression.ZSTD else bz2.compress(data, level)


def end_of(kind: Compression, *, empty: bool) -> bytes:
    """What a file of this compression ends with; where it is ``empty``, that is a stream or frame of nothing."""
    if kind is Compression.BGZF:
        return EOF
    return _compress(b"", kind, DEFAULT_LEVELS[kind]) if empty and kind is not Compression.NONE else b""


def absolute(url: str) -> str:
    """The same place, wherever a process is started."""
    return os.path.abspath(url) if local_path(url) == url else url


def write_pieces(
    dataset: Dataset, outputs: Sequence[str], plan: Mapping[str, Any], columns: Sequence[str],
    make: Callable[[Batch], Piece], partition: Partition, runner: Runner, ahead: int, progress: Progress,
    **fields: Any,
) -> Part:
    """Write the pieces of a part of the chunks; those that an earlier run has stored whole are kept.

    Parameters
    ----------
    outputs : sequence of str
        The pieces lie beside the first one.
    plan : mapping
        ``operation``, and what decides the result besides the dataset.
    columns : sequence of str
        That ``make`` gets.
    make : callable
        Runs on the workers.
    **fields
        JSON, for the joining.
    """
    for output in outputs:
        if is_stream(output):
            name = "standard output" if output == "-" else output
            raise UsageError(f"{name}: a stream cannot be written in parts", "give a file or url: --output")
    url = absolute(outputs[0]) + SUFFIX
    storage = open_storage(url, create=True)
    m = dataset.manifest
    source = {"id": m.id, "generation": m.generation, "records": m.records}
    whole = {**plan, "outputs": [absolute(output) for output in outputs], "input": source}
    record, _ = claim.place(storage, claim.NEW, {"id": m.id, "name": PIECE, "plan": whole})

    def fetch(chunk: Chunk) -> tuple[Chunk, dict[str, bytes]]:
        return chunk, dataset.fetch(chunk, columns)

    def work(fetched: tuple[Chunk, dict[str, bytes]]) -> Chunk:
        chunk, blobs = fetched
        piece = make(dataset.decode(chunk, blobs, columns))
        data = piece.to_bytes()
        storage.put(object_key(PIECE, chunk.first, _SPEC.key), data)
        return _with_piece(chunk, piece, len(data))

    mine = partition.of(dataset.chunks)
    done = {c.first: c for c in runner.map(partial(_kept, storage), mine, on="io") if c.cells}
    rest = [chunk for chunk in mine if chunk.first not in done]
    progress.begin("export", sum(chunk.count for chunk in rest))
    try:
        for chunk in runner.map(work, runner.map(fetch, rest, on="io", ahead=ahead), on="cpu", ahead=ahead):
            done[chunk.first] = chunk
            progress.advance(chunk.count)
    finally:
        progress.end()
    about = {"dataset": absolute(dataset.url), "generation": m.generation, **fields}
    part = Part(
        partition, record["plan"], True, m.id, PIECE, Orientation.READ, {PIECE: _SPEC}, False,
        tuple(done[first] for first in sorted(done)), m.records, (), about, {},
    )  # fmt: skip
    storage.put(part.key, part.to_bytes())
    return part


def _with_piece(chunk: Chunk, piece: Piece, size: int) -> Chunk:
    noted = {"counts": piece.counts, "sizes": piece.sizes, "bases": piece.bases}
    return Chunk(chunk.first, chunk.count, {PIECE: Cell(size, "", noted)})


def totals(part: Part, files: int) -> tuple[list[int], list[int], int]:
    """Records and bytes (before compression) of each file, and bases, of a part."""
    noted = [chunk.cells[PIECE].statistics for chunk in part.chunks]
    counts, sizes = ([sum(n[what][i] for n in noted) for i in range(files)] for what in ("counts", "sizes"))
    return counts, sizes, sum(n["bases"] for n in noted)


def _kept(storage: Storage, chunk: Chunk) -> Chunk:
    try:
        data = storage.get(object_key(PIECE, chunk.first, _SPEC.key))
        return _with_piece(chunk, Piece.from_bytes(data), len(data))
    except (ObjectNotFoundError, ValueError, KeyError):
        return Chunk(chunk.first, chunk.count, {})


def pieces(joining: Joining) -> Iterator[Piece]:
    """The pieces of all parts, in order, read ahead."""

    def load(chunk: Chunk) -> Piece:
        return Piece.from_bytes(joining.storage.get(object_key(PIECE, chunk.first, _SPEC.key)))

    # An object, the arrays in it, and the bytes of its files: three times its size.
    largest = max((chunk.cells[PIECE].bytes for chunk in joining.chunks), default=1)
    runner = local_runner(joining.runner)
    ahead = min(4, in_flight(runner, joining.memory, 3 * largest))
    joining.progress.begin("joining", sum(chunk.count for chunk in joining.chunks))
    try:
        for piece, chunk in zip(
            runner.map(load, joining.chunks, on="io", ahead=ahead), joining.chunks, strict=True
        ):
            yield piece
            joining.progress.advance(chunk.count)
    finally:
        joining.progress.end()


def source_of(joining: Joining) -> Dataset:
    """The dataset that is exported."""
    fields = joining.parts[0].fields
    return Dataset.open(fields["dataset"], generation=fields["generation"])
