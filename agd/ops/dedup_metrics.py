"""Duplication metrics with the columns, formulas and file layout of Picard's MarkDuplicates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import agd

#: Columns of the file, in order.
COLUMNS = (
    "LIBRARY", "UNPAIRED_READS_EXAMINED", "READ_PAIRS_EXAMINED", "SECONDARY_OR_SUPPLEMENTARY_RDS", "UNMAPPED_READS",
    "UNPAIRED_READ_DUPLICATES", "READ_PAIR_DUPLICATES", "READ_PAIR_OPTICAL_DUPLICATES", "PERCENT_DUPLICATION",
    "ESTIMATED_LIBRARY_SIZE",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LibraryMetrics:
    """What was found in one library.

    Attributes
    ----------
    library : str
    unpaired_reads_examined, read_pairs_examined : int
        Mapped reads without a mapped mate, and pairs of mapped reads.
    secondary_or_supplementary, unmapped : int
        Records that were not looked at.
    unpaired_read_duplicates, read_pair_duplicates, read_pair_optical_duplicates : int
    """

    library: str
    unpaired_reads_examined: int
    read_pairs_examined: int
    secondary_or_supplementary: int
    unmapped: int
    unpaired_read_duplicates: int
    read_pair_duplicates: int
    read_pair_optical_duplicates: int

    @property
    def percent_duplication(self) -> float:
        """Share of the reads that are duplicates, 0 to 1."""
        reads = self.unpaired_reads_examined + 2 * self.read_pairs_examined
        return (self.unpaired_read_duplicates + 2 * self.read_pair_duplicates) / reads if reads else 0.0

    @property
    def estimated_library_size(self) -> int | None:
        """Distinct molecules in the library, None where there are no duplicates to tell it by."""
        return estimate_library_size(
            self.read_pairs_examined - self.read_pair_optical_duplicates,
            self.read_pairs_examined - self.read_pair_duplicates,
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {
            "percent_duplication": self.percent_duplication, "estimated_library_size": self.estimated_library_size,
        }  # fmt: skip

    def row(self) -> str:
        """Line of the file."""
        size = self.estimated_library_size
        return "\t".join([
            self.library, str(self.unpaired_reads_examined), str(self.read_pairs_examined),
            str(self.secondary_or_supplementary), str(self.unmapped), str(self.unpaired_read_duplicates),
            str(self.read_pair_duplicates), str(self.read_pair_optical_duplicates),
            _decimal(self.percent_duplication), "" if size is None else str(size),
        ])  # fmt: skip


def _decimal(value: float) -> str:
    """Six digits after the point at most, no zeros at the end."""
    return f"{value:.6f}".rstrip("0").rstrip(".") or "0"


def estimate_library_size(read_pairs: int, unique_pairs: int) -> int | None:
    """Number of distinct molecules X that solves ``unique / X = 1 - exp(-pairs / X)`` (Lander-Waterman), as Picard.

    Parameters
    ----------
    read_pairs : int
        Pairs examined, without optical duplicates.
    unique_pairs : int
        Pairs that are no duplicates.

    Returns
    -------
    int or None
        None where there are no duplicates.
    """
    if read_pairs <= 0 or unique_pairs <= 0 or unique_pairs >= read_pairs:
        return None

    def excess(x: float) -> float:
        return unique_pairs / x - 1 + math.exp(-read_pairs / x)

    low, high = 1.0, 100.0
    while excess(high * unique_pairs) > 0:
        high *= 10
    for _ in range(40):
        middle = (low + high) / 2
        difference = excess(middle * unique_pairs)
        if difference == 0:
            break
        low, high = (middle, high) if difference > 0 else (low, middle)
    return int(unique_pairs * (low + high) / 2)


def picard_file(libraries: Sequence[LibraryMetrics], command: str) -> str:
    """Text of the metrics file; the return of investment follows where there is one library, as in Picard."""
    lines = [
        "## htsjdk.samtools.metrics.StringHeader",
        f"# {command or 'agd dedup'}",
        "## htsjdk.samtools.metrics.StringHeader",
        f"# agd {agd.__version__}",
        "",
        "## METRICS CLASS\tpicard.sam.DuplicationMetrics",
        "\t".join(COLUMNS),
        *(library.row() for library in libraries),
        "",
    ]
    size = libraries[0].estimated_library_size if len(libraries) == 1 else None
    if size is not None:
        lines += ["## HISTOGRAM\tjava.lang.Double", "BIN\tCoverageMult"]
        lines += [f"{times}\t{_decimal(_return(libraries[0], size, times))}" for times in range(1, 101)]
        lines.append("")
    return "\n".join(lines) + "\n"


def _return(library: LibraryMetrics, size: int, times: int) -> float:
    """How many times the distinct pairs would be seen if the library were sequenced ``times`` as deeply."""
    pairs = library.read_pairs_examined - library.read_pair_optical_duplicates
    unique = library.read_pairs_examined - library.read_pair_duplicates
    return size * (1 - math.exp(-(times * pairs) / size)) / unique
