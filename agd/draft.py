"""Write a dataset: objects first, then one atomic publish of the manifest."""

from __future__ import annotations

import contextlib
import json
import os
import re
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from agd import cell as cells
from agd.batch import AnyColumn
from agd.codecs import Chain
from agd.dataset import Dataset, load_manifest
from agd.errors import (
    ConflictError,
    DatasetExistsError,
    DatasetNotFoundError,
    FormatError,
    ObjectExistsError,
    ObjectNotFoundError,
    UsageError,
)
from agd.manifest import (
    MANIFEST_KEY,
    Cell,
    Chunk,
    ColumnSpec,
    Manifest,
    generation_key,
    object_key,
)
from agd.storage import Storage, open_storage
from agd.types import Orientation

#: Most attempts to publish a generation while others publish theirs.
MAX_COMMITS = 100


class Draft:
    """A dataset, or new columns of one, that nobody sees until :meth:`commit`.

    A record of the draft (``draft-….json``) is kept in the store with its plan, so that the same step, run again, takes
    up where it was stopped: cells that are there are kept. The same columns with another plan are a conflict.

    Use :meth:`create` or :meth:`extend`, not the constructor.
    """

    def __init__(
        self, storage: Storage, record_key: str, identity: str, name: str, orientation: Orientation,
        columns: Mapping[str, ColumnSpec], base: Manifest | None, resumed: bool,
    ) -> None:
        self.storage = storage
        self.id = identity
        self.name = name
        self.orientation = orientation
        self.columns = dict(columns)
        self.base = base
        self.resumed = resumed
        self._record_key = record_key
        self._late: set[str] = set()

    # Threads and processes share a draft by its attributes, which are small and do not change.

    @staticmethod
    def create(
        url: str | os.PathLike[str], columns: Mapping[str, ColumnSpec], plan: Mapping[str, Any], *,
        orientation: Orientation, name: str | None = None, overwrite: bool = False, **options: Any,
    ) -> Draft:
        """Begin a new dataset.

        Parameters
        ----------
        url : str or path
            Where it will be.
        columns : mapping of str to ColumnSpec
        plan : mapping
            What makes this dataset the one it is: operation, inputs, parameters (JSON). A stopped run with an equal
            plan is taken up again.
        orientation : Orientation
            Of the bases.
        name : str, optional
            First part of the object names. Default: from the url.
        overwrite : bool
            Remove a dataset, or an unfinished one, that is there.

        Raises
        ------
        DatasetExistsError
            There is one already, or an unfinished one with another plan.
        """
        storage = open_storage(url, create=True, **options)
        name = name or name_of(os.fspath(url))
        if overwrite:
            remove(storage)
        elif exists(storage):
            raise DatasetExistsError(f"{storage.url}: there is a dataset already", "choose another, or use --overwrite")
        record: dict[str, Any] = {"id": uuid.uuid4().hex, "name": name, "plan": dict(plan)}
        record, resumed = _begin(storage, "draft-new.json", record)
        return Draft(
            storage, "draft-new.json", record["id"], record["name"], orientation, columns, None, resumed
        )  # fmt: skip

    @staticmethod
    def extend(
        dataset: Dataset, columns: Mapping[str, ColumnSpec], plan: Mapping[str, Any], *, replace: bool = False
    ) -> Draft:
        """Begin new columns of a dataset.

        Parameters
        ----------
        replace : bool
            Take the place of columns of these names; their objects stay for the older generations.

        Raises
        ------
        ConflictError
            The dataset has such a column already (and ``replace`` is off), or somebody writes it with another plan.
        """
        base = load_manifest(dataset.storage)
        target = "+".join(sorted(columns))
        taken = [name for name in columns if name in base.columns]
        if taken and not replace:
            raise ConflictError(
                f"{dataset.url}: there is a column {taken[0]!r} already", "use --overwrite to replace it"
            )
        keys = {
            name: ColumnSpec(c.type, c.codecs, _free_key(base, c.key, name in base.columns), c.dtype)
            for name, c in columns.items()
        }
        record_key = f"draft-{target}.json"
        # A replacement belongs to the generation that it was begun on; new columns to any.
        begun = {"generation": base.generation} if replace else {}
        record = {"id": base.id, "name": base.name, "plan": dict(plan) | begun}
        _, resumed = _begin(dataset.storage, record_key, record)
        return Draft(dataset.storage, record_key, base.id, base.name, base.orientation, keys, base, resumed)

    def declare(self, column: str, spec: ColumnSpec) -> None:
        """Add a column that may turn out to be needed; it is published only if a chunk has a cell of it.

        Declaring a column again changes nothing, so that any thread may do it when it meets the first value.
        """
        if column in self.columns:
            return
        key = spec.key if self.base is None else _free_key(self.base, spec.key, column in self.base.columns)
        self._late.add(column)
        self.columns[column] = ColumnSpec(spec.type, spec.codecs, key, spec.dtype)

    def key(self, column: str, first: int) -> str:
        """Key of the object of a column and chunk."""
        return object_key(self.name, first, self.columns[column].key)

    def encode(self, column: str, first: int, values: AnyColumn) -> tuple[bytes, Cell]:
        """The object of a column of a chunk: CPU work; :meth:`store` puts it where it belongs."""
        return cells.encode_cell(
            values, column, self.columns[column], first=first, dataset_id=self.id, dataset_name=self.name,
            orientation=self.orientation,
        )  # fmt: skip

    def store(self, column: str, first: int, data: bytes) -> None:
        """Put an object into the store: waiting, no CPU work. Storing the same bytes twice is success."""
        key = self.key(column, first)
        try:
            self.storage.put(key, data, exclusive=True)
        except ObjectExistsError:
            with contextlib.suppress(ObjectNotFoundError):
                if self.storage.get(key) == data:
                    return
            # Left by a run that was stopped, perhaps torn: no manifest names it, so it may go.
            self.storage.put(key, data)

    def write(self, column: str, first: int, values: AnyColumn) -> Cell:
        """Encode and store a column of a chunk."""
        data, entry = self.encode(column, first, values)
        self.store(column, first, data)
        return entry

    def finished(self, column: str, first: int, count: int | None = None) -> Cell | None:
        """Entry of a cell that an earlier run of this draft has stored whole, None if there is none.

        The object is read and verified from end to end.
        """
        if not self.resumed:
            return None
        key = self.key(column, first)
        try:
            data = self.storage.get(key)
        except ObjectNotFoundError:
            return None
        try:
            header, values = cells.decode_cell(data, key)
        except FormatError:
            return None
        spec = self.columns[column]
        codecs = Chain.from_json(spec.codecs, key).to_json()
        expected = (self.id, spec.key.split("~")[0], first, spec.type, codecs, spec.dtype)
        h = header
        if (h.dataset_id, h.column, h.first, h.record_type, h.codecs, h.dtype) != expected:
            return None
        if count is not None and header.count != count:
            return None
        return Cell(len(data), cells.header_checksum(data), cells.statistics(spec.type, values))

    def commit(self, chunks: Iterable[Chunk], *, drop: Sequence[str] = (), **fields: Any) -> Dataset:
        """Publish: one new generation of the manifest, all or nothing.

        Parameters
        ----------
        chunks : iterable of Chunk
            With the cells of this draft's columns; for a new dataset these are all cells.
        drop : sequence of str
            Columns that the new generation is without, because the columns of this draft make them wrong.
        **fields
            Further fields of :class:`agd.manifest.Manifest`. For an existing dataset ``steps`` are added to what is
            there; other fields take the place of what is there.

        Raises
        ------
        ConflictError
            Another writer has published one of the columns, or has changed a field that this draft sets.
        """
        ordered = tuple(sorted(chunks, key=lambda c: c.first))
        used = {name for chunk in ordered for name in chunk.cells}
        self.columns = {n: spec for n, spec in self.columns.items() if n not in self._late or n in used}
        for _ in range(MAX_COMMITS):
            manifest = self._new(ordered, fields) if self.base is None else self._merge(ordered, fields, drop)
            key, data = generation_key(manifest.generation), manifest.to_bytes()
            Manifest.from_bytes(data, f"{self.storage.url}/{key}")  # what cannot be read again is never published
            try:
                self.storage.put(key, data, exclusive=True)
            except ObjectExistsError:
                if self.base is None:
                    raise DatasetExistsError(f"{self.storage.url}: another writer has made a dataset here") from None
                continue
            publish_copy(self.storage, manifest)
            self.storage.delete(self._record_key)
            return Dataset(self.storage, manifest)
        raise ConflictError(f"{self.storage.url}: other writers publish all the time", "run the same command again")

    def _new(self, chunks: tuple[Chunk, ...], fields: Mapping[str, Any]) -> Manifest:
        return Manifest(
            id=self.id, name=self.name, generation=1, columns=self.columns, chunks=chunks,
            orientation=self.orientation, **fields,
        )  # fmt: skip

    def _merge(self, chunks: tuple[Chunk, ...], fields: Mapping[str, Any], drop: Sequence[str]) -> Manifest:
        assert self.base is not None
        latest = load_manifest(self.storage)
        replaced = {*self.columns, *drop}
        for name in sorted(replaced):
            if (name in latest.columns) != (name in self.base.columns) or (
                name in latest.columns and latest.columns[name] != self.base.columns[name]
            ):
                raise ConflictError(f"{self.storage.url}: another writer has just published the column {name!r}")
        if [(c.first, c.count) for c in chunks] != [(c.first, c.count) for c in latest.chunks]:
            raise ConflictError(f"{self.storage.url}: the chunks of the dataset are not those that were worked on")
        changes = dict(fields)
        for field, value in fields.items():
            now, before = getattr(latest, field), getattr(self.base, field)
            if field == "steps":
                changes[field] = (*now, *value)
            elif now not in (before, value):
                raise ConflictError(f"{self.storage.url}: another writer has just changed the {field}")
        return latest.next(
            columns={n: spec for n, spec in latest.columns.items() if n not in drop} | self.columns,
            chunks=tuple(
                Chunk(old.first, old.count, _merge_cells(old.cells, new.cells, replaced))
                for old, new in zip(latest.chunks, chunks, strict=True)
            ),
            **changes,
        )

    def abandon(self, keys: Iterable[str] = ()) -> None:
        """Give the draft up: remove its record, and these objects of it. Never raises for what cannot be removed."""
        for key in [*keys, self._record_key]:
            with contextlib.suppress(Exception):
                self.storage.delete(key)
        if self.base is None:
            with contextlib.suppress(OSError, TypeError):
                os.rmdir(self.storage.url)


