"""The report as one HTML page: no scripts, no fonts, nothing from elsewhere."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import agd
from agd.display import column_sizes
from agd.ops.report.alignment_sections import alignment_sections
from agd.ops.report.elements import Section, code, meter, table
from agd.ops.report.numbers import insert_sizes
from agd.ops.report.read_sections import read_sections
from agd.ops.report.style import STYLE
from agd.units import format_share, format_short, format_size

if TYPE_CHECKING:
    from agd.ops.report.report import Report


def page(report: Report) -> str:
    """The whole page."""
    m = report.manifest
    reads = read_sections(report.reads) or [Section("reads", "Reads", "There are no reads.", "")]
    parts = {"Reads": reads, "Alignments": alignment_sections(report), "Dataset": [_storage(report), _history(report)]}
    links = "".join(f"<b>{name}</b>" + "".join(s.link() for s in sections) for name, sections in parts.items())
    body = "".join(
        f'<h2>{name}</h2><div class="cards">{"".join(s.html() for s in sections)}</div>'
        for name, sections in parts.items()
    )
    about = f"{report.url}, generation {m.generation}"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; style-src \'unsafe-inline\'">'
        f'<meta name="generator" content="agd {agd.__version__}"><title>{html.escape(_name(report))}: report</title>'
        f"<style>{STYLE}</style></head><body><div class=\"frame\"><nav aria-label=\"Contents\">{links}</nav><main>"
        f"<header><h1>{html.escape(_name(report))}</h1><p>{html.escape(about)}</p></header>{_facts(report)}{body}"
        f"<footer>Made by agd {agd.__version__}. Verdicts on reads follow the definitions of FastQC: they say what is "
        "unusual for a random genomic library, which need not be wrong.</footer></main></div></body></html>\n"
    )


def _name(report: Report) -> str:
    return report.url.rstrip("/").rsplit("/", 1)[-1]


def _facts(report: Report) -> str:
    m, a = report.manifest, report.alignments
    reads, bases = sum(q.reads for q in report.reads), sum(q.bases for q in report.reads)
    pairs = f"{m.records // 2:,} pairs" if m.pairing == "interleaved" else f"{m.sort_order.value}"
    facts = [("Records", f"{m.records:,}", pairs)]
    if reads:
        low, high = min(q.shortest for q in report.reads), max(q.longest for q in report.reads)
        length = f"{low:,}" if low == high else f"{low:,}–{high:,}"
        strong = sum(q.gc_percent * q.bases for q in report.reads) / max(1, bases)
        facts += [("Bases", format_short(bases), f"in {reads:,} reads"),
                  ("Read length", length, f"mean {bases / reads:,.1f} bases"),
                  ("GC content", f"{strong:.1f} %", "of A, C, G and T")]  # fmt: skip
    flags = report.flags
    if a is not None and flags is not None and m.records:
        primary, mapped = (flags.passed[k] + flags.failed[k] for k in ("primary", "primary mapped"))
        double = flags.passed["primary duplicates"] + flags.failed["primary duplicates"]
        facts += [("Mapped", format_share(mapped, primary), f"{mapped:,} of {primary:,} reads"),
                  ("Duplicates", format_share(double, primary), f"{double:,} reads")]  # fmt: skip
        facts.append(("Mean depth", *_depth(report)))  # fmt: skip
        sizes = insert_sizes(report)
        if sizes is not None:
            facts.append(("Insert size", f"{sizes.median:,}", "median, bases"))
        if a.measured:
            facts.append(("Mismatches", f"{100 * a.mismatches / a.measured:.2f} %", "of aligned bases, from NM"))
    each = f"{8 * m.stored_bytes / bases:.2f} bits a base" if bases else ""
    facts.append(("Size", format_size(m.stored_bytes), each))
    return '<dl class="facts">' + "".join(
        f'<div class="fact"><dt>{html.escape(name)}</dt><dd>{html.escape(value)}<small>{html.escape(more)}</small></dd>'
        "</div>" for name, value, more in facts
    ) + "</dl>"  # fmt: skip


def _depth(report: Report) -> tuple[str, str]:
    """Mean depth where the alignments lie, which may be a small part of the references."""
    a, bins = report.alignments, report.bins
    assert a is not None
    assert bins is not None
    used = sum(region.end - region.start for region in bins.regions)
    whole = sum(reference.length for reference in report.manifest.references)
    where = f"of {format_short(whole)} reference bases" if used > 0.9 * whole else (
        f"where alignments lie: {format_short(used)} of {format_short(whole)} bases")  # fmt: skip
    return (f"{a.coverage.sum() / used:,.2f}" if used else "n/a"), where


def _storage(report: Report) -> Section:
    m = report.manifest
    total = max(1, m.stored_bytes)
    rows = [
        [code(c.name), c.type, format_size(c.bytes), f"{8 * c.bytes / m.records:,.1f}" if m.records else "–", c.ratio,
         format_share(c.bytes, total), meter(c.bytes / total), c.chain]
        for c in column_sizes(m)
    ]  # fmt: skip
    head = ["column", "type", "stored", "bits a record", "ratio", "share", "", "codecs"]
    text = (f"{format_size(m.stored_bytes)} in {len(m.chunks):,} chunks. The ratio is that of decoded to stored bytes, "
            "where the decoded size is known.")  # fmt: skip
    body = f'<div class="scroll">{table(head, rows, words=(1, 7))}</div>'
    return Section("storage", "Columns and compression", text, body, wide=True)


def _history(report: Report) -> Section:
    rows = [
        [str(i), str(step.get("program", "")), str(step.get("version", "")),
         code(_command(step))]
        for i, step in enumerate(report.manifest.steps, 1)
    ]  # fmt: skip
    if not rows:
        return Section("history", "Provenance", "No steps are noted.", "")
    head = ["step", "program", "version", "command or parameters"]
    body = f'<div class="scroll">{table(head, rows, words=(1, 2, 3))}</div>'
    return Section("history", "Provenance", "What was done, oldest first.", body, wide=True)


def _command(step: Any) -> str:
    parameters = step.get("parameters") or {}
    return str(step.get("command") or ", ".join(f"{k}={v}" for k, v in parameters.items() if v is not None))
