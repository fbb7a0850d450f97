"""``agd dedup``: mark duplicates."""

from __future__ import annotations

from typing import Any

import click

from agd.cli import CONTEXT
from agd.cli.common import (
    cluster_option,
    command_line,
    json_option,
    partition_option,
    refuse_json,
    refuse_options,
    report,
    report_part,
    resources,
)
from agd.units import format_seconds


@click.command("dedup", context_settings=CONTEXT)
@click.argument("dataset")
@click.option("--remove", metavar="OUTPUT", help="Write a dataset without the duplicates; DATASET stays as it is.")
@click.option("--metrics", metavar="FILE", help="Write metrics in Picard's layout.")
@click.option("--barcode-tag", metavar="TAG", help="Reads of other barcodes, such as RX, are no duplicates.")
@click.option("--optical-distance", type=click.IntRange(0), default=0, metavar="N",
              help="Tell optical duplicates by their names: 100, or 2500 on patterned flow cells. [default: off]")
@click.option("--read-groups/--library", default=False,
              help="Keep read groups, or libraries, apart. [default: libraries]")
@click.option("--clear", is_flag=True, help="Remove the marks.")
@click.option("--column", default="duplicates", show_default=True, metavar="NAME",
              help="Column for the marks; only the default one is folded into flags.")
@click.option("--tmp", metavar="DIR", help="Where to spill. [default: beside the dataset]")
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
@partition_option
@json_option
@resources
@cluster_option
def command(
    dataset: str, remove: str | None, metrics: str | None, barcode_tag: str | None, optical_distance: int,
    read_groups: bool, clear: bool, column: str, tmp: str | None, overwrite: bool, partition: Any,
    as_json: bool, runner: Any, memory: int | None, progress: Any, quiet: bool,
) -> None:
    """Mark the duplicates of DATASET, sorted or not, as samtools markdup does; adds one small column.

    Pairs with the same unclipped outer ends, orientation and library are duplicates of the one with the best qualities.

    \b
    Examples:
      agd dedup sorted.agd --metrics sorted.metrics.txt
      agd dedup sorted.agd --remove unique.agd --optical-distance 2500
      agd dedup sorted.agd --clear
      agd dedup sorted.agd --partition 3/40
    """
    from agd.dataset import Dataset
    from agd.ops.dedup import clear_duplicates, dedup

    refuse_json(as_json, metrics)
    if clear:
        given = "remove metrics barcode_tag optical_distance read_groups tmp overwrite partition as_json cluster"
        refuse_options(given.split(), "does not go with --clear")
    ds = Dataset.open(dataset)
    if clear:
        clear_duplicates(ds, column=column, command=command_line())
        if not quiet:
            click.echo(f"{dataset}: the marks are removed", err=True)
        return
    result = dedup(
        ds, remove=remove, metrics=metrics, barcode_tag=barcode_tag, optical_distance=optical_distance,
        read_groups=read_groups, column=column, tmp=tmp, overwrite=overwrite, partition=partition, runner=runner,
        memory=memory, progress=progress, command=command_line(),
    )  # fmt: skip
    if partition:
        report_part(result, partition, dataset, result.records, as_json, quiet)
        return
    share = 100 * result.marked / max(1, result.records)
    report(result, as_json, quiet, f"{dataset}: {result.marked:,} of {result.records:,} records ({share:.2f} %) are "
           f"duplicates, found in {format_seconds(result.seconds)}")  # fmt: skip
