"""Reference of the kernels for order-independent checksums of records: those of ``samtools checksum``.

Of each record a few CRC-32 values are taken, and the values of all records are multiplied modulo the prime 2^31 - 1.
The sums of two sets of records are therefore combined by multiplication, in any order (:mod:`agd.kernels.checksums`).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np

from agd.batch import I64, U8, U32, U64
from agd.errors import KernelError
from agd.kernels.checksums import COLUMNS, ROWS
from agd.kernels.records import RecordArrays
from agd.kernels.reference.bam import CODES, FOLDED
from agd.kernels.reference.ragged import check_offsets
from agd.kernels.reference.records import Record, read_records
from agd.kernels.reference.tags import fields, integer, pack_integer
from agd.types import Flag

PRIME = 2**31 - 1

#: CRCs of a record that are taken for themselves: bases, name, qualities.
PARTS = 3

FOLDED_COMPLEMENTS = bytes(b"=TGKCYSBAWRDMHVN"[code] for code in CODES)


def record_crcs(records: RecordArrays, reverse: bool, crcs: U32) -> None:
    """CRCs of the long parts of records, from which all checksums of them are made.

    Parameters
    ----------
    records : RecordArrays
    reverse : bool
        Reverse complement records with flag 0x10 first (samtools checksum: yes, unless ``-c``).
    crcs : ndarray of uint32, shape (records * 3,)
        Output, for each record: CRC-32 of its bases, of its name and a zero byte, and of its qualities.

    Raises
    ------
    KernelError
        Bases and qualities differ in length.

    Notes
    -----
    Bases are taken as the letters that BAM would hold, qualities as Phred + 33, missing ones as blanks (0xff + 33,
    modulo 256).
    """
    if len(crcs) != PARTS * len(records[0]):
        raise KernelError("crcs are not three numbers for each record")
    for i, record in enumerate(read_records(records)):
        if record.qualities and len(record.qualities) != len(record.bases):
            raise KernelError("bases and qualities differ in length", i)
        qualities, letters = record.qualities or b" " * len(record.bases), record.bases.translate(FOLDED)
        if reverse and record.flag & Flag.REVERSE:
            letters, qualities = record.bases[::-1].translate(FOLDED_COMPLEMENTS), qualities[::-1]
        crcs[PARTS * i : PARTS * (i + 1)] = [
            zlib.crc32(part) for part in (letters, (record.name or b"*") + b"\0", qualities)
        ]


def checksum(
    records: RecordArrays, crcs: U32, groups: I64, sums: U64, flag_mask: int, exclude: int, tags: U8, inverse: bool,
    columns: int,
) -> None:  # fmt: skip
    """Add records to the checksums of their groups.

    Parameters
    ----------
    records : RecordArrays
    crcs : ndarray of uint32, shape (records * 3,)
        As :func:`record_crcs` gives them.
    groups : ndarray of int64, shape (records,)
        Group (read group, as a rule) of each record, from 0.
    sums : ndarray of uint64, shape (groups * 24,)
        Input and output: of each group the three rows ``all``, ``pass`` and ``fail`` (by flag 0x200), of each row the
        number of records and the products for ``seq, name, qual, aux, pos, cigar, mate``. To begin with, counts are 0
        and products 1 (:func:`agd.kernels.checksums.empty_sums`).
    flag_mask : int
        Flags that count (samtools ``-b``); only the low byte ever does. The default of samtools is 0xc1.
    exclude : int
        Records with any of these flags are left out (samtools ``-F``, 0x900 by default).
    tags : ndarray of uint8
        Two letters for each tag that counts, in order (samtools ``-t``; ``BCFIQTRTTC`` by default). Of several fields
        of a name the last counts.
    inverse : bool
        All tags but these count, in the order of their names (samtools ``-t '*,…'``).
    columns : int
        How many of the numbers of a row are wanted; the others stay as they are. 4: without tags; 5; 8: with the last
        three products (samtools ``-P -C -M``).

    Raises
    ------
    KernelError
        A group is out of range, or aux fields do not parse where tags are wanted.

    Notes
    -----
    Integers in tags are taken in their smallest type, positions 0-based in 64 bits. The CRC of two runs of bytes is
    that of the first, moved over the second, and that of the second: so the CRCs of the parts do for all products.
    """
    if len(groups) != len(records[0]):
        raise KernelError("groups and records differ in number")
    if len(crcs) != PARTS * len(records[0]):
        raise KernelError("crcs are not three numbers for each record")
    if len(sums) % (len(ROWS) * len(COLUMNS)):
        raise KernelError("sums are not 24 numbers for each group")
    if len(tags) % 2:
        raise KernelError("tags are not pairs of letters")
    if columns not in (4, 5, 8):
        raise KernelError("columns are not 4, 5 or 8")
    letters = tags.tobytes()
    wanted = [letters[k : k + 2] for k in range(0, len(letters), 2)]
    table = sums.reshape(-1, len(ROWS), len(COLUMNS))
    tag_offsets = RecordArrays(*records).tag_offsets.tolist()
    for i, record in enumerate(read_records(records)):
        if record.flag & exclude:
            continue
        group = int(groups[i])
        if not 0 <= group < len(table):
            raise KernelError("group is out of range", i)
        chosen = _chosen(list(fields(record.tags, i, tag_offsets[i])), wanted, inverse) if columns > 4 else []
        found = _crcs(record, crcs[PARTS * i : PARTS * (i + 1)].tolist(), record.flag & flag_mask & 0xFF, chosen)
        for row in (0, 2 if record.flag & Flag.QC_FAIL else 1):
            table[group, row, 0] += np.uint64(1)
            for column, crc in enumerate(found[: columns - 1], 1):
                value = crc & PRIME
                table[group, row, column] = int(table[group, row, column]) * (value if 0 < value < PRIME else 1) % PRIME


def _chosen(found: list[bytes], wanted: Sequence[bytes], inverse: bool) -> list[bytes]:
    """The fields that count, in their order, integers in their smallest type."""
    if inverse:
        legal = [field for field in found if field[:2] not in wanted and all(48 <= byte <= 122 for byte in field[:2])]
        chosen = sorted(legal, key=lambda field: field[:2])
    else:
        last = {field[:2]: field for field in found}
        chosen = [last[tag] for tag in dict.fromkeys(wanted) if tag in last]
    values = [(field, integer(field)) for field in chosen]
    return [field if value is None else field[:2] + pack_integer(value) for field, value in values]


def _crcs(record: Record, parts: Sequence[int], flag: int, chosen: list[bytes]) -> list[int]:
    bases, name, qualities = parts
    length = len(record.bases)
    seq = _over(zlib.crc32(bytes([flag])), length) ^ bases
    place = struct.pack("<iq", record.reference, record.position)
    cigar = struct.pack(f"<I{len(record.cigar)}I", record.mapping_quality, *record.cigar)
    mate = struct.pack("<iqq", record.mate_reference, record.mate_position, record.template_length)
    rest = (zlib.crc32(part, seq) for part in (b"".join(chosen), place, cigar, mate))
    return [seq, _over(name, length + 1) ^ seq, _over(seq, length) ^ qualities, *rest]


def _over(crc: int, size: int) -> int:
    """What a CRC is moved to by ``size`` more bytes, whatever they are: by zeros, less what zeros alone give."""
    return zlib.crc32(bytes(size), crc) ^ zlib.crc32(bytes(size))


def span_product(values: U8, offsets: I64) -> int:
    """Product of the CRCs of spans, modulo the prime: the same for the same spans in any order.

    Parameters
    ----------
    values : ndarray of uint8
    offsets : ndarray of int64, shape (spans + 1,)

    Returns
    -------
    int
        Below 2^31 - 1; products of parts are combined by multiplication modulo that.

    Raises
    ------
    KernelError
        The offsets do not fit the values.
    """
    check_offsets(offsets, len(values), "offsets outside of the values")
    product = 1
    for start, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        value = zlib.crc32(values[start:end].tobytes()) & PRIME
        product = product * (value if 0 < value < PRIME else 1) % PRIME
    return product


def crc32(data: U8, crc: int = 0, portable: bool = False) -> int:
    """CRC-32 of zlib and gzip.

    Parameters
    ----------
    data : ndarray of uint8
    crc : int
        CRC of what comes before.
    portable : bool
        Do without special instructions (for tests).

    Returns
    -------
    int
    """
    return zlib.crc32(data.tobytes(), crc)
