"""``agd ls``: the datasets in a folder."""

from __future__ import annotations

import json
from typing import Any

import click

from agd.cli import CONTEXT
from agd.cli.terminal import fit, say, width


@click.command("ls", context_settings=CONTEXT)
@click.argument("url", default=".")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(url: str, as_json: bool) -> None:
    """List the datasets in the folder URL, with records, size, order and columns; reads their manifests only.

    \b
    Examples:
      agd ls
      agd ls s3://bucket/runs
    """
    from agd.dataset import Dataset
    from agd.ops.listing import find_datasets
    from agd.units import format_size

    found = list(find_datasets(url))
    if as_json:
        click.echo(json.dumps([_entry(place, ds) for place, ds in found], indent=2))
        return
    rows = [("url", "records", "size", "order", "columns")]
    for place, ds in found:
        if isinstance(ds, Dataset):
            m = ds.manifest
            size = format_size(m.stored_bytes)
            rows.append((place, f"{m.records:,}", size, m.sort_order.value, " ".join(ds.columns)))
        else:
            rows.append((place, "", "", "", f"damaged: {str(ds).splitlines()[0]}"))
    sizes = [max(len(row[i]) for row in rows) for i in range(4)]
    room = width()
    for i, (place, *rest) in enumerate(rows):
        facts = f"{rest[0]:>{sizes[1]}}  {rest[1]:>{sizes[2]}}  {rest[2]:<{sizes[3]}}  {rest[3]}"
        line = fit(f"{place:<{sizes[0]}}  {facts}", room)
        say(line if i else click.style(line, dim=True))


def _entry(place: str, ds: Any) -> dict[str, Any]:
    from agd.dataset import Dataset

    if not isinstance(ds, Dataset):
        return {"url": place, "error": str(ds)}
    m = ds.manifest
    return {"url": place, "records": m.records, "bytes": m.stored_bytes, "sort_order": m.sort_order.value,
            "generation": m.generation, "columns": ds.columns}  # fmt: skip
