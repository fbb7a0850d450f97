"""FASTQ beyond the scan: whether mates are in step, and the text of records."""

from __future__ import annotations

import re

from agd.batch import I64, U8, Bool
from agd.errors import KernelError
from agd.kernels.reference.ragged import check_offsets

_BLANK = re.compile(rb"[\x00-\x20]")


def same_names(
    text1: U8, starts1: I64, ends1: I64, text2: U8, starts2: I64, ends2: I64, header: bool, same: Bool
) -> None:
    """Compare the names of reads, one by one.

    Parameters
    ----------
    text1, text2 : ndarray of uint8
    starts1, ends1, starts2, ends2 : ndarray of int64, shape (reads,), any stride
        Spans of ``text1`` and ``text2``, 0-based, half-open.
    header : bool
        The spans are header lines without ``@``: a name ends at the first byte up to 32 (white space), and a final
        ``/1`` or ``/2`` does not count, unless nothing else is left. Otherwise they are names as they are.
    same : ndarray of bool, shape (reads,)
        Output.

    Raises
    ------
    KernelError
        A span lies outside of its text, or the numbers of spans differ.
    """
    if len(starts1) != len(ends1) or len(starts2) != len(ends2):
        raise KernelError("starts and ends differ in number")
    if len(starts1) != len(starts2) or len(starts1) != len(same):
        raise KernelError("the two sides differ in number")
    for i in range(len(starts1)):
        one = _name(text1, int(starts1[i]), int(ends1[i]), header, i)
        same[i] = one == _name(text2, int(starts2[i]), int(ends2[i]), header, i)


def _name(text: U8, start: int, end: int, header: bool, read: int) -> bytes:
    if not 0 <= start <= end <= len(text):
        raise KernelError("span outside of the text", read, start)
    line = text[start:end].tobytes()
    return line[: _name_size(line, True)] if header else line


def _name_size(line: bytes, trim: bool) -> int:
    name = _BLANK.split(line, maxsplit=1)[0]
    return len(name) - (2 if trim and len(name) > 2 and name[-2:] in (b"/1", b"/2") else 0)


def name_ends(text: U8, offsets: I64, paired: Bool, ends: I64) -> None:
    """Find where the name ends in each header line.

    Parameters
    ----------
    text : ndarray of uint8
        Header lines without ``@``.
    offsets : ndarray of int64, shape (reads + 1,)
        0-based, into ``text``.
    paired : ndarray of bool, shape (reads,)
        Which reads have a mate: their names end before a final ``/1`` or ``/2``, unless nothing else is left.
    ends : ndarray of int64, shape (reads,)
        Output: the first byte up to 32 (white space) or the end of the line, 0-based, into ``text``.

    Raises
    ------
    KernelError
        Offsets lie outside of the text or decrease, or the arrays differ in length.
    """
    check_offsets(offsets, len(text), "offsets outside of the text")
    if not len(paired) == len(ends) == len(offsets) - 1:
        raise KernelError("offsets, mates and ends differ in number")
    for i in range(len(ends)):
        ends[i] = offsets[i] + _name_size(text[offsets[i] : offsets[i + 1]].tobytes(), bool(paired[i]))


def fastq_format(
    metadata: U8, metadata_offsets: I64, bases: U8, bases_offsets: I64, qualities: U8, quality_offsets: I64,
    records: I64, crlf: bool, missing: int, out: U8,
) -> int:
    """Write four lines of FASTQ for each of some records.

    Parameters
    ----------
    metadata, bases, qualities : ndarray of uint8
        Values of the columns. Metadata: the header line without ``@``; if a newline follows, the text of the ``+``
        line comes after it.
    metadata_offsets, bases_offsets, quality_offsets : ndarray of int64, shape (count + 1,)
    records : ndarray of int64
        Which records, in the order of the output.
    crlf : bool
        Lines end with a carriage return and a newline.
    missing : int
        Quality character (0 to 255) for the bases of a record that has no qualities.
    out : ndarray of uint8
        At least ``metadata + 2 * bases + 2 + 4 * (newline bytes)`` long, summed over the records.

    Returns
    -------
    int
        Bytes written.

    Raises
    ------
    KernelError
        The columns differ in length, a record has more or fewer qualities than bases, or the output is too small.
    """
    for values, offsets, what in (
        (metadata, metadata_offsets, "metadata"), (bases, bases_offsets, "bases"),
        (qualities, quality_offsets, "quality"),
    ):  # fmt: skip
        check_offsets(offsets, len(values), f"{what} offsets outside of the values")
    if not len(metadata_offsets) == len(bases_offsets) == len(quality_offsets):
        raise KernelError("the columns differ in length")
    end = b"\r\n" if crlf else b"\n"
    at = 0
    for i in records.tolist():
        if not 0 <= i < len(metadata_offsets) - 1:
            raise KernelError("there is no such record", i)
        name = metadata[metadata_offsets[i] : metadata_offsets[i + 1]].tobytes()
        sequence = bases[bases_offsets[i] : bases_offsets[i + 1]].tobytes()
        quality = qualities[quality_offsets[i] : quality_offsets[i + 1]].tobytes()
        if len(quality) not in (0, len(sequence)):
            raise KernelError("bases and qualities differ in length", i)
        head, _, plus = name.partition(b"\n")
        quality = quality or bytes([missing]) * len(sequence)
        text = b"@" + head + end + sequence + end + b"+" + plus + end + quality + end
        if len(text) > len(out) - at:
            raise KernelError("the output is too small")
        out[at : at + len(text)] = memoryview(text)
        at += len(text)
    return at
