"""``agd report``: one page on the quality of a dataset."""

from __future__ import annotations

import json
from typing import Any

import click

from agd.cli import CONTEXT
from agd.cli.common import cluster_option, json_option, refuse_json, resources
from agd.cli.common import report as tell


@click.command("report", context_settings=CONTEXT)
@click.argument("dataset")
@click.option("--output", "-o", metavar="URL", help="Where to write the page (HTML), or the numbers (*.json).")
@click.option("--multiqc", metavar="FOLDER", help="Write files for MultiQC into this folder.")
@json_option
@resources
@cluster_option
def command(
    dataset: str, output: str | None, multiqc: str | None, as_json: bool, runner: Any, memory: int | None,
    progress: Any, quiet: bool,
) -> None:
    """Report on the reads, alignments and storage of DATASET in one page that needs nothing else.

    The modules on reads are those of FastQC; alignments come with flags, mapping qualities, insert sizes and coverage.

    \b
    Examples:
      agd report sorted.agd -o report.html
      agd report s3://bucket/s.agd -o s3://bucket/report.html
      agd report sorted.agd --multiqc qc/ && multiqc qc/
      agd report sorted.agd --json
    """
    from agd.dataset import Dataset
    from agd.errors import UsageError
    from agd.ops.report import report

    refuse_json(as_json, output)
    if output is None and multiqc is None and not as_json:
        raise UsageError("there is nothing to write", "give -o report.html, --multiqc FOLDER or --json")
    found = report(Dataset.open(dataset), runner=runner, memory=memory, progress=progress)
    if output is not None:
        found.save(output)
    written = found.save_multiqc(multiqc) if multiqc is not None else []
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2))
        return
    verdicts = [v for q in found.reads for v in q.verdicts.values()]
    told = ", ".join(f"{verdicts.count(v)} {v}" for v in ("pass", "warn", "fail")) or "no reads"
    where = output or f"{multiqc}: {len(written):,} files"
    tell(found, False, quiet, f"{where}: {sum(q.reads for q in found.reads):,} reads, {told}")
