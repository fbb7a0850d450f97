"""``agd import``: make a dataset from the files of other formats."""

from __future__ import annotations

from typing import Any

import click

from agd.cli import CONTEXT
from agd.cli.common import (
    cluster_option,
    command_line,
    dataset_options,
    json_option,
    partition_option,
    report,
    report_part,
    resources,
)
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


def many_options(function: Any) -> Any:
    """Options for many files: a list of them, and a part of it."""
    function = partition_option(function)
    return click.option("--list", "files", metavar="FILE", help="Import the files that FILE lists, one a line (the two "
                        "of pairs with a tab between), in its order.")(function)


def _is_many(*given: str | None, files: str | None, partition: Any, runner: Any) -> bool:
    from agd.run import local_runner

    if (files is None) == (given[0] is None):
        raise click.UsageError("give files, or a list of them (--list)")
    if files is None and (partition or local_runner(runner) is not runner):
        raise click.UsageError("one file is read by one process: --partition and --cluster go with --list")
    return files is not None


def _many(kind: str, files: Any, output: str, partition: Any, as_json: bool, quiet: bool, **options: Any) -> None:
    from agd.convert.many import import_many, read_list

    result = import_many(
        kind, read_list(files, kind), output, partition=partition, command=command_line(), **options
    )
    if partition:
        report_part(result, partition, output, result.records, as_json, quiet)
        return
    _report(result, output, as_json, quiet)


@command.command("fastq")
@click.argument("reads1", required=False)
@click.argument("reads2", required=False)
@click.option("-o", "--output", required=True, help="Path or url of the new dataset.")
@click.option("--interleaved", is_flag=True, help="One file holds both reads of each pair in turn.")
@click.option("--name", help="Name of the dataset. [default: from the output]")
@dataset_options
@many_options
@json_option
@resources
@cluster_option
def fastq(
    reads1: str | None, reads2: str | None, output: str, interleaved: bool, name: str | None, storing: dict[str, Any],
    files: str | None, partition: Any, as_json: bool, runner: Any, memory: int | None, progress: Any, quiet: bool,
) -> None:
    """Import reads: one file, the two files of pairs, or one interleaved file.

    Plain, gzip (also BGZF), bzip2 and zstd are told apart by their content; "-" is standard input; any fsspec url
    will do. The files come back byte for byte with "agd export fastq".

    \b
    Examples:
      agd import fastq R1.fastq.gz R2.fastq.gz -o s.agd
      agd import fastq --interleaved reads.fq.zst -o s3://bucket/s.agd
      agd import fastq --list lanes.txt -o s.agd --partition 3/8
      zcat reads.fq.gz | agd import fastq - -o s.agd
    """
    if _is_many(reads1, reads2, files=files, partition=partition, runner=runner):
        _many("fastq", files, output, partition, as_json, quiet, name=name, runner=runner, memory=memory,
              progress=progress, interleaved=interleaved, **storing)  # fmt: skip
        return
    from agd.convert.fastq import import_fastq

    result = import_fastq(
        reads1, reads2, output=output, interleaved=interleaved, name=name, runner=runner, memory=memory,
        progress=progress, command=command_line(), **storing,
    )  # fmt: skip
    _report(result, output, as_json, quiet)


def _records_command(kind: str, name: str) -> click.Command:
    """The command that imports records of a format which is read front to back: "sam" or "bam"."""

    @click.argument("source", required=False)
    @click.option("-o", "--output", required=True, help="Path or url of the new dataset.")
    @click.option("--name", help="Name of the dataset. [default: from the output]")
    @dataset_options
    @many_options
    @json_option
    @resources
    @cluster_option
    def records(
        source: str | None, output: str, name: str | None, storing: dict[str, Any], files: str | None, partition: Any,
        as_json: bool, runner: Any, memory: int | None, progress: Any, quiet: bool,
    ) -> None:
        if _is_many(source, files=files, partition=partition, runner=runner):
            _many(kind, files, output, partition, as_json, quiet, name=name, runner=runner, memory=memory,
                  progress=progress, **storing)  # fmt: skip
            return
        from agd.convert.bam_in import import_bam
        from agd.convert.sam_in import import_sam

        result = {"bam": import_bam, "sam": import_sam}[kind](
            source, output, name=name, runner=runner, memory=memory, progress=progress, command=command_line(),
            **storing,
        )  # fmt: skip
        _report(result, output, as_json, quiet)

    records.__doc__ = f"""Import {name}: every record, every tag in its order, the header.

    \b
    Examples:
      agd import {kind} in.{kind} -o s.agd
      agd import {kind} --list files.txt -o s.agd
      cat in.{kind} | agd import {kind} - -o s.agd
    """
    return command.command(kind)(records)


bam = _records_command("bam", "BAM")
sam = _records_command("sam", "SAM text")


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
