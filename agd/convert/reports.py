"""What imports and exports report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from agd.dataset import Dataset


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import has done.

    Attributes
    ----------
    records : int
        Records of the dataset.
    pairs : int
        Pairs of reads among them (0 for single reads).
    chunks : int
    bases : int
    bytes_in : int
        Size of the inputs as they are stored; the decompressed size where a stream has none. Of a list of files, as far
        as their stores tell it.
    bytes_out : int
        Size of the objects of the dataset.
    seconds : float
        Wall time.
    digest : mapping
        Order-independent digest of the records, as in the manifest.
    """

    records: int
    pairs: int
    chunks: int
    bases: int
    bytes_in: int
    bytes_out: int
    seconds: float
    digest: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON."""
        return asdict(self)


def import_report(datasets: Sequence[Dataset], bytes_in: int, begun: float) -> ImportReport:
    """Report of an import that has made datasets.

    Parameters
    ----------
    bytes_in : int
    begun : float
        Reading of :func:`time.perf_counter` at its beginning.
    """
    records = sum(map(len, datasets))
    chunks = [chunk for dataset in datasets for chunk in dataset.chunks]
    return ImportReport(
        records=records, pairs=records // 2 if datasets and datasets[0].manifest.pairing == "interleaved" else 0,
        chunks=len(chunks), bases=sum(int(c.cells["bases"].statistics.get("total", 0)) for c in chunks),
        bytes_in=bytes_in, bytes_out=sum(dataset.manifest.stored_bytes for dataset in datasets),
        seconds=time.perf_counter() - begun, digest=datasets[0].manifest.digest if len(datasets) == 1 else {},
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export has done.

    Attributes
    ----------
    records : int
        Records written.
    files : mapping of str to int
        Records written to each output.
    bases : int
    bytes_out : int
        Bytes written: text before its compression, BAM as it is stored.
    seconds : float
        Wall time.
    index : str
        Where the index of a BAM or CRAM file is; "" for none.
    digest : str
        "verified": all alignment lines were written, and are those of which the dataset notes the digest; "none" where
        it notes none; "" where none was taken: of some of the records or fields, and of FASTQ.
    """

    records: int
    files: Mapping[str, int]
    bases: int
    bytes_out: int
    seconds: float
    index: str = ""
    digest: str = ""

    def to_json(self) -> dict[str, Any]:
        """The report as JSON."""
        return asdict(self)
