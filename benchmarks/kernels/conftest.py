"""Fixtures of all benchmarks of kernels, and the table that is printed after a run.

Run with ``pytest benchmarks/kernels``; ``--reads`` makes the samples smaller or larger.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agd.batch import U8, Column
from agd.kernels import _native as kernels
from agd.kernels.records import RecordArrays
from agd.types import DEFAULT_CHUNK_RECORDS
from benchmarks.kernels import samples
from benchmarks.kernels.measure import Measure, table
from benchmarks.kernels.samples import Aligned, offsets_of


def pytest_addoption(parser: Any) -> None:
    """The size of the samples."""
    parser.addoption("--reads", type=int, default=DEFAULT_CHUNK_RECORDS, help="reads of the samples, an even number")


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    """Throughputs after all else."""
    for line in table(getattr(getattr(config, "_benchmarksession", None), "benchmarks", [])):
        terminalreporter.write_line(line)


@pytest.fixture
def measure(benchmark: Any) -> Measure:
    """The way in which all kernels are measured."""
    return Measure(benchmark)


@pytest.fixture(scope="session")
def reads(request: pytest.FixtureRequest) -> int:
    """Reads of the samples."""
    return int(request.config.getoption("--reads", DEFAULT_CHUNK_RECORDS))


@pytest.fixture
def rng() -> np.random.Generator:
    """The same random numbers for every benchmark."""
    return np.random.default_rng(1)


@pytest.fixture(scope="session")
def headers(reads: int) -> Column:
    """See :func:`samples.headers`."""
    return samples.headers(reads)


@pytest.fixture(scope="session")
def names(headers: Column) -> Column:
    """The names in the headers."""
    return samples.names(headers)


@pytest.fixture(scope="session")
def bases(reads: int) -> Column:
    """See :func:`samples.bases`."""
    return samples.bases(reads)


@pytest.fixture(scope="session")
def qualities(reads: int) -> Column:
    """See :func:`samples.qualities`."""
    return samples.qualities(reads)


@pytest.fixture(scope="session", params=[4, 8, 38], ids=lambda levels: f"{levels}-levels")
def walk(request: pytest.FixtureRequest, reads: int) -> U8:
    """See :func:`samples.walk`."""
    return samples.walk(reads, request.param)


@pytest.fixture(scope="session")
def fastq(headers: Column, bases: Column, qualities: Column) -> U8:
    """Headers, bases and qualities as text."""
    return samples.fastq(headers, bases, qualities)


@pytest.fixture(scope="session")
def aligned(reads: int) -> Aligned:
    """Pairs in the order of the sequencer; see :func:`samples.align`."""
    return samples.align(reads)


@pytest.fixture(scope="session")
def ordered(aligned: Aligned) -> Aligned:
    """The same by coordinate."""
    return aligned.sorted()


@pytest.fixture(scope="session")
def records(names: Column, aligned: Aligned, qualities: Column) -> RecordArrays:
    """The alignments with names and qualities."""
    return samples.records(names, aligned, qualities)


@pytest.fixture(scope="session")
def references(aligned: Aligned) -> Column:
    """Names of the contigs."""
    return Column.from_list([contig.name.encode() for contig in aligned.genome.contigs])


@pytest.fixture(scope="session")
def sam(records: RecordArrays, references: Column) -> U8:
    """The records as SAM."""
    named = references.values, offsets_of(references)
    out = np.empty(kernels.sam_format_bound(records, *named), np.uint8)
    return out[: kernels.sam_format(records, *named, out)]


@pytest.fixture(scope="session")
def bam(records: RecordArrays) -> Column:
    """The records as BAM."""
    sizes = np.empty(len(records.flag), np.int64)
    kernels.bam_sizes(records, sizes)
    column = Column.from_lengths(np.empty(int(sizes.sum()), np.uint8), sizes)
    kernels.bam_encode(records, column.values, offsets_of(column))
    return column
