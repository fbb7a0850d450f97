"""``agd align``: add alignments to a dataset."""

from __future__ import annotations

from typing import Any

import click

from agd.cli import CONTEXT
from agd.cli.common import (
    cluster_option,
    codec_options,
    command_line,
    json_option,
    partition_option,
    refuse_json,
    report,
    report_part,
    resources,
)
from agd.units import format_seconds


@click.command("align", context_settings=CONTEXT)
@click.argument("dataset")
@click.option("-r", "--reference", required=True, help="FASTA of the reference (path or url); indexed when needed.")
@click.option("-a", "--aligner", default="minibwa", show_default=True,
              help="minibwa (in process), or an executable: bwa, bwa-mem2, minimap2, bowtie2, snap-aligner.")
@click.option("--aligner-args", default="", metavar="ARGS", help="More arguments for an executable.")
@click.option("-R", "--read-group", metavar="LINE", help=r"@RG line, such as '@RG\tID:s1\tSM:sample'.")
@click.option("--codec", "codec", multiple=True, metavar="COLUMN=CODECS", help="Codec chain of the results column.")
@click.option("--overwrite", is_flag=True, help="Replace the alignments (or the output) that are there.")
@click.option("--sort", "sort", is_flag=True, help="Write a new dataset, sorted by coordinate, instead of a column.")
@click.option("--dedup", is_flag=True, help="Mark duplicates too; with --sort.")
@click.option("-o", "--output", help="Path or url of the sorted dataset; with --sort.")
@click.option("--bam", help="BAM file to write from it; with --sort.")
@partition_option
@json_option
@resources
@cluster_option
def command(
    dataset: str, reference: str, aligner: str, aligner_args: str, read_group: str | None, codec: tuple[str, ...],
    overwrite: bool, sort: bool, dedup: bool, output: str | None, bam: str | None, partition: Any, as_json: bool,
    runner: Any, memory: int | None, progress: Any, quiet: bool,
) -> None:
    """Align the reads of DATASET; adds the column "results" and rewrites nothing.

    \b
    Examples:
      agd align s.agd --reference ref.fa --read-group '@RG\\tID:s\\tSM:s\\tPL:ILLUMINA'
      agd align s.agd --reference ref.fa --aligner bwa --threads 8
      agd align s.agd --reference ref.fa --sort --dedup -o sorted.agd --bam out.bam
      agd align s.agd --reference ref.fa --partition 3/40
      agd align s3://bucket/s.agd --reference /shared/ref.fa --cluster tcp://head:8786
    """
    from agd.run import local_runner

    refuse_json(as_json, bam)
    if sort != bool(output) or ((dedup or bam) and not sort):
        raise click.UsageError("--sort and --output go together; --dedup and --bam need them")
    if sort and local_runner(runner) is not runner:
        raise click.UsageError("--cluster does the aligning alone: run 'agd sort' after it")
    if sort and partition:
        raise click.UsageError("--partition does the aligning alone: run 'agd sort' after 'agd finalise'")
    if sort:
        from agd.dataset import Dataset
        from agd.pipelines import align_sorted

        done = align_sorted(
            Dataset.open(dataset), reference, str(output), dedup=dedup, bam=bam, aligner=aligner,
            aligner_args=aligner_args, read_group=read_group, overwrite=overwrite, codecs=codec_options(codec),
            runner=runner, memory=memory, progress=progress, command=command_line(),
        )  # fmt: skip
        report(done, as_json, quiet, f"{output}: {done.describe()} in {format_seconds(done.seconds)}")
        return
    from agd.aligners.align import align
    from agd.dataset import Dataset

    result = align(
        Dataset.open(dataset), reference, aligner=aligner, aligner_args=aligner_args, read_group=read_group,
        overwrite=overwrite, codecs=codec_options(codec), partition=partition, runner=runner, memory=memory,
        progress=progress, command=command_line(),
    )  # fmt: skip
    if partition:
        report_part(result, partition, dataset, result.reads, as_json, quiet)
        return
    share = 100 * result.mapped / max(1, result.reads)
    report(result, as_json, quiet, f"{dataset}: {result.reads:,} reads, {share:.2f} % mapped in "
           f"{format_seconds(result.seconds)}")  # fmt: skip
