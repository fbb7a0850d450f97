"""What a writer changes of a dataset, merged into what others have published since it began."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from agd.codecs import needed_columns
from agd.errors import ConflictError, UsageError
from agd.manifest import Cell, Chunk, ColumnSpec, Manifest


def check_needed(url: str, base: Manifest, replaced: Collection[str]) -> None:
    """Refuse to replace a column that another one is stored as differences to: UsageError."""
    for name, spec in base.columns.items():
        needed = [n for n in needed_columns(spec.codecs, url) if n in replaced and n in base.columns]
        if needed and name not in replaced:
            raise UsageError(
                f"{url}: the column {name!r} cannot be read without {needed[0]!r}, which would be replaced",
                f"store it for itself first: agd recompress {url} --column {name} --profile fast",
            )


def check_read(url: str, read: Manifest, newest: Manifest, columns: Iterable[str]) -> None:
    """Refuse to work from columns that are not those of the newest generation: ConflictError."""
    for name in columns:
        if read.columns.get(name) != newest.columns.get(name):
            raise ConflictError(
                f"{url}: the column {name!r} of generation {read.generation}, which is read, is not that of generation "
                f"{newest.generation}, the newest",
                f"run it on the newest one, or make the older the newest: agd checkout {url}@{read.generation}",
            )


def merge_change(
    url: str, base: Manifest, latest: Manifest, columns: Mapping[str, ColumnSpec], chunks: Sequence[Chunk],
    fields: Mapping[str, Any], *, drop: Sequence[str] = (), reads: Iterable[str] = (),
) -> Manifest:
    """The generation after the newest one, with the change of a writer that began at an earlier one.

    Parameters
    ----------
    url : str
        For errors.
    base, latest : Manifest
        Generation that the writer began at, and the newest.
    columns : mapping of str to ColumnSpec
        New or replaced.
    chunks : sequence of Chunk
        Those of the dataset, with the cells of these columns.
    fields : mapping
        Further fields of the manifest; ``steps`` are added to what is there.
    drop : sequence of str
        Columns that are taken out.
    reads : iterable of str
        Columns that the writer has read.

    Raises
    ------
    ConflictError
        Others have changed one of these columns or fields, or the chunks.
    """
    replaced = {*columns, *drop}
    for name in sorted(replaced):
        if (name in latest.columns) != (name in base.columns) or (
            name in latest.columns and latest.columns[name] != base.columns[name]
        ):
            raise ConflictError(f"{url}: another writer has just published the column {name!r}")
    check_read(url, base, latest, reads)
    if [(c.first, c.count) for c in chunks] != [(c.first, c.count) for c in latest.chunks]:
        raise ConflictError(f"{url}: the chunks of the dataset are not those that were worked on")
    changes = dict(fields)
    for field, value in fields.items():
        now, before = getattr(latest, field), getattr(base, field)
        if field == "steps":
            changes[field] = (*now, *value)
        elif now not in (before, value):
            raise ConflictError(f"{url}: another writer has just changed the {field}")
    merged = {n: spec for n, spec in latest.columns.items() if n not in drop} | dict(columns)
    return latest.next(
        columns=merged,
        retired=latest.retiring(merged),
        chunks=tuple(
            Chunk(old.first, old.count, _merge_cells(old.cells, new.cells, replaced))
            for old, new in zip(latest.chunks, chunks, strict=True)
        ),
        **changes,
    )


def _merge_cells(old: Mapping[str, Cell], new: Mapping[str, Cell], replaced: Collection[str]) -> dict[str, Cell]:
    return {name: c for name, c in old.items() if name not in replaced} | dict(new)
