"""Find the duplicates among all reads of a dataset, in bounded memory, on all processors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agd.batch import I64, U8, U16, Alignments, Batch, Bool, Column
from agd.cell import flag_counts
from agd.kernels import argsort_bytes, hash_spans
from agd.kernels.duplicates import FOLLOWS, TAKEN, Rows, signed_dtype
from agd.kernels.ragged import take
from agd.marks import marked
from agd.ops.dedup_ends import Extraction
from agd.ops.dedup_groups import beside_pairs, choose, optical, sign
from agd.ops.dedup_metrics import LibraryMetrics
from agd.ops.dedup_shuffle import PARTITIONS, Shuffle
from agd.ops.handover import Arrays
from agd.ops.lines import secondary_columns
from agd.run import Progress, Runner

#: Tells names of records by their ordinals, which ascend; None if records have none.
Names: TypeAlias = Callable[[I64], Column | None]

#: Bits of the marks.
DUPLICATE, OPTICAL = 1, 2

#: Bytes in memory for each read while duplicates are found, besides its row and its signature: copies of some of them.
_BYTES_PER_READ = 24

#: Columns of the counts by library.
_FURTHER, _UNMAPPED, _PAIRED, _SINGLE, _PAIR_DUPLICATES, _SINGLE_DUPLICATES, _OPTICAL = range(7)


def bytes_per_read(extraction: Extraction) -> int:
    """Bytes in memory for each read while duplicates are found and nothing is spilled."""
    return extraction.dtype.itemsize + signed_dtype(extraction.dtype).itemsize + TAKEN.itemsize + _BYTES_PER_READ


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
        found: dict[str, Any] = {"flags": flag_counts(marked(self.results, marks)[valid])}
        if self.further:
            found["further"] = {
                name: flag_counts(marked(flag, marks[at])) for name, (at, flag) in self.further.items() if len(at)
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
        return Extract(*extraction.ends(batch), flags_of(batch))

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


class Finder:
    """Takes the chunks of a dataset in any order and from any thread, then tells the marks of all records.

    Parameters
    ----------
    records : int
        Of the dataset.
    extraction : Extraction
    distance : int
        Greatest distance of optical duplicates on the flow cell; 0: none are looked for.
    folder : str or None
        For temporary files; None: all is kept in memory.
    """

    def __init__(self, records: int, extraction: Extraction, distance: int, folder: str | None) -> None:
        self.extraction, self.distance = extraction, distance
        self.marks = np.zeros(records, np.uint8)
        self.flags: dict[int, FlagsOfChunk] = {}
        self.counts = np.zeros((len(extraction.libraries.names), 7), np.int64)
        signed = signed_dtype(extraction.dtype)
        self._ends = Shuffle(extraction.dtype, folder, "ends")
        self._pairs, self._singles = Shuffle(signed, folder, "pairs"), Shuffle(signed, folder, "singles")
        self._taken, self._follows = Shuffle(TAKEN, folder, "taken"), Shuffle(FOLLOWS, folder, "follows")
        self._lock = threading.Lock()

    @property
    def spilled(self) -> int:
        """Bytes written to temporary files."""
        return sum(s.spilled for s in (self._ends, self._pairs, self._singles, self._taken, self._follows))

    def add(self, batch: Batch) -> int:
        """Take the records of a chunk (see :meth:`Extraction.columns`); returns their number."""
        self.take(batch.first, Extract.of(batch, self.extraction))
        return len(batch)

    def take(self, first: int, found: Extract) -> None:
        """Take what was extracted of the chunk that begins at the ordinal ``first``."""
        with self._lock:
            self.counts[:, [_FURTHER, _UNMAPPED]] += found.counts
            self.flags[first] = found.flags
        if self.extraction.lines:
            self._ends.add(found.rows)
        else:
            self._sign(found.rows)

    def _sign(self, rows: Rows) -> None:
        signatures = sign(rows)
        for column, signed in ((_PAIRED, signatures.pairs), (_SINGLE, signatures.singles)):
            self._count(column, signed["library"])
        self._pairs.add(signatures.pairs)
        self._singles.add(signatures.singles)
        self._taken.add(signatures.taken)
        self._follows.add(signatures.follows)

    def _count(self, column: int, library: Any) -> None:
        counts = np.bincount(library, minlength=len(self.counts))
        with self._lock:
            self.counts[:, column] += counts

    def find(self, names: Names, runner: Runner, progress: Progress) -> None:
        """Mark the duplicates among all records that were added.

        Parameters
        ----------
        names : callable
            Names of the records of these ordinals, which ascend; None if there are none at all.
        runner, progress
        """
        parts = range(PARTITIONS)
        list(runner.map(lambda number: self._sign(self._ends.take(number)), parts, on="cpu"))
        self._ends.clear()
        progress.begin("choosing", PARTITIONS, "parts")
        ties = []
        for tied in runner.map(self._choose, parts, on="cpu"):
            ties.append(tied)
            progress.advance(1)
        progress.end()
        winners = self._break_ties(np.concatenate(ties), names)
        if self.distance:
            list(runner.map(lambda number: self._mark_optical(number, winners), parts, on="cpu"))
        # A record follows all examined reads of its name, so the order in which it is done does not matter.
        for number in parts:
            follows = self._follows.take(number)
            if not len(follows):
                continue
            bits = self.marks[follows["leader"]]
            np.bitwise_or.at(self.marks, follows["follower"], bits)

    def _choose(self, number: int) -> Rows:
        """Mark duplicates of a part; the rows whose group has several best ones are left and returned."""
        keep = bool(self.distance)
        pairs, singles = self._pairs.take(number, keep=keep), self._singles.take(number, keep=keep)
        beside_pair = beside_pairs(singles, self._taken.take(number))
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

    def _break_ties(self, tied: Rows, names: Names) -> I64:
        """Mark all but one of the equally good rows of each group: the one of the least name (then ordinal) stays.

        Returns
        -------
        ndarray of int64
            Ordinals of those that stay, ascending.
        """
        if not len(tied):
            return np.empty(0, np.int64)
        tied = tied[np.argsort(tied["ordinal"], kind="stable")]
        found = names(tied["ordinal"].copy())
        rank = np.zeros(len(tied), np.int64) if found is None else _ranks(found.compact())
        order = np.lexsort((tied["ordinal"], rank, tied["group"], tied["part"], tied["column"]))
        tied = tied[order]
        first = np.ones(len(tied), np.bool_)
        for field in ("group", "part", "column"):
            first[1:] &= tied[field][1:] == tied[field][:-1]
        first[1:] = ~first[1:]
        for column in (_PAIR_DUPLICATES, _SINGLE_DUPLICATES):
            self._mark(tied[~first & (tied["column"] == column)], column)
        return np.sort(tied["ordinal"][first])

    def _mark_optical(self, number: int, winners: I64) -> None:
        for shuffle, column in ((self._pairs, _OPTICAL), (self._singles, None)):
            rows = shuffle.take(number)
            found = rows[optical(rows, choose(rows, winners), self.distance)]
            found = found[(self.marks[found["ordinal"]] & DUPLICATE) != 0]
            self.marks[found["ordinal"]] |= np.uint8(OPTICAL)
            if column is not None:
                self._count(column, found["library"])

    @property
    def marked(self) -> int:
        """Number of records marked as duplicates."""
        return int(np.count_nonzero(self.marks & DUPLICATE))

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

    def of_chunk(self, first: int, count: int) -> tuple[U8, dict[str, Any]]:
        """Marks of a chunk, and the statistics of the flags that they make."""
        marks = self.marks[first : first + count]
        return marks, self.flags[first].statistics(marks)


_TIE = np.dtype([("group", "<i8"), ("ordinal", "<i8"), ("part", "<i4"), ("column", "<i4"), ("library", "<u2")])


def flags_of(batch: Batch) -> FlagsOfChunk:
    """Flags of the alignments of a chunk, marks not folded in."""
    further = {}
    for name in secondary_columns(list(batch.columns)):
        alignments = batch.alignments(name)
        at = np.arange(len(batch)) if alignments.valid is None else np.flatnonzero(alignments.valid)
        further[name] = (at, alignments.flag[at].copy())
    results: Alignments = batch.alignments()
    return FlagsOfChunk(results.flag.copy(), results.valid, further)


def _ranks(names: Column) -> I64:
    """Place of each name in the order of their bytes; those of equal names are equal."""
    assert names.offsets is not None
    order = np.empty(len(names), np.int64)
    argsort_bytes(np.ascontiguousarray(names.values), names.offsets, order)
    rank = np.empty(len(names), np.int64)
    rank[order] = np.cumsum(_differs(take(names, order)))
    return rank


def _differs(names: Column) -> Bool:
    """Where a name is another one than that before it."""
    assert names.offsets is not None
    low, high = np.empty(len(names), np.uint64), np.empty(len(names), np.uint64)
    hash_spans(names.values, names.offsets[:-1], names.offsets[1:], low, high)
    out = np.zeros(len(names), np.bool_)
    out[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    return out

