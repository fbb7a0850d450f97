"""What a dataset and a lazy view of one have in common: choose, look, and hand over to other libraries."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agd.errors import UsageError

if TYPE_CHECKING:
    from agd.frame import Frame


class Tabular:
    """Lazy selection, and the ways to other libraries; nothing is read before the records are asked for."""

    def frame(self) -> Frame:
        """A lazy view of all that is here.

        Returns
        -------
        Frame
        """
        raise NotImplementedError

    def select(self, *fields: str | Sequence[str]) -> Frame:
        """Only these fields.

        Parameters
        ----------
        *fields : str or sequence of str
            Columns (``bases``), fields of alignments (``results.position``), tags as typed columns (``tags.NM``),
            ``results.*`` and ``tags.*`` for all of them, and ``ordinal`` (int64, 0-based place in the dataset).

        Returns
        -------
        Frame

        Raises
        ------
        ColumnError
            There is no such field.
        UsageError
            No field is given.

        Notes
        -----
        The types of tags are found by reading the tags of chunks, up to the first that has a value.

        Examples
        --------
        >>> ds = agd.open("sorted.agd")
        >>> ds.select("ordinal", "results.flag", "tags.NM").schema.names
        ['ordinal', 'results.flag', 'tags.NM']
        """
        listed = [[field] if isinstance(field, str) else field for field in fields]
        return self.frame().choose([name for names in listed for name in names])

    def filter(
        self, *, region: str | Sequence[str] | None = None, flags: int | str = 0, exclude: int | str = 0, mapq: int = 0,
        read_groups: str | Sequence[str] | None = None, tags: Mapping[str, Any] | None = None,
    ) -> Frame:
        """Only records that meet all conditions.

        Chunks that cannot hold such records, by the statistics in the manifest, are not read; of the others the columns
        that the conditions are about come first, and the rest only if a record is wanted.

        Parameters
        ----------
        region : str or sequence of str, optional
            ``chr20:1-2,000,000`` (1-based, closed), ``chr20``, ``*`` (without a place): overlap with any of them.
        flags : int or str
            SAM flags that must all be set: ``0x2``, ``"PROPER_PAIR,READ1"``.
        exclude : int or str
            SAM flags of which none may be set.
        mapq : int
            Least mapping quality.
        read_groups : str or sequence of str, optional
            Values of the tag RG.
        tags : mapping of str to a value or a sequence of values, optional
            Tags that must have (one of) these values: ``{"NM": 0, "RG": ["a", "b"]}``. Numbers are compared with
            numbers, text with text (types A, Z and H).

        Returns
        -------
        Frame

        Raises
        ------
        UsageError
            A region, flag or tag makes no sense, or a list is empty.
        ColumnError
            The dataset has no alignments.

        Notes
        -----
        Conditions are about ``results``, the first alignment of a read where it has several. Reads without alignment
        have the flags of unmapped reads.

        Examples
        --------
        >>> ds = agd.open("sorted.agd")
        >>> view = ds.filter(region="chr1:1-20,000", exclude="UNMAPPED", mapq=20)
        >>> 0 < view.count() < len(ds)
        True
        """
        return self.frame().where(
            region=region, flags=flags, exclude=exclude, mapq=mapq, read_groups=read_groups, tags=tags or {}
        )

    def head(self, n: int = 5) -> Frame:
        """The first ``n`` records; no further chunks are read than those that hold them.

        Parameters
        ----------
        n : int
            Records wanted.

        Returns
        -------
        Frame

        Examples
        --------
        >>> agd.open("sorted.agd").head(3).select("metadata").to_arrow().num_rows
        3
        """
        return self.frame().first(n)

    def sample(self, n: int, seed: int = 0) -> Frame:
        """``n`` of the records at random (all, if there are fewer), without repeats, in the order of the dataset.

        The same seed gives the same records for any chunk size. Of a filtered view the columns that its conditions are
        about are read at once.

        Parameters
        ----------
        n : int
            Records wanted.
        seed : int
            Chooses which.

        Returns
        -------
        Frame

        Examples
        --------
        >>> agd.open("sorted.agd").sample(10, seed=1).to_arrow().num_rows
        10
        """
        return self.frame().draw(n, seed)

    def to_polars(self, **options: Any) -> Any:
        """All of it as a frame of polars, in memory.

        Parameters
        ----------
        **options
            As for ``to_arrow``.

        Returns
        -------
        polars.DataFrame

        Raises
        ------
        UsageError
            polars is not installed.
        """
        polars = library("polars")
        return polars.DataFrame(self.frame().to_arrow(**options))

    def scan(self) -> Any:
        """A ``polars.LazyFrame``: a query reads only the columns that it uses, and no more chunks than its rows need.

        Conditions of the query are met after reading; those of :meth:`filter` before.

        Returns
        -------
        polars.LazyFrame

        Raises
        ------
        UsageError
            polars is not installed.

        Notes
        -----
        Types of tags are found at once, by reading tags up to the first that has a value.
        """
        polars = library("polars")
        from polars.io.plugins import register_io_source

        frame = self.frame()

        def source(columns: list[str] | None, predicate: Any, rows: int | None, size: int | None) -> Iterator[Any]:
            view = frame if columns is None else frame.choose(columns)
            view = view if rows is None else view.first(rows)
            for batch in view.arrow_reader():
                part = polars.DataFrame(batch)
                yield part if predicate is None else part.filter(predicate)

        return register_io_source(source, schema=polars.DataFrame(frame.schema.empty_table()).schema)

    def to_pandas(self, **options: Any) -> Any:
        """All of it as a frame of pandas, in memory.

        Parameters
        ----------
        **options
            As for ``to_arrow``.

        Returns
        -------
        pandas.DataFrame
            Its columns are Arrow's (``pandas.ArrowDtype``).

        Raises
        ------
        UsageError
            pandas is not installed.
        """
        pandas = library("pandas")
        return self.frame().to_arrow(**options).to_pandas(types_mapper=pandas.ArrowDtype)

    def to_duckdb(self, connection: Any = None, **options: Any) -> Any:
        """A relation of DuckDB over the records in memory.

        Parameters
        ----------
        connection : duckdb.DuckDBPyConnection, optional
            Default: that of the module.
        **options
            As for ``to_arrow``.

        Returns
        -------
        duckdb.DuckDBPyRelation

        Raises
        ------
        UsageError
            DuckDB is not installed.
        """
        duckdb = library("duckdb")
        return (connection or duckdb).from_arrow(self.frame().to_arrow(**options))


def library(name: str) -> Any:
    """A module that comes with an extra.

    Raises
    ------
    UsageError
        It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UsageError(f"{name} is not installed", f"pip install {name}") from error
