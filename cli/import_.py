"""``agd import``: make a dataset from the files of other formats."""

from __future__ import annotations

from typing import Any

import click

from agd.cli import CONTEXT
from agd.cli.common import command_line, dataset_options, json_option, report, resources
from agd.units import format_seconds


@click.group("import", context_settings=CONTEXT)
def command() -> None:
    """Make a dataset from FASTQ, SAM, BAM or CRAM.

    \b
    Examples:
      agd import fastq R1.fastq.gz R2.fastq.gz -o s.agd
      agd import bam in.bam -o s.agd
    """


def _report(result: Any, output: str, as_json: bool, quiet: bool) -> None:
    from agd.units import format_size

    report(result, as_json, quiet, f"{output}: {result.records:,} records, {format_size(result.bytes_out)} in "
           f"{format_seconds(result.seconds)}")  # fmt: skip


@command.command("fastq")
@click.argument("reads1")
@click.argument("reads2", required=False)
@click.option("-o", "--output", required=True, help="Path or url of the new dataset.")
@click.option("--interleaved", is_flag=True, help="One file holds both reads of each pair in turn.")
@click.option("--name", help="Name of the dataset. [default: from the output]")
@dataset_options
@json_option
@resources
def fastq(
    reads1: str, reads2: str | None, output: str, interleaved: bool, name: str | None, storing: dict[str, Any],
    as_json: bool, runner: Any, memory: int | None, progress: Any, quiet: bool,
) -> None:
    """Import reads: one file, the two files of pairs, or one interleaved file.

    Plain, gzip (also BGZF), bzip2 and zstd are told apart by their content; "-" is standard input; any fsspec url
    will do. The files come back byte for byte with "agd export fastq".

    \b
    Examples:
      agd import fastq R1.fastq.gz R2.fastq.gz -o s.agd
      agd import fastq --interleaved reads.fq.zst -o s3://bucket/s.agd
      zcat reads.fq.gz | agd import fastq - -o s.agd
    """
    from agd.convert.fastq import import_fastq

    result = import_fastq(
        reads1, reads2, output=output, interleaved=interleaved, name=name, runner=runner, memory=memory,
        progress=progress, command=command_line(), **storing,
    )  # fmt: skip
    _report(result, output, as_json, quiet)


@command.command("bam")
@click.argument("source")
@click.option("-o", "--output", required=True, help="Path or url of the new dataset.")
@click.option("--name", help="Name of the dataset. [default: from the output]")
@dataset_options
@json_option
@resources
def bam(
    source: str, output: str, name: str | None, storing: dict[str, Any], as_json: bool, runner: Any,
    memory: int | None, progress: Any, quiet: bool,
) -> None:
    """Import BAM: every record, every tag in its order, the header.

    \b
    Examples:
      agd import bam in.bam -o s.agd
      cat in.bam | agd import bam - -o s.agd
    """
    from agd.convert.bam_in import import_bam

    result = import_bam(
        source, output, name=name, runner=runner, memory=memory, progress=progress, command=command_line(), **storing
    )  # fmt: skip
    _report(result, output, as_json, quiet)


@command.command("sam")
@click.argument("source")
@click.option("-o", "--output", required=True, help="Path or url of the new dataset.")
@click.option("--name", help="Name of the dataset. [default: from the output]")
@dataset_options
@json_option
@resources
def sam(
    source: str, output: str, name: str | None, storing: dict[str, Any], as_json: bool, runner: Any,
    memory: int | None, progress: Any, quiet: bool,
) -> None:
    """Import SAM text: every record, every tag in its order, the header.

    \b
    Examples:
      agd import sam in.sam -o s.agd
      cat in.sam | agd import sam - -o s.agd
    """
    from agd.convert.sam_in import import_sam

    result = import_sam(
        source, output, name=name, runner=runner, memory=memory, progress=progress, command=command_line(), **storing
    )  # fmt: skip
    _report(result, output, as_json, quiet)


@command.command("cram")
@click.argument("source")
@click.option("-o", "--output", required=True, help="Path or url of the new dataset.")
@click.option("--reference", metavar="FASTA", help="Reference that the file was made with.")
@click.option("--name", help="Name of the dataset. [default: from the output]")
@dataset_options
@json_option
@resources
def cram(
    source: str, output: str, reference: str | None, name: str | None, storing: dict[str, Any], as_json: bool,
    runner: Any, memory: int | None, progress: Any, quiet: bool,
) -> None:
    """Import CRAM: every record, every tag in its order, the header.

    \b
    Examples:
      agd import cram in.cram -o s.agd --reference ref.fa
    """
    from agd.convert.cram import import_cram

    result = import_cram(
        source, output, reference=reference, name=name, runner=runner, memory=memory, progress=progress,
        command=command_line(), **storing,
    )  # fmt: skip
    _report(result, output, as_json, quiet)
