"""FASTQ files as the columns of chunks, with mates in step."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from agd import kernels
from agd.batch import Batch
from agd.convert.fastq_chunks import Segment, chunks
from agd.convert.fastq_reader import NAME, Block, FastqReader
from agd.convert.streams import open_input
from agd.errors import InputError, UsageError
from agd.ops.digest import Digest, digest_records
from agd.ops.lines import to_lines, to_records
from agd.run import Runner
from agd.target import check_chunk_size
from agd.types import DEFAULT_CHUNK_BYTES, DEFAULT_CHUNK_RECORDS, Orientation


class FastqBatches:
    """Reads of one FASTQ file, or of the two files of pairs, chunk by chunk.

    Parameters
    ----------
    paths : sequence of str
        One file, or two in step.
    interleaved : bool
        The one file holds both reads of each pair in turn.
    chunk_records, chunk_bytes : int
        A chunk ends after so many records, or with the record that brings a column to so many bytes; pairs are whole.
    runner : Runner
        Inflates ahead.

    Raises
    ------
    UsageError
        The files and options do not go together.
    InputError
        A file is missing, or (while reading) damaged, or the two are out of step.
    """

    def __init__(
        self, paths: Sequence[str | os.PathLike[str]], *, interleaved: bool = False,
        chunk_records: int = DEFAULT_CHUNK_RECORDS, chunk_bytes: int = DEFAULT_CHUNK_BYTES, runner: Runner,
    ) -> None:
        self.paths = check_request(paths, interleaved, chunk_records, chunk_bytes)
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            self._streams = [stack.enter_context(open_input(path, runner)) for path in self.paths]
            self._stack = stack.pop_all()
        self._readers = [
            FastqReader(stream, path, interleaved=interleaved)
            for stream, path in zip(self._streams, self.paths, strict=True)
        ]
        self.mates = 2 if interleaved or len(self.paths) == 2 else 1
        units = max(1, chunk_records // self.mates)
        self._batches = chunks(_segments(self._readers), 2 if interleaved else 1, units, chunk_bytes)
        self._head: list[Batch] | None = None

    def __enter__(self) -> FastqBatches:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    @property
    def head(self) -> list[Batch]:
        """The first chunk, if there is any: most damage and mistakes show here. It is handed out again."""
        if self._head is None:
            self._head = list(itertools.islice(self._batches, 1))
        return self._head

    def batches(self) -> Iterator[Batch]:
        """``bases``, ``qualities`` and ``metadata`` of all chunks, once, in order."""
        head, self._head = self.head, []
        while head:
            yield head.pop()
        yield from self._batches

    def digest(self, batch: Batch) -> Digest:
        """Digest of the reads of a chunk."""
        records = to_records(to_lines(batch, Orientation.READ, self.mates == 2), "fastq")
        return digest_records(records, alignments=False)

    def sources(self) -> tuple[dict[str, Any], ...]:
        """What is needed to write the files again byte for byte; known when all was read."""
        return tuple(reader.source() for reader in self._readers)

    @property
    def bytes_in(self) -> int:
        """Size of the files as stored; of pipes, what was read."""
        return sum(stream.bytes_in for stream in self._streams)


def check_request(
    paths: Sequence[str | os.PathLike[str]], interleaved: bool, chunk_records: int, chunk_bytes: int
) -> list[str]:
    """The paths as text.

    Raises
    ------
    UsageError
        The files and options do not go together.
    """
    if len(paths) == 2 and interleaved:
        raise UsageError("two files cannot be interleaved", "give one file, or leave --interleaved out")
    check_chunk_size(chunk_records, chunk_bytes)
    texts = [os.fspath(path) for path in paths]
    if texts == ["-", "-"]:
        raise UsageError("standard input can be read once only", "give it as one interleaved file")
    return texts


def _segments(readers: Sequence[FastqReader]) -> Iterator[Segment]:
    """Blocks of all files, equal in number of records, with mates in step."""
    if len(readers) == 2:
        yield from _mates(*readers)
        return
    for block in readers[0].blocks():
        if readers[0].interleaved:
            _check_names(readers[0], block, slice(0, None, 2), readers[0], block, slice(1, None, 2))
        yield (block,)


def _mates(one: FastqReader, two: FastqReader) -> Iterator[Segment]:
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
