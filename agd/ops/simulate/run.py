"""The public function: simulate a run into files."""

from __future__ import annotations

import contextlib
import functools
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from isal import isal_zlib

from agd.errors import UsageError
from agd.ops.simulate.batches import Simulator
from agd.ops.simulate.fragments import Library
from agd.ops.simulate.genome import Genome, random_genome, read_fasta, with_snps, write_fasta
from agd.ops.simulate.qualities import QualityModel
from agd.run import Runner, SerialRunner
from agd.sinks import Sink, open_sink
from agd.target import check_distinct
from agd.urls import Url, as_text

#: First line of the truth table.
TRUTH_COLUMNS = b"name\tcontig\tposition1\tposition2\tstrand\tduplicate_of\n"


@dataclass(frozen=True)
class SimulationReport:
    """What was simulated.

    Attributes
    ----------
    pairs : int
        Pairs, or reads of a single-end run.
    reads, bases : int
    duplicates : int
        Pairs (or single reads) that are copies of an earlier one.
    errors : int
        Bases that differ from the sampled genome, unknown bases not counted.
    genome_length, contigs : int
    """

    pairs: int
    reads: int
    bases: int
    duplicates: int
    errors: int
    genome_length: int
    contigs: int


def simulate(
    read1: Url, read2: Url | None = None, *, pairs: int, reference: Url | None = None, genome: Url | None = None,
    truth: Url | None = None, genome_length: int = 5_000_000, contigs: int = 3, read_length: int = 150,
    insert_mean: float = 400.0, insert_sd: float = 80.0, profile: str = "novaseq", snp_rate: float = 0.001,
    duplicates: float = 0.08, optical: float = 0.15, gzip_level: int = 1, seed: int = 1, runner: Runner | None = None,
) -> SimulationReport:
    """Simulate a sequencing run. Same arguments, same bytes, for any runner.

    Parameters
    ----------
    read1, read2 : str or path
        FASTQ files to write: paths or urls, compressed when the name ends in ``.gz``. Without ``read2`` the run is
        single-end.
    pairs : int
        Pairs (or single reads) to draw.
    reference : str or path, optional
        FASTA to draw from, a path or url, plain or gzip. Without it a genome is made up.
    genome : str or path, optional
        Where to write the genome before SNPs, as FASTA, with an index ``<genome>.fai`` beside it. Not compressed.
    truth : str or path, optional
        Where to write a table, tab separated with a header line: name, contig, leftmost positions of read 1 and read 2
        (1-based; 0 for a read 2 that does not exist), strand of read 1, and the name of the pair that this one is a
        duplicate of (``.``: none). Compressed when the name ends in ``.gz``.
    genome_length, contigs : int
        Of the made-up genome.
    read_length : int
        Bases of every read.
    insert_mean, insert_sd : float
        Of the fragment length in bases, at least the read length.
    profile : str
        Qualities: ``hiseq`` (38 levels), ``binned8`` (8 levels) or ``novaseq`` (4 levels).
    snp_rate : float
        Share of the genome's bases at which the sampled individual differs from it.
    duplicates : float
        Share of pairs that are copies of the fragment of an earlier pair, with errors of their own.
    optical : float
        Share of the duplicates that lie beside their original on the flow cell.
    gzip_level : int
        1 to 6; 1 to 3 use ISA-L, the rest zlib.
    seed : int
        0 to 2**64 - 1.
    runner : Runner, optional
        Makes batches in parallel; default: serial.

    Returns
    -------
    SimulationReport

    Raises
    ------
    UsageError
        An option is out of its range.
    InputError
        The reference cannot be read.

    Examples
    --------
    >>> report = agd.simulate("a_1.fastq.gz", "a_2.fastq.gz", pairs=100, genome="a.fa", genome_length=10_000, seed=7)
    >>> report.pairs
    100
    """
    _check(pairs, read_length, insert_mean, insert_sd, snp_rate, duplicates, optical, gzip_level, seed)
    read1, read2, truth = as_text(read1), as_text(read2), as_text(truth)
    reference, genome = as_text(reference), as_text(genome)
    genomes = [reference, *([genome, f"{genome}.fai"] if genome is not None else [])]
    check_distinct(path for path in (read1, read2, truth, *genomes) if path is not None)
    base = read_fasta(reference) if reference is not None else random_genome(genome_length, contigs, seed)
    if genome is not None:
        _write_genome(base, genome)
    sampled = with_snps(base, snp_rate, seed)
    library = Library(
        sampled, seed, read_length=read_length, insert_mean=insert_mean, insert_sd=insert_sd, duplicates=duplicates,
        optical=optical,
    )
    simulator = Simulator(
        sampled, library, QualityModel(profile, read_length), seed=seed, pairs=pairs, read_length=read_length,
        single=read2 is None,
    )
    urls = [read1, *([read2] if read2 is not None else []), *([truth] if truth is not None else [])]
    done, copies, errors = _write(simulator, urls, truth is not None, gzip_level, runner or SerialRunner())
    reads = done * (1 if read2 is None else 2)
    return SimulationReport(
        pairs=done, reads=reads, bases=reads * read_length, duplicates=copies, errors=errors,
        genome_length=len(base.bases), contigs=len(base.names),
    )


