"""Finding and checking FASTQ records."""

from __future__ import annotations

import gzip
from pathlib import Path
from types import ModuleType

import numpy as np
import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.errors import KernelError
from agd.kernels import _native, reference

Read = tuple[bytes, bytes, bytes, bytes]  # name, sequence, third line, qualities

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz.*=-"
QUALITIES = "".join(map(chr, range(33, 127)))


def scan(
    kernels: ModuleType, text: bytes, final: bool = True, crlf: bool = False, room: int = 100
) -> tuple[list[Read], int]:
    spans = np.full(8 * room, -1, np.int64)
    records, consumed = kernels.fastq_scan(np.frombuffer(text, np.uint8), final, crlf, spans)
    ends = spans[: 8 * records].reshape(-1, 4, 2).tolist()
    return [tuple(text[a:b] for a, b in record) for record in ends], consumed  # type: ignore[misc]


@st.composite
def reads(draw: st.DrawFn) -> list[Read]:
    line = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=20).map(lambda x: x.encode("latin-1"))
    found = []
    for length in draw(st.lists(st.integers(0, 100), max_size=8)):
        sequence = draw(st.text(LETTERS, min_size=length, max_size=length)).encode()
        qualities = draw(st.text(QUALITIES, min_size=length, max_size=length)).encode()
        found.append((draw(line), sequence, draw(line), qualities))
    return found


def text_of(records: list[Read], end: bytes = b"\n") -> bytes:
    return b"".join(b"@" + end.join((a, b, b"+" + c, d)) + end for a, b, c, d in records)


@given(records=reads(), crlf=st.booleans())
def test_scan_finds_the_fields_of_whole_files(kernels: ModuleType, records: list[Read], crlf: bool) -> None:
    end = b"\r\n" if crlf else b"\n"
    text = text_of(records, end)
    assert scan(kernels, text, True, crlf) == (records, len(text))
    assert scan(kernels, text, False, crlf) == (records, len(text))
    if records and records[-1][3]:
        shorter = text[: -len(end)]
        assert scan(kernels, shorter, True, crlf) == (records, len(shorter))


@given(records=reads(), crlf=st.booleans(), data=st.data())
def test_scan_in_pieces_is_scan_of_the_whole(
    kernels: ModuleType, records: list[Read], crlf: bool, data: st.DataObject
) -> None:
    text = text_of(records, b"\r\n" if crlf else b"\n")
    cut = data.draw(st.integers(0, len(text)))
    first, consumed = scan(kernels, text[:cut], False, crlf)
    assert consumed <= cut
    assert text_of(first, b"\r\n" if crlf else b"\n") == text[:consumed]
    rest, more = scan(kernels, text[consumed:], True, crlf)
    assert (first + rest, consumed + more) == (records, len(text))


def test_scan_stops_when_there_is_no_more_room(kernels: ModuleType) -> None:
    text = b"@a\nA\n+\nI\n@b\nC\n+\nI\n"
    assert scan(kernels, text, room=1) == ([(b"a", b"A", b"", b"I")], 9)
    assert scan(kernels, text, room=0) == ([], 0)


@pytest.mark.parametrize("blank", [b"\n", b"\n\n\n", b"\r\n", b"\n\r\n"])
def test_blank_lines_at_the_end_are_no_records(kernels: ModuleType, blank: bytes) -> None:
    assert scan(kernels, b"@a\nA\n+\nI\n" + blank) == ([(b"a", b"A", b"", b"I")], 9)
    assert scan(kernels, blank) == ([], 0)
    assert scan(kernels, blank, final=False) == ([], 0)


def test_carriage_return_in_a_name_is_text(kernels: ModuleType) -> None:
    assert scan(kernels, b"@a\r\nA\n+\r\nI\n")[0] == [(b"a\r", b"A", b"\r", b"I")]


GOOD = b"@a\nACGT\n+\nIIII\n"
LONG = b"ACGTN" * 20


