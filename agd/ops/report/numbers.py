"""All numbers of a report as JSON, and those that several of its forms show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import agd
from agd.batch import I64
from agd.display import column_sizes
from agd.ops.stats import INWARD, OTHER, OUTWARD

if TYPE_CHECKING:
    from agd.ops.report.report import Report


@dataclass(frozen=True, slots=True)
class InsertSizes:
    """Insert sizes of the pairs.

    Attributes
    ----------
    by_direction : ndarray of int64, shape (3, sizes)
        Pairs by direction (inward, outward, other) and insert size; greater ones count as the greatest.
    pairs : ndarray of int64, shape (sizes,)
        All directions together.
    median : int
        Of all pairs.
    mean, deviation : float
        Of the 99 % of the pairs with the smallest sizes.
    shown : int
        Size up to which a plot goes: all but one pair in a hundred are not greater.
    """

    by_direction: I64
    pairs: I64
    median: int
    mean: float
    deviation: float
    shown: int


def insert_sizes(report: Report) -> InsertSizes | None:
    """Insert sizes; None where there are no pairs."""
    a = report.alignments
    if a is None:
        return None
    table = a.inserts // 2
    pairs = table.sum(axis=0)
    running = np.cumsum(pairs)
    total = int(running[-1])
    if not total:
        return None
    median = int(np.searchsorted(running, (total + 1) // 2))
    last = int(np.searchsorted(running, 0.99 * total))
    size, bulk = np.arange(last + 1), pairs[: last + 1]
    mean = float((size * bulk).sum() / bulk.sum())
    deviation = float(np.sqrt(((size - mean) ** 2 * bulk).sum() / bulk.sum()))
    return InsertSizes(table, pairs, median, mean, deviation, min(len(pairs) - 1, max(10, last + last // 10)))


def coverage_rows(report: Report) -> list[dict[str, Any]]:
    """Length, mapped lines and mean depth of each reference."""
    a, bins = report.alignments, report.bins
    if a is None or bins is None:
        return []
    rows = []
    for i, reference in enumerate(report.manifest.references):
        region = bins.regions[i]
        bases = int(a.coverage[bins.first[i] : bins.first[i + 1]].sum())
        rows.append({
            "name": reference.name, "length": reference.length, "mapped": int(a.mapped[i]), "aligned_bases": bases,
            "mean_depth": bases / reference.length if reference.length else 0.0, "start": region.start,
            "end": region.end,
        })  # fmt: skip
    return rows


def numbers(report: Report) -> dict[str, Any]:
    """The whole report as JSON."""
    m = report.manifest
    found: dict[str, Any] = {
        "agd": agd.__version__, "url": report.url, "name": m.name, "id": m.id, "generation": m.generation,
        "records": m.records, "chunks": len(m.chunks), "sort_order": m.sort_order.value, "pairing": m.pairing,
        "bytes": m.stored_bytes,
        "columns": [
            {"column": c.name, "type": c.type, "codecs": c.codecs, "bytes": c.bytes, "decoded_bytes": c.decoded}
            for c in column_sizes(m)
        ],
        "steps": list(m.steps), "sources": list(m.sources),
        "reads": [q.to_json() for q in report.reads], "alignments": None,
    }  # fmt: skip
    a, flags, bins = report.alignments, report.flags, report.bins
    if a is None or flags is None or bins is None:
        return found
    sizes = insert_sizes(report)
    found["alignments"] = {
        "flags": flags.to_json(),
        "mapq": {str(q): int(a.mapq[q]) for q in np.flatnonzero(a.mapq)},
        "mismatches": a.mismatches, "measured_bases": a.measured,
        "mismatch_rate": a.mismatches / a.measured if a.measured else None,
        "insert_size": None if sizes is None else {
            "median": sizes.median, "mean": sizes.mean, "deviation": sizes.deviation,
            **{name: {str(s): int(sizes.by_direction[i, s]) for s in np.flatnonzero(sizes.by_direction[i])}
               for name, i in (("inward", INWARD), ("outward", OUTWARD), ("other", OTHER))},
        },
        "references": coverage_rows(report), "bin_width": bins.width,
        "coverage": {
            reference.name: (a.coverage[bins.first[i] : bins.first[i + 1]] / bins.sizes(i)).tolist()
            for i, reference in enumerate(m.references) if bins.first[i + 1] > bins.first[i]
        },
    }  # fmt: skip
    return found
