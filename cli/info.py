"""``agd info``: show what a dataset holds."""

from __future__ import annotations

import json
from typing import Any

import click

from agd.cli import CONTEXT


@click.command("info", context_settings=CONTEXT)
@click.argument("dataset")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(dataset: str, as_json: bool) -> None:
    """Show the columns, sizes, references and history of DATASET; reads the manifest only.

    \b
    Examples:
      agd info sorted.agd
      agd info s3://bucket/s.agd --json
    """
    from agd.dataset import Dataset

    ds = Dataset.open(dataset)
    click.echo(json.dumps(summary(ds), indent=2) if as_json else describe(ds))


def summary(ds: Any) -> dict[str, Any]:
    """What the manifest tells about a dataset."""
    m = ds.manifest
    sizes = column_sizes(ds)
    return {
        "url": ds.url,
        "name": m.name,
        "id": m.id,
        "generation": m.generation,
        "records": m.records,
        "chunks": len(m.chunks),
        "pairing": m.pairing,
        "sort_order": m.sort_order.value,
        "orientation": m.orientation.name.lower(),
        "bytes": m.stored_bytes,
        "columns": {
            name: {"type": c.type.name.lower(), "codecs": c.codecs, "bytes": sizes[name]}
            for name, c in m.columns.items()
        },
        "references": [{"name": r.name, "length": r.length, "md5": r.md5} for r in m.references],
        "read_groups": [line["ID"] for line in _read_groups(m.header) if "ID" in line],
        "steps": list(m.steps),
        "sources": list(m.sources),
        "digest": m.digest,
    }


def _read_groups(header: str) -> list[dict[str, str]]:
    from agd.samheader import lines_of

    return lines_of(header, "RG")


def column_sizes(ds: Any) -> dict[str, int]:
    """Stored bytes of each column."""
    sizes = dict.fromkeys(ds.columns, 0)
    for chunk in ds.chunks:
        for name, cell in chunk.cells.items():
            sizes[name] += cell.bytes
    return sizes


def describe(ds: Any) -> str:
    """The summary for people."""
    from agd.units import format_size

    m = ds.manifest
    sizes = column_sizes(ds)
    total = max(1, sum(sizes.values()))
    pairs = f" ({m.records // 2:,} pairs)" if m.pairing == "interleaved" else ""
    lines = [
        f"{ds.url}",
        f"  records     {m.records:,}{pairs} in {len(m.chunks):,} chunks, generation {m.generation}",
        f"  order       {m.sort_order.value}",
        f"  size        {format_size(m.stored_bytes)}"
        + (f", {m.stored_bytes / m.records:.1f} bytes a record" if m.records else ""),
    ]
    if m.references:
        bases = sum(r.length for r in m.references)
        lines.append(f"  references  {len(m.references):,} ({bases:,} bases): {_some([r.name for r in m.references])}")
    groups = [g.get("ID", "?") for g in _read_groups(m.header)]
    if groups:
        lines.append(f"  read groups {_some(groups)}")
    lines.append("")
    width = max([len(name) for name in ds.columns] + [6])
    lines.append(f"  {'column':<{width}}  {'type':<10} {'size':>9} {'share':>6}  {'':20}  codecs")
    for name, spec in m.columns.items():
        share = sizes[name] / total
        bar = "█" * round(20 * share)
        codecs = " → ".join(_codec(c) for c in spec.codecs) or "none"
        lines.append(
            f"  {name:<{width}}  {spec.type.name.lower():<10} {format_size(sizes[name]):>9} {share:>6.1%}  "
            f"{bar:<20}  {codecs}"
        )
    if m.steps:
        lines.append("")
        lines += [f"  step        {s.get('command') or s.get('program', '')}" for s in m.steps]
    return "\n".join(lines)


def _codec(config: dict[str, Any]) -> str:
    settings = [str(v) for k, v in config.items() if k not in ("name", "version")]
    return config["name"] + (f"({','.join(settings)})" if settings else "")


def _some(names: list[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")
