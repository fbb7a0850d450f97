"""``agd subset``: some records as a dataset of their own."""

from __future__ import annotations

from typing import Any

import click

from agd.cli import CONTEXT
from agd.cli.common import cluster_option, command_line, json_option, report, resources
from agd.cli.view import make_selection, selection_options
from agd.units import format_seconds


@click.command("subset", context_settings=CONTEXT)
@click.argument("dataset")
@click.argument("regions", nargs=-1)
@click.option("-o", "--output", required=True, help="Path or url of the new dataset.")
@click.option("--fraction", type=click.FloatRange(0, 1), default=1.0, help="Share of the reads, chosen by name.")
@click.option("--seed", type=int, default=0, show_default=True, help="Chooses which share.")
@click.option("--names", metavar="FILE", help="Only the reads named in this file or url, one a line.")
@click.option("--overwrite", is_flag=True, help="Replace what is there; it is removed when the new one begins.")
@selection_options
@json_option
@resources
@cluster_option
def command(
    dataset: str, regions: tuple[str, ...], output: str, fraction: float, seed: int, names: str | None,
    overwrite: bool, as_json: bool, runner: Any, memory: int | None, progress: Any, quiet: bool, **conditions: Any,
) -> None:
    """Write the records of DATASET that overlap REGIONS and meet all conditions into a new dataset.

    A fraction is chosen by the names of the reads, so that mates stay together. Of pairs that are not aligned those are
    written whose reads both meet the conditions.

    \b
    Examples:
      agd subset sorted.agd chr20:1-1,000,000 -o part.agd
      agd subset s.agd --fraction 0.1 --seed 7 -o tenth.agd
      agd subset sorted.agd --rg lane1 -F DUPLICATE -o lane1.agd
    """
    import dataclasses
    import hashlib

    from agd.convert.inputs import read_lines
    from agd.dataset import Dataset
    from agd.errors import UsageError
    from agd.ops.subset import NameCondition, subset

    ds = Dataset.open(dataset)
    selection = make_selection(ds, regions, **conditions)
    plan = {"regions": list(regions), **{k: list(v) if isinstance(v, tuple) else v for k, v in conditions.items()},
            "fraction": fraction, "seed": seed, "names": names}  # fmt: skip
    if fraction != 1 or names is not None:
        if selection.expression is not None:
            raise UsageError("--expr does not go with --fraction or --names", "make one subset after the other")
        ds.resolve(["metadata"])
        wanted = None if names is None else read_lines(names)
        if wanted is not None:  # a stopped run is taken up with the same names only, wherever they come from
            plan["names_sha256"] = hashlib.sha256("\n".join(wanted).encode("utf-8", "surrogateescape")).hexdigest()
        condition = NameCondition(ds.manifest.names, wanted, fraction, seed)
        selection = dataclasses.replace(selection, expression=condition)
    result = subset(
        ds, output, selection=selection, plan=plan, overwrite=overwrite, runner=runner, memory=memory,
        progress=progress, command=command_line(),
    )  # fmt: skip
    report(result, as_json, quiet,
           f"{output}: {result.records:,} of {result.of:,} records in {format_seconds(result.seconds)}")  # fmt: skip
