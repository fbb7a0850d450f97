"""``agd simulate``: read pairs of which the truth is known."""

from __future__ import annotations

from typing import Any

import click

from agd.cli import CONTEXT
from agd.cli.common import Count, json_option, refuse_json, report, resources
from agd.units import format_seconds


@click.command("simulate", context_settings=CONTEXT)
@click.argument("read1")
@click.argument("read2", required=False)
@click.option("--pairs", "-n", type=Count(0), default="100k", show_default=True,
              help="Pairs (or single reads) to draw.")
@click.option("--reference", help="FASTA to draw from. [default: a made-up genome]")
@click.option("--genome", help="Where to write the genome.")
@click.option("--truth", help="Where to write the true places, as a table.")
@click.option("--genome-length", type=Count(), default="5M", show_default=True, help="Bases of the made-up genome.")
@click.option("--contigs", type=click.IntRange(1), default=3, show_default=True, help="Contigs of it.")
@click.option("--read-length", type=click.IntRange(1), default=150, show_default=True, help="Bases of a read.")
@click.option("--insert-mean", type=float, default=400, show_default=True, help="Mean length of the fragments.")
@click.option("--insert-sd", type=float, default=80, show_default=True, help="Its standard deviation.")
@click.option("--profile", type=click.Choice(["hiseq", "binned8", "novaseq"]), default="novaseq", show_default=True,
              help="Quality model: 38, 8 or 4 levels.")
@click.option("--snp-rate", type=float, default=0.001, show_default=True, help="Variants for each base of the genome.")
@click.option("--duplicates", type=float, default=0.08, show_default=True, help="Share of pairs that are duplicates.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same reads.")
@json_option
@resources
def command(
    read1: str, read2: str | None, as_json: bool, runner: Any, memory: int | None, progress: Any, quiet: bool,
    **options: Any,
) -> None:
    """Simulate reads: deterministic, with errors, realistic qualities and names, duplicates, and the truth.

    \b
    Examples:
      agd simulate R1.fastq.gz R2.fastq.gz --genome ref.fa --truth truth.tsv --pairs 1M
      agd simulate R1.fq R2.fq --reference ref.fa --profile hiseq --seed 7
    """
    import time

    from agd.ops.simulate import simulate

    refuse_json(as_json, read1, read2, options["genome"], options["truth"])
    start = time.perf_counter()
    result = simulate(read1, read2, runner=runner, **options)
    report(result, as_json, quiet, f"{read1}: {options['pairs']:,} {'pairs' if read2 else 'reads'} in "
           f"{format_seconds(time.perf_counter() - start)}")  # fmt: skip
