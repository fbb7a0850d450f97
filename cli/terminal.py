"""What the verbs know about the terminal: whether it shows colours, how wide it is, what it can print."""

from __future__ import annotations

import os
import sys
from typing import IO

import click


def colour(stream: IO[str]) -> bool:
    """Whether to colour what is printed: NO_COLOR and FORCE_COLOR first, then whether it is a terminal that can.

    See https://no-color.org and https://force-color.org.
    """
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def say(text: str, *, err: bool = False) -> None:
    """Print text that may have colours; what the terminal cannot show is replaced."""
    stream = sys.stderr if err else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    click.echo(text.encode(encoding, "replace").decode(encoding), err=err, color=colour(stream))


def width() -> int | None:
    """Columns of the terminal; None where the output goes to a file or another program, which get whole lines."""
    if not sys.stdout.isatty():
        return None
    import shutil  # brings three libraries of compression along

    return shutil.get_terminal_size().columns


def fit(line: str, columns: int | None) -> str:
    """A line cut to a number of columns; None: as it is."""
    return line if columns is None or len(line) <= columns else line[: max(1, columns - 1)] + "…"
