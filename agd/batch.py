"""Whole columns in memory: never a Python object per record.

Three kinds of column share one small interface (``len``, ``nbytes``, ``slice``):

- :class:`Column`: one number per record, or one run of values per record (ragged).
- :class:`Alignments`: the structured record of alignments as a structure of arrays.

A :class:`Batch` is a set of named columns of one length. Arrays are shared, not copied: whoever makes a column gives up
writing to its arrays.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

U8: TypeAlias = NDArray[np.uint8]
U16: TypeAlias = NDArray[np.uint16]
U32: TypeAlias = NDArray[np.uint32]
U64: TypeAlias = NDArray[np.uint64]
I32: TypeAlias = NDArray[np.int32]
I64: TypeAlias = NDArray[np.int64]
Bool: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of records.

    Attributes
    ----------
    values : ndarray
        1-D. Ragged columns: the records' values end to end (``uint8`` text, bases, aux bytes; ``uint32`` CIGAR).
        Fixed columns: one value per record.
    offsets : ndarray of int64, shape (records + 1,), or None
        Record ``i`` is ``values[offsets[i]:offsets[i + 1]]``. Never decreasing; ``offsets[0]`` need not be 0 (a slice
        shares the values of what it was cut from). None: a fixed column.

    Examples
    --------
    >>> column = agd.Column.from_list([b"ACGT", b"", b"GG"])
    >>> column.lengths
    array([4, 0, 2])
    >>> column[2]
    b'GG'
    """

    values: NDArray[Any]
    offsets: I64 | None = None

    def __len__(self) -> int:
        return len(self.values) if self.offsets is None else len(self.offsets) - 1

    def __getitem__(self, record: int | slice) -> Any:
        """Value of one record: a bytes object (ragged uint8), an array (other ragged), or a number.

        A slice without a step gives a :class:`Column`, which shares the arrays.
        """
        if isinstance(record, slice):
            start, stop, step = record.indices(len(self))
            if step != 1:
                raise IndexError("records are taken in order: a slice has no step")
            return self.slice(start, stop)
        record = operator.index(record)
        if not -len(self) <= record < len(self):
            raise IndexError(record)
        record %= len(self)
        if self.offsets is None:
            return self.values[record].item()
        run = self.values[self.offsets[record] : self.offsets[record + 1]]
        return run.tobytes() if run.dtype == np.uint8 else run

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    @property
    def lengths(self) -> I64:
        """Number of values of each record, int64, shape (records,)."""
        return np.ones(len(self.values), np.int64) if self.offsets is None else np.diff(self.offsets)

    @property
    def nbytes(self) -> int:
        """Bytes of the values and offsets that belong to the records."""
        if self.offsets is None:
            return self.values.nbytes
        return int(self.offsets[-1] - self.offsets[0]) * self.values.itemsize + self.offsets.nbytes

    def slice(self, start: int, stop: int) -> Column:
        """Some of the records; shares the arrays.

        Parameters
        ----------
        start, stop : int
            Places of the records (0-based, half-open); what lies outside of the column is left out.

        Returns
        -------
        Column
        """
        start, stop = _inside(start, stop, len(self))
        if self.offsets is None:
            return Column(self.values[start:stop])
        return Column(self.values, self.offsets[start : stop + 1])

    def compact(self) -> Column:
        """The same records with values that hold nothing else and offsets that start at 0.

        Returns
        -------
        Column
            Shares the values.
        """
        if self.offsets is None:
            return self
        first, last = int(self.offsets[0]), int(self.offsets[-1])
        if first == 0 and last == len(self.values):
            return self
        return Column(self.values[first:last], self.offsets - first)

    @staticmethod
    def from_lengths(values: NDArray[Any], lengths: NDArray[Any]) -> Column:
        """Ragged column from values end to end and the number of values of each record.

        Parameters
        ----------
        values : ndarray, 1-D
            Kept, not copied.
        lengths : ndarray of integers, shape (records,)
            Their sum is the number of values.

        Returns
        -------
        Column
        """
        offsets = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return Column(values, offsets)

    @staticmethod
    def from_list(records: list[bytes]) -> Column:
        """Ragged uint8 column from a list of bytes objects (tests and small inputs only).

        Parameters
        ----------
        records : list of bytes

        Returns
        -------
        Column
        """
        values = np.frombuffer(b"".join(records), np.uint8)
        return Column.from_lengths(values, np.fromiter(map(len, records), np.int64, len(records)))

    @staticmethod
    def empty(records: int = 0, dtype: Any = np.uint8) -> Column:
        """Ragged column of ``records`` records without values.

        Parameters
        ----------
        records : int
        dtype : dtype
            Of the values.

        Returns
        -------
        Column
        """
        return Column(np.empty(0, dtype), np.zeros(records + 1, np.int64))


