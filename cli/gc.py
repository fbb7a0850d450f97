"""``agd gc``: remove what is not needed any more."""

from __future__ import annotations

import json

import click

from agd.cli import CONTEXT


@click.command("gc", context_settings=CONTEXT)
@click.argument("dataset")
@click.option("--drafts", is_flag=True, help="Also remove unfinished runs, which then cannot go on.")
@click.option("--keep", type=click.IntRange(1), metavar="N", help="Keep only the newest N generations.")
@click.option("--dry-run", "-n", is_flag=True, help="Only say what would be removed.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(dataset: str, drafts: bool, keep: int | None, dry_run: bool, as_json: bool) -> None:
    """Remove temporary files, orphaned objects and old generations from DATASET.

    Objects of an unfinished run stay, so that it can go on, unless --drafts is given. DATASET may also be the output of
    an import of many files or of an export (a BAM or FASTQ file): what its parts left beside it (OUTPUT.parts) goes.

    \b
    Examples:
      agd gc s.agd --dry-run
      agd gc s.agd --keep 1
      agd gc stopped-import.agd --drafts
      agd gc stopped-export.bam --drafts
    """
    from agd.convert.gc import gc_at
    from agd.units import format_size

    result = gc_at(dataset, drafts=drafts, keep=keep, dry_run=dry_run)
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=2))
        return
    verb = "would be removed" if dry_run else "removed"
    click.echo(
        f"{dataset}: {len(result.keys):,} files of {format_size(result.bytes)} {verb} ({result.temporary} temporary, "
        f"{result.objects} objects, {result.generations} generations, {result.drafts} drafts)"
    )
    if result.kept:
        click.echo(f"  {result.kept:,} objects of an unfinished run stay; --drafts removes them")
    if result.lost:
        click.echo(f"  {result.lost:,} objects without a manifest stay; 'agd repair {dataset}' may make a dataset of "
                   "them, --drafts removes them")  # fmt: skip
