"""Parts of a search for duplicates: each prepares, for its chunks, what the search over all of them needs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from agd.dataset import Dataset
from agd.draft import Draft
from agd.errors import ObjectNotFoundError
from agd.manifest import Cell, Chunk
from agd.ops.dedup_ends import Extraction
from agd.ops.dedup_find import Extract
from agd.ops.dedup_load import Loader, extracts
from agd.ops.handover import pack, unpack
from agd.ops.partition import INTERMEDIATE, Partition, set_aside
from agd.ops.scan import chunk_bytes
from agd.run import Progress, Runner, in_flight
from agd.storage import Storage


def set_aside_extracts(
    dataset: Dataset, draft: Draft, extraction: Extraction, partition: Partition, about: dict[str, Any], replace: bool,
    runner: Runner, memory: int | None, progress: Progress,
) -> tuple[int, int]:
    """Do a part: what the search needs of its chunks is stored; returns records and bytes."""
    column, mine = about["column"], partition.of(dataset.chunks)
    loader = Loader(dataset, extraction)
    ahead = in_flight(runner, memory, chunk_bytes(dataset, loader.reads))
    storage, keys = draft.storage, {c.first: draft.key(column, c.first) + INTERMEDIATE for c in mine}

    def store(extract: tuple[Chunk, Extract]) -> Chunk:
        chunk, found = extract
        data = pack(found.arrays())
        storage.put(keys[chunk.first], data)
        return Chunk(chunk.first, chunk.count, {column: Cell(len(data), "", {})})

    kept = {c.first: c for c in runner.map(partial(_kept, storage, keys, column), mine, on="io") if c.cells}
    rest = [chunk for chunk in mine if chunk.first not in kept]
    progress.begin("reading", sum(chunk.count for chunk in rest))
    for chunk in extracts(loader, rest, store, runner, ahead):
        kept[chunk.first] = chunk
        progress.advance(chunk.count)
    progress.end()
    done = [kept[first] for first in sorted(kept)]
    set_aside(draft, partition, done, len(dataset), replace=replace, intermediate=True, **about)
    return sum(c.count for c in done), sum(c.cells[column].bytes for c in done)


def _kept(storage: Storage, keys: Mapping[int, str], column: str, chunk: Chunk) -> Chunk:
    """A chunk with its cell if an earlier run of this part has stored it whole: the CRCs of the arrays are checked."""
    try:
        data = storage.get(keys[chunk.first])
        unpack(data)
    except (ObjectNotFoundError, ValueError):
        return Chunk(chunk.first, chunk.count, {})
    return Chunk(chunk.first, chunk.count, {column: Cell(len(data), "", {})})
