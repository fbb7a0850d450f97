"""Reference of the kernels that turn SAM text (SAM specification, sections 1.4 and 1.5) into arrays and back."""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple, NoReturn

import numpy as np

from agd.batch import I64, U8
from agd.errors import KernelError
from agd.kernels.records import RecordArrays
from agd.kernels.reference.ragged import check_offsets
from agd.kernels.reference.records import Filler, Record, check_cigar, cigar_length, read_records
from agd.kernels.reference.tags import INTEGERS, NUMBERS, fields, integer, pack_integer
from agd.types import CIGAR_OPERATIONS

#: beyond the 2^31 - 1 of the specification, as htslib: references of plants and amphibians can be longer
MOST_POSITION = 2**62 - 1
CIGAR = re.compile(rb"([0-9]{1,9})([MIDNSHP=X])")
REAL = re.compile(rb"[-+]?(\d+\.?\d*([eE][-+]?\d+)?|\.\d+([eE][-+]?\d+)?|inf|infinity|nan)", re.IGNORECASE | re.ASCII)
TAG = re.compile(rb"[A-Za-z][A-Za-z0-9]:.:", re.DOTALL)
PRINTABLE = re.compile(rb"[!-~]*")
SEQ = re.compile(rb"[A-Za-z=.]*")


class Line(NamedTuple):
    """One line, without its line end."""

    text: bytes
    start: int  # offset of its first byte in the buffer
    next: int  # offset of the next line


def lines(text: U8, final: bool) -> Iterator[Line]:
    """The complete lines; of the last part without a newline only if ``final``."""
    data = text.tobytes()
    at = 0
    while at < len(data):
        newline = data.find(b"\n", at)
        if newline < 0 and not final:
            return
        end = len(data) if newline < 0 else newline
        after = end if newline < 0 else end + 1
        yield Line(data[at:end].removesuffix(b"\r"), at, after)
        at = after


def sam_capacity(text: U8) -> tuple[int, int, int, int, int, int]:
    """Bounds for :meth:`agd.kernels.records.RecordArrays.allocate`.

    Parameters
    ----------
    text : ndarray of uint8
        SAM lines without the header; the last one may be incomplete.

    Returns
    -------
    records, names, cigar, bases, qualities, tags : int
        At least as many as :func:`sam_parse` fills from the same text.
    """
    totals = [0] * 6
    for line in lines(text, True):
        columns = line.text.split(b"\t", 11) + [b""] * 12
        totals[0] += 1
        totals[1] += len(columns[0])
        totals[2] += len(columns[5]) // 2
        totals[3] += len(columns[9])
        totals[4] += len(columns[10])
        totals[5] += 2 * (len(columns[11]) + 1) if columns[11] else 0
    records, names, cigar, bases, qualities, tags = totals
    return records, names, cigar, bases, qualities, tags


def sam_parse(
    text: U8, ref_names: U8, ref_offsets: I64, records: RecordArrays, final: bool
) -> tuple[int, int, int, int, int, int, int]:
    """Parse SAM lines into arrays.

    Parameters
    ----------
    text : ndarray of uint8
        SAM lines without the header, beginning at a line; lines end in ``\\n`` or ``\\r\\n``.
    ref_names : ndarray of uint8
    ref_offsets : ndarray of int64, shape (references + 1,)
        Names of the reference sequences, in the order of the header.
    records : RecordArrays
        Output. Parsing stops when as many records are filled as there is room for.
    final : bool
        The text ends the file: a last line without a line end is a record too.

    Returns
    -------
    records : int
        Records filled.
    consumed : int
        Bytes of their lines.
    names, cigar, bases, qualities, tags : int
        Values used of each ragged field.

    Raises
    ------
    KernelError
        A line is not a SAM record, with the offset of the field; or a ragged field has no room.

    Notes
    -----
    As strict as the regular expressions of the specification, but: positions may go up to 2^62 - 1, text in tags may be
    UTF-8, letters of hexadecimal tags may be lower case, and SEQ and QUAL may be empty for ``*``; all this htslib takes
    as well. CIGAR and SEQ must agree in length even in unmapped reads, again as in htslib. Integer tags become the
    smallest type that holds them. POS 0 becomes -1; RNEXT ``=`` becomes RNAME. Bases keep their case.
    """
    check_offsets(ref_offsets, len(ref_names), "offsets outside of the reference names")
    names = ref_names.tobytes()
    index: dict[bytes, int] = {}
    for i, (start, end) in enumerate(zip(ref_offsets[:-1].tolist(), ref_offsets[1:].tolist(), strict=True)):
        index.setdefault(names[start:end], i)
    filler = Filler(records)
    consumed = 0
    for line in lines(text, final):
        if filler.count == len(records.flag):
            break
        filler.add(_Parser(line, filler.count, index).parse())
        consumed = line.next
    used_names, cigar, bases, qualities, tags = filler.used
    return filler.count, consumed, used_names, cigar, bases, qualities, tags


