"""Import and export of FASTQ."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import agd
from agd import kernels
from agd.batch import I64, Batch, Column
from agd.convert.fastq_reader import BASES, NAME, PLUS, QUALITIES, Block, FastqReader
from agd.convert.fastq_writer import export_fastq
from agd.convert.inputs import describe_input
from agd.convert.reports import ImportReport
from agd.convert.streams import open_input
from agd.draft import Draft, columns_of, exists
from agd.errors import InputError, UsageError
from agd.manifest import Cell, Chunk, ColumnSpec
from agd.ops.digest import Digest, digest_records
from agd.ops.lines import to_lines, to_records
from agd.run import SILENT, Progress, Runner, ThreadRunner, default_memory, items_in_flight
from agd.types import DEFAULT_CHUNK_BYTES, DEFAULT_CHUNK_RECORDS, Orientation, SortOrder

__all__ = ["export_fastq", "import_fastq"]

COLUMNS = ("bases", "qualities", "metadata")


def import_fastq(
    reads1: str | os.PathLike[str], reads2: str | os.PathLike[str] | None = None, *, output: str | os.PathLike[str],
    interleaved: bool = False, name: str | None = None, chunk_records: int = DEFAULT_CHUNK_RECORDS,
    chunk_bytes: int = DEFAULT_CHUNK_BYTES, codecs: Mapping[str, list[dict[str, Any]]] | None = None,
    overwrite: bool = False, runner: Runner | None = None, memory: int | None = None, progress: Progress = SILENT,
    command: str = "",
) -> ImportReport:
    """Make a dataset of one FASTQ file, or of the two files of paired reads.

    Parameters
    ----------
    reads1 : str or path
        FASTQ: a path or url, "-" for standard input; plain or compressed, which is found out from the content.
    reads2 : str or path, optional
        The second reads of the pairs, in the order of the first.
    output : str or path
        Where the dataset will be.
    interleaved : bool
        ``reads1`` holds pairs: records 2i and 2i + 1.
    name : str, optional
        Name of the dataset: the first part of its object names. Default: from ``output``.
    chunk_records : int
        Records in a chunk at most; pairs are never split, so a chunk of pairs has 2 at least and an even number.
    chunk_bytes : int
        A chunk ends with the record (or pair) that brings one of its columns to this many decoded bytes.
    codecs : mapping of str to list of dict, optional
        Codec chains of columns that are to be stored in another way than by default.
    overwrite : bool
        Replace a dataset that is at ``output``.
    runner : Runner, optional
        Default: threads, one for each processor.
    memory : int, optional
        Bound on the peak resident set, bytes.
    progress : Progress
    command : str
        Command line for the provenance.

    Returns
    -------
    ImportReport

    Raises
    ------
    InputError
        An input is not FASTQ, is damaged, or the two files are out of step. Nothing is left at ``output``.
    DatasetExistsError
        There is a dataset at ``output``.
    """
    begun = time.perf_counter()
    if reads2 is not None and interleaved:
        raise UsageError("two files cannot be interleaved", "give one file, or leave --interleaved out")
    if chunk_records < 1 or chunk_bytes < 1:
        raise UsageError("a chunk needs at least one record and one byte", "give positive chunk sizes")
    paths = [os.fspath(path) for path in (reads1, reads2) if path is not None]
    if paths == ["-", "-"]:
        raise UsageError("standard input can be read once only", "give it as one interleaved file")
    inputs = [describe_input(path) for path in paths]
    specs = _specs(codecs)
    parameters = {"interleaved": interleaved, "chunk_records": chunk_records, "chunk_bytes": chunk_bytes}
    plan = {
        "operation": "import fastq", "inputs": inputs, **parameters, "codecs": {n: s.codecs for n, s in specs.items()},
    }  # fmt: skip
    with contextlib.ExitStack() as stack:
        if runner is None:
            runner = stack.enter_context(ThreadRunner())
        streams = [stack.enter_context(open_input(path, runner)) for path in paths]
        readers = [FastqReader(s, path, interleaved=interleaved) for s, path in zip(streams, paths, strict=True)]
        mates = 2 if interleaved or len(readers) == 2 else 1
        cuts = _cut(_segments(readers), 2 if interleaved else 1, max(1, chunk_records // mates), chunk_bytes)
        # Most damage and mistakes show here, before anything that is to be replaced is gone.
        head = list(itertools.islice(cuts, 1))
        ahead = _ahead(head, memory, runner)
        draft = Draft.create(output, specs, plan, orientation=Orientation.READ, name=name, overwrite=overwrite)
        identified = all(entry["version"] and entry["size"] is not None for entry in inputs)
        work = _Import(draft, keep=identified, mates=mates)
        progress.begin("import", None)
        try:
            chunks = work.run(itertools.chain(head, cuts), runner, ahead, progress)
            digest = work.digest.to_json()
            step = {"program": "agd import fastq", "version": agd.__version__, "command": command,
                    "parameters": parameters | {"inputs": paths}}  # fmt: skip
            draft.commit(
                chunks, names="fastq", pairing="interleaved" if mates == 2 else "single",
                sort_order=SortOrder.UNSORTED, steps=(step,), sources=tuple(r.source() for r in readers),
                digest=digest,
            )  # fmt: skip
        except BaseException:
            if not exists(draft.storage):
                draft.abandon(work.keys)
            raise
        finally:
            progress.end()
    records = sum(chunk.count for chunk in chunks)
    return ImportReport(
        records=records, pairs=records // 2 if mates == 2 else 0, bases=work.bases,
        bytes_in=sum(stream.stored_size or stream.offset for stream in streams),
        bytes_out=sum(cell.bytes for chunk in chunks for cell in chunk.cells.values()),
        seconds=time.perf_counter() - begun, digest=digest,
    )  # fmt: skip


def _specs(codecs: Mapping[str, list[dict[str, Any]]] | None) -> dict[str, ColumnSpec]:
    specs = columns_of(COLUMNS)
    for name, chain in (codecs or {}).items():
        if name not in specs:
            raise UsageError(f"there is no column {name!r} in FASTQ", f"give codecs for {', '.join(COLUMNS)}")
        specs[name] = ColumnSpec(specs[name].type, list(chain), specs[name].key, specs[name].dtype)
    return specs


def _ahead(head: Sequence[_Cut], memory: int | None, runner: Runner) -> int:
    """Chunks that may be in memory, going by the first one: beside its text there are its columns, and their code."""
    item = int(2.7 * max((cut.text_bytes for cut in head), default=0)) + (8 << 20)
    return items_in_flight(memory or default_memory(), item, runner.workers, fixed=64 << 20)


#: The same records, or mates, of every file.
_Segment = tuple[Block, ...]


def _segments(readers: Sequence[FastqReader]) -> Iterator[_Segment]:
    """Blocks of all files, equal in number of records, with mates in step."""
    if len(readers) == 2:
        yield from _mates(*readers)
        return
    for block in readers[0].blocks():
        if readers[0].interleaved:
            _check_names(readers[0], block, slice(0, None, 2), readers[0], block, slice(1, None, 2))
        yield (block,)


def _mates(one: FastqReader, two: FastqReader) -> Iterator[_Segment]:
    left, right = one.blocks(), two.blocks()
    a, b = next(left, None), next(right, None)
    while a is not None and b is not None:
        count = min(len(a), len(b))
        first, second = a.slice(0, count), b.slice(0, count)
        _check_names(one, first, slice(None), two, second, slice(None))
        yield first, second
        a = a.slice(count, len(a)) if count < len(a) else next(left, None)
        b = b.slice(count, len(b)) if count < len(b) else next(right, None)
    if a is None and b is None:
        return
    long, rest, remaining, short = (one, a, left, two) if b is None else (two, b, right, one)
    assert rest is not None
    count, more = rest.first, len(rest) + sum(map(len, remaining))
    raise InputError(
        short.path, f"ends after {count:,} reads, but {long.path} has {more:,} more", record=count + 1,
        remedy="give two complete files of one run; the shorter one may be truncated",
    )  # fmt: skip


def _check_names(
    one: FastqReader, first: Block, take1: slice, two: FastqReader, second: Block, take2: slice
) -> None:
    spans1, spans2 = first.spans[take1], second.spans[take2]
    same = np.empty(len(spans1), np.bool_)
    kernels.same_names(
        first.text, spans1[:, NAME], spans1[:, NAME + 1], second.text, spans2[:, NAME], spans2[:, NAME + 1], True, same
    )
    if same.all():
        return
    pair = int(np.argmin(same))
    i, j = range(len(first))[take1][pair], range(len(second))[take2][pair]
    record = second.first + j
    where = "" if one is two else f"{one.path} "
    raise InputError(
        two.path, f"the mate is {second.name(j)!r}, but {where}record {first.first + i + 1:,} is {first.name(i)!r}",
        record=record + 1, line=4 * record + 1,
        remedy="give the two files of one run with their reads in the same order"
        if one is not two else "interleave the pairs again, or import single reads without --interleaved",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Cut:
    """The text of one chunk."""

    first: int
    count: int
    segments: list[_Segment]

    @property
    def text_bytes(self) -> int:
        """Bytes of the text, near enough."""
        return sum(int(b.spans[-1, -1] - b.spans[0, 0]) for segment in self.segments for b in segment if len(b))


def _cut(segments: Iterator[_Segment], step: int, units: int, limit: int) -> Iterator[_Cut]:
    """Chunks at borders that depend on the records alone.

    Parameters
    ----------
    step : int
        Records of a block that stay together.
    units : int
        Most such groups in a chunk.
    limit : int
        A chunk ends with the group that brings a column to this many bytes.
    """
    first, taken, held, sizes = 0, 0, list[_Segment](), np.zeros(2, np.int64)
    for segment in segments:
        total = len(segment[0]) // step
        at = 0
        grown = _unit_sizes(segment, step)
        while at < total:
            room = min(total, at + units - taken)
            full = sizes + grown[:, room] - grown[:, at]
            if (full >= limit).any():
                wanted = limit - sizes + grown[:, at]
                room = min(int(np.searchsorted(grown[k], wanted[k])) for k in (0, 1))
            held.append(tuple(block.slice(at * step, room * step) for block in segment))
            sizes += grown[:, room] - grown[:, at]
            taken += room - at
            at = room
            if taken == units or (sizes >= limit).any():
                count = taken * step * len(segment)
                yield _Cut(first, count, held)
                first, taken, held, sizes = first + count, 0, [], np.zeros(2, np.int64)
    if taken:
        yield _Cut(first, sum(len(block) for segment in held for block in segment), held)


def _unit_sizes(segment: _Segment, step: int) -> I64:
    """Bytes of bases and of metadata in the first 0, 1, 2, … groups, int64, shape (2, groups + 1)."""
    grown = np.zeros((2, len(segment[0]) // step + 1), np.int64)
    for block in segment:
        grown[0, 1:] += _width(block, BASES).reshape(-1, step).sum(1)
        grown[1, 1:] += _metadata_width(block).reshape(-1, step).sum(1)
    return np.cumsum(grown, axis=1)


def _width(block: Block, field: int) -> I64:
    return np.asarray(block.spans[:, field + 1] - block.spans[:, field])


def _metadata_width(block: Block) -> I64:
    plus = _width(block, PLUS)
    return np.asarray(_width(block, NAME) + plus + (plus > 0))


def _assemble(cut: _Cut) -> Batch:
    """Columns of a chunk; the records of two files take turns."""
    lengths, widths = np.empty(cut.count, np.int64), np.empty(cut.count, np.int64)
    for block, where in _places(cut):
        lengths[where] = _width(block, BASES)
        widths[where] = _metadata_width(block)
    bases = Column.from_lengths(np.empty(int(lengths.sum()), np.uint8), lengths)
    qualities = Column(np.empty(len(bases.values), np.uint8), bases.offsets)
    metadata = Column.from_lengths(np.empty(int(widths.sum()), np.uint8), widths)
    assert bases.offsets is not None
    assert metadata.offsets is not None
    for block, where in _places(cut):
        text, spans = block.text, block.spans
        reads, names = bases.offsets[:-1][where], metadata.offsets[:-1][where]
        kernels.copy_spans(text, spans[:, BASES], spans[:, BASES + 1], bases.values, reads)
        kernels.copy_spans(text, spans[:, QUALITIES], spans[:, QUALITIES + 1], qualities.values, reads)
        kernels.copy_spans(text, spans[:, NAME], spans[:, NAME + 1], metadata.values, names)
        noted = np.flatnonzero(_width(block, PLUS))
        if len(noted):
            ends = names[noted] + _width(block, NAME)[noted]
            metadata.values[ends] = ord("\n")
            kernels.copy_spans(text, spans[noted, PLUS], spans[noted, PLUS + 1], metadata.values, ends + 1)
    return Batch(cut.first, {"bases": bases, "qualities": qualities, "metadata": metadata})


def _places(cut: _Cut) -> Iterator[tuple[Block, slice]]:
    """Every block of a chunk, and which records of the chunk it holds."""
    at = 0
    for segment in cut.segments:
        end = at + len(segment[0]) * len(segment)
        for way, block in enumerate(segment):
            yield block, slice(at + way, end, len(segment))
        at = end


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A chunk: its objects that are still to be stored, by column, and its entry in the manifest."""

    blobs: dict[str, bytes]
    chunk: Chunk
    bases: int
    digest: Digest


