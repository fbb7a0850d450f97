"""Checksums of records, against samtools checksum."""

from __future__ import annotations

import zlib
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.errors import KernelError
from agd.kernels import _native, reference
from agd.kernels.checksums import COLUMNS, PRIME, ROWS, combine_sums, empty_sums
from agd.kernels.records import RecordArrays
from tests.kernels.sam_records import decode_bam, from_tuples, read_bam, record_lists


class Options(NamedTuple):
    """Options of samtools and of the kernel that mean the same."""

    samtools: list[str]
    flag_mask: int
    exclude: int
    reverse: bool
    tags: bytes
    inverse: bool
    columns: int


DEFAULT = Options([], 0xC1, 0x900, True, b"BCFIQTRTTC", False, 5)
PLACED = DEFAULT._replace(samtools=["-P", "-C", "-M"], columns=8)
EVERYTHING = Options(
    ["-P", "-C", "-M", "-c", "-F", "0", "-b", "0xfff", "-t", "*,cF,MD,NM"], 0xFFF, 0, False, b"cFMDNM", True, 8
)
SOME_TAGS = Options(["-t", "NM,RG,AS,XX", "-F", "0x100"], 0xC1, 0x100, True, b"NMRGASXX", False, 5)
ALL_OPTIONS = pytest.mark.parametrize(
    "options", [DEFAULT, PLACED, EVERYTHING, SOME_TAGS], ids=["default", "placed", "everything", "some tags"]
)

REAL = ["human_na12878_chr20/NA12878_S1.chr20.10_10p1mb.bam", "human_na12878_chr22_dups/NA12878.chr22.s.bam"]
TRICKY = ["tricky/tricky.bam", "tricky/long_cigar.bam"]


def add(kernels: ModuleType, records: RecordArrays, groups: Any, count: int, options: Options) -> Any:
    sums = empty_sums(count)
    crcs = np.zeros(3 * len(records.flag), np.uint32)
    kernels.record_crcs(records, options.reverse, crcs)
    kernels.checksum(
        records, crcs, groups, sums.reshape(-1), options.flag_mask, options.exclude,
        np.frombuffer(options.tags, np.uint8), options.inverse, options.columns,
    )  # fmt: skip
    return sums


def combined_checksum(sums: Any, columns: int) -> Any:
    """The last column of the report, from sums of shape (..., 8): samtools takes ``seq`` twice and no ``qual``."""
    count, seq, name, _, aux, pos, cigar, mate = np.moveaxis(sums, -1, 0)
    parts = [count >> np.uint64(32), count & np.uint64(0xFFFFFFFF), seq, name, seq, aux]
    result = np.ones(sums.shape[:-1], np.uint64)
    for part in parts + ([pos, cigar, mate] if columns == 8 else []):
        factor = part & PRIME
        result = result * np.where((factor == 0) | (factor == PRIME), np.uint64(1), factor) % PRIME
    return result


def read_groups(kernels: ModuleType, records: RecordArrays) -> tuple[Any, list[str]]:
    """Group of every record, and the names of the groups; the first is of the records without one."""
    codes, firsts = np.zeros((2, len(records.flag)), np.int64)
    count = kernels.aux_codes(records.tags, records.tag_offsets, int.from_bytes(b"RG", "little"), codes, firsts)
    tags = records.tags.tobytes()
    return codes, ["-"] + [tags[first : tags.index(0, first)].decode() for first in firsts[:count]]


def report_of_samtools(path: Path, options: list[str]) -> dict[tuple[str, str], list[int]]:
    """Numbers of each row by group and kind of row."""
    text = pysam.samtools.checksum("-q", "-v", "-T", *options, str(path))
    rows = [line.split("\t") for line in str(text).splitlines() if line and not line.startswith("#")]
    return {(row[0], row[1]): [int(row[2]), *(int(value, 16) for value in row[3:])] for row in rows}


@pytest.mark.data
@ALL_OPTIONS
@pytest.mark.parametrize("name", REAL)
def test_sums_of_real_files_are_those_of_samtools(data: Path, name: str, options: Options) -> None:
    check_against_samtools(_native, data / name, options)


@pytest.mark.data
@ALL_OPTIONS
@pytest.mark.parametrize("name", TRICKY)
def test_sums_of_tricky_files_are_those_of_samtools(
    kernels: ModuleType, data: Path, name: str, options: Options
) -> None:
    check_against_samtools(kernels, data / name, options)


