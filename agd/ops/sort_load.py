"""From the chunks of a dataset to sorted runs of alignment lines, one column at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agd.batch import I64, Alignments, AnyColumn, Batch, Column
from agd.dataset import Dataset
from agd.kernels import alignments as structured
from agd.kernels.ragged import concat, take
from agd.manifest import Chunk
from agd.ops.lines import alignment_lines, secondary_columns, seq_spans, to_lines
from agd.ops.sort_files import Place, remove_file
from agd.ops.sort_gather import Part
from agd.ops.sort_keys import Ordering, argsort
from agd.ops.sort_runs import KEYS, MemoryRun, RunWriter, SpilledRun, pieces
from agd.run.memory import release


@dataclass(frozen=True, slots=True)
class Fetched:
    """A chunk on its way.

    Attributes
    ----------
    chunk : Chunk
    blobs : dict of str to bytes, or None
        Its stored objects by column; None: each is fetched when it is needed, which takes no memory before.
    """

    chunk: Chunk
    blobs: dict[str, bytes] | None = None


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

    def fetch(self, chunks: Sequence[Chunk]) -> list[Fetched]:
        """Chunks with all their objects: waiting for the store, no work."""
        return [Fetched(chunk, self.dataset.fetch(chunk)) for chunk in chunks]

    def _decode(self, fetched: Fetched, names: Sequence[str]) -> dict[str, AnyColumn]:
        # One column at a time: neither are marks folded, nor are two columns in memory as they are stored.
        found = {}
        for name in names:
            blobs = self.dataset.fetch(fetched.chunk, [name]) if fetched.blobs is None else fetched.blobs
            found[name] = self.dataset.decode_column(fetched.chunk, name, blobs)
        return found

    def _alignments(self, fetched: Fetched) -> Batch:
        """The columns that say which lines there are, as they are stored."""
        found = self._decode(fetched, self.alignment_columns)
        found.setdefault("results", Alignments.null(fetched.chunk.count))
        return Batch(fetched.chunk.first, found)

    def _keys(self, fetched: Fetched, alignments: Batch) -> Column:
        """Keys of the lines of a chunk."""
        manifest = self.dataset.manifest
        wanted = [name for name in self.ordering.columns if name in manifest.columns]
        batch = Batch(alignments.first, {**alignments.columns, **self._decode(fetched, wanted)})
        return self.ordering.keys(to_lines(batch, manifest.orientation, self._paired))

    @property
    def _paired(self) -> bool:
        return self.dataset.manifest.pairing == "interleaved"

    def part(self, fetched: Fetched, lines: Lines, name: str) -> Part:
        """A column of the lines of a chunk."""
        if name == "results":
            return Part.of(structured.encode(lines.alignments))
        column = self._decode(fetched, [name])[name]
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

    def lines(self, fetched: Fetched) -> Lines:
        """Alignments, reads and keys of the lines of a chunk."""
        stored = self._alignments(fetched)
        return Lines(*alignment_lines(stored, self._paired), self._keys(fetched, stored))

    def memory_run(self, fetched: Fetched) -> MemoryRun:
        """Sorted run of a chunk, in memory."""
        lines = self.lines(fetched)
        order = argsort(lines.keys)
        parts = {name: self.part(fetched, lines, name) for name in self.columns}
        return MemoryRun(take(lines.keys, order), order, parts)

    def spilled_run(self, chunks: Sequence[Fetched], path: Place, block: int) -> SpilledRun:
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
            remove_file(path)
            raise
