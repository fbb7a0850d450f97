"""Count records by their flags, as ``samtools flagstat``: from the manifest alone where its statistics suffice."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agd.types import Flag

if TYPE_CHECKING:
    from agd.dataset import Dataset
    from agd.manifest import Chunk, Manifest
    from agd.ops.select import Selection
    from agd.run import Progress, Runner

#: Counted things in the order of samtools: key and text. ``{}`` stands for a percentage.
LINES = (
    ("total", "in total (QC-passed reads + QC-failed reads)"),
    ("primary", "primary"),
    ("secondary", "secondary"),
    ("supplementary", "supplementary"),
    ("duplicates", "duplicates"),
    ("primary duplicates", "primary duplicates"),
    ("mapped", "mapped"),
    ("primary mapped", "primary mapped"),
    ("paired in sequencing", "paired in sequencing"),
    ("read1", "read1"),
    ("read2", "read2"),
    ("properly paired", "properly paired"),
    ("with itself and mate mapped", "with itself and mate mapped"),
    ("singletons", "singletons"),
    ("with mate mapped to a different chr", "with mate mapped to a different chr"),
    ("with mate mapped to a different chr (mapQ >= 5)", "with mate mapped to a different chr (mapQ>=5)"),
)

#: What some of them are a share of.
SHARES = {
    "mapped": "total", "primary mapped": "primary", "properly paired": "paired in sequencing",
    "singletons": "paired in sequencing",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FlagstatReport:
    """Records by flags.

    Attributes
    ----------
    passed, failed : dict of str to int
        Of the records that passed, and failed, quality control (flag 0x200): a count for each key of :data:`LINES`.
    from_manifest : bool
        Whether no data were read.
    """

    passed: dict[str, int]
    failed: dict[str, int]
    from_manifest: bool

    def text(self) -> str:
        """The same text as ``samtools flagstat``."""
        lines = []
        for key, text in LINES:
            share = f" ({self._share(self.passed, key)} : {self._share(self.failed, key)})" if key in SHARES else ""
            lines.append(f"{self.passed[key]} + {self.failed[key]} {text}{share}\n")
        return "".join(lines)

    @staticmethod
    def _share(counts: Mapping[str, int], key: str) -> str:
        value = percent(counts[key], counts[SHARES[key]])
        return "N/A" if value is None else f"{value:.2f}%"

    def to_json(self) -> dict[str, Any]:
        """With the keys and values of ``samtools flagstat -O json``."""
        return {"QC-passed reads": _with_shares(self.passed), "QC-failed reads": _with_shares(self.failed)}


def _with_shares(counts: Mapping[str, int]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, _ in LINES:
        found[key] = counts[key]
        if key in SHARES:
            share = percent(counts[key], counts[SHARES[key]])
            found[f"{key} %"] = None if share is None else float(f"{share:.2f}")
    return found


def percent(part: int, whole: int) -> float | None:
    """A percentage as samtools computes it, in single precision; None of nothing."""
    if not whole:
        return None
    return _single(_single(part) / _single(whole)) * 100.0


def _single(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])


def flagstat(
    dataset: Dataset, *, selection: Selection | None = None, runner: Runner | None = None, memory: int | None = None,
    progress: Progress | None = None,
) -> FlagstatReport:
    """Count records by flags; every alignment line counts, duplicate marks are folded in.

    Parameters
    ----------
    dataset : Dataset
    selection : Selection, optional
        Count only these; the data are read then.
    runner, memory, progress
        Used only if data have to be read.

    Returns
    -------
    FlagstatReport

    Examples
    --------
    >>> report = agd.flagstat(agd.open("sorted.agd"))
    >>> print(report.text().splitlines()[0])
    600 + 0 in total (QC-passed reads + QC-failed reads)
    """
    found = None if selection is not None and not selection.everything else flagstat_of_manifest(dataset.manifest)
    return found or _flagstat_of_data(dataset, selection, runner, memory, progress)


def flagstat_of_manifest(manifest: Manifest) -> FlagstatReport | None:
    """The counts from the statistics in a manifest; None where these do not suffice."""
    histogram: dict[int, int] = {}
    distant = [0, 0, 0, 0]
    further = [n for n in manifest.columns if n.startswith("secondary") and n[9:].isdecimal()]
    for chunk in manifest.chunks:
        cells = _counts_of_chunk(manifest, chunk, further)
        if cells is None:
            return None
        for flag, count in cells:
            histogram[flag] = histogram.get(flag, 0) + count
        if "results" in chunk.cells:
            if "distant" not in chunk.cells["results"].statistics:
                return None
            distant = [a + b for a, b in zip(distant, chunk.cells["results"].statistics["distant"], strict=True)]
    return report_of(histogram.items(), distant, from_manifest=True)


def _counts_of_chunk(manifest: Manifest, chunk: Chunk, further: list[str]) -> list[tuple[int, int]] | None:
    found: list[tuple[int, int]] = []
    if "results" not in chunk.cells:
        found += _unaligned(chunk, manifest.pairing == "interleaved")
    for name in ("results", *further):
        if name not in chunk.cells:
            continue
        if "duplicates" not in chunk.cells:
            flags = chunk.cells[name].statistics.get("flags")
        elif name == "results":
            flags = chunk.cells["duplicates"].statistics.get("flags")
        else:
            flags = chunk.cells["duplicates"].statistics.get("further", {}).get(name)
        if flags is None or (name == "results" and sum(flags.values()) != chunk.count):
            return None  # the records without results are unmapped reads of flags that the statistics do not tell
        found += [(int(flag), count) for flag, count in flags.items()]
    return found


def _unaligned(chunk: Chunk, paired: bool) -> list[tuple[int, int]]:
    """Flags of a chunk of reads that were never aligned."""
    if not paired:
        return [(int(Flag.UNMAPPED), chunk.count)]
    odd = (chunk.first + chunk.count) // 2 - chunk.first // 2
    return [(77, chunk.count - odd), (141, odd)]


def _flagstat_of_data(
    dataset: Dataset, selection: Selection | None, runner: Runner | None, memory: int | None, progress: Progress | None
) -> FlagstatReport:
    import numpy as np

    from agd.batch import Batch
    from agd.cell import distant_mates
    from agd.ops.handover import add_sparse, sparse
    from agd.ops.scan import chunk_bytes, scan
    from agd.run import SILENT, ThreadRunner, in_flight

    def count(lines: Batch) -> tuple[Any, list[int], int]:
        alignments = lines.alignments()
        return sparse(np.bincount(alignments.flag)), distant_mates(alignments), len(lines)

    runner = runner or ThreadRunner()
    ahead = in_flight(runner, memory, chunk_bytes(dataset, []))
    counts, distant = np.zeros(1 << 16, np.int64), [0, 0, 0, 0]
    progress = progress or SILENT
    progress.begin("counting", len(dataset), "records")
    for part, far, lines in scan(dataset, count, runner=runner, ahead=ahead, columns=[], selection=selection):
        add_sparse(counts, part)
        distant = [a + b for a, b in zip(distant, far, strict=True)]
        progress.advance(lines)
    progress.end()
    return report_of(((int(f), int(counts[f])) for f in np.flatnonzero(counts)), distant, from_manifest=False)


def report_of(histogram: Iterable[tuple[int, int]], distant: list[int], *, from_manifest: bool) -> FlagstatReport:
    """The report from records of each flag, and the counts of distant mates (see :func:`agd.cell.distant_mates`)."""
    both: tuple[dict[str, int], dict[str, int]] = ({key: 0 for key, _ in LINES}, {key: 0 for key, _ in LINES})
    for flag, count in histogram:
        for key in _keys_of(flag):
            both[bool(flag & Flag.QC_FAIL)][key] += count
    far, high = LINES[-2][0], LINES[-1][0]
    both[0][far], both[1][far], both[0][high], both[1][high] = distant
    return FlagstatReport(*both, from_manifest)


def _keys_of(flag: int) -> list[str]:
    """What a record of this flag counts as."""
    mapped, duplicate = not flag & Flag.UNMAPPED, flag & Flag.DUPLICATE
    keys = ["total"] + ["mapped"] * mapped + ["duplicates"] * bool(duplicate)
    if flag & Flag.SECONDARY:
        return [*keys, "secondary"]
    if flag & Flag.SUPPLEMENTARY:
        return [*keys, "supplementary"]
    keys += ["primary"] + ["primary mapped"] * mapped + ["primary duplicates"] * bool(duplicate)
    if flag & Flag.PAIRED:
        mate_mapped = not flag & Flag.MATE_UNMAPPED
        keys += ["paired in sequencing"] + ["properly paired"] * (bool(flag & Flag.PROPER_PAIR) and mapped)
        keys += ["read1"] * bool(flag & Flag.READ1) + ["read2"] * bool(flag & Flag.READ2)
        keys += ["singletons"] * (mapped and not mate_mapped)
        keys += ["with itself and mate mapped"] * (mapped and mate_mapped)
    return keys
