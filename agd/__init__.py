"""AGD (Aggregate Genomic Data): reads and alignments as a table of columns and chunks.

>>> import agd
>>> ds = agd.open("sample.agd")                                    # doctest: +SKIP
>>> for batch in ds.batches(["bases", "results"]): ...             # doctest: +SKIP
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agd.dataset import Dataset

__version__ = "0.1.0"

#: Public names and the module that each lives in; modules are imported when a name is first used.
_PUBLIC = {
    "Dataset": "agd.dataset",
    "Draft": "agd.draft",
    "Column": "agd.batch",
    "Alignments": "agd.batch",
    "Batch": "agd.batch",
    "AgdError": "agd.errors",
    "SerialRunner": "agd.run",
    "ThreadRunner": "agd.run",
    "import_fastq": "agd.convert.fastq",
    "export_fastq": "agd.convert.fastq_writer",
    "import_bam": "agd.convert.bam_in",
    "import_sam": "agd.convert.sam_in",
    "import_cram": "agd.convert.cram",
    "export_bam": "agd.convert.bam_out",
    "export_sam": "agd.convert.sam_out",
    "export_cram": "agd.convert.cram",
    "align": "agd.aligners.align",
    "align_sorted": "agd.pipelines",
    "pipeline": "agd.pipelines",
    "sort": "agd.ops.sort",
    "sort_bam": "agd.convert.bam_sort",
    "merge": "agd.ops.merge",
    "cat": "agd.ops.cat",
    "collate": "agd.ops.collate",
    "fixmate": "agd.ops.fixmate",
    "reheader": "agd.ops.edit",
    "append_column": "agd.ops.own",
    "create": "agd.ops.create",
    "drop_column": "agd.ops.edit",
    "rename_column": "agd.ops.edit",
    "bin_qualities": "agd.ops.binning",
    "dedup": "agd.ops.dedup",
    "recompress": "agd.ops.recompress",
    "verify": "agd.ops.verify",
    "flagstat": "agd.ops.flagstat",
    "idxstats": "agd.ops.idxstats",
    "stats": "agd.ops.stats",
    "coverage": "agd.ops.coverage",
    "depths": "agd.ops.depth",
    "report": "agd.ops.report",
    "simulate": "agd.ops.simulate",
}

__all__ = ["__version__", "open", *_PUBLIC]


def open(url: str | os.PathLike[str], **options: Any) -> Dataset:
    """Open a dataset: see :meth:`agd.dataset.Dataset.open`.

    Parameters
    ----------
    url : str or path
        ``s.agd``, ``s3://bucket/s.agd``, …; ``s.agd@3`` is generation 3.
    **options
        ``generation``, and options for fsspec: credentials, ``endpoint_url``, ….

    Returns
    -------
    Dataset
        The manifest has been read, and nothing else.

    Examples
    --------
    >>> ds = agd.open("sorted.agd")
    >>> len(ds), ds.columns
    (600, ['bases', 'qualities', 'metadata', 'results'])
    """
    from agd.dataset import Dataset

    return Dataset.open(url, **options)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        import importlib

        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'agd' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