class _Import:
    """Turns cuts into stored chunks."""

    def __init__(self, draft: Draft, *, keep: bool, mates: int) -> None:
        self.draft = draft
        self.keep = keep
        self.mates = mates
        self.bases = 0
        self.digest = Digest()
        self.keys: list[str] = []

    def run(self, cuts: Iterator[_Cut], runner: Runner, ahead: int, progress: Progress) -> list[Chunk]:
        """Encode and store all chunks."""
        chunks = []
        encoded = runner.map(self._encode, self._noted(cuts), on="cpu", ahead=max(1, ahead - 1))
        for done in runner.map(self._store, encoded, on="io", ahead=max(1, ahead // 2)):
            chunks.append(done.chunk)
            self.bases += done.bases
            self.digest.add(done.digest)
            progress.advance(done.chunk.count)
        return chunks

    def _noted(self, cuts: Iterator[_Cut]) -> Iterator[_Cut]:
        """The cuts; the keys of their objects are noted, to be removed if the import fails."""
        for cut in cuts:
            self.keys.extend(self.draft.key(column, cut.first) for column in COLUMNS)
            yield cut

    def _encode(self, cut: _Cut) -> _Encoded:
        batch = _assemble(cut)
        blobs: dict[str, bytes] = {}
        cells: dict[str, Cell] = {}
        for column in COLUMNS:
            kept = self.draft.finished(column, cut.first, cut.count) if self.keep else None
            if kept is not None:
                cells[column] = kept
            else:
                blobs[column], cells[column] = self.draft.encode(column, cut.first, batch[column])
        records = to_records(to_lines(batch, Orientation.READ, self.mates == 2), "fastq")
        digest = digest_records(records, alignments=False)
        return _Encoded(blobs, Chunk(cut.first, cut.count, cells), len(records.bases), digest)

    def _store(self, encoded: _Encoded) -> _Encoded:
        for column, data in encoded.blobs.items():
            self.draft.store(column, encoded.chunk.first, data)
        return replace(encoded, blobs={})
