"""Sort a dataset: an external merge sort whose merge runs on all processors."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import agd
from agd.cell import default_spec, independent_codecs
from agd.codecs import Chain
from agd.dataset import Dataset
from agd.draft import Draft
from agd.errors import UsageError
from agd.kernels import memory as arrays
from agd.manifest import Chunk, ColumnSpec
from agd.ops.sort_files import Place, place, stored_folder
from agd.ops.sort_keys import Ordering
from agd.ops.sort_load import Fetched, Loaded, Loader
from agd.ops.sort_merge import Begun, Merged, Origins, Run, Watch, collect, fewer_runs, merge_window
from agd.ops.sort_plan import STORING, SortPlan, plan
from agd.ops.sort_runs import SpilledRun
from agd.ops.sort_spill import default_folder, spill_folder
from agd.ops.sort_split import Window, windows
from agd.run import SILENT, Progress, Runner, ThreadRunner, local_runner, memory_of
from agd.run.memory import give_back
from agd.target import check_chunk_size
from agd.types import DEFAULT_CHUNK_BYTES, DEFAULT_CHUNK_RECORDS, Orientation
from agd.urls import Url, as_text

if TYPE_CHECKING:
    from agd.ops.partition import Partition


@dataclass(frozen=True, slots=True)
class SortReport:
    """What a sort did.

    Attributes
    ----------
    output : str
        Where the sorted dataset is.
    by : str
        The order.
    records : int
        Records (alignment lines) of the output.
    chunks : int
        Chunks of the output.
    runs : int
        Sorted runs that were merged.
    passes : int
        Times that the records were merged; more than 1 only if memory is very short.
    spilled_bytes : int
        Bytes of temporary files; 0 when all fitted into memory.
    kept : int
        Objects that an earlier, stopped run had finished.
    seconds : float
        Wall time.
    """

    output: str
    by: str
    records: int
    chunks: int
    runs: int
    passes: int
    spilled_bytes: int
    kept: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The report as JSON."""
        return asdict(self)


def sort(
    dataset: Dataset, output: Url, *, by: str = "coordinate",
    chunk_records: int = DEFAULT_CHUNK_RECORDS, chunk_bytes: int = DEFAULT_CHUNK_BYTES, tmp: Url | None = None,
    codecs: Mapping[str, list[dict[str, Any]]] | None = None, profile: str | None = None, overwrite: bool = False,
    partition: Partition | None = None, runner: Runner | None = None, memory: int | None = None,
    progress: Progress = SILENT, command: str = "", step: Mapping[str, Any] | None = None,
    **options: Any,
) -> SortReport:
    """Write a sorted copy of a dataset, one record per alignment line, bases as in SEQ.

    Records of equal keys stay in the order of the input. The result depends neither on the memory nor on the number of
    workers.

    Parameters
    ----------
    dataset : Dataset
        Aligned or not; never changed.
    output : str or path
        Url of the new dataset.
    by : str
        ``coordinate``, ``queryname`` (natural), ``queryname-lexicographic``, ``template-coordinate`` or ``tag:XX``:
        exactly the orders of samtools sort (none, ``-n``, ``-N``, ``--template-coordinate``, ``-t XX``).
    chunk_records, chunk_bytes : int
        Chunks of the output have this many records; one is closed early by the record with which a column reaches
        ``chunk_bytes``.
    tmp : str or path, optional
        Local folder for temporary files. Default: beside a local output, the system's for remote ones.
    codecs : mapping of str to list of dict, optional
        Codec chain of some of the columns. Default: those of the input.
    profile : str, optional
        "fast", "balanced" or "small": the other columns are stored with its codecs, chosen on a sample of every chunk,
        but for those that need a reference (:func:`agd.ops.recompress.recompress`).
    overwrite : bool
        Remove a dataset that is at ``output``.
    partition : Partition, optional
        Write this part of the output's chunks only (every part reads the whole input);
        :func:`agd.ops.finalise.finalise` publishes when all parts are done.
    runner : Runner, optional
        Default: threads on all processors.
    memory : int, optional
        Bound on the peak resident set of the process, bytes. Default: see :func:`agd.run.default_memory`.
    progress : Progress
    command : str
        Command line for the provenance.
    step : mapping, optional
        ``program`` and ``parameters`` for the provenance. Default: those of a sort.
    **options
        For fsspec, about the output.

    Returns
    -------
    SortReport

    Raises
    ------
    UsageError
        The order is not known or its column is missing; the memory is too little; the output is the input.
    DatasetExistsError
        There is a dataset at ``output``.

    Examples
    --------
    >>> report = agd.sort(agd.open("run.agd"), "by-name.agd", by="queryname")
    >>> agd.open("by-name.agd").manifest.sort_order.value
    'queryname:natural'
    """
    begun = time.monotonic()
    check_chunk_size(chunk_records, chunk_bytes)
    url = os.fspath(output)
    if partition and overwrite:
        raise UsageError("a part of a sort cannot overwrite: other parts may be there", "remove the old output first")
    ordering = Ordering.of(by, dataset.manifest)
    loader = Loader(dataset, ordering)
    specs = output_specs(dataset, loader.columns, codecs or {})
    with contextlib.ExitStack() as stack:
        if runner is None:
            runner = stack.enter_context(ThreadRunner())
        layout = plan(
            dataset, loader.columns, ordering, runner, memory_of(runner, memory), chunk_records, chunk_bytes
        )  # fmt: skip
        parameters: dict[str, Any] = {"by": by, "chunk_records": chunk_records, "chunk_bytes": chunk_bytes}
        if profile:
            parameters["profile"] = profile
        draft = Draft.create(
            url, specs, _plan(dataset, specs, parameters), orientation=Orientation.SEQ, overwrite=overwrite,
            profile=profile, chosen=codecs or (), inputs=[dataset], **options,
        )  # fmt: skip
        sorting = Sorting(loader.columns, draft, layout, runner, progress, chunk_records, chunk_bytes, partition)
        try:
            chunks = sorting.run(loader, stack, as_text(tmp), default_folder(url))
            manifest = dataset.manifest
            done = {"program": "agd sort", "parameters": parameters, **(step or {})}
            done |= {"version": agd.__version__, "command": command}
            fields: dict[str, Any] = {
                "names": manifest.names, "sort_order": ordering.sort_order, "header": ordering.header(manifest.header),
                "references": manifest.references, "steps": (*manifest.steps, done), "sources": manifest.sources,
                "digest": manifest.digest,
            }  # fmt: skip
            if partition:
                from agd.ops.partition import set_aside

                set_aside(draft, partition, chunks, sorting.total, **fields)
            else:
                draft.commit(chunks, **fields)
        except BaseException as error:
            draft.failed(error, part=partition is not None)
            raise
    return SortReport(
        output=url, by=by, records=sum(c.count for c in chunks), chunks=len(chunks), runs=len(layout.groups),
        passes=sorting.passes, spilled_bytes=sorting.spilled, kept=sorting.kept,
        seconds=round(time.monotonic() - begun, 3),
    )  # fmt: skip


