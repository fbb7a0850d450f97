"""Records one at a time, for the reference kernels: the only place where a record is a Python object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agd.batch import I64
from agd.errors import KernelError
from agd.kernels.records import RecordArrays
from agd.kernels.reference.ragged import check_offsets
from agd.types import CIGAR_OPERATIONS


class Ragged(NamedTuple):
    """One ragged field of the arrays."""

    name: str
    values: NDArray[Any]
    offsets: I64


def ragged_fields(records: RecordArrays) -> list[Ragged]:
    """The five ragged fields, in their order."""
    return [
        Ragged("names", records.names, records.name_offsets),
        Ragged("cigar", records.cigar, records.cigar_offsets),
        Ragged("bases", records.bases, records.base_offsets),
        Ragged("qualities", records.qualities, records.quality_offsets),
        Ragged("tags", records.tags, records.tag_offsets),
    ]


def fixed_fields(records: RecordArrays) -> list[NDArray[Any]]:
    """The seven arrays with one number per record, in their order."""
    return [
        records.flag, records.reference, records.position, records.mapping_quality, records.mate_reference,
        records.mate_position, records.template_length,
    ]  # fmt: skip


class Record(NamedTuple):
    """One record; the fields are those of :class:`agd.kernels.records.RecordArrays`."""

    flag: int
    reference: int
    position: int
    mapping_quality: int
    mate_reference: int
    mate_position: int
    template_length: int
    name: bytes
    cigar: list[int]
    bases: bytes
    qualities: bytes
    tags: bytes


def cigar_length(cigar: Sequence[int], codes: str) -> int:
    """Sum of the lengths of the operations whose letters are in ``codes``."""
    return sum(operation >> 4 for operation in cigar if CIGAR_OPERATIONS[operation & 15] in codes)


def check_cigar(cigar: Sequence[int], record: int, offset: int = -1) -> None:
    """Raise KernelError if an operation is not one of MIDNSHP=X."""
    if any(operation & 15 >= len(CIGAR_OPERATIONS) for operation in cigar):
        raise KernelError("unknown CIGAR operation", record, offset)


def read_records(records: RecordArrays) -> Iterator[Record]:
    """The records of the arrays, which are checked first."""
    if len(records) != 17:
        raise KernelError("records are not a tuple of 17 arrays")
    records = RecordArrays(*records)
    fixed, ragged = fixed_fields(records), ragged_fields(records)
    count = len(records.flag)
    if any(len(array) != count for array in fixed) or any(len(field.offsets) != count + 1 for field in ragged):
        raise KernelError("the arrays of the records differ in length")
    for field in ragged:
        check_offsets(field.offsets, len(field.values), f"offsets of {field.name} outside of the values")
    for i in range(count):
        flag, reference, position, quality, mate, mate_position, template = (int(array[i]) for array in fixed)
        name, cigar, bases, qualities, tags = (
            field.values[field.offsets[i] : field.offsets[i + 1]] for field in ragged
        )
        yield Record(
            flag, reference, position, quality, mate, mate_position, template, name.tobytes(), cigar.tolist(),
            bases.tobytes(), qualities.tobytes(), tags.tobytes(),
        )  # fmt: skip


class Filler:
    """Puts records one after the other into arrays that were allocated for them.

    Attributes
    ----------
    count : int
        Records so far.
    used : list of int
        Values so far of names, cigar, bases, qualities and tags.
    """

    def __init__(self, out: RecordArrays) -> None:
        self.fixed = fixed_fields(out)
        self.ragged = ragged_fields(out)
        self.count = 0
        self.used = [0] * len(self.ragged)
        for field in self.ragged:
            field.offsets[0] = 0

    def add(self, record: Record) -> None:
        """Append one record; KernelError if there is no room for it."""
        if self.count >= len(self.fixed[0]):
            raise KernelError("the arrays of the records are too small", self.count)
        for array, number in zip(self.fixed, record[:7], strict=True):
            array[self.count] = number
        runs = (record.name, record.cigar, record.bases, record.qualities, record.tags)
        for k, (field, run) in enumerate(zip(self.ragged, runs, strict=True)):
            end = self.used[k] + len(run)
            if end > len(field.values):
                raise KernelError("the arrays of the records are too small", self.count)
            field.values[self.used[k] : end] = np.frombuffer(run, np.uint8) if isinstance(run, bytes) else run
            field.offsets[self.count + 1] = self.used[k] = end
        self.count += 1
