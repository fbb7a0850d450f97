"""A dataset of ten reads in three chunks, and columns of numbers for it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from agd.batch import AnyColumn, Column
from agd.dataset import Dataset
from agd.draft import Draft, columns_of
from agd.manifest import Chunk, ColumnSpec
from agd.types import Orientation, RecordType

PLAN = {"operation": "test", "inputs": [["a.fastq", 12]], "chunk_records": 4}
COUNT, SIZE = 10, 4
NAMES = [b"read/%d" % i for i in range(COUNT)]
BASES = [b"ACGTN"[i % 5 :] * i for i in range(COUNT)]
FIRSTS = range(0, COUNT, SIZE)


def make(url: str, **options: Any) -> Dataset:
    """A dataset of ten reads in three chunks."""
    draft = Draft.create(url, columns_of(["metadata", "bases"]), PLAN, orientation=Orientation.READ, **options)
    return draft.commit(fill(draft))


def parts(first: int) -> dict[str, Column]:
    stop = first + SIZE
    return {"metadata": Column.from_list(NAMES[first:stop]), "bases": Column.from_list(BASES[first:stop])}


def fill(draft: Draft) -> Iterator[Chunk]:
    for first in FIRSTS:
        columns = parts(first)
        yield Chunk(first, len(columns["bases"]), {n: draft.write(n, first, c) for n, c in columns.items()})


def numbers(first: int, last: int = COUNT) -> Column:
    return Column(np.arange(first, min(first + SIZE, last), dtype=np.uint8) % 2)


def add(dataset: Dataset, name: str, draft: Draft | None = None, add_to: int = 0, **fields: Any) -> Dataset:
    """Add a column of numbers, or publish a draft of one."""
    draft = draft or Draft.extend(dataset, spec(name), {"operation": name})
    return draft.commit(cells(dataset, draft, name, add_to), **fields)


def cells(dataset: Dataset, draft: Draft, name: str, add_to: int = 0) -> list[Chunk]:
    return [
        Chunk(c.first, c.count, {name: draft.write(name, c.first, Column(numbers(c.first).values + np.uint8(add_to)))})
        for c in dataset.chunks
    ]


def spec(*names: str) -> dict[str, ColumnSpec]:
    return {name: ColumnSpec(RecordType.NUMBER, [{"name": "zstd", "level": 1}], name, "|u1") for name in names}


def text(column: AnyColumn) -> list[Any]:
    assert isinstance(column, Column)
    return list(column)


def keys(dataset: Dataset) -> list[str]:
    return list(dataset.storage.keys())


class Killed(BaseException):
    """Stands for the end of the process."""


def killed_after(url: str, objects: int) -> None:
    draft = Draft.create(url, columns_of(["metadata", "bases"]), PLAN, orientation=Orientation.READ)
    for first, name in list(itertools.product(FIRSTS, parts(0)))[:objects]:
        draft.write(name, first, parts(first)[name])
