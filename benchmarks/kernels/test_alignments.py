"""Records a second of the kernels for alignments, on one thread.

Run with ``pytest benchmarks/kernels/test_alignments.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from agd.aligners.finish import collect, finish
from agd.batch import Alignments, Column
from agd.kernels import _native as kernels
from agd.kernels import alignments
from agd.types import Reference

RECORDS, LENGTH, GENOME = 100_000, 150, 20_000_000

Measure = Callable[[int, Callable[[], Any]], None]


@pytest.fixture
def measure(benchmark: Any) -> Measure:
    """Run a function many times and note how many records one run handles."""

    def run(records: int, function: Callable[[], Any]) -> None:
        benchmark.pedantic(function, rounds=15, warmup_rounds=2)
        if benchmark.stats:
            benchmark.extra_info["million_records_per_second"] = round(records / benchmark.stats.stats.min / 1e6, 2)

    return run


@pytest.fixture(scope="module")
def sample() -> SimpleNamespace:
    """A chunk of pairs that lie properly on a random genome, one base in 250 wrong."""
    rng = np.random.default_rng(1)
    letters = np.frombuffer(b"ACGT", np.uint8)
    genome = letters[rng.integers(0, 4, GENOME)]
    first = rng.integers(0, GENOME - 1000, RECORDS // 2)
    position = np.stack([first, first + 250], axis=1).ravel()
    bases = genome[position[:, None] + np.arange(LENGTH)].ravel()
    wrong = rng.integers(0, len(bases), len(bases) // 250)
    bases[wrong] = letters[rng.integers(0, 4, len(wrong))]
    offsets = np.arange(RECORDS + 1, dtype=np.int64)
    pair = np.tile(np.array([99, 147], np.uint16), RECORDS // 2)
    mates = position.reshape(-1, 2)[:, ::-1].ravel()
    records = Alignments(
        pair, np.zeros(RECORDS, np.int32), position, np.full(RECORDS, 60, np.uint8), np.zeros(RECORDS, np.int32), mates,
        np.where(pair == 99, 400, -400), Column(np.full(RECORDS, LENGTH << 4, np.uint32), offsets),
        Column.empty(RECORDS),
    )  # fmt: skip
    return SimpleNamespace(
        genome=genome, contigs=np.array([0, GENOME]), records=records, bases=Column(bases, offsets * LENGTH)
    )


def test_encode(measure: Measure, sample: Any) -> None:
    measure(RECORDS, lambda: alignments.encode(sample.records))


def test_decode(measure: Measure, sample: Any) -> None:
    column = alignments.encode(sample.records)
    measure(RECORDS, lambda: alignments.decode(column))


def test_nm_md(measure: Measure, sample: Any) -> None:
    r = sample.records
    place = (sample.contigs, r.reference)
    room = kernels.md_bound(*place, r.cigar.values, r.cigar.offsets, sample.bases.offsets)
    out = np.empty(RECORDS, np.int32), np.empty(room, np.uint8), np.empty(RECORDS + 1, np.int64)
    measure(RECORDS, lambda: kernels.nm_md(
        sample.genome, *place, r.position, r.cigar.values, r.cigar.offsets, sample.bases.values, sample.bases.offsets,
        *out,
    ))  # fmt: skip


def hit_objects(sample: Any) -> list[Any]:
    """What an aligner in this process would give: one tuple of two lists per pair."""
    hits = [
        SimpleNamespace(
            contig="c", ref_start=start, query_start=0, query_end=LENGTH, mapq=60, reverse=i % 2 == 1, proper_pair=True,
            is_primary=True, is_secondary=False, cigar=[("M", LENGTH)],
        )
        for i, start in enumerate(sample.records.position.tolist())
    ]  # fmt: skip
    return [([a], [b]) for a, b in zip(hits[::2], hits[1::2], strict=True)]


def test_collect_hits(measure: Measure, sample: Any) -> None:
    results = hit_objects(sample)
    measure(RECORDS, lambda: collect(results, {"c": 0}))


def test_finish_hits(measure: Measure, sample: Any) -> None:
    hits = collect(hit_objects(sample), {"c": 0})
    bases = Column(sample.bases.values.copy(), sample.bases.offsets)
    kernels.reverse_spans(bases.values, bases.offsets, np.arange(RECORDS) % 2 == 1, True)
    genome: Any = SimpleNamespace(contigs=[Reference("c", GENOME)], bases=sample.genome, offsets=sample.contigs)
    primary, _, _ = finish(hits, bases, genome, paired=True)
    assert primary.flag.tolist() == sample.records.flag.tolist()
    measure(RECORDS, lambda: finish(hits, bases, genome, read_group="g", paired=True))
