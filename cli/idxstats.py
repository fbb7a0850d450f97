"""``agd idxstats``: count records by reference."""

from __future__ import annotations

import json
from typing import Any

import click

from agd.cli import CONTEXT
from agd.cli.common import cluster_option, json_option, resources


@click.command("idxstats", context_settings=CONTEXT)
@click.argument("dataset")
@json_option
@resources
@cluster_option
def command(dataset: str, as_json: bool, runner: Any, memory: int | None, progress: Any, quiet: bool) -> None:
    """Count the records of DATASET by reference: name, length, mapped records, unmapped ones placed there.

    \b
    Examples:
      agd idxstats sorted.agd
      agd idxstats sorted.agd --json
    """
    from agd.dataset import Dataset
    from agd.ops.idxstats import idxstats

    found = idxstats(Dataset.open(dataset), runner=runner, memory=memory, progress=progress)
    click.echo(json.dumps(found.to_json(), indent=2) if as_json else found.text(), nl=as_json)
