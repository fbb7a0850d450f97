"""``agd sort``: sort into a new dataset."""

from __future__ import annotations

from typing import Any

import click

from agd.cli import CONTEXT
from agd.cli.common import (
    cluster_option,
    command_line,
    dataset_options,
    json_option,
    partition_option,
    report,
    report_part,
    resources,
)
from agd.units import format_seconds


@click.command("sort", context_settings=CONTEXT)
@click.argument("dataset")
@click.option("-o", "--output", required=True, help="Path or url of the sorted dataset.")
@click.option("--by", default="coordinate", show_default=True, metavar="ORDER",
              help="coordinate, queryname (natural), queryname-lexicographic, template-coordinate, or tag:XX.")
@click.option("--tmp", metavar="DIR", help="Where to spill. [default: beside the output]")
@dataset_options
@partition_option
@json_option
@resources
@cluster_option
def command(
    dataset: str, output: str, by: str, tmp: str | None, storing: dict[str, Any], partition: Any, as_json: bool,
    runner: Any, memory: int | None, progress: Any, quiet: bool,
) -> None:
    """Sort DATASET into a new dataset with one record per alignment line.

    Orders are those of samtools sort: unmapped records last, ties in the order of the input.

    \b
    Examples:
      agd sort s.agd -o sorted.agd
      agd sort s.agd -o byname.agd --by queryname --memory 2G
      agd sort s.agd -o sorted.agd --partition 3/40
    """
    from agd.dataset import Dataset
    from agd.ops.sort import sort

    result = sort(
        Dataset.open(dataset), output, by=by, tmp=tmp, partition=partition, runner=runner, memory=memory,
        progress=progress, command=command_line(), **storing,
    )  # fmt: skip
    if partition:
        report_part(result, partition, output, result.records, as_json, quiet)
        return
    report(result, as_json, quiet, f"{output}: {result.records:,} records by {by} in {format_seconds(result.seconds)}")
