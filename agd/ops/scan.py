"""Walk over the alignment lines of a dataset, chunk by chunk, on all processors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from agd.batch import Batch
from agd.dataset import Dataset
from agd.kernels.ragged import take_batch
from agd.manifest import Chunk
from agd.ops.lines import secondary_columns, to_lines
from agd.ops.select import Selection
from agd.run import Runner

T = TypeVar("T")


def line_columns(dataset: Dataset, wanted: Sequence[str] | None = None) -> list[str]:
    """Columns that are needed to make alignment lines with the columns ``wanted`` (None: all of SAM)."""
    have = dataset.columns
    names = ["metadata", "bases", "qualities", "tags"] if wanted is None else list(wanted)
    extra = secondary_columns(have)
    needed = [name for name in names if name in have]
    return list(dict.fromkeys([*needed, *(["results"] if "results" in have else []), *extra])) or have[:1]


def scan(
    dataset: Dataset, fn: Callable[[Batch], T], *, runner: Runner, ahead: int | None = None,
    columns: Sequence[str] | None = None, selection: Selection | None = None, only: Iterable[Chunk] | None = None,
) -> Iterator[T]:
    """Apply ``fn`` to the wanted alignment lines of every chunk, in order.

    Parameters
    ----------
    fn : callable
        Takes a :class:`agd.batch.Batch` of alignment lines (``results`` always among its columns); runs on the
        runner's processors, as one task with decoding.
    columns : sequence of str, optional
        Columns besides the alignments. Default: all that SAM has.
    selection : Selection, optional
        Chunks whose statistics say that they hold nothing wanted are not even fetched.
    only : iterable of Chunk, optional
        These chunks, whatever the statistics say.

    Yields
    ------
    What ``fn`` returns, one result for each chunk that was read.
    """
    selection = selection or Selection()
    needed = line_columns(dataset, columns)
    needed += [name for name in selection.columns if name in dataset.columns and name not in needed]

    def fetch(chunk: Chunk) -> tuple[Chunk, dict[str, bytes]]:
        return chunk, dataset.fetch(chunk, needed)

    def work(fetched: tuple[Chunk, dict[str, bytes]]) -> T:
        chunk, blobs = fetched
        paired = dataset.manifest.pairing == "interleaved"
        lines = to_lines(dataset.decode(chunk, blobs, needed), dataset.orientation, paired)
        blobs.clear()  # the runner holds on to the item until all is done with it
        if not selection.everything:
            mask = selection.mask(lines)
            if not mask.all():
                lines = take_batch(lines, np.flatnonzero(mask), lines.first)
        return fn(lines)

    chunks = selection.chunks(dataset) if only is None else only
    fetched = runner.map(fetch, chunks, on="io", ahead=ahead)
    # Beside those at work one that is done, or waits: more only take memory.
    at_work = None if ahead is None else min(ahead, runner.workers + 1)
    yield from runner.map(work, fetched, on="cpu", ahead=at_work)


def chunk_bytes(dataset: Dataset, columns: Sequence[str] | None = None) -> int:
    """Rough bytes of the largest chunk once decoded, for the memory budget."""
    names = line_columns(dataset, columns)
    worst = 0
    for chunk in dataset.chunks:
        total = chunk.count * 200
        for name in names:
            if name in chunk.cells:
                entry = chunk.cells[name]
                total += int(entry.statistics.get("total", 0)) or 6 * entry.bytes
        worst = max(worst, total)
    return worst
