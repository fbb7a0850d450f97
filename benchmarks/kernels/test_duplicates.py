"""Throughput of the kernels that mark duplicates: from reads to rows, mates, groups, and optical duplicates."""

from __future__ import annotations

import numpy as np
import pytest

from agd.batch import Column
from agd.kernels import _native as kernels
from agd.kernels.duplicates import EXAMINED, FIRST, PAIRED, REVERSE, SECOND, Rows, end_dtype
from agd.ops.dedup_ends import LEAST_QUALITY, unclipped
from agd.ops.dedup_ends import places as places_of
from agd.ops.dedup_groups import choose, sign
from agd.ops.dedup_shuffle import PARTITION_BITS
from benchmarks.kernels.measure import Measure
from benchmarks.kernels.samples import Aligned, offsets_of, spans_of

#: Pairs that are copies of another pair, one in so many.
COPIES = 8


def test_quality_sums(measure: Measure, qualities: Column, reads: int) -> None:
    values, offsets, out = qualities.values, offsets_of(qualities), np.empty(reads, np.int64)
    size, least = values.nbytes, LEAST_QUALITY + 33
    measure("qualities", size, lambda: kernels.quality_sums(values, offsets, least, 33, out), records=reads)


@pytest.fixture(scope="module")
def ends(names: Column, aligned: Aligned, qualities: Column) -> Rows:
    """Rows of all reads; some pairs lie where another pair does."""
    count = len(names)
    rows, low, high = np.zeros(count, end_dtype(barcode=False, places=True)), *np.empty((2, count), np.uint64)
    starts, stops = spans_of(names)
    kernels.hash_spans(names.values, starts, stops, low, high)
    scores = np.empty(count, np.int64)
    kernels.quality_sums(qualities.values, offsets_of(qualities), LEAST_QUALITY + 33, 33, scores)
    rows["low"], rows["high"], rows["ordinal"], rows["score"] = low, high, np.arange(count), scores
    rows["tile"], rows["x"], rows["y"] = places_of(names.values, starts, stops)
    rows["start"], rows["end"] = unclipped(aligned.lines)
    rows["reference"] = aligned.lines.reference
    rows["kind"] = aligned.lines.flag & (REVERSE | FIRST | SECOND | PAIRED) | EXAMINED
    pairs = rows.reshape(-1, 2)
    for field in ("start", "end", "reference"):
        pairs[field][1::COPIES] = pairs[field][::COPIES]
    return rows


def test_deal_rows(measure: Measure, ends: Rows) -> None:
    rows, width = ends.view(np.uint8), ends.dtype.itemsize
    out, bounds = np.empty_like(rows), np.empty((1 << PARTITION_BITS) + 1, np.int64)
    measure(
        "rows", rows.nbytes, lambda: kernels.deal_rows(rows, width, PARTITION_BITS, out, bounds), records=len(ends)
    )  # fmt: skip


def test_sign_ends(measure: Measure, ends: Rows) -> None:
    rows, width = ends.view(np.uint8), ends.dtype.itemsize
    measure("rows", rows.nbytes, lambda: kernels.sign_ends(rows, width, False), records=len(ends))


def test_find_members(measure: Measure, ends: Rows) -> None:
    # Single reads, of which there are few, among the ends of pairs.
    taken = np.ascontiguousarray(sign(ends).taken["low"])
    wanted = np.concatenate([taken[::50], taken[::50] + np.uint64(1)])
    found = np.empty(len(wanted), np.bool_)
    kernels.find_members(wanted, taken, found)
    assert np.count_nonzero(found) >= len(taken[::50])
    measure("hashes", taken.nbytes, lambda: kernels.find_members(wanted, taken, found), records=len(taken))


def test_best_of_groups(measure: Measure, ends: Rows) -> None:
    pairs = sign(ends).pairs
    low, high, score = np.ascontiguousarray(pairs["low"]), np.ascontiguousarray(pairs["high"]), pairs["score"] * 2
    scores, best, tied = score.astype(np.int64), np.empty(len(pairs), np.int64), np.empty(len(pairs), np.bool_)
    groups = kernels.best_of_groups(low, high, scores, best, tied)
    assert groups < len(pairs)
    size = low.nbytes + high.nbytes
    measure("hashes", size, lambda: kernels.best_of_groups(low, high, scores, best, tied), records=len(pairs))


def test_optical_duplicates(measure: Measure, ends: Rows) -> None:
    pairs = sign(ends).pairs
    group = choose(pairs).best
    several = np.flatnonzero(np.bincount(group, minlength=len(pairs))[group] > 1)
    rank = np.empty(len(several), np.int64)
    rank[np.argsort(-pairs["score"][several].astype(np.int64), kind="stable")] = np.arange(len(several))
    tile, x, y = (np.ascontiguousarray(pairs[name][several]) for name in ("tile", "x", "y"))
    order = np.lexsort((x, tile, group[several]))
    columns = [column[order] for column in (group[several], rank, tile, x, y)]
    out = np.empty(len(several), np.bool_)
    size = sum(column.nbytes for column in columns)
    measure("columns", size, lambda: kernels.optical_duplicates(*columns, 100, out), records=len(several))
