"""Duplicates of records that are being merged: what tells them is taken on the way, nothing stored is read again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agd.batch import I64, Batch, Column
from agd.kernels.ragged import concat
from agd.manifest import Chunk
from agd.ops.dedup_ends import Extraction
from agd.ops.dedup_find import Finder
from agd.ops.dedup_load import names_of
from agd.ops.dedup_marks import marks_spec, store_marks
from agd.ops.sort import Sorting
from agd.ops.sort_gather import gather
from agd.ops.sort_merge import Run
from agd.ops.sort_split import Window, merge_order


class MergedDuplicates:
    """Watches the chunks of a merge (see :class:`agd.ops.sort_merge.Watch`), then marks their duplicates.

    Parameters
    ----------
    records : int
        That are merged.
    extraction : Extraction
        Of alignment lines without a column of tags.
    folder : str or None
        For temporary files; None: all is kept in memory.
    """

    columns: tuple[str, ...] = ("qualities", "metadata", "results")

    def __init__(self, records: int, extraction: Extraction, folder: str | None) -> None:
        self.extraction = extraction
        self.finder = Finder(records, extraction, 0, folder)

    def see(self, batch: Batch) -> None:
        """Take a chunk of the output."""
        self.finder.add(batch)

    def mark(self, sorting: Sorting, chunks: Sequence[Chunk], runs: Sequence[Run]) -> list[Chunk]:
        """Find the duplicates and store the marks; the chunks with their cells of the column ``duplicates`` too.

        Parameters
        ----------
        sorting : Sorting
            That has merged ``runs`` into ``chunks``.
        """
        draft = sorting.draft
        self.finder.find(lambda ordinals: self._names(ordinals, sorting, runs), sorting.runner, sorting.progress)
        draft.declare("duplicates", marks_spec("duplicates"))
        marked = store_marks(draft, "duplicates", self.finder, chunks, sorting.runner)
        return [Chunk(c.first, c.count, {**c.cells, **m.cells}) for c, m in zip(chunks, marked, strict=True)]

    def _names(self, ordinals: I64, sorting: Sorting, runs: Sequence[Run]) -> Column:
        """Names of merged records, whose ordinals ascend, from the runs."""
        def work(part: tuple[Window, I64]) -> Column:
            window, records = part
            present, order = merge_order(runs, window.low, window.high)
            parts = [runs[i].part("metadata", window.low[i], window.high[i]) for i in present]
            return names_of(gather(parts, order[records]), self.extraction, np.arange(len(records)))

        parts = []
        for window in sorted(sorting.windows, key=lambda w: w.first):
            begin, end = np.searchsorted(ordinals, [window.first, window.first + sum(window.counts)])
            if end > begin:
                parts.append((window, ordinals[begin:end] - window.first))
        return concat(list(sorting.runner.map(work, parts, on="cpu")))
