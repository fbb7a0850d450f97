"""``agd export``: write the files of other formats."""

from __future__ import annotations

from typing import Any

import click

from agd.cli import CONTEXT
from agd.cli.common import json_option, report, resources, seconds


@click.group("export", context_settings=CONTEXT)
def command() -> None:
    """Write BAM, SAM, CRAM or FASTQ."""


@command.command("fastq")
@click.argument("dataset")
@click.option("-o", "--output", default="-", show_default=True, help="File of the first reads (or of all).")
@click.option("-2", "--output2", help="File of the second reads.")
@click.option("--singletons", help="File of reads without a mate, for alignment datasets.")
@json_option
@resources
def fastq(
    dataset: str, output: str, output2: str | None, singletons: str | None, as_json: bool, runner: Any,
    memory: int | None, progress: Any, quiet: bool,
) -> None:
    """Write the reads of DATASET as FASTQ; without -2 pairs are written interleaved.

    A dataset in import order gives the imported files back, byte for byte. Compression follows the suffix.

    \b
    Examples:
      agd export fastq s.agd -o R1.fastq.gz -2 R2.fastq.gz
      agd export fastq s.agd | head
    """
    from agd.convert.fastq import export_fastq
    from agd.dataset import Dataset

    result = export_fastq(
        Dataset.open(dataset), output, output2, singletons=singletons, runner=runner, memory=memory, progress=progress
    )
    report(result, as_json, quiet, f"{output}: {result.records:,} reads in {seconds(result.seconds)}")
