"""The column of marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import agd
from agd.batch import Column
from agd.cell import DEFAULT_CODECS
from agd.draft import Draft
from agd.manifest import Cell, Chunk, ColumnSpec, Manifest
from agd.ops.dedup_find import Finder
from agd.run import Runner
from agd.types import RecordType

#: The column that readers fold into flags.
MARKS = "duplicates"

#: How marks are stored: bit 0 duplicate, bit 1 optical.
_DTYPE = "|u1"


def is_marks(manifest: Manifest, column: str) -> bool:
    """Whether a column holds marks: the one that readers fold into flags, or another whose chunks note such flags."""
    if manifest.columns[column].dtype != _DTYPE:
        return False
    cells = [chunk.cells[column] for chunk in manifest.chunks if column in chunk.cells]
    return column == MARKS or all("flags" in cell.statistics for cell in cells)


def marks_spec(column: str) -> ColumnSpec:
    """How marks are stored."""
    return ColumnSpec(RecordType.NUMBER, DEFAULT_CODECS[RecordType.NUMBER], column, _DTYPE)


def marks_step(parameters: Mapping[str, Any], command: str) -> dict[str, Any]:
    """Provenance of marks."""
    return {"program": "agd dedup", "version": agd.__version__, "command": command, "parameters": dict(parameters)}


def store_marks(
    draft: Draft, column: str, finder: Finder, chunks: Sequence[Chunk], runner: Runner
) -> list[Chunk]:
    """Store what was found in a column of a draft; the chunks with its cells alone."""
    def encode(chunk: Chunk) -> tuple[Chunk, bytes, Cell]:
        marks, statistics = finder.of_chunk(chunk.first, chunk.count)
        data, cell = draft.encode(column, chunk.first, Column(marks))
        return chunk, data, replace(cell, statistics=statistics)

    def store(item: tuple[Chunk, bytes, Cell]) -> Chunk:
        chunk, data, cell = item
        draft.store(column, chunk.first, data)
        return Chunk(chunk.first, chunk.count, {column: cell})

    return list(runner.map(store, runner.map(encode, chunks, on="cpu"), on="io"))