def _check(
    pairs: int, read_length: int, insert_mean: float, insert_sd: float, snp_rate: float, duplicates: float,
    optical: float, gzip_level: int, seed: int,
) -> None:
    ranges: list[tuple[str, float, float, float]] = [
        ("pairs", pairs, 0, 240_000_000_000), ("read_length", read_length, 1, 100_000),
        ("insert_mean", insert_mean, 1, 1_000_000), ("insert_sd", insert_sd, 0, 1_000_000),
        ("snp_rate", snp_rate, 0, 1), ("duplicates", duplicates, 0, 0.99), ("optical", optical, 0, 1),
        ("gzip_level", gzip_level, 1, 6), ("seed", seed, 0, 2**64 - 1),
    ]  # fmt: skip
    for name, value, low, high in ranges:
        if not low <= value <= high:
            raise UsageError(f"{name} is {value:,}", f"give a value from {low:,} to {high:,}")


def _write_genome(genome: Genome, url: str) -> None:
    with _files([url, url + ".fai"]) as (fasta, index):
        write_fasta(genome, fasta, index)


@contextlib.contextmanager
def _files(urls: list[str]) -> Iterator[list[Sink]]:
    """Files to write: all visible at the end, or none of them after an error."""
    sinks: list[Sink] = []
    try:
        for url in urls:
            sinks.append(open_sink(url))  # noqa: PERF401 - those that are open must be known when one fails
        yield sinks
        for sink in sinks:
            sink.commit()
    except BaseException:
        for sink in sinks:
            sink.abort()
        raise


def _write(
    simulator: Simulator, urls: list[str], truth: bool, gzip_level: int, runner: Runner
) -> tuple[int, int, int]:
    """Write all batches; pairs, duplicates and errors written."""
    levels = [gzip_level if url.endswith(".gz") else 0 for url in urls]
    done = copies = errors = 0
    with _files(urls) as files:
        if truth:
            files[-1].write(_compress(TRUTH_COLUMNS, levels[-1]))
        make = functools.partial(_make, simulator, levels)
        for texts, pairs, duplicates, wrong in runner.map(make, range(simulator.batches)):
            for file, data in zip(files, texts, strict=True):
                file.write(data)
            done, copies, errors = done + pairs, copies + duplicates, errors + wrong
        if not simulator.batches:
            for file, level in zip(files, levels, strict=True):
                file.write(_compress(b"", level))
    return done, copies, errors


def _make(simulator: Simulator, levels: list[int], number: int) -> tuple[list[bytes | memoryview], int, int, int]:
    batch = simulator.batch(number)
    texts = [*batch.reads, batch.truth][: len(levels)]
    data = [_compress(text.data, level) for text, level in zip(texts, levels, strict=True)]
    return data, batch.pairs, batch.duplicates, batch.errors


def _compress(text: bytes | memoryview, level: int) -> bytes | memoryview:
    """The text as one gzip member (a file may have many), or as it is for level 0."""
    if level == 0:
        return text
    if level <= 3:
        member: bytes = isal_zlib.compress(text, level, isal_zlib.MAX_WBITS | 16)
        return member
    compressor = zlib.compressobj(level, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    return compressor.compress(text) + compressor.flush()
