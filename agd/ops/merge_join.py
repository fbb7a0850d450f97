"""Several datasets of alignment lines as one, to be read: nothing is copied."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from agd import chunkfile
from agd.batch import AnyColumn, Batch, Column
from agd.cell import null_column
from agd.codecs import PackedBases, needed_columns
from agd.dataset import Dataset
from agd.errors import UsageError
from agd.manifest import Chunk, ColumnSpec, Manifest
from agd.ops.lines import is_lines, read_names
from agd.ops.merge_headers import JoinedHeader, Translation
from agd.storage import LocalStorage
from agd.types import Flag, Orientation, SortOrder

#: Columns that some of the datasets may be without: a record then has no value, as it would have in SAM.
_OPTIONAL = ("tags", "duplicates")


class Joined(Dataset):
    """The records of the first dataset, then those of the second, …, under the header of all.

    Parameters
    ----------
    parts : sequence of Dataset
        At least one; each with one record per alignment line.

    Raises
    ------
    UsageError
        They are of different kinds.
    """

    def __init__(self, parts: Sequence[Dataset]) -> None:
        self.parts = list(parts)
        for part in parts:
            _check(parts[0], part)
        manifests = [part.manifest for part in parts]
        header = JoinedHeader.of(manifests, [part.url for part in parts])
        self.translations = header.translations
        self._places: dict[int, tuple[int, Chunk]] = {}
        chunks: list[Chunk] = []
        for number, part in enumerate(parts):
            for chunk in part.chunks:
                first = chunks[-1].first + chunks[-1].count if chunks else 0
                chunks.append(Chunk(first, chunk.count, chunk.cells))
                self._places[first] = number, chunk
        # A store that is far away makes reading all of them a matter of fetching ahead.
        storage = next((p.storage for p in parts if not isinstance(p.storage, LocalStorage)), parts[0].storage)
        inputs = ",".join(f"{m.id}@{m.generation}" for m in manifests)
        super().__init__(storage, Manifest(
            id=hashlib.md5(inputs.encode(), usedforsecurity=False).hexdigest(), name="joined", generation=1,
            columns=_columns(manifests), chunks=tuple(chunks), orientation=Orientation.SEQ,
            names="sam" if all(m.names == "sam" for m in manifests) else "fastq", sort_order=SortOrder.UNSORTED,
            header=header.text, references=header.references, steps=JoinedHeader.steps(manifests),
        ))  # fmt: skip

    @property
    def urls(self) -> tuple[str, ...]:
        """See :attr:`agd.dataset.Dataset.urls`."""
        return tuple(part.url for part in self.parts)

    def part_of(self, chunk: Chunk) -> tuple[Dataset, Translation, Chunk]:
        """Where a chunk is: its dataset, what its records must be changed to, and the chunk there."""
        number, own = self._places[chunk.first]
        return self.parts[number], self.translations[number], own

    def chunk_header(self, chunk: Chunk, column: str) -> chunkfile.Header:
        """See :meth:`agd.dataset.Dataset.chunk_header`."""
        part, _, own = self.part_of(chunk)
        return part.chunk_header(own, column)

    def fetch(self, chunk: Chunk, columns: Sequence[str] | None = None) -> dict[str, bytes]:
        """See :meth:`agd.dataset.Dataset.fetch`."""
        part, _, own = self.part_of(chunk)
        wanted = self.resolve(columns)
        have = [name for name in wanted if name in part.columns]
        if "duplicates" in wanted and "duplicates" not in have and "results" not in have:
            have.append("results")
        return part.fetch(own, have)

    def decode(self, chunk: Chunk, blobs: dict[str, bytes], columns: Sequence[str] | None = None) -> Batch:
        """See :meth:`agd.dataset.Dataset.decode`."""
        part, translation, own = self.part_of(chunk)
        wanted = self.resolve(columns)
        batch = part.decode(own, blobs, [name for name in wanted if name in part.columns])
        found = {
            name: self._adapted(part, translation, name, batch[name]) if name in batch
            else self._missing(part, own, name, blobs)
            for name in wanted
        }  # fmt: skip
        return Batch(chunk.first, found)

    def decode_column(self, chunk: Chunk, name: str, blobs: dict[str, bytes]) -> AnyColumn:
        """See :meth:`agd.dataset.Dataset.decode_column`."""
        part, translation, own = self.part_of(chunk)
        if name not in part.columns:
            return self._missing(part, own, name, blobs)
        return self._adapted(part, translation, name, part.decode_column(own, name, blobs))

    def decode_packed(self, chunk: Chunk, name: str, blobs: dict[str, bytes]) -> PackedBases:
        """See :meth:`agd.dataset.Dataset.decode_packed`: bases are the same under any header."""
        part, _, own = self.part_of(chunk)
        return part.decode_packed(own, name, blobs)

    def _adapted(self, part: Dataset, translation: Translation, name: str, column: AnyColumn) -> AnyColumn:
        if name == "metadata" and part.manifest.names != self.manifest.names:
            assert isinstance(column, Column)
            _check_names(part, column)
        return translation.column(name, column)

    def _missing(self, part: Dataset, own: Chunk, name: str, blobs: dict[str, bytes]) -> AnyColumn:
        """A column that this dataset is without; its marks of duplicates are in the flags."""
        if name == "duplicates" and "results" in part.columns:
            flags = part.decode(own, blobs, ["results"]).alignments().flag
            return Column(((flags & np.uint16(Flag.DUPLICATE)) != 0).astype(np.uint8))
        return null_column(self.manifest.columns[name], own.count)


def _columns(manifests: Sequence[Manifest]) -> dict[str, ColumnSpec]:
    found: dict[str, ColumnSpec] = {}
    for m in manifests:
        for name, spec in m.columns.items():
            known = found.get(name)
            # Differences to another column, or to a reference, are not for all of them.
            if known is None or (needed_columns(known.codecs) and not needed_columns(spec.codecs)):
                found[name] = ColumnSpec(spec.type, spec.codecs, name, spec.dtype)
    return found


def _check(one: Dataset, other: Dataset) -> None:
    a, b = one.manifest, other.manifest
    if not is_lines(b) or "results" not in b.columns:
        raise UsageError(
            f"{other.url}: its records are reads, not alignment lines", f"sort it first: agd sort {other.url} -o …"
        )

    def kinds(m: Manifest) -> dict[str, Any]:
        return {name: (c.type, c.dtype) for name, c in m.columns.items() if name not in _OPTIONAL}

    if kinds(a) != kinds(b):
        wrong = sorted(name for name, _ in set(kinds(a).items()) ^ set(kinds(b).items()))
        raise UsageError(
            f"{other.url}: differs from {one.url} in its columns: {', '.join(wrong)}", "'agd info' shows what each has"
        )


def _check_names(part: Dataset, column: Column) -> None:
    """Names of SAM stand beside header lines of FASTQ: they must come back from there."""
    assert column.offsets is not None
    for paired in (False, True):
        _, ends = read_names(column, "fastq", np.full(len(column), paired))
        if (ends != column.offsets[1:]).any():
            raise UsageError(
                f"{part.url}: has read names that end with /1 or /2, which datasets made from FASTQ have not",
                "merge datasets that were imported from SAM or BAM alone",
            )
