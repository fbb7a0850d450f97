"""``agd recompress``: store columns with other codecs."""

from __future__ import annotations

from typing import Any

import click

from agd.cli import CONTEXT
from agd.cli.common import cluster_option, codec_options, command_line, json_option, report, resources
from agd.units import format_seconds


@click.command("recompress", context_settings=CONTEXT)
@click.argument("dataset")
@click.option("--profile", type=click.Choice(["fast", "balanced", "small"]), default="balanced", show_default=True,
              help="Which codecs are tried.")
@click.option("--column", "columns", multiple=True, metavar="COLUMN", help="Only this column; may be repeated.")
@click.option("--codec", "codec", multiple=True, metavar="COLUMN=CODECS",
              help="Codec chain of a column, such as bases=refdiff:9; may be repeated. Without --column, only these "
              "columns are stored anew.")
@click.option("--reference", metavar="FASTA", help="Reference, for bases stored as differences to it. "
              "[default: that of the alignment, AGD_REFERENCE, REF_CACHE or REF_PATH]")
@click.option("--embed-reference", "embed", is_flag=True, help="Keep the parts of the reference that lie under "
              "alignments in the dataset, which then needs no other place to be read.")
@json_option
@resources
@cluster_option
def command(
    dataset: str, profile: str, columns: tuple[str, ...], codec: tuple[str, ...], reference: str | None, embed: bool,
    as_json: bool, runner: Any, memory: int | None, progress: Any, quiet: bool,
) -> None:
    """Store the columns of DATASET with other codecs. The records stay the same.

    Works in place, column by column; a run that was stopped can be run again. Objects of older generations stay until
    'agd gc' removes them.

    \b
    Examples:
      agd recompress sorted.agd --profile small
      agd recompress sorted.agd --profile small --embed-reference
      agd recompress s.agd --codec bases=base2:3 --codec qualities=rans
    """
    from agd.dataset import Dataset
    from agd.ops.recompress import recompress
    from agd.units import format_size

    result = recompress(
        Dataset.open(dataset), profile=profile, columns=columns or None, codecs=codec_options(codec),
        reference=reference, embed=embed, runner=runner, memory=memory, progress=progress, command=command_line(),
    )  # fmt: skip
    before, after = sum(result.before.values()), sum(result.after.values())
    report(result, as_json, quiet, f"{dataset}: {format_size(before)} became {format_size(after)} "
           f"in {format_seconds(result.seconds)}")  # fmt: skip
