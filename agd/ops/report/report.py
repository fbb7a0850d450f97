"""A report on a dataset: quality of the reads, alignments, storage, history."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agd.batch import Batch, Column
from agd.dataset import Dataset
from agd.manifest import Chunk, Manifest
from agd.ops.flagstat import FlagstatReport, report_of
from agd.ops.handover import Arrays, Handover
from agd.ops.lines import secondary_columns, to_lines
from agd.ops.report.alignments import AlignmentCounts, CoverageBins, count_alignments
from agd.ops.report.duplication import Duplication, find_sequences
from agd.ops.report.parts import Part
from agd.ops.report.quality import ReadQuality, read_quality
from agd.ops.report.reads import ReadCounts, count_reads, ends_of
from agd.ops.scan import chunk_bytes
from agd.run import SILENT, Progress, Runner, ThreadRunner, in_flight
from agd.sinks import write_text
from agd.urls import Url, as_text


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """What is known about a dataset.

    Attributes
    ----------
    url : str
    manifest : Manifest
    reads : list of ReadQuality
        One for each end that there are reads of.
    alignments : AlignmentCounts, or None
        None: the reads were never aligned.
    bins : CoverageBins, or None
        Of the coverage.
    """

    url: str
    manifest: Manifest
    reads: list[ReadQuality]
    alignments: AlignmentCounts | None = None
    bins: CoverageBins | None = None
    _page: list[str] = field(default_factory=list, repr=False, compare=False)

    def __repr__(self) -> str:
        verdicts = [verdict for q in self.reads for verdict in q.verdicts.values()]
        told = ", ".join(f"{verdicts.count(v)} {v}" for v in ("pass", "warn", "fail"))
        return f"<agd.Report of {self.url}: {sum(q.reads for q in self.reads):,} reads, {told}>"

    @property
    def flags(self) -> FlagstatReport | None:
        """Alignment lines by their flags."""
        a = self.alignments
        if a is None:
            return None
        histogram = ((int(flag), int(a.flags[flag])) for flag in np.flatnonzero(a.flags))
        return report_of(histogram, a.distant.tolist(), from_manifest=False)

    def html(self) -> str:
        """The report as one HTML page that needs nothing else."""
        from agd.ops.report.page import page

        if not self._page:
            self._page.append(page(self))
        return self._page[0]

    def _repr_html_(self) -> str:
        import html

        return f'<iframe style="width:100%;height:80vh;border:0" srcdoc="{html.escape(self.html())}"></iframe>'

    def to_json(self) -> dict[str, Any]:
        """All numbers."""
        from agd.ops.report.numbers import numbers

        return numbers(self)

    def multiqc(self) -> dict[str, str]:
        """Files for MultiQC: name and text of each."""
        from agd.ops.report.multiqc import files

        return files(self)

    def save(self, url: Url, **options: Any) -> None:
        """Write the page, or the numbers if the name ends in ``.json``, to a path or url.

        Raises
        ------
        StorageError
            It cannot be written.
        """
        url = as_text(url)
        text = json.dumps(self.to_json(), indent=2) + "\n" if url.endswith(".json") else self.html()
        write_text(url, text, **options)

    def save_multiqc(self, folder: Url, **options: Any) -> list[str]:
        """Write the files for MultiQC into a folder; returns their urls."""
        from agd.storage import open_storage

        storage = open_storage(folder, create=True, **options)
        found = self.multiqc()
        for name, text in found.items():
            storage.put(name, text.encode())
        return [f"{storage.url}/{name}" for name in found]


def report(
    dataset: Dataset, *, runner: Runner | None = None, memory: int | None = None, progress: Progress = SILENT
) -> Report:
    """Look at every record of a dataset once.

    The modules on reads are those of FastQC, with its definitions and verdicts, for each end of the pairs; further
    alignments are no reads. Of an aligned dataset flags, mapping qualities, insert sizes, mismatches and coverage come
    with them. Only the columns that this takes are read.

    Parameters
    ----------
    dataset : Dataset
        In any order. Which sequences are looked at for duplication depends on the order, and on nothing else.
    runner, memory, progress
        As in all operations.

    Returns
    -------
    Report
        To look at in a notebook; ``save``, ``to_json`` and ``save_multiqc`` write it.

    Raises
    ------
    FormatError
        An object is missing or damaged.

    Examples
    --------
    >>> report = agd.report(agd.open("sorted.agd"))
    >>> report.save("report.html")
    >>> sum(reads.reads for reads in report.reads)
    600
    """
    columns = _columns(dataset)
    bins = CoverageBins.of(dataset) if "results" in columns else None
    runner = runner or ThreadRunner()
    ahead = in_flight(runner, memory, 2 * chunk_bytes(dataset, columns))
    reads, duplication = ReadCounts(), [Duplication() for _ in range(3)]
    alignments = AlignmentCounts.none(bins) if bins else None
    handover = Handover.of(runner, dataset.storage)

    def fetch(chunk: Chunk) -> tuple[Chunk, dict[str, bytes]]:
        return chunk, dataset.fetch(chunk, columns)

    def work(fetched: tuple[Chunk, dict[str, bytes]]) -> tuple[Part | Arrays | str, int]:
        chunk, blobs = fetched
        part = _count(dataset, dataset.decode(chunk, blobs, columns), bins)
        return (handover.give(chunk.first, part.to_arrays()) if handover.name else part), chunk.count

    progress.begin("report", len(dataset), "records")
    fetched = runner.map(fetch, dataset.chunks, on="io", ahead=ahead)
    for given, records in runner.map(work, fetched, on="cpu", ahead=ahead):
        part = given if isinstance(given, Part) else Part.from_arrays(handover.take(given))
        reads.add(part.reads)
        for table, found in zip(duplication, part.sequences, strict=True):
            table.add(found)
        if alignments is not None and part.alignments is not None:
            alignments.add(part.alignments)
        progress.advance(records)
    progress.end()
    ends = [read_quality(reads, end, duplication[end]) for end in range(3) if reads.reads(end)]
    return Report(dataset.url, dataset.manifest, ends, alignments, bins)


def _columns(dataset: Dataset) -> list[str]:
    have = dataset.columns
    wanted: list[str] = [name for name in ("bases", "qualities") if name in have]
    if "results" in have:
        wanted += ["results", *secondary_columns(have), *(["tags"] if "tags" in have else [])]
    return wanted


def _count(dataset: Dataset, batch: Batch, bins: CoverageBins | None) -> Part:
    paired = dataset.manifest.pairing == "interleaved"
    own = batch.alignments() if "results" in batch else None
    empty = Column.empty(len(batch))
    bases = batch.ragged("bases") if "bases" in batch else empty
    qualities = batch.ragged("qualities") if "qualities" in batch else empty
    end, reverse = ends_of(batch, own, paired, dataset.orientation)
    sequences = [find_sequences(bases, end == e, reverse) for e in range(3)]
    alignments = None
    if bins is not None:
        rest = {name: column for name, column in batch.columns.items() if name not in ("bases", "qualities")}
        lines = to_lines(Batch(batch.first, rest), dataset.orientation, paired)
        alignments = count_alignments(lines, bins)
    return Part(count_reads(bases, qualities, end, reverse), sequences, alignments)
