"""``agd depth``: depth of every position."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from agd.cli import CONTEXT
from agd.cli.common import cluster_option, json_option, refuse_options, resources
from agd.cli.coverage import counting_options, parse_regions


@click.command("depth", context_settings=CONTEXT)
@click.argument("dataset")
@click.argument("regions", nargs=-1)
@click.option("-o", "--output", default="-", metavar="FILE", help="Path or url to write, compressed by its suffix. "
              "[default: standard output]")
@click.option("--per-base", is_flag=True, help="A line for each position, as samtools depth. [default: bedGraph]")
@click.option("-a", "--all", "zero", is_flag=True, help="Print what has no depth too.")
@counting_options
@json_option
@resources
@cluster_option
def command(
    dataset: str, regions: tuple[str, ...], output: str, per_base: bool, zero: bool, require: int, exclude: int,
    min_mapq: int, as_json: bool, runner: Any, memory: int | None, progress: Any, quiet: bool,
) -> None:
    """Print the depth of every reference of DATASET, or of REGIONS: aligned bases, without deletions and skips.

    Unmapped, secondary and failed records and duplicates do not count. With --json: one object a region and line.

    \b
    Examples:
      agd depth sorted.agd -o sorted.bedgraph
      agd depth sorted.agd chr20:1,000,000-1,000,100 --per-base --all
    """
    from agd.convert.outputs import open_output
    from agd.dataset import Dataset
    from agd.ops import depth as module

    if as_json:
        refuse_options(["per_base"], "does not go with --json, which gives runs of one depth")
    ds = Dataset.open(dataset)
    stretches = module.depths(
        ds, parse_regions(ds, regions) or module.whole_references(ds), exclude=exclude, require=require,
        min_mapq=min_mapq, runner=runner, memory=memory, progress=progress,
    )  # fmt: skip
    if as_json:
        lines = _as_json(ds, stretches, zero)
    else:
        lines = (module.per_base if per_base else module.bedgraph)(ds, stretches, zero=zero)
    with open_output(output, runner=runner) as file:
        for text in lines:
            file.write(text.encode())


def _as_json(dataset: Any, stretches: Any, zero: bool) -> Iterator[str]:
    from agd.ops.depth import runs

    for stretch in stretches:
        starts, ends, depth = (x.tolist() for x in runs(stretch, zero=zero))
        region = stretch.region
        yield json.dumps({
            "name": dataset.manifest.references[region.reference].name, "start": region.start, "end": region.end,
            "runs": list(zip(starts, ends, depth, strict=True)),
        }) + "\n"  # fmt: skip
