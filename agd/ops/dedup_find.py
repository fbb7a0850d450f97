"""Find the duplicates among all reads of a dataset, in bounded memory, on all processors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from agd.batch import I64, U8, U16, Alignments, Batch, Bool, Column
from agd.cell import flag_counts
from agd.dataset import Dataset
from agd.kernels import argsort_bytes, copy_spans, hash_spans
from agd.kernels.ragged import concat, take
from agd.manifest import Chunk
from agd.ops.dedup_ends import Extraction
from agd.ops.dedup_groups import FOLLOWS, TAKEN, choose, optical, sign, signed_dtype
from agd.ops.dedup_metrics import LibraryMetrics
from agd.ops.dedup_shuffle import PARTITIONS, Rows, Shuffle
from agd.ops.handover import Arrays
from agd.ops.lines import read_names, secondary_columns
from agd.run import Progress, Runner
from agd.types import Flag

T = TypeVar("T")

#: Bits of the marks.
DUPLICATE, OPTICAL = 1, 2

#: Columns of the counts by library.
_FURTHER, _UNMAPPED, _PAIRED, _SINGLE, _PAIR_DUPLICATES, _SINGLE_DUPLICATES, _OPTICAL = range(7)


@dataclass(frozen=True, slots=True)
class FlagsOfChunk:
    """Flags of the records of a chunk, to tell those that the marks make of them.

    Attributes
    ----------
    results : ndarray of uint16, shape (records,)
    valid : ndarray of bool, or None
    further : dict
        By column of further alignments: the records that have one (index in the chunk), and its flag.
    """

    results: U16
    valid: Any
    further: dict[str, tuple[I64, U16]]

    def statistics(self, marks: U8) -> dict[str, Any]:
        """Numbers of records of each flag with the marks folded in."""
        valid = slice(None) if self.valid is None else self.valid
        found: dict[str, Any] = {"flags": flag_counts(_fold(self.results, marks)[valid])}
        if self.further:
            found["further"] = {
                name: flag_counts(_fold(flag, marks[at])) for name, (at, flag) in self.further.items() if len(at)
            }
        return found


@dataclass(frozen=True, slots=True)
class Extract:
    """What the search needs of the records of a chunk.

    Attributes
    ----------
    rows : ndarray of :attr:`Extraction.dtype`
    counts : ndarray of int64, shape (libraries, 2)
        See :meth:`Extraction.ends`.
    flags : FlagsOfChunk
    """

    rows: Rows
    counts: I64
    flags: FlagsOfChunk

    @staticmethod
    def of(batch: Batch, extraction: Extraction) -> Extract:
        """From the columns of a chunk."""
        return Extract(*extraction.ends(batch), _flags_of(batch))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As arrays to be stored; :meth:`from_arrays` turns them back."""
        found: dict[str, NDArray[Any]] = {"rows": self.rows, "counts": self.counts, "flags": self.flags.results}
        if self.flags.valid is not None:
            found["valid"] = self.flags.valid
        for name, (at, flag) in self.flags.further.items():
            found |= {f"{name}.at": at, f"{name}.flag": flag}
        return found

    @staticmethod
    def from_arrays(arrays: Arrays) -> Extract:
        """From :meth:`arrays`."""
        further = {
            name.removesuffix(".at"): (at, arrays[name.removesuffix(".at") + ".flag"])
            for name, at in arrays.items() if name.endswith(".at")
        }  # fmt: skip
        flags = FlagsOfChunk(arrays["flags"], arrays.get("valid"), further)
        return Extract(arrays["rows"], arrays["counts"], flags)


def extracts(
    dataset: Dataset, extraction: Extraction, chunks: Iterable[Chunk], then: Callable[[tuple[Chunk, Extract]], T],
    runner: Runner, ahead: int,
) -> Iterator[T]:
    """On the workers: what the search needs of some chunks, and ``then`` of that."""
    names = [*extraction.columns(dataset), *secondary_columns(dataset.columns)]

    def fetch(chunk: Chunk) -> tuple[Chunk, dict[str, bytes]]:
        return chunk, dataset.fetch(chunk, names)

    def extract(fetched: tuple[Chunk, dict[str, bytes]]) -> T:
        return then((fetched[0], Extract.of(dataset.decode(*fetched, names), extraction)))

    return runner.map(extract, runner.map(fetch, chunks, on="io", ahead=ahead), on="cpu", ahead=ahead)


def _fold(flag: U16, marks: U8) -> U16:
    duplicate = np.where(marks & DUPLICATE, np.uint16(Flag.DUPLICATE), np.uint16(0))
    return (flag & np.uint16(0xFFFF ^ Flag.DUPLICATE)) | duplicate


