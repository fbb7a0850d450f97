"""``agd ls``: the datasets in a folder."""

from __future__ import annotations

import json
from typing import Any

import click

from agd.cli import CONTEXT


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
    width = max([len(place) for place, _ in found], default=0)
    for place, ds in found:
        if isinstance(ds, Dataset):
            m = ds.manifest
            facts = f"{m.records:>15,}  {format_size(m.stored_bytes):>9}  {m.sort_order.value:<10}"
            click.echo(f"{place:<{width}}  {facts}  {' '.join(ds.columns)}")
        else:
            click.echo(f"{place:<{width}}  damaged: {str(ds).splitlines()[0]}")


def _entry(place: str, ds: Any) -> dict[str, Any]:
    from agd.dataset import Dataset

    if not isinstance(ds, Dataset):
        return {"url": place, "error": str(ds)}
    m = ds.manifest
    return {"url": place, "records": m.records, "bytes": m.stored_bytes, "sort_order": m.sort_order.value,
            "generation": m.generation, "columns": ds.columns}  # fmt: skip
