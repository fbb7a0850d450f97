"""A report in files that MultiQC gathers: those that its own modules know, and custom content for the rest."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

import agd
from agd.display import column_sizes
from agd.ops.report.adapters import ADAPTERS
from agd.ops.report.numbers import insert_sizes
from agd.ops.report.quality import LEVELS, QUALITY_STATISTICS, ReadQuality

if TYPE_CHECKING:
    from agd.ops.report.report import Report

#: Sections of ``fastqc_data.txt`` by our modules.
SECTIONS = {
    "quality": "Per base sequence quality",
    "mean_quality": "Per sequence quality scores",
    "bases": "Per base sequence content",
    "gc": "Per sequence GC content",
    "n": "Per base N content",
    "lengths": "Sequence Length Distribution",
    "duplication": "Sequence Duplication Levels",
    "overrepresented": "Overrepresented sequences",
    "adapters": "Adapter Content",
}

_SUFFIX = {"read 1": "_R1", "read 2": "_R2", "reads": ""}


def files(report: Report) -> dict[str, str]:
    """Name and text of each file.

    ``*_fastqc_data.txt`` for MultiQC's module ``fastqc``, ``*.flagstat`` for its module ``samtools``, and
    ``*_mqc.json`` with custom content.
    """
    name = sample_name(report)
    found = {}
    for quality in report.reads:
        sample = name + _SUFFIX[quality.end]
        found[f"{sample}_fastqc_data.txt"] = fastqc_data(quality, sample)
    if report.flags is not None:
        found[f"{name}.flagstat"] = report.flags.text()
    for key, content in _contents(report, name):
        found[f"{name}_{key}_mqc.json"] = json.dumps(content, indent=1) + "\n"
    return found


def sample_name(report: Report) -> str:
    """Name of the sample: the last part of the dataset's url, without the suffix ``.agd``."""
    last = re.split(r"[/\\]", report.url.rstrip("/\\"))[-1].removesuffix(".agd")
    return re.sub(r"[^\w.+-]", "_", last) or report.manifest.name


def _contents(report: Report, sample: str) -> Iterable[tuple[str, dict[str, Any]]]:
    """Key and custom content of each plot."""
    m = report.manifest
    yield "general", {
        "id": "agd_general", "plot_type": "generalstats",
        "pconfig": [
            {"agd_records": {"title": "Records", "description": "Records in the dataset", "format": "{:,.0f}",
                             "min": 0, "scale": "Blues"}},
            {"agd_bytes": {"title": "MB", "description": "Stored size, megabytes", "format": "{:,.1f}", "min": 0,
                           "scale": "Greens"}},
        ],
        "data": {sample: {"agd_records": m.records, "agd_bytes": m.stored_bytes / 1e6}},
    }  # fmt: skip
    yield "columns", {
        **_about("agd_columns", "Column sizes", "Stored bytes of each column of the dataset."), "plot_type": "bargraph",
        "pconfig": {"id": "agd_columns_plot", "title": "AGD: column sizes", "ylab": "bytes"},
        "data": {sample: {c.name: c.bytes for c in column_sizes(m)}},
    }  # fmt: skip
    a = report.alignments
    if a is None:
        return
    yield "mapq", {
        **_about("agd_mapq", "Mapping quality", "Mapped primary alignments by mapping quality."),
        "plot_type": "linegraph",
        "pconfig": {"id": "agd_mapq_plot", "title": "AGD: mapping quality", "xlab": "mapping quality", "ylab": "reads"},
        "data": {sample: {int(q): int(a.mapq[q]) for q in range(int(np.flatnonzero(a.mapq).max(initial=60)) + 1)}},
    }  # fmt: skip
    sizes = insert_sizes(report)
    if sizes is not None:
        yield "insert_size", {
            **_about("agd_insert_size", "Insert size", "Pairs by insert size, all directions together."),
            "plot_type": "linegraph",
            "pconfig": {"id": "agd_insert_plot", "title": "AGD: insert size", "xlab": "insert size", "ylab": "pairs"},
            "data": {sample: {int(s): int(n) for s, n in enumerate(sizes.pairs.tolist()[: sizes.shown + 1])}},
        }  # fmt: skip


def _about(key: str, title: str, text: str) -> dict[str, str]:
    return {"id": key, "section_name": title, "description": text, "parent_id": "agd", "parent_name": "AGD",
            "parent_description": "Datasets of Aggregate Genomic Data"}  # fmt: skip


def fastqc_data(q: ReadQuality, sample: str) -> str:
    """The text of ``fastqc_data.txt``, without the version of a FastQC that did not run."""
    length = str(q.longest) if q.shortest == q.longest else f"{q.shortest}-{q.longest}"
    lines = [f"##agd\t{agd.__version__}", ">>Basic Statistics\tpass", "#Measure\tValue", f"Filename\t{sample}",
             "File type\tConventional base calls", "Encoding\tSanger / Illumina 1.9", f"Total Sequences\t{q.reads}",
             "Sequences flagged as poor quality\t0", f"Sequence length\t{length}",
             f"%GC\t{math.floor(q.gc_percent)}", ">>END_MODULE"]  # fmt: skip
    for key, verdict in q.verdicts.items():
        lines += [f">>{SECTIONS[key]}\t{verdict}", *_section(q, key), ">>END_MODULE"]
    return "\n".join(lines) + "\n"


def _section(q: ReadQuality, key: str) -> list[str]:
    cycles = [_span(group) for group in q.groups]
    if key == "quality":
        names = [name.title().replace("Th", "th") for name in QUALITY_STATISTICS]
        return _table(["Base", *names], cycles, q.quality.tolist())
    if key == "mean_quality":
        used = np.flatnonzero(q.mean_quality)
        scores = range(int(used.min()), int(used.max()) + 1)
        return _table(["Quality", "Count"], scores, [[float(q.mean_quality[s])] for s in scores])
    if key == "bases":
        return _table(["Base", "G", "A", "T", "C"], cycles, q.letters[:, [2, 0, 3, 1]].tolist())
    if key == "gc":
        return _table(["GC Content", "Count"], range(101), q.gc[:, None].tolist())
    if key == "n":
        return _table(["Base", "N-Count"], cycles, q.n[:, None].tolist())
    if key == "lengths":
        return _table(["Length", "Count"], sorted(q.lengths), [[float(q.lengths[n])] for n in sorted(q.lengths)])
    if key == "duplication":
        names = [str(n) for n in LEVELS[:9]] + [">10", ">50", ">100", ">500", ">1k", ">5k", ">10k+"]
        head = [f"#Total Deduplicated Percentage\t{q.remaining}"]
        return head + _table(["Duplication Level", "Percentage of total"], names, q.levels[:, None].tolist())
    if key == "overrepresented":
        rows = [[s, str(n), str(p), source or "No Hit"] for s, n, p, source in q.overrepresented]
        head = ["#Sequence\tCount\tPercentage\tPossible Source"] if rows else []
        return head + ["\t".join(row) for row in rows]
    return _table(["Position", *ADAPTERS], [_span(g) for g in q.adapter_groups], q.adapters.T.tolist())


def _span(group: tuple[int, int]) -> str:
    return str(group[0]) if group[0] == group[1] else f"{group[0]}-{group[1]}"


def _table(head: list[str], names: Iterable[object], rows: list[list[float]]) -> list[str]:
    return ["#" + "\t".join(head)] + [
        "\t".join([str(name), *("NaN" if math.isnan(v) else repr(v) for v in row)])
        for name, row in zip(names, rows, strict=True)
    ]
