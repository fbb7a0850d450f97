"""``agd column``: list, drop and rename columns."""

from __future__ import annotations

import click

from agd.cli import CONTEXT
from agd.cli.common import command_line


@click.group("column", context_settings=CONTEXT)
def command() -> None:
    """List, drop and rename columns; only the manifest changes.

    \b
    Examples:
      agd column list s.agd
      agd column drop s.agd duplicates
    """


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of the columns of the dataset that was given before."""
    from agd.dataset import Dataset
    from agd.errors import AgdError

    try:
        columns = Dataset.open(ctx.params["dataset"]).columns
    except (KeyError, AgdError, OSError):
        return []
    return [name for name in columns if name.startswith(incomplete)]


@command.command("list")
@click.argument("dataset")
def list_columns(dataset: str) -> None:
    """Print the names of the columns of DATASET.

    \b
    Example:
      agd column list s.agd
    """
    from agd.dataset import Dataset

    for name in Dataset.open(dataset).columns:
        click.echo(name)


@command.command("drop")
@click.argument("dataset")
@click.argument("column", shell_complete=_complete)
def drop(dataset: str, column: str) -> None:
    """Take COLUMN out of DATASET; older generations keep it until "agd gc --keep".

    \b
    Example:
      agd column drop s.agd duplicates
    """
    from agd.dataset import Dataset
    from agd.ops.edit import drop_column

    drop_column(Dataset.open(dataset), column, command=command_line())


@command.command("rename")
@click.argument("dataset")
@click.argument("column", shell_complete=_complete)
@click.argument("name")
def rename(dataset: str, column: str, name: str) -> None:
    """Give COLUMN of DATASET another name.

    \b
    Example:
      agd column rename s.agd duplicates duplicates_strict
    """
    from agd.dataset import Dataset
    from agd.ops.edit import rename_column

    rename_column(Dataset.open(dataset), column, name, command=command_line())
