"""What a file holds, as its name tells."""

from __future__ import annotations

import os

from agd.convert.inflate import SUFFIXES
from agd.errors import UsageError

_ENDINGS = {".sam": "sam", ".bam": "bam", ".cram": "cram", ".fastq": "fastq", ".fq": "fastq"}


def _named(path: str | os.PathLike[str]) -> str:
    stem, suffix = os.path.splitext(os.fspath(path).lower())
    if suffix not in _ENDINGS and suffix in SUFFIXES:
        suffix = os.path.splitext(stem)[1]
    return _ENDINGS.get(suffix, "")


def kind_of(path: str | os.PathLike[str]) -> str:
    """Kind of the records of an input: "sam" (compressed or not), "bam", "cram", else "fastq"."""
    return _named(path) or "fastq"


def check_output_name(path: str | os.PathLike[str], kind: str) -> None:
    """Refuse to write records of one kind to a file that is named like another.

    Raises
    ------
    UsageError
        Such as SAM to ``x.bam``.
    """
    named = _named(path)
    if named and named != kind:
        raise UsageError(
            f"{os.fspath(path)}: is named like {named.upper()} and would be {kind.upper()}",
            f"choose another name, or write {named.upper()} with 'agd export {named}'",
        )
