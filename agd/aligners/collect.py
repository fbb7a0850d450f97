"""Give the records that a program prints back to the batches of reads that they belong to."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from agd import kernels
from agd.aligners.aligner import Aligned
from agd.aligners.reference import Genome
from agd.batch import I64, Alignments, Column
from agd.errors import AlignerError, KernelError
from agd.kernels.ragged import concat_any, take_any
from agd.kernels.records import RecordArrays
from agd.types import Flag

#: Reads are named by the ordinal of their pair (or their own, if single) in this many decimal digits.
NAME_DIGITS = 12

_FURTHER = np.uint16(Flag.SECONDARY | Flag.SUPPLEMENTARY)


def ordinal_names(ordinals: I64) -> Column:
    """Names of reads: the numbers in :data:`NAME_DIGITS` decimal digits each."""
    digits = np.empty((len(ordinals), NAME_DIGITS), np.uint8)
    rest = ordinals.copy()
    for place in range(NAME_DIGITS - 1, -1, -1):
        digits[:, place] = rest % 10 + ord("0")
        rest //= 10
    return Column(digits.reshape(-1), np.arange(len(ordinals) + 1, dtype=np.int64) * NAME_DIGITS)


class SamReader:
    """Parses SAM text that arrives in pieces.

    Parameters
    ----------
    genome : Genome
        What the header has to agree with.
    """

    def __init__(self, genome: Genome) -> None:
        self.header: list[str] = []
        self._genome = genome
        names = Column.from_list([c.name.encode() for c in genome.contigs])
        assert names.offsets is not None
        self._names, self._offsets = names.values, names.offsets
        self._rest = b""
        self._in_header = True

    def parse(self, block: bytes, final: bool) -> tuple[Alignments, I64] | None:
        """Alignments of the complete lines, and the number that each read's name stands for.

        Raises
        ------
        AlignerError
            A line is not SAM, or not about one of the reads that were given.
        """
        text = self._rest + block
        if self._in_header:
            text = self._take_header(text, final)
            if self._in_header:
                return None
        data = np.frombuffer(text, np.uint8)
        try:
            records = RecordArrays.allocate(*kernels.sam_capacity(data))
            count, consumed, names, cigar, _, _, tags = kernels.sam_parse(
                data, self._names, self._offsets, records, final
            )
        except KernelError as error:
            at = max(0, error.offset)
            line = text[text.rfind(b"\n", 0, at) + 1 :].split(b"\n", 1)[0]
            raise AlignerError(f"the aligner printed what is not SAM: {error.reason}: {line[:200]!r}") from error
        self._rest = text[consumed:]
        alignments = Alignments(
            **{name: getattr(records, name)[:count] for name in Alignments.FIXED},
            cigar=Column(records.cigar[:cigar], records.cigar_offsets[: count + 1]),
            tags=Column(records.tags[:tags], records.tag_offsets[: count + 1]),
        )
        return alignments, _numbers(records.names[:names], records.name_offsets[: count + 1])

    def _take_header(self, text: bytes, final: bool) -> bytes:
        at = 0
        while text[at : at + 1] == b"@":
            end = text.find(b"\n", at)
            if end < 0:
                break
            self.header.append(text[at:end].decode(errors="replace"))
            at = end + 1
        self._rest = text[at:]
        if (at < len(text) and text[at : at + 1] != b"@") or final:
            self._in_header = False
            self._check_header()
        return text[at:]

    def _check_header(self) -> None:
        found = []
        for line in self.header:
            if line.startswith("@SQ\t"):
                tags = dict(f.split(":", 1) for f in line.split("\t")[1:] if ":" in f)
                found.append((tags.get("SN"), tags.get("LN")))
        if found != [(c.name, str(c.length)) for c in self._genome.contigs]:
            raise AlignerError(
                f"the index of the aligner is not that of {self._genome.url}: the names or lengths of its "
                f"{len(found)} sequences are others",
                "remove the index beside the reference and run again",
            )


def _numbers(names: np.ndarray[tuple[int], np.dtype[np.uint8]], offsets: I64) -> I64:
    digits = names.astype(np.int64) - ord("0")
    if (np.diff(offsets) != NAME_DIGITS).any() or ((digits < 0) | (digits > 9)).any():
        raise AlignerError("the aligner printed records with names that are not those of the reads it was given")
    powers = 10 ** np.arange(NAME_DIGITS - 1, -1, -1, dtype=np.int64)
    return np.asarray(digits.reshape(-1, NAME_DIGITS) @ powers)


class Collector:
    """Puts records together by batch, in whatever order they come.

    A batch is complete when each of its reads has a primary record and a record of a later batch has come (or the
    program has ended), since further alignments follow the primary one.

    Parameters
    ----------
    paired : bool
        The name stands for a pair; flag 0x80 tells the mates apart.
    """

    def __init__(self, paired: bool) -> None:
        self._paired = paired
        self._batches: list[tuple[int, int]] = []  # first ordinal and count of each that was fed
        self._parts: dict[int, list[tuple[Alignments, I64]]] = {}
        self._primaries: dict[int, int] = {}
        self._next = 0
        self._latest = -1

    def expect(self, first: int, count: int) -> None:
        """A batch of reads is about to be fed; may be called from another thread than the rest."""
        self._batches.append((first, count))

    def add(self, alignments: Alignments, numbers: I64) -> None:
        """Take records.

        Raises
        ------
        AlignerError
            They are about reads that were not fed, or whose batch is done.
        """
        if not len(alignments):
            return
        reads = numbers
        if self._paired:
            reads = 2 * numbers + ((alignments.flag & np.uint16(Flag.READ2)) != 0)
        fed = np.array(self._batches, np.int64).reshape(-1, 2)
        batch = np.searchsorted(fed[:, 0], reads, side="right") - 1
        end = int(fed[-1].sum()) if len(fed) else 0
        wrong = reads[(reads >= end) | (batch < self._next)]
        if len(wrong):
            raise AlignerError(f"the aligner printed a record of read {int(wrong[0]):,} when it cannot have been due")
        if (batch[1:] < batch[:-1]).any():
            order = np.argsort(batch, kind="stable")
            batch, reads = batch[order], reads[order]
            chosen = take_any(alignments, order)
            assert isinstance(chosen, Alignments)
            alignments = chosen
        cuts = [0, *(np.flatnonzero(np.diff(batch)) + 1).tolist(), len(batch)]
        for start, stop in itertools.pairwise(cuts):
            b = int(batch[start])
            part = alignments.slice(start, stop)
            self._parts.setdefault(b, []).append((part, reads[start:stop]))
            self._primaries[b] = self._primaries.get(b, 0) + int(((part.flag & _FURTHER) == 0).sum())
        self._latest = max(self._latest, int(batch[-1]))

    def ready(self, final: bool = False) -> Iterator[Aligned]:
        """Batches that are complete, in order; all that are left if ``final``.

        Raises
        ------
        AlignerError
            A read has no primary alignment, or more than one.
        """
        while self._next < len(self._batches):
            b = self._next
            first, count = self._batches[b]
            complete = self._primaries.get(b, 0) >= count
            if not (complete and self._latest > b) and not final:
                return
            self._next += 1
            self._primaries.pop(b, None)
            yield self._finish(first, count, self._parts.pop(b, []))

    def _finish(self, first: int, count: int, parts: list[tuple[Alignments, I64]]) -> Aligned:
        parts = parts or [(Alignments.null(0), np.empty(0, np.int64))]
        reads = np.concatenate([r for _, r in parts]) - first
        every = concat_any([a for a, _ in parts])
        assert isinstance(every, Alignments)
        main = (every.flag & _FURTHER) == 0
        order = np.argsort(reads, kind="stable")
        first_rows, rest_rows = order[main[order]], order[~main[order]]
        times = np.bincount(reads[main], minlength=count)
        if (times != 1).any():
            read = int(np.flatnonzero(times != 1)[0])
            raise AlignerError(
                f"the aligner printed {times[read]} primary alignments of read {first + read:,} "
                f"({int((times == 0).sum()):,} of {count:,} reads here have none)",
                "check --aligner-args: every read must be printed once, unmapped ones too",
            )
        primary, further = take_any(every, first_rows), take_any(every, rest_rows)
        assert isinstance(primary, Alignments)
        assert isinstance(further, Alignments)
        return Aligned(primary.replace(valid=None), further.replace(valid=None), reads[rest_rows])
