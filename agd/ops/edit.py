"""Changes of the manifest alone: nothing but one small JSON document is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import agd
from agd import samheader
from agd.codecs import needed_columns
from agd.dataset import Dataset
from agd.draft import MAX_COMMITS
from agd.errors import ColumnError, ConflictError, ObjectExistsError, UsageError
from agd.generations import load_manifest, publish
from agd.manifest import Chunk, Manifest
from agd.ops.digest import without_columns
from agd.ops.lines import secondary_columns
from agd.ops.own import check_name
from agd.types import Orientation

#: Columns that alignment lines cannot do without.
_NEEDED = ("results",)


def edit(dataset: Dataset, change: Callable[[Manifest], Manifest], step: dict[str, Any]) -> Dataset:
    """Publish a changed manifest as the next generation.

    Parameters
    ----------
    change : callable
        From the newest manifest to the wanted one; called again when another writer was faster.
    step : dict
        Provenance: ``program``, ``command``, ``parameters``.

    Raises
    ------
    ConflictError
        Others publish all the time.
    FormatError
        The changed manifest could not be read again; the dataset stays as it was.
    """
    for _ in range(MAX_COMMITS):
        latest = load_manifest(dataset.storage)
        steps = (*latest.steps, {"version": agd.__version__, **step})
        manifest = change(latest).next(generation=latest.generation + 1, steps=steps)
        try:
            publish(dataset.storage, manifest)
        except ObjectExistsError:
            continue
        return Dataset(dataset.storage, manifest)
    raise ConflictError(f"{dataset.url}: other writers publish all the time", "run the same command again")


def drop_column(dataset: Dataset, column: str, *, command: str = "") -> Dataset:
    """Take a column out; its objects stay for the older generations until ``agd gc --keep``.

    Parameters
    ----------
    dataset : Dataset
    column : str
        Its name.

    command : str
        Command line for the provenance.

    Returns
    -------
    Dataset
        The new generation.

    Raises
    ------
    ColumnError
        There is no such column, or others cannot do without it.

    Examples
    --------
    >>> ds = agd.append_column(agd.open("run.agd"), "batch", [1] * 600)
    >>> agd.drop_column(ds, "batch").columns
    ['bases', 'qualities', 'metadata']
    """

    def change(m: Manifest) -> Manifest:
        _require(m, column, dataset)
        _check_alone(m, column, dataset)
        return _columns(m, {name: name for name in m.columns if name != column})

    return edit(dataset, change, _step("drop", command, column=column))


def rename_column(dataset: Dataset, column: str, name: str, *, command: str = "") -> Dataset:
    """Give a column another name; no object is touched.

    Parameters
    ----------
    dataset : Dataset
    column, name : str
        Its name, and its new one.

    command : str
        Command line for the provenance.

    Returns
    -------
    Dataset
        The new generation.

    Raises
    ------
    ColumnError
        There is no such column, others cannot do without it, the name is taken, none for columns, or that of a standard
        column of another type.
    """

    def change(m: Manifest) -> Manifest:
        _require(m, column, dataset)
        if name in m.columns:
            raise ColumnError(f"{dataset.url}: there is a column {name!r} already", "choose another name")
        _check_alone(m, column, dataset)
        check_name(name, m.columns[column])
        return _columns(m, {old: name if old == column else old for old in m.columns})

    return edit(dataset, change, _step("rename", command, column=column, name=name))


def _step(verb: str, command: str, **parameters: Any) -> dict[str, Any]:
    return {"program": f"agd column {verb}", "command": command, "parameters": parameters}


def _require(m: Manifest, column: str, dataset: Dataset) -> None:
    if column not in m.columns:
        raise ColumnError(f"{dataset.url}: there is no column {column!r}", f"there are: {', '.join(m.columns)}")


def _check_alone(m: Manifest, column: str, dataset: Dataset) -> None:
    """Refuse to take a column away that others belong to."""
    extra = secondary_columns(list(m.columns))
    if column in _NEEDED and (extra or "duplicates" in m.columns):
        raise ColumnError(f"{dataset.url}: further alignments and marks belong to {column!r}", "drop them first")
    if column in extra and column != extra[-1]:
        raise ColumnError(f"{dataset.url}: {extra[-1]!r} comes after {column!r}", f"drop {extra[-1]} first")


def _columns(m: Manifest, names: dict[str, str]) -> Manifest:
    """Keep the columns that are keys of ``names``, under the names that are its values."""
    chunks = tuple(
        Chunk(c.first, c.count, {names[old]: cell for old, cell in c.cells.items() if old in names}) for c in m.chunks
    )
    columns = {names[old]: spec for old, spec in m.columns.items() if old in names}
    for name, spec in columns.items():
        for needed in needed_columns(spec.codecs):
            if needed not in columns:
                raise ColumnError(
                    f"the column {name!r} cannot be read without {needed!r}, as it is stored",
                    f"store it for itself first: agd recompress DATASET --column {name} --profile fast",
                )
    changed = {name for name in (*m.columns, *columns) if names.get(name) != name}
    digest = without_columns(m.digest, changed, m.orientation is Orientation.SEQ)
    return replace(m, columns=columns, chunks=chunks, retired=m.retiring(columns), digest=digest)


def reheader(dataset: Dataset, text: str, *, command: str = "") -> Dataset:
    """Exchange the SAM header; records refer to references by their place, so these may only be renamed.

    Parameters
    ----------
    text : str
        The whole new header.
    command : str
        Command line for the provenance.

    Returns
    -------
    Dataset
        The new generation.

    Raises
    ------
    UsageError
        Its references are not as many and as long as those of the dataset, or it is no header.
    """
    if any(line and not line.startswith("@") for line in text.split("\n")):
        raise UsageError("the header has a line that does not begin with '@'")
    try:
        references = samheader.references_of(text)
    except ValueError as error:
        raise UsageError(f"the header: {error}") from error
    text = text if not text or text.endswith("\n") else text + "\n"

    def change(m: Manifest) -> Manifest:
        if [r.length for r in references] != [r.length for r in m.references]:
            raise UsageError(
                f"{dataset.url}: has {len(m.references)} references, the header {len(references)}, or their lengths "
                "differ", "a header may rename references, not add, remove or reorder them",
            )  # fmt: skip
        return replace(m, header=text, references=references)

    step = {"program": "agd reheader", "command": command, "parameters": {}, "in_header": True}
    return edit(dataset, change, step)
