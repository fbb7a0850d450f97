"""Sorted runs of lines that arrive chunk by chunk: in memory while they fit, in temporary files once they do not."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from agd.batch import Batch, Column
from agd.kernels import alignments as structured
from agd.kernels.ragged import concat, take
from agd.ops.lines import alignment_lines, secondary_columns, seq_spans
from agd.ops.sort_gather import Part, gather
from agd.ops.sort_keys import Ordering, argsort
from agd.ops.sort_runs import KEYS, MemoryRun, RunWriter, SpilledRun, pieces
from agd.run import Runner
from agd.run.memory import release
from agd.types import Orientation

#: Records in a block of a run that is written: few enough that the slices of many runs are read with little waste.
BLOCK = 1024


def sorted_run(keys: Column, parts: Mapping[str, Part]) -> MemoryRun:
    """Records of a chunk, brought into order.

    Parameters
    ----------
    keys : Column
    parts : mapping of str to Part
        The records of each column, as they came.
    """
    order = argsort(keys)
    columns = {name: gather([part], order, complement=name == "bases") for name, part in parts.items()}
    return MemoryRun(take(keys, order), columns)


def run_of_reads(reads: Batch, ordering: Ordering, columns: Sequence[str], paired: bool) -> MemoryRun:
    """Sorted alignment lines of a batch of aligned reads (bases as sequenced).

    Parameters
    ----------
    reads : Batch
        With ``results`` and any ``secondary0…``.
    ordering : Ordering
    columns : sequence of str
        Columns of the output.
    paired : bool
        Records 2i and 2i + 1 are mates.
    """
    alignments, read = alignment_lines(reads, paired)
    trim = bool(secondary_columns(list(reads.columns)))
    parts: dict[str, Part] = {}
    keyed: dict[str, Column] = {}
    for name in columns:
        if name == "results":
            parts[name] = Part.of(structured.pack(alignments))
            continue
        column = reads.ragged(name)
        if name in ("bases", "qualities"):
            spans = seq_spans(column, alignments, read, Orientation.READ, trim)
            parts[name] = Part(np.ascontiguousarray(column.values), *spans)
            continue
        if read is not None:
            column = take(column, read)
        parts[name] = Part.of(column)
        if name in ordering.columns:
            keyed[name] = column
    keys = ordering.keys(Batch(reads.first, {"results": alignments, **keyed}))
    return sorted_run(keys if isinstance(keys, Column) else Column(keys), parts)


class RunStore:
    """Collects the sorted lines of chunks into runs.

    Parameters
    ----------
    columns : sequence of str
        Columns of the output.
    budget : int
        Bytes that lines may take in memory before they are written.
    folder : callable
        Makes, when it is first needed, the folder for temporary files.
    """

    def __init__(self, columns: Sequence[str], budget: int, folder: Callable[[], str]) -> None:
        self.columns = columns
        self.budget = budget
        self.records = 0
        self._folder = folder
        self._held: list[MemoryRun] = []
        self._held_bytes = 0
        self._groups = 0

    @property
    def held(self) -> int:
        """Bytes of lines that are in memory."""
        return self._held_bytes

    def collect(self, lines: Iterable[MemoryRun], runner: Runner) -> list[MemoryRun] | list[SpilledRun]:
        """Take the lines of all chunks, in order; runs in the same order, of one chunk or of several."""
        written = list(runner.map(self._write, self._overflow(lines), on="cpu", ahead=1))
        if not written:
            return self._held
        if self._held:
            written.append(self._write(self._next_group()))
        return written

    def _overflow(self, lines: Iterable[MemoryRun]) -> Iterator[tuple[str, list[MemoryRun]]]:
        for each in lines:
            self.records += len(each)
            self._held.append(each)
            self._held_bytes += each.nbytes
            # Once something was written all goes the same way, in groups that leave room for the one being written.
            if self._held_bytes > self.budget // (2 if self._groups else 1):
                yield self._next_group()

    def _next_group(self) -> tuple[str, list[MemoryRun]]:
        group, self._held, self._held_bytes = self._held, [], 0
        self._groups += 1
        return os.path.join(self._folder(), f"run-{self._groups:06d}"), group

    def _write(self, item: tuple[str, list[MemoryRun]]) -> SpilledRun:
        path, group = item
        keys = [each.keys(0, len(each)) for each in group]
        order = argsort(concat(keys))
        try:
            with RunWriter(path, BLOCK) as writer:
                writer.add(KEYS, pieces([Part.of(each) for each in keys], order, BLOCK))
                for name in self.columns:
                    parts = [Part.of(each.take_out(name)) for each in group]
                    writer.add(name, pieces(parts, order, BLOCK))
                    del parts
                    release()
                return writer.finish()
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise
