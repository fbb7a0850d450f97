"""Order-independent digests of records, with the semantics of ``samtools checksum`` (``spec/digest.md``)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from agd import kernels
from agd.batch import U8, U32, U64, AnyColumn, Batch
from agd.dataset import Dataset
from agd.errors import VerificationError
from agd.kernels.checksums import COLUMNS, combine_sums, empty_sums
from agd.kernels.ragged import take
from agd.kernels.records import RecordArrays
from agd.ops.lines import alignment_lines, cut, secondary_columns, seq_spans, to_records
from agd.types import Orientation

ALGORITHM = "samtools-checksum-1"

#: Columns of the digest of reads: what an aligner, a sort or marking of duplicates must not change.
READ_COLUMNS = COLUMNS[:4]

#: Columns of a dataset that some products are of; all are of the bases, the flags and the places, too.
PRODUCT_COLUMNS = {"name": "metadata", "qual": "qualities", "aux": "tags"}

#: samtools' defaults: flags that count, and flags of records that do not.
FLAG_MASK = 0xC1
EXCLUDE = 0x900
_NO_TAGS: U8 = np.empty(0, np.uint8)


class Digest:
    """Digest of a set of records: adding the digests of the parts gives that of the whole, in any order.

    Attributes
    ----------
    reads : dict of str to ndarray of uint64, shape (8,)
        By read group ("" for none): number of primary records, products for seq, name, qual (and four that are not
        used), as ``samtools checksum`` gives them.
    records : ndarray of uint64, shape (8,), or None
        Over all alignment lines: number, and products for seq, name, qual, all tags, position, CIGAR and mate. A
        product is never 0: 0 stands for one that is not known, of which that of no larger set is known either. None
        where there are no alignments.
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

    def forget_tags(self) -> None:
        """The tags of records are others now, but for those of read groups and barcodes."""
        if self.records is not None:
            self.records[COLUMNS.index("aux")] = 0

    @staticmethod
    def total(parts: Iterable[Digest]) -> Digest:
        """Digest of the records of all parts; over all records only if every part has one of these."""
        total, complete = Digest(), True
        for part in parts:
            total.add(part)
            complete &= part.records is not None
        if not complete:
            total.records = None
        return total

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

    def added_to(self, noted: Mapping[str, Any]) -> dict[str, Any]:
        """What a manifest notes once the reads of which it noted this were aligned; ``{}`` if that is not known.

        The reads are those of this digest, if it knows any; else they are as they were.
        """
        if self.reads:
            return self.to_json()
        if noted.get("algorithm") != ALGORITHM:
            return {}
        kept = {name: value for name, value in noted.items() if name != "records"}
        return kept if self.records is None else kept | {"records": _row(self.records, COLUMNS)}

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
        sums[i] = int(row[name], 16) if name in row else 0
    return sums


def _row(sums: U64, columns: tuple[str, ...]) -> dict[str, Any]:
    values = zip(columns, sums.tolist(), strict=False)
    return {name: v if name == "count" else f"{v:08x}" for name, v in values if v or name == "count"}


def digest_records(records: RecordArrays, *, reads: bool = True, alignments: bool = True) -> Digest:
    """Digest of some records.

    Parameters
    ----------
    records : RecordArrays
        SEQ and QUAL as in SAM: reverse complemented where flag 0x10 is set.
    reads : bool
        Take the digest of the reads.
    alignments : bool
        Take the digest of all records.
    """
    digest = Digest()
    count = len(records.flag)
    if not count:
        return digest
    crcs = np.empty(3 * count, np.uint32)
    kernels.record_crcs(records, True, crcs)
    if reads:
        digest.reads = _digest_reads(records, crcs)
    if alignments:
        sums = empty_sums(1).reshape(-1)
        kernels.checksum(records, crcs, np.zeros(count, np.int64), sums, 0xFF, 0, _NO_TAGS, True, len(COLUMNS))
        digest.records = sums[:8]
    return digest


def _digest_reads(records: RecordArrays, crcs: U32) -> dict[str, U64]:
    """By read group."""
    count = len(records.flag)
    codes, firsts = np.zeros(count, np.int64), np.zeros(count, np.int64)
    groups = [""]
    if len(records.tags):
        distinct = kernels.aux_codes(
            records.tags, records.tag_offsets, int.from_bytes(b"RG", "little"), codes, firsts
        )  # fmt: skip
        groups += [_text(records.tags, int(at)) for at in firsts[:distinct]]
    sums = empty_sums(len(groups)).reshape(-1)
    kernels.checksum(records, crcs, codes, sums, FLAG_MASK, EXCLUDE, _NO_TAGS, False, len(READ_COLUMNS))
    return {g: rows[0] for g, rows in zip(groups, sums.reshape(-1, 3, 8), strict=True) if rows[0, 0]}


def digest_alignments(reads: Batch, columns: Sequence[str], names: str, paired: bool) -> Digest:
    """Digest of the alignment lines of reads as they were sequenced, without making the lines.

    Nothing is turned around: the digest is of the strand that was read. The products for names, qualities and tags are
    left unknown where the dataset has such a column and the batch is without it.

    Parameters
    ----------
    reads : Batch
        With ``bases``, ``results`` and any ``secondary0…``.
    columns : sequence of str
        Of the dataset.
    names, paired
        As in the manifest: what ``metadata`` holds, and whether records 2i and 2i + 1 are mates.
    """
    digest = Digest()
    lines, read = alignment_lines(reads, paired)
    trim = bool(secondary_columns(list(reads.columns)))
    parts: dict[str, AnyColumn] = {"results": lines}
    for name in ("bases", "qualities", "metadata", "tags"):
        if name not in reads:
            continue
        column = reads.ragged(name)
        if name in ("bases", "qualities"):
            starts, ends, _ = seq_spans(column, lines, read, Orientation.READ, trim)
            parts[name] = cut(column, starts, ends)
        else:
            parts[name] = column if read is None else take(column, read)
    records = to_records(Batch(reads.first, parts), names)
    crcs = np.empty(3 * len(lines), np.uint32)
    kernels.record_crcs(records, False, crcs)
    sums = empty_sums(1).reshape(-1)
    kernels.checksum(records, crcs, np.zeros(len(lines), np.int64), sums, 0xFF, 0, _NO_TAGS, True, len(COLUMNS))
    digest.records = sums[:8]
    for product, needed in PRODUCT_COLUMNS.items():
        if needed in columns and needed not in reads:
            digest.records[COLUMNS.index(product)] = 0
    return digest


def _text(values: U8, start: int) -> str:
    end = start
    while values[end]:
        end += 1
    return values[start:end].tobytes().decode("utf-8", "surrogateescape")


def tells_reads(noted: Mapping[str, Any]) -> bool:
    """Whether the digest of all records that a manifest notes is complete: if it agrees, so does that of the reads."""
    return all(name in noted.get("records", ()) for name in COLUMNS)


def digest_to_compare(records: RecordArrays, noted: Mapping[str, Any]) -> Digest:
    """Digest of some records, as much of it as comparing them with what a manifest notes takes."""
    if not noted:
        return Digest()
    return digest_records(records, reads=not tells_reads(noted), alignments="records" in noted)


def differences(noted: Mapping[str, Any], found: Digest) -> list[str]:
    """What the digest of some records has else than the one noted in a manifest; empty if they agree.

    The reads are not compared where the digest found has none of them and that of all records tells as much.
    """
    if not noted or noted.get("algorithm") != ALGORITHM:
        return []
    now = found.to_json()
    texts = []
    for part in ("reads", "records"):
        if part == "reads" and not found.reads and found.records is not None and tells_reads(noted):
            continue
        if part in noted and part in now:
            texts += [
                f"{part}: {name} is {now[part].get(name)}, was {value}"
                for name, value in noted[part].items()
                if now[part].get(name) != value
            ]
    return texts


def without_columns(noted: Mapping[str, Any], changed: Collection[str], lines: bool) -> dict[str, Any]:
    """What still holds of the digest in a manifest when some columns are gone, or are others.

    Parameters
    ----------
    lines : bool
        The dataset has one record per alignment line: without ``results`` it is not known which are reads.
    """
    if not noted or noted.get("algorithm") != ALGORITHM or "bases" in changed or (lines and "results" in changed):
        return {}
    lost = {product for product, column in PRODUCT_COLUMNS.items() if column in changed}
    keep = {name: value for name, value in noted.items() if name != "read_groups"}
    if "results" in changed or any(name.startswith("secondary") for name in changed):
        keep.pop("records", None)
    for part in ("reads", "records"):
        if part in keep:
            keep[part] = _less(keep[part], lost)
    groups = {"": noted["reads"]} if "tags" in changed else noted["read_groups"]
    return keep | {"read_groups": {group: _less(row, lost) for group, row in groups.items()}}


def _less(row: Mapping[str, Any], lost: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in lost}


def check_digest(dataset: Dataset, found: Digest) -> bool:
    """Compare the records of a dataset, all read, with what its manifest notes; False if it notes no digest.

    Raises
    ------
    VerificationError
        They differ.
    """
    wrong = differences(dataset.manifest.digest, found)
    if wrong:
        raise VerificationError(
            f"{dataset.url}: these are not the records that were imported or aligned ({'; '.join(wrong)})",
            "run 'agd verify --deep' to find the damage",
        )
    return dataset.manifest.digest.get("algorithm") == ALGORITHM
