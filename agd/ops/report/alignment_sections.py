"""Sections of the page about alignments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from agd.ops.flagstat import LINES, SHARES
from agd.ops.report.elements import Section, details, figures, legend, meter, table
from agd.ops.report.numbers import coverage_rows, insert_sizes
from agd.ops.report.plot import WIDE, Plot, round_up
from agd.units import format_share

if TYPE_CHECKING:
    from agd.ops.report.report import Report

#: References that are drawn, and that the table lists: those with the most aligned bases.
_DRAWN, _LISTED = 30, 200


def alignment_sections(report: Report) -> list[Section]:
    """Flags, mapping qualities, insert sizes, coverage; or how to get them."""
    if report.alignments is None:
        text = f"These reads are not aligned. To align them: agd align {report.url} --reference ref.fa"
        return [Section("alignments", "Alignments", text, "")]
    if not report.alignments.flags.any():
        return [Section("alignments", "Alignments", "There are no records.", "")]
    return [_flags(report), _mapq(report), _inserts(report), _coverage(report)]


def _flags(report: Report) -> Section:
    flags = report.flags
    assert flags is not None
    rows = []
    for key, _ in LINES:
        number = flags.passed[key] + flags.failed[key]
        whole = SHARES.get(key, "total")
        of = flags.passed[whole] + flags.failed[whole]
        share = f"{format_share(number, of)} of {whole}" if key in SHARES else format_share(number, of)
        rows.append([key, f"{number:,}", f"{flags.failed[key]:,}", share, meter(number / max(1, of))])
    head = ["records", "number", "of them failed", "share", ""]
    text = "Alignment records by their flags, as samtools flagstat counts them."
    body = f'<div class="scroll">{table(head, rows)}</div>{_mismatches(report)}'
    return Section("flags", "Flag statistics", text, body, wide=True)


def _mismatches(report: Report) -> str:
    a = report.alignments
    assert a is not None
    if not a.measured:
        return "<p>Mismatches are not known: no record has the tag NM.</p>"
    return (f"<p>Mismatches and inserted or deleted bases, from NM: {a.mismatches:,} in {a.measured:,} aligned bases, "
            f"{100 * a.mismatches / a.measured:.3f}\u00a0%.</p>")  # fmt: skip


def _mapq(report: Report) -> Section:
    assert report.alignments is not None
    counts = report.alignments.mapq
    text = "Mapped primary alignments by mapping quality. 255 stands for unknown."
    if not counts.any():
        return Section("mapq", "Mapping quality", text, "<p>No read is mapped.</p>")
    last = max(60, int(np.flatnonzero(counts).max()))
    plot = Plot("Mapping quality", "mapping quality", "reads", (-0.7, last + 0.7), (0, round_up(int(counts.max()))))
    plot.axes([(v, str(v)) for v in range(0, last + 1, 10 if last <= 100 else 30)])
    for quality in np.flatnonzero(counts).tolist():
        plot.bar(quality - 0.4, quality + 0.4, int(counts[quality]), "c0", f"{quality}: {counts[quality]:,} reads")
    mapped = int(counts.sum())
    shares = ", ".join(f"{format_share(int(counts[q:].sum()), mapped)} at {q} or more" for q in (1, 10, 20, 30))
    rows = [[str(q), f"{counts[q]:,}", format_share(int(counts[q]), mapped)] for q in np.flatnonzero(counts).tolist()]
    body = f"<p>{shares}.</p>" + figures([("", plot.svg())]) + details(["quality", "reads", "share"], rows)
    return Section("mapq", "Mapping quality", text, body)


def _inserts(report: Report) -> Section:
    title, text = "Insert sizes", "Pairs of which both reads are mapped, by the length of the fragment."
    sizes = insert_sizes(report)
    if sizes is None:
        return Section("inserts", title, text, "<p>There are no pairs of which both reads are mapped.</p>")
    width = max(1, -(-sizes.shown // 360))
    edges = np.arange(0, sizes.shown + 1, width)
    binned = np.add.reduceat(sizes.by_direction[:, : sizes.shown + 1], edges, axis=1) / width
    plot = Plot(title, "insert size (bases)", "pairs of a size", (0, sizes.shown), (0, round_up(float(binned.max()))))
    plot.axes()
    names = ("inward", "outward", "other directions")
    for kind, colour in ((0, "c0"), (1, "c1"), (2, "c3")):
        if binned[kind].any():
            plot.area((edges + width / 2).tolist(), binned[kind].tolist(), colour)
    for i, edge in enumerate(edges.tolist()):
        told = ", ".join(f"{name} {binned[k, i]:,.3g}" for k, name in enumerate(names))
        plot.tip(edge, edge + width, f"{edge:,} to {edge + width - 1:,} bases: {told}")
    pairs = ", ".join(f"{n:,} {name}" for name, n in zip(names, sizes.by_direction.sum(axis=1).tolist(), strict=True))
    about = (f"<p>Median {sizes.median:,}; of the main bulk mean {sizes.mean:,.1f}, standard deviation "
             f"{sizes.deviation:,.1f} bases. Pairs: {pairs}.</p>")  # fmt: skip
    rows = [[f"{e:,}", *(f"{v:,.4g}" for v in binned[:, i].tolist())] for i, e in enumerate(edges.tolist())
            if binned[:, i].any()]  # fmt: skip
    body = about + legend(zip(("c0", "c1", "c3"), names, strict=True)) + figures([("", plot.svg())])
    return Section("inserts", title, text, body + details([f"from (by {width})", *names], rows))


def _coverage(report: Report) -> Section:
    a, bins = report.alignments, report.bins
    assert a is not None
    assert bins is not None
    rows = coverage_rows(report)
    used = sorted((i for i, row in enumerate(rows) if row["aligned_bases"]), key=lambda i: -rows[i]["aligned_bases"])
    text = (f"Mean depth in stretches of {bins.width:,} bases, where there are alignments. Unmapped, secondary and "
            "failed records and duplicates do not count.")  # fmt: skip
    if not used:
        return Section("coverage", "Coverage", text, "<p>Nothing covers the references.</p>")
    drawn = sorted(used[:_DRAWN])
    body = figures([("", _coverage_plot(report, drawn))])
    if len(used) > len(drawn):
        body += f"<p>Drawn are the {len(drawn):,} of {len(used):,} references with the most aligned bases.</p>"
    listed = [rows[i] for i in sorted(used[:_LISTED])]
    body += details(
        ["reference", "length", "mapped records", "aligned bases", "mean depth", "alignments lie in"],
        [[r["name"], f"{r['length']:,}", f"{r['mapped']:,}", f"{r['aligned_bases']:,}", f"{r['mean_depth']:,.3f}",
          f"{r['start'] + 1:,}–{r['end']:,}"] for r in listed], f"Numbers: {len(listed):,} references",
    )  # fmt: skip
    return Section("coverage", "Coverage along the references", text, body, wide=True)


def _coverage_plot(report: Report, drawn: list[int]) -> str:
    """References side by side, in their order."""
    a, bins = report.alignments, report.bins
    assert a is not None
    assert bins is not None
    depths = [a.coverage[bins.first[i] : bins.first[i + 1]] / bins.sizes(i) for i in drawn]
    together = np.concatenate(depths)
    top = float(together.max())
    usual = float(np.quantile(together[together > 0], 0.99))
    if top > 5 * usual:
        top = 2 * usual  # one tower would flatten all the rest
    one = len(drawn) == 1
    start = bins.regions[drawn[0]].start + 1 if one else 0
    span = sum(bins.regions[i].end - bins.regions[i].start for i in drawn)
    name = report.manifest.references[drawn[0]].name
    label = f"position on {name} (1-based)" if one else "references in their order"
    plot = Plot("Coverage along the references", label, "mean depth", (start, start + span), (0, round_up(top)), WIDE)
    marks: list[tuple[float, str]] = []
    at, places = start, []
    for k, i in enumerate(drawn):
        length = bins.regions[i].end - bins.regions[i].start
        if k % 2 and not one:
            plot.stripe(at, at + length, "stripe")
        marks.append((at + length / 2, report.manifest.references[i].name))
        places.append(at)
        at += length
    plot.axes(None if one else marks)
    for k, (i, depth) in enumerate(zip(drawn, depths, strict=True)):
        region = bins.regions[i]
        edges = places[k] + np.minimum(np.arange(len(depth) + 1) * bins.width, region.end - region.start)
        plot.area(np.repeat(edges, 2)[1:-1].tolist(), np.repeat(depth, 2).tolist(), "c0" if k % 2 == 0 else "c3")
        if not one:
            plot.tip(places[k], places[k] + region.end - region.start,
                     f"{report.manifest.references[i].name}: mean {depth.mean():,.2f}, "
                     f"greatest {depth.max():,.2f}")  # fmt: skip
    if plot.y[1] >= together.max():
        return plot.svg()
    return plot.svg() + f"<p>Cut off at {plot.y[1]:,.3g}; the greatest value is {together.max():,.4g}.</p>"
