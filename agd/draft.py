"""Write a dataset: objects first, then one atomic publish of the manifest."""

from __future__ import annotations

import contextlib
import json
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
from agd.change import check_needed, check_read, merge_change
from agd.codecs import Chain, Context, PackedBases
from agd.codecs.profile import Config, choose, independent
from agd.dataset import Dataset
from agd.errors import (
    AlignerError,
    CodecError,
    ConflictError,
    DatasetExistsError,
    DatasetNotFoundError,
    FormatError,
    InputError,
    InputUnreachableError,
    KernelError,
    ObjectExistsError,
    ObjectNotFoundError,
    ReferenceNotFoundError,
    StorageError,
    UsageError,
    VerificationError,
)
from agd.footprint import remove
from agd.generations import is_dataset, load_manifest, publish
from agd.manifest import MANIFEST_KEY, Cell, Chunk, ColumnSpec, Manifest, object_key
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
        writer: str | None = None,
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
        # In the order in which they are removed: while the first is there, nobody has given the draft up.
        self._claims = [claim.NEW] if base is None else [claim.claim_key(column) for column in columns]
        self._writer = writer
        self._late: set[str] = set()

    @staticmethod
    def create(
        url: str | os.PathLike[str] | Storage, columns: Mapping[str, ColumnSpec], plan: Mapping[str, Any], *,
        orientation: Orientation, name: str | None = None, overwrite: bool = False, profile: str | None = None,
        chosen: Collection[str] = (), inputs: Iterable[Dataset] = (), **options: Any,
    ) -> Draft:
        """Begin a new dataset.

        Parameters
        ----------
        url : str, path or Storage
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
            Remove a dataset, or an unfinished one, that is there; other files stay.
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
        given = os.fspath(url) if isinstance(url, (str, os.PathLike)) else url.url
        name = check_target(given, name, inputs)
        storage = open_storage(url, create=True, **options) if isinstance(url, (str, os.PathLike)) else url
        if overwrite:
            remove(storage)
            if storage.size(MANIFEST_KEY) is not None:
                raise UsageError(f"{storage.url}: {MANIFEST_KEY} there is not AGD's", "choose another folder")
        elif exists(storage):
            raise _is_there(storage, plan)
        record: dict[str, Any] = {"id": uuid.uuid4().hex, "name": name, "plan": dict(plan)}
        record, resumed = claim.place(storage, claim.NEW, record)
        if exists(storage):
            # Another writer has published, and removed its claim, since the look above.
            storage.delete(claim.NEW)
            raise DatasetExistsError(f"{storage.url}: another writer has just made a dataset here")
        return Draft(
            storage, record["id"], record["name"], orientation, columns, None, plan, resumed, choices,
            writer=str(record.get("writer", "")),
        )  # fmt: skip

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
                check_needed(dataset.url, base, columns)
            check_read(dataset.url, dataset.manifest, base, reads)
            if reads:
                plan = {**plan, "reads": {n: base.columns[n].key for n in sorted(reads) if n in base.columns}}
            specs, resumed, writer = _claim_columns(storage, base, columns, plan)
            latest = load_manifest(storage)
            if all(latest.columns.get(name) == base.columns.get(name) for name in columns):
                return Draft(
                    storage, base.id, base.name, base.orientation, specs, base, plan, resumed, reads=reads,
                    writer=writer,
                )  # fmt: skip
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
                spec, writer, _ = claim.place_on_column(self.storage, latest, column, spec, self.plan)
                self._writer = self._writer if self._claims else writer
                self._claims.append(claim.claim_key(column))
            self._late.add(column)
            self.columns[column] = spec

    def key(self, column: str, first: int) -> str:
        """Key of the object of a column and chunk."""
        return object_key(self.name, first, self.columns[column].key)

    def encode(
        self, column: str, first: int, values: AnyColumn | PackedBases, *, chains: Sequence[Config] = (),
        context: Context | None = None,
    ) -> tuple[bytes, Cell]:
        """The object of a column of a chunk: CPU work; :meth:`store` puts it where it belongs.

        Parameters
        ----------
        values : Column, Alignments or PackedBases
            Packed bases only where :meth:`keeps_packed` says so.
        chains : sequence of codec chains, optional
            One of them is chosen on a sample. Default: those of the profile, or else the chain of the column.
        context : Context, optional
            For codecs that need other columns of the chunk.
        """
        chains = chains or self.choices.get(column, ())
        spec = self.columns[column]
        if isinstance(values, PackedBases):
            return self._encode(column, first, values, spec, context)
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

    def keeps_packed(self, column: str) -> bool:
        """Whether a column is stored as packed bases, whatever its records are."""
        return not self.choices.get(column) and Chain.from_json(self.columns[column].codecs, column).keeps_packed

    def _encode(
        self, column: str, first: int, values: AnyColumn | PackedBases, spec: ColumnSpec, context: Context | None
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
            Another writer has published one of the columns, or has changed a field that this draft sets; or an equal
            run has given the draft up, and removed what was stored.
        """
        ordered = tuple(sorted(chunks, key=lambda c: c.first))
        used = {name for chunk in ordered for name in chunk.cells}
        self.columns = {n: spec for n, spec in self.columns.items() if n not in self._late or n in used}
        for _ in range(MAX_COMMITS):
            manifest = self._new(ordered, fields) if self.base is None else self._merged(ordered, fields, drop)
            self._check_claim()
            try:
                publish(self.storage, manifest)
            except ObjectExistsError:
                if self.base is None:
                    raise DatasetExistsError(f"{self.storage.url}: another writer has made a dataset here") from None
                continue
            for key in self._claims:
                with contextlib.suppress(StorageError):  # it is published; 'agd gc' finds them
                    self.storage.delete(key)
            return Dataset(self.storage, manifest)
        raise ConflictError(f"{self.storage.url}: other writers publish all the time", "run the same command again")

    def _check_claim(self) -> None:
        """Refuse to publish what an equal run, or ``agd gc --drafts``, may have removed objects of."""
        if self._writer is None or not self._claims or claim.is_held(self.storage, self._claims[0], self._writer):
            return
        if self.base is None and exists(self.storage):
            raise DatasetExistsError(f"{self.storage.url}: another writer has made a dataset here")
        raise ConflictError(
            f"{self.storage.url}: the claim of this run was removed, and with it perhaps what it had stored",
            "run the same command again",
        )

    def _new(self, chunks: tuple[Chunk, ...], fields: Mapping[str, Any]) -> Manifest:
        return Manifest(
            id=self.id, name=self.name, generation=1, columns=self.columns, chunks=chunks,
            orientation=self.orientation, **fields,
        )  # fmt: skip

    def _merged(self, chunks: tuple[Chunk, ...], fields: Mapping[str, Any], drop: Sequence[str]) -> Manifest:
        assert self.base is not None
        return merge_change(
            self.storage.url, self.base, load_manifest(self.storage), self.columns, chunks, fields, drop=drop,
            reads=self._reads,
        )  # fmt: skip

    def failed(self, error: BaseException, *, part: bool = False, final: bool = False) -> None:
        """After an error: remove what is of no use to anybody, and leave what the same step, run again, goes on with.

        After an error of the inputs or of the request, which an equal run would meet too, all goes. What has stopped
        this run alone (an interrupt, a full disk, a lost network) leaves what is done, as a kill does. A draft that
        another run has begun or taken up is left to it, whatever the error.

        Parameters
        ----------
        part : bool
            Other parts of the step may be at work: nothing is removed.
        final : bool
            An equal run would meet this error, too, of whatever kind it is.
        """
        if part:
            return
        with contextlib.suppress(Exception):
            if any(claim.is_shared(self.storage, key) for key in self._claims):
                return
            if final or (isinstance(error, _FINAL) and not isinstance(error, InputUnreachableError)):
                self.abandon()
            elif not self._objects():
                self._remove(())

    def abandon(self) -> None:
        """Give the draft up: remove its claims, then all its objects. Never raises for what cannot be removed.

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
        for key in [*self._claims, *keys]:
            with contextlib.suppress(Exception):
                self.storage.delete(key)
        if self.base is None:
            with contextlib.suppress(OSError, TypeError):
                os.rmdir(self.storage.url)


#: Errors of the inputs or of the request: every run with the same ones meets them.
_FINAL = (
    InputError, UsageError, FormatError, KernelError, ReferenceNotFoundError, VerificationError, ConflictError,
    AlignerError,
)  # fmt: skip


def _is_there(storage: Storage, plan: Mapping[str, Any]) -> DatasetExistsError:
    """Why a dataset cannot be made where there is one."""
    found = claim.read(storage, claim.NEW)
    # The claim of a writer that was stopped right after it had published.
    if found and found.get("plan") == json.loads(json.dumps(plan)) and found.get("id") == load_manifest(storage).id:
        return DatasetExistsError(
            f"{storage.url}: the dataset is there, whole, made by an equal run", "there is nothing left to do"
        )
    return DatasetExistsError(f"{storage.url}: there is a dataset already", "choose another, or use --overwrite")


def _claim_columns(
    storage: Storage, base: Manifest, columns: Mapping[str, ColumnSpec], plan: Mapping[str, Any]
) -> tuple[dict[str, ColumnSpec], bool, str | None]:
    """Claims on columns: their specs, whether an earlier run has begun, and the mark of the first claim."""
    specs: dict[str, ColumnSpec] = {}
    fresh: list[str] = []
    marks: list[str] = []
    try:
        for name, spec in columns.items():
            specs[name], writer, found = claim.place_on_column(storage, base, name, spec, plan)
            marks.append(writer)
            if not found:
                fresh.append(claim.claim_key(name))
    except ConflictError:
        for key in fresh:
            storage.delete(key)
        raise
    return specs, len(fresh) < len(columns), next(iter(marks), None)


def exists(storage: Storage) -> bool:
    """Whether a dataset has been published here."""
    return is_dataset(storage)


def columns_of(names: Sequence[str]) -> dict[str, ColumnSpec]:
    """Default specs of these columns."""
    return {name: cells.default_spec(name) for name in names}
