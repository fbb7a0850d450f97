"""What the search for duplicates looks at, from the chunks of a dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from agd.batch import I64, Alignments, AnyColumn, Batch, Column
from agd.dataset import Dataset
from agd.errors import FormatError, ObjectNotFoundError
from agd.kernels import copy_spans
from agd.kernels.ragged import concat
from agd.manifest import Chunk
from agd.ops.dedup_ends import FIELDS, Extraction
from agd.ops.dedup_find import Extract
from agd.ops.fields import decode_fields
from agd.ops.lines import read_names, secondary_columns
from agd.run import Runner

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads the chunks of a dataset: of alignments only the fields that are looked at, unless tags are needed.

    Attributes
    ----------
    dataset : Dataset
    extraction : Extraction
    """

    dataset: Dataset
    extraction: Extraction

    @property
    def columns(self) -> list[str]:
        """Columns besides alignments."""
        return [name for name in self.extraction.columns if name in self.dataset.columns]

    @property
    def alignments(self) -> list[str]:
        """Columns of alignments."""
        return ["results", *secondary_columns(self.dataset.columns)]

    @property
    def reads(self) -> list[str]:
        """All columns that are looked at."""
        return [*self.columns, *self.alignments]

    def fetch(self, chunk: Chunk) -> tuple[Chunk, dict[str, bytes]]:
        """A chunk with its objects: waiting for the store, no work."""
        if self.extraction.tags:
            return chunk, self.dataset.fetch(chunk, self.reads)
        blobs = self.dataset.fetch(chunk, self.columns)
        for name in self.alignments:
            if name in chunk.cells:
                blobs[name] = self._get(chunk, name)
        return chunk, blobs

    def _get(self, chunk: Chunk, name: str) -> bytes:
        # Not what the codecs of all fields would need besides, nor older marks.
        key = self.dataset.manifest.object_key(name, chunk.first)
        try:
            return self.dataset.storage.get(key)
        except ObjectNotFoundError as error:
            raise FormatError(f"{self.dataset.url}/{key}", "object", "is missing") from error

    def decode(self, chunk: Chunk, blobs: dict[str, bytes]) -> Batch:
        """The columns of a chunk; fields of alignments that are not looked at are null."""
        if self.extraction.tags:
            return self.dataset.decode(chunk, blobs, [*self.columns, *self.alignments])
        columns: dict[str, AnyColumn] = dict(self.dataset.decode(chunk, blobs, self.columns).columns)
        for number, name in enumerate(self.alignments):
            found: dict[str, Any] = {"valid": np.zeros(chunk.count, np.bool_)}
            if name in blobs:
                found = decode_fields(self.dataset, chunk, blobs[name], FIELDS[: 1 if number else None], name)
                found.setdefault("valid", None)
            columns[name] = Alignments.null(chunk.count).replace(**found)
        return Batch(chunk.first, columns)

    def names(self, ordinals: I64, runner: Runner) -> Column | None:
        """Names of records, whose ordinals ascend; None if there is no column of names."""
        if "metadata" not in self.dataset.columns:
            return None
        parts = []
        for chunk in self.dataset.chunks:
            begin, end = np.searchsorted(ordinals, [chunk.first, chunk.first + chunk.count])
            if end > begin:
                parts.append((chunk, ordinals[begin:end] - chunk.first))
        return concat(list(runner.map(self._names, parts, on="cpu")))

    def _names(self, part: tuple[Chunk, I64]) -> Column:
        chunk, records = part
        metadata = self.dataset.read(chunk, ["metadata"]).ragged("metadata")
        return names_of(metadata, self.extraction, records)


def extracts(
    loader: Loader, chunks: Iterable[Chunk], then: Callable[[tuple[Chunk, Extract]], T], runner: Runner, ahead: int
) -> Iterator[T]:
    """On the workers: what the search needs of some chunks, and ``then`` of that."""

    def extract(fetched: tuple[Chunk, dict[str, bytes]]) -> T:
        return then((fetched[0], Extract.of(loader.decode(*fetched), loader.extraction)))

    return runner.map(extract, runner.map(loader.fetch, chunks, on="io", ahead=ahead), on="cpu", ahead=ahead)


def names_of(metadata: Column, extraction: Extraction, records: I64) -> Column:
    """Names of some records of a column."""
    paired = np.full(len(metadata), extraction.paired or extraction.lines)
    starts, ends = read_names(metadata, extraction.names, paired)
    starts, ends = starts[records], ends[records]
    out = Column.from_lengths(np.empty(int((ends - starts).sum()), np.uint8), ends - starts)
    assert out.offsets is not None
    copy_spans(metadata.values, starts, ends, out.values, out.offsets)
    return out
