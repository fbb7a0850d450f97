"""``agd bin``: fewer levels of base qualities."""

from __future__ import annotations

from typing import Any

import click

from agd.cli import CONTEXT
from agd.cli.common import cluster_option, command_line, json_option, report, resources
from agd.units import format_seconds


@click.command("bin", context_settings=CONTEXT)
@click.argument("dataset")
@click.option("--scheme", required=True, metavar="SCHEME",
              help="illumina-8, illumina-4, or ranges of Phred qualities: 0-9:5,10-29:20,30-93:40.")
@json_option
@resources
@cluster_option
def command(
    dataset: str, scheme: str, as_json: bool, runner: Any, memory: int | None, progress: Any, quiet: bool
) -> None:
    """Put the base qualities of DATASET into bins. This loses information: no other verb does it, and none by default.

    In place, as a new generation; 'agd checkout DATASET@N' brings the qualities back until 'agd gc' has removed the
    older generations. The scheme is noted in the history and in the @PG lines of exported files.

    \b
    Examples:
      agd bin s.agd --scheme illumina-8
      agd bin s.agd --scheme 0-9:5,10-29:20,30-93:40
    """
    from agd.dataset import Dataset
    from agd.ops.binning import bin_qualities
    from agd.units import format_size

    done = bin_qualities(
        Dataset.open(dataset), scheme, runner=runner, memory=memory, progress=progress, command=command_line()
    )
    share = 100 * done.changed / max(1, done.bases)
    report(done, as_json, quiet, f"{dataset}: {done.levels_before} levels became {done.levels_after}, {share:.1f} % of "
           f"the qualities changed; {format_size(done.bytes_before)} became {format_size(done.bytes_after)} in "
           f"{format_seconds(done.seconds)}; generation {done.generation}")  # fmt: skip
