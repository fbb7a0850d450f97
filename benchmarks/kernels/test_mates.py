"""Throughput of the kernels that link mates, and of those that put back what mates say of each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from agd.batch import I32, U16, U32, Alignments
from agd.kernels import _native as kernels
from benchmarks.kernels.measure import Measure
from benchmarks.kernels.samples import Aligned, offsets_of


@dataclass(frozen=True)
class Linked:
    """Alignments and the mates among them.

    Attributes
    ----------
    lines : Alignments
    mates : ndarray of int32, shape (records,)
        What :func:`agd.kernels.link_mates` gives.
    links : ndarray of uint32
    flags, differences : ndarray of uint16
        What :func:`agd.kernels.fold_mates` gives.
    """

    lines: Alignments
    mates: I32
    links: U32
    flags: U16
    differences: U16


@pytest.fixture(scope="module", params=["sequencer", "coordinate"])
def linked(request: pytest.FixtureRequest, aligned: Aligned, ordered: Aligned) -> Linked:
    """Mates side by side, or as far apart as a sort by coordinate puts them."""
    lines = (ordered if request.param == "coordinate" else aligned).lines
    count, mates = len(lines), np.empty(len(lines), np.int32)
    places = lines.reference, lines.position, lines.mate_reference, lines.mate_position
    assert kernels.link_mates(lines.flag, *places, mates) == count // 2
    links, flags, differences = np.empty(count, np.uint32), np.empty(count, np.uint16), np.empty(count, np.uint16)
    others = kernels.fold_mates(mates, lines.flag, links, flags, differences)
    return Linked(lines, mates, links[:others], flags[:others], differences[: count - others])


def test_link_mates(measure: Measure, linked: Linked, reads: int) -> None:
    a = linked.lines
    fields = a.flag, a.reference, a.position, a.mate_reference, a.mate_position
    out = np.empty(reads, np.int32)
    size = sum(field.nbytes for field in fields)
    measure("fields", size, lambda: kernels.link_mates(*fields, out), records=reads)


def test_fold_mates(measure: Measure, linked: Linked, reads: int) -> None:
    flag, links = linked.lines.flag, np.empty(reads, np.uint32)
    out: tuple[U16, U16] = np.empty(reads, np.uint16), np.empty(reads, np.uint16)
    measure("flags", flag.nbytes, lambda: kernels.fold_mates(linked.mates, flag, links, *out), records=reads)


def test_expand_links(measure: Measure, linked: Linked, reads: int) -> None:
    links, mates = linked.links, np.empty(reads, np.int32)
    assert kernels.expand_links(links, mates) == len(links)
    measure("mates", mates.nbytes, lambda: kernels.expand_links(links, mates), records=reads)


def test_expand_flags(measure: Measure, linked: Linked, reads: int) -> None:
    given, flag = (linked.mates, linked.flags, linked.differences), np.empty(reads, np.uint16)
    measure("flags", flag.nbytes, lambda: kernels.expand_flags(*given, flag), records=reads)


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
