"""What a dataset holds, whatever it is called and wherever it lies."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from typing import Any

import numpy as np

from agd.batch import Alignments, AnyColumn, Column
from agd.dataset import Dataset


def content_digest(dataset: Dataset) -> str:
    """SHA-256 over chunk bounds, every value of every column, header, references and order.

    Equal for two runs of one step; ids, names, keys, times and command lines do not count. The objects are verified as
    they are read.
    """
    digest = hashlib.sha256()
    manifest = dataset.manifest
    about = (manifest.header, manifest.references, manifest.sort_order, manifest.pairing, manifest.names)
    digest.update(repr((about, manifest.digest, sorted(dataset.columns))).encode())
    for chunk in dataset.chunks:
        digest.update(repr((chunk.first, chunk.count)).encode())
        batch = dataset.read(chunk)
        for name in sorted(dataset.columns):
            digest.update(name.encode())
            _add(digest, batch[name])
    return digest.hexdigest()


def _add(digest: Any, column: AnyColumn | None) -> None:
    if isinstance(column, Column):
        column = column.compact() if column.offsets is not None else column
        digest.update(np.ascontiguousarray(column.values).tobytes())
        if column.offsets is not None:
            digest.update(np.ascontiguousarray(column.lengths).tobytes())
    elif isinstance(column, Alignments):
        for field in fields(column):
            value = getattr(column, field.name)
            digest.update(field.name.encode())
            if isinstance(value, Column):
                _add(digest, value)
            elif value is not None:
                digest.update(np.ascontiguousarray(value).tobytes())
