"""Objects of a dataset made anew from the records of its source, where their bytes cannot be had again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import agd
from agd.dataset import Dataset
from agd.draft import Draft
from agd.manifest import Cell, Chunk, ColumnSpec
from agd.ops.digest import ALGORITHM, PRODUCT_COLUMNS
from agd.ops.verify import verify
from agd.run import Runner

#: Steps after which the ordinals of the records are not those of the source any more.
REORDERING = ("agd sort", "agd collate", "agd merge", "agd cat", "agd subset", "agd create")

_PRODUCTS = {column: product for product, column in PRODUCT_COLUMNS.items()} | {"bases": "seq", "results": "pos"}


def obstacle(dataset: Dataset, name: str, alignments: bool) -> str:
    """Why a column cannot be taken from a source by its values; "" where it can.

    Parameters
    ----------
    alignments : bool
        The source holds alignment lines, not reads.
    """
    manifest = dataset.manifest
    programs = [str(step.get("program", "")) for step in manifest.steps]
    moved = next((p for p in programs if p.startswith(REORDERING)), "")
    if moved:
        return f"'{moved}' has changed which record is where"
    if alignments != (manifest.names == "sam"):
        return "the source is of another kind than what was imported"
    part = "records" if alignments else "reads"
    noted = manifest.digest.get(part, {}) if manifest.digest.get("algorithm") == ALGORITHM else {}
    if _PRODUCTS.get(name, "") not in noted:
        return "the manifest notes no digest of it, so nothing tells whether the source's values are the lost ones"
    return ""


class Renewal:
    """Columns of the next generation: the objects that are sound, as they are, and those that were made anew.

    The columns get new keys, so that older generations see what they saw. Nothing is visible before :meth:`publish`.

    Parameters
    ----------
    dataset : Dataset
    sources : sequence of str
        For the history.
    """

    def __init__(self, dataset: Dataset, sources: Sequence[str], runner: Runner, command: str) -> None:
        self.dataset = dataset
        self.runner = runner
        self.cells: dict[str, dict[int, Cell]] = defaultdict(dict)
        self._parameters = {"from": list(sources)}
        self._command = command
        self._draft: Draft | None = None

    def add(self, chunk: Chunk, name: str, data: bytes, cell: Cell) -> None:
        """Store an object that was made anew."""
        if self._draft is None:
            plan = {"operation": "repair", "generation": self.dataset.manifest.generation, **self._parameters}
            self._draft = Draft.extend(self.dataset, {}, plan, reads=self.dataset.columns)
        spec = self.dataset.manifest.columns[name]
        self._draft.declare(name, ColumnSpec(spec.type, spec.codecs, spec.key.split("~")[0], spec.dtype))
        self._draft.store(name, chunk.first, data)
        self.cells[name][chunk.first] = cell

    def publish(self) -> str:
        """Publish the columns if every record of the dataset is then what was imported; else remove them.

        Returns
        -------
        str
            What is wrong; "" if they were published.
        """
        draft = self._draft
        assert draft is not None
        try:
            for name in self.cells:
                self._copy(draft, name)
            manifest = self.dataset.manifest
            columns = {**manifest.columns, **draft.columns}
            chunks = tuple(
                Chunk(c.first, c.count, {n: self._cell(c, n) for n in c.cells}) for c in self.dataset.chunks
            )  # fmt: skip
            trial = manifest.next(columns=columns, chunks=chunks, retired=manifest.retiring(columns))
            problems = verify(Dataset(self.dataset.storage, trial), deep=True, runner=self.runner).problems
            if problems:
                draft.abandon()
                return str(problems[0])
            step = {
                "program": "agd repair", "version": agd.__version__, "command": self._command,
                "parameters": {**self._parameters, "columns": sorted(self.cells)},
            }  # fmt: skip
            mine = [Chunk(c.first, c.count, {n: c.cells[n] for n in self.cells if n in c.cells}) for c in chunks]
            draft.commit(mine, steps=(step,))
        except BaseException as error:
            draft.failed(error)
            raise
        return ""

    def discard(self) -> None:
        """Remove what was stored."""
        if self._draft is not None:
            self._draft.abandon()

    def _cell(self, chunk: Chunk, name: str) -> Cell:
        return self.cells[name][chunk.first] if chunk.first in self.cells.get(name, {}) else chunk.cells[name]

    def _copy(self, draft: Draft, name: str) -> None:
        storage, manifest = self.dataset.storage, self.dataset.manifest

        def copy(chunk: Chunk) -> None:
            draft.store(name, chunk.first, storage.get(manifest.object_key(name, chunk.first)))

        others = [c for c in self.dataset.chunks if name in c.cells and c.first not in self.cells[name]]
        for _ in self.runner.map(copy, others, on="io"):
            pass
