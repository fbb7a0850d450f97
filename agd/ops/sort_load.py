"""From the chunks of a dataset to sorted runs of alignment lines, one column at a time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agd.batch import I64, Alignments, AnyColumn, Batch, Column
from agd.dataset import Dataset
from agd.kernels import alignments as structured
from agd.kernels.ragged import concat, take
from agd.manifest import Chunk
from agd.ops.lines import alignment_lines, secondary_columns, seq_spans, to_lines
from agd.ops.sort_gather import Part
from agd.ops.sort_keys import Ordering, argsort
from agd.ops.sort_runs import KEYS, MemoryRun, RunWriter, SpilledRun, pieces
from agd.run.memory import release


@dataclass(frozen=True, slots=True)
class Lines:
    """Alignment lines of a chunk.

    Attributes
    ----------
    alignments : Alignments
    read : ndarray of int64, shape (lines,), or None
        Read of each line within the chunk; None: line ``i`` is of read ``i``.
    keys : Column
    """

    alignments: Alignments
    read: I64 | None
    keys: Column


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads columns of alignment lines.

    The marks of a ``duplicates`` column are not folded into the flags: the column itself is carried along.
    Alignments are kept as their protobuf messages, a ragged column like any other.

    Attributes
    ----------
    dataset : Dataset
    ordering : Ordering
    """

    dataset: Dataset
    ordering: Ordering

    @property
    def columns(self) -> list[str]:
        """Columns of the lines."""
        extra = secondary_columns(self.dataset.columns)
        return list(dict.fromkeys([*(name for name in self.dataset.columns if name not in extra), "results"]))

    @property
    def alignment_columns(self) -> list[str]:
        """Columns of the dataset that the alignments of the lines are made from."""
        results = ["results"] if "results" in self.dataset.columns else []
        return results + secondary_columns(self.dataset.columns)

    def _decode(self, chunk: Chunk, names: Sequence[str]) -> dict[str, AnyColumn]:
        # One column at a time: neither are marks folded, nor are two columns in memory as they are stored.
        found = {}
        for name in names:
            blobs = self.dataset.fetch(chunk, [name])
            found[name] = self.dataset.decode(chunk, {k: v for k, v in blobs.items() if k == name}, [name])[name]
        return found

    def alignments(self, chunk: Chunk) -> Batch:
        """The columns that say which lines there are, as they are stored."""
        found = self._decode(chunk, self.alignment_columns)
        found.setdefault("results", Alignments.null(chunk.count))
        return Batch(chunk.first, found)

    def keys(self, chunk: Chunk, alignments: Batch) -> Column:
        """Keys of the lines of a chunk."""
        manifest = self.dataset.manifest
        wanted = [name for name in self.ordering.columns if name in manifest.columns]
        batch = Batch(chunk.first, {**alignments.columns, **self._decode(chunk, wanted)})
        return self.ordering.keys(to_lines(batch, manifest.orientation, self._paired))

    @property
    def _paired(self) -> bool:
        return self.dataset.manifest.pairing == "interleaved"

    def part(self, chunk: Chunk, lines: Lines, name: str) -> Part:
        """A column of the lines of a chunk."""
        if name == "results":
            return Part.of(structured.encode(lines.alignments))
        column = self._decode(chunk, [name])[name]
        assert isinstance(column, Column)
        if name in ("bases", "qualities"):
            trim = len(self.alignment_columns) > 1
            spans = seq_spans(column, lines.alignments, lines.read, self.dataset.orientation, trim)
            return Part(np.ascontiguousarray(column.values), *spans)
        if lines.read is None:
            return Part.of(column)
        if column.offsets is None:
            return Part.of(Column(column.values[lines.read]))
        return Part(
            np.ascontiguousarray(column.values), column.offsets[lines.read], column.offsets[lines.read + 1]
        )  # fmt: skip

    def lines(self, chunk: Chunk) -> Lines:
        """Alignments, reads and keys of the lines of a chunk."""
        stored = self.alignments(chunk)
        return Lines(*alignment_lines(stored, self._paired), self.keys(chunk, stored))

    def memory_run(self, chunk: Chunk) -> MemoryRun:
        """Sorted run of a chunk, in memory."""
        lines = self.lines(chunk)
        order = argsort(lines.keys)
        parts = {name: self.part(chunk, lines, name) for name in self.columns}
        return MemoryRun(take(lines.keys, order), order, parts)

    def spilled_run(self, chunks: Sequence[Chunk], path: str, block: int) -> SpilledRun:
        """Sorted run of these chunks, in a file; one column is in memory at a time, besides the alignments."""
        lines = [self.lines(chunk) for chunk in chunks]
        order = argsort(concat([each.keys for each in lines]))
        try:
            with RunWriter(path, block) as writer:
                writer.add(KEYS, pieces([Part.of(each.keys) for each in lines], order, block))
                for name in self.columns:
                    parts = [self.part(chunk, each, name) for chunk, each in zip(chunks, lines, strict=True)]
                    writer.add(name, pieces(parts, order, block, complement=name == "bases"))
                    del parts
                    release()
                return writer.finish()
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise
