"""Write a dataset: objects first, then one atomic publish of the manifest."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agd import cell as cells
from agd import claim
from agd.batch import AnyColumn
from agd.codecs import Chain, Context, needed_columns
from agd.codecs.profile import Config, choose, independent
from agd.dataset import Dataset
from agd.embedded import EMBEDDED
from agd.errors import (
    AgdError,
    AlignerError,
    CodecError,
    ConflictError,
    DatasetExistsError,
    DatasetNotFoundError,
    FormatError,
    InputError,
    KernelError,
    ObjectExistsError,
    ObjectNotFoundError,
    ReferenceNotFoundError,
    UsageError,
    VerificationError,
)
from agd.generations import is_dataset, load_manifest
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
from agd.target import check_target
from agd.types import Orientation

#: Two threads may meet the first value of a column at one time.
_DECLARING = threading.Lock()

#: Most attempts to publish a generation while others publish theirs.
MAX_COMMITS = 100


class Draft:
    """A dataset, or new columns of one, that nobody sees until :meth:`commit`.

    Claims (:mod:`agd.claim`) with its plan are kept in the store, so that the same step, run again, takes up where it
    was stopped: cells that are there are kept. The same dataset or column with another plan is a conflict.

    Use :meth:`create` or :meth:`extend`, not the constructor.
    """

    def __init__(
        self, storage: Storage, identity: str, name: str, orientation: Orientation, columns: Mapping[str, ColumnSpec],
        base: Manifest | None, plan: Mapping[str, Any], resumed: bool,
        choices: Mapping[str, Sequence[Config]] | None = None, reads: Collection[str] = (),
    ) -> None:
        self.storage = storage
        self.id = identity
        self.name = name
        self.orientation = orientation
        # As the headers of objects have them, with versions and all settings.
        self.columns = {n: replace(c, codecs=Chain.from_json(c.codecs, n).to_json()) for n, c in columns.items()}
        self.base = base
        self.resumed = resumed
        self.plan = dict(plan)
        self.choices = dict(choices or {})
        self._reads = frozenset(reads)
        self._claims = {claim.NEW} if base is None else {claim.claim_key(column) for column in columns}
        self._late: set[str] = set()

    @staticmethod
    def create(
        url: str | os.PathLike[str], columns: Mapping[str, ColumnSpec], plan: Mapping[str, Any], *,
        orientation: Orientation, name: str | None = None, overwrite: bool = False, profile: str | None = None,
        chosen: Collection[str] = (), inputs: Iterable[Dataset] = (), **options: Any,
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
        profile : str, optional
            Columns are stored with the codecs of a profile (:mod:`agd.codecs.profile`), which are chosen on a sample of
            every chunk. Default: with those of ``columns``.
        chosen : collection of str
            Columns that the profile leaves alone.
        inputs : iterable of Dataset
            What it is made of.

        Raises
        ------
        UsageError
            There is no such profile, the name is none for objects, or an input is there.
        DatasetExistsError
            There is one already.
        ConflictError
            There is an unfinished one with another plan.
        """
        choices: dict[str, list[Config]] = {}
        if profile is not None:
            choices = {n: independent(profile, n, c.type) for n, c in columns.items() if n not in chosen}
            columns = {n: replace(c, codecs=choices[n][0]) if n in choices else c for n, c in columns.items()}
            plan = {**plan, "profile": profile}
        name = check_target(os.fspath(url), name, inputs)
        storage = open_storage(url, create=True, **options)
        if overwrite:
            remove(storage)
        elif exists(storage):
            raise DatasetExistsError(f"{storage.url}: there is a dataset already", "choose another, or use --overwrite")
        record: dict[str, Any] = {"id": uuid.uuid4().hex, "name": name, "plan": dict(plan)}
        record, resumed = claim.place(storage, claim.NEW, record)
        if exists(storage):
            # Another writer has published, and removed its claim, since the look above.
            storage.delete(claim.NEW)
            raise DatasetExistsError(f"{storage.url}: another writer has just made a dataset here")
        return Draft(storage, record["id"], record["name"], orientation, columns, None, plan, resumed, choices)

    @staticmethod
    def extend(
        dataset: Dataset, columns: Mapping[str, ColumnSpec], plan: Mapping[str, Any], *, replace: bool = False,
        same_records: bool = False, reads: Collection[str] = (),
    ) -> Draft:
        """Begin new columns of a dataset.

        Parameters
        ----------
        replace : bool
            Take the place of columns of these names; their objects stay for the older generations.
        same_records : bool
            The new columns hold the same records as those that they replace.
        reads : collection of str
            Columns of ``dataset``, which may be an older generation, that the new ones are made of: the newest
            generation must have the same, now and when the new ones are published.

        Raises
        ------
        UsageError
            Another column is stored as differences to one that would be replaced.
        ConflictError
            The dataset has such a column already (and ``replace`` is off), somebody writes it with another plan, or a
            column that is read is not that of the newest generation.
        """
        storage = dataset.storage
        for _ in range(MAX_COMMITS):
            base = load_manifest(storage)
            taken = [name for name in columns if name in base.columns]
            if taken and not replace:
                raise ConflictError(
                    f"{dataset.url}: there is a column {taken[0]!r} already", "use --overwrite to replace it"
                )
            if not same_records:
                _check_needed(dataset.url, base, columns)
            _check_read(dataset.url, dataset.manifest, base, reads)
            if reads:
                plan = {**plan, "reads": {n: base.columns[n].key for n in sorted(reads) if n in base.columns}}
            specs, resumed = _claim_columns(storage, base, columns, plan)
            latest = load_manifest(storage)
            if all(latest.columns.get(name) == base.columns.get(name) for name in columns):
                return Draft(storage, base.id, base.name, base.orientation, specs, base, plan, resumed, reads=reads)
            # Another writer has published one of them, and removed its claim, since the look above.
            for name in columns:
                storage.delete(claim.claim_key(name))
        raise ConflictError(f"{storage.url}: other writers publish all the time", "run the same command again")

    def declare(self, column: str, spec: ColumnSpec) -> None:
        """Add a column that may turn out to be needed; it is published only if a chunk has a cell of it.

        Declaring a column again changes nothing, so that any thread may do it when it meets the first value.
        """
        with _DECLARING:
            if column in self.columns:
                return
            if self.base is not None:
                latest = load_manifest(self.storage)
                if latest.columns.get(column) != self.base.columns.get(column):
                    raise ConflictError(f"{self.storage.url}: another writer has just published the column {column!r}")
                spec, _ = claim.place_on_column(self.storage, latest, column, spec, self.plan)
                self._claims.add(claim.claim_key(column))
            self._late.add(column)
            self.columns[column] = spec

    def key(self, column: str, first: int) -> str:
        """Key of the object of a column and chunk."""
        return object_key(self.name, first, self.columns[column].key)

    def encode(
        self, column: str, first: int, values: AnyColumn, *, chains: Sequence[Config] = (),
        context: Context | None = None,
    ) -> tuple[bytes, Cell]:
        """The object of a column of a chunk: CPU work; :meth:`store` puts it where it belongs.

        Parameters
        ----------
        chains : sequence of codec chains, optional
            One of them is chosen on a sample. Default: those of the profile, or else the chain of the column.
        context : Context, optional
            For codecs that need other columns of the chunk.
        """
        chains = chains or self.choices.get(column, ())
        spec = self.columns[column]
        if len(chains) == 1:
            spec = replace(spec, codecs=chains[0])
        elif chains:
            spec = replace(spec, codecs=choose(chains, values, context))
        try:
            return self._encode(column, first, values, spec, context)
        except CodecError:
            if not chains or spec.codecs == chains[0]:
                raise
            # The sample did not show what this codec is not made for; the first takes any records.
            return self._encode(column, first, values, replace(spec, codecs=chains[0]), context)

    def _encode(
        self, column: str, first: int, values: AnyColumn, spec: ColumnSpec, context: Context | None
    ) -> tuple[bytes, Cell]:
        return cells.encode_cell(
            values, column, spec, first=first, dataset_id=self.id, dataset_name=self.name,
            orientation=self.orientation, context=context,
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
            if self._is_published(column):
                raise ConflictError(
                    f"{self.storage.url}: another writer has just published the column {column!r}"
                ) from None
            # Left by a run that was stopped, perhaps torn: no manifest names it, so it may go.
            self.storage.put(key, data)

    def _is_published(self, column: str) -> bool:
        try:
            latest = load_manifest(self.storage)
        except DatasetNotFoundError:
            return False
        return self.columns[column].key in {spec.key for spec in latest.columns.values()}

    def write(self, column: str, first: int, values: AnyColumn) -> Cell:
        """Encode and store a column of a chunk."""
        data, entry = self.encode(column, first, values)
        self.store(column, first, data)
        return entry

    def finished(
        self, column: str, first: int, count: int | None = None, *, chains: Sequence[list[dict[str, Any]]] = ()
    ) -> Cell | None:
        """Entry of a cell that an earlier run of this draft has stored whole, None if there is none.

        The object is read and verified from end to end; one that needs other columns to be decoded counts as none.
        ``chains`` are those that it may be stored with besides the one of the column.
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
        possible = (spec.codecs, *chains, *self.choices.get(column, ()))
        codecs = [Chain.from_json(chain, key).to_json() for chain in possible]
        expected = (self.id, spec.key.split("~")[0], first, spec.type, spec.dtype)
        h = header
        if (h.dataset_id, h.column, h.first, h.record_type, h.dtype) != expected or h.codecs not in codecs:
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
            try:
                publish(self.storage, manifest)
            except ObjectExistsError:
                if self.base is None:
                    raise DatasetExistsError(f"{self.storage.url}: another writer has made a dataset here") from None
                continue
            for key in self._claims:
                self.storage.delete(key)
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
        _check_read(self.storage.url, self.base, latest, self._reads)
        if [(c.first, c.count) for c in chunks] != [(c.first, c.count) for c in latest.chunks]:
            raise ConflictError(f"{self.storage.url}: the chunks of the dataset are not those that were worked on")
        changes = dict(fields)
        for field, value in fields.items():
            now, before = getattr(latest, field), getattr(self.base, field)
            if field == "steps":
                changes[field] = (*now, *value)
            elif now not in (before, value):
                raise ConflictError(f"{self.storage.url}: another writer has just changed the {field}")
        columns = {n: spec for n, spec in latest.columns.items() if n not in drop} | self.columns
        return latest.next(
            columns=columns,
            retired=latest.retiring(columns),
            chunks=tuple(
                Chunk(old.first, old.count, _merge_cells(old.cells, new.cells, replaced))
                for old, new in zip(latest.chunks, chunks, strict=True)
            ),
            **changes,
        )

    def failed(self, error: BaseException, *, part: bool = False) -> None:
        """After an error: remove what is of no use to anybody, and leave what the same step, run again, goes on with.

        Every equal run meets an error of the inputs or of the request, so all goes. What has stopped this run alone (an
        interrupt, a full disk, a lost network) leaves what is done, as a kill does; an equal run may be at work on it.

        Parameters
        ----------
        part : bool
            Other parts of the step may be at work: nothing is removed.
        """
        if part:
            return
        with contextlib.suppress(Exception):
            shared = any(claim.is_shared(self.storage, key) for key in self._claims)
            if isinstance(error, _FINAL) or (isinstance(error, AlignerError) and not shared):
                self.abandon()
            elif not shared and not self._objects():
                self._remove(())

    def abandon(self) -> None:
        """Give the draft up: remove its claims and all its objects. Never raises for what cannot be removed.

        Objects that have been published meanwhile, by an equal run, stay.
        """
        with contextlib.suppress(Exception):
            self._remove(() if any(map(self._is_published, self.columns)) else self._objects())

    def _objects(self) -> list[str]:
        """Keys of the objects of this draft, a listing: no generation has ever used the keys of its columns."""
        columns = {spec.key for spec in self.columns.values()}
        found = re.compile(re.escape(self.name) + r"-\d{12}\.(.+)")
        return [key for key in list(self.storage.keys()) if (m := found.fullmatch(key)) and m[1] in columns]

    def _remove(self, keys: Iterable[str]) -> None:
        for key in [*keys, *self._claims]:
            with contextlib.suppress(Exception):
                self.storage.delete(key)
        if self.base is None:
            with contextlib.suppress(OSError, TypeError):
                os.rmdir(self.storage.url)


#: Errors of the inputs or of the request: every run with the same ones meets them.
_FINAL = (
    InputError, UsageError, FormatError, KernelError, ReferenceNotFoundError, VerificationError, ConflictError,
)  # fmt: skip


def _check_needed(url: str, base: Manifest, replaced: Collection[str]) -> None:
    for name, spec in base.columns.items():
        needed = [n for n in needed_columns(spec.codecs, url) if n in replaced and n in base.columns]
        if needed and name not in replaced:
            raise UsageError(
                f"{url}: the column {name!r} cannot be read without {needed[0]!r}, which would be replaced",
                f"store it for itself first: agd recompress {url} --column {name} --profile fast",
            )


def _check_read(url: str, read: Manifest, newest: Manifest, columns: Iterable[str]) -> None:
    for name in columns:
        if read.columns.get(name) != newest.columns.get(name):
            raise ConflictError(
                f"{url}: the column {name!r} of generation {read.generation}, which is read, is not that of generation "
                f"{newest.generation}, the newest",
                f"run it on the newest one, or make the older the newest: agd checkout {url}@{read.generation}",
            )


def _merge_cells(old: Mapping[str, Cell], new: Mapping[str, Cell], replaced: Collection[str]) -> dict[str, Cell]:
    return {name: c for name, c in old.items() if name not in replaced} | dict(new)


def _claim_columns(
    storage: Storage, base: Manifest, columns: Mapping[str, ColumnSpec], plan: Mapping[str, Any]
) -> tuple[dict[str, ColumnSpec], bool]:
    specs: dict[str, ColumnSpec] = {}
    fresh: list[str] = []
    try:
        for name, spec in columns.items():
            specs[name], found = claim.place_on_column(storage, base, name, spec, plan)
            if not found:
                fresh.append(claim.claim_key(name))
    except ConflictError:
        for key in fresh:
            storage.delete(key)
        raise
    return specs, len(fresh) < len(columns)


def publish(storage: Storage, manifest: Manifest) -> None:
    """Publish a generation: ObjectExistsError if its number is taken, FormatError if it could not be read again."""
    key, data = generation_key(manifest.generation), manifest.to_bytes()
    Manifest.from_bytes(data, f"{storage.url}/{key}")
    storage.put(key, data, exclusive=True)
    publish_copy(storage, manifest)


def publish_copy(storage: Storage, manifest: Manifest) -> None:
    """Renew ``manifest.json`` after a generation was published; a reader that comes between finds the generation."""
    storage.put(MANIFEST_KEY, manifest.to_bytes())


def exists(storage: Storage) -> bool:
    """Whether a dataset has been published here."""
    return is_dataset(storage)


#: Keys that are AGD's; whatever else lies in the folder of a dataset is left alone.
OWN_KEYS = re.compile(r"(manifest(-\d+)?\.json|draft-.*\.json|.+-\d{12}\.[^/]+|\.tmp-.*)")


def remove(storage: Storage) -> None:
    """Remove every object of the dataset that is here; other files are left alone. Manifests go first."""
    keys = [key for key in list(storage.keys()) if OWN_KEYS.fullmatch(key)]
    for name in _embedded(storage):
        inner = open_storage(f"{storage.url}/{name}")
        remove(inner)
        with contextlib.suppress(OSError):
            os.rmdir(inner.url)
    for key in sorted(keys, key=lambda k: not k.startswith("manifest")):
        storage.delete(key)


def _embedded(storage: Storage) -> set[str]:
    """Embedded references of the dataset that is here, if there is one that can be read."""
    try:
        steps = load_manifest(storage).steps
    except AgdError:
        return set()
    return {name for step in steps if EMBEDDED.fullmatch(name := str(step.get("parameters", {}).get("embedded", "")))}


def columns_of(names: Sequence[str]) -> dict[str, ColumnSpec]:
    """Default specs of these columns."""
    return {name: cells.default_spec(name) for name in names}
