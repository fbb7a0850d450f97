"""Throughput of the kernels that read and write SAM and BAM, and of those that sum records up."""

from __future__ import annotations

import numpy as np
import pytest

from agd.batch import U8, Column
from agd.kernels import _native as kernels
from agd.kernels.checksums import empty_sums
from agd.kernels.records import RecordArrays
from benchmarks.kernels.measure import Measure
from benchmarks.kernels.samples import offsets_of


def test_sam_capacity(measure: Measure, sam: U8) -> None:
    measure("SAM", sam.nbytes, lambda: kernels.sam_capacity(sam))


def test_sam_parse(measure: Measure, sam: U8, references: Column, reads: int) -> None:
    arrays = RecordArrays.allocate(*kernels.sam_capacity(sam))
    names, offsets = references.values, offsets_of(references)
    measure("SAM", sam.nbytes, lambda: kernels.sam_parse(sam, names, offsets, arrays, True), records=reads)


def test_sam_format_bound(measure: Measure, sam: U8, records: RecordArrays, references: Column, reads: int) -> None:
    names, offsets = references.values, offsets_of(references)
    measure("SAM", sam.nbytes, lambda: kernels.sam_format_bound(records, names, offsets), records=reads)


def test_sam_format(measure: Measure, sam: U8, records: RecordArrays, references: Column, reads: int) -> None:
    names, offsets = references.values, offsets_of(references)
    out = np.zeros(kernels.sam_format_bound(records, names, offsets), np.uint8)
    assert kernels.sam_format(records, names, offsets, out) == len(sam)
    measure("SAM", sam.nbytes, lambda: kernels.sam_format(records, names, offsets, out), records=reads)


def test_bam_scan(measure: Measure, bam: Column, reads: int) -> None:
    offsets = np.zeros(reads + 1, np.int64)
    assert kernels.bam_scan(bam.values, True, offsets) == (reads, len(bam.values))
    measure("BAM", bam.values.nbytes, lambda: kernels.bam_scan(bam.values, True, offsets), records=reads)


def test_bam_measure(measure: Measure, bam: Column, reads: int) -> None:
    offsets = offsets_of(bam)
    measure("BAM", bam.values.nbytes, lambda: kernels.bam_measure(bam.values, offsets), records=reads)


def test_bam_decode(measure: Measure, bam: Column, references: Column, reads: int) -> None:
    offsets, count = offsets_of(bam), len(references)
    arrays = RecordArrays.allocate(reads, *kernels.bam_measure(bam.values, offsets))
    size = bam.values.nbytes
    measure("BAM", size, lambda: kernels.bam_decode(bam.values, offsets, count, arrays), records=reads)


def test_bam_places(measure: Measure, bam: Column, references: Column, reads: int) -> None:
    offsets, count = offsets_of(bam), len(references)
    out = np.empty(reads, np.uint16), np.empty(reads, np.int32), np.empty(reads, np.int64), np.empty(reads, np.int64)
    size = bam.values.nbytes
    measure("BAM", size, lambda: kernels.bam_places(bam.values, offsets, count, *out), records=reads)


def test_bam_sizes(measure: Measure, bam: Column, records: RecordArrays, reads: int) -> None:
    sizes = np.empty(reads, np.int64)
    measure("BAM", bam.values.nbytes, lambda: kernels.bam_sizes(records, sizes), records=reads)


def test_bam_encode(measure: Measure, bam: Column, records: RecordArrays, reads: int) -> None:
    out, offsets = np.zeros_like(bam.values), offsets_of(bam)
    measure("BAM", out.nbytes, lambda: kernels.bam_encode(records, out, offsets), records=reads)


@pytest.mark.parametrize("columns", [4, 5, 8])
def test_checksum(measure: Measure, bam: Column, records: RecordArrays, reads: int, columns: int) -> None:
    groups, sums = np.zeros(reads, np.int64), empty_sums(1).reshape(-1)
    tags = np.frombuffer(b"BCFIQTRTTC", np.uint8)
    size, crcs = bam.values.nbytes, np.zeros(3 * reads, np.uint32)
    measure(
        "BAM", size, lambda: kernels.checksum(records, crcs, groups, sums, 0xC1, 0x900, tags, False, columns),
        records=reads,
    )  # fmt: skip


def test_record_crcs(measure: Measure, bam: Column, records: RecordArrays, reads: int) -> None:
    crcs = np.zeros(3 * reads, np.uint32)
    measure("BAM", bam.values.nbytes, lambda: kernels.record_crcs(records, True, crcs), records=reads)