def check_against_samtools(kernels: ModuleType, path: Path, options: Options) -> None:
    _, references, body = read_bam(path)
    records = decode_bam(kernels, body, len(references))
    groups, names = read_groups(kernels, records)
    sums = add(kernels, records, groups, len(names), options)
    total = empty_sums(1)[0]
    for group in sums:
        total = combine_sums(total, group)
    expected = report_of_samtools(path, options.samtools)
    found = {}
    for group, table in [("all", total), *zip(names, sums, strict=True)]:
        combined = combined_checksum(table, options.columns)
        for row, label in enumerate(ROWS):
            found[group, label] = [*table[row, : options.columns].tolist(), int(combined[row])]
    assert found == {key: value for key, value in expected.items() if key in found}
    assert {key for key, value in expected.items() if value[0]} <= set(found)
    assert expected["all", "all"][0] > 0


@given(rows=record_lists)
def test_what_is_not_wanted_stays_as_it_is(kernels: ModuleType, rows: list[Any]) -> None:
    records, groups = from_tuples(rows), np.zeros(len(rows), np.int64)
    whole = add(kernels, records, groups, 1, EVERYTHING)
    for columns in (4, 5):
        some = add(kernels, records, groups, 1, EVERYTHING._replace(columns=columns))
        assert (some[..., :columns] == whole[..., :columns]).all()
        assert (some[..., columns:] == 1).all()


@given(rows=record_lists, options=st.sampled_from([DEFAULT, EVERYTHING, SOME_TAGS]), data=st.data())
def test_order_and_division_do_not_matter(
    kernels: ModuleType, rows: list[Any], options: Options, data: st.DataObject
) -> None:
    groups = np.array([data.draw(st.integers(0, 2)) for _ in rows], np.int64)
    whole = add(kernels, from_tuples(rows), groups, 3, options)
    cut = data.draw(st.integers(0, len(rows)))
    order = data.draw(st.permutations(range(len(rows))))
    first, second = order[:cut], order[cut:]
    parts = [add(kernels, from_tuples([rows[i] for i in part]), groups[part], 3, options) for part in (first, second)]
    np.testing.assert_array_equal(combine_sums(*parts), whole)
    kept = [row for row in rows if not row[0] & options.exclude]
    assert whole[:, 0, 0].sum() == len(kept)
    np.testing.assert_array_equal(whole[:, 1, 0] + whole[:, 2, 0], whole[:, 0, 0])


@given(rows=record_lists, options=st.sampled_from([DEFAULT, EVERYTHING, SOME_TAGS]))
def test_both_kernels_agree(rows: list[Any], options: Options) -> None:
    groups = np.zeros(len(rows), np.int64)
    records = from_tuples(rows)
    np.testing.assert_array_equal(
        add(_native, records, groups, 1, options), add(reference, records, groups, 1, options)
    )


PLAIN = (16, 0, 100, 60, 1, 200, 150, b"read", [4 << 4], b"ACGN", b"ABCD", b"NMC\x01RGZa\0")


def sums_of(kernels: ModuleType, options: Options = PLACED, **changes: Any) -> list[int]:
    names = ["flag", "reference", "position", "quality", "mate", "mate_position", "template", "name", "cigar", "bases",
             "qualities", "tags"]  # fmt: skip
    row = tuple(changes.get(name, value) for name, value in zip(names, PLAIN, strict=True))
    return add(kernels, from_tuples([row]), np.zeros(1, np.int64), 1, options)[0, 0].tolist()  # type: ignore[no-any-return]


def test_each_field_is_seen_by_its_own_sums(kernels: ModuleType) -> None:
    def changed(options: Options, **changes: Any) -> set[str]:
        before, after = sums_of(kernels, options), sums_of(kernels, options, **changes)
        return {name for name, a, b in zip(COLUMNS, before, after, strict=True) if a != b}

    products = set(COLUMNS) - {"count"}
    assert changed(PLACED, name=b"other") == {"name"}
    assert changed(PLACED, bases=b"ACGT") == products
    assert changed(PLACED, flag=16 + 64) == products
    assert changed(PLACED, flag=16 + 1024) == set()
    assert changed(PLACED, qualities=b"ABCE") == {"qual"}
    assert changed(PLACED, qualities=b"") == {"qual"}
    assert changed(PLACED, position=101) == changed(PLACED, reference=1) == {"pos"}
    assert changed(PLACED, quality=0) == changed(PLACED, cigar=[3 << 4]) == {"cigar"}
    assert changed(PLACED, mate=0) == changed(PLACED, mate_position=0) == changed(PLACED, template=0) == {"mate"}
    assert changed(PLACED, tags=b"NMC\x02") == set()
    assert changed(SOME_TAGS, tags=b"NMC\x02RGZa\0") == {"aux"}
    assert changed(SOME_TAGS, tags=b"RGZa\0NMI\x01\0\0\0") == set()  # order and width of integers do not matter
    assert changed(EVERYTHING, tags=b"NMC\x02RGZa\0") == set()  # NM is left out
    assert changed(EVERYTHING, tags=b"RGZb\0") == {"aux"}
    assert changed(DEFAULT, position=7, cigar=[], mate=0) == set()


