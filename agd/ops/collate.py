"""Bring the records of each name together."""

from __future__ import annotations

import os
from typing import Any

from agd.dataset import Dataset
from agd.ops.sort import SortReport, sort
from agd.ops.sort_keys import COLLATED


def collate(dataset: Dataset, output: str | os.PathLike[str], **options: Any) -> SortReport:
    """Write a copy in which the records of each name stand together, as ``samtools collate`` does.

    Of a name, first reads come before last ones, and of each read the primary record, then supplementary and secondary
    ones. Names are in an order that hangs on nothing but them: that of a hash, which is faster than a sort by name, and
    spreads the genome evenly over the dataset.

    Parameters
    ----------
    dataset : Dataset
    output : str or path
    **options
        As for :func:`agd.ops.sort.sort`, but for ``by``.

    Returns
    -------
    SortReport
        How many records, in how many chunks.

    Raises
    ------
    UsageError
        An option makes no sense.
    DatasetExistsError
        There is a dataset at ``output`` already.

    Examples
    --------
    >>> agd.collate(agd.open("sorted.agd"), "grouped.agd").records
    600
    """
    step = {"program": "agd collate", "parameters": {}}
    return sort(dataset, output, by=COLLATED, step=step, **options)