class Finder:
    """Takes the chunks of a dataset in any order and from any thread, then tells the marks of all records.

    Parameters
    ----------
    dataset : Dataset
    extraction : Extraction
    distance : int
        Greatest distance of optical duplicates on the flow cell; 0: none are looked for.
    folder : str or None
        For temporary files; None: all is kept in memory.
    """

    def __init__(self, dataset: Dataset, extraction: Extraction, distance: int, folder: str | None) -> None:
        self.dataset, self.extraction, self.distance = dataset, extraction, distance
        self.marks = np.zeros(len(dataset), np.uint8)
        self.flags: dict[int, FlagsOfChunk] = {}
        self.counts = np.zeros((len(extraction.libraries.names), 7), np.int64)
        signed = signed_dtype(extraction.dtype)
        self._ends = Shuffle(extraction.dtype, folder, "ends")
        self._pairs, self._singles = Shuffle(signed, folder, "pairs"), Shuffle(signed, folder, "singles")
        self._taken, self._follows = Shuffle(TAKEN, folder, "taken"), Shuffle(FOLLOWS, folder, "follows")
        self._lock = threading.Lock()

    @property
    def columns(self) -> list[str]:
        """Columns that the batches given to :meth:`add` hold."""
        return [*self.extraction.columns(self.dataset), *secondary_columns(self.dataset.columns)]

    @property
    def spilled(self) -> int:
        """Bytes written to temporary files."""
        return sum(s.spilled for s in (self._ends, self._pairs, self._singles, self._taken, self._follows))

    def add(self, first: int, found: Extract) -> None:
        """Take the records of the chunk that begins at the ordinal ``first``."""
        with self._lock:
            self.counts[:, [_FURTHER, _UNMAPPED]] += found.counts
            self.flags[first] = found.flags
        if self.extraction.lines:
            self._ends.add(found.rows, found.rows["low"])
        else:
            self._sign(found.rows)

    def _sign(self, rows: Rows) -> None:
        signatures = sign(rows)
        for column, signed in ((_PAIRED, signatures.pairs), (_SINGLE, signatures.singles)):
            self._count(column, signed["library"])
        self._pairs.add(signatures.pairs, signatures.pairs["low"])
        self._singles.add(signatures.singles, signatures.singles["low"])
        self._taken.add(signatures.taken, signatures.taken["low"])
        spread = signatures.follows["follower"].astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        self._follows.add(signatures.follows, spread)

    def _count(self, column: int, library: Any) -> None:
        counts = np.bincount(library, minlength=len(self.counts))
        with self._lock:
            self.counts[:, column] += counts

    def find(self, runner: Runner, progress: Progress) -> None:
        """Mark the duplicates among all records that were added."""
        parts = range(PARTITIONS)
        list(runner.map(lambda number: self._sign(self._ends.take(number)), parts, on="cpu"))
        progress.begin("choosing", PARTITIONS, "parts")
        ties = []
        for tied in runner.map(self._choose, parts, on="cpu"):
            ties.append(tied)
            progress.advance(1)
        progress.end()
        winners = self._break_ties(np.concatenate(ties), runner)
        if self.distance:
            list(runner.map(lambda number: self._mark_optical(number, winners), parts, on="cpu"))
        # A record follows all examined reads of its name, so the order in which it is done does not matter.
        for number in parts:
            follows = self._follows.take(number)
            bits = self.marks[follows["leader"]]
            np.bitwise_or.at(self.marks, follows["follower"], bits)

    def _choose(self, number: int) -> Rows:
        """Mark duplicates of a part; the rows whose group has several best ones are left and returned."""
        keep = bool(self.distance)
        pairs, singles = self._pairs.take(number, keep=keep), self._singles.take(number, keep=keep)
        taken = self._taken.take(number)["low"]
        beside_pair = np.isin(singles["low"], taken) if len(singles) else np.zeros(0, np.bool_)
        self._mark(singles[beside_pair], _SINGLE_DUPLICATES)
        tied = []
        for rows, column in ((pairs, _PAIR_DUPLICATES), (singles[~beside_pair], _SINGLE_DUPLICATES)):
            chosen = choose(rows)
            worse = chosen.best != np.arange(len(rows))
            self._mark(rows[worse & ~chosen.tied], column)
            group = np.empty(int(chosen.tied.sum()), _TIE)
            at = np.flatnonzero(chosen.tied)
            group["group"] = chosen.best[at]
            group["part"], group["column"] = number, column
            group["ordinal"], group["library"] = rows["ordinal"][at], rows["library"][at]
            tied.append(group)
        return np.concatenate(tied)

    def _mark(self, rows: Rows, column: int, bit: int = DUPLICATE) -> None:
        # Every record belongs to one row, so threads write to places of their own.
        self.marks[rows["ordinal"]] |= np.uint8(bit)
        self._count(column, rows["library"])

    def _break_ties(self, tied: Rows, runner: Runner) -> I64:
        """Mark all but one of the equally good rows of each group: the one of the least name (then ordinal) stays.

        Returns
        -------
        ndarray of int64
            Ordinals of those that stay, ascending.
        """
        if not len(tied):
            return np.empty(0, np.int64)
        tied = tied[np.argsort(tied["ordinal"], kind="stable")]
        rank = self._name_ranks(tied["ordinal"].copy(), runner)
        order = np.lexsort((tied["ordinal"], rank, tied["group"], tied["part"], tied["column"]))
        tied = tied[order]
        first = np.ones(len(tied), np.bool_)
        for field in ("group", "part", "column"):
            first[1:] &= tied[field][1:] == tied[field][:-1]
        first[1:] = ~first[1:]
        for column in (_PAIR_DUPLICATES, _SINGLE_DUPLICATES):
            self._mark(tied[~first & (tied["column"] == column)], column)
        return np.sort(tied["ordinal"][first])

    def _name_ranks(self, ordinals: I64, runner: Runner) -> I64:
        """Place of the name of each record (ascending ordinals) in the order of their bytes; equal names are equal."""
        if "metadata" not in self.dataset.columns:
            return np.zeros(len(ordinals), np.int64)
        parts = []
        for chunk in self.dataset.chunks:
            begin, end = np.searchsorted(ordinals, [chunk.first, chunk.first + chunk.count])
            if end > begin:
                parts.append((chunk, ordinals[begin:end] - chunk.first))
        names = concat(list(runner.map(self._names, parts, on="cpu"))).compact()
        assert names.offsets is not None
        order = np.empty(len(names), np.int64)
        values = np.ascontiguousarray(names.values)
        argsort_bytes(values, names.offsets, order)
        rank = np.empty(len(names), np.int64)
        rank[order] = np.cumsum(_differs(take(names, order)))
        return rank

    def _names(self, part: tuple[Chunk, I64]) -> Column:
        chunk, records = part
        metadata = self.dataset.read(chunk, ["metadata"]).ragged("metadata")
        paired = np.full(len(metadata), self.extraction.paired or self.extraction.lines)
        starts, ends = read_names(metadata, self.extraction.names, paired)
        return _cut(metadata, starts[records], ends[records])

    def _mark_optical(self, number: int, winners: I64) -> None:
        for shuffle, column in ((self._pairs, _OPTICAL), (self._singles, None)):
            rows = shuffle.take(number)
            found = rows[optical(rows, choose(rows, winners), self.distance)]
            found = found[(self.marks[found["ordinal"]] & DUPLICATE) != 0]
            self.marks[found["ordinal"]] |= np.uint8(OPTICAL)
            if column is not None:
                self._count(column, found["library"])

    def metrics(self) -> list[LibraryMetrics]:
        """Metrics of every library that has any records."""
        found = []
        for name, counts in zip(self.extraction.libraries.names, self.counts.tolist(), strict=True):
            if any(counts) or len(self.counts) == 1:
                found.append(LibraryMetrics(
                    name, counts[_SINGLE], counts[_PAIRED] // 2, counts[_FURTHER], counts[_UNMAPPED],
                    counts[_SINGLE_DUPLICATES], counts[_PAIR_DUPLICATES] // 2, counts[_OPTICAL] // 2,
                ))  # fmt: skip
        return found

    def chunks(self) -> Iterator[tuple[Chunk, U8, dict[str, Any]]]:
        """Marks of each chunk, and the flags that they make."""
        for chunk in self.dataset.chunks:
            marks = self.marks[chunk.first : chunk.first + chunk.count]
            yield chunk, marks, self.flags[chunk.first].statistics(marks)


