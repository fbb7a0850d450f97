"""``agd export``: write the files of other formats."""

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
    report,
    report_part,
    resources,
)
from agd.cli.view import make_selection, selection_options
from agd.units import format_seconds


@click.group("export", context_settings=CONTEXT)
def command() -> None:
    """Write BAM, SAM, CRAM or FASTQ; a file that is there is replaced, when the new one is whole.

    \b
    Examples:
      agd export bam sorted.agd -o out.bam
      agd export fastq s.agd -o R1.fastq.gz -2 R2.fastq.gz
    """


def _report(result: Any, output: str, as_json: bool, quiet: bool) -> None:
    index = f" and {result.index}" if result.index else ""
    digest = {"verified": ", digest verified", "none": ", no digest noted to compare with"}.get(result.digest, "")
    report(result, as_json, quiet or output == "-",
           f"{output}{index}: {result.records:,} records in {format_seconds(result.seconds)}{digest}")  # fmt: skip


@command.command("fastq")
@click.argument("dataset")
@click.option("-o", "--output", default="-", show_default=True, help="File of the first reads (or of all).")
@click.option("-2", "--output2", help="File of the second reads.")
@click.option("--singletons", help="File of reads without a mate, for alignment datasets.")
@partition_option
@json_option
@resources
@cluster_option
def fastq(
    dataset: str, output: str, output2: str | None, singletons: str | None, partition: Any, as_json: bool,
    runner: Any, memory: int | None, progress: Any, quiet: bool,
) -> None:
    """Write the reads of DATASET as FASTQ; without -2 pairs are written interleaved.

    A dataset in import order gives the imported files back, byte for byte. Compression follows the suffix.

    \b
    Examples:
      agd export fastq s.agd -o R1.fastq.gz -2 R2.fastq.gz
      agd export fastq s.agd | head
    """
    from agd.convert.fastq_writer import export_fastq
    from agd.dataset import Dataset

    refuse_json(as_json, output, output2, singletons)
    result = export_fastq(
        Dataset.open(dataset), output, output2, singletons=singletons, partition=partition, runner=runner,
        memory=memory, progress=progress,
    )  # fmt: skip
    if partition:
        report_part(result, partition, output, result.records, as_json, quiet)
        return
    report(result, as_json, quiet, f"{output}: {result.records:,} reads in {format_seconds(result.seconds)}")


@command.command("bam")
@click.argument("dataset")
@click.argument("regions", nargs=-1)
@click.option("-o", "--output", required=True, help='File or url; "-" for standard output.')
@click.option(
    "-l", "--level", type=click.IntRange(0, 12), default=6, show_default=True,
    help="Compression level: 0 stored, 1 for pipes and scratch, 6 as a rule; from 7 on little is gained.",
)
@click.option("--index/--no-index", default=None, help="Write an index beside it. [default: if sorted by coordinate]")
@click.option("--csi", is_flag=True, help="Index as CSI. [default: BAI, but for references too long for it]")
@selection_options
@partition_option
@json_option
@resources
@cluster_option
def bam(
    dataset: str, regions: tuple[str, ...], output: str, level: int, index: bool | None, csi: bool, partition: Any,
    as_json: bool, runner: Any, memory: int | None, progress: Any, quiet: bool, **conditions: Any,
) -> None:
    """Write DATASET, or what overlaps REGIONS of it, as BAM, with an index where it is sorted by coordinate.

    All records are compared with the digest that was noted when they came in, or were aligned.

    \b
    Examples:
      agd export bam sorted.agd -o out.bam
      agd export bam sorted.agd -o s3://bucket/out.bam --partition 3/40
      agd export bam sorted.agd chr20:10,000,000-10,100,000 -o - | samtools flagstat -
    """
    from agd.convert.bam_out import export_bam
    from agd.dataset import Dataset

    refuse_json(as_json, output)
    ds = Dataset.open(dataset)
    result = export_bam(
        ds, output, level=level, index=index, csi=csi, selection=make_selection(ds, regions, **conditions),
        partition=partition, runner=runner, memory=memory, progress=progress, command=command_line(),
    )  # fmt: skip
    if partition:
        report_part(result, partition, output, result.records, as_json, quiet)
        return
    _report(result, output, as_json, quiet)


@command.command("sam")
@click.argument("dataset")
@click.argument("regions", nargs=-1)
@click.option("-o", "--output", default="-", show_default=True, help="File or url; compressed by its suffix.")
@click.option("-l", "--level", type=click.IntRange(0, 22), help="Compression level. [default: of the format]")
@selection_options
@partition_option
@json_option
@resources
@cluster_option
def sam(
    dataset: str, regions: tuple[str, ...], output: str, level: int | None, partition: Any,
    as_json: bool, runner: Any, memory: int | None, progress: Any, quiet: bool, **conditions: Any,
) -> None:
    """Write DATASET, or what overlaps REGIONS of it, as SAM text with its header.

    \b
    Examples:
      agd export sam sorted.agd -o out.sam.gz
      agd export sam sorted.agd -o s3://bucket/out.sam.gz --partition 3/40
    """
    from agd.convert.sam_out import export_sam
    from agd.dataset import Dataset

    refuse_json(as_json, output)
    ds = Dataset.open(dataset)
    result = export_sam(
        ds, output, level=level, selection=make_selection(ds, regions, **conditions), partition=partition,
        runner=runner, memory=memory, progress=progress, command=command_line(),
    )  # fmt: skip
    if partition:
        report_part(result, partition, output, result.records, as_json, quiet)
        return
    _report(result, output, as_json, quiet)


@command.command("cram")
@click.argument("dataset")
@click.argument("regions", nargs=-1)
@click.option("-o", "--output", required=True, help='File or url; "-" for standard output.')
@click.option("--reference", metavar="FASTA", help="Reference that the reads were aligned to.")
@click.option("--no-reference", "embed", is_flag=True, help="Store all bases, so that no reference is needed.")
@click.option("--index/--no-index", default=None, help="Write an index beside it. [default: if sorted by coordinate]")
@selection_options
@json_option
@resources
def cram(
    dataset: str, regions: tuple[str, ...], output: str, reference: str | None, embed: bool, index: bool | None,
    as_json: bool, runner: Any, memory: int | None, progress: Any, quiet: bool, **conditions: Any,
) -> None:
    """Write DATASET, or what overlaps REGIONS of it, as CRAM, with an index where it is sorted by coordinate.

    \b
    Examples:
      agd export cram sorted.agd -o out.cram --reference ref.fa
    """
    from agd.convert.cram import export_cram
    from agd.dataset import Dataset

    refuse_json(as_json, output)
    ds = Dataset.open(dataset)
    result = export_cram(
        ds, output, reference=reference, embed=embed, index=index,
        selection=make_selection(ds, regions, **conditions), runner=runner, memory=memory, progress=progress,
        command=command_line(),
    )  # fmt: skip
    _report(result, output, as_json, quiet)
