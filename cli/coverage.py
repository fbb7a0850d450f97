"""``agd coverage``: coverage of references or regions."""

from __future__ import annotations

import json
from typing import Any

import click

from agd.cli import CONTEXT
from agd.cli.common import cluster_option, json_option, resources
from agd.cli.view import FlagBits


def counting_options(function: Any) -> Any:
    """Options that say which records count."""
    for option in (
        click.option("-q", "--min-mapq", type=click.IntRange(0, 255), default=0, metavar="N",
                     help="Only records of at least this mapping quality."),
        click.option("-F", "--exclude-flags", "exclude", type=FlagBits(), default=0x704, metavar="FLAGS",
                     help="Only records with none of these flags. [default: 0x704]"),
        click.option("-f", "--require-flags", "require", type=FlagBits(), default=0, metavar="FLAGS",
                     help="Only records with all of these flags."),
    ):  # fmt: skip
        function = option(function)
    return function


def parse_regions(dataset: Any, regions: tuple[str, ...]) -> Any:
    """Regions from arguments; None for none."""
    from agd.ops.select import parse_region

    return [parse_region(region, dataset.manifest.references) for region in regions] or None


@click.command("coverage", context_settings=CONTEXT)
@click.argument("dataset")
@click.argument("regions", nargs=-1)
@counting_options
@json_option
@resources
@cluster_option
def command(
    dataset: str, regions: tuple[str, ...], require: int, exclude: int, min_mapq: int, as_json: bool, runner: Any,
    memory: int | None, progress: Any, quiet: bool,
) -> None:
    """Print the coverage of every reference of DATASET, or of REGIONS, as samtools coverage does.

    Unmapped, secondary and failed records and duplicates do not count.

    \b
    Examples:
      agd coverage sorted.agd
      agd coverage sorted.agd chr20:1,000,000-2,000,000 --min-mapq 20
    """
    from agd.dataset import Dataset
    from agd.ops.coverage import coverage

    ds = Dataset.open(dataset)
    found = coverage(
        ds, parse_regions(ds, regions), exclude=exclude, require=require, min_mapq=min_mapq, runner=runner,
        memory=memory, progress=progress,
    )  # fmt: skip
    click.echo(json.dumps(found.to_json(), indent=2) if as_json else found.text(), nl=as_json)