def output_specs(
    dataset: Dataset, columns: Sequence[str], codecs: Mapping[str, list[dict[str, Any]]]
) -> dict[str, ColumnSpec]:
    """How the columns of the output are stored."""
    for name in codecs:
        if name not in columns:
            raise UsageError(f"there is no column {name!r} to choose codecs for", f"there are: {', '.join(columns)}")
        Chain.from_json(codecs[name], name)  # what is wrong with it is said before the work begins
    specs = {}
    for name in columns:
        old = dataset.manifest.columns.get(name) or default_spec(name)
        specs[name] = ColumnSpec(old.type, list(codecs.get(name, independent_codecs(name, old))), name, old.dtype)
    return specs


def _plan(dataset: Dataset, specs: Mapping[str, ColumnSpec], parameters: Mapping[str, Any]) -> dict[str, Any]:
    source = {"id": dataset.manifest.id, "generation": dataset.manifest.generation, "records": len(dataset)}
    columns = {name: spec.codecs for name, spec in specs.items()}
    return {"operation": "sort", "input": source, "columns": columns, **parameters}


def _and_then(windows: Iterable[Window], then: Callable[[], None]) -> Iterator[Window]:
    yield from windows
    then()


class Sorting:
    """The phases of one sort, and what they count.

    Attributes
    ----------
    watch : Watch or None
        Looks at the chunks of the output.
    windows : list of Window
        How the output was merged.
    passes, spilled, kept : int
        As in :class:`SortReport`.
    """

    def __init__(
        self, columns: Sequence[str], draft: Draft, layout: SortPlan, runner: Runner, progress: Progress,
        chunk_records: int, chunk_bytes: int, partition: Partition | None = None,
    ) -> None:
        self.partition, self.total = partition, 0
        self.columns, self.draft, self.layout, self.runner, self.progress = columns, draft, layout, runner, progress
        self.chunk_records, self.chunk_bytes = chunk_records, chunk_bytes
        self.watch: Watch | None = None
        self.windows: list[Window] = []
        self.origins = Origins(keep=len(layout.columns) > 1)
        self.passes, self.spilled, self.kept = 1, 0, 0

    def run(self, loader: Loader, stack: contextlib.ExitStack, tmp: str | None, default: str) -> list[Chunk]:
        """Sort a dataset; the chunks of the output."""
        if not self.layout.spill:
            return self._in_memory(loader)
        folder: Place
        if tmp is None and local_runner(self.runner) is not self.runner:
            folder = stack.enter_context(stored_folder(self.draft.storage))  # what all machines see
        else:
            folder = stack.enter_context(spill_folder(tmp or default))
        return self.merge(self.fewer(self._spill(loader, folder), folder))

    def _in_memory(self, loader: Loader) -> list[Chunk]:
        """Sort one group of columns after the other, so that only one of the large columns is in memory."""
        groups = self.layout.columns or (tuple(loader.columns),)
        chunks: list[Chunk] = []
        loading: Iterator[Loaded] = self._load(loader, groups[0], [])
        for columns, following in itertools.zip_longest(groups, groups[1:]):
            label = f"load {', '.join(columns)}" if chunks else "load"
            loaded = collect(self.progress, label, len(loader.dataset), loading, lambda each: len(each.run))
            runs = [each.run for each in loaded]
            if following:
                bare = [each._replace(run=each.run.with_columns({})) for each in loaded]
                loading = begun = Begun(self._load(loader, following, bare))
                try:
                    # Who has nothing to merge any more loads what comes next.
                    made = self.merge(runs, columns, begun.begin)
                except BaseException:
                    begun.close()
                    raise
            else:
                made = self.merge(runs, columns)
            chunks = [
                replace(one, cells={**one.cells, **two.cells}) for one, two in zip(chunks or made, made, strict=True)
            ]
            del loaded, runs
        give_back(self.runner)
        return chunks

    def _load(self, loader: Loader, columns: Sequence[str], before: Sequence[Loaded]) -> Iterator[Loaded]:
        """All chunks as runs with these columns; ``before``: with those that are not needed any more."""
        chunks = [group[0] for group in self.layout.groups]
        later = [name for group in self.layout.columns[1:] for name in group]
        names = columns if before else [name for name in loader.dataset.columns if name not in later]

        def fetched() -> Iterator[tuple[Fetched, Loaded | None]]:
            found = self.runner.map(
                lambda chunk: loader.fetch([chunk], names)[0], chunks, on="io", ahead=self.layout.loaders
            )
            yield from zip(found, before or itertools.repeat(None), strict=False)

        # Who looks at bases looks at letters.
        packed = self.draft.keeps_packed("bases") and not (self.watch and "bases" in self.watch.columns)
        if packed and before and "bases" in columns:
            arrays.release()  # what was kept is too large for them
        return iter(self.runner.map(
            lambda item: loader.load(item[0], columns, item[1], packed=packed), fetched(), on="cpu",
            ahead=self._ahead("loaders"),
        ))  # fmt: skip

    def _fetched(self, loader: Loader) -> Iterable[list[Fetched]]:
        """The chunks of each run, with their objects if they are to be fetched before."""
        if not self.layout.prefetch:
            return [[Fetched(chunk) for chunk in group] for group in self.layout.groups]
        return self.runner.map(loader.fetch, self.layout.groups, on="io", ahead=self.layout.loaders)

    def _spill(self, loader: Loader, folder: Place) -> list[SpilledRun]:
        block = self.layout.block

        def work(group: list[Fetched]) -> SpilledRun:
            return loader.spilled_run(group, place(folder, f"run-{group[0].chunk.first:012d}"), block)

        made = self.runner.map(work, self._fetched(loader), on="cpu", ahead=self._ahead("loaders"))
        runs = collect(self.progress, "sort", len(loader.dataset), made, len)
        self.spilled += sum(run.nbytes for run in runs)
        return runs

    def fewer(self, runs: list[SpilledRun], folder: Place) -> list[SpilledRun]:
        """Merge consecutive runs until so few are left as can be merged at one time."""
        found = fewer_runs(runs, self.columns, folder, self.layout, self.runner, self.progress)
        self.passes += found.passes
        self.spilled += found.spilled
        return found.runs

    def merge(
        self, runs: Sequence[Run], columns: Sequence[str] | None = None, then: Callable[[], None] = lambda: None
    ) -> list[Chunk]:
        """Merge runs into the chunks of the output.

        Parameters
        ----------
        columns : sequence of str, optional
            Those that the runs have; default: all. Later ones are cut where the first ones were.
        then : callable
            Called once all windows are given out, while the last ones are still being merged.
        """
        draft, origins, watch, names = self.draft, self.origins, self.watch, columns or self.columns

        def store(merged: Merged) -> tuple[list[Chunk], int]:
            for name, first, data in merged.objects:
                draft.store(name, first, data)
            return merged.chunks, merged.kept

        cuts = iter(list(self.windows)) if self.windows else self._windows(runs, names)
        merged = self.runner.map(
            lambda window: merge_window(draft, runs, window, names, origins, watch), _and_then(cuts, then), on="cpu",
            ahead=self._ahead("mergers"), ordered=False,
        )  # fmt: skip
        stored = self.runner.map(store, merged, on="io", ahead=STORING, ordered=False)
        self.total = total = sum(len(run) for run in runs)
        label = f"merge {', '.join(names)}" if columns and columns != self.columns else "merge"
        found = collect(self.progress, label, total, stored, lambda done: sum(c.count for c in done[0]))
        self.kept += sum(kept for _, kept in found)
        return sorted((chunk for chunks, _ in found for chunk in chunks), key=lambda c: c.first)

    def _windows(self, runs: Sequence[Run], columns: Sequence[str]) -> Iterator[Window]:
        """What is merged by one task each. In a part chunk by chunk: which ones are its own must not hang on memory."""
        least = self.layout.window if self.partition is None else 0
        for index, window in enumerate(windows(runs, self.chunk_records, self.chunk_bytes, columns, least)):
            if self.partition is None or self.partition.has(index):
                self.windows.append(window)
                yield window

    def _ahead(self, stage: str) -> int:
        return self.layout.ahead(getattr(self.layout, stage), self.runner)
