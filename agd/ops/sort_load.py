"""From the chunks of a dataset to sorted runs of alignment lines, one column at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from agd.batch import I64, Alignments, AnyColumn, Batch, Column
from agd.dataset import Dataset
from agd.errors import ColumnError, InputError
from agd.kernels import alignments as structured
from agd.kernels.ragged import concat, take, take_any
from agd.manifest import Chunk
from agd.ops.lines import SeqPlaces, alignment_lines, is_lines, secondary_columns
from agd.ops.sort_files import Place, remove_file
from agd.ops.sort_gather import PackedPart, Part, gather, gather_together
from agd.ops.sort_keys import Ordering, argsort
from agd.ops.sort_runs import KEYS, MemoryRun, RunWriter, SpilledRun, pieces
from agd.run.memory import release
from agd.types import DEFAULT_CHUNK_BYTES


class Fetched(NamedTuple):
    """A chunk on its way.

    Attributes
    ----------
    chunk : Chunk
    blobs : dict of str to bytes, or None
        Its stored objects by column; None: each is fetched when it is needed, which takes no memory before.
    """

    chunk: Chunk
    blobs: dict[str, bytes] | None = None


class Lines(NamedTuple):
    """Alignment lines of a chunk.

    Attributes
    ----------
    results : Part
        Their alignments, as rows.
    seq : SeqPlaces
        What of the reads they show.
    keys : Column
    """

    results: Part
    seq: SeqPlaces
    keys: Column


class Loaded(NamedTuple):
    """A chunk as a sorted run with some of its columns.

    Attributes
    ----------
    seq : SeqPlaces
        What of the reads its lines show, for the other columns.
    order : ndarray of int64, shape (lines,)
        The lines in their order.
    run : MemoryRun
    """

    seq: SeqPlaces
    order: I64
    run: MemoryRun


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads columns of alignment lines.

    The marks of a ``duplicates`` column are not folded into the flags: the column itself is carried along.
    Alignments are kept as rows (:func:`agd.kernels.alignments.pack`), a ragged column like any other.

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

    def fetch(self, chunks: Sequence[Chunk], names: Sequence[str] | None = None) -> list[Fetched]:
        """Chunks with their objects (of these columns; None: of all): waiting for the store, no work."""
        return [Fetched(chunk, self.dataset.fetch(chunk, names)) for chunk in chunks]

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

    def _keys(self, fetched: Fetched, alignments: Alignments, read: I64 | None) -> Column:
        """Keys of the lines of a chunk, given as by :func:`alignment_lines`."""
        manifest = self.dataset.manifest
        wanted = [name for name in self.ordering.columns if name in manifest.columns]
        columns: dict[str, AnyColumn] = {"results": alignments}
        for name, column in self._decode(fetched, wanted).items():
            columns[name] = column if read is None else take_any(column, read)
        try:
            return self.ordering.keys(Batch(fetched.chunk.first, columns))
        except InputError as error:
            # Lines of reads are counted by no one; the reason names the read.
            record = fetched.chunk.first + error.record if is_lines(manifest) else -1
            raise InputError(self.dataset.url, error.reason, record=record, remedy=error.remedy) from None

    @property
    def _paired(self) -> bool:
        return self.dataset.manifest.pairing == "interleaved"

    def part(self, fetched: Fetched, seq: SeqPlaces, name: str) -> Part:
        """A column of the lines of a chunk, other than ``results``."""
        column = self._decode(fetched, [name])[name]
        if not isinstance(column, Column):
            raise ColumnError(
                f"{self.dataset.url}: {name!r} holds alignments, and there is no column 'results' that they belong to",
                f"give it its name again: agd column rename {self.dataset.url} {name} results",
            )
        if name in ("bases", "qualities"):
            return Part.spans(np.ascontiguousarray(column.values), *seq.spans(column))
        if seq.read is None:
            return Part.of(column)
        if column.offsets is None:
            return Part.of(Column(column.values[seq.read]))
        return Part(
            np.ascontiguousarray(column.values), column.offsets[seq.read], column.offsets[seq.read + 1]
        )  # fmt: skip

    def packed_part(self, fetched: Fetched, seq: SeqPlaces) -> PackedPart:
        """The bases of the lines of a chunk, packed."""
        blobs = self.dataset.fetch(fetched.chunk, ["bases"]) if fetched.blobs is None else fetched.blobs
        bases = self.dataset.decode_packed(fetched.chunk, "bases", blobs)
        spans = seq.spans(Column(bases.values, bases.offsets))
        marked = bases.have_runs if seq.read is None else bases.have_runs[seq.read]
        return PackedPart(bases, Part.spans(bases.values, *spans, marked))

    def lines(self, fetched: Fetched) -> Lines:
        """Alignments and keys of the lines of a chunk."""
        stored = self._alignments(fetched)
        alignments, read = alignment_lines(stored, self._paired)
        trim = len(self.alignment_columns) > 1
        seq = SeqPlaces.of(alignments, read, self.dataset.orientation, trim)
        return Lines(Part.of(structured.pack(alignments)), seq, self._keys(fetched, alignments, read))

    def load(self, fetched: Fetched, columns: Sequence[str], before: Loaded | None, *, packed: bool = False) -> Loaded:
        """Sorted run of a chunk, in memory, with these columns.

        Parameters
        ----------
        before : Loaded or None
            The same chunk with other columns, which are not needed any more.
        packed : bool
            Bases that come after other columns stay packed.
        """
        if before is not None:
            found_in: dict[str, Part | PackedPart] = {
                name: self.packed_part(fetched, before.seq) if packed and name == "bases"
                else self.part(fetched, before.seq, name)
                for name in columns
            }  # fmt: skip
            return Loaded(before.seq, before.order, before.run.with_columns(found_in, before.order))
        lines = self.lines(fetched)
        order = argsort(lines.keys)
        parts = {n: lines.results if n == "results" else self.part(fetched, lines.seq, n) for n in columns}
        if "bases" in fetched.chunk.cells and "bases" not in columns:
            # Bases and qualities, one value a base, come next; no more room is made than a chunk should need.
            total = int(fetched.chunk.cells["bases"].statistics.get("total", 0))
            found = gather_together(parts, order, min(total, DEFAULT_CHUNK_BYTES))
        else:
            found = {name: gather([part], order, complement=name == "bases") for name, part in parts.items()}
        return Loaded(lines.seq, order, MemoryRun(take(lines.keys, order), found))

    def spilled_run(self, chunks: Sequence[Fetched], path: Place, block: int) -> SpilledRun:
        """Sorted run of these chunks, in a file; one column is in memory at a time, besides the alignments."""
        lines = [self.lines(chunk) for chunk in chunks]
        order = argsort(concat([each.keys for each in lines]))
        try:
            with RunWriter(path, block) as writer:
                writer.add(KEYS, pieces([Part.of(each.keys) for each in lines], order, block))
                for name in self.columns:
                    parts = [
                        each.results if name == "results" else self.part(chunk, each.seq, name)
                        for chunk, each in zip(chunks, lines, strict=True)
                    ]
                    writer.add(name, pieces(parts, order, block, complement=name == "bases"))
                    del parts
                    release()
                return writer.finish()
        except BaseException:
            remove_file(path)
            raise
