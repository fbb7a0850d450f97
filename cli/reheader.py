"""``agd reheader``: exchange the SAM header."""

from __future__ import annotations

from typing import Any

import click

from agd.cli import CONTEXT
from agd.cli.common import command_line


@click.command("reheader", context_settings=CONTEXT)
@click.argument("dataset")
@click.argument("header", type=click.File("r", encoding="utf-8", errors="surrogateescape"))
def command(dataset: str, header: Any) -> None:
    """Exchange the header of DATASET for the SAM text in the file HEADER ("-" is standard input).

    References may be renamed, not added, removed or reordered. One manifest is written, no object is touched.

    \b
    Example:
      agd view -H s.agd | sed 's/SM:x/SM:y/' | agd reheader s.agd -
    """
    from agd.dataset import Dataset
    from agd.ops.edit import reheader

    reheader(Dataset.open(dataset), header.read(), command=command_line())
