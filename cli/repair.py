"""``agd repair``: mend a damaged dataset."""

from __future__ import annotations

import json
from typing import Any

import click

from agd.cli import CONTEXT
from agd.cli.common import command_line, json_option, resources


@click.command("repair", context_settings=CONTEXT)
@click.argument("dataset")
@click.option("--from", "source", metavar="FILE", help="The BAM, SAM, CRAM or FASTQ file that was imported.")
@click.argument("reads2", required=False)
@click.option("--reference", metavar="FASTA", help="Reference of a CRAM file.")
@click.option("--dry-run", "-n", is_flag=True, help="Only say what would be done.")
@json_option
@resources
def command(
    dataset: str, source: str | None, reads2: str | None, reference: str | None, dry_run: bool, as_json: bool,
    runner: Any, memory: int | None, progress: Any, quiet: bool,
) -> None:
    """Bring back the manifest of DATASET, from a copy or from its objects, and objects from their source.

    Exit 1 while anything stays damaged. Nothing is guessed: an object is put back where the source gives it bit for
    bit; where it gives the values, they are encoded anew if the whole dataset then agrees with its digest.

    \b
    Examples:
      agd repair s.agd --dry-run
      agd repair s.agd --from in.bam
      agd repair s.agd --from R1.fastq.gz R2.fastq.gz
    """
    from agd.convert.restore import repair

    if source is None and (reads2 or reference):
        raise click.UsageError(f"{'a second file' if reads2 else '--reference'} goes with --from")
    sources = [path for path in (source, reads2) if path]
    result = repair(
        dataset, sources=sources, reference=reference, dry_run=dry_run, runner=runner, command=command_line()
    )
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=2))
    else:
        would = "would be " if dry_run else ""
        for text in result.actions:
            click.echo(f"{would}mended: {text}")
        for key in result.damaged:
            click.echo(f"damaged: {key}")
        for note in result.notes:
            click.echo(f"note: {note}", err=True)
        if not result.actions and not result.damaged and not quiet:
            click.echo(f"{dataset}: nothing to repair", err=True)
    if result.damaged:
        raise click.exceptions.Exit(1)
