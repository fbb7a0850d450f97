"""Records of a FASTQ file, as spans of large blocks of its text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from agd import kernels
from agd.batch import I64, U8
from agd.errors import InputError, KernelError

#: Text that is scanned at one time, bytes.
BLOCK_BYTES = 2 << 20

#: Records that are scanned at one time; even, so that pairs stay together.
BLOCK_RECORDS = 1 << 16

#: A single record may not be longer than this, bytes.
MAX_RECORD_BYTES = 1 << 30

#: Blank lines at the end of a file are kept up to this many bytes.
MAX_TRAILER_BYTES = 1 << 16

# Columns of the spans: start and end of the header line, bases, text after '+', and qualities.
NAME, BASES, PLUS, QUALITIES = 0, 2, 4, 6


class TextStream(Protocol):
    """What the reader needs of an input stream."""

    def read(self, size: int) -> Any:
        """1 to ``size`` bytes as a bytes-like object; an empty one at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive records of one file.

    Attributes
    ----------
    text : ndarray of uint8
    spans : ndarray of int64, shape (records, 8)
        0-based, half-open: start and end in ``text`` of the header line (without ``@``), the bases, the text after
        ``+``, and the qualities; line ends excluded.
    first : int
        0-based ordinal in the file of the first record.
    """

    text: U8
    spans: I64
    first: int

    def __len__(self) -> int:
        return len(self.spans)

    def slice(self, start: int, stop: int) -> Block:
        """Records ``start`` to ``stop`` (0-based, half-open) of the block; shares the text."""
        return Block(self.text, self.spans[start:stop], self.first + start)

    def name(self, record: int) -> str:
        """Header line of a record, for messages."""
        start, end = self.spans[record, NAME : NAME + 2].tolist()
        return self.text[start:end].tobytes().decode(errors="replace")


class FastqReader:
    """Reads one FASTQ file from front to back.

    Parameters
    ----------
    stream : TextStream
        The decompressed text.
    path : str
        For errors.
    interleaved : bool
        The records are pairs: blocks hold whole pairs.
    block_bytes : int
        Text in a block; the blocks never change what is read, nor which error is found.

    Attributes
    ----------
    records : int
        Records handed out so far.
    crlf : bool
        Lines end with a carriage return and a newline. Known after the first block.
    final_newline : bool
        The last line has an end. Known after the last block.
    trailer : str
        Blank lines after the last record. Known after the last block.
    """

    def __init__(
        self, stream: TextStream, path: str, *, interleaved: bool = False, block_bytes: int = BLOCK_BYTES
    ) -> None:
        self.path = path
        self.records = 0
        self.crlf = False
        self.final_newline = True
        self.trailer = ""
        self._stream = stream
        self.interleaved = interleaved
        self._multiple = 2 if interleaved else 1
        self._block_bytes = block_bytes

    def source(self) -> dict[str, Any]:
        """Entry of the manifest: all that is needed to write the file again, byte for byte."""
        return {
            "path": self.path, "format": "fastq", "line_ending": "\r\n" if self.crlf else "\n",
            "final_newline": self.final_newline, "trailer": self.trailer, "records": self.records,
        }  # fmt: skip

    def blocks(self) -> Iterator[Block]:
        """All records in order.

        Raises
        ------
        InputError
            The text is not FASTQ; every record before the bad one has been handed out by then.
        """
        buffer = np.empty(self._block_bytes, np.uint8)
        filled, ended, begun = 0, False, False
        while not ended:
            broken: InputError | None = None
            try:
                filled, ended = self._fill(buffer, filled)
            except _BrokenStreamError as error:
                filled, broken = error.filled, error.cause
            text = buffer[:filled]
            if not begun:
                begun, self.crlf = _line_ending(text)
            consumed = 0
            for block, size in self._scan(text, ended):
                consumed += size
                if len(block):
                    yield block
            if broken is not None:
                raise self._placed(broken) from broken
            rest = text[consumed:]
            if ended:
                self._finish(rest)
            else:
                buffer, filled = self._carry(rest)

    def _fill(self, buffer: U8, filled: int) -> tuple[int, bool]:
        """Read until the buffer is full: bytes that it holds then, and whether the file ends there."""
        view = memoryview(buffer)  # type: ignore[arg-type]
        while filled < len(buffer):
            try:
                data = self._stream.read(len(buffer) - filled)
            except InputError as error:
                raise _BrokenStreamError(filled, error) from error
            if not len(data):
                return filled, True
            view[filled : filled + len(data)] = data
            filled += len(data)
        return filled, False

    def _scan(self, text: U8, final: bool) -> Iterator[tuple[Block, int]]:
        """Blocks of the records of a text, each with the bytes that it takes."""
        capacity = min(BLOCK_RECORDS, 2 * (len(text) // 12 + 1))
        while True:
            # More than is needed, as a rule: memory that is not written to costs nothing.
            spans = np.empty(8 * capacity, np.int64)
            error: KernelError | None = None
            try:
                count, consumed = kernels.fastq_scan(text, final, self.crlf, spans)
            except KernelError as found:
                error = found
                count, consumed = kernels.fastq_scan(text, False, self.crlf, spans[: 8 * max(0, error.record)])
            if final and count and spans[8 * count - 1] == len(text):
                self.final_newline = False
            good, odd = consumed, count % self._multiple
            if odd and not final:
                consumed = int(spans[8 * (count - 1)]) - 1
            before = self.records
            self.records += count - odd
            yield Block(text, spans[: 8 * (count - odd)].reshape(-1, 8), before), consumed
            if error is not None:
                raise self._bad(error, text[good:], error.offset - good, before + error.record)
            if odd and final:
                raise self._without_mate()
            if count < capacity:
                return
            text = text[consumed:]

    def _finish(self, rest: U8) -> None:
        """Note what follows the last record."""
        if len(rest) > MAX_TRAILER_BYTES:
            raise InputError(
                self.path, f"{len(rest):,} bytes of blank lines follow the last record", record=self.records + 1,
                remedy="remove the blank lines at the end of the file",
            )  # fmt: skip
        self.trailer = rest.tobytes().decode("ascii")

    def _carry(self, rest: U8) -> tuple[U8, int]:
        """A fresh buffer that begins with the bytes of the record that is not complete yet."""
        if len(rest) >= MAX_RECORD_BYTES:
            raise InputError(
                self.path, f"a record is longer than {MAX_RECORD_BYTES:,} bytes", record=self.records + 1,
                line=4 * self.records + 1, remedy="check that the file is FASTQ with four lines a record",
            )  # fmt: skip
        size = self._block_bytes
        while size < 2 * len(rest):
            size *= 2
        buffer = np.empty(size, np.uint8)
        buffer[: len(rest)] = rest
        return buffer, len(rest)

    def _placed(self, error: InputError) -> InputError:
        """An error of the stream, with the record that it cuts off."""
        return type(error)(
            error.path, error.reason, record=self.records + 1, line=4 * self.records + 1, offset=error.offset,
            remedy=error.remedy,
        )  # fmt: skip

    def _without_mate(self) -> InputError:
        return InputError(
            self.path, "the last read has no mate, though the file is said to be interleaved",
            record=self.records + 1, line=4 * self.records + 1,
            remedy="import it as single reads, or restore the missing read",
        )  # fmt: skip

    def _bad(self, error: KernelError, text: U8, offset: int, record: int) -> InputError:
        """What a scan found, at an offset of a text which begins with that record (0-based in the file)."""
        line = 4 * record + 1 + int(np.count_nonzero(text[:offset] == 10))
        reason, found = error.reason, text[offset : offset + 1].tobytes().decode("latin-1")
        remedy = "the file is damaged: copy it again from where it came from"
        if "file ends" in reason:
            remedy = "the file is truncated: copy it again from where it came from"
        elif "line ends differ" in reason or (found == "\r" and "character" in reason):
            reason = "line endings are mixed: some lines end with a carriage return, others do not"
            remedy = "convert the file with dos2unix"
        elif "character" in reason:
            reason = f"{reason}: {found!r}"
        elif "'@'" in reason:
            reason = f"{reason} but with {found!r}"
            remedy = "check that the file is FASTQ with four lines a record and that no line is missing"
        elif "'+'" in reason:
            remedy = "check that the file has four lines a record: sequences must not be wrapped"
        return InputError(self.path, reason, record=record + 1, line=line, remedy=remedy)


class _BrokenStreamError(Exception):
    """A stream failed after ``filled`` bytes of the buffer had been filled."""

    def __init__(self, filled: int, cause: InputError) -> None:
        super().__init__(filled, cause)
        self.filled = filled
        self.cause = cause


def _line_ending(text: U8) -> tuple[bool, bool]:
    """Whether the first line has an end in this text, and whether it is a carriage return and a newline."""
    window = text
    if len(text) > 4096:
        window = text[:4096] if (text[:4096] == 10).any() else text
    found = np.flatnonzero(window == 10)
    if not len(found):
        return False, False
    return True, bool(found[0] > 0 and text[found[0] - 1] == 13)
