"""The SAM header that goes with an export."""

from __future__ import annotations

from agd import __version__
from agd.dataset import Dataset
from agd.ops.lines import is_lines
from agd.samheader import with_program, with_references, with_sort_order, with_steps
from agd.types import SortOrder


def output_header(dataset: Dataset, program: str = "", command: str = "") -> str:
    """Header text of a dataset: what was imported, the references, and one ``@PG`` line a step.

    Parameters
    ----------
    program, command : str
        The step that writes the export; "" for none.

    Returns
    -------
    str
        Lines that each end with a newline.
    """
    manifest = dataset.manifest
    text = manifest.header
    if text and not text.endswith("\n"):
        text += "\n"
    if not any(line.startswith("@SQ\t") for line in text.split("\n")) and manifest.references:
        text = with_references(text, manifest.references)
    if not text.startswith("@HD") and manifest.names == "fastq":
        order = manifest.sort_order if is_lines(dataset.manifest) else SortOrder.UNSORTED
        text = with_sort_order(text, SortOrder.UNSORTED if order is SortOrder.UNKNOWN else order)
    text = with_steps(text, manifest.steps)
    if program:
        text = with_program(text, program, __version__, command)
    return text
