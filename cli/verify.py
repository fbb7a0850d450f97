"""``agd verify``: look for damage."""

from __future__ import annotations

from typing import Any

import click

from agd.cli import CONTEXT
from agd.cli.common import cluster_option, json_option, resources


@click.command("verify", context_settings=CONTEXT)
@click.argument("dataset")
@click.option("--deep", is_flag=True, help="Read and check every record, not only that every object is there.")
@click.option("--against", metavar="FILE", help="Compare with the BAM, SAM, CRAM or FASTQ file that was imported.")
@click.argument("reads2", required=False)
@click.option("--reference", metavar="FASTA", help="Reference of a CRAM file.")
@json_option
@resources
@cluster_option
def command(
    dataset: str, deep: bool, against: str | None, reads2: str | None, reference: str | None, as_json: bool,
    runner: Any, memory: int | None, progress: Any, quiet: bool,
) -> None:
    """Check DATASET; exit 1 and name chunk and column where anything is wrong.

    \b
    Examples:
      agd verify s.agd
      agd verify s.agd --deep
      agd verify s.agd --against in.bam
      agd verify s.agd --against R1.fastq.gz R2.fastq.gz
    """
    import dataclasses
    import json

    from agd.dataset import Dataset
    from agd.ops.verify import verify

    if against is None and (reads2 or reference):
        raise click.UsageError(f"{'a second file' if reads2 else '--reference'} goes with --against")
    ds = Dataset.open(dataset)
    result = verify(ds, deep=deep, runner=runner, memory=memory, progress=progress)
    if against is not None and not result.problems:
        from agd.convert.against import compare_with_source
        from agd.run import local_runner

        paths = [against, *([reads2] if reads2 else [])]
        found = compare_with_source(ds, paths, reference=reference, runner=local_runner(runner))
        result = dataclasses.replace(result, problems=(*result.problems, *found))
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=2))
    else:
        for problem in result.problems:
            click.echo(str(problem))
        for note in result.notes:
            click.echo(f"note: {note}", err=True)
        if not quiet and not result.problems:
            click.echo(f"{dataset}: {result.objects:,} objects, all well", err=True)
    if result.problems:
        raise click.exceptions.Exit(1)