class _Parser:
    """Takes the columns of one line from left to right."""

    def __init__(self, line: Line, record: int, index: dict[bytes, int]) -> None:
        self.columns = line.text.split(b"\t")
        self.offset = line.start
        self.record = record
        self.index = index

    def fail(self, reason: str, offset: int | None = None) -> NoReturn:
        raise KernelError(reason, self.record, self.offset if offset is None else offset)

    def parse(self) -> Record:
        name = self.name()
        flag = self.number(0, 65535, "FLAG is not an integer from 0 to 65535")
        reference = self.reference("RNAME is not a reference sequence of the header")
        position = self.number(0, MOST_POSITION, "POS is not an integer from 0 to 2^62 - 1") - 1
        quality = self.number(0, 255, "MAPQ is not an integer from 0 to 255")
        cigar_at = self.offset
        cigar = self.cigar()
        mate = reference
        if self.columns[0] == b"=" and len(self.columns) > 1:
            self.column()
        else:
            mate = self.reference("RNEXT is not a reference sequence of the header")
        mate_position = self.number(0, MOST_POSITION, "PNEXT is not an integer from 0 to 2^62 - 1") - 1
        template = self.number(-MOST_POSITION, MOST_POSITION, "TLEN is not an integer within 2^62")
        star = self.columns[0] == b"*"
        bases = self.bases()
        if cigar and not star and cigar_length(cigar, "MIS=X") != len(bases):
            self.fail("CIGAR and SEQ differ in length", cigar_at)
        qualities = self.qualities(len(bases))
        tags = b"".join(self.tags())
        return Record(
            flag, reference, position, quality, mate, mate_position, template, name, cigar, bases, qualities, tags
        )

    def column(self) -> bytes:
        """The next of the first ten columns."""
        if len(self.columns) < 2:
            self.fail("line has fewer than 11 fields")
        text = self.columns.pop(0)
        self.offset += len(text) + 1
        return text

    def name(self) -> bytes:
        at = self.offset
        text = self.column()
        if not 1 <= len(text) <= 254:
            self.fail("QNAME has not 1 to 254 characters", at)
        if text[:1] == b"@":
            self.fail("QNAME begins with @; header lines come before all records", at)
        if not PRINTABLE.fullmatch(text):
            self.fail("QNAME has a character outside of [!-~]", at)
        return b"" if text == b"*" else text

    def number(self, least: int, most: int, reason: str) -> int:
        at = self.offset
        digits = rb"-?[0-9]{1,19}" if least < 0 else rb"[0-9]{1,19}"
        if not re.fullmatch(digits, self.columns[0]) or not least <= int(self.columns[0]) <= most:
            self.fail(reason, at)
        if len(self.columns) < 2:
            self.fail("line has fewer than 11 fields", at)
        return int(self.column())

    def reference(self, reason: str) -> int:
        at = self.offset
        text = self.column()
        if text == b"*":
            return -1
        if text not in self.index:
            self.fail(reason, at)
        return self.index[text]

    def cigar(self) -> list[int]:
        at = self.offset
        text = self.columns[0]
        if text == b"*" and len(self.columns) > 1:
            self.column()
            return []
        found = [(int(length), code.decode()) for length, code in CIGAR.findall(text)]
        whole = re.fullmatch(rb"(%s)*" % CIGAR.pattern, text)
        if not whole or any(length >= 1 << 28 for length, _ in found):
            self.fail("CIGAR is not * or ([0-9]+[MIDNSHPX=])+", at)
        if len(self.columns) < 2:
            self.fail("line has fewer than 11 fields", at)
        if not found:
            self.fail("CIGAR is not * or ([0-9]+[MIDNSHPX=])+", at)
        self.column()
        return [length << 4 | CIGAR_OPERATIONS.index(code) for length, code in found]

    def bases(self) -> bytes:
        at = self.offset
        text = self.column()
        if text == b"*":
            return b""
        if not SEQ.fullmatch(text):
            self.fail("SEQ has a character outside of [A-Za-z=.]", at)
        return text

    def qualities(self, length: int) -> bytes:
        text = self.columns[0]
        if text == b"*":
            return b""
        if len(text) != length:
            self.fail("SEQ and QUAL differ in length")
        if not PRINTABLE.fullmatch(text):
            self.fail("QUAL has a character outside of [!-~]")
        return text

    def tags(self) -> Iterator[bytes]:
        self.offset += len(self.columns.pop(0)) + 1
        while self.columns:
            text = self.columns.pop(0)
            if text or self.columns:  # htslib, too, lets a line end in a tab
                yield self.tag(text)
            self.offset += len(text) + 1

    def tag(self, text: bytes) -> bytes:
        if not TAG.match(text):
            self.fail("tag is not of the form [A-Za-z][A-Za-z0-9]:TYPE:VALUE")
        name, kind, value = text[:2], text[3:4], text[5:]
        if kind == b"i":
            return name + pack_integer(self.integer(value, -(2**31), 2**32 - 1))
        if kind == b"A":
            if len(value) != 1 or not PRINTABLE.fullmatch(value):
                self.fail("tag of type A is not one printable character")
            return name + kind + value
        if kind == b"f":
            return name + kind + self.real32(value)
        if kind == b"d":
            return name + kind + struct.pack("<d", self.real(value))
        if kind == b"Z":
            if any(byte < 32 for byte in value):
                self.fail("tag of type Z has a control character")
            return name + kind + value + b"\0"
        if kind == b"H":
            if not re.fullmatch(rb"([0-9A-Fa-f]{2})*", value):
                self.fail("tag of type H is not pairs of hexadecimal digits")
            return name + kind + value + b"\0"
        if kind != b"B":
            self.fail("tag has a type other than A, i, f, Z, H and B")
        return name + kind + self.array(value)

    def array(self, value: bytes) -> bytes:
        kind = value[:1].decode("latin-1")
        if not kind or kind not in INTEGERS + "f" or value[1:2] not in (b"", b","):
            self.fail("tag of type B has not one of the types cCsSiIf")
        items = value.split(b",")[1:]
        head = value[:1] + struct.pack("<I", len(items))
        if kind == "f":
            return head + b"".join(map(self.real32, items))
        limits = np.iinfo(np.dtype(NUMBERS[kind][1:]))
        numbers = [self.integer(item, int(limits.min), int(limits.max)) for item in items]
        return head + struct.pack("<" + NUMBERS[kind][1] * len(numbers), *numbers)

    def integer(self, text: bytes, least: int, most: int) -> int:
        if not re.fullmatch(rb"[-+]?[0-9]{1,18}", text) or not least <= int(text) <= most:
            self.fail("tag is not an integer that its type can hold")
        return int(text)

    def real(self, text: bytes) -> float:
        if not REAL.fullmatch(text):
            self.fail("tag is not a number")
        return float(text)

    def real32(self, text: bytes) -> bytes:
        with np.errstate(over="ignore"):
            return np.array(self.real(text), np.float64).astype("<f4").tobytes()


