"""``agd sort``: sort into a new dataset, or BAM into BAM."""

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
    refuse_json,
    refuse_options,
    report,
    report_part,
    resources,
)
from agd.units import format_seconds


@click.command("sort", context_settings=CONTEXT)
@click.argument("dataset")
@click.option("-o", "--output", required=True, help="Path or url of the sorted dataset, or BAM file.")
@click.option("--by", default="coordinate", show_default=True, metavar="ORDER",
              help="coordinate, queryname (natural), queryname-lexicographic, template-coordinate, or tag:XX.")
@click.option("--tmp", metavar="DIR", help="Where to spill. [default: beside the output]")
@click.option("-l", "--level", type=click.IntRange(0, 12), help="BAM: compression level. [default: 6]")
@click.option("--index/--no-index", default=None, help="BAM: write an index beside it. [default: if by coordinate]")
@dataset_options
@partition_option
@json_option
@resources
@cluster_option
def command(
    dataset: str, output: str, by: str, tmp: str | None, level: int | None, index: bool | None,
    storing: dict[str, Any], partition: Any, as_json: bool, runner: Any, memory: int | None, progress: Any, quiet: bool,
) -> None:
    """Sort DATASET into a new dataset with one record per alignment line, or a BAM file into another one.

    Orders are those of samtools sort: unmapped records last, ties in the order of the input. Where DATASET and the
    output are BAM files (their names end in .bam, or are "-"), whole records are moved and no dataset is made; as with
    all files that AGD writes, one that is there is replaced.

    \b
    Examples:
      agd sort s.agd -o sorted.agd
      agd sort s.agd -o byname.agd --by queryname --memory 2G
      agd sort s.agd -o sorted.agd --partition 3/40
      agd sort aligned.bam -o sorted.bam
    """
    if _of_files(dataset, output):
        others = ["chunk_records", "profile", "codec", "partition", "cluster"]
        refuse_options(others, "goes with datasets, not with BAM files")
        refuse_options(["overwrite"], "goes with datasets: a BAM file is replaced without it")
        refuse_json(as_json, output)
        options: dict[str, Any] = {"by": by, "tmp": tmp, "level": 6 if level is None else level, "index": index}
        _sort_file(dataset, output, options, as_json, quiet, runner=runner, memory=memory, progress=progress)
        return
    refuse_options(["level", "index"], "goes with BAM files, not with datasets")
    from agd.dataset import Dataset
    from agd.ops.sort import sort

    result = sort(
        Dataset.open(dataset), output, by=by, tmp=tmp, partition=partition, runner=runner, memory=memory,
        progress=progress, command=command_line(), **storing,
    )  # fmt: skip
    if partition:
        report_part(result, partition, output, result.records, as_json, quiet)
        return
    report(result, as_json, quiet, f"{output}: {result.records:,} records by {by} in {format_seconds(result.seconds)}")


def _sort_file(
    path: str, output: str, options: dict[str, Any], as_json: bool, quiet: bool, **resources: Any
) -> None:
    from agd.convert.bam_sort import sort_bam

    done = sort_bam(path, output, **options, command=command_line(), **resources)
    where = f"{output} and {done.index}" if done.index else output
    report(done, as_json, quiet or output == "-",
           f"{where}: {done.records:,} records by {done.by} in {format_seconds(done.seconds)}")  # fmt: skip


def _of_files(dataset: str, output: str) -> bool:
    """Whether BAM is sorted into BAM."""
    files = [name for name in (dataset, output) if name == "-" or name.lower().endswith(".bam")]
    if len(files) == 1:
        raise click.UsageError(
            f"{files[0]} is a BAM file, the other one a dataset: sort BAM into BAM, or 'agd import bam' before, "
            "or 'agd export bam' after"
        )
    return bool(files)