_TIE = np.dtype([("group", "<i8"), ("ordinal", "<i8"), ("part", "<i4"), ("column", "<i4"), ("library", "<u2")])


def _flags_of(batch: Batch) -> FlagsOfChunk:
    further = {}
    for name in secondary_columns(list(batch.columns)):
        alignments = batch.alignments(name)
        at = np.arange(len(batch)) if alignments.valid is None else np.flatnonzero(alignments.valid)
        further[name] = (at, alignments.flag[at].copy())
    results: Alignments = batch.alignments()
    return FlagsOfChunk(results.flag.copy(), results.valid, further)


def _differs(names: Column) -> Bool:
    """Where a name is another one than that before it."""
    assert names.offsets is not None
    low, high = np.empty(len(names), np.uint64), np.empty(len(names), np.uint64)
    hash_spans(names.values, names.offsets[:-1], names.offsets[1:], low, high)
    out = np.zeros(len(names), np.bool_)
    out[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    return out


def _cut(column: Column, starts: I64, ends: I64) -> Column:
    lengths = ends - starts
    out = Column.from_lengths(np.empty(int(lengths.sum()), np.uint8), lengths)
    assert out.offsets is not None
    copy_spans(column.values, np.ascontiguousarray(starts), np.ascontiguousarray(ends), out.values, out.offsets)
    return out
