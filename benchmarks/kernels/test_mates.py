"""Throughput of the kernels that link mates, and of those that put back what mates say of each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from agd.batch import I32, U16, U32, Alignments, Bool
from agd.kernels import _native as kernels
from benchmarks.kernels.measure import Measure
from benchmarks.kernels.samples import Aligned, offsets_of


@dataclass(frozen=True)
class Linked:
    """Alignments and the mates among them.

    Attributes
    ----------
    lines : Alignments
    distances : ndarray of uint32, shape (records,)
        What :func:`agd.kernels.link_mates` gives.
    mates : ndarray of int32, shape (records,)
        Index of the mate of each.
    second : ndarray of bool, shape (records,)
        Whether the mate comes before.
    """

    lines: Alignments
    distances: U32
    mates: I32
    second: Bool


@pytest.fixture(scope="module", params=["sequencer", "coordinate"])
def linked(request: pytest.FixtureRequest, aligned: Aligned, ordered: Aligned) -> Linked:
    """Mates side by side, or as far apart as a sort by coordinate puts them."""
    lines = (ordered if request.param == "coordinate" else aligned).lines
    distances = np.empty(len(lines), np.uint32)
    places = lines.reference, lines.position, lines.mate_reference, lines.mate_position
    assert kernels.link_mates(lines.flag, *places, distances) == len(lines) // 2
    first = np.flatnonzero(distances)
    second, mates = np.zeros(len(lines), np.bool_), np.empty(len(lines), np.int32)
    other = first + distances[first]
    mates[first], mates[other], second[other] = other, first, True
    return Linked(lines, distances, mates, second)


def test_link_mates(measure: Measure, linked: Linked, reads: int) -> None:
    a = linked.lines
    fields = a.flag, a.reference, a.position, a.mate_reference, a.mate_position
    out = np.empty(reads, np.uint32)
    size = sum(field.nbytes for field in fields)
    measure("fields", size, lambda: kernels.link_mates(*fields, out), records=reads)


def test_expand_links(measure: Measure, linked: Linked, reads: int) -> None:
    stored, mates = linked.distances[~linked.second], np.empty(reads, np.int32)
    assert kernels.expand_links(stored, mates) == len(stored)
    measure("mates", mates.nbytes, lambda: kernels.expand_links(stored, mates), records=reads)


def test_expand_flags(measure: Measure, linked: Linked, reads: int) -> None:
    stored, flag = linked.lines.flag[~linked.second], np.empty(reads, np.uint16)
    different: U16 = np.zeros(len(flag) - len(stored), np.uint16)
    measure("flags", flag.nbytes, lambda: kernels.expand_flags(linked.mates, stored, different, flag), records=reads)


def test_expand_mate_fields(measure: Measure, linked: Linked, reads: int) -> None:
    own, none, out = linked.lines.position, np.empty(0, np.int64), np.empty(reads, np.int64)
    measure("positions", out.nbytes, lambda: kernels.expand_mate_fields(linked.mates, own, none, out), records=reads)


def test_pair_lengths(measure: Measure, linked: Linked, reads: int) -> None:
    a, out = linked.lines, np.empty(reads, np.int64)
    fields = a.flag, a.reference.astype(np.int64), a.position, a.cigar.values, offsets_of(a.cigar)
    measure("lengths", out.nbytes, lambda: kernels.pair_lengths(linked.mates, *fields, out), records=reads)


def test_number_cigars(measure: Measure, linked: Linked, reads: int) -> None:
    cigar, codes = linked.lines.cigar, np.empty(reads, np.int64)
    values, offsets = cigar.values, offsets_of(cigar)
    measure("CIGAR", values.nbytes, lambda: kernels.number_cigars(values, offsets, codes), records=reads)