def sam_format_bound(records: RecordArrays, ref_names: U8, ref_offsets: I64) -> int:
    """Bytes that are enough for :func:`sam_format` of these records.

    Parameters
    ----------
    records, ref_names, ref_offsets
        As for :func:`sam_format`.

    Returns
    -------
    int
    """
    return sum(map(len, _formatted(records, ref_names, ref_offsets)))


def sam_format(records: RecordArrays, ref_names: U8, ref_offsets: I64, out: U8) -> int:
    """Write records as SAM lines: the inverse of :func:`sam_parse`.

    Parameters
    ----------
    records : RecordArrays
    ref_names : ndarray of uint8
    ref_offsets : ndarray of int64, shape (references + 1,)
        Names of the reference sequences, in the order of the header.
    out : ndarray of uint8
        Output, at least :func:`sam_format_bound` long.

    Returns
    -------
    int
        Bytes written.

    Raises
    ------
    KernelError
        A field holds what SAM text cannot, aux fields do not parse, a reference is not in the header, or the output is
        too small.

    Notes
    -----
    RNEXT is ``=`` where it equals RNAME. Integer tags of all types print as ``i``. Floats print as ``%g`` lays them
    out, with at least six digits and as many more as give back the same number: what samtools has printed does not
    change.
    """
    used = 0
    for i, line in enumerate(_formatted(records, ref_names, ref_offsets)):
        if used + len(line) > len(out):
            raise KernelError("the output is smaller than sam_format_bound says", i)
        out[used : used + len(line)] = np.frombuffer(line, np.uint8)
        used += len(line)
    return used


