"""Read a dataset."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from agd import cell as cells
from agd.batch import I64, U8, AnyColumn, Batch, Column
from agd.chunk_columns import ChunkColumns
from agd.chunkfile import HEADER_SIZE, Header, parse_header
from agd.codecs import Chain, Context, PackedBases, needed_columns
from agd.embedded import embedded_reference, lay_out
from agd.errors import ColumnError, FormatError, ObjectNotFoundError, UsageError
from agd.generations import is_dataset, load_manifest
from agd.genome import GenomeSource
from agd.kernels.ragged import concat_batches
from agd.manifest import Chunk, Manifest
from agd.marks import fold_marks, is_marked
from agd.run import Runner, SerialRunner
from agd.storage import Storage, open_storage
from agd.tabular import Tabular
from agd.types import Orientation, Reference
from agd.urls import Url, as_text

if TYPE_CHECKING:
    from agd.frame import Frame

class Dataset(Tabular):
    """One generation of a dataset, read only.

    Opening reads the manifest and nothing else. A dataset may be pickled and sent to another process or machine.

    Parameters
    ----------
    storage : Storage
        Where its objects are.
    manifest : Manifest
    reference : str, optional
        FASTA file of the reference, where bases are stored as differences to it; see :class:`agd.genome.GenomeSource`
        for the other places that are looked into.
    """

    def __init__(self, storage: Storage, manifest: Manifest, reference: Url | None = None) -> None:
        self.storage = storage
        self.manifest = manifest
        hints = [step.get("parameters", {}).get("reference") for step in reversed(manifest.steps)]
        embedded = embedded_reference(manifest)
        self.genome = GenomeSource(
            manifest.references, storage.url, as_text(reference), [hint for hint in hints if isinstance(hint, str)],
            functools.partial(_load_embedded, storage, embedded, manifest.references) if embedded else None,
        )

    @staticmethod
    def open(
        url: Url, *, generation: int | None = None, reference: Url | None = None, **options: Any
    ) -> Dataset:
        """Open the dataset at a url or path.

        Parameters
        ----------
        url : str or path
            ``s.agd``, ``s3://bucket/s.agd``, …; ``s.agd@3`` opens generation 3.
        generation : int, optional
            Default: the newest.
        reference : str or path, optional
            FASTA file of the reference, where bases are stored as differences to it.
        **options
            For fsspec: credentials, ``endpoint_url``, …. A local path has none.

        Returns
        -------
        Dataset

        Raises
        ------
        DatasetNotFoundError
            There is none.
        FormatError
            Its manifest is damaged.
        UsageError
            The url or the options cannot be understood.
        """
        url = as_text(url)
        base, at, number = url.rpartition("@")
        storage = open_storage(url, **options)
        if at and number.isdecimal() and generation is None and not is_dataset(storage):
            storage, generation = open_storage(base, **options), int(number)
        return Dataset(storage, load_manifest(storage, generation), reference)

    @property
    def url(self) -> str:
        """Where the dataset is."""
        return self.storage.url

    @property
    def urls(self) -> tuple[str, ...]:
        """Where it is read from: its url, or those of the datasets that it joins."""
        return (self.url,)

    @property
    def name(self) -> str:
        """Name of the dataset: the first part of its object names."""
        return self.manifest.name

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self.manifest.columns)

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        """Chunks in order."""
        return self.manifest.chunks

    def __len__(self) -> int:
        return self.manifest.records

    def __repr__(self) -> str:
        from agd import display

        return display.as_text(self.url, self.manifest)

    def _repr_html_(self) -> str:
        from agd import display

        return display.as_html(self.url, self.manifest)

    def frame(self) -> Frame:
        """A lazy view of all columns and records; see :mod:`agd.tabular`.

        Returns
        -------
        Frame
        """
        from agd.frame import Frame

        return Frame(self, tuple(self.columns))

    def resolve(self, columns: Sequence[str] | None) -> list[str]:
        """Check names of columns.

        Parameters
        ----------
        columns : sequence of str, or None
            None stands for all.

        Returns
        -------
        list of str
            Each name once, in the order given.

        Raises
        ------
        ColumnError
            A column is not there, or this is one name and no list.
        """
        if columns is None:
            return self.columns
        if isinstance(columns, str):
            raise ColumnError(f"{self.url}: {columns!r} is no list of columns", f"give a list: [{columns!r}]")
        names = list(dict.fromkeys(columns))
        for name in names:
            if name not in self.manifest.columns:
                raise ColumnError(f"{self.url}: there is no column {name!r}", f"there are: {', '.join(self.columns)}")
        return names

    def fetch(self, chunk: Chunk, columns: Sequence[str] | None = None) -> dict[str, bytes]:
        """Stored objects of a chunk by column, as they are; what :meth:`decode` takes.

        Parameters
        ----------
        chunk : Chunk
            One of ``chunks``.
        columns : sequence of str, optional
            Default: all. Columns that are needed to decode these are fetched with them.

        Returns
        -------
        dict of str to bytes
            A column that the chunk has no object of is left out: its fields are null.

        Raises
        ------
        ColumnError
            A column is not there.
        FormatError
            An object that the manifest names is missing.
        """
        wanted = self.resolve(columns)
        if any(map(is_marked, wanted)) and "duplicates" in self.manifest.columns and "duplicates" not in wanted:
            wanted.append("duplicates")
        for name in wanted:  # grows while it is walked: what the codecs of a column need may need others
            wanted += [n for n in needed_columns(self.manifest.columns[name].codecs, self.url) if n not in wanted]
        blobs = {}
        for name in wanted:
            if name in chunk.cells:
                key = self.manifest.object_key(name, chunk.first)
                try:
                    blobs[name] = self.storage.get(key)
                except ObjectNotFoundError as error:
                    raise FormatError(f"{self.url}/{key}", "object", "is missing") from error
        return blobs

    def chunk_header(self, chunk: Chunk, column: str) -> Header:
        """Header of the stored object of a column of a chunk; nothing else of it is read.

        Parameters
        ----------
        chunk : Chunk
            One of ``chunks``.
        column : str

        Returns
        -------
        Header

        Raises
        ------
        FormatError
            It is damaged.
        """
        key = self.manifest.object_key(column, chunk.first)
        return parse_header(self.storage.get(key, 0, HEADER_SIZE), f"{self.url}/{key}")

    def decode(self, chunk: Chunk, blobs: dict[str, bytes], columns: Sequence[str] | None = None) -> Batch:
        """Columns of a chunk from its stored objects; the marks of the duplicates column are folded into the flags.

        Parameters
        ----------
        chunk : Chunk
            One of ``chunks``.
        blobs : dict of str to bytes
            From :meth:`fetch`.
        columns : sequence of str, optional
            Default: all.

        Returns
        -------
        Batch

        Raises
        ------
        FormatError
            An object is damaged, or is not the one that the manifest means.
        """
        wanted = self.resolve(columns)
        context = self.context(chunk, blobs)
        loaded = {name: context.whole(name) for name in blobs if name in wanted or name == "duplicates"}
        for name in wanted:
            if name not in loaded:
                loaded[name] = cells.null_column(self.manifest.columns[name], chunk.count)
        marks = loaded.get("duplicates")
        if isinstance(marks, Column) and "duplicates" in chunk.cells:
            loaded = fold_marks(loaded, marks)
        return Batch(chunk.first, {name: loaded[name] for name in wanted})

    def decode_column(self, chunk: Chunk, name: str, blobs: dict[str, bytes]) -> AnyColumn:
        """One column of a chunk exactly as it was stored: the marks of duplicates are not folded in.

        Parameters
        ----------
        chunk : Chunk
            One of ``chunks``.
        name : str
            The column.
        blobs : dict of str to bytes
            From :meth:`fetch`.

        Returns
        -------
        Column or Alignments

        Raises
        ------
        FormatError
            The object is damaged, or is not the one that the manifest means.
        """
        if name not in blobs:
            return cells.null_column(self.manifest.columns[name], chunk.count)
        return self.context(chunk, blobs).whole(name)

    def context(self, chunk: Chunk, blobs: dict[str, bytes]) -> ChunkColumns:
        """What codecs may know of a chunk, from its stored objects; see :meth:`fetch`.

        Parameters
        ----------
        chunk : Chunk
            One of ``chunks``.
        blobs : dict of str to bytes
            From :meth:`fetch`.

        Returns
        -------
        ChunkColumns
        """
        return ChunkColumns(self.orientation, self.genome.load, functools.partial(self._load, chunk, blobs))

    def decode_packed(self, chunk: Chunk, name: str, blobs: dict[str, bytes]) -> PackedBases:
        """See :meth:`decode_column`; a column of bases, of which what is stored packed is not unpacked on the way."""
        if name in blobs:
            where = f"{self.url}/{self.manifest.object_key(name, chunk.first)}"
            header, bases = cells.decode_packed(blobs[name], where)
            if bases is not None:
                cells.check_object(header, where, blobs[name], self.manifest, chunk, name)
                return bases
        return PackedBases.of(Batch(chunk.first, {name: self.decode_column(chunk, name, blobs)}).ragged(name))

    def _load(self, chunk: Chunk, blobs: dict[str, bytes], name: str, context: Context) -> tuple[Chain, AnyColumn]:
        """Codecs and core of a column: without the steps that need other columns and come after decoding."""
        if name not in chunk.cells and name in self.columns:
            return Chain([]), cells.null_column(self.manifest.columns[name], chunk.count)
        if name not in blobs:
            raise ColumnError(f"{self.url}: the column {name!r} of the chunk is needed and was not read")
        where = f"{self.url}/{self.manifest.object_key(name, chunk.first)}"
        header, column = cells.decode_cell(blobs[name], where, context, core=True)
        cells.check_object(header, where, blobs[name], self.manifest, chunk, name)
        return Chain.from_json(header.codecs, where), column

    def read(self, chunk: Chunk, columns: Sequence[str] | None = None) -> Batch:
        """Columns of one chunk.

        Parameters
        ----------
        chunk : Chunk
            One of ``chunks``.
        columns : sequence of str, optional
            Default: all.

        Returns
        -------
        Batch

        Raises
        ------
        ColumnError
            A column is not there.
        FormatError
            An object is missing or damaged.
        """
        wanted = self.resolve(columns)
        return self.decode(chunk, self.fetch(chunk, wanted), wanted)

    def batches(
        self, columns: Sequence[str] | None = None, *, start: int = 0, stop: int | None = None,
        runner: Runner | None = None, ahead: int | None = None,
    ) -> Iterator[Batch]:
        """Records in order, one batch a chunk.

        Parameters
        ----------
        columns : sequence of str, optional
            Only the objects of these columns are fetched. Default: all.
        start, stop : int
            Ordinals of the records wanted (0-based, half-open).
        runner : Runner, optional
            Fetches and decodes chunks ahead. Default: one after the other.
        ahead : int, optional
            Chunks in memory at one time.

        Raises
        ------
        UsageError
            ``start`` or ``stop`` is negative: ordinals count from the first record.

        Returns
        -------
        iterator of Batch
            ``first`` is the ordinal of its first record.

        Examples
        --------
        >>> ds = agd.open("sorted.agd")
        >>> for batch in ds.batches(["results"]):
        ...     alignments = batch.alignments()
        ...     print(len(batch), alignments.position.dtype, alignments.flag.dtype)
        600 int64 uint16
        """
        wanted, runner = self.resolve(columns), runner or SerialRunner()
        if min(start, start if stop is None else stop) < 0:
            raise UsageError(f"{self.url}: records {start} to {stop}", "give ordinals of 0 or more, or take ds[-10:]")
        start, stop, _ = slice(start, stop).indices(len(self))
        chosen = [c for c in self.chunks if c.first < stop and c.first + c.count > start]

        def fetch(chunk: Chunk) -> tuple[Chunk, dict[str, bytes]]:
            return chunk, self.fetch(chunk, wanted)

        def decode(fetched: tuple[Chunk, dict[str, bytes]]) -> Batch:
            chunk, blobs = fetched
            batch = self.decode(chunk, blobs, wanted)
            if chunk.first >= start and chunk.first + chunk.count <= stop:
                return batch
            return batch.slice(max(0, start - chunk.first), min(chunk.count, stop - chunk.first))

        return runner.map(decode, runner.map(fetch, chosen, on="io", ahead=ahead), on="cpu", ahead=ahead)

    def __getitem__(self, records: int | slice) -> Batch:
        """All columns of some records: ``ds[7]``, ``ds[1000:1010]``.

        Examples
        --------
        >>> batch = agd.open("sorted.agd")[100:110]
        >>> batch.first, len(batch)
        (100, 10)
        """
        if not isinstance(records, slice):
            records = operator.index(records)
            if not -len(self) <= records < len(self):
                raise IndexError(f"record {records} of {len(self)}")
            records = slice(records % len(self), records % len(self) + 1)
        start, stop, step = records.indices(len(self))
        stop = max(start, stop)
        if step != 1:
            raise IndexError("records are read in order: a slice has no step")
        batches = list(self.batches(start=start, stop=stop))
        if not batches:
            return Batch(start, {name: cells.null_column(self.manifest.columns[name], 0) for name in self.columns})
        return concat_batches(batches)

    def __iter__(self) -> Iterator[Batch]:
        """Records in order, each as ``ds[i]`` gives it; a chunk is decoded once (:meth:`batches` is far faster)."""
        for batch in self.batches():
            yield from (batch.slice(i, i + 1) for i in range(len(batch)))

    def __contains__(self, item: object) -> bool:
        raise TypeError("no item is looked for in the records of a dataset: names of columns are in 'columns'")

    def arrow_reader(
        self, columns: Sequence[str] | None = None, *, start: int = 0, stop: int | None = None,
        runner: Runner | None = None,
    ) -> Any:
        """Records as a ``pyarrow.RecordBatchReader``, one record batch a chunk; see :meth:`batches`.

        Parameters
        ----------
        columns : sequence of str, optional
            Default: all.
        start, stop : int
            Ordinals of the records wanted (0-based, half-open).
        runner : Runner, optional
            Fetches and decodes chunks ahead. Default: one after the other.

        Returns
        -------
        pyarrow.RecordBatchReader
            Types as those of :meth:`to_arrow`. Can be read once.
        """
        from agd import arrow

        wanted = self.resolve(columns)
        specs = self.manifest.columns
        types = arrow.schema({name: (specs[name].type, specs[name].dtype) for name in wanted})
        batches = self.batches(wanted, start=start, stop=stop, runner=runner)
        return arrow.reader(batches, types, self.manifest.references)

    def to_arrow(
        self, columns: Sequence[str] | None = None, *, start: int = 0, stop: int | None = None,
        runner: Runner | None = None,
    ) -> Any:
        """Records as a ``pyarrow.Table``.

        Parameters
        ----------
        columns : sequence of str, optional
            Default: all.
        start, stop : int
            Ordinals of the records wanted (0-based, half-open).
        runner : Runner, optional
            Decodes chunks ahead. Default: one after the other.

        Returns
        -------
        pyarrow.Table
            Text as ``large_string``; alignments as a struct with 0-based positions, null where SAM has none.
        """
        return self.arrow_reader(columns, start=start, stop=stop, runner=runner).read_all()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Arrow PyCapsule stream: ``polars.DataFrame(ds)``, ``pyarrow.table(ds)``, ``duckdb.sql("from ds")``."""
        return self.arrow_reader().__arrow_c_stream__(requested_schema)

    @property
    def orientation(self) -> Orientation:
        """Strand that the bases are written on."""
        return self.manifest.orientation


def open_inside(storage: Storage, name: str) -> Dataset:
    """The dataset of a name in the folder of another one, such as an embedded reference; opened as that one was."""
    place = storage.inside(name)
    return Dataset(place, load_manifest(place))


def _load_embedded(storage: Storage, name: str, references: Sequence[Reference]) -> tuple[U8, I64]:
    inner = open_inside(storage, name)
    if inner.manifest.references != tuple(references):
        raise FormatError(inner.url, "references", "are not those of the dataset around it")
    return lay_out(inner.url, inner.batches(["bases", "metadata"]), references)
