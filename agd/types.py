"""Enumerations and small value types that the whole of AGD shares."""

from __future__ import annotations

import enum
from dataclasses import dataclass

#: Records in a chunk unless the user says otherwise (pairs are never split).
DEFAULT_CHUNK_RECORDS = 100_000

#: No chunk has more records than this: what a file says is checked against it before memory is taken for it.
MAX_CHUNK_RECORDS = 1 << 24

#: Types of the values of number columns (numpy type codes).
NUMBER_DTYPES = ("|b1", "|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f4", "<f8")

#: A chunk is closed early when its largest column reaches this many decoded bytes, so that long reads stay bounded.
DEFAULT_CHUNK_BYTES = 64 * 1024 * 1024


class RecordType(enum.IntEnum):
    """What the records of a column are (``spec/chunkfile.md``); the numbers are written to disk."""

    TEXT = 0
    STRUCTURED = 1
    BASES = 2
    AUX = 3
    NUMBER = 4


class Orientation(enum.IntEnum):
    """Which strand the bases of a chunk are written on; the numbers are written to disk."""

    NONE = 0  #: the column holds no bases
    READ = 1  #: as sequenced, as in FASTQ
    SEQ = 2  #: as in the SEQ field of SAM: reverse complemented where flag 0x10 is set


class SortOrder(enum.StrEnum):
    """Order of the records of a dataset: the values of ``@HD SO`` and ``@HD SS`` that AGD writes."""

    UNSORTED = "unsorted"
    COORDINATE = "coordinate"
    QUERYNAME = "queryname:natural"
    QUERYNAME_LEXICOGRAPHIC = "queryname:lexicographical"
    TEMPLATE_COORDINATE = "unsorted:template-coordinate"
    UNKNOWN = "unknown"


class Flag(enum.IntFlag):
    """SAM flags (SAM specification, section 1.4)."""

    PAIRED = 0x1
    PROPER_PAIR = 0x2
    UNMAPPED = 0x4
    MATE_UNMAPPED = 0x8
    REVERSE = 0x10
    MATE_REVERSE = 0x20
    READ1 = 0x40
    READ2 = 0x80
    SECONDARY = 0x100
    QC_FAIL = 0x200
    DUPLICATE = 0x400
    SUPPLEMENTARY = 0x800


#: CIGAR operations in the order of their BAM codes (SAM specification, section 4.2).
CIGAR_OPERATIONS = "MIDNSHP=X"


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference sequence (contig).

    Attributes
    ----------
    name : str
        ``@SQ SN``.
    length : int
        Bases, ``@SQ LN``.
    md5 : str
        ``@SQ M5`` in lower case hexadecimal digits, or "" when unknown.
    """

    name: str
    length: int
    md5: str = ""
