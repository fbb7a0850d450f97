"""Write some records of a dataset into a new one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import agd
from agd import kernels
from agd.batch import I64, AnyColumn, Batch, Column
from agd.cell import independent_codecs
from agd.dataset import Dataset
from agd.draft import Draft
from agd.errors import UsageError
from agd.manifest import Chunk, ColumnSpec
from agd.marks import unmarked
from agd.ops.digest import Digest, digest_records
from agd.ops.handover import Arrays, Handover
from agd.ops.lines import is_lines, read_names, to_records
from agd.ops.recut import Cutter, Plan, joined, plans, recut, sizes_of
from agd.ops.scan import chunk_bytes, scan
from agd.ops.select import Selection
from agd.run import SILENT, Progress, Runner, SerialRunner, ThreadRunner, in_flight, local_runner
from agd.target import check_chunk_size
from agd.types import DEFAULT_CHUNK_BYTES, DEFAULT_CHUNK_RECORDS, Flag, Orientation


@dataclass(frozen=True, slots=True)
class SubsetReport:
    """What was written.

    Attributes
    ----------
    output : str
    records : int
        Of the new dataset.
    of : int
        Of the old one.
    seconds : float
    """

    output: str
    records: int
    of: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


class NameCondition:
    """Chooses records by their names: from a list, or a share of all names by chance; mates stay together.

    Parameters
    ----------
    names : str
        What the metadata column holds, see :class:`agd.manifest.Manifest`.
    wanted : sequence of str, optional
        Names of reads. Default: any.
    fraction : float
        Share of the names, 0 to 1.
    seed : int
        Another seed gives another share; the same seed the same one, in any order of the records.

    Raises
    ------
    UsageError
        The fraction is none.
    """

    def __init__(self, names: str, wanted: Sequence[str] | None, fraction: float, seed: int) -> None:
        if not 0 <= fraction <= 1:
            raise UsageError(f"{fraction} is no share of the reads", "give a fraction from 0 to 1")
        self.columns = ["metadata"]
        self._names = names
        self._limit = fraction * 2.0**53
        self._seed = seed
        self._wanted: Any = None
        if wanted is not None:
            column = Column.from_list([name.encode("utf-8", "surrogateescape") for name in wanted])
            assert column.offsets is not None
            self._wanted = np.unique(self._hash(column, column.offsets[:-1], column.offsets[1:]), axis=0)

    def _hash(self, column: Column, starts: Any, ends: Any) -> Any:
        """128 bits of each name: uint64, shape (records, 2)."""
        rows = np.empty((2, len(starts)), np.uint64)
        kernels.hash_spans(column.values, np.ascontiguousarray(starts), np.ascontiguousarray(ends), rows[0], rows[1])
        return rows.T

    def mask(self, lines: Batch) -> Any:
        """See :class:`agd.selection.Condition`."""
        metadata = lines.ragged("metadata")
        paired = (lines.alignments().flag & np.uint16(Flag.PAIRED)) != 0
        rows = self._hash(metadata, *read_names(metadata, self._names, paired))
        chosen = np.ones(len(lines), np.bool_)
        if self._wanted is not None:
            at = np.searchsorted(self._wanted[:, 0], rows[:, 0])
            at = np.minimum(at, max(0, len(self._wanted) - 1))
            chosen &= (self._wanted[at] == rows).all(axis=1) if len(self._wanted) else False
        if self._limit < 2.0**53:
            # One more round of mixing, in which the seed takes part.
            seed = np.uint64(self._seed * 0x9E3779B97F4A7C15 % (1 << 64))
            mixed = (rows[:, 0] ^ seed) * np.uint64(0xBF58476D1CE4E5B9)
            mixed = (mixed ^ (mixed >> np.uint64(31))) * np.uint64(0x94D049BB133111EB)
            mixed ^= mixed >> np.uint64(29)
            chosen &= (mixed >> np.uint64(11)).astype(np.float64) < self._limit
        return chosen


class _BothMates:
    """Of reads that lie in pairs, those of which both meet conditions: half a pair would make pairs of strangers."""

    def __init__(self, conditions: Selection) -> None:
        self.columns = conditions.columns
        self._conditions = conditions

    def mask(self, lines: Batch) -> Any:
        """See :class:`agd.selection.Condition`."""
        one = self._conditions.mask(lines)
        return np.repeat(one[0::2] & one[1::2], 2)


def subset(
    dataset: Dataset, output: str | os.PathLike[str], *, selection: Selection, plan: dict[str, Any] | None = None,
    chunk_records: int = DEFAULT_CHUNK_RECORDS, overwrite: bool = False, runner: Runner | None = None,
    memory: int | None = None, progress: Progress = SILENT, command: str = "",
) -> SubsetReport:
    """Write the wanted records, in their order, one record per alignment line, with all their columns.

    Parameters
    ----------
    selection : Selection
        Of reads that lie in pairs and are not aligned, those are wanted whose mates are, too.
    plan : dict, optional
        What makes this selection, as JSON; for provenance and for taking up a stopped run.

    Raises
    ------
    UsageError
        Reads that were never sorted: their further alignments have no records of their own.
    """
    start = time.perf_counter()
    check_chunk_size(chunk_records)
    runner = runner or ThreadRunner()
    manifest = dataset.manifest
    reads = manifest.orientation is Orientation.READ and "results" not in manifest.columns
    if not reads and not is_lines(manifest):
        raise UsageError(f"{dataset.url}: some alignments have no records of their own", "sort it first: 'agd sort'")
    if manifest.pairing == "interleaved":
        chunk_records += chunk_records % 2
        if not selection.everything:
            selection = Selection(expression=_BothMates(selection))
    old, names = manifest.columns, dataset.columns
    specs = {n: ColumnSpec(old[n].type, independent_codecs(n, old[n]), n, old[n].dtype) for n in names}
    steps = {"operation": "subset", "id": manifest.id, "generation": manifest.generation,
             "chunk_records": chunk_records, **(plan or {})}  # fmt: skip
    draft = Draft.create(
        output, specs, steps, orientation=manifest.orientation, overwrite=overwrite, inputs=[dataset]
    )
    ahead = in_flight(runner, memory, 6 * chunk_bytes(dataset, names))
    chunks: list[Chunk] = []
    digest = Digest()

    def encode(part: Batch) -> tuple[Chunk, dict[str, bytes], Digest]:
        made = {name: draft.encode(name, part.first, column) for name, column in _stored(part, names).items()}
        found = digest_records(to_records(part, manifest.names), alignments=not reads)
        chunk = Chunk(part.first, len(part), {name: cell for name, (_, cell) in made.items()})
        return chunk, {name: data for name, (data, _) in made.items()}, found

    def store(done: tuple[Chunk, dict[str, bytes], Digest]) -> tuple[Chunk, Digest]:
        chunk, blobs, found = done
        for name, data in blobs.items():
            draft.store(name, chunk.first, data)
        return chunk, found

    progress.begin("subset", None, "records")
    try:
        cutter = Cutter(chunk_records, DEFAULT_CHUNK_BYTES, 2 if manifest.pairing == "interleaved" else 1)
        parts: Iterable[Batch]
        if local_runner(runner) is runner:
            parts = recut(scan(dataset, _same, runner=runner, ahead=ahead, columns=names, selection=selection), cutter)
        else:
            source = _Source(dataset, selection)
            portions = source.portions(Handover.of(runner, draft.storage), runner, ahead, chunk_records)
            parts = runner.map(source.batch, plans(portions, cutter), on="io", ahead=ahead)
        encoded = runner.map(encode, parts, on="cpu", ahead=ahead)
        for chunk, found in runner.map(store, encoded, on="io", ahead=ahead):
            chunks.append(chunk)
            digest.add(found)
            progress.advance(chunk.count)
        step = {"program": "agd subset", "version": agd.__version__, "command": command, "parameters": plan or {}}
        result = draft.commit(
            chunks, names=manifest.names, pairing=manifest.pairing, sort_order=manifest.sort_order,
            header=manifest.header, references=manifest.references, steps=(*manifest.steps, step),
            digest=digest.to_json(),
        )  # fmt: skip
    except BaseException as error:
        draft.failed(error)
        raise
    finally:
        progress.end()
    return SubsetReport(result.url, len(result), len(dataset), time.perf_counter() - start)


def _same(lines: Batch) -> Batch:
    return lines


def _stored(lines: Batch, names: Sequence[str]) -> dict[str, AnyColumn]:
    """Columns of lines as they are stored: marks of duplicates stand in a column of their own, not in the flags too."""
    columns = {name: lines[name] for name in names}
    if "duplicates" in columns and "results" in columns:
        alignments = lines.alignments()
        columns["results"] = alignments.replace(flag=unmarked(alignments.flag))
    return columns


class _Source:
    """The wanted records, for workers that are processes of their own: each one reads those of its chunks."""

    def __init__(self, dataset: Dataset, selection: Selection) -> None:
        self.dataset, self.selection = dataset, selection

    def portions(
        self, handover: Handover, runner: Runner, ahead: int, chunk_records: int
    ) -> Iterator[tuple[int, I64]]:
        """Ordinal of each chunk that is read, and bases of each wanted record of it: 0 if none of them cuts a chunk."""
        longest = [c.cells["bases"].statistics.get("max_length") for c in self.dataset.chunks if "bases" in c.cells]
        cut_by_bases = any(n is None or n * chunk_records >= DEFAULT_CHUNK_BYTES for n in longest)

        def measure(lines: Batch) -> tuple[int, int, Arrays | str]:
            given = handover.give(lines.first, {"sizes": sizes_of(lines)}) if cut_by_bases and len(lines) else ""
            return lines.first, len(lines), given

        columns = ["bases"] if cut_by_bases else []
        measured = scan(
            self.dataset, measure, runner=runner, ahead=ahead, columns=columns, selection=self.selection
        )
        for number, count, given in measured:
            yield number, handover.take(given)["sizes"] if given else np.zeros(count, np.int64)

    def batch(self, plan: Plan) -> Batch:
        """The records of a chunk of the output."""
        wanted = {number: (start, stop) for number, start, stop in plan.pieces}
        chunks = [chunk for chunk in self.dataset.chunks if chunk.first in wanted]
        found = scan(
            self.dataset, _same, runner=SerialRunner(), columns=self.dataset.columns, selection=self.selection,
            only=chunks,
        )  # fmt: skip
        return joined(plan.first, [batch.slice(*wanted[batch.first]) for batch in found])
