"""A lazy view of a dataset: which fields of which records; read when it is asked for."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from agd.batch import I64, Batch, Bool, Column
from agd.errors import ColumnError, UsageError
from agd.kernels.ragged import take_batch
from agd.manifest import Chunk, Manifest
from agd.marks import unmapped_flags
from agd.run import Runner, SerialRunner
from agd.selection import Selection, parse_flags, parse_region
from agd.tabular import Tabular
from agd.tags import all_tags, names_and_kinds, tag_numbers, tag_text
from agd.types import RecordType

#: What is shown of a view in a notebook: most records, and most chunks that are read for them.
SHOWN_RECORDS, SHOWN_CHUNKS = 10, 4

#: Name of the field that tells where in the dataset a record is; no column may have it.
ORDINAL = "ordinal"


class Source(Protocol):
    """What a view is of: a dataset."""

    manifest: Manifest

    @property
    def url(self) -> str:
        """Where it is."""
        ...

    def fetch(self, chunk: Chunk, columns: Sequence[str] | None = None) -> dict[str, bytes]:
        """Stored objects of a chunk."""
        ...

    def decode(self, chunk: Chunk, blobs: dict[str, bytes], columns: Sequence[str] | None = None) -> Batch:
        """Columns of a chunk."""
        ...


@dataclass(frozen=True, eq=False)
class Frame(Tabular):
    """Fields of some records of a dataset; made by ``select``, ``filter``, ``head`` and ``sample``.

    Immutable; may be pickled, which takes along the manifest and no records.

    Attributes
    ----------
    source : Source
        The dataset.
    fields : tuple of str
        As of :meth:`agd.tabular.Tabular.select`.
    conditions : tuple of Selection
        All of them hold.
    values : tuple of (str, tuple)
        Tags, and the values that each may have.
    ordinals : ndarray of int64, or None
        Ascending: the only records that are looked at.
    limit : int or None
        Most records.
    kinds : tuple of (str, frozenset of str)
        Kinds of the values of tags, as far as all of them are known.
    reach : int or None
        Most chunks that are read; what a notebook shows is bounded so.
    """

    source: Source
    fields: tuple[str, ...]
    conditions: tuple[Selection, ...] = ()
    values: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    ordinals: I64 | None = None
    limit: int | None = None
    kinds: tuple[tuple[str, frozenset[str]], ...] = ()
    reach: int | None = None

    def frame(self) -> Frame:
        """This view.

        Returns
        -------
        Frame
        """
        return self

    @property
    def columns(self) -> list[str]:
        """Names of the fields."""
        return list(self.fields)

    def __repr__(self) -> str:
        asked = ["filtered"] if self.conditions or self.values else []
        asked += [f"{len(self.ordinals):,} records chosen"] if self.ordinals is not None else []
        asked += [f"first {self.limit:,}"] if self.limit is not None else []
        return f"<agd.Frame of {self.source.url}: {', '.join(self.fields)}{''.join('; ' + a for a in asked)}>"

    def _repr_html_(self) -> str:
        import html

        rows = dataclasses.replace(self.first(SHOWN_RECORDS), reach=SHOWN_CHUNKS).to_arrow().to_pylist()
        chunks = len(self._chunks())
        cut = chunks > SHOWN_CHUNKS and len(rows) < SHOWN_RECORDS
        part = f", of the first {SHOWN_CHUNKS} of {chunks:,} chunks that may hold some" if cut else ""
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.fields)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(str(value)[:60])}</td>" for value in row.values()) + "</tr>"
            for row in rows
        )
        text = f"{html.escape(repr(self))}, at most {SHOWN_RECORDS} records{part}"
        return f"<p>{text}:</p><table><tr>{head}</tr>{body}</table>"

    # -- making views from views ---------------------------------------------------------------------------------------

    def choose(self, fields: Sequence[str]) -> Frame:
        """See :meth:`agd.tabular.Tabular.select`."""
        chosen: list[str] = []
        kinds = dict(self.kinds)
        if not fields:
            raise UsageError("no field is selected", f"there are: {', '.join(self.source.manifest.columns)}")
        for field in fields:
            if field == "tags.*":
                kinds |= {tag: frozenset(kind) for tag, kind in self._discover(None).items()}
                chosen += [f"tags.{tag}" for tag in kinds]
            else:
                chosen += self._expand(field)
        if not chosen:
            raise ColumnError(f"{self.source.url}: no record has tags", "select other fields")
        return dataclasses.replace(self, fields=tuple(dict.fromkeys(chosen)), kinds=tuple(kinds.items()))

    def _expand(self, field: str) -> list[str]:
        from agd import arrow

        columns = self.source.manifest.columns
        if field == ORDINAL or field in columns:
            return [field]
        column, _, part = field.partition(".")
        if column == "tags" and len(part) == 2 and self._tag_columns():
            return [field]
        if column in columns and columns[column].type is RecordType.STRUCTURED:
            known = [f.name for f in arrow.results_type()]
            if part == "*" or part in known:
                return [f"{column}.{name}" for name in (known if part == "*" else [part])]
            raise ColumnError(f"{self.source.url}: {column} has no field {part!r}", f"there are: {', '.join(known)}")
        raise ColumnError(f"{self.source.url}: there is no column {field!r}", f"there are: {', '.join(columns)}")

    def where(
        self, *, region: str | Sequence[str] | None, flags: int | str, exclude: int | str, mapq: int,
        read_groups: str | Sequence[str] | None, tags: Mapping[str, Any],
    ) -> Frame:
        """See :meth:`agd.tabular.Tabular.filter`."""
        if "results" not in self.source.manifest.columns:
            raise ColumnError(
                f"{self.source.url}: generation {self.source.manifest.generation} has no alignments to filter by",
                "run 'agd align' first; open the dataset again if that was done since",
            )
        if not 0 <= mapq <= 255:
            raise UsageError(f"mapping quality {mapq}: give 0 to 255")
        regions, groups = _listed("region", region), _listed("read_groups", read_groups)
        wanted = tuple(group if isinstance(group, bytes) else group.encode() for group in groups)
        condition = Selection(
            tuple(parse_region(text, self.source.manifest.references) for text in regions),
            parse_flags(flags), parse_flags(exclude), mapq, wanted,
        )  # fmt: skip
        base = self.fixed() if self.limit is not None else self
        values = tuple((tag, _values_of(tag, value)) for tag, value in tags.items())
        conditions = base.conditions if condition.everything else (*base.conditions, condition)
        return dataclasses.replace(base, conditions=conditions, values=(*base.values, *values))

    def first(self, n: int) -> Frame:
        """See :meth:`agd.tabular.Tabular.head`."""
        n = operator.index(n)
        if n < 0:
            raise UsageError(f"{n} records: give 0 or more")
        return dataclasses.replace(self, limit=n if self.limit is None else min(n, self.limit))

    def draw(self, n: int, seed: int) -> Frame:
        """See :meth:`agd.tabular.Tabular.sample`."""
        n = operator.index(n)
        if n < 0:
            raise UsageError(f"{n} records: give 0 or more")
        random = np.random.default_rng(seed)
        if self.conditions or self.values or self.ordinals is not None or self.limit is not None:
            known = self.fixed().ordinals
            assert known is not None
            chosen = known[np.sort(random.choice(len(known), min(n, len(known)), replace=False, shuffle=False))]
        else:
            total = self.source.manifest.records
            chosen = np.sort(random.choice(total, min(n, total), replace=False, shuffle=False))
        return dataclasses.replace(self, conditions=(), values=(), ordinals=chosen.astype(np.int64), limit=None)

    def fixed(self) -> Frame:
        """The same records, named by their ordinals; reads what the conditions are about.

        Returns
        -------
        Frame
        """
        found = [batch.ragged(ORDINAL).values for batch in self.choose([ORDINAL]).batches()]
        ordinals = np.concatenate(found) if found else np.empty(0, np.int64)
        return dataclasses.replace(self, conditions=(), values=(), ordinals=ordinals, limit=None)

    # -- reading -------------------------------------------------------------------------------------------------------

    def count(self, *, runner: Runner | None = None) -> int:
        """Number of records; reads what the conditions are about and nothing else.

        Parameters
        ----------
        runner : Runner, optional
            Fetches and decodes chunks ahead. Default: one after the other.

        Returns
        -------
        int
        """
        return sum(len(batch) for batch in self.choose([ORDINAL]).batches(runner=runner))

    def batches(self, *, runner: Runner | None = None, ahead: int | None = None) -> Iterator[Batch]:
        """Whole stored columns that the fields are of, as numpy arrays; one batch a chunk that has wanted records.

        ``results.position`` gives the column ``results``, a tag the columns that hold tags. ``first`` of a batch is the
        ordinal of its first record; those of all are in the field ``ordinal`` where it was selected.

        Parameters
        ----------
        runner : Runner, optional
            Fetches and decodes chunks ahead. Default: one after the other.
        ahead : int, optional
            Chunks in memory at one time.

        Yields
        ------
        Batch
        """
        yield from self._read(self._stored(), runner, ahead)

    def arrow_reader(self, *, runner: Runner | None = None, ahead: int | None = None) -> Any:
        """The fields as a ``pyarrow.RecordBatchReader``; batches are made as they are asked for.

        Parameters
        ----------
        runner : Runner, optional
            Fetches and decodes chunks ahead. Default: one after the other.
        ahead : int, optional
            Chunks in memory at one time.

        Returns
        -------
        pyarrow.RecordBatchReader
            Its schema is ``schema``. Can be read once.
        """
        import pyarrow as pa

        types = self.schema

        def stream() -> Iterator[Any]:
            for batch in self.batches(runner=runner, ahead=ahead):
                arrays = [self._array(batch, field) for field in types]
                yield pa.RecordBatch.from_arrays(arrays, schema=types)

        return pa.RecordBatchReader.from_batches(types, stream())

    def to_arrow(self, *, runner: Runner | None = None, ahead: int | None = None) -> Any:
        """The fields as a ``pyarrow.Table``.

        Parameters
        ----------
        runner : Runner, optional
            Fetches and decodes chunks ahead. Default: one after the other.
        ahead : int, optional
            Chunks in memory at one time.

        Returns
        -------
        pyarrow.Table
            Its schema is ``schema``.
        """
        return self.arrow_reader(runner=runner, ahead=ahead).read_all()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Arrow PyCapsule stream: ``polars.DataFrame(view)``, ``pyarrow.table(view)``, ``duckdb.sql("from view")``."""
        return self.arrow_reader().__arrow_c_stream__(requested_schema)

    @cached_property
    def schema(self) -> Any:
        """Arrow schema of the fields; those of tags are found in the records."""
        import pyarrow as pa

        from agd import arrow

        kinds: dict[str, Collection[str]] = dict(self.kinds)
        tags = [field[5:] for field in self.fields if self._is_tag(field) and field[5:] not in kinds]
        kinds |= self._discover(tags) if tags else {}
        types = []
        for field in self.fields:
            column, _, part = field.partition(".")
            spec = self.source.manifest.columns.get(field)
            if spec is not None:
                kind = arrow.column_type(spec.type, spec.dtype)
            elif field == ORDINAL:
                kind = pa.int64()
            elif column == "tags":
                kind = arrow.tag_type(kinds[part], part)
            else:
                kind = arrow.results_type().field(part).type
            types.append((field, kind))
        return pa.schema(types)

    def _array(self, batch: Batch, field: Any) -> Any:
        from agd import arrow

        references = self.source.manifest.references
        if field.name in batch:
            return arrow.to_array(batch[field.name], field.type, references)
        column, _, part = field.name.partition(".")
        if column == "tags":
            return arrow.tag_array(_tags(batch), part, field.type)
        return arrow.alignment_field(batch.alignments(column), part, references)

    def _is_tag(self, field: str) -> bool:
        return field.startswith("tags.") and field not in self.source.manifest.columns

    def _tag_columns(self) -> list[str]:
        return [name for name in ("tags", "results") if name in self.source.manifest.columns]

    def _stored(self) -> list[str]:
        """Stored columns that the fields are of, and the field of ordinals."""
        stored: list[str] = []
        for field in self.fields:
            if self._is_tag(field):
                stored += self._tag_columns()
            else:
                stored.append(field if field in self.source.manifest.columns else field.partition(".")[0])
        return list(dict.fromkeys(stored))

    def _conditional(self) -> list[str]:
        """Columns that the conditions are about."""
        if self.values or any(condition.read_groups for condition in self.conditions):
            return self._tag_columns()
        return ["results"] if self.conditions else []

    def _chunks(self) -> list[Chunk]:
        """Chunks that may hold wanted records."""
        chunks = list(self.source.manifest.chunks)
        for condition in self.conditions:
            fitting = {chunk.first for chunk in condition.chunks(self.source)}
            chunks = [chunk for chunk in chunks if chunk.first in fitting]
        if self.ordinals is not None:
            known = self.ordinals
            chunks = [c for c in chunks if np.searchsorted(known, c.first + c.count) > np.searchsorted(known, c.first)]
        elif self.limit is not None and not self.conditions and not self.values:
            chunks = [chunk for chunk in chunks if chunk.first < self.limit]
        return chunks[: self.reach] if self.limit != 0 else []

    def _read(self, wanted: Sequence[str], runner: Runner | None, ahead: int | None) -> Iterator[Batch]:
        """Stored columns of the wanted records: conditions first, the rest only where a record is wanted."""
        source, early = self.source, self._conditional()
        late = [name for name in wanted if name not in early and name != ORDINAL]
        runner = runner or SerialRunner()

        def fetch_early(chunk: Chunk) -> tuple[Chunk, dict[str, bytes]]:
            return chunk, source.fetch(chunk, early) if early else {}

        def choose(fetched: tuple[Chunk, dict[str, bytes]]) -> tuple[Chunk, I64, Batch]:
            chunk, blobs = fetched
            batch = source.decode(chunk, blobs, early) if early else Batch(chunk.first)
            return chunk, self._index(chunk, batch), batch

        def fetch_late(chosen: tuple[Chunk, I64, Batch]) -> tuple[Chunk, I64, Batch, dict[str, bytes]]:
            chunk, index, _ = chosen
            return *chosen, source.fetch(chunk, late) if late and len(index) else {}

        def finish(fetched: tuple[Chunk, I64, Batch, dict[str, bytes]]) -> Batch:
            chunk, index, batch, blobs = fetched
            if not len(index):
                return Batch(chunk.first)
            columns = dict(batch.columns) | (dict(source.decode(chunk, blobs, late).columns) if late else {})
            columns[ORDINAL] = Column(np.arange(chunk.first, chunk.first + chunk.count))
            whole = Batch(chunk.first, {name: columns[name] for name in wanted})
            return whole if len(index) == chunk.count else take_batch(whole, index, chunk.first + int(index[0]))

        early_blobs = runner.map(fetch_early, self._chunks(), on="io", ahead=ahead)
        chosen = runner.map(choose, early_blobs, on="cpu", ahead=ahead)
        left = self.limit
        for batch in runner.map(finish, runner.map(fetch_late, chosen, on="io", ahead=ahead), on="cpu", ahead=ahead):
            if left is not None:
                batch = batch.slice(0, left)
                left -= len(batch)
            if len(batch):
                yield batch
            if left == 0:
                return

    def _index(self, chunk: Chunk, batch: Batch) -> I64:
        """Which records of a chunk are wanted, from the columns that the conditions are about."""
        wanted: Bool = np.ones(chunk.count, np.bool_)
        if self.ordinals is not None:
            low, high = np.searchsorted(self.ordinals, [chunk.first, chunk.first + chunk.count])
            wanted[:] = False
            wanted[self.ordinals[low:high] - chunk.first] = True
        if self.conditions:
            alignments = batch.alignments()
            if alignments.valid is not None:
                paired = self.source.manifest.pairing == "interleaved"
                flag = np.where(alignments.valid, alignments.flag, unmapped_flags(chunk.first, chunk.count, paired))
                batch = Batch(chunk.first, dict(batch.columns) | {"results": alignments.replace(flag=flag)})
            for condition in self.conditions:
                wanted &= condition.mask(batch)
        for tag, values in self.values:
            wanted &= _has_value(_tags(batch), tag, values)
        return np.flatnonzero(wanted)

    def _discover(self, tags: Sequence[str] | None) -> dict[str, set[str]]:
        """Kinds of the values of tags; reads chunks until each was met (None: all chunks, all tags)."""
        wanted = self._tag_columns()
        if not wanted:
            raise ColumnError(f"{self.source.url}: there are no tags", "select other columns")
        found: dict[str, set[str]] = {tag: set() for tag in tags or ()}
        bare = dataclasses.replace(self, fields=tuple(wanted))
        for batch in bare.batches():
            for tag, kinds in names_and_kinds(_tags(batch)).items():
                if tags is None or tag in found:
                    found.setdefault(tag, set()).update(kinds)
            if tags is not None and all(found.values()):
                break
        return found


