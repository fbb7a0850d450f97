"""``agd merge``: merge sorted datasets."""

from __future__ import annotations

from typing import Any

import click

from agd.cli import CONTEXT
from agd.cli.common import cluster_option, command_line, dataset_options, json_option, report, resources
from agd.units import format_seconds


@click.command("merge", context_settings=CONTEXT)
@click.argument("datasets", nargs=-1, required=True)
@click.option("-o", "--output", required=True, help="Path or url of the new dataset.")
@click.option("--tmp", metavar="DIR", help="Where to spill. [default: beside the output]")
@dataset_options
@json_option
@resources
@cluster_option
def command(
    datasets: tuple[str, ...], output: str, tmp: str | None, storing: dict[str, Any], as_json: bool, runner: Any,
    memory: int | None, progress: Any, quiet: bool,
) -> None:
    """Merge DATASETS that are sorted in one way into one of that order, as samtools merge does.

    Headers are joined: references may differ in number and order, read groups and programs of one ID that differ
    get a suffix (-1), and the records follow.

    \b
    Examples:
      agd merge lane1.sorted.agd lane2.sorted.agd -o sample.agd
      agd merge s3://bucket/lane1.agd s3://bucket/lane2.agd -o sample.agd --memory 1G
    """
    from agd.dataset import Dataset
    from agd.ops.merge import merge

    result = merge(
        [Dataset.open(dataset) for dataset in datasets], output, tmp=tmp, runner=runner, memory=memory,
        progress=progress, command=command_line(), **storing,
    )  # fmt: skip
    report(result, as_json, quiet, f"{output}: {result.records:,} records in {format_seconds(result.seconds)}")
