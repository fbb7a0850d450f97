"""``agd info``: show what a dataset holds."""

from __future__ import annotations

import json
from typing import Any

import click

from agd.cli import CONTEXT
from agd.cli.terminal import fit, say, width
from agd.units import bar, format_size

#: Columns of the terminal from which on the bars, and the codec chains, have room.
_ROOM_FOR_BARS, _ROOM_FOR_CODECS = 64, 84


@click.command("info", context_settings=CONTEXT)
@click.argument("dataset")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(dataset: str, as_json: bool) -> None:
    """Show the columns, sizes, references and history of DATASET; reads the manifest only.

    The ratio is that of decoded to stored bytes, where the manifest tells the decoded ones.

    \b
    Examples:
      agd info sorted.agd
      agd info s3://bucket/s.agd --json
    """
    from agd.dataset import Dataset

    ds = Dataset.open(dataset)
    if as_json:
        click.echo(json.dumps(summary(ds), indent=2))
    else:
        say(describe(ds, width()))


def summary(ds: Any) -> dict[str, Any]:
    """What the manifest tells about a dataset."""
    from agd.display import column_sizes

    m = ds.manifest
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
            c.name: {"type": c.type, "codecs": c.codecs, "bytes": c.bytes, "decoded_bytes": c.decoded}
            for c in column_sizes(m)
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


def describe(ds: Any, columns: int | None = None) -> str:
    """The summary for people, in lines of so many columns (None: as long as they are)."""
    from agd.display import facts

    m = ds.manifest
    told = facts(m)
    if m.references:
        total = sum(r.length for r in m.references)
        told["references"] = f"{len(m.references):,} ({total:,} bases): {_some([r.name for r in m.references])}"
    groups = [g.get("ID", "?") for g in _read_groups(m.header)]
    if groups:
        told["read groups"] = _some(groups)
    lines = [click.style(fit(ds.url, columns), bold=True)]
    lines += [fit(f"  {key:<11} {value}", columns) for key, value in told.items()]
    lines += ["", *_table(m, columns)]
    if m.steps:
        lines += ["", *(fit(f"  step        {s.get('command') or s.get('program', '')}", columns) for s in m.steps)]
    return "\n".join(lines)


def _table(manifest: Any, columns: int | None) -> list[str]:
    """A line for each column: type, size, ratio, share with a bar, codecs; what has no room is left out."""
    from agd.display import column_sizes

    total = max(1, manifest.stored_bytes)
    longest = max([len(name) for name in manifest.columns] + [6])
    room = 1000 if columns is None else columns - max(0, longest - 10)
    heads = f"  {'column':<{longest}}  {'type':<10} {'size':>9} {'ratio':>6} {'share':>6}"
    lines = [click.style(heads + (f"  {'':12}  codecs" if room >= _ROOM_FOR_CODECS else ""), dim=True)]
    for c in column_sizes(manifest):
        share = c.bytes / total
        line = f"  {c.name:<{longest}}  {c.type:<10} {format_size(c.bytes):>9} {c.ratio:>6} {share:>6.1%}"
        if room >= _ROOM_FOR_BARS:
            line += "  " + click.style(f"{bar(share):<12}", fg="blue")
        if room >= _ROOM_FOR_CODECS:
            line += "  " + fit(c.chain, None if columns is None else max(8, columns - longest - 54))
        lines.append(line.rstrip())
    return lines


def _some(names: list[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")