@dataclass(frozen=True, slots=True)
class Alignments:
    """Alignments as a structure of arrays, all of one length.

    Attributes
    ----------
    flag : ndarray of uint16
        SAM flags.
    reference, mate_reference : ndarray of int32
        Index into the references of the dataset, -1 for none.
    position, mate_position : ndarray of int64
        0-based leftmost position, -1 for none.
    mapping_quality : ndarray of uint8
        0 to 254, 255 for none.
    template_length : ndarray of int64
        Signed TLEN, 0 for none.
    cigar : Column of uint32
        BAM operations ``length << 4 | code`` per record.
    tags : Column of uint8
        BAM-encoded aux fields that the aligner wrote, in its order.
    valid : ndarray of bool, or None
        False where the record holds no alignment at all (a null field); None: all are valid.
    """

    flag: U16
    reference: I32
    position: I64
    mapping_quality: U8
    mate_reference: I32
    mate_position: I64
    template_length: I64
    cigar: Column
    tags: Column
    valid: Bool | None = None

    #: names of the fixed-width arrays, in the order of the fields
    FIXED = (
        "flag", "reference", "position", "mapping_quality", "mate_reference", "mate_position", "template_length",
    )

    def __len__(self) -> int:
        return len(self.flag)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        fixed = sum(getattr(self, name).nbytes for name in self.FIXED)
        return int(fixed) + self.cigar.nbytes + self.tags.nbytes + (0 if self.valid is None else self.valid.nbytes)

    def slice(self, start: int, stop: int) -> Alignments:
        """Some of the records; shares the arrays.

        Parameters
        ----------
        start, stop : int
            Places of the records (0-based, half-open); what lies outside of the column is left out.

        Returns
        -------
        Alignments
        """
        start, stop = _inside(start, stop, len(self))
        fixed = {name: getattr(self, name)[start:stop] for name in self.FIXED}
        valid = None if self.valid is None else self.valid[start:stop]
        cigar, tags = self.cigar.slice(start, stop), self.tags.slice(start, stop)
        return Alignments(**fixed, cigar=cigar, tags=tags, valid=valid)

    def replace(self, **changes: Any) -> Alignments:
        """The same alignments with some of the fields exchanged.

        Parameters
        ----------
        **changes
            Arrays by the names of the fields, as long as the others.

        Returns
        -------
        Alignments
            Shares the other fields.
        """
        fields = {name: getattr(self, name) for name in (*self.FIXED, "cigar", "tags", "valid")}
        return Alignments(**(fields | changes))

    @staticmethod
    def null(records: int) -> Alignments:
        """``records`` null fields.

        Parameters
        ----------
        records : int

        Returns
        -------
        Alignments
            None is valid.
        """
        return Alignments(
            np.zeros(records, np.uint16), np.full(records, -1, np.int32), np.full(records, -1, np.int64),
            np.zeros(records, np.uint8), np.full(records, -1, np.int32), np.full(records, -1, np.int64),
            np.zeros(records, np.int64), Column.empty(records, np.uint32), Column.empty(records),
            np.zeros(records, np.bool_),
        )  # fmt: skip


AnyColumn: TypeAlias = Column | Alignments


@dataclass(frozen=True, slots=True)
class Batch:
    """Named columns of one length: consecutive records of a dataset.

    Attributes
    ----------
    first : int
        Ordinal (0-based index in the dataset) of the first record.
    columns : mapping of str to Column or Alignments
    """

    first: int
    columns: Mapping[str, AnyColumn] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in self.columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of one batch differ in length: {lengths}")

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def __getitem__(self, name: str) -> AnyColumn:
        return self.columns[name]

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    @property
    def nbytes(self) -> int:
        """Bytes of all columns."""
        return sum(column.nbytes for column in self.columns.values())

    def ragged(self, name: str) -> Column:
        """The column ``name``, known to be a :class:`Column`.

        Parameters
        ----------
        name : str

        Returns
        -------
        Column

        Raises
        ------
        KeyError
            The batch has no such column.
        TypeError
            It holds alignments.
        """
        column = self.columns[name]
        if not isinstance(column, Column):
            raise TypeError(f"column {name} holds alignments")
        return column

    def alignments(self, name: str = "results") -> Alignments:
        """The column ``name``, known to be :class:`Alignments`.

        Parameters
        ----------
        name : str

        Returns
        -------
        Alignments

        Raises
        ------
        KeyError
            The batch has no such column.
        TypeError
            It holds none.
        """
        column = self.columns[name]
        if not isinstance(column, Alignments):
            raise TypeError(f"column {name} holds no alignments")
        return column

    def slice(self, start: int, stop: int) -> Batch:
        """Records ``start`` to ``stop`` of the batch (0-based, half-open); what lies outside of it is left out.

        Parameters
        ----------
        start, stop : int
            Places in the batch; what lies outside of it is left out.

        Returns
        -------
        Batch
            Shares the arrays; ``first`` is that of its first record.
        """
        start, stop = _inside(start, stop, len(self))
        return Batch(self.first + start, {name: c.slice(start, stop) for name, c in self.columns.items()})


def _inside(start: int, stop: int, records: int) -> tuple[int, int]:
    """The part of a stretch that lies within so many records; empty where it ends before it starts."""
    start = min(max(start, 0), records)
    return start, max(start, min(stop, records))
