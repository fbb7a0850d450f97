"""``agd pipeline``: from FASTQ to a sorted BAM in one go."""

from __future__ import annotations

from typing import Any

import click

from agd.cli import CONTEXT
from agd.cli.common import command_line, dataset_options, json_option, refuse_json, report, resources
from agd.units import format_seconds


@click.command("pipeline", context_settings=CONTEXT)
@click.argument("reads1")
@click.argument("reads2", required=False)
@click.option("-r", "--reference", required=True, help="FASTA of the reference (path or url); indexed when needed.")
@click.option("-o", "--bam", help="BAM file to write, with its index.")
@click.option("--dataset", help="Path or url of the sorted dataset to keep.")
@click.option("--interleaved", is_flag=True, help="One file holds both reads of each pair in turn.")
@click.option("--dedup/--no-dedup", default=True, show_default=True, help="Mark duplicates.")
@click.option("-a", "--aligner", default="minibwa", show_default=True, help="As in agd align.")
@click.option("--aligner-args", default="", metavar="ARGS", help="More arguments for an executable.")
@click.option("-R", "--read-group", metavar="LINE", help=r"@RG line, such as '@RG\tID:s1\tSM:sample'.")
@click.option("--tmp", metavar="DIR", help="Where to spill. [default: beside the dataset]")
@dataset_options
@json_option
@resources
def command(
    reads1: str, reads2: str | None, reference: str, bam: str | None, dataset: str | None, storing: dict[str, Any],
    as_json: bool, runner: Any, memory: int | None, progress: Any, quiet: bool, **options: Any,
) -> None:
    """Import, align, sort and mark duplicates in one go; aligned chunks go straight into the sort.

    \b
    Examples:
      agd pipeline R1.fq.gz R2.fq.gz --reference ref.fa -o out.bam
      agd pipeline R1.fq.gz R2.fq.gz -r ref.fa --dataset s3://bucket/s.agd -R '@RG\\tID:s\\tSM:s'
    """
    from agd.pipelines import pipeline

    refuse_json(as_json, bam)
    done = pipeline(
        reads1, reads2, reference=reference, bam=bam, dataset=dataset, runner=runner, memory=memory, progress=progress,
        command=command_line(), **storing, **options,
    )  # fmt: skip
    report(done, as_json, quiet, f"{bam or dataset}: {done.describe()} in {format_seconds(done.seconds)}")