def _formatted(records: RecordArrays, ref_names: U8, ref_offsets: I64) -> Iterator[bytes]:
    check_offsets(ref_offsets, len(ref_names), "offsets outside of the reference names")
    names = [ref_names[a:b].tobytes() for a, b in itertools.pairwise(ref_offsets.tolist())]
    for i, record in enumerate(read_records(records)):
        yield _format(record, names, i, int(RecordArrays(*records).tag_offsets[i]))


def _format(record: Record, names: list[bytes], i: int, tags_at: int) -> bytes:
    if not all(-1 <= index < len(names) for index in (record.reference, record.mate_reference)):
        raise KernelError("reference is not in the header", i)
    check_cigar(record.cigar, i)
    if record.qualities and len(record.qualities) != len(record.bases):
        raise KernelError("bases and qualities differ in length", i)
    reference, mate = (
        b"*" if index < 0 else names[index] for index in (record.reference, record.mate_reference)
    )
    if record.mate_reference >= 0 and record.mate_reference == record.reference:
        mate = b"="
    cigar = "".join(f"{operation >> 4}{CIGAR_OPERATIONS[operation & 15]}" for operation in record.cigar)
    columns = [
        _text(record.name, "name has a character outside of [!-~]", i), b"%d" % record.flag, reference,
        b"%d" % (record.position + 1), b"%d" % record.mapping_quality, cigar.encode() or b"*", mate,
        b"%d" % (record.mate_position + 1), b"%d" % record.template_length,
        _text(record.bases, "bases have a character outside of [!-~]", i),
        _text(record.qualities, "qualities are outside of 0 to 93", i),
    ]  # fmt: skip
    columns += [format_field(field, i) for field in fields(record.tags, i, tags_at)]
    return b"\t".join(columns) + b"\n"


def _text(text: bytes, reason: str, i: int) -> bytes:
    if not PRINTABLE.fullmatch(text):
        raise KernelError(reason, i)
    return text or b"*"


def format_field(field: bytes, record: int = -1) -> bytes:
    """One aux field as text."""
    name, kind = field[:2], chr(field[2])
    number = integer(field)
    if number is not None:
        return name + b":i:%d" % number
    if kind in "ZH":
        if any(byte < 32 for byte in field[3:-1]):
            raise KernelError("a tag has a control character, which SAM text cannot hold", record)
        return name + b":%c:" % field[2] + field[3:-1]
    if kind == "A":
        return name + b":A:" + field[3:4]
    if kind in "fd":
        return name + b":%c:" % field[2] + _number(field[3:], kind)
    subtype = chr(field[3])
    size = struct.calcsize(NUMBERS[subtype])
    items = [field[at : at + size] for at in range(8, len(field), size)]
    return b",".join([name + b":B:" + field[3:4], *(_number(item, subtype) for item in items)])


def _number(packed: bytes, kind: str) -> bytes:
    (value,) = struct.unpack(NUMBERS[kind], packed)
    if kind not in "fd":
        return b"%d" % value
    return _real(value if kind == "d" else np.float32(value)).encode()


def _real(value: np.float32 | float) -> str:
    """As ``%g``, with at least six digits and as many more as it takes to get the same number back."""
    text = f"{value:.6g}"
    if np.isnan(value):
        return "-nan" if np.signbit(value) else "nan"
    if type(value)(text) == value:
        return text
    mantissa, exponent = np.format_float_scientific(value, unique=True, trim="-").split("e")
    digits = len(mantissa.lstrip("-").replace(".", ""))
    if -4 <= int(exponent) < max(6, digits):
        return np.format_float_positional(value, unique=True, trim="-")
    return f"{mantissa}e{int(exponent):+03d}"
