"""Order-independent digests of records, with the semantics of ``samtools checksum`` (``spec/digest.md``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from agd import kernels
from agd.batch import U8, U64
from agd.dataset import Dataset
from agd.errors import VerificationError
from agd.kernels.checksums import COLUMNS, combine_sums, empty_sums
from agd.kernels.records import RecordArrays

ALGORITHM = "samtools-checksum-1"

#: Columns of the digest of reads: what an aligner, a sort or marking of duplicates must not change.
READ_COLUMNS = COLUMNS[:4]

#: samtools' defaults: flags that count, flags of records that do not, tags.
FLAG_MASK = 0xC1
EXCLUDE = 0x900
TAGS = np.frombuffer(b"BCFIQTRTTC", np.uint8)
_NO_TAGS: U8 = np.empty(0, np.uint8)


class Digest:
    """Digest of a set of records: adding the digests of the parts gives that of the whole, in any order.

    Attributes
    ----------
    reads : dict of str to ndarray of uint64, shape (8,)
        By read group ("" for none): number of primary records, products for seq, name, qual (and four that are not
        used), as ``samtools checksum`` gives them.
    records : ndarray of uint64, shape (8,), or None
        Over all records: number, and products for seq, name, qual, all tags, position, CIGAR and mate. None for reads
        that have no alignments of their own.
    """

    def __init__(self) -> None:
        self.reads: dict[str, U64] = {}
        self.records: U64 | None = None

    def add(self, other: Digest) -> None:
        """Count the records of another digest in."""
        for group, row in other.reads.items():
            self.reads[group] = combine_sums(self.reads[group], row) if group in self.reads else row
        if other.records is not None:
            self.records = other.records if self.records is None else combine_sums(self.records, other.records)

    @property
    def all_reads(self) -> U64:
        """The reads of all read groups."""
        total: U64 = empty_sums(1)[0, 0]
        for row in self.reads.values():
            total = combine_sums(total, row)
        return total

    def to_json(self) -> dict[str, Any]:
        """As the manifest keeps it: counts as numbers, products as 8 hexadecimal digits."""
        document: dict[str, Any] = {
            "algorithm": ALGORITHM,
            "reads": _row(self.all_reads, READ_COLUMNS),
            "read_groups": {group: _row(row, READ_COLUMNS) for group, row in sorted(self.reads.items())},
        }
        if self.records is not None:
            document["records"] = _row(self.records, COLUMNS)
        return document

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Digest:
        """Digest that a manifest keeps.

        Raises
        ------
        ValueError
            It is of another algorithm, or is damaged.
        """
        if document.get("algorithm") != ALGORITHM:
            raise ValueError(f"a digest of the kind {document.get('algorithm')!r}")
        digest = Digest()
        try:
            digest.reads = {group: _sums(row) for group, row in document["read_groups"].items()}
            if "records" in document:
                digest.records = _sums(document["records"])
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"a damaged digest: {error!r}") from error
        return digest


def _sums(row: Mapping[str, Any]) -> U64:
    sums: U64 = empty_sums(1)[0, 0]
    sums[0] = row["count"]
    for i, name in enumerate(COLUMNS[1:], 1):
        sums[i] = int(row[name], 16) if name in row else 1
    return sums


def _row(sums: U64, columns: tuple[str, ...]) -> dict[str, Any]:
    return {name: int(v) if name == "count" else f"{int(v):08x}" for name, v in zip(columns, sums, strict=False)}


def digest_records(records: RecordArrays, *, alignments: bool = True) -> Digest:
    """Digest of some records.

    Parameters
    ----------
    records : RecordArrays
        SEQ and QUAL as in SAM: reverse complemented where flag 0x10 is set.
    alignments : bool
        Take the digest of all records as well, not of the reads alone.
    """
    digest = Digest()
    count = len(records.flag)
    if not count:
        return digest
    codes, firsts = np.zeros(count, np.int64), np.zeros(count, np.int64)
    groups = [""]
    if len(records.tags):
        distinct = kernels.aux_codes(
            records.tags, records.tag_offsets, int.from_bytes(b"RG", "little"), codes, firsts
        )  # fmt: skip
        groups += [_text(records.tags, int(at)) for at in firsts[:distinct]]
    crcs = np.empty(3 * count, np.uint32)
    kernels.record_crcs(records, True, crcs)
    sums = empty_sums(len(groups)).reshape(-1)
    kernels.checksum(records, crcs, codes, sums, FLAG_MASK, EXCLUDE, TAGS, False, False)
    for group, rows in zip(groups, sums.reshape(-1, 3, 8), strict=True):
        if rows[0, 0]:
            digest.reads[group] = rows[0]
    if alignments:
        sums = empty_sums(1).reshape(-1)
        kernels.checksum(records, crcs, np.zeros(count, np.int64), sums, 0xFF, 0, _NO_TAGS, True, True)
        digest.records = sums[:8]
    return digest


def _text(values: U8, start: int) -> str:
    end = start
    while values[end]:
        end += 1
    return values[start:end].tobytes().decode("utf-8", "surrogateescape")


def differences(noted: Mapping[str, Any], found: Digest) -> list[str]:
    """What the digest of some records has else than the one noted in a manifest; empty if they agree."""
    if not noted or noted.get("algorithm") != ALGORITHM:
        return []
    now = found.to_json()
    texts = []
    for part in ("reads", "records"):
        if part in noted and part in now:
            texts += [
                f"{part}: {name} is {now[part].get(name)}, was {value}"
                for name, value in noted[part].items()
                if now[part].get(name) != value
            ]
    return texts


def check_digest(dataset: Dataset, found: Digest) -> None:
    """Compare the records of a dataset, all read, with what was imported.

    Raises
    ------
    VerificationError
        They differ.
    """
    wrong = differences(dataset.manifest.digest, found)
    if wrong:
        raise VerificationError(
            f"{dataset.url}: these are not the records that were imported ({'; '.join(wrong)})",
            "run 'agd verify --deep' to find the damage",
        )
