"""Sections of the page about the reads: FastQC's modules."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from agd.ops.report.adapters import ADAPTERS
from agd.ops.report.elements import Section, code, details, figures, legend, span, table
from agd.ops.report.plot import Plot, round_up
from agd.ops.report.quality import LEVELS, MODULES, QUALITY_STATISTICS, ReadQuality, level_name

#: Colours of the ends of pairs, the four bases, and adapters.
END_COLOURS = ("c0", "c1", "c3")
BASE_COLOURS = {"A": "c2", "C": "c0", "G": "c1", "T": "c4"}

_GROUP = tuple[int, int]


def read_sections(reads: Sequence[ReadQuality]) -> list[Section]:
    """One section a module; nothing where there are no reads."""
    drawers: dict[str, tuple[str, Callable[[Sequence[ReadQuality]], str]]] = {
        "quality": ("Phred qualities: median (line), quartiles (box), 10th and 90th percentile (whiskers), and the "
                    "mean (coloured line).", _quality),
        "bases": ("Share of each base among the four. The lines of a random library run side by side.", _bases),
        "mean_quality": ("Reads by their mean quality.", _mean_quality),
        "gc": ("Reads by their GC content, and a normal distribution around the most frequent one.", _gc),
        "n": ("Share of bases that were not called.", _n),
        "lengths": ("Reads by length.", _lengths),
        "duplication": ("Reads by how often their first 50 bases occur; the first 100,000 different sequences are "
                        "followed through the whole dataset.", _duplication),
        "overrepresented": ("Sequences of more than 0.1 % of the reads.", _overrepresented),
        "adapters": ("Reads that hold the beginning of an adapter, up to a cycle.", _adapters),
    }  # fmt: skip
    found: list[Section] = []
    if not reads:
        return found
    for key, (text, draw) in drawers.items():
        some = [q for q in reads if q.bases and (key not in ("quality", "mean_quality") or key in q.verdicts)]
        body = draw(some) if some else "<p>There is nothing to show: the reads have no bases or no qualities.</p>"
        verdicts = {q.end: q.verdicts[key] for q in some if key in q.verdicts}
        wide = (draw in _SIDE_BY_SIDE and len(some) > 1) or (draw is _overrepresented and "<table" in body)
        found.append(Section(key, MODULES[key], text, body, verdicts, wide))
    return found


def _colour(q: ReadQuality) -> str:
    return END_COLOURS[("read 1", "read 2", "reads").index(q.end)]


def _ends(reads: Sequence[ReadQuality]) -> list[tuple[str, str]]:
    return [(_colour(q), q.end) for q in reads]


def _cycle_ticks(groups: Sequence[_GROUP]) -> list[tuple[float, str]]:
    """Labels for groups of cycles, which all have the same width on the axis."""
    every = max(1, -(-len(groups) // 14))
    return [(i, f"{groups[i][0]:,}") for i in range(0, len(groups), every)]


def _by_cycle(title: str, y_label: str, groups: Sequence[_GROUP], top: float) -> Plot:
    return Plot(title, "cycle (position in the read)", y_label, (-0.6, len(groups) - 0.4), (0, top))


def _cycle_rows(groups: Sequence[_GROUP], columns: Sequence[Sequence[float]], digits: int = 2) -> list[list[str]]:
    return [[span(g), *(_number(c[i], digits) for c in columns)] for i, g in enumerate(groups)]


def _number(value: float, digits: int) -> str:
    return "–" if math.isnan(value) else f"{value:,.{digits}f}"


def _quality(reads: Sequence[ReadQuality]) -> str:
    top = max(42.0, *(float(np.nanmax(q.quality)) + 1 for q in reads))
    drawn, tables = [], ""
    for q in reads:
        plot = _by_cycle(f"Quality by cycle, {q.end}", "quality (Phred)", q.groups, top)
        for low, high, kind in ((0, 20, "zone-bad"), (20, 28, "zone-fair"), (28, top, "zone-good")):
            plot.band(low, high, kind)
        plot.axes(_cycle_ticks(q.groups), y_ticks=range(0, int(top) + 1, 10))
        for i, group in enumerate(q.groups):
            mean, median, low, high, p10, p90 = q.quality[i].tolist()
            if not math.isnan(mean):
                plot.box(i - 0.36, i + 0.36, (p10, low, median, high, p90), mean)
                plot.tip(i - 0.5, i + 0.5, f"cycle {span(group)}: mean {mean:.1f}, median {median:g}, quartiles "
                         f"{low:g} to {high:g}, 80 % within {p10:g} to {p90:g}")  # fmt: skip
        plot.line(range(len(q.groups)), q.quality[:, 0].tolist(), _colour(q))
        drawn.append((q.end, plot.svg()))
        rows = _cycle_rows(q.groups, q.quality.T.tolist())
        tables += details(["cycle", *QUALITY_STATISTICS], rows, f"Numbers: {q.end}")
    return figures(drawn) + tables


def _mean_quality(reads: Sequence[ReadQuality]) -> str:
    used = np.flatnonzero(sum(q.mean_quality for q in reads))
    low, high = max(0, int(used[0]) - 1), int(used[-1]) + 1
    top = round_up(max(int(q.mean_quality.max()) for q in reads))
    plot = Plot("Reads by mean quality", "mean quality of a read (Phred)", "reads", (low - 0.5, high + 0.5), (0, top))
    plot.axes()
    scores = list(range(low, high + 1))
    for q in reads:
        plot.line(scores, [float(q.mean_quality[s]) if s < 94 else 0.0 for s in scores], _colour(q))
    for s in scores[:-1]:
        plot.tip(s - 0.5, s + 0.5, f"{s}: " + ", ".join(f"{q.end} {q.mean_quality[s]:,}" for q in reads))
    rows = [[str(s), *(f"{q.mean_quality[s]:,}" for q in reads)] for s in scores[:-1]]
    return legend(_ends(reads)) + figures([("", plot.svg())]) + details(["quality", *(q.end for q in reads)], rows)


def _bases(reads: Sequence[ReadQuality]) -> str:
    top = round_up(max(50.0, max(float(q.letters.max()) for q in reads)))
    drawn, tables = [], ""
    for q in reads:
        plot = _by_cycle(f"Bases by cycle, {q.end}", "share of bases (%)", q.groups, top)
        plot.axes(_cycle_ticks(q.groups))
        for i, letter in enumerate("ACGT"):
            plot.line(range(len(q.groups)), q.letters[:, i].tolist(), BASE_COLOURS[letter])
        for i, group in enumerate(q.groups):
            shares = ", ".join(f"{x} {q.letters[i, j]:.1f} %" for j, x in enumerate("ACGT"))
            plot.tip(i - 0.5, i + 0.5, f"cycle {span(group)}: {shares}")
        drawn.append((q.end, plot.svg()))
        heads = ["cycle", *(f"{x} (%)" for x in "ACGT")]
        tables += details(heads, _cycle_rows(q.groups, q.letters.T.tolist()), f"Numbers: {q.end}")
    return legend((colour, letter) for letter, colour in BASE_COLOURS.items()) + figures(drawn) + tables


def _gc(reads: Sequence[ReadQuality]) -> str:
    top = round_up(max(max(float(q.gc.max()), float(q.gc_theory.max())) for q in reads))
    plot = Plot("Reads by GC content", "GC content of a read (%)", "reads", (0, 100), (0, top))
    plot.axes([(v, str(v)) for v in range(0, 101, 10)])
    for q in reads:
        plot.line(range(101), q.gc_theory.tolist(), _colour(q), dashed=True)
        plot.line(range(101), q.gc.tolist(), _colour(q))
    for percent in range(101):
        plot.tip(percent - 0.5, percent + 0.5, f"{percent} %: " + ", ".join(
            f"{q.end} {q.gc[percent]:,.0f} (normal: {q.gc_theory[percent]:,.0f})" for q in reads))  # fmt: skip
    names = [e for c, end in _ends(reads) for e in ((c, end), (f"{c} dashed", f"{end}, normal distribution"))]
    heads = ["GC (%)", *(h for q in reads for h in (q.end, f"{q.end}, normal"))]
    rows = [[str(p), *(f"{v[p]:,.1f}" for q in reads for v in (q.gc, q.gc_theory))] for p in range(101)]
    return legend(names) + figures([("", plot.svg())]) + details(heads, rows)


def _n(reads: Sequence[ReadQuality]) -> str:
    longest = max(reads, key=lambda q: q.longest)
    most = max(float(q.n.max()) for q in reads)
    plot = _by_cycle("Undetermined bases by cycle", "share of bases (%)", longest.groups, round_up(max(1.0, most)))
    plot.axes(_cycle_ticks(longest.groups))
    for q in reads:
        plot.line(range(len(q.groups)), q.n.tolist(), _colour(q))
    same = [q for q in reads if q.groups == longest.groups]
    for i, group in enumerate(longest.groups):
        plot.tip(i - 0.5, i + 0.5, f"cycle {span(group)}: " + ", ".join(f"{q.end} {q.n[i]:.2f} %" for q in same))
    tables = "".join(details(["cycle", "N (%)"], _cycle_rows(q.groups, [q.n.tolist()], 3), f"Numbers: {q.end}")
                     for q in reads)  # fmt: skip
    return legend(_ends(reads)) + figures([("", plot.svg())]) + tables


def _lengths(reads: Sequence[ReadQuality]) -> str:
    low, high = min(q.shortest for q in reads), max(q.longest for q in reads)
    if low == high:
        return f"<p>Every read has {low:,} bases.</p>"
    width = max(1, int(round_up((high - low) / 60)))
    first = low // width
    count = high // width - first + 1
    table_of = np.zeros((len(reads), count), np.int64)
    for row, q in enumerate(reads):
        lengths = np.array(list(q.lengths.items()), np.int64)
        np.add.at(table_of[row], lengths[:, 0] // width - first, lengths[:, 1])
    plot = Plot("Reads by length", "length (bases)", "reads", (first * width, (first + count) * width),
                (0, round_up(int(table_of.max()))))  # fmt: skip
    plot.axes()
    part = width / len(reads)
    rows = []
    for i in range(count):
        start = (first + i) * width
        name = span((start, start + width - 1))
        for row, q in enumerate(reads):
            left = start + part * row
            plot.bar(left + 0.06 * part, left + 0.94 * part, int(table_of[row, i]), _colour(q),
                     f"{name} bases: {q.end} {table_of[row, i]:,}")  # fmt: skip
        if table_of[:, i].any():
            rows.append([name, *(f"{n:,}" for n in table_of[:, i].tolist())])
    return legend(_ends(reads)) + figures([("", plot.svg())]) + details(["length", *(q.end for q in reads)], rows)


def _duplication(reads: Sequence[ReadQuality]) -> str:
    plot = Plot("Reads by duplication of their sequence", "times that the sequence occurs", "share of reads (%)",
                (-0.5, len(LEVELS) - 0.5), (0, 100))  # fmt: skip
    plot.axes([(i, level_name(i)) for i in range(len(LEVELS))])
    part = 0.8 / len(reads)
    for row, q in enumerate(reads):
        for i, share in enumerate(q.levels.tolist()):
            left = i - 0.4 + part * row
            plot.bar(left, left + part * 0.94, share, _colour(q), f"{level_name(i)}: {q.end} {share:.2f} %")
    kept = ", ".join(f"{q.end} {q.remaining:.1f} %" for q in reads)
    rows = [[level_name(i), *(f"{q.levels[i]:.3f}" for q in reads)] for i in range(len(LEVELS))]
    return (
        f"<p>Left if every sequence were kept once: {kept}.</p>" + legend(_ends(reads))
        + figures([("", plot.svg())]) + details(["times", *(f"{q.end} (%)" for q in reads)], rows)
    )  # fmt: skip


def _overrepresented(reads: Sequence[ReadQuality]) -> str:
    rows = [
        [code(sequence), q.end, f"{count:,}", f"{percent:.2f}", source or "–"]
        for q in reads for sequence, count, percent, source in q.overrepresented[:50]
    ]  # fmt: skip
    if not rows:
        return "<p>There are none.</p>"
    head = ["sequence", "end", "reads", "share (%)", "may come from"]
    return f'<div class="scroll">{table(head, rows, words=(1, 4))}</div>'


def _adapters(reads: Sequence[ReadQuality]) -> str:
    some = [q for q in reads if q.adapter_groups]
    if not some:
        return "<p>The reads are shorter than the adapters.</p>"
    top = round_up(max(5.0, max(float(q.adapters.max()) for q in some)))
    drawn, tables = [], ""
    for q in some:
        plot = _by_cycle(f"Adapter content, {q.end}", "share of reads (%)", q.adapter_groups, top)
        plot.axes(_cycle_ticks(q.adapter_groups))
        for i in range(len(ADAPTERS)):
            plot.line(range(len(q.adapter_groups)), q.adapters[i].tolist(), f"c{i}")
        for i, group in enumerate(q.adapter_groups):
            shares = ", ".join(f"{name} {q.adapters[a, i]:.2f} %" for a, name in enumerate(ADAPTERS))
            plot.tip(i - 0.5, i + 0.5, f"up to cycle {group[1]:,}: {shares}")
        drawn.append((q.end, plot.svg()))
        rows = _cycle_rows(q.adapter_groups, q.adapters.tolist(), 3)
        tables += details(["cycle", *(f"{name} (%)" for name in ADAPTERS)], rows, f"Numbers: {q.end}")
    return legend((f"c{i}", name) for i, name in enumerate(ADAPTERS)) + figures(drawn) + tables


#: What has a drawing for each end.
_SIDE_BY_SIDE = (_quality, _bases, _adapters)
