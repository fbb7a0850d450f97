"""SAM lines as columns and back, slowly: what the tests of alignments need to talk to other programs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from agd.batch import I64, U8, Column
from agd.types import CIGAR_OPERATIONS


@dataclass
class Genome:
    """Contigs end to end, as kernels take them."""

    names: list[str]
    letters: U8
    offsets: I64

    @staticmethod
    def from_fasta(text: str) -> Genome:
        """Contigs of a FASTA file."""
        records = [record.split("\n", 1) for record in text.split(">")[1:]]
        column = Column.from_list(["".join(body.split()).encode("latin-1") for _, body in records])
        assert column.offsets is not None
        return Genome([head.split()[0] for head, _ in records], column.values, column.offsets)


def cigar_operations(text: str) -> list[int]:
    """BAM operations of a CIGAR string; none for ``*``."""
    return [int(n) << 4 | CIGAR_OPERATIONS.index(op) for n, op in re.findall(r"(\d+)([MIDNSHP=X])", text)]


def cigar_text(operations: Iterable[int]) -> str:
    """CIGAR string of BAM operations; ``*`` for none."""
    return "".join(f"{int(op) >> 4}{CIGAR_OPERATIONS[int(op) & 15]}" for op in operations) or "*"


def cigar_column(texts: Iterable[str]) -> Column:
    """Ragged column of BAM operations."""
    runs = [cigar_operations(text) for text in texts]
    values = np.array([op for run in runs for op in run], np.uint32)
    return Column.from_lengths(values, np.array([len(run) for run in runs], np.int64))


@dataclass
class SamLine:
    """One line of SAM text with its fields named."""

    name: str
    flag: int
    contig: str
    position: int  #: 1-based, as in the text
    mapping_quality: int
    cigar: str
    mate_contig: str
    mate_position: int
    template_length: int
    bases: str
    qualities: str
    tags: dict[str, str]  #: type and value, ``i:3``, in the order of the line

    @staticmethod
    def parse(line: str) -> SamLine:
        """Read one line."""
        f = line.rstrip("\n").split("\t")
        tags = {tag[:2]: tag[3:] for tag in f[11:]}
        return SamLine(f[0], int(f[1]), f[2], int(f[3]), int(f[4]), f[5], f[6], int(f[7]), int(f[8]), f[9], f[10], tags)


def sam_lines(text: str) -> list[SamLine]:
    """Alignment lines of SAM text."""
    return [SamLine.parse(line) for line in text.splitlines() if line and not line.startswith("@")]
