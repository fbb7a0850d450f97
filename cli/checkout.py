"""``agd checkout``: go back to an older generation."""

from __future__ import annotations

import click

from agd.cli import CONTEXT
from agd.cli.common import command_line


@click.command("checkout", context_settings=CONTEXT)
@click.argument("dataset")
def command(dataset: str) -> None:
    """Make an older generation the newest one again: DATASET@GENERATION.

    Only the manifest changes; the generations between stay and can be read as DATASET@N.

    \b
    Example:
      agd checkout s.agd@2
    """
    from agd.dataset import Dataset
    from agd.errors import UsageError
    from agd.ops.history import checkout

    url, at, number = dataset.rpartition("@")
    if not at or not number.isdecimal():
        raise UsageError(f"{dataset}: say which generation", "such as s.agd@2; 'agd log' lists them")
    ds = checkout(Dataset.open(url), int(number), command=command_line())
    click.echo(f"{url}: generation {ds.manifest.generation} is generation {number} again", err=True)
