"""``agd cat``: concatenate datasets."""

from __future__ import annotations

from typing import Any

import click

from agd.cli import CONTEXT
from agd.cli.common import cluster_option, command_line, json_option, report, resources
from agd.units import format_seconds


@click.command("cat", context_settings=CONTEXT)
@click.argument("datasets", nargs=-1, required=True)
@click.option("-o", "--output", required=True, help="Path or url of the new dataset.")
@click.option("--overwrite", is_flag=True, help="Replace what is there; it is removed when the new one begins.")
@json_option
@resources
@cluster_option
def command(
    datasets: tuple[str, ...], output: str, overwrite: bool, as_json: bool, runner: Any, memory: int | None,
    progress: Any, quiet: bool,
) -> None:
    """Concatenate DATASETS of one kind, in the order given; objects are copied, not decoded.

    \b
    Example:
      agd cat lane1.agd lane2.agd -o sample.agd
    """
    from agd.dataset import Dataset
    from agd.ops.cat import cat

    result = cat(
        [Dataset.open(dataset) for dataset in datasets], output, overwrite=overwrite, runner=runner,
        progress=progress, command=command_line(),
    )  # fmt: skip
    report(result, as_json, quiet, f"{output}: {result.records:,} records in {format_seconds(result.seconds)}")
