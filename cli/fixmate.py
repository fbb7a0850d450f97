"""``agd fixmate``: fill in what records say of their mates."""

from __future__ import annotations

from typing import Any

import click

from agd.cli import CONTEXT
from agd.cli.common import command_line, json_option, report, resources
from agd.units import format_seconds


@click.command("fixmate", context_settings=CONTEXT)
@click.argument("dataset")
@click.option("--mate-score", "scores", is_flag=True, help="Add the tag ms, which samtools markdup asks for.")
@click.option("-p", "--no-proper-pair-check", "unchecked", is_flag=True, help="Leave the flag of proper pairs alone.")
@click.option("-r", "--remove", metavar="OUTPUT",
              help="Write a new dataset, without unmapped and secondary records; DATASET stays as it is.")
@click.option("--overwrite", is_flag=True, help="Replace what is at OUTPUT; it is removed when the new one begins.")
@json_option
@resources
def command(
    dataset: str, scores: bool, unchecked: bool, remove: str | None, overwrite: bool, as_json: bool, runner: Any,
    memory: int | None, progress: Any, quiet: bool,
) -> None:
    """Recompute mate fields, template lengths, and the tags MQ and MC of DATASET, as samtools fixmate does.

    The records of a name stand together: see agd collate. Only the column results is written, as a new generation.

    \b
    Examples:
      agd fixmate grouped.agd
      agd fixmate grouped.agd --mate-score
      agd fixmate grouped.agd --remove mapped.agd
    """
    from agd.dataset import Dataset
    from agd.ops.fixmate import fixmate

    found = fixmate(
        Dataset.open(dataset), remove=remove, scores=scores, proper_pairs=not unchecked, overwrite=overwrite,
        runner=runner, memory=memory, progress=progress, command=command_line(),
    )  # fmt: skip
    report(found, as_json, quiet, f"{found.url}: {found.changed:,} of {found.records:,} records changed, "
           f"{found.removed:,} removed, in {format_seconds(found.seconds)}")  # fmt: skip
