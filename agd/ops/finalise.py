"""Publish a step that was run in parts, or name what is missing."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from agd.claim import NEW, claim_key
from agd.dataset import Dataset
from agd.draft import Draft
from agd.errors import AgdError, UsageError
from agd.generations import is_dataset, load_manifest
from agd.manifest import Chunk, ColumnSpec, Manifest, object_key
from agd.ops.digest import Digest
from agd.ops.partition import INTERMEDIATE, Joining, Part, load_parts
from agd.run import SILENT, Progress, Runner, ThreadRunner, local_runner
from agd.storage import Storage


class GapsError(AgdError):
    """Parts of a step are not done yet."""


@dataclass(frozen=True, slots=True)
class FinaliseReport:
    """What was published.

    Attributes
    ----------
    operation : str
    parts, chunks, records : int
    generation : int
        That the dataset has now.
    published : bool
        False if it had been published already.
    seconds : float
        Wall time.
    """

    operation: str
    parts: int
    chunks: int
    records: int
    generation: int
    published: bool
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


#: Makes the whole of the parts of a step, and publishes it; gives None if that is no dataset.
Joiner: TypeAlias = Callable[[Joining], Dataset | None]


def finalise(
    storage: Storage, *, joiners: Mapping[str, Joiner] | None = None, runner: Runner | None = None,
    memory: int | None = None, progress: Progress = SILENT,
) -> FinaliseReport:
    """Publish the step whose parts are done; running it again changes nothing.

    Parameters
    ----------
    storage : Storage
        Of the dataset, or of the one that is being made.
    joiners : mapping of str to callable, optional
        By operation, for those whose parts are not chunks that only have to be published.
    runner : Runner, optional
        Looks whether the objects are all there, and joins.
    memory, progress
        As in all operations.

    Raises
    ------
    UsageError
        No part is done, or parts of different steps are.
    GapsError
        Some are missing; it names them.
    ConflictError
        Another writer has published one of the columns.
    """
    started = time.monotonic()
    parts = load_parts(storage)
    if not parts:
        raise UsageError(f"{storage.url}: no part of any step is done here", "run the parts first: --partition 1/N …")
    first = parts[0]
    for part in parts:
        if (part.plan, part.identity) != (first.plan, first.identity):
            raise UsageError(
                f"{storage.url}: parts {first.partition} and {part.partition} are of different steps or parameters",
                "remove them with 'agd gc --drafts' and run the parts again, all with equal options",
            )
    latest = load_manifest(storage) if is_dataset(storage) else None
    operation = str(first.plan.get("operation", ""))
    published = latest is not None and _is_published(first, latest)
    if not published:
        _check_read(storage, first, latest)
        runner = runner or ThreadRunner(1)
        chunks = _whole(storage, parts, latest, local_runner(runner))
        joining = Joining(storage, tuple(parts), tuple(chunks), latest, runner, memory, progress)
        done = {"dedup": _dedup, **(joiners or {})}.get(operation, _commit)(joining)
        latest = None if done is None else done.manifest
    chunks_done, records, generation = sum(len(part.chunks) for part in parts), first.total, 0
    if latest is not None:
        chunks_done, records, generation = len(latest.chunks), latest.records, latest.generation
    _clean(storage, parts, latest is not None)
    return FinaliseReport(
        operation, len(parts), chunks_done, records, generation, not published, round(time.monotonic() - started, 3),
    )  # fmt: skip


def _clean(storage: Storage, parts: Sequence[Part], dataset: bool) -> None:
    """Remove claims, records of parts and what they left for this."""
    records = [part.key for part in parts]
    # Those of columns that no chunk needed in the end, too.
    claims = list(dict.fromkeys(claim_key(name) for part in parts for name in part.columns))
    left = [
        object_key(part.name, chunk.first, part.columns[name].key)
        for part in parts for chunk in part.chunks for name in chunk.cells
        if part.columns[name].key.endswith(INTERMEDIATE)
    ]  # fmt: skip
    # Of a file nobody can tell later whether it was joined: without records nobody tries again.
    for key in [*claims, *left, *records] if dataset else [*records, NEW, *claims, *left]:
        storage.delete(key)
    if not dataset:
        with contextlib.suppress(OSError):
            os.rmdir(storage.url)


def _check_read(storage: Storage, part: Part, latest: Manifest | None) -> None:
    reads = part.plan.get("reads", {})
    if latest is not None and {n: c.key for n, c in latest.columns.items() if n in reads} != reads:
        raise UsageError(
            f"{storage.url}: the dataset has changed since the parts were run",
            "remove them with 'agd gc --drafts' and run the parts again",
        )


def _is_published(part: Part, latest: Manifest) -> bool:
    if part.new:
        return part.identity == latest.id
    keys = {name: spec.key.removesuffix(INTERMEDIATE) for name, spec in part.columns.items()}
    return all(name in latest.columns and latest.columns[name].key == key for name, key in keys.items())


def _whole(storage: Storage, parts: Sequence[Part], latest: Manifest | None, runner: Runner) -> list[Chunk]:
    """Chunks of all parts; GapsError if they do not make a whole."""
    found = {chunk.first: chunk for part in parts for chunk in part.chunks}
    columns = {name: spec for part in parts for name, spec in part.columns.items()}
    name = parts[0].name

    def check(chunk: Chunk) -> int | None:
        sizes = [(storage.size(object_key(name, chunk.first, columns[c].key)), x.bytes) for c, x in chunk.cells.items()]
        return chunk.first if any(size != noted for size, noted in sizes) else None

    lost = [f for f in runner.map(check, [found[f] for f in sorted(found)], on="io") if f is not None]
    for one in lost:
        del found[one]
    gaps, at = [], 0
    for first in sorted(found):
        if first > at:
            gaps.append((at, first))
        at = first + found[first].count
    if at < parts[0].total:
        gaps.append((at, parts[0].total))
    if gaps:
        raise _gaps(storage, parts, gaps, lost)
    if latest is not None and not parts[0].new:
        expected = [(c.first, c.count) for c in latest.chunks]
        if expected != [(found[f].first, found[f].count) for f in sorted(found)]:
            raise UsageError(f"{storage.url}: the parts are of other chunks than the dataset has", "run them again")
    return [found[f] for f in sorted(found)]


def _gaps(storage: Storage, parts: Sequence[Part], gaps: list[tuple[int, int]], lost: list[int]) -> GapsError:
    count = max(part.partition.count for part in parts)
    done = {part.partition.number for part in parts if part.partition.count == count}
    broken = {p.partition.number for p in parts if p.partition.count == count and {c.first for c in p.chunks} & {*lost}}
    missing = sorted(set(range(1, count + 1)) - done | broken)
    records = ", ".join(f"{low:,}–{high - 1:,}" for low, high in gaps[:10]) + (", …" if len(gaps) > 10 else "")
    numbers, unit = ",".join(map(str, missing)), parts[0].fields.get("unit", "records")
    return GapsError(
        f"{storage.url}: {len(missing)} of {count} parts are not done: {numbers} ({unit} {records})",
        f"run them (--partition N/{count}, or sbatch --array={numbers}), then finalise again",
    )


def _dedup(joining: Joining) -> Dataset | None:
    from agd.ops.dedup import finish_dedup  # every export comes by here, and hardly one needs it

    return finish_dedup(joining)


def _commit(joining: Joining) -> Dataset:
    storage, parts, chunks, latest = joining.storage, joining.parts, joining.chunks, joining.latest
    first = parts[0]
    columns: dict[str, ColumnSpec] = {name: spec for part in parts for name, spec in part.columns.items()}
    # A column that may turn out to be needed, and was not, is not published.
    used = {name for chunk in chunks for name in chunk.cells}
    columns = {name: spec for name, spec in columns.items() if name in used or not name.startswith("secondary")}
    drop = [name for name in first.drop if name not in columns]
    if first.new:
        draft = Draft(storage, first.identity, first.name, first.orientation, columns, None, first.plan, True)
    else:
        assert latest is not None
        reads = first.plan.get("reads", {})
        draft = Draft.extend(Dataset(storage, latest), columns, first.plan, replace=first.replace, reads=reads)
        if {n: c.key for n, c in draft.columns.items()} != {n: c.key for n, c in columns.items()}:
            raise UsageError(f"{storage.url}: the dataset has changed since the parts were run", "run them again")
    fields = dict(first.fields)
    if first.digest:
        fields["digest"] = _digest(parts).added_to(fields["digest"])
    return draft.commit(chunks, drop=drop, **fields)


def _digest(parts: Sequence[Part]) -> Digest:
    total = Digest()
    for part in parts:
        total.add(Digest.from_json(part.digest))
    return total
