"""Merge sorted datasets into one."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from typing import Any

from agd.dataset import Dataset
from agd.errors import UsageError
from agd.ops.cat import cat
from agd.ops.sort import SortReport, sort
from agd.ops.sort_spill import default_folder
from agd.run import SILENT, Progress, Runner
from agd.types import SortOrder

#: Order of the records as a manifest notes it → as ``sort`` calls it.
_ORDERS = {
    SortOrder.COORDINATE: "coordinate", SortOrder.QUERYNAME: "queryname",
    SortOrder.QUERYNAME_LEXICOGRAPHIC: "queryname-lexicographic",
    SortOrder.TEMPLATE_COORDINATE: "template-coordinate",
}  # fmt: skip


def merge(
    datasets: Sequence[Dataset], output: str | os.PathLike[str], *, tmp: str | None = None,
    runner: Runner | None = None, memory: int | None = None, progress: Progress = SILENT, command: str = "",
    **options: Any,
) -> SortReport:
    """Merge datasets of one order into one dataset of that order; records of equal keys stay in the order given.

    Parameters
    ----------
    datasets : sequence of Dataset
        At least one, all sorted in the same way, of the same references.
    output : str or path
    tmp : str, optional
        Local folder for temporary files. Default: beside a local output, the system's for remote ones.
    **options
        As for :func:`agd.ops.sort.sort`.

    Raises
    ------
    UsageError
        The datasets are not sorted in one way, or differ in kind; see :func:`agd.ops.cat.cat`.
    """
    orders = {dataset.manifest.sort_order for dataset in datasets}
    order = next(iter(orders), SortOrder.UNKNOWN)
    if len(orders) != 1 or order not in _ORDERS:
        raise UsageError(
            f"datasets to be merged have one order; these have: {', '.join(sorted(orders))}",
            "sort them first, or use 'agd cat'",
        )
    parent = tmp or default_folder(os.fspath(output))
    with contextlib.ExitStack() as stack:
        folder = tempfile.mkdtemp(prefix=".agd-merge-", dir=parent)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        # Objects are copied as they are, so this costs reading and writing but no decoding.
        joined = os.path.join(folder, "joined.agd")
        cat(datasets, joined, runner=runner, progress=progress)
        return sort(
            Dataset.open(joined), output, by=_ORDERS[order], tmp=tmp, runner=runner, memory=memory,
            progress=progress, command=command, **options,
        )  # fmt: skip
