"""``agd log``: what was done to a dataset."""

from __future__ import annotations

import json

import click

from agd.cli import CONTEXT


@click.command("log", context_settings=CONTEXT)
@click.argument("dataset")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(dataset: str, as_json: bool) -> None:
    """Show the generations of DATASET and the steps that made them.

    \b
    Examples:
      agd log s.agd
      agd view s.agd@2 --head 1      # read an older generation
    """
    from agd.dataset import Dataset
    from agd.ops.history import history
    from agd.units import format_size

    generations = history(Dataset.open(dataset))
    if as_json:
        click.echo(json.dumps([g.to_json() for g in generations], indent=2))
        return
    for g in reversed(generations):
        if g.unreadable:
            click.echo(f"generation {g.number}: cannot be read: {g.unreadable}")
            continue
        click.echo(f"generation {g.number}: {g.records:,} records, {format_size(g.bytes)}, {', '.join(g.columns)}")
        for step in g.steps:
            click.echo(f"    {step.get('command') or step.get('program', '')}")
