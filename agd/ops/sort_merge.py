"""From sorted runs to the chunks of a dataset, each window of chunks on its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from agd.batch import AnyColumn, Batch, Column
from agd.codecs import PackedBases
from agd.draft import Draft
from agd.kernels import alignments as structured
from agd.manifest import Cell, Chunk
from agd.ops.sort_files import Place, place, remove_file
from agd.ops.sort_gather import PackedPart, Part, Places, gather, gather_at, gather_packed
from agd.ops.sort_plan import SortPlan
from agd.ops.sort_runs import KEYS, MemoryRun, RunWriter, SpilledRun
from agd.ops.sort_split import Cut, Window, merge_order, windows
from agd.run import Progress, Runner
from agd.run.memory import release
from agd.types import RecordType

Run: TypeAlias = MemoryRun | SpilledRun
T = TypeVar("T")


class Merged(NamedTuple):
    """Chunks of a window: what is to be stored, and the entries of the manifest."""

    chunks: list[Chunk]
    objects: list[tuple[str, int, bytes]]
    kept: int


class Watch(Protocol):
    """Looks at chunks while they are merged.

    Attributes
    ----------
    columns : tuple of str
        That it looks at, where the output has them.
    """

    columns: tuple[str, ...]

    def see(self, batch: Batch) -> None:
        """Look at a chunk; called from any thread, for chunks in any order."""
        ...


class Origins:
    """Where the records of windows come from, which is the same for all columns.

    Parameters
    ----------
    keep : bool
        Remember them: the same windows will be merged with other columns.
    """

    def __init__(self, keep: bool) -> None:
        self._keep = keep
        self._known: dict[int, tuple[Cut, Places]] = {}

    def of(self, runs: Sequence[Run], window: Window) -> tuple[Cut, Places]:
        """Runs that have records in a window, and which ones of these its records are."""
        known = self._known.get(window.first)
        if known is None:
            present, order = merge_order(runs, window.low, window.high)
            known = present, Places.of([window.high[i] - window.low[i] for i in present], order)
            if self._keep:
                self._known[window.first] = known
        return known


def merge_window(
    draft: Draft, runs: Sequence[Run], window: Window, columns: Sequence[str], origins: Origins,
    watch: Watch | None = None,
) -> Merged:  # fmt: skip
    """Merge some columns of a window and encode its chunks; cells that an earlier run has finished are kept."""
    firsts = [window.first]
    for count in window.counts:
        firsts.append(firsts[-1] + count)
    cells: list[dict[str, Cell]] = [
        {name: cell for name in columns if (cell := draft.finished(name, first, count)) is not None}
        for first, count in zip(firsts, window.counts, strict=False)
    ]
    kept = sum(len(found) for found in cells)
    objects: list[tuple[str, int, bytes]] = []
    watched: list[dict[str, AnyColumn]] = [{} for _ in cells]
    looked_at = watch.columns if watch else ()
    todo = [name for name in columns if name in looked_at or not all(name in found for found in cells)]
    if todo:
        present, places = origins.of(runs, window)
    for name in todo:
        parts = [_part(runs[i], name, window.low[i], window.high[i]) for i in present]
        for found, seen, first, end in zip(cells, watched, firsts, firsts[1:], strict=False):
            if name in found and name not in looked_at:
                continue
            piece = _piece(parts, places.slice(first - window.first, end - window.first), name, draft)
            if name in looked_at:
                assert not isinstance(piece, PackedBases)
                seen[name] = piece
            if name not in found:
                data, found[name] = draft.encode(name, first, piece)
                objects.append((name, first, data))
                del data
            del piece
        if isinstance(runs[0], SpilledRun):
            del parts
            release()
    if watch:
        for seen, first in zip(watched, firsts, strict=False):
            watch.see(Batch(first, seen))
    chunks = [Chunk(f, n, c) for f, n, c in zip(firsts, window.counts, cells, strict=False)]
    return Merged(chunks, objects, kept)


def _part(run: Run, column: str, start: int, stop: int) -> Part | PackedPart:
    return run.any_part(column, start, stop) if isinstance(run, MemoryRun) else run.part(column, start, stop)


def _piece(
    parts: Sequence[Part | PackedPart], places: Places, name: str, draft: Draft
) -> AnyColumn | PackedBases:
    """A column of a chunk, as the codecs take it."""
    packed = [part for part in parts if isinstance(part, PackedPart)]
    if packed:
        return gather_packed(packed, places)
    plain = [part for part in parts if isinstance(part, Part)]
    return unpack(gather_at(plain, places, complement=name == "bases"), draft.columns[name].type)


def unpack(column: Column, kind: RecordType) -> AnyColumn:
    """A column as the codecs take it: alignments are rows in a run."""
    return structured.unpack(column) if kind is RecordType.STRUCTURED else column


class Begun(Generic[T]):
    """Results of a stage whose first one may be waited for before the others are asked for: the stage is at work then.

    Parameters
    ----------
    made : iterator
    """

    def __init__(self, made: Iterator[T]) -> None:
        self._made = made
        self._first: list[T] = []

    def begin(self) -> None:
        """Wait for the first result."""
        self._first = list(itertools.islice(self._made, 1))

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        return self._first.pop() if self._first else next(self._made)

    def close(self) -> None:
        """Stop the stage."""
        if isinstance(self._made, Generator):
            self._made.close()


def collect(progress: Progress, label: str, total: int | None, made: Iterator[T], count: Callable[[T], int]) -> list[T]:
    """All results of a stage; when it fails, none of its tasks is at work any more once the error goes up."""
    progress.begin(label, total)
    found = []
    try:
        for item in made:
            progress.advance(count(item))
            found.append(item)
    finally:
        if isinstance(made, (Generator, Begun)):
            made.close()
    progress.end()
    return found


class FewerRuns(NamedTuple):
    """Runs that can be merged at one time.

    Attributes
    ----------
    runs : list of SpilledRun
    passes : int
        Times that all records were merged to come to them.
    spilled : int
        Bytes of temporary files that were written.
    """

    runs: list[SpilledRun]
    passes: int
    spilled: int


def fewer_runs(
    runs: list[SpilledRun], columns: Sequence[str], folder: Place, layout: SortPlan, runner: Runner, progress: Progress
) -> FewerRuns:
    """Merge consecutive runs until so few are left as can be merged at one time."""
    passes = spilled = 0
    while len(runs) > layout.fan_in:
        groups = [runs[i : i + layout.fan_in] for i in range(0, len(runs), layout.fan_in)]

        def work(item: tuple[int, list[SpilledRun]], passes: int = passes + 1) -> SpilledRun:
            file = place(folder, f"pass-{passes}-{item[0]:06d}")
            return merge_runs(item[1], columns, file, layout.block, layout.window)

        made = runner.map(work, enumerate(groups), on="cpu", ahead=layout.ahead(layout.mergers, runner))
        runs = collect(progress, "merge", sum(map(len, runs)), made, len)
        spilled += sum(run.nbytes for run in runs)
        passes += 1
    return FewerRuns(runs, passes, spilled)


def merge_runs(runs: Sequence[SpilledRun], columns: Sequence[str], path: Place, block: int, window: int) -> SpilledRun:
    """One run from several consecutive ones, which are removed."""
    size = -(-window // block) * block
    cuts = list(windows(runs, size, 1 << 62, (), 0))
    try:
        with RunWriter(path, block) as writer:
            for name in (KEYS, *columns):
                writer.add(name, merged_pieces(runs, cuts, name, block))
            merged = writer.finish()
    except BaseException:
        remove_file(path)
        raise
    for run in runs:
        run.remove()
    return merged


def merged_pieces(runs: Sequence[SpilledRun], cuts: Sequence[Window], name: str, block: int) -> Iterator[Column]:
    """A column of the merged sequence, block by block."""
    for cut in cuts:
        present, order = merge_order(runs, cut.low, cut.high)
        if name == KEYS:
            column = gather([Part.of(runs[i].keys(cut.low[i], cut.high[i])) for i in present], order)
        else:
            column = gather([runs[i].part(name, cut.low[i], cut.high[i]) for i in present], order)
        for at in range(0, len(column), block):
            yield column.slice(at, min(at + block, len(column)))
