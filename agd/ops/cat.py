"""Concatenate datasets: objects are copied with new headers, nothing is decoded."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import agd
from agd import chunkfile, samheader
from agd.batch import AnyColumn
from agd.cell import DEFAULT_CODECS, header_checksum
from agd.codecs import needed_columns
from agd.dataset import Dataset
from agd.draft import Draft
from agd.errors import UsageError
from agd.manifest import Cell, Chunk, ColumnSpec, Manifest
from agd.ops.digest import Digest
from agd.ops.embed import check_embedded, join_embedded
from agd.ops.merge_headers import JoinedHeader, Translation
from agd.run import SILENT, Progress, Runner, ThreadRunner
from agd.types import RecordType, SortOrder


@dataclass(frozen=True, slots=True)
class CatReport:
    """What was written.

    Attributes
    ----------
    output : str
    records, chunks, bytes : int
    seconds : float
    """

    output: str
    records: int
    chunks: int
    bytes: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


def cat(
    datasets: Sequence[Dataset], output: str | os.PathLike[str], *, name: str | None = None, overwrite: bool = False,
    step: Mapping[str, Any] | None = None, sources: tuple[Mapping[str, Any], ...] | None = None,
    runner: Runner | None = None, progress: Progress = SILENT, command: str = "",
) -> CatReport:
    """Write the records of several datasets of one kind into one, in the order given.

    Headers are joined as :func:`agd.merge` joins them. The chunks stay as they are, but for records with a PG tag whose
    program has got another ID, since it differs from one of that ID in a dataset before.

    Parameters
    ----------
    datasets : sequence of Dataset
    output : str or path
    name : str, optional
        Name of the new dataset. Default: from ``output``.
    overwrite : bool
        Replace a dataset that is there.
    step : mapping, optional
        Provenance to be noted in place of what the first dataset has, and of this step.
    sources : tuple of mapping, optional
        As in the manifest. Default: none, unless there is one dataset only.
    runner, progress, command
        As in all operations.

    Returns
    -------
    CatReport
        How many records, in how many chunks.

    Raises
    ------
    UsageError
        The datasets differ in columns, references, orientation or pairing, or in read groups of one ID; or some of them
        keep their reference, and others need it from elsewhere.
    """
    begun = time.monotonic()
    if not datasets:
        raise UsageError("there is nothing to concatenate")
    manifests = [dataset.manifest for dataset in datasets]
    for dataset in datasets[1:]:
        _check(datasets[0], dataset)
    check_embedded(datasets)
    first = manifests[0]
    runner = runner or ThreadRunner()
    joined = _join_headers(datasets)
    columns = {name: ColumnSpec(c.type, c.codecs, name, c.dtype) for name, c in _all_columns(manifests).items()}
    inputs = [{"id": m.id, "generation": m.generation} for m in manifests]
    draft = Draft.create(
        output, columns, {"operation": "cat", "inputs": inputs}, orientation=first.orientation, name=name,
        overwrite=overwrite, inputs=datasets,
    )  # fmt: skip
    try:
        chunks, changed = _copy(datasets, joined.translations, draft, runner, progress)
        own = {"program": "agd cat", "version": agd.__version__, "command": command, "parameters": {"inputs": inputs}}
        own = own if step is None else dict(step)
        kept = join_embedded(datasets, draft, joined.references, runner)
        alone = len(datasets) == 1
        result = draft.commit(
            chunks, names=first.names, pairing=first.pairing,
            sort_order=first.sort_order if alone else SortOrder.UNSORTED, header=joined.text,
            references=joined.references,
            steps=(*(_steps(manifests) if step is None else ()), own, *kept),
            sources=sources if sources is not None else first.sources if alone else (),
            digest=_digest(manifests, changed),
        )  # fmt: skip
    except BaseException as error:
        draft.failed(error)
        raise
    return CatReport(
        result.url, len(result), len(chunks), result.manifest.stored_bytes, round(time.monotonic() - begun, 3)
    )  # fmt: skip


def _copy(
    datasets: Sequence[Dataset], translations: Sequence[Translation], draft: Draft, runner: Runner, progress: Progress
) -> tuple[list[Chunk], set[int]]:
    """Copy the objects of all datasets, with new headers; the chunks, and the datasets whose tags have changed."""

    def copy(item: tuple[int, Chunk, int]) -> tuple[Chunk, int | None]:
        number, chunk, start = item
        dataset, changed = datasets[number], False
        cells: dict[str, Cell] = {}
        for name, cell in chunk.cells.items():
            renamed = _renamed(dataset, chunk, name, translations[number])
            if renamed is not None:
                # The codecs of the column may need other columns; those of every dataset do not.
                chain = DEFAULT_CODECS[draft.columns[name].type]
                data, cells[name] = draft.encode(name, start, renamed, chains=[chain])
                changed = True
            else:
                key = dataset.manifest.object_key(name, chunk.first)
                header, index, payload = chunkfile.unframe(dataset.storage.get(key), f"{dataset.url}/{key}")
                moved = replace(header, column=name, dataset_name=draft.name, dataset_id=draft.id, first=start)
                data = chunkfile.frame(moved, index, payload)
                cells[name] = Cell(len(data), header_checksum(data), cell.statistics)
            draft.store(name, start, data)
        return Chunk(start, chunk.count, cells), number if changed else None

    progress.begin("concatenate", sum(map(len, datasets)))
    try:
        chunks = []
        renamed_in: set[int] = set()
        for chunk, number in runner.map(copy, _places(datasets), on="io"):
            chunks.append(chunk)
            renamed_in.update(() if number is None else (number,))
            progress.advance(chunk.count)
    finally:
        progress.end()
    return chunks, renamed_in


def _renamed(dataset: Dataset, chunk: Chunk, name: str, translation: Translation) -> AnyColumn | None:
    """A column of a chunk whose tags name programs that have another ID now; None for all others."""
    if not translation.tags["PG"] or dataset.manifest.columns[name].type not in (RecordType.STRUCTURED, RecordType.AUX):
        return None
    column = dataset.decode_column(chunk, name, dataset.fetch(chunk, [name]))
    return translation.column(name, column) if translation.renames(column) else None


def _places(datasets: Sequence[Dataset]) -> Iterator[tuple[int, Chunk, int]]:
    start = 0
    for number, dataset in enumerate(datasets):
        for chunk in dataset.chunks:
            yield number, chunk, start
            start += chunk.count


def _all_columns(manifests: Sequence[Manifest]) -> dict[str, ColumnSpec]:
    """Columns of all; further alignments may be missing from some, they are null there."""
    found: dict[str, ColumnSpec] = {}
    for m in manifests:
        for name, spec in m.columns.items():
            # Objects are copied as they are: what any of them needs, the column needs.
            if name not in found or needed_columns(spec.codecs):
                found[name] = spec
    return found


def _references(m: Manifest, other: Manifest) -> list[tuple[str, int, str]]:
    """What must agree; the sequences too, where bases are stored as differences to them."""
    pinned = any(needed_columns(spec.codecs) for x in (m, other) for spec in x.columns.values())
    return [(r.name, r.length, r.md5 if pinned else "") for r in m.references]


def _check(one: Dataset, other: Dataset) -> None:
    a, b = one.manifest, other.manifest

    def core(m: Manifest) -> dict[str, tuple[Any, str]]:
        return {n: (c.type, c.dtype) for n, c in m.columns.items() if not n.startswith("secondary")}

    differences = {
        "columns": core(a) == core(b),
        "references": _references(a, b) == _references(b, a),
        "orientation of bases": a.orientation == b.orientation,
        "pairing": a.pairing == b.pairing,
        "kind of names": a.names == b.names,
    }
    wrong = [name for name, same in differences.items() if not same]
    if wrong:
        raise UsageError(
            f"{other.url}: differs from {one.url} in its {', '.join(wrong)}", "'agd info' shows what each one has"
        )


def _join_headers(datasets: Sequence[Dataset]) -> JoinedHeader:
    """One header, as :func:`agd.merge` makes it; that of a single dataset stays as it is.

    Raises
    ------
    UsageError
        Two read groups of one ID differ.
    """
    # The steps of provenance are kept as they are: they become lines of the header where it is written out.
    joined = JoinedHeader.of([replace(d.manifest, steps=()) for d in datasets], [d.url for d in datasets])
    if len(datasets) == 1:
        joined.text = datasets[0].manifest.header
        return joined
    for translation in joined.translations:
        for group in translation.tags["RG"]:
            raise UsageError(
                f"two read groups are called {group.decode(errors='replace')} and differ",
                "rename one with 'agd reheader'",
            )
    if joined.text.startswith("@HD"):
        joined.text = samheader.with_sort_order(joined.text, SortOrder.UNSORTED)
    return joined


def _steps(manifests: Sequence[Manifest]) -> list[Mapping[str, Any]]:
    """Provenance of all datasets; a step that several have in common is there once."""
    found: list[Mapping[str, Any]] = []
    for m in manifests:
        found += [step for step in m.steps if step not in found]
    return found


def _digest(manifests: Sequence[Manifest], changed: Collection[int]) -> dict[str, Any]:
    """Digest of all records; the tags of records that were changed are not known by it."""
    if not all(m.digest for m in manifests):
        return {}
    parts = [Digest.from_json(m.digest) for m in manifests]
    for number in changed:
        parts[number].forget_tags()
    return Digest.total(parts).to_json()
