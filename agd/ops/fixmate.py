"""Fill in what records say of their mates; only the column ``results`` is written."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import agd
from agd import kernels
from agd.batch import Batch, Bool, Column
from agd.cell import independent_codecs
from agd.dataset import Dataset
from agd.draft import Draft
from agd.errors import UsageError
from agd.kernels.ragged import concat_batches, take_batch
from agd.manifest import Chunk, ColumnSpec
from agd.ops.digest import Digest, check_digest, digest_records
from agd.ops.fixmate_pairs import MATE_TAGS, fix_mates, same_template
from agd.ops.lines import is_lines, to_records
from agd.ops.scan import chunk_bytes, scan
from agd.run import SILENT, Progress, Runner, ThreadRunner, default_memory, items_in_flight
from agd.tags import all_tags, tag_spans
from agd.target import check_chunk_size
from agd.types import DEFAULT_CHUNK_RECORDS, SortOrder


@dataclass(frozen=True, slots=True)
class FixmateReport:
    """What was done.

    Attributes
    ----------
    url : str
        The dataset whose records are right now.
    records, changed, removed : int
        Records that were looked at, that are others now, and that were left out.
    bytes : int
        Of the objects that were written.
    seconds : float
    """

    url: str
    records: int
    changed: int
    removed: int
    bytes: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


def fixmate(
    dataset: Dataset, *, remove: str | os.PathLike[str] | None = None, scores: bool = False,
    proper_pairs: bool = True, chunk_records: int = DEFAULT_CHUNK_RECORDS, overwrite: bool = False,
    runner: Runner | None = None, memory: int | None = None, progress: Progress = SILENT, command: str = "",
) -> FixmateReport:
    """Recompute mate fields, template lengths, and the tags MQ and MC of records grouped by name.

    In place: one new generation with another ``results`` column; no other object is written. The records are compared
    with their digest on the way, and the digest of the new ones takes its place. Marks of a ``duplicates`` column go
    into the flags, and the column is dropped: what is a duplicate hangs on the mates.

    Parameters
    ----------
    dataset : Dataset
        One record per alignment line, mates next to each other; see :func:`agd.ops.fixmate_pairs.fix_mates`.
    remove : str or path, optional
        Write a new dataset there, without unmapped and secondary records; the input stays as it is.
    scores : bool
        Add the tag ms, the score of the mate, which ``samtools markdup`` asks for.
    proper_pairs : bool
        Take the flag 0x2 from pairs that cannot be proper ones.
    chunk_records : int
        Of the new dataset.
    overwrite : bool
        Remove a dataset that is at ``remove``.
    runner, memory, progress, command
        As in all operations.

    Returns
    -------
    FixmateReport

    Raises
    ------
    UsageError
        The records are sorted by coordinate, or are reads, or have no names or no alignments.
    VerificationError
        The records are not those that were imported; nothing is changed.

    Examples
    --------
    >>> _ = agd.collate(agd.open("sorted.agd"), "grouped.agd")
    >>> agd.fixmate(agd.open("grouped.agd")).records
    600
    """
    begun = time.monotonic()
    _check(dataset)
    parameters = {"scores": scores, "proper_pairs": proper_pairs}
    work = _Fixing(dataset, {**parameters, "remove": remove is not None})
    draft = work.create(remove, chunk_records, overwrite) if remove is not None else work.extend()
    runner = runner or ThreadRunner()
    try:
        ahead = items_in_flight(memory or default_memory(), 5 * chunk_bytes(dataset), runner.workers)
        counts = [chunk.count for chunk in dataset.chunks] if remove is None else _forever(chunk_records)
        chunks = list(work.run(draft, counts, runner, ahead, progress))
        check_digest(dataset, work.old)
        m = dataset.manifest
        step = {"program": "agd fixmate", "version": agd.__version__, "command": command, "parameters": parameters}
        fields: dict[str, Any] = {"digest": work.new.to_json()} if m.digest else {}
        if remove is None:
            done = draft.commit(chunks, drop=work.dropped, steps=(step,), **fields)
        else:
            done = draft.commit(
                chunks, names=m.names, sort_order=m.sort_order, header=m.header, references=m.references,
                steps=(*m.steps, step), **fields,
            )  # fmt: skip
    except BaseException as error:
        draft.failed(error)
        raise
    return FixmateReport(
        done.url, len(dataset), work.changed, len(dataset) - len(done),
        sum(cell.bytes for chunk in chunks for cell in chunk.cells.values()), round(time.monotonic() - begun, 3),
    )  # fmt: skip


def _check(dataset: Dataset) -> None:
    m = dataset.manifest
    for column in ("results", "metadata"):
        if column not in m.columns:
            raise UsageError(f"{dataset.url}: has no column {column!r}", "mates are told by names and alignments")
    if not is_lines(m):
        raise UsageError(
            f"{dataset.url}: its records are reads, whose mates were filled in when they were aligned",
            "nothing is to be done; after 'agd collate' or 'agd sort' they are alignment lines",
        )
    if m.sort_order in (SortOrder.COORDINATE, SortOrder.TEMPLATE_COORDINATE):
        raise UsageError(
            f"{dataset.url}: is sorted by {m.sort_order}, mates are not next to each other",
            f"group them first: agd collate {dataset.url} -o …",
        )


class _Fixing:
    """The passes over a dataset, and what they count."""

    def __init__(self, dataset: Dataset, options: dict[str, bool]) -> None:
        self.dataset, self.options = dataset, options
        self.columns = [name for name in dataset.columns if name != "duplicates"]
        self.dropped = [name for name in dataset.columns if name == "duplicates"]
        self.old, self.new, self.changed = Digest(), Digest(), 0

    def extend(self) -> Draft:
        """Begin another ``results`` column."""
        plan = {"operation": "fixmate", "from": self.dataset.manifest.columns["results"].key, **self.options}
        return Draft.extend(self.dataset, {"results": self._spec("results")}, plan, replace=True, reads=self.columns)

    def create(self, url: str | os.PathLike[str], chunk_records: int, overwrite: bool) -> Draft:
        """Begin a new dataset."""
        check_chunk_size(chunk_records)
        m = self.dataset.manifest
        plan = {"operation": "fixmate", "id": m.id, "generation": m.generation, "chunk_records": chunk_records,
                **self.options}  # fmt: skip
        specs = {name: self._spec(name) for name in self.columns}
        return Draft.create(
            url, specs, plan, orientation=m.orientation, overwrite=overwrite, inputs=[self.dataset]
        )

    def _spec(self, name: str) -> ColumnSpec:
        old = self.dataset.manifest.columns[name]
        return ColumnSpec(old.type, independent_codecs(name, old), name, old.dtype)

    def run(
        self, draft: Draft, counts: Iterable[int], runner: Runner, ahead: int, progress: Progress
    ) -> Iterator[Chunk]:
        """Fix, encode and store; the chunks, of so many records each."""
        names = list(draft.columns)

        def encode(part: Batch) -> tuple[Chunk, dict[str, bytes]]:
            made = {name: draft.encode(name, part.first, part[name]) for name in names}
            chunk = Chunk(part.first, len(part), {name: cell for name, (_, cell) in made.items()})
            return chunk, {name: data for name, (data, _) in made.items()}

        def store(done: tuple[Chunk, dict[str, bytes]]) -> Chunk:
            for name, data in done[1].items():
                draft.store(name, done[0].first, data)
            return done[0]

        progress.begin("fixmate", len(self.dataset), "records")
        lines = scan(self.dataset, lambda batch: batch, runner=runner, ahead=ahead, columns=self.columns)
        fixed = runner.map(self._fix, whole_templates(lines, self.dataset.manifest.names), on="cpu", ahead=ahead)
        parts = runner.map(encode, cut(self._counted(fixed, names), counts), on="cpu", ahead=ahead)
        for chunk in runner.map(store, parts, on="io", ahead=ahead):
            progress.advance(chunk.count)
            yield chunk
        progress.end()

    def _fix(self, lines: Batch) -> tuple[Batch, Digest, Digest, int]:
        names, noted = self.dataset.manifest.names, bool(self.dataset.manifest.digest)
        paired = fix_mates(
            lines, names, proper_pairs=self.options["proper_pairs"], scores=self.options["scores"],
            remove=self.options["remove"],
        )  # fmt: skip
        before, after = lines.alignments(), paired.alignments
        changed = np.zeros(len(lines), np.bool_)
        for name in ("flag", "reference", "position", "mate_reference", "mate_position", "template_length"):
            changed |= getattr(before, name) != getattr(after, name)
        fixed = Batch(lines.first, {**lines.columns, "results": after})
        changed |= _tags_differ(all_tags(lines), all_tags(fixed))
        if not paired.keep.all():
            fixed = take_batch(fixed, np.flatnonzero(paired.keep))
        digests = [digest_records(to_records(x, names)) if noted else Digest() for x in (lines, fixed)]
        return fixed, digests[0], digests[1], int(changed.sum())

    def _counted(self, fixed: Iterable[tuple[Batch, Digest, Digest, int]], names: list[str]) -> Iterator[Batch]:
        for batch, old, new, changed in fixed:
            self.old.add(old)
            self.new.add(new)
            self.changed += changed
            yield Batch(batch.first, {name: batch[name] for name in names})


def _tags_differ(one: Column, two: Column) -> Bool:
    """In which records a tag that speaks of mates is another; the order of the tags does not count."""
    one, two = one.compact(), two.compact()
    different, same = np.zeros(len(one), np.bool_), np.empty(len(one), np.bool_)
    for tag in MATE_TAGS:
        kernels.same_names(one.values, *tag_spans(one, tag), two.values, *tag_spans(two, tag), False, same)
        different |= ~same
    return different


def whole_templates(batches: Iterable[Batch], names: str) -> Iterator[Batch]:
    """The same lines in batches that no template is cut by."""
    held: list[Batch] = []
    for batch in batches:
        if not len(batch):
            continue
        both = concat_batches([*held, batch]) if held else batch
        begins = np.flatnonzero(~same_template(both, names))
        last = int(begins[-1])
        if last:
            yield both.slice(0, last)
        held = [both.slice(last, len(both))]
    yield from held


def cut(batches: Iterable[Batch], counts: Iterable[int]) -> Iterator[Batch]:
    """The same records in batches of so many records each, numbered from 0; the last one may have fewer."""
    held: list[Batch] = []
    have = first = 0
    wanted = iter(counts)
    size = next(wanted, 0)
    for batch in batches:
        at = 0
        while at < len(batch):
            piece = batch.slice(at, at + size - have)
            held.append(piece)
            at, have = at + len(piece), have + len(piece)
            if have == size:
                yield Batch(first, dict(concat_batches(held).columns))
                first, have, held, size = first + have, 0, [], next(wanted, 0)
    if have:
        yield Batch(first, dict(concat_batches(held).columns))


def _forever(count: int) -> Iterator[int]:
    while True:
        yield count
