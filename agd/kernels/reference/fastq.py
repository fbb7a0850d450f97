"""Reference of the kernel that finds and checks the records of FASTQ text."""

from __future__ import annotations

import re
from typing import NamedTuple, NoReturn

from agd.batch import I64, U8
from agd.errors import KernelError

_NOT_A_BASE = re.compile(rb"[^A-Za-z.*=-]")
_NOT_A_QUALITY = re.compile(rb"[^!-~]")


def fastq_scan(buffer: U8, final: bool, crlf: bool, spans: I64) -> tuple[int, int]:
    """Find the complete four-line records of a buffer that starts at a record.

    Parameters
    ----------
    buffer : ndarray of uint8
        Text of a FASTQ file, from the start of a record on.
    final : bool
        Whether the buffer ends the file: then a last record whose quality line has no line end is complete.
    crlf : bool
        Whether every line ends with ``\\r\\n`` (which the spans exclude) instead of ``\\n``.
    spans : ndarray of int64, shape (8 * capacity,)
        Written: for record ``i``, ``spans[8 * i:8 * i + 8]`` holds start and end (0-based offsets into the buffer,
        half-open) of name (without ``@``), sequence, text of the third line (after ``+``) and qualities.

    Returns
    -------
    records : int
        Number of records found, at most the capacity.
    consumed : int
        Bytes that they take. Blank lines at the very end of the file belong to no record.

    Raises
    ------
    KernelError
        A record (0-based, in this buffer) is malformed at ``offset``: it does not start with ``@``; its third line does
        not start with ``+``; its sequence holds anything but letters and ``.-*=``; its qualities hold anything but the
        characters 33 to 126; sequence and qualities differ in length; line ends differ; the file ends inside of it.
        Without ``final``, a record that is not complete yet is no error.
    """
    text = buffer.tobytes()
    records = position = 0
    while records < len(spans) // 8:
        found = _Record(text, final, crlf, records).find(position)
        if found is None:
            break
        spans[8 * records : 8 * records + 8], position = found
        records += 1
    return records, position


class _Record(NamedTuple):
    text: bytes
    final: bool
    crlf: bool
    record: int

    def fail(self, reason: str, offset: int) -> NoReturn:
        raise KernelError(reason, self.record, offset)

    def incomplete(self, line: int) -> None:
        if self.final:
            self.fail(f"the file ends inside line {line} of a record", len(self.text))

    def line(self, start: int) -> tuple[int, int] | None:
        """End of the text of the line at ``start``, and the start of the next line."""
        end = self.text.find(b"\n", start)
        if end < 0:
            return None
        if not self.crlf:
            return end, end + 1
        if end == start or self.text[end - 1] != ord("\r"):
            self.fail("line ends differ: a line has no carriage return", end)
        return end - 1, end + 1

    def check(self, pattern: re.Pattern[bytes], start: int, end: int, what: str) -> None:
        bad = pattern.search(self.text, start, end)
        if bad:
            self.fail(f"bad character in the {what}", bad.start())

    def qualities(self, start: int, length: int) -> tuple[int, int] | None:
        found = self.line(start)
        size = len(self.text)
        if found is None:
            short = size - start < length
            cut_line_end = self.crlf and size - start == length + 1 and self.text[-1:] == b"\r"
            if not self.final or short or cut_line_end:
                return self.incomplete(4)
            found = size, size
        self.check(_NOT_A_QUALITY, start, found[0], "qualities")
        if found[0] - start != length:
            self.fail("sequence and qualities differ in length", start)
        return found

    def find(self, position: int) -> tuple[list[int], int] | None:
        text = self.text
        if position == len(text) or (text[position] in b"\r\n" and not text[position:].strip(b"\r\n")):
            return None
        if text[position] != ord("@"):
            self.fail("a record does not start with '@'", position)
        name = self.line(position + 1)
        if name is None:
            return self.incomplete(1)
        sequence = self.line(name[1])
        if sequence is None:
            return self.incomplete(2)
        self.check(_NOT_A_BASE, name[1], sequence[0], "sequence")
        if sequence[1] == len(text):
            return self.incomplete(3)
        if text[sequence[1]] != ord("+"):
            self.fail("the third line of a record does not start with '+'", sequence[1])
        plus = self.line(sequence[1] + 1)
        if plus is None:
            return self.incomplete(3)
        quality = self.qualities(plus[1], sequence[0] - name[1])
        if quality is None:
            return None
        spans = [position + 1, name[0], name[1], sequence[0], sequence[1] + 1, plus[0], plus[1], quality[0]]
        return spans, quality[1]