@pytest.mark.parametrize(
    ("text", "crlf", "reason", "record", "offset"),
    [
        (GOOD + b"x", False, "does not start with '@'", 1, 15),
        (GOOD + b"\n" + GOOD, False, "does not start with '@'", 1, 15),
        (b">a\nA\n", False, "does not start with '@'", 0, 0),
        (GOOD + b"@b", False, "inside line 1", 1, 17),
        (b"@b\n", False, "inside line 2", 0, 3),
        (b"@b\nAC", False, "inside line 2", 0, 5),
        (b"@b\nAC\n", False, "inside line 3", 0, 6),
        (b"@b\nAC\n+", False, "inside line 3", 0, 7),
        (b"@b\nAC\n+\n", False, "inside line 4", 0, 8),
        (b"@b\nAC\n+\nI", False, "inside line 4", 0, 9),
        (b"@b\r\nAC\r\n+\r\nI", True, "inside line 4", 0, 12),
        (b"@b\r\nAC\r\n+\r\nII\r", True, "inside line 4", 0, 14),
        (b"@b\nAC\nGT\n+\nIIII\n", False, "third line", 0, 6),
        (b"@b\nAC\n+\nI\n", False, "differ in length", 0, 8),
        (b"@b\nAC\n+\nIII\n", False, "differ in length", 0, 8),
        (b"@b\nAC\n+\nIII", False, "differ in length", 0, 8),
        (b"@b\nACGTA\n+\nII\nII\n", False, "differ in length", 0, 11),
        (b"@b\nA1\n+\nII\n", False, "character in the sequence", 0, 4),
        (b"@b\nA C\n+\nIII\n", False, "character in the sequence", 0, 4),
        (b"@b\nAC\r\n+\nII\n", False, "character in the sequence", 0, 5),
        (b"@b\nAC\n+\nII\r\n", False, "character in the qualities", 0, 10),
        (b"@b\nAC\n+\nI \n", False, "character in the qualities", 0, 9),
        (b"@b\nAC\n+\nI\x7f\n", False, "character in the qualities", 0, 9),
        (b"@b\nAC\n+\nI\x7f", False, "character in the qualities", 0, 9),
        (b"@b\n" + LONG + b"@\n+\n" + b"I" * 101 + b"\n", False, "character in the sequence", 0, 103),
        (b"@b\n" + LONG + b"\n+\n" + b"I" * 40 + b"\x80" + b"I" * 59 + b"\n", False, "in the qualities", 0, 146),
        (b"@b\r\nAC\n+\r\nII\r\n", True, "line ends differ", 0, 6),
        (b"@b\nAC\r\n+\r\nII\r\n", True, "line ends differ", 0, 2),
        (b"@b\r\n\n+\r\n\r\n", True, "line ends differ", 0, 4),
        (b"@b\r\nAC\r\n+\r\nII\n", True, "line ends differ", 0, 13),
    ],
)
def test_malformed_records_are_told_exactly(
    kernels: ModuleType, text: bytes, crlf: bool, reason: str, record: int, offset: int
) -> None:
    with pytest.raises(KernelError, match=reason) as caught:
        scan(kernels, text, True, crlf)
    assert (caught.value.record, caught.value.offset) == (record, offset)


@pytest.mark.parametrize("length", [1, 31, 32, 33, 70])
def test_every_byte_in_sequence_and_qualities(kernels: ModuleType, length: int) -> None:
    for byte in range(256):
        for at in {0, length // 2, length - 1}:
            good, line = b"A" * length, bytearray(b"A" * length)
            line[at] = byte
            for sequence, qualities, allowed in ((bytes(line), good, LETTERS), (good, bytes(line), QUALITIES)):
                text = text_of([(b"n", sequence, b"", qualities)])
                if chr(byte) in allowed:
                    assert scan(kernels, text)[1] == len(text)
                else:
                    with pytest.raises(KernelError):
                        scan(kernels, text)


PIECES = [b"@", b"+", b"\n", b"\n", b"\r\n", b"A", b"ACG", b"I", b" ", b"\r", b"\x00"]


@given(st.lists(st.sampled_from(PIECES), max_size=30))
def test_native_and_reference_agree_on_anything(pieces: list[bytes]) -> None:
    text = b"".join(pieces)
    for final in (False, True):
        for crlf in (False, True):
            outcomes = []
            for module in (_native, reference):
                try:
                    outcomes.append(scan(module, text, final, crlf))
                except KernelError as error:
                    outcomes.append((error.reason, error.record, error.offset))  # type: ignore[arg-type]
            assert outcomes[0] == outcomes[1]


@pytest.mark.data
@pytest.mark.parametrize(
    "name",
    ["tricky/tricky_R1.fastq", "tricky/no_final_newline.fastq", "tricky/crlf.fastq", "tricky/empty.fastq",
     "bacteria_shigella/*_R1.fastq.gz"],
)  # fmt: skip
def test_real_files_against_htslib(kernels: ModuleType, data: Path, name: str) -> None:
    (path,) = data.glob(name)
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if kernels is reference:
        text = text[: text.find(b"\n@", 400_000) + 1] if len(text) > 400_000 else text
    crlf = b"\r\n" in text[:1000]
    found, consumed = scan(kernels, text, False, crlf, room=30_000)
    rest, more = scan(kernels, text[consumed:], True, crlf)
    found += rest
    assert consumed + more == len(text)
    with pysam.FastxFile(str(path), persist=False) as file:
        for record, (title, sequence, _, qualities) in zip(file, found, strict=False):
            assert title.decode().split(None, 1)[0] == record.name
            assert sequence.decode() == record.sequence
            assert qualities.decode() == (record.quality or "")
