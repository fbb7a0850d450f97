"""Throughput of the native kernels, next to memcpy.

Run with ``pytest benchmarks/kernels``. ``gigabytes_per_second`` in the extra information counts the bytes that a kernel
is about (named beside it), not all bytes that it touches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from agd.batch import I64, U8, Column
from agd.kernels import _native as kernels
from agd.kernels.checksums import empty_sums
from agd.kernels.records import RecordArrays

READS, LENGTH = 100_000, 150

Measure = Callable[[str, int, Callable[[], Any]], None]


@pytest.fixture
def measure(benchmark: Any) -> Measure:
    """Run a function many times and note the bytes that one run handles."""

    def run(what: str, size: int, function: Callable[[], Any]) -> None:
        benchmark.pedantic(function, rounds=15, warmup_rounds=2)
        benchmark.extra_info["bytes"] = size
        benchmark.extra_info["of"] = what
        if benchmark.stats:
            benchmark.extra_info["gigabytes_per_second"] = round(size / benchmark.stats.stats.min / 1e9, 2)

    return run


def letters(rng: np.random.Generator, alphabet: bytes, size: int) -> U8:
    return np.frombuffer(alphabet, np.uint8)[rng.integers(0, len(alphabet), size)]


@pytest.fixture(scope="module")
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


@pytest.fixture(scope="module")
def bases(rng: np.random.Generator) -> Column:
    """Reads of a chunk: a hundredth of their bases is N."""
    values = letters(rng, b"ACGT", READS * LENGTH)
    values[rng.integers(0, len(values), len(values) // 100)] = ord("N")
    return Column.from_lengths(values, np.full(READS, LENGTH))


@pytest.fixture(scope="module")
def fastq(rng: np.random.Generator, bases: Column) -> U8:
    """The same reads as FASTQ text with names as sequencers write them."""
    quality = letters(rng, b"FFFFFF:,#", READS * LENGTH).tobytes()
    sequence = bases.values.tobytes()
    parts = [
        b"@A00123:45:HXXXXXXXX:1:1101:%d:%d 1:N:0:ACGTACGT\n%b\n+\n%b\n"
        % (1000 + i % 30_000, i, sequence[i * LENGTH : (i + 1) * LENGTH], quality[i * LENGTH : (i + 1) * LENGTH])
        for i in range(READS)
    ]
    return np.frombuffer(b"".join(parts), np.uint8)


def test_memcpy(measure: Measure, fastq: U8) -> None:
    out = np.empty_like(fastq)
    measure("text", fastq.nbytes, lambda: np.copyto(out, fastq))


def test_fastq_scan(measure: Measure, fastq: U8) -> None:
    spans = np.zeros(8 * READS, np.int64)
    assert kernels.fastq_scan(fastq, True, False, spans) == (READS, len(fastq))
    measure("text", fastq.nbytes, lambda: kernels.fastq_scan(fastq, True, False, spans))


@pytest.mark.parametrize("size", [12, 40, 150, 5000])
def test_copy_spans(measure: Measure, rng: np.random.Generator, size: int) -> None:
    count = 15_000_000 // size
    lengths = rng.integers(size - size // 4, size + size // 4, count)
    source = Column.from_lengths(np.zeros(int(lengths.sum()), np.uint8), lengths)
    assert source.offsets is not None
    out, starts, ends = np.zeros_like(source.values), source.offsets[:-1], source.offsets[1:]
    measure("values", out.nbytes, lambda: kernels.copy_spans(source.values, starts, ends, out, starts))


@pytest.mark.parametrize("field", [0, 1, 3], ids=["names", "sequences", "qualities"])
def test_copy_spans_out_of_fastq(measure: Measure, fastq: U8, field: int) -> None:
    spans = np.zeros(8 * READS, np.int64)
    kernels.fastq_scan(fastq, True, False, spans)
    starts, ends = spans[2 * field :: 8], spans[2 * field + 1 :: 8]
    offsets = np.zeros(READS + 1, np.int64)
    np.cumsum(ends - starts, out=offsets[1:])
    out = np.zeros(int(offsets[-1]), np.uint8)
    measure("values", out.nbytes, lambda: kernels.copy_spans(fastq, starts, ends, out, offsets))


@pytest.mark.parametrize("size", [40, 150])
@pytest.mark.parametrize("turned", [False, True])
def test_gather_spans(measure: Measure, rng: np.random.Generator, size: int, turned: bool) -> None:
    # Twenty sorted runs that are merged: each record comes from a random place of one of them.
    runs, count = 20, 1_500_000 // size
    values = np.full(count * size, ord("C"), np.uint8)
    starts = np.arange(count, dtype=np.int64) * size
    turn = rng.random(count) < 0.5 if turned else None
    parts = [(values.copy(), starts, starts + size, turn) for _ in range(runs)]
    order, offsets = rng.permutation(runs * count), np.empty(runs * count + 1, np.int64)
    source, row = (order // count).astype(np.uint32), order % count
    out = np.zeros(kernels.gather_lengths(parts, source, row, offsets), np.uint8)
    measure("values", out.nbytes, lambda: kernels.gather_spans(parts, source, row, turned, out, offsets))


@pytest.mark.parametrize("complement", [False, True])
def test_reverse_spans(measure: Measure, bases: Column, complement: bool) -> None:
    values, mask = bases.values.copy(), np.ones(READS, np.bool_)
    measure("values", values.nbytes, lambda: kernels.reverse_spans(values, offsets_of(bases), mask, complement))


def offsets_of(column: Column) -> I64:
    assert column.offsets is not None
    return column.offsets


@pytest.mark.parametrize("rare", [0, 1000], ids=["acgtn", "one-in-1000-iupac"])
def test_base3_pack(measure: Measure, rng: np.random.Generator, bases: Column, rare: int) -> None:
    values = bases.values.copy()
    if rare:
        values[rng.integers(0, len(values), len(values) // rare)] = ord("R")
    words = np.zeros(READS * (LENGTH // 21 + 1), np.uint64)
    measure("bases", values.nbytes, lambda: kernels.base3_pack(values, offsets_of(bases), words))


def test_base3_exceptions(measure: Measure, bases: Column) -> None:
    positions, found = np.zeros(1, np.int64), np.zeros(1, np.uint8)
    measure("bases", bases.values.nbytes, lambda: kernels.base3_exceptions(bases.values, positions, found))


def test_base3_unpack(measure: Measure, bases: Column) -> None:
    words, out = np.zeros(READS * (LENGTH // 21 + 1), np.uint64), np.zeros_like(bases.values)
    kernels.base3_pack(bases.values, offsets_of(bases), words)
    measure("bases", out.nbytes, lambda: kernels.base3_unpack(words, bases.lengths, out))


@pytest.mark.parametrize("with_n", [False, True])
def test_base2_pack(measure: Measure, rng: np.random.Generator, bases: Column, with_n: bool) -> None:
    values = bases.values if with_n else letters(rng, b"ACGT", READS * LENGTH)
    out = np.zeros((len(values) + 3) // 4, np.uint8)
    measure("bases", values.nbytes, lambda: kernels.base2_pack(values, offsets_of(bases), out))


def test_base2_unpack(measure: Measure, bases: Column) -> None:
    packed, out = np.zeros((len(bases.values) + 3) // 4, np.uint8), np.zeros_like(bases.values)
    kernels.base2_pack(bases.values, offsets_of(bases), packed)
    measure("bases", out.nbytes, lambda: kernels.base2_unpack(packed, len(out), out))


def test_exception_runs(measure: Measure, bases: Column) -> None:
    room = len(bases.values) // 50
    starts, lengths, found = np.zeros(room, np.int64), np.zeros(room, np.int64), np.zeros(room, np.uint8)
    keep = np.frombuffer(b"ACGT", np.uint8)
    measure("bases", bases.values.nbytes, lambda: kernels.exception_runs(bases.values, keep, starts, lengths, found))


@pytest.mark.parametrize("kind", ["random", "sorted", "two-runs", "displaced"])
def test_argsort_of_coordinates(measure: Measure, rng: np.random.Generator, kind: str) -> None:
    count = 1_000_000
    keys = (rng.integers(0, 24, count) << 32 | rng.integers(0, 2**29, count)).astype(np.uint64)
    if kind != "random":
        keys.sort()
    if kind == "two-runs":
        keys = np.concatenate([keys[::2], keys[1::2]])
    if kind == "displaced":
        keys[::100] += np.uint64(50_000)
    out = np.zeros(count, np.int64)
    measure("keys", keys.nbytes, lambda: kernels.argsort_u64(keys, out))


def test_coordinate_keys(measure: Measure, rng: np.random.Generator) -> None:
    count = 1_000_000
    reference, position = rng.integers(-1, 24, count).astype(np.int32), rng.integers(-1, 2**28, count)
    flag, out = rng.integers(0, 4096, count).astype(np.uint16), np.zeros(count, np.uint64)
    measure("keys", out.nbytes, lambda: kernels.coordinate_keys(reference, position, flag, out))


@pytest.fixture(scope="module")
def names(rng: np.random.Generator) -> Column:
    numbers = rng.integers(1000, 40_000, (200_000, 3))
    return Column.from_list([b"A00123:45:HXXXXXXXX:1:%d:%d:%d" % tuple(row) for row in numbers.tolist()])


@pytest.mark.parametrize("natural", [True, False])
def test_name_keys(measure: Measure, names: Column, natural: bool) -> None:
    out, offsets = np.zeros(2 * len(names.values) + 2 * len(names), np.uint8), np.zeros(len(names) + 1, np.int64)
    flags = np.zeros(len(names), np.uint16)
    size = names.values.nbytes
    measure("names", size, lambda: kernels.name_keys(names.values, offsets_of(names), flags, natural, out, offsets))


def test_argsort_of_names(measure: Measure, names: Column) -> None:
    out = np.zeros(len(names), np.int64)
    measure("names", names.values.nbytes, lambda: kernels.argsort_bytes(names.values, offsets_of(names), out))


REFERENCES = Column.from_list([b"chr%d" % i for i in range(1, 25)])


@pytest.fixture(scope="module")
def sam(rng: np.random.Generator, bases: Column) -> U8:
    """The same reads as SAM text with the tags of bwa."""
    quality = letters(rng, b"FFFFFF:,#", READS * LENGTH).tobytes()
    sequence = bases.values.tobytes()
    cells = zip(range(READS), rng.integers(1, 10**8, READS).tolist(), rng.integers(0, 10, READS).tolist(), strict=True)
    parts = [
        b"A00123:45:HXXXXXXXX:1:1101:%d:%d\t99\tchr%d\t%d\t60\t%dM5S\t=\t%d\t351\t%b\t%b"
        b"\tNM:i:%d\tMD:Z:60A84\tMC:Z:150M\tAS:i:140\tXS:i:20\tRG:Z:sample\n"
        % (1000 + i % 30_000, i, i * 24 // READS + 1, place, LENGTH - 5, place + 200,
           sequence[i * LENGTH : (i + 1) * LENGTH], quality[i * LENGTH : (i + 1) * LENGTH], edits)
        for i, place, edits in cells
    ]  # fmt: skip
    return np.frombuffer(b"".join(parts), np.uint8)


@pytest.fixture(scope="module")
def records(sam: U8) -> RecordArrays:
    arrays = RecordArrays.allocate(*kernels.sam_capacity(sam))
    kernels.sam_parse(sam, REFERENCES.values, offsets_of(REFERENCES), arrays, True)
    return arrays


@pytest.fixture(scope="module")
def bam(records: RecordArrays) -> Column:
    sizes = np.zeros(READS, np.int64)
    kernels.bam_sizes(records, sizes)
    column = Column.from_lengths(np.zeros(int(sizes.sum()), np.uint8), sizes)
    kernels.bam_encode(records, column.values, offsets_of(column))
    return column


def test_sam_capacity(measure: Measure, sam: U8) -> None:
    measure("text", sam.nbytes, lambda: kernels.sam_capacity(sam))


def test_sam_parse(measure: Measure, sam: U8) -> None:
    arrays = RecordArrays.allocate(*kernels.sam_capacity(sam))
    names, offsets = REFERENCES.values, offsets_of(REFERENCES)
    measure("text", sam.nbytes, lambda: kernels.sam_parse(sam, names, offsets, arrays, True))


def test_sam_format(measure: Measure, sam: U8, records: RecordArrays) -> None:
    names, offsets = REFERENCES.values, offsets_of(REFERENCES)
    out = np.zeros(kernels.sam_format_bound(records, names, offsets), np.uint8)
    assert kernels.sam_format(records, names, offsets, out) == len(sam)
    measure("text", sam.nbytes, lambda: kernels.sam_format(records, names, offsets, out))


def test_bam_measure(measure: Measure, bam: Column) -> None:
    measure("BAM", bam.values.nbytes, lambda: kernels.bam_measure(bam.values, offsets_of(bam)))


def test_bam_decode(measure: Measure, bam: Column) -> None:
    offsets = offsets_of(bam)
    arrays = RecordArrays.allocate(READS, *kernels.bam_measure(bam.values, offsets))
    measure("BAM", bam.values.nbytes, lambda: kernels.bam_decode(bam.values, offsets, len(REFERENCES), arrays))


def test_bam_encode(measure: Measure, bam: Column, records: RecordArrays) -> None:
    out = np.zeros_like(bam.values)
    measure("BAM", out.nbytes, lambda: kernels.bam_encode(records, out, offsets_of(bam)))


@pytest.mark.parametrize("columns", [4, 5, 8])
def test_checksum(measure: Measure, bam: Column, records: RecordArrays, columns: int) -> None:
    groups, sums = np.zeros(READS, np.int64), empty_sums(1).reshape(-1)
    tags = np.frombuffer(b"BCFIQTRTTC", np.uint8)
    size, crcs = bam.values.nbytes, np.zeros(3 * READS, np.uint32)
    measure("BAM", size, lambda: kernels.checksum(records, crcs, groups, sums, 0xC1, 0x900, tags, False, columns))


def test_record_crcs(measure: Measure, bam: Column, records: RecordArrays) -> None:
    crcs = np.zeros(3 * READS, np.uint32)
    measure("BAM", bam.values.nbytes, lambda: kernels.record_crcs(records, True, crcs))


@pytest.mark.parametrize("portable", [False, True])
def test_crc32(measure: Measure, bases: Column, portable: bool) -> None:
    measure("values", bases.values.nbytes, lambda: kernels.crc32(bases.values, 0, portable))


def test_aux_numbers(measure: Measure, records: RecordArrays) -> None:
    out, present = np.zeros(READS, np.int64), np.zeros(READS, np.bool_)
    tag, size = int.from_bytes(b"XS", "little"), int(records.tag_offsets[-1])
    measure("tags", size, lambda: kernels.aux_numbers(records.tags, records.tag_offsets, tag, out, present))


def test_aux_merge(measure: Measure, records: RecordArrays) -> None:
    tags, offsets = records.tags, records.tag_offsets
    size = int(offsets[-1])
    added = Column.from_lengths(np.tile(np.frombuffer(b"NMC\x01", np.uint8), READS), np.full(READS, 4))
    out, out_offsets = np.zeros(size + len(added.values), np.uint8), np.zeros(READS + 1, np.int64)
    other = offsets_of(added)
    measure("tags", size, lambda: kernels.aux_merge(tags, offsets, added.values, other, out, out_offsets))
