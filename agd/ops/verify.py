"""Verify a dataset: every object, and with ``deep`` every record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from agd import cell as cells
from agd import kernels
from agd.batch import U64, Alignments, AnyColumn, Batch, Column
from agd.chunkfile import HEADER_SIZE, parse_header
from agd.dataset import Dataset, open_inside
from agd.embedded import embedded_reference
from agd.errors import AgdError, FormatError, KernelError, ObjectNotFoundError
from agd.manifest import Chunk
from agd.ops.dedup_find import flags_of
from agd.ops.digest import Digest, differences, digest_records
from agd.ops.handover import Arrays, Handover
from agd.ops.lines import to_lines, to_records
from agd.ops.mates import MateCheck
from agd.ops.scan import chunk_bytes
from agd.ops.sort_keys import Ordering, key_at
from agd.run import SILENT, Progress, Runner, ThreadRunner, in_flight, memory_of
from agd.types import Flag, Orientation, RecordType, SortOrder

#: No more problems than this are listed.
MAX_PROBLEMS = 1000


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong.

    Attributes
    ----------
    what : str
    chunk : int
        First ordinal of the chunk, -1 for the dataset as a whole.
    column : str
        "" for the chunk as a whole.
    """

    what: str
    chunk: int = -1
    column: str = ""

    def __str__(self) -> str:
        where = f"chunk {self.chunk}" if self.chunk >= 0 else "dataset"
        return f"{where}{f', column {self.column}' if self.column else ''}: {self.what}"


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was looked at, and what is wrong.

    Attributes
    ----------
    objects, bytes, records : int
        Looked at; records only with ``deep``.
    problems : tuple of Problem
        At most :data:`MAX_PROBLEMS`.
    notes : tuple of str
        What is unusual but as it was imported.
    """

    objects: int
    bytes: int
    records: int
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self) | {"ok": not self.problems}


def _compare(chunk: Chunk, name: str, noted: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[Problem]:
    # Any may be missing, as those are that an older writer did not know; others than ours say nothing to us.
    wrong = [key for key in noted if key in found or key in cells.STATISTICS if noted[key] != found.get(key)]
    if wrong:
        told = "the statistics in the manifest are not those of the records"
        yield Problem(f"{told} ({', '.join(wrong)})", chunk.first, name)


@dataclass(slots=True)
class _Checked:
    chunk: Chunk
    problems: list[Problem]
    digest: Digest
    first_key: Any = None
    last_key: Any = None
    mates: Arrays | str | None = None


def verify(
    dataset: Dataset, *, deep: bool = False, runner: Runner | None = None, memory: int | None = None,
    progress: Progress = SILENT,
) -> VerifyReport:
    """Look for damage.

    Parameters
    ----------
    deep : bool
        Read every object and check every record: checksums, sums of the indexes, lengths of the columns against each
        other, tags, references, statistics, sort order, mates, digest. Otherwise only that every object is there, has
        its size, and begins with the header that the manifest notes (which holds the checksums of the rest).
    dataset : Dataset
    runner, memory, progress
        As in all operations.

    Returns
    -------
    VerifyReport
        Damage is never raised as an error, but that of the manifest itself, which :meth:`Dataset.open` raises.

    Examples
    --------
    >>> report = agd.verify(agd.open("sorted.agd"), deep=True)
    >>> report.problems
    ()
    """
    runner = runner or ThreadRunner()
    problems: list[Problem] = []
    notes: list[str] = []
    progress.begin("verify", len(dataset), "records")
    try:
        if deep:
            problems, notes = _deep(dataset, runner, memory, progress)
        else:
            for chunk, found in runner.map(lambda c: (c, _shallow(dataset, c)), dataset.chunks, on="io"):
                problems += found
                progress.advance(chunk.count)
    finally:
        progress.end()
    problems += _embedded(dataset, deep, runner, memory)
    return VerifyReport(
        sum(len(c.cells) for c in dataset.chunks), dataset.manifest.stored_bytes, len(dataset) if deep else 0,
        tuple(problems[:MAX_PROBLEMS]), tuple(notes),
    )  # fmt: skip


def _embedded(dataset: Dataset, deep: bool, runner: Runner, memory: int | None) -> list[Problem]:
    """What is wrong with the reference that is kept in the dataset, if there is one."""
    name = embedded_reference(dataset.manifest)
    if not name:
        return []
    try:
        found = verify(open_inside(dataset.storage, name), deep=deep, runner=runner, memory=memory).problems
    except AgdError as error:
        return [Problem(f"{name}: {error.message}")]
    return [replace(problem, what=f"{name}: {problem.what}") for problem in found]


def _shallow(dataset: Dataset, chunk: Chunk) -> list[Problem]:
    problems = []
    for name, cell in chunk.cells.items():
        key = dataset.manifest.object_key(name, chunk.first)
        try:
            size = dataset.storage.size(key)
            if size is None:
                problems.append(Problem(f"{key}: the object is missing", chunk.first, name))
                continue
            if size != cell.bytes:
                problems.append(Problem(f"{key}: {size} bytes, the manifest says {cell.bytes}", chunk.first, name))
                continue
            head = dataset.storage.get(key, 0, HEADER_SIZE)
            header = parse_header(head, key)
            cells.check_header(header, key, cell, head, {"first": chunk.first, "count": chunk.count})
        except AgdError as error:
            problems.append(Problem(error.message, chunk.first, name))
    return problems


def _deep(
    dataset: Dataset, runner: Runner, memory: int | None, progress: Progress
) -> tuple[list[Problem], list[str]]:
    ahead = in_flight(runner, memory, 6 * chunk_bytes(dataset))
    mates = MateCheck(len(dataset), memory_of(runner, memory) // 8)
    check = _Check(dataset, mates, Handover.of(runner, dataset.storage))
    problems: list[Problem] = []
    total, last = Digest(), None
    fetched = runner.map(check.fetch, dataset.chunks, on="io", ahead=ahead)
    for done in runner.map(check.work, fetched, on="cpu", ahead=ahead):
        problems += done.problems
        total.add(done.digest)
        if last is not None and done.first_key is not None and done.first_key < last:
            problems.append(Problem("its first record sorts before the last one of the chunk before", done.chunk.first))
        last = done.last_key if done.last_key is not None else last
        if done.mates is not None:
            check.mates.add(check.handover.take(done.mates)["rows"])
        progress.advance(done.chunk.count)
    notes: list[str] = []
    if not problems:  # else the sums are of what is left
        problems += [Problem(f"digest: {text}") for text in differences(dataset.manifest.digest, total)]
        wrong = check.mates.wrong()
        aligned_here = any(str(step.get("program", "")).startswith("agd align") for step in dataset.manifest.steps)
        if wrong and aligned_here:
            problems.append(Problem(f"{wrong} pairs whose records do not name each other's places"))
        elif wrong:
            notes.append(f"{wrong} pairs whose records do not name each other's places, as they were imported")
    return problems, notes


class _Check:
    """Reads and checks chunks, on any thread."""

    def __init__(self, dataset: Dataset, mates: MateCheck, handover: Handover) -> None:
        self.dataset = dataset
        self.mates = mates
        self.handover = handover
        self.ordering = _ordering(dataset)

    def fetch(self, chunk: Chunk) -> tuple[Chunk, dict[str, bytes], list[Problem]]:
        blobs, problems = {}, []
        for name in chunk.cells:
            key = self.dataset.manifest.object_key(name, chunk.first)
            try:
                blobs[name] = self.dataset.storage.get(key)
            except ObjectNotFoundError:
                problems.append(Problem(f"{key}: the object is missing", chunk.first, name))
            except AgdError as error:
                problems.append(Problem(error.message, chunk.first, name))
        return chunk, blobs, problems

    def work(self, fetched: tuple[Chunk, dict[str, bytes], list[Problem]]) -> _Checked:
        chunk, blobs, problems = fetched
        done = _Checked(chunk, problems, Digest())
        loaded: dict[str, AnyColumn] = {}
        for name in blobs:
            try:
                loaded[name] = self.dataset.decode_column(chunk, name, blobs)
                spec = self.dataset.manifest.columns[name]
                noted = chunk.cells[name].statistics
                if noted and spec.type is not RecordType.NUMBER:
                    problems += _compare(chunk, name, noted, cells.statistics(spec.type, loaded[name]))
                problems += self._column(chunk, name, spec.type, loaded[name])
            except FormatError as error:
                problems.append(Problem(f"{error.field}: {error.reason}", chunk.first, name))
            except (AgdError, ValueError) as error:
                problems.append(Problem(str(error), chunk.first, name))
        if not problems:
            problems += self._marks(chunk, loaded)
        if not problems and "bases" in chunk.cells:
            try:
                self._lines(done, self.dataset.decode(chunk, blobs))
            except (AgdError, ValueError) as error:
                problems.append(Problem(str(error), chunk.first))
        return done

    def _marks(self, chunk: Chunk, loaded: dict[str, AnyColumn]) -> Iterator[Problem]:
        """What is noted of marks are the flags that they make of the alignments."""
        alignments = {name: column for name, column in loaded.items() if isinstance(column, Alignments)}
        for name, column in loaded.items():
            noted = chunk.cells[name].statistics
            if isinstance(column, Column) and "flags" in noted and "results" in alignments:
                found = flags_of(Batch(chunk.first, alignments)).statistics(column.values)
                yield from _compare(chunk, name, noted, found)

    def _column(self, chunk: Chunk, name: str, kind: RecordType, column: AnyColumn) -> Iterator[Problem]:
        if isinstance(column, Alignments):
            yield from self._alignments(chunk, name, column)
        elif kind is RecordType.AUX:
            whole = column.compact()
            assert whole.offsets is not None
            try:
                kernels.aux_validate(whole.values, whole.offsets)
            except KernelError as error:
                yield Problem(f"tags of record {chunk.first + error.record}: {error.reason}", chunk.first, name)

    def _alignments(self, chunk: Chunk, name: str, a: Alignments) -> Iterator[Problem]:
        references = self.dataset.manifest.references
        for field, values in (("reference", a.reference), ("mate reference", a.mate_reference)):
            if len(values) and (int(values.min()) < -1 or int(values.max()) >= len(references)):
                yield Problem(f"a {field} that the header does not have", chunk.first, name)
                return
        if references and len(a):
            lengths = np.array([r.length for r in references], np.int64)
            beyond = (a.reference >= 0) & (a.position >= lengths[np.maximum(a.reference, 0)])
            beyond &= (a.flag & np.uint16(Flag.UNMAPPED)) == 0
            if beyond.any():
                at = chunk.first + int(np.argmax(beyond))
                yield Problem(f"record {at} begins after the end of its reference", chunk.first, name)

    def _lines(self, done: _Checked, batch: Batch) -> None:
        manifest = self.dataset.manifest
        first = done.chunk.first
        lengths = batch.ragged("bases").lengths
        if "qualities" in batch:
            other = batch.ragged("qualities").lengths
            wrong = (other != lengths) & (other != 0)
            if wrong.any():
                at = int(np.argmax(wrong))
                text = f"record {first + at} has {other[at]} qualities for {lengths[at]} bases"
                done.problems.append(Problem(text, first, "qualities"))
                return
        lines = to_lines(batch, manifest.orientation, manifest.pairing == "interleaved")
        a = lines.alignments()
        cigar = a.cigar.compact()
        assert cigar.offsets is not None
        query, span = np.empty((2, len(a)), np.int64)
        kernels.reference_spans(cigar.values, cigar.offsets, query, span)
        seq = lines.ragged("bases").lengths
        wrong = (query != seq) & (query != 0) & (seq != 0)
        if wrong.any():
            at = int(np.argmax(wrong))
            text = f"line {at} of the chunk has a CIGAR for {query[at]} bases, and {seq[at]} bases"
            done.problems.append(Problem(text, first, "results"))
            return
        done.digest = digest_records(to_records(lines, manifest.names), alignments="records" in manifest.digest)
        if {"results", "metadata"} <= set(self.dataset.columns):
            done.mates = self.handover.give(first, {"rows": self.mates.of(lines, manifest.names)})
        keys = self.ordering(lines) if self.ordering is not None else None
        if keys is not None and len(keys):
            fall = _first_fall(keys)
            if fall >= 0:
                done.problems.append(Problem(
                    f"record {first + fall} sorts before the one before it ({manifest.sort_order.value})", first
                ))  # fmt: skip
            done.first_key, done.last_key = key_at(keys, 0), key_at(keys, len(keys) - 1)


def _ordering(dataset: Dataset) -> Any:
    manifest = dataset.manifest
    if manifest.orientation is not Orientation.SEQ or "results" not in manifest.columns:
        return None
    if manifest.sort_order is SortOrder.COORDINATE:
        # The order that the specification asks for; strands are not part of it.
        return _places
    own = any(str(step.get("program", "")).startswith("agd sort") for step in manifest.steps)
    own = own and "metadata" in manifest.columns
    if manifest.sort_order in (SortOrder.QUERYNAME, SortOrder.QUERYNAME_LEXICOGRAPHIC) and own:
        natural = manifest.sort_order is SortOrder.QUERYNAME
        return Ordering.of("queryname" if natural else "queryname-lexicographic", manifest).keys
    return None  # an order of other programs, which the header does not tell exactly enough


def _places(lines: Batch) -> Column:
    a = lines.alignments()
    reference: U64 = np.where(a.reference < 0, 1 << 31, a.reference).astype(np.uint64)
    place = np.where(a.reference < 0, 0, a.position + 1).astype(np.uint64)
    return Column(reference << np.uint64(32) | place)


def _first_fall(keys: Column) -> int:
    """First record whose key is less than the one before it; -1 if there is none."""
    if keys.offsets is None:
        falls = np.flatnonzero(keys.values[1:] < keys.values[:-1])
        return int(falls[0]) + 1 if len(falls) else -1
    order = np.empty(len(keys), np.int64)
    whole = keys.compact()
    assert whole.offsets is not None
    kernels.argsort_bytes(whole.values, whole.offsets, order)
    if (order == np.arange(len(order))).all():
        return -1
    before = key_at(keys, 0)
    for i in range(1, len(keys)):
        now = key_at(keys, i)
        if now < before:  # type: ignore[operator]
            return i
        before = now
    return -1