def _tags(batch: Batch) -> Column:
    """All tags of the records of a batch with ``results``, ``tags`` or both."""
    return all_tags(batch) if "results" in batch else batch.ragged("tags")


def _listed(name: str, given: str | bytes | Sequence[Any] | None) -> tuple[Any, ...]:
    """What is asked for as a tuple; a list that came out empty is not taken for everything."""
    listed = () if given is None else (given,) if isinstance(given, str | bytes) else tuple(given)
    if given is not None and not listed:
        raise UsageError(f"{name} is an empty list", f"leave {name} out for all records")
    return listed


def _values_of(tag: str, values: Any) -> tuple[Any, ...]:
    """What a tag may be, from one value or several; numbers and text of Python.

    Raises
    ------
    UsageError
        No tag has this name, or one of the values is neither.
    """
    if len(tag) != 2 or not tag.isascii():
        raise UsageError(f"tag {tag!r}: names of tags have two characters")
    several = isinstance(values, list | tuple | set | frozenset | range | np.ndarray)
    known = tuple(v.item() if isinstance(v, np.generic) else v for v in (values if several else (values,)))
    for value in known:
        if not isinstance(value, int | float | str | bytes):
            raise UsageError(f"tag {tag}: {value!r} is no value of a tag", "give numbers or text")
    return known


def _has_value(tags: Column, tag: str, values: Sequence[Any]) -> Bool:
    """Which records have a tag with one of some values; numbers are compared with numbers, text with text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from agd import arrow

    # Every number of BAM is exact as a float64: integers have 32 bits.
    found, present = tag_numbers(tags, tag, "f8")
    wanted = present & np.isin(found, [float(v) for v in values if _is_exact(v)])
    texts = [v.encode() if isinstance(v, str) else v for v in values if isinstance(v, str | bytes)]
    if texts:
        text, present = tag_text(tags, tag)
        equal = pc.is_in(arrow.to_array(text, pa.large_binary()), value_set=pa.array(texts, pa.large_binary()))
        wanted |= present & np.asarray(equal)
    return wanted


def _is_exact(value: Any) -> bool:
    """Whether a value is a number that a float64 holds."""
    try:
        return not isinstance(value, str | bytes) and float(value) == value
    except OverflowError:
        return False
