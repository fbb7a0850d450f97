"""Fewer levels of base qualities: lossy, done only when asked for by name, and noted in the provenance."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from agd import __version__
from agd.batch import U8, Batch, Column
from agd.cell import independent_codecs
from agd.dataset import Dataset
from agd.draft import Draft
from agd.errors import ColumnError, UsageError
from agd.manifest import Cell, Chunk, ColumnSpec, Manifest
from agd.ops.digest import Digest, check_digest, digest_records
from agd.ops.lines import to_lines, to_records
from agd.ops.scan import chunk_bytes, line_columns
from agd.run import SILENT, Progress, Runner, ThreadRunner, in_flight

#: Schemes by name, as texts that :func:`binning_table` takes. Sources: "Reducing whole-genome data storage footprint"
#: (Illumina, 2014), and "NovaSeq 6000 System quality scores and RTA3 software" (Illumina, 2017), which names the levels
#: and calls them marginal (below 15), medium and high (above 30).
SCHEMES = {
    "illumina-8": "2-9:6,10-19:15,20-24:22,25-29:27,30-34:33,35-39:37,40-93:40",
    "illumina-4": "0-2:2,3-14:12,15-30:23,31-93:37",
}

#: Qualities in text are Phred + 33 (SAM specification, section 1.4).
_PHRED_ZERO = 33


@dataclass(frozen=True, slots=True)
class BinningReport:
    """What a binning did.

    Attributes
    ----------
    url : str
    scheme : str
        As :func:`binning_table` takes it.
    bases, changed : int
        Bases with a quality, and those whose quality is another one now.
    levels_before, levels_after : int
        Values that occur.
    bytes_before, bytes_after : int
        Stored bytes of the column.
    generation : int
        Of the dataset afterwards; the one before still has the qualities as they were, until ``agd gc`` removes it.
    seconds : float
        Wall time.
    """

    url: str
    scheme: str
    bases: int
    changed: int
    levels_before: int
    levels_after: int
    bytes_before: int
    bytes_after: int
    generation: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


def binning_table(scheme: str) -> U8:
    """What becomes of each byte of a quality string.

    Parameters
    ----------
    scheme : str
        ``illumina-8``, ``illumina-4``, or ranges of Phred qualities, both ends included, with what they become:
        ``0-9:5,10-29:20,30-93:40``. Qualities in no range stay.

    Returns
    -------
    ndarray of uint8, shape (256,)

    Raises
    ------
    UsageError
        It is neither, or ranges overlap.
    """
    table = np.arange(256, dtype=np.uint8)
    covered = np.zeros(256, np.bool_)
    for part in SCHEMES.get(scheme, scheme).split(","):
        match = re.fullmatch(r"\s*(\d{1,2})(?:-(\d{1,2}))?:(\d{1,2})\s*", part)
        low, high, value = (int(match[1]), int(match[2] or match[1]), int(match[3])) if match else (1, 0, 0)
        if low > high or high > 93 or value > 93:
            raise UsageError(
                f"{part!r} is no range of qualities with what it becomes, and no name of a scheme",
                f"give {', '.join(SCHEMES)}, or ranges such as 0-9:5,10-29:20,30-93:40",
            )
        where = slice(low + _PHRED_ZERO, high + _PHRED_ZERO + 1)
        if covered[where].any():
            raise UsageError(f"the range {part!r} overlaps another one", "let each quality be in one range")
        covered[where] = True
        table[where] = value + _PHRED_ZERO
    return table


def bin_qualities(
    dataset: Dataset, scheme: str, *, runner: Runner | None = None, memory: int | None = None,
    progress: Progress = SILENT, command: str = "",
) -> BinningReport:
    """Put qualities into bins, in place: one new generation with another ``qualities`` column.

    The records are compared with their digest on the way, and the digest of the new ones takes its place. The scheme is
    noted in the provenance, and so in a ``@PG`` line of every BAM that is made of the dataset.

    Parameters
    ----------
    dataset : Dataset
    scheme : str
        See :func:`binning_table`.
    runner, memory, progress, command
        As in all operations.

    Returns
    -------
    BinningReport
        The scheme, and bytes before and after.

    Raises
    ------
    UsageError
        The scheme is not one.
    ColumnError
        There are no qualities.
    ConflictError
        The dataset has other qualities by now, or somebody else is at work on them.
    VerificationError
        The records are not those that were imported; nothing is changed.

    Examples
    --------
    >>> agd.bin_qualities(agd.open("run.agd"), "0-19:10,20-93:30").levels_after
    2
    """
    begun = time.monotonic()
    table = binning_table(scheme)
    if "qualities" not in dataset.columns:
        raise ColumnError(f"{dataset.url}: there is no column 'qualities'", f"there are: {', '.join(dataset.columns)}")
    spec = dataset.manifest.columns["qualities"]
    parameters = {"scheme": scheme, "table": SCHEMES.get(scheme, scheme)}
    plan = {"operation": "bin", "from": spec.key, **parameters}
    draft = Draft.extend(
        dataset, {"qualities": ColumnSpec(spec.type, independent_codecs("qualities", spec), "qualities")}, plan,
        replace=True, reads=line_columns(dataset),
    )  # fmt: skip
    work = _Binning(dataset, draft, table)
    runner = runner or ThreadRunner()
    ahead = in_flight(runner, memory, 3 * chunk_bytes(dataset))
    try:
        chunks = list(work.run(runner, ahead, progress))
        step = {"program": "agd bin", "version": __version__, "command": command, "parameters": parameters}
        done = draft.commit(chunks, steps=(step,), **work.digest())
    except BaseException as error:
        draft.failed(error)
        raise
    before, after = np.flatnonzero(work.counts), np.unique(table[np.flatnonzero(work.counts)])
    return BinningReport(
        dataset.url, scheme, int(work.counts.sum()), int(work.counts[before][table[before] != before].sum()),
        len(before), len(after), _stored(dataset.manifest), _stored(done.manifest), done.manifest.generation,
        round(time.monotonic() - begun, 3),
    )  # fmt: skip


def _stored(manifest: Manifest) -> int:
    return sum(chunk.cells["qualities"].bytes for chunk in manifest.chunks if "qualities" in chunk.cells)


@dataclass(frozen=True, slots=True)
class _Binned:
    """A chunk: its object, unless an earlier run has stored it, how often each byte occurs, and the two digests."""

    chunk: Chunk
    data: bytes | None
    cell: Cell | None
    counts: np.ndarray[Any, np.dtype[np.int64]]
    old: Digest
    new: Digest


class _Binning:
    """Bins the qualities of all chunks, and counts."""

    def __init__(self, dataset: Dataset, draft: Draft, table: U8) -> None:
        self.dataset, self.draft, self.table = dataset, draft, table
        self.columns = line_columns(dataset)
        self.counts = np.zeros(256, np.int64)
        self._old, self._new = Digest(), Digest()

    def run(self, runner: Runner, ahead: int, progress: Progress) -> Iterator[Chunk]:
        """Encode and store; the chunks of the new generation."""
        progress.begin("bin", len(self.dataset))
        fetched = runner.map(self._fetch, self.dataset.chunks, on="io", ahead=ahead)
        binned = runner.map(self._bin, fetched, on="cpu", ahead=ahead)
        for done in runner.map(self._store, binned, on="io", ahead=ahead):
            self.counts += done.counts
            self._old.add(done.old)
            self._new.add(done.new)
            progress.advance(done.chunk.count)
            cells = {} if done.cell is None else {"qualities": done.cell}
            yield Chunk(done.chunk.first, done.chunk.count, cells)
        progress.end()

    def digest(self) -> dict[str, Any]:
        """The field of the manifest.

        Raises
        ------
        VerificationError
            The records, as they were, are not those that the manifest notes.
        """
        check_digest(self.dataset, self._old)
        return {"digest": self._new.to_json()} if self.dataset.manifest.digest else {}

    def _fetch(self, chunk: Chunk) -> tuple[Chunk, dict[str, bytes]]:
        return chunk, self.dataset.fetch(chunk, self.columns)

    def _bin(self, fetched: tuple[Chunk, dict[str, bytes]]) -> _Binned:
        chunk, blobs = fetched
        batch = self.dataset.decode(chunk, blobs, self.columns)
        old = batch.ragged("qualities").compact()
        new = Column(self.table[old.values], old.offsets)
        after = Batch(batch.first, {**batch.columns, "qualities": new})
        digests = self._digest(batch), self._digest(after)
        counts = np.bincount(old.values, minlength=256)
        if "qualities" not in chunk.cells:
            return _Binned(chunk, None, None, counts, *digests)
        cell, data = self.draft.finished("qualities", chunk.first, chunk.count), None
        if cell is None:
            data, cell = self.draft.encode("qualities", chunk.first, new)
        return _Binned(chunk, data, cell, counts, *digests)

    def _digest(self, batch: Batch) -> Digest:
        manifest = self.dataset.manifest
        if not manifest.digest:
            return Digest()
        lines = to_lines(batch, manifest.orientation, manifest.pairing == "interleaved")
        return digest_records(to_records(lines, manifest.names), alignments="records" in manifest.digest)

    def _store(self, done: _Binned) -> _Binned:
        if done.data is not None:
            self.draft.store("qualities", done.chunk.first, done.data)
        return done
