"""Import SAM text: lines are cut into chunks and parsed by a kernel on all processors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from agd import kernels
from agd.batch import U8, Column
from agd.convert.records import RawChunk, header_references, import_stream
from agd.convert.reports import ImportReport
from agd.convert.streams import InputStream
from agd.errors import InputError
from agd.kernels.records import RecordArrays
from agd.run import SILENT, Progress, Runner
from agd.types import DEFAULT_CHUNK_BYTES, DEFAULT_CHUNK_RECORDS
from agd.urls import Url

#: Bytes of text that are read at a time.
BLOCK = 8 << 20
NEWLINE = ord("\n")


def import_sam(
    path: Url, output: Url, *, name: str | None = None, chunk_records: int = DEFAULT_CHUNK_RECORDS,
    chunk_bytes: int = DEFAULT_CHUNK_BYTES, codecs: Mapping[str, list[dict[str, Any]]] | None = None,
    profile: str | None = None, overwrite: bool = False, runner: Runner | None = None, memory: int | None = None,
    progress: Progress = SILENT, command: str = "",
) -> ImportReport:
    """Import SAM text, plain or compressed.

    Parameters
    ----------
    path : str or path
        A path, any url, or "-" for standard input.
    output : str or path
        Path or url of the new dataset.
    name : str, optional
        Name of the dataset: the first part of its object names. Default: from ``output``.
    chunk_records, chunk_bytes : int
        A chunk ends after so many records, or so many bytes of them as BAM.
    codecs : mapping of str to list of dict, optional
        Codec chains of columns that are to be stored in another way than by default.
    overwrite : bool
        Replace a dataset that is at ``output``.
    runner, memory, progress, command
        As in all operations.
    profile
        As for :func:`agd.import_fastq`.

    Returns
    -------
    ImportReport
        How many records, in how many chunks, and their digest.

    Raises
    ------
    InputError
        A line is damaged; says which. Nothing is left behind.
    """
    return import_stream(
        "sam", SamReader, path, output, name=name, chunk_records=chunk_records, chunk_bytes=chunk_bytes, codecs=codecs,
        profile=profile, overwrite=overwrite, runner=runner, memory=memory, progress=progress, command=command,
    )  # fmt: skip


class SamReader:
    """Header and lines of a SAM stream.

    Attributes
    ----------
    header : str
    references : tuple of Reference
    """

    def __init__(self, path: str, stream: InputStream) -> None:
        self.path = path
        self._stream = stream
        self._final = False
        self._rest = b""
        self.header = self._read_header()
        self.references = header_references(path, self.header)
        names = Column.from_list([r.name.encode() for r in self.references])
        assert names.offsets is not None
        self._names, self._name_offsets = names.values, names.offsets

    def _read_header(self) -> str:
        lines: list[bytes] = []
        text, at = b"", 0
        while True:
            end = text.find(b"\n", at)
            if end < 0 and not self._final:
                block = bytes(self._stream.read(BLOCK))
                self._final = not block
                text, at = text[at:] + block, 0
                continue
            if not text.startswith(b"@", at):
                break
            end = len(text) if end < 0 else end
            lines.append(text[at:end].rstrip(b"\r"))
            at = end + 1
        self._rest = text[at:]
        if not lines:
            _check_kind(self.path, self._rest)
        return b"".join(line + b"\n" for line in lines).decode("utf-8", "surrogateescape")

    def chunks(self, records: int, limit: int) -> Iterator[RawChunk]:
        """Lines in order: each chunk holds the text of whole lines, without blank ones at the end."""
        first = 0
        rest: U8 = np.frombuffer(self._rest, np.uint8)
        line = self.header.count("\n") + 1
        while len(rest) or not self._final:
            parts, size, lines = [rest], len(rest), int(np.count_nonzero(rest == NEWLINE))
            while lines < records and size < limit and not self._final:
                block = np.frombuffer(self._stream.read(BLOCK), np.uint8)
                self._final = not len(block)
                parts.append(block)
                size += len(block)
                lines += int(np.count_nonzero(block == NEWLINE))
            text = np.concatenate(parts)
            if not len(text):
                return
            ends = np.flatnonzero(text == NEWLINE) + 1
            if self._final and (not len(ends) or ends[-1] != len(text)):
                ends = np.append(ends, len(text))
            if not len(ends):
                limit = 2 * size  # one line is longer than a chunk
                rest = text
                continue
            count = min(records, max(1, int(np.searchsorted(ends, limit, "right"))), len(ends))
            end = int(ends[count - 1])
            yield RawChunk(first, count, (text[:end], line))
            first += count
            line += count
            rest = text[end:]

    def decode(self, raw: RawChunk) -> RecordArrays:
        """Arrays of the records of a raw chunk.

        Raises
        ------
        InputError
            With the line.
        """
        text, line = raw.data
        capacity = kernels.sam_capacity(text)
        records = RecordArrays.allocate(*capacity)
        from agd.errors import KernelError

        try:
            count = kernels.sam_parse(text, self._names, self._name_offsets, records, True)[0]
        except KernelError as error:
            place = raw.first + max(0, error.record) + 1
            raise InputError(
                self.path, error.reason, record=place, line=line + max(0, error.record),
                remedy="mend that line, or make the file again" if place > 1 else
                "mend that line, or check that this is SAM text: FASTQ, BAM and CRAM have verbs of their own",
            ) from error  # fmt: skip
        if count != raw.count:
            raise InputError(self.path, "blank lines between records", line=line + count)
        return trim(records, count)


def _check_kind(path: str, text: bytes) -> None:
    """Refuse what begins as no SAM text does."""
    if not text:
        raise InputError(path, "there is nothing in it", remedy="look at what the program that wrote it says")
    for magic, kind in ((b"BAM\x01", "bam"), (b"CRAM", "cram")):
        if text.startswith(magic) and b"\0" in text[:1024]:
            raise InputError(path, f"this is a {kind.upper()} file", remedy=f"use 'agd import {kind}'")


def trim(records: RecordArrays, count: int) -> RecordArrays:
    """The first ``count`` records of arrays with room for more."""
    arrays: list[Any] = list(records)
    ragged = [array if i % 2 == 0 else array[: count + 1] for i, array in enumerate(arrays[7:])]
    return RecordArrays(*[array[:count] for array in arrays[:7]], *ragged)
