"""From the chunks of a dataset to sorted runs of alignment lines, one column at a time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from agd.batch import Alignments, AnyColumn, Batch, Column
from agd.dataset import Dataset
from agd.kernels import alignments as structured
from agd.kernels.ragged import concat
from agd.manifest import Chunk
from agd.ops.lines import secondary_columns, to_lines
from agd.ops.sort_gather import Part, gather
from agd.ops.sort_keys import Ordering, argsort
from agd.ops.sort_runs import KEYS, MemoryRun, RunWriter, SpilledRun, pieces


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

    def lines(self, chunk: Chunk, alignments: Batch, names: Sequence[str]) -> Batch:
        """Lines of a chunk with its alignments and some other columns."""
        manifest = self.dataset.manifest
        wanted = [name for name in names if name in manifest.columns and name != "results"]
        batch = Batch(chunk.first, {**alignments.columns, **self._decode(chunk, wanted)})
        return to_lines(batch, manifest.orientation, manifest.pairing == "interleaved")

    def memory_run(self, chunks: Sequence[Chunk]) -> MemoryRun:
        """Sorted run of these chunks, in memory."""
        found: dict[str, list[Column]] = {name: [] for name in self.columns}
        keys = []
        for chunk in chunks:
            alignments = self.alignments(chunk)
            lines = self.lines(chunk, alignments, self.columns)
            keys.append(self.ordering.keys(lines))
            for name in self.columns:
                column = lines[name]
                column = structured.encode(column) if isinstance(column, Alignments) else column
                found[name].append(column.compact())
        order = argsort(concat(keys))
        return MemoryRun(gather([(k, None) for k in keys], order), order, {n: concat(c) for n, c in found.items()})

    def spilled_run(self, chunks: Sequence[Chunk], path: str, block: int) -> SpilledRun:
        """Sorted run of these chunks, in a file; one column is in memory at a time, besides the alignments."""
        alignments = [self.alignments(chunk) for chunk in chunks]
        keys: list[Part] = []
        for chunk, stored in zip(chunks, alignments, strict=True):
            keys.append((self.ordering.keys(self.lines(chunk, stored, self.ordering.columns)), None))
        order = argsort(concat([column for column, _ in keys]))
        try:
            with RunWriter(path, block) as writer:
                writer.add(KEYS, pieces(keys, order, block))
                del keys
                for name in self.columns:
                    writer.add(name, pieces(self._parts(chunks, alignments, name), order, block))
                return writer.finish()
        except BaseException:
            os.unlink(path)
            raise

    def _parts(self, chunks: Sequence[Chunk], alignments: Sequence[Batch], name: str) -> list[Part]:
        parts: list[Part] = []
        for chunk, stored in zip(chunks, alignments, strict=True):
            column = self.lines(chunk, stored, [name])[name]
            parts.append((structured.encode(column) if isinstance(column, Alignments) else column, None))
        return parts