def _merge_cells(old: Mapping[str, Cell], new: Mapping[str, Cell], replaced: Collection[str]) -> dict[str, Cell]:
    return {name: c for name, c in old.items() if name not in replaced} | dict(new)


def _begin(storage: Storage, key: str, record: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Write the record of a draft, or find that of an earlier run with an equal plan."""
    plan = json.loads(json.dumps(record["plan"]))
    try:
        storage.put(key, json.dumps(record).encode(), exclusive=True)
    except ObjectExistsError:
        try:
            found = json.loads(storage.get(key))
            earlier = found["plan"]
        except (ValueError, KeyError, TypeError):
            found, earlier = {}, None
        if earlier != plan:
            changed = [k for k in plan if not isinstance(earlier, dict) or earlier.get(k) != plan[k]]
            raise ConflictError(
                f"{storage.url}: an unfinished run with other inputs or parameters is here"
                + (f" (they differ in: {', '.join(changed)})" if changed else ""),
                "run it again as it was, or remove it with 'agd gc --drafts', or use --overwrite",
            ) from None
        return found, True
    return record, False


def _free_key(base: Manifest, key: str, replaced: bool) -> str:
    used = {column.key for column in base.columns.values()}
    return f"{key}~{base.generation + 1}" if replaced or key in used else key


def publish_copy(storage: Storage, manifest: Manifest) -> None:
    """Renew ``manifest.json`` after a generation was published; a reader that comes between finds the generation."""
    storage.put(MANIFEST_KEY, manifest.to_bytes())


def exists(storage: Storage) -> bool:
    """Whether a dataset has been published here."""
    try:
        load_manifest(storage)
    except DatasetNotFoundError:
        return False
    except FormatError:
        return True
    return True


_OWN = re.compile(r"(manifest(-\d+)?\.json|draft-.*\.json|.+-\d{12}\.[^/]+|\.tmp-.*)")


def remove(storage: Storage) -> None:
    """Remove every object of the dataset that is here; other files are left alone. Manifests go first."""
    keys = [key for key in list(storage.keys()) if _OWN.fullmatch(key)]
    for key in sorted(keys, key=lambda k: not k.startswith("manifest")):
        storage.delete(key)


def name_of(url: str) -> str:
    """Name of a dataset from its url: the last part, without ``.agd``."""
    name = url.rstrip("/").split("/")[-1].removesuffix(".agd")
    name = re.sub(r"[^A-Za-z0-9._+=@-]", "_", name)
    if not name:
        raise UsageError(f"{url}: has no name", "give a path such as sample.agd")
    return name


def columns_of(names: Sequence[str]) -> dict[str, ColumnSpec]:
    """Default specs of these columns."""
    return {name: cells.default_spec(name) for name in names}
