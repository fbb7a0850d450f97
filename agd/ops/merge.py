"""Merge sorted datasets into one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agd import samheader
from agd.dataset import Dataset
from agd.errors import UsageError
from agd.manifest import Chunk, Manifest
from agd.ops.digest import Digest, check_digest, digest_records
from agd.ops.lines import to_records
from agd.ops.merge_headers import Translation
from agd.ops.merge_join import Joined
from agd.ops.scan import chunk_bytes
from agd.ops.sort import SortReport, sort
from agd.ops.sort_keys import ORDERS
from agd.run import SILENT, Progress, Runner, ThreadRunner, in_flight
from agd.target import check_target


def merge(
    datasets: Sequence[Dataset], output: str | os.PathLike[str], *, runner: Runner | None = None,
    memory: int | None = None, progress: Progress = SILENT, command: str = "", **options: Any,
) -> SortReport:
    """Merge datasets of one order into one dataset of that order; records of equal keys stay in the order given.

    Headers are joined, see :class:`agd.ops.merge_headers.JoinedHeader`: references may differ in order and number.

    Parameters
    ----------
    datasets : sequence of Dataset
        At least one, all sorted in the same way.
    output : str or path
    runner, memory, progress, command, **options
        As for :func:`agd.ops.sort.sort`.

    Returns
    -------
    SortReport

    Raises
    ------
    UsageError
        The datasets are not sorted in one way, differ in their columns, or have different references of one name.
    """
    if not datasets:
        raise UsageError("there is nothing to merge", "name the datasets")
    orders = [order_of(dataset.manifest) for dataset in datasets]
    if len(set(orders)) != 1 or not orders[0]:
        have = ", ".join(f"{d.url} ({order or 'not sorted'})" for d, order in zip(datasets, orders, strict=True))
        raise UsageError(f"datasets to be merged have one order; these have: {have}", "sort them first, or 'agd cat'")
    check_target(os.fspath(output), None, datasets)
    joined = Joined(datasets)
    runner = runner or ThreadRunner()
    digest = joined_digest(joined, runner, memory, progress)
    joined.manifest = replace(joined.manifest, digest=digest)
    inputs = [{"id": d.manifest.id, "generation": d.manifest.generation} for d in datasets]
    return sort(
        joined, output, by=orders[0], runner=runner, memory=memory, progress=progress, command=command,
        step={"program": "agd merge", "parameters": {"inputs": inputs, "by": orders[0]}}, **options,
    )  # fmt: skip


def order_of(manifest: Manifest) -> str:
    """Order of the records as :func:`agd.ops.sort.sort` calls it, "" if they are not sorted."""
    for name, order in ORDERS.items():
        if order is manifest.sort_order:
            return name
    head = manifest.header.split("\n", 1)[0]
    sub = samheader.parse_line(head).get("SS", "").split(":") if head.startswith("@HD") else []
    return f"tag:{sub[1]}" if len(sub) == 3 and sub[0] == "unsorted" and sub[2] == "coordinate" else ""


def joined_digest(joined: Joined, runner: Runner, memory: int | None, progress: Progress) -> dict[str, Any]:
    """Digest of all records: the sum of those noted, but for records that change, which are read for it.

    Raises
    ------
    VerificationError
        Records that were read are not those that were imported.
    """
    if not all(part.manifest.digest for part in joined.parts):
        return {}
    found = []
    for part, translation in zip(joined.parts, joined.translations, strict=True):
        noted = Digest.from_json(part.manifest.digest)
        if translation.changes and noted.records is not None:
            noted = _changed_digest(joined, part, runner, memory, progress)
        else:
            noted.reads = _renamed(noted, translation)
        found.append(noted)
    return Digest.total(found).to_json()


def _renamed(digest: Digest, translation: Translation) -> dict[str, Any]:
    names = {
        old.decode("utf-8", "surrogateescape"): new.decode("utf-8", "surrogateescape")
        for old, new in translation.tags["RG"].items()
    }
    return {names.get(group, group): row for group, row in digest.reads.items()}


def _changed_digest(joined: Joined, part: Dataset, runner: Runner, memory: int | None, progress: Progress) -> Digest:
    """Digest of the records of a part as they are to be; those that are there are checked on the way."""
    chunks = [chunk for chunk in joined.chunks if joined.part_of(chunk)[0] is part]
    names = [name for name in ("metadata", "bases", "qualities", "results", "tags") if name in joined.columns]

    def work(chunk: Chunk) -> tuple[Digest, Digest, int]:
        blobs = joined.fetch(chunk, names)
        _, _, own = joined.part_of(chunk)
        before = part.decode(own, blobs, [name for name in names if name in part.columns])
        after = joined.decode(chunk, blobs, names)
        kinds = part.manifest.names, joined.manifest.names
        was, now = (digest_records(to_records(x, kind)) for x, kind in zip((before, after), kinds, strict=True))
        return was, now, chunk.count

    ahead = in_flight(runner, memory, 2 * chunk_bytes(part))
    was, now = Digest(), Digest()
    progress.begin("read groups and references", sum(chunk.count for chunk in chunks), "records")
    for before, after, count in runner.map(work, chunks, on="cpu", ahead=ahead):
        was.add(before)
        now.add(after)
        progress.advance(count)
    progress.end()
    check_digest(part, was)
    return now
