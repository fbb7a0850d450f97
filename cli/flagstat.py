"""``agd flagstat``: count records by flags."""

from __future__ import annotations

import json
import os
from typing import Any

import click

from agd.cli import CONTEXT
from agd.cli.common import cluster_option


@click.command("flagstat", context_settings=CONTEXT)
@click.argument("dataset")
@click.argument("regions", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as samtools flagstat -O json.")
@click.option("--threads", "-t", type=click.IntRange(1), metavar="N", help="Threads. [default: all processors]")
@cluster_option
def command(
    dataset: str, regions: tuple[str, ...], as_json: bool, threads: int | None, runner: Any = None
) -> None:
    """Count the records of DATASET by flags, as samtools flagstat does; from the manifest alone where it suffices.

    \b
    Examples:
      agd flagstat sorted.agd
      agd flagstat s3://bucket/sorted.agd chr20:1,000,000-2,000,000 --json
    """
    found = None if regions else _from_local_manifest(dataset)
    if found is None:
        from agd.cli.view import make_selection
        from agd.dataset import Dataset
        from agd.ops.flagstat import flagstat
        from agd.run import ThreadRunner

        ds = Dataset.open(dataset)
        with ThreadRunner(threads) as local:
            found = flagstat(ds, selection=make_selection(ds, regions, 0, 0, 0, ()), runner=runner or local)
    click.echo(json.dumps(found.to_json(), indent=1) if as_json else found.text(), nl=as_json)


def _from_local_manifest(dataset: str) -> Any:
    """The report from the manifest of a local dataset, without the libraries that only data or remote stores need."""
    from agd.manifest import MANIFEST_KEY, Manifest, generation_key

    path = os.path.join(dataset, MANIFEST_KEY)
    if "://" in dataset or not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        manifest = Manifest.from_bytes(file.read(), path)
    if os.path.exists(os.path.join(dataset, generation_key(manifest.generation + 1))):
        return None  # a writer stopped while it published: Dataset.open knows what to do

    from agd.ops.flagstat import flagstat_of_manifest

    return flagstat_of_manifest(manifest)
