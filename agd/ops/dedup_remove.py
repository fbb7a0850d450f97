"""Write a dataset without its duplicates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from agd.batch import U8, Batch
from agd.cell import independent_codecs
from agd.dataset import Dataset
from agd.draft import Draft
from agd.kernels.ragged import take_batch
from agd.manifest import Cell, Chunk, ColumnSpec
from agd.marks import is_marked, unmarked
from agd.ops.digest import Digest, digest_records
from agd.ops.lines import to_lines, to_records
from agd.ops.scan import chunk_bytes
from agd.run import Progress, Runner, in_flight


def remove_duplicates(
    dataset: Dataset, marks: U8, output: str, parameters: Mapping[str, Any], step: Mapping[str, Any], overwrite: bool,
    runner: Runner, memory: int | None, progress: Progress, options: Mapping[str, Any],
) -> int:
    """Write the records that are not marked; returns the bytes written.

    Parameters
    ----------
    marks : ndarray of uint8, shape (records,)
        Bit 0: a duplicate. Of interleaved pairs both reads are left out if one is marked.
    """
    manifest = dataset.manifest
    names = [name for name in dataset.columns if name != "duplicates"]
    old = manifest.columns
    specs = {
        name: ColumnSpec(old[name].type, independent_codecs(name, old[name]), name, old[name].dtype) for name in names
    }
    source = {"id": manifest.id, "generation": manifest.generation}
    plan = {"operation": "dedup --remove", "input": source, **parameters}
    draft = Draft.create(
        output, specs, plan, orientation=manifest.orientation, overwrite=overwrite, inputs=[dataset], **options
    )
    kept = (marks & 1) == 0
    if manifest.pairing == "interleaved":
        kept = np.repeat(kept[0::2] & kept[1::2], 2)
    starts = np.concatenate([[0], np.cumsum(kept)])
    ahead = in_flight(runner, memory, 3 * chunk_bytes(dataset), fixed=10 * len(kept))

    def fetch(chunk: Chunk) -> tuple[Chunk, dict[str, bytes]]:
        return chunk, dataset.fetch(chunk, names)

    def work(fetched: tuple[Chunk, dict[str, bytes]]) -> tuple[Chunk, dict[str, bytes], Digest]:
        chunk, blobs = fetched
        first = int(starts[chunk.first])
        index = np.flatnonzero(kept[chunk.first : chunk.first + chunk.count])
        batch = _unmarked(take_batch(dataset.decode(chunk, blobs, names), index, first))
        encoded = {name: draft.encode(name, first, column) for name, column in batch.columns.items() if len(index)}
        lines = to_lines(batch, manifest.orientation, manifest.pairing == "interleaved")
        digest = digest_records(to_records(lines, manifest.names))
        cells: dict[str, Cell] = {name: cell for name, (_, cell) in encoded.items()}
        return Chunk(first, len(index), cells), {name: data for name, (data, _) in encoded.items()}, digest

    def store(done: tuple[Chunk, dict[str, bytes], Digest]) -> tuple[Chunk, Digest]:
        chunk, blobs, digest = done
        for name, data in blobs.items():
            draft.store(name, chunk.first, data)
        return chunk, digest

    chunks, total = [], Digest()
    progress.begin("writing", len(dataset))
    try:
        fetched = runner.map(fetch, dataset.chunks, on="io", ahead=ahead)
        encoded = runner.map(work, fetched, on="cpu", ahead=ahead)
        for chunk, digest in runner.map(store, encoded, on="io", ahead=ahead):
            progress.advance(chunk.count)
            if chunk.count:
                chunks.append(chunk)
                total.add(digest)
        draft.commit(
            chunks, names=manifest.names, pairing=manifest.pairing, sort_order=manifest.sort_order,
            header=manifest.header, references=manifest.references, steps=(*manifest.steps, step),
            sources=manifest.sources, digest=total.to_json(),
        )  # fmt: skip
    except BaseException as error:
        draft.failed(error)
        raise
    finally:
        progress.end()
    return sum(cell.bytes for chunk in chunks for cell in chunk.cells.values())


def _unmarked(batch: Batch) -> Batch:
    """The same records without flag 0x400: what is left is no duplicate."""
    columns = dict(batch.columns)
    for name in columns:
        if is_marked(name):
            alignments = batch.alignments(name)
            columns[name] = alignments.replace(flag=unmarked(alignments.flag))
    return Batch(batch.first, columns)
