"""``agd collate``: bring the records of each name together."""

from __future__ import annotations

from typing import Any

import click

from agd.cli import CONTEXT
from agd.cli.common import cluster_option, command_line, dataset_options, json_option, report, resources
from agd.units import format_seconds


@click.command("collate", context_settings=CONTEXT)
@click.argument("dataset")
@click.option("-o", "--output", required=True, help="Path or url of the new dataset.")
@click.option("--tmp", metavar="DIR", help="Where to spill. [default: beside the output]")
@dataset_options
@json_option
@resources
@cluster_option
def command(
    dataset: str, output: str, tmp: str | None, storing: dict[str, Any], as_json: bool, runner: Any,
    memory: int | None, progress: Any, quiet: bool,
) -> None:
    """Bring the records of each name of DATASET together in a new dataset, as samtools collate does.

    First reads come before last ones, primary records before supplementary and secondary ones; names are in the order
    of a hash, always the same.

    \b
    Examples:
      agd collate sorted.agd -o grouped.agd
      agd collate sorted.agd -o grouped.agd && agd fixmate grouped.agd
    """
    from agd.dataset import Dataset
    from agd.ops.collate import collate

    result = collate(
        Dataset.open(dataset), output, tmp=tmp, runner=runner, memory=memory, progress=progress,
        command=command_line(), **storing,
    )  # fmt: skip
    report(result, as_json, quiet, f"{output}: {result.records:,} records in {format_seconds(result.seconds)}")
