"""Datasets of alignment lines from SAM text, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from agd import kernels
from agd.batch import Alignments, Column
from agd.dataset import Dataset
from agd.draft import Draft, columns_of
from agd.kernels.records import RecordArrays
from agd.manifest import Chunk
from agd.ops.lines import to_lines, to_records
from agd.samheader import references_of, sort_order_of
from agd.types import Orientation


def split(text: str) -> tuple[str, bytes]:
    """Header and records of SAM text."""
    lines = text.splitlines(keepends=True)
    head = "".join(line for line in lines if line.startswith("@"))
    return head, "".join(lines)[len(head) :].encode()


def names_of(header: str) -> Column:
    """Names of the references of a header."""
    return Column.from_list([r.name.encode() for r in references_of(header)])


def parse(header: str, body: bytes) -> RecordArrays:
    """Arrays of SAM lines."""
    buffer, names = np.frombuffer(body, np.uint8), names_of(header)
    records = RecordArrays.allocate(*kernels.sam_capacity(buffer))
    count, consumed, *_ = kernels.sam_parse(buffer, names.values, names.offsets, records, True)
    assert consumed == len(body)
    offsets = {"name_offsets", "cigar_offsets", "base_offsets", "quality_offsets", "tag_offsets"}
    fixed = set(Alignments.FIXED)
    return RecordArrays(*(
        array[: count + 1] if name in offsets else array[:count] if name in fixed else array
        for name, array in zip(RecordArrays._fields, records, strict=True)
    ))  # fmt: skip


def from_sam(url: str, text: str, *, chunk: int = 1000) -> Dataset:
    """A dataset as an import of SAM makes it."""
    header, body = split(text)
    r = parse(header, body)
    count = len(r.flag)
    columns: dict[str, Any] = {
        "bases": Column(r.bases, r.base_offsets), "qualities": Column(r.qualities, r.quality_offsets),
        "metadata": Column(r.names, r.name_offsets), "tags": Column(r.tags, r.tag_offsets),
        "results": Alignments(*r[:7], Column(r.cigar, r.cigar_offsets), Column.empty(count)),
    }  # fmt: skip
    draft = Draft.create(url, columns_of(list(columns)), {}, orientation=Orientation.SEQ, overwrite=True)
    chunks = []
    for first in range(0, count, chunk):
        stop = min(first + chunk, count)
        cells = {name: draft.write(name, first, c.slice(first, stop)) for name, c in columns.items()}
        chunks.append(Chunk(first, stop - first, cells))
    return draft.commit(
        chunks, names="sam", header=header, references=references_of(header), sort_order=sort_order_of(header)
    )


def to_sam(dataset: Dataset) -> str:
    """Header and records of a dataset as SAM text."""
    manifest = dataset.manifest
    names = names_of(manifest.header)
    text = manifest.header
    for batch in dataset.batches():
        records = to_records(to_lines(batch, manifest.orientation, manifest.pairing == "interleaved"), manifest.names)
        out = np.empty(kernels.sam_format_bound(records, names.values, names.offsets), np.uint8)
        text += out[: kernels.sam_format(records, names.values, names.offsets, out)].tobytes().decode()
    return text
