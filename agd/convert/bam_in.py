"""Import BAM: BGZF blocks are inflated in parallel and records decoded by a kernel."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from agd import kernels
from agd.batch import I64, U8
from agd.convert.records import RawChunk, cut, header_references, import_stream
from agd.convert.reports import ImportReport
from agd.convert.streams import InputStream
from agd.errors import InputError, KernelError
from agd.kernels.memory import empty
from agd.kernels.records import RecordArrays
from agd.run import SILENT, Progress, Runner
from agd.samheader import check_reference_name
from agd.types import DEFAULT_CHUNK_BYTES, DEFAULT_CHUNK_RECORDS, Reference
from agd.urls import Url

MAGIC = b"BAM\1"

#: No header of a BAM file is believed that claims to be larger than this, in bytes.
MAX_HEADER = 1 << 30

#: Bytes of uncompressed BAM that are read at a time.
BLOCK = 1 << 20


def import_bam(
    path: Url, output: Url, *, name: str | None = None, chunk_records: int = DEFAULT_CHUNK_RECORDS,
    chunk_bytes: int = DEFAULT_CHUNK_BYTES, codecs: Mapping[str, list[dict[str, Any]]] | None = None,
    profile: str | None = None, overwrite: bool = False, runner: Runner | None = None, memory: int | None = None,
    progress: Progress = SILENT, command: str = "",
) -> ImportReport:
    """Import a BAM file: every record, every tag, the header text.

    Parameters
    ----------
    path : str or path
        A path, any url, or "-" for standard input.
    output : str or path
        Path or url of the new dataset.
    chunk_records, chunk_bytes : int
        A chunk ends after so many records, or so many bytes of uncompressed BAM.
    codecs, profile
        As for :func:`agd.import_fastq`.
    name : str, optional
        Name of the dataset: the first part of its object names. Default: from ``output``.
    overwrite : bool
        Replace a dataset that is at ``output``.
    runner, memory, progress, command
        As in all operations.

    Returns
    -------
    ImportReport
        How many records, in how many chunks, and their digest.

    Raises
    ------
    InputError
        The file is damaged; says where. Nothing is left behind.

    Examples
    --------
    >>> report = agd.export_bam(agd.open("sorted.agd"), "old.bam")
    >>> report = agd.import_bam("old.bam", "old.agd")
    >>> agd.open("old.agd").manifest.sort_order.value
    'coordinate'
    """
    return import_stream(
        "bam", BamReader, path, output, name=name, chunk_records=chunk_records, chunk_bytes=chunk_bytes, codecs=codecs,
        profile=profile, overwrite=overwrite, runner=runner, memory=memory, progress=progress, command=command,
    )  # fmt: skip


class BamReader:
    """Header and records of an uncompressed BAM stream.

    Parameters
    ----------
    path : str
        For errors.
    stream : InputStream
        Of uncompressed bytes; read from where it is.

    Attributes
    ----------
    header : str
    references : tuple of Reference
    """

    def __init__(self, path: str, stream: InputStream) -> None:
        self.path = path
        self._stream = stream
        self._offset = 0
        if self._exactly(4, "magic") != MAGIC:
            raise InputError(path, "this is not a BAM file", offset=0, remedy="check the path; SAM and CRAM have verbs "
                             "of their own")  # fmt: skip
        text = self._exactly(self._length("header text"), "header text").split(b"\0", 1)[0]
        try:
            self.header = text.decode()
        except UnicodeDecodeError:
            # The specification asks for UTF-8 but older files hold other things; they must come back as they were.
            self.header = text.decode("utf-8", "surrogateescape")
        if self.header and not self.header.endswith("\n"):
            self.header += "\n"
        listed = [self._reference() for _ in range(self._length("number of references", MAX_HEADER // 9))]
        self.references = self._agree(listed)

    def _exactly(self, size: int, what: str) -> bytes:
        data = bytes(self._stream.read(size))
        while len(data) < size:
            more = bytes(self._stream.read(size - len(data)))
            if not more:
                raise InputError(
                    self.path, f"the file ends in the {what}", offset=self._offset + len(data),
                    remedy="the file is truncated: fetch or make it again",
                )
            data += more
        self._offset += size
        return data

    def _length(self, what: str, most: int = MAX_HEADER) -> int:
        value = int(struct.unpack("<i", self._exactly(4, what))[0])
        if not 0 <= value <= most:
            raise InputError(self.path, f"the length of the {what} is {value}", offset=self._offset - 4)
        return value

    def _reference(self) -> Reference:
        name = self._exactly(self._length("name of a reference", 1 << 16), "name of a reference")
        text = name.rstrip(b"\0").decode("utf-8", "replace")
        try:
            check_reference_name(text)
        except ValueError as error:
            raise InputError(self.path, str(error), offset=self._offset - len(name)) from error
        return Reference(text, self._length("length of a reference", (1 << 31) - 1))

    def _agree(self, listed: list[Reference]) -> tuple[Reference, ...]:
        """References of the binary list, with the MD5 of the header text; the two must not contradict each other."""
        described = {r.name: r for r in header_references(self.path, self.header)}
        if described and [(r.name, r.length) for r in listed] != [(r.name, r.length) for r in described.values()]:
            raise InputError(self.path, "the @SQ lines of the header and the list of references differ")
        return tuple(described.get(r.name, r) for r in listed)

    def chunks(self, records: int, limit: int) -> Iterator[RawChunk]:
        """Raw records in order: each chunk holds ``(buffer, offsets)`` for the BAM kernels."""
        rest: U8 = np.empty(0, np.uint8)
        first, size, final = 0, BLOCK, False
        while not final or len(rest):
            # Chunks are much alike, so room for the one before and a block is room enough as a rule.
            buffer = empty(max(size, len(rest)) + BLOCK)
            buffer[: len(rest)] = rest
            filled, count, offsets = len(rest), 0, np.zeros(records + 1, np.int64)
            while True:
                count += self._scan(buffer[int(offsets[count]) : filled], final, offsets[count:], first + count)
                if count == records or offsets[count] >= limit or final:
                    break
                if filled == len(buffer):
                    buffer = np.concatenate((buffer, np.empty(len(buffer), np.uint8)))
                room = min(BLOCK, len(buffer) - filled)
                taken = self._stream.readinto(buffer[filled : filled + room])
                filled, final = filled + taken, taken < room
            if not count:
                break
            count = cut(offsets[: count + 1], records, limit)
            end = int(offsets[count])
            rest = buffer[end:filled].copy()
            yield RawChunk(first, count, (buffer[:end], offsets[: count + 1].copy()))
            del buffer  # memory for the next one, if the work on this one is done by then
            first, size = first + count, end

    def _scan(self, buffer: U8, final: bool, offsets: I64, first: int) -> int:
        """Number of whole records in a buffer; their offsets go on from ``offsets[0]``, which is where it begins."""
        begin = int(offsets[0])
        try:
            count, _ = kernels.bam_scan(buffer, final, offsets)
        except KernelError as error:
            raise InputError(
                self.path, error.reason, record=first + error.record + 1,
                remedy="the file is truncated or damaged: fetch or make it again",
            ) from error
        offsets[: count + 1] += begin
        return count

    def decode(self, raw: RawChunk) -> RecordArrays:
        """Arrays of the records of a raw chunk."""
        buffer, offsets = raw.data
        sizes = kernels.bam_measure(buffer, offsets)
        records = RecordArrays.allocate(raw.count, *sizes)
        kernels.bam_decode(buffer, offsets, len(self.references), records)
        return records
