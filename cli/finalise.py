"""``agd finalise``: publish a step that was run in parts."""

from __future__ import annotations

from typing import Any

import click

from agd.cli import CONTEXT
from agd.cli.common import json_option, report, resources
from agd.units import format_seconds


@click.command("finalise", context_settings=CONTEXT)
@click.argument("dataset")
@json_option
@resources
def command(dataset: str, as_json: bool, runner: Any, memory: int | None, progress: Any, quiet: bool) -> None:
    """Publish the step of DATASET whose parts (--partition) are all done, or name those that are missing.

    DATASET is the file where the parts are of an export.

    \b
    Examples:
      for i in 1 2 3 4; do agd align s.agd -r ref.fa --partition $i/4; done; agd finalise s.agd
      parallel agd align s.agd -r ref.fa --partition {}/4 ::: 1 2 3 4 && agd finalise s.agd
      agd finalise out.bam
    """
    from agd.convert.finalise import finalise

    result = finalise(dataset, runner=runner, memory=memory, progress=progress)
    what = "published" if result.published else "had been published already"
    place = f" (generation {result.generation})" if result.generation else ""
    report(result, as_json, quiet, f"{dataset}: {result.operation} of {result.records:,} records in {result.parts} "
           f"parts {what}{place} in {format_seconds(result.seconds)}")  # fmt: skip