def test_reversed_reads_are_turned(kernels: ModuleType) -> None:
    turned = sums_of(kernels, flag=0, bases=b"NCGT", qualities=b"DCBA")
    assert sums_of(kernels)[:5] == turned[:5]
    assert sums_of(kernels, DEFAULT._replace(reverse=False))[:5] != turned[:5]


def test_folding_is_that_of_bam(kernels: ModuleType) -> None:
    assert sums_of(kernels, bases=b"acg-") == sums_of(kernels)
    assert sums_of(kernels, flag=0, bases=b"uCGN") == sums_of(kernels, flag=0, bases=b"TCGN")


@pytest.mark.parametrize("group", [-1, 1])
def test_groups_out_of_range_are_refused(kernels: ModuleType, group: int) -> None:
    with pytest.raises(KernelError, match="group") as caught:
        add(kernels, from_tuples([PLAIN]), np.array([group], np.int64), 1, DEFAULT)
    assert caught.value.record == 0


def test_bad_arguments_are_refused(kernels: ModuleType) -> None:
    records, none = from_tuples([PLAIN]), np.zeros(1, np.int64)
    with pytest.raises(KernelError, match="differ in number"):
        add(kernels, records, np.zeros(2, np.int64), 1, DEFAULT)
    with pytest.raises(KernelError, match="pairs"):
        add(kernels, records, none, 1, DEFAULT._replace(tags=b"RGX"))
    with pytest.raises(KernelError, match="24"):
        kernels.checksum(
            records, np.zeros(3, np.uint32), none, np.ones(25, np.uint64), 0, 0, np.zeros(0, np.uint8), False, 8
        )
    for columns in (0, 3, 6, 9):
        with pytest.raises(KernelError, match="4, 5 or 8"):
            add(kernels, records, none, 1, DEFAULT._replace(columns=columns))
    with pytest.raises(KernelError, match="three numbers"):
        kernels.checksum(
            records, np.zeros(2, np.uint32), none, np.ones(24, np.uint64), 0, 0, np.zeros(0, np.uint8), False, 8
        )
    with pytest.raises(KernelError, match="three numbers"):
        kernels.record_crcs(records, True, np.zeros(4, np.uint32))
    with pytest.raises(KernelError, match="differ in length"):
        kernels.record_crcs(from_tuples([(*PLAIN[:10], b"AB", b"")]), True, np.zeros(3, np.uint32))
    with pytest.raises(KernelError, match="parse"):
        add(kernels, from_tuples([(*PLAIN[:11], b"NMq1")]), none, 1, DEFAULT)


@given(data=st.binary(max_size=600), start=st.integers(0, 2**32 - 1), skip=st.integers(0, 20), portable=st.booleans())
def test_crc32_is_that_of_zlib(kernels: ModuleType, data: bytes, start: int, skip: int, portable: bool) -> None:
    part = np.frombuffer(data, np.uint8)[skip:]
    assert kernels.crc32(part, start, portable) == zlib.crc32(part.tobytes(), start)


@pytest.mark.parametrize("portable", [True, False])
def test_crc32_of_every_length(kernels: ModuleType, portable: bool) -> None:
    data = np.random.default_rng(3).integers(0, 256, 400, np.uint8)
    for size in range(len(data)):
        assert kernels.crc32(data[:size], 0, portable) == zlib.crc32(data[:size].tobytes())


@given(spans=st.lists(st.binary(max_size=40), max_size=12), seed=st.integers(0, 9))
def test_product_of_spans_is_that_of_their_crcs(kernels: ModuleType, spans: list[bytes], seed: int) -> None:
    wanted = 1
    for span in spans:
        value = zlib.crc32(span) % 2**31
        wanted = wanted * (value if 0 < value < 2**31 - 1 else 1) % (2**31 - 1)
    order = np.random.default_rng(seed).permutation(len(spans))
    values = np.frombuffer(b"".join(spans[i] for i in order), np.uint8)
    offsets = np.cumsum([0, *(len(spans[i]) for i in order)]).astype(np.int64)
    assert kernels.span_product(values, offsets) == wanted


def test_product_of_spans_outside_of_the_values_is_refused(kernels: ModuleType) -> None:
    with pytest.raises(KernelError, match="outside"):
        kernels.span_product(np.zeros(3, np.uint8), np.array([0, 4]))
