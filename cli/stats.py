"""``agd stats``: summary numbers."""

from __future__ import annotations

import json
from typing import Any

import click

from agd.cli import CONTEXT
from agd.cli.common import cluster_option, json_option, resources
from agd.cli.view import make_selection, selection_options


@click.command("stats", context_settings=CONTEXT)
@click.argument("dataset")
@click.argument("regions", nargs=-1)
@selection_options
@json_option
@resources
@cluster_option
def command(
    dataset: str, regions: tuple[str, ...], as_json: bool, runner: Any, memory: int | None, progress: Any, quiet: bool,
    **conditions: Any,
) -> None:
    """Print the summary numbers (SN) of samtools stats for DATASET; with --json the insert sizes too.

    Of REGIONS, all records that overlap them count with their whole length.

    \b
    Examples:
      agd stats sorted.agd
      agd stats sorted.agd chr20 --exclude-flags DUPLICATE --json
    """
    from agd.dataset import Dataset
    from agd.ops.stats import stats

    ds = Dataset.open(dataset)
    selection = make_selection(ds, regions, **conditions)
    found = stats(ds, selection=selection, runner=runner, memory=memory, progress=progress)
    click.echo(json.dumps(found.to_json(), indent=2) if as_json else found.text(), nl=as_json)
