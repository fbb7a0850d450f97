"""Reference of the kernels that turn BAM records (SAM specification, section 4.2) into arrays and back."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from agd.batch import I32, I64, U8, U16
from agd.errors import KernelError
from agd.kernels.records import RecordArrays
from agd.kernels.reference.ragged import check_offsets
from agd.kernels.reference.records import Filler, Record, check_cigar, cigar_length, read_records
from agd.kernels.reference.tags import fields
from agd.types import Flag

LETTERS = b"=ACMGRSVTWYHKDBN"
#: code of every byte: both cases, U as T, 0 to 3 as ACGT, everything else N, as htslib folds them
CODES = [15] * 256
for _code, _letter in enumerate(LETTERS):
    CODES[_letter] = CODES[chr(_letter).lower().encode()[0]] = _code
CODES[ord("U")] = CODES[ord("u")] = 8
CODES[ord("0") : ord("4")] = [1, 2, 4, 8]
#: the letter that every byte becomes in BAM
FOLDED = bytes(LETTERS[code] for code in CODES)

#: block_size, refID, pos, l_read_name, mapq, bin, n_cigar_op, flag, l_seq, next_refID, next_pos, tlen
CORE = struct.Struct("<iiiBBHHHiiii")
MOST_OPERATIONS = 0xFFFF


def bam_scan(buffer: U8, final: bool, offsets: I64) -> tuple[int, int]:
    """Find the boundaries of the complete records in uncompressed BAM that begins at a record.

    Parameters
    ----------
    buffer : ndarray of uint8
    final : bool
        The buffer ends the file, so that a partial record at its end is an error.
    offsets : ndarray of int64, shape (capacity + 1,)
        Output: record ``i`` is ``buffer[offsets[i]:offsets[i + 1]]``, with its block size. The scan stops after
        ``capacity`` records.

    Returns
    -------
    records : int
    consumed : int
        Bytes of these records, ``offsets[records]``.

    Raises
    ------
    KernelError
        A block size is too small, or the last record of the file is truncated.
    """
    if len(offsets) < 1:
        raise KernelError("no room for offsets")
    at = records = 0
    offsets[0] = 0
    while records < len(offsets) - 1 and at < len(buffer):
        left = len(buffer) - at
        block = struct.unpack("<i", buffer[at : at + 4].tobytes())[0] if left >= 4 else None
        if block is not None and block < 33:
            raise KernelError("block size is less than a record's fixed fields", records, at)
        if block is None or block > left - 4:
            if final:
                raise KernelError("the last record is truncated", records, at)
            break
        at += 4 + block
        records += 1
        offsets[records] = at
    return records, at


def bam_measure(buffer: U8, offsets: I64) -> tuple[int, int, int, int, int]:
    """Measure records for :meth:`agd.kernels.records.RecordArrays.allocate`, and check them.

    Parameters
    ----------
    buffer, offsets
        As :func:`bam_scan` leaves them.

    Returns
    -------
    names, cigar, bases, qualities, tags : int
        Exact number of values of each ragged field.

    Raises
    ------
    KernelError
        The parts of a record do not fit its size, a name does not end in NUL, or aux fields do not parse.
    """
    check_offsets(offsets, len(buffer), "offsets outside of the buffer")
    totals = np.zeros(5, np.int64)
    for i, (start, end) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
        parsed = _parse(buffer[start:end].tobytes(), i, start).record
        totals += [len(run) for run in parsed[7:]]
    names, cigar, bases, qualities, tags = totals.tolist()
    return names, cigar, bases, qualities, tags


def bam_decode(buffer: U8, offsets: I64, references: int, records: RecordArrays) -> tuple[int, int, int, int, int]:
    """Decode records into arrays.

    Parameters
    ----------
    buffer, offsets
        As :func:`bam_scan` leaves them and :func:`bam_measure` has checked them (the content of aux fields is not
        looked at again).
    references : int
        Reference sequences in the header.
    records : RecordArrays
        Output, with room for at least the measured sizes.

    Returns
    -------
    names, cigar, bases, qualities, tags : int
        Values used of each ragged field.

    Raises
    ------
    KernelError
        A reference is not in the header, a CIGAR is wrong or fits the sequence of a mapped read not, or the arrays are
        too small.

    Notes
    -----
    The name ``*`` becomes empty. Qualities that are all 0xff become empty (missing), others get 33 added (modulo 256).
    A CIGAR in a CG tag is put back in its place, under the conditions that htslib has for it. The bin is dropped, since
    it follows from the rest.
    """
    check_offsets(offsets, len(buffer), "offsets outside of the buffer")
    filler = Filler(records)
    if len(offsets) - 1 > len(records.flag):
        raise KernelError("the arrays of the records are too small")
    for i, (start, end) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
        record, cigar_at = _parse(buffer[start:end].tobytes(), i, start)
        if not -1 <= record.reference < references:
            raise KernelError("reference is not in the header", i, start + 4)
        if not -1 <= record.mate_reference < references:
            raise KernelError("mate reference is not in the header", i, start + 24)
        if record.position < -1:
            raise KernelError("position is less than -1", i, start + 8)
        if record.mate_position < -1:
            raise KernelError("mate position is less than -1", i, start + 28)
        check_cigar(record.cigar, i, cigar_at)
        query = cigar_length(record.cigar, "MIS=X")
        if record.cigar and record.bases and not record.flag & Flag.UNMAPPED and query != len(record.bases):
            raise KernelError("CIGAR and sequence differ in length", i, cigar_at)
        filler.add(record)
    names, cigar, bases, qualities, tags = filler.used
    return names, cigar, bases, qualities, tags


def bam_places(
    buffer: U8, offsets: I64, references: int, flag: U16, reference: I32, position: I64, end: I64
) -> None:  # fmt: skip
    """Check records, and tell where they are aligned.

    Parameters
    ----------
    buffer, offsets
        As :func:`bam_scan` leaves them.
    references : int
        Reference sequences in the header.
    flag : ndarray of uint16, shape (records,)
        Output.
    reference : ndarray of int32, shape (records,)
        Output; -1 for none.
    position, end : ndarray of int64, shape (records,)
        Output: 0-based, half-open; at least one base, and one for records with the flag 0x4 (``bam_endpos`` of htslib).

    Raises
    ------
    KernelError
        As :func:`bam_measure`; a reference is not in the header; a position is less than -1.
    """
    check_offsets(offsets, len(buffer), "offsets outside of the buffer")
    if any(len(out) != len(offsets) - 1 for out in (flag, reference, position, end)):
        raise KernelError("outputs and records differ in number")
    for i, (start, stop) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
        record = _parse(buffer[start:stop].tobytes(), i, start).record
        if not -1 <= record.reference < references:
            raise KernelError("reference is not in the header", i, start + 4)
        if record.position < -1:
            raise KernelError("position is less than -1", i, start + 8)
        mapped = not record.flag & Flag.UNMAPPED
        covered = sum(o >> 4 for o in record.cigar if mapped and "MIDNSHP=X"[o & 15 : (o & 15) + 1] in tuple("MDN=X"))
        flag[i], reference[i], position[i] = record.flag, record.reference, record.position
        end[i] = record.position + max(covered, 1)


class _Parsed(NamedTuple):
    record: Record
    cigar_at: int  # offset of the CIGAR in the buffer


def _parse(data: bytes, i: int, start: int) -> _Parsed:
    """Parts of one record, whose size is checked; ``start``: its offset in the buffer."""
    if len(data) < 37 or struct.unpack_from("<i", data)[0] != len(data) - 4:
        raise KernelError("block size and offsets differ", i, start)
    core = CORE.unpack_from(data)
    _, reference, position, l_name, quality, _, n_cigar, flag, length, mate, mate_position, template = core
    if l_name < 1:
        raise KernelError("name size is 0", i, start + 12)
    if length < 0:
        raise KernelError("sequence length is negative", i, start + 20)
    cigar_at = 36 + l_name
    bases_at = cigar_at + 4 * n_cigar
    qualities_at = bases_at + (length + 1) // 2
    tags_at = qualities_at + length
    if tags_at > len(data):
        raise KernelError("fields are longer than the record", i, start)
    if data[cigar_at - 1] != 0:
        raise KernelError("name does not end in NUL", i, start + 36)
    name = data[36 : cigar_at - 1]
    cigar = list(struct.unpack_from(f"<{n_cigar}I", data, cigar_at))
    letters = b"".join(bytes((LETTERS[byte >> 4], LETTERS[byte & 15])) for byte in data[bases_at:qualities_at])
    qualities = data[qualities_at:tags_at]
    missing = qualities == b"\xff" * length
    tags = data[tags_at:]
    if cigar and reference >= 0 and position >= 0 and cigar[0] == length << 4 | 4:
        cigar, tags = _restore_cigar(cigar, tags, i, start + tags_at)
    else:
        for _ in fields(tags, i, start + tags_at):
            pass
    record = Record(
        flag, reference, position, quality, mate, mate_position, template,
        b"" if name == b"*" else name, cigar, letters[:length],
        b"" if missing else bytes((q + 33) % 256 for q in qualities), tags,
    )  # fmt: skip
    return _Parsed(record, start + cigar_at)


def _restore_cigar(cigar: list[int], tags: bytes, i: int, offset: int) -> tuple[list[int], bytes]:
    """Take the operations from the CG tag, if there is one that htslib would take (SAM specification, 4.2.2)."""
    parts = list(fields(tags, i, offset))
    found = next((k for k, field in enumerate(parts) if field[:2] == b"CG"), None)
    if found is None or parts[found][2:4] not in (b"BI", b"Bi"):
        return cigar, tags
    count = struct.unpack_from("<I", parts[found], 4)[0]
    if not len(cigar) <= count < 1 << 29:
        return cigar, tags
    real = list(struct.unpack_from(f"<{count}I", parts[found], 8))
    return real, b"".join(parts[:found] + parts[found + 1 :])


def bam_sizes(records: RecordArrays, sizes: I64) -> None:
    """Bytes of every record as BAM, with its block size.

    Parameters
    ----------
    records : RecordArrays
    sizes : ndarray of int64, shape (records,)
        Output.

    Raises
    ------
    KernelError
        A name is longer than 254 characters, bases and qualities differ in length, or a record is too long.
    """
    if len(sizes) != len(records[0]):
        raise KernelError("sizes and records differ in number")
    for i, record in enumerate(read_records(records)):
        sizes[i] = _size(record, i)


def bam_encode(records: RecordArrays, out: U8, offsets: I64) -> None:
    """Encode records as BAM: the inverse of :func:`bam_decode`.

    Parameters
    ----------
    records : RecordArrays
    out : ndarray of uint8
        Output.
    offsets : ndarray of int64, shape (records + 1,)
        Where each record goes in ``out``; the differences are the sizes from :func:`bam_sizes`.

    Raises
    ------
    KernelError
        As for :func:`bam_sizes`; a number does not fit BAM (32-bit positions), a CIGAR operation is unknown, or the
        CIGAR of a mapped record is for more or fewer bases than there are.

    Notes
    -----
    The bin is reg2bin of the span on the reference (SAM specification, section 4.2.1). More than 65,535 operations go
    to a CG tag, the last one. Lower-case bases become upper case, U becomes T, and what is none of the sixteen letters
    of BAM becomes N, as in htslib.
    """
    if len(offsets) != len(records[0]) + 1:
        raise KernelError("offsets and records differ in number")
    check_offsets(offsets, len(out), "offsets outside of the output")
    for i, record in enumerate(read_records(records)):
        size = _size(record, i)
        if size != offsets[i + 1] - offsets[i]:
            raise KernelError("offsets differ from the sizes of the records", i)
        out[offsets[i] : offsets[i + 1]] = np.frombuffer(_format(record, size, i), np.uint8)


def _size(record: Record, i: int) -> int:
    if len(record.name) > 254:
        raise KernelError("name is longer than 254 characters", i)
    length = len(record.bases)
    if length >= 1 << 31:
        raise KernelError("sequence is too long for BAM", i)
    if record.qualities and len(record.qualities) != length:
        raise KernelError("bases and qualities differ in length", i)
    name = record.name or b"*"
    size = 36 + len(name) + 1 + 4 * len(record.cigar) + (length + 1) // 2 + length + len(record.tags)
    size += 16 * (len(record.cigar) > MOST_OPERATIONS)
    if size - 4 >= 1 << 31:
        raise KernelError("record is too long for BAM", i)
    return size


def _format(record: Record, size: int, i: int) -> bytes:
    _check_numbers(record, i)
    check_cigar(record.cigar, i)
    length = len(record.bases)
    mapped = not record.flag & Flag.UNMAPPED
    if record.cigar and length and mapped and cigar_length(record.cigar, "MIS=X") != length:
        raise KernelError("CIGAR and sequence differ in length", i)  # htslib refuses to read such a record
    covered = cigar_length(record.cigar, "MDN=X")
    span = 1 if record.flag & Flag.UNMAPPED else max(covered, 1)
    cigar, tags = record.cigar, record.tags
    if len(cigar) > MOST_OPERATIONS:
        if covered >= 1 << 28 or length >= 1 << 28:
            raise KernelError("CIGAR is too long even for the CG tag", i)
        tags += b"CGBI" + struct.pack(f"<{len(cigar) + 1}I", len(cigar), *cigar)
        cigar = [length << 4 | 4, covered << 4 | 3]
    name = (record.name or b"*") + b"\0"
    codes = [CODES[letter] for letter in record.bases] + [0] * (length % 2)
    core = CORE.pack(
        size - 4, record.reference, record.position, len(name), record.mapping_quality,
        bin_of(record.position, record.position + span) & 0xFFFF, len(cigar), record.flag, length,
        record.mate_reference, record.mate_position, record.template_length,
    )  # fmt: skip
    packed = bytes(high << 4 | low for high, low in zip(codes[::2], codes[1::2], strict=True))
    qualities = bytes((q - 33) % 256 for q in record.qualities) or b"\xff" * length
    return core + name + struct.pack(f"<{len(cigar)}I", *cigar) + packed + qualities + tags


def _check_numbers(record: Record, i: int) -> None:
    most = 2**31 - 1
    if min(record.reference, record.mate_reference) < -1:
        raise KernelError("reference is less than -1", i)
    if not -1 <= record.position <= most:
        raise KernelError("position does not fit BAM", i)
    if not -1 <= record.mate_position <= most:
        raise KernelError("mate position does not fit BAM", i)
    if not -most - 1 <= record.template_length <= most:
        raise KernelError("template length does not fit BAM", i)


def bin_of(start: int, end: int) -> int:
    """Bin of the half-open span (reg2bin of the SAM specification, section 5.3), not yet cut to 16 bits."""
    for level in range(5, 0, -1):
        shift = 14 + 3 * (5 - level)
        if start >> shift == end - 1 >> shift:
            return ((1 << 3 * level) - 1) // 7 + (start >> shift)
    return 0
