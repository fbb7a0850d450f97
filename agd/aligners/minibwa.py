"""The default aligner: minibwa, inside this process."""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import os
from collections.abc import Iterable
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import minibwa
import numpy as np

from agd import kernels
from agd.aligners.aligner import Aligned, Reads, Request, split_arguments
from agd.aligners.finish import collect, finish
from agd.aligners.index import find_index
from agd.aligners.reference import Genome, load_genome
from agd.batch import Batch
from agd.errors import AlignerError, UsageError
from agd.ops.lines import read_names
from agd.run import SILENT, SerialRunner

#: Reads at the beginning of a dataset that tell the insert size: those of 5,000 pairs.
SAMPLE_READS = 10_000

#: No length that minibwa is given, in bases, is as large.
_LARGEST = 1 << 30

#: Single reads mapped at one time: bounds what hit objects take.
SLICE = 2048


class InsertSize(NamedTuple):
    """Distance of the outer ends of pairs, bases: mean, standard deviation, and the bounds of a proper pair."""

    mean: int
    deviation: int
    low: int
    high: int


#: What minibwa assumes itself; used where too few pairs tell better.
DEFAULT_INSERT_SIZE = InsertSize(400, 100, 50, 800)


class Minibwa:
    """Aligns chunk by chunk; every pair on its own, so that results do not depend on chunks or threads.

    The insert size is estimated once, from the first pairs of the dataset, and then fixed.

    Parameters
    ----------
    request : Request
        ``arguments``: ``--preset adap|sr|lr``, ``--secondary`` (keep secondary alignments), ``--min-seed N``,
        ``--insert-size MEAN,DEVIATION,LOW,HIGH``.
    """

    name: str = "minibwa"
    columns: tuple[str, ...] = ("bases", "metadata")

    def __init__(self, request: Request) -> None:
        self.version = importlib.metadata.version("minibwa")
        self._request = request
        self._arguments = _parse(request.arguments)
        self._contigs = {c.name: i for i, c in enumerate(request.genome.contigs)}
        self.insert_size: InsertSize | None = None

    def plan(self) -> dict[str, Any]:
        """See :class:`agd.aligners.aligner.AlignerBase`."""
        return {"aligner": self.name, "version": self.version, "arguments": self._request.arguments}

    def prepare(self, reads: Reads) -> None:
        """Load the index, built first if there is none, and estimate the insert size."""
        self._index = load_index(self._request)
        self._paired, self._names = reads.paired, reads.names
        self._options = self._make_options(None)
        if reads.paired:
            self.insert_size = self._arguments.insert_size or self._estimate(reads)
            self._options = self._make_options(self.insert_size)

    def __reduce__(self) -> tuple[Any, ...]:
        # The reference and its index stay behind: the process that is sent to loads its own, once for all its chunks.
        request = self._request
        place = request.genome.url if "://" in request.genome.url else os.path.abspath(request.genome.url)
        state = (self._paired, self._names, self.insert_size)
        return _restore, (place, request.genome.digest, request.read_group, request.arguments, state)

    def _make_options(self, insert_size: InsertSize | None) -> Any:
        options = minibwa.Opts(self._arguments.preset)
        if self._arguments.min_seed:
            options.set_min_seed_len(self._arguments.min_seed)
        if insert_size:
            options.set_paired(True)
            options.set_pe_insert_size(*insert_size)
        return options

    def parameters(self) -> dict[str, Any]:
        """See :class:`agd.aligners.aligner.AlignerBase`."""
        sizes = {"insert_size": list(self.insert_size)} if self.insert_size else {}
        return {"arguments": self._request.arguments, **sizes}

    def read_groups(self) -> list[str]:
        """See :class:`agd.aligners.aligner.AlignerBase`."""
        return [self._request.read_group] if self._request.read_group else []

    def align_batch(self, batch: Batch) -> Aligned:
        """See :class:`agd.aligners.aligner.ChunkAligner`."""
        names, reads = _texts(batch, self._names, self._paired)
        found: Iterable[Any]
        # All the way through iterators: no list of hits is ever in memory, and no byte code runs between two pairs.
        if self._paired:
            mates = (islice(x, k, None, 2) for k in (0, 1) for x in (names, reads))
            found = map(minibwa.map_pair, repeat(self._index), repeat(self._options), *mates)
        else:
            slices = ((names[i : i + SLICE], reads[i : i + SLICE]) for i in range(0, len(reads), SLICE))
            found = chain.from_iterable(minibwa.map_many(self._index, self._options, *part) for part in slices)
        hits = collect(found, self._contigs)
        finished = finish(
            hits, batch.ragged("bases"), self._request.genome, read_group=self._request.read_group_id,
            paired=self._paired, secondary=self._arguments.secondary,
        )  # fmt: skip
        return Aligned(*finished)

    def _estimate(self, reads: Reads) -> InsertSize:
        """Insert size from pairs that both map uniquely, each read on its own (the method of bwa's ``mem_pestat``)."""
        distances = []
        options = self._make_options(None)
        for batch in reads.sample(SAMPLE_READS):
            names, texts = _texts(batch, reads.names, True)
            pieces = [(names[i : i + 1000], texts[i : i + 1000]) for i in range(0, len(texts), 1000)]
            mapped = self._request.runner.map(lambda p: minibwa.map_many(self._index, options, *p), pieces, on="cpu")
            hits = [_unique(h) for piece in mapped for h in piece]
            for first, second in zip(hits[::2], hits[1::2], strict=True):
                if first and second and first.contig == second.contig and first.reverse != second.reverse:
                    left, right = (second, first) if first.reverse else (first, second)
                    distances.append(right.ref_end - left.ref_start)
        return insert_size_of(np.array(distances, np.int64))


def insert_size_of(distances: np.ndarray[Any, np.dtype[np.int64]]) -> InsertSize:
    """Robust mean, deviation and bounds, as ``mem_pestat`` of bwa computes them.

    Parameters
    ----------
    distances : ndarray of int64
        Outer distances of pairs in FR orientation, bases; those below 1 or of 10,000 and more are left out. Fewer than
        20 give :data:`DEFAULT_INSERT_SIZE`.
    """
    d = np.sort(distances[(distances > 0) & (distances < 10_000)])
    if len(d) < 20:
        return DEFAULT_INSERT_SIZE
    p25, _, p75 = (int(d[int(q * len(d) + 0.499)]) for q in (0.25, 0.5, 0.75))
    spread = p75 - p25
    inner = d[(d >= max(1, p25 - 2 * spread)) & (d <= p75 + 2 * spread)]
    mean = float(inner.mean())
    deviation = float(np.sqrt(((inner - mean) ** 2).mean()))
    low = min(p25 - 3 * spread, int(mean - 4 * deviation + 0.499))
    high = max(p75 + 3 * spread, int(mean + 4 * deviation + 0.499))
    return InsertSize(round(mean), max(1, round(deviation)), max(1, low), high)


def _unique(hits: list[Any]) -> Any:
    """The hit of a read that has one and only one that is not secondary, of quality 10 or more."""
    chosen = [h for h in hits if not h.is_secondary]
    return chosen[0] if len(chosen) == 1 and chosen[0].mapq >= 10 else None


def _texts(batch: Batch, names: str, paired: bool) -> tuple[list[str], list[str]]:
    """Names and reads. minibwa refuses empty reads; the single N that stands for one never maps.

    The names matter: where several places fit a read equally well, minibwa chooses by a hash of the name.
    """
    bases = batch.ragged("bases")
    assert bases.offsets is not None
    reads = kernels.span_strings(bases.values, bases.offsets[:-1], bases.offsets[1:])
    for i in np.flatnonzero(bases.lengths == 0).tolist():
        reads[i] = "N"
    if "metadata" not in batch:
        return ["r"] * len(reads), reads
    metadata = batch.ragged("metadata")
    starts, ends = read_names(metadata, names, np.full(len(batch), paired))
    return kernels.span_strings(metadata.values, starts, ends), reads


def _parse(arguments: str) -> argparse.Namespace:
    parser = _Parser(prog="minibwa", add_help=False)
    parser.add_argument("--preset", choices=["adap", "sr", "lr"])
    parser.add_argument("--secondary", action="store_true")
    parser.add_argument("--min-seed", type=_seed_length)
    parser.add_argument("--insert-size", type=_insert_size)
    return parser.parse_args(split_arguments(arguments))


def _seed_length(text: str) -> int:
    (length,) = _numbers(text, 1)
    # minibwa seeks seeds of no bases for ever, and doubles the length in 32 bits.
    if not 0 < length < _LARGEST:
        raise argparse.ArgumentTypeError(f"{text} is no length of a seed: 1 to {_LARGEST - 1:,} bases")
    return length


def _insert_size(text: str) -> InsertSize:
    size = InsertSize(*_numbers(text, len(InsertSize._fields)))
    if not 0 < size.low <= size.mean <= size.high < _LARGEST or not 0 < size.deviation < _LARGEST:
        raise argparse.ArgumentTypeError(f"{text}: all must be positive, and MEAN lie between LOW and HIGH")
    return size


def _numbers(text: str, count: int) -> list[int]:
    values = text.split(",")
    if len(values) != count or not all(v.isascii() and v.removeprefix("-").isdecimal() for v in values):
        raise argparse.ArgumentTypeError(f"{text!r}: give {count} whole number{'s' if count > 1 else ''}")
    return [int(v) for v in values]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(
            f"--aligner-args for minibwa: {message}",
            "known are --preset adap|sr|lr, --secondary, --min-seed N, --insert-size MEAN,DEVIATION,LOW,HIGH",
        )


def _restore(
    place: str, digest: str, read_group: str, arguments: str, state: tuple[bool, str, InsertSize | None]
) -> Minibwa:
    """A prepared aligner in another process."""
    genome, index = _shared(place, digest)
    aligner = Minibwa(Request(genome, read_group, arguments, SerialRunner(), SILENT))
    aligner._index = index
    aligner._paired, aligner._names, aligner.insert_size = state
    aligner._options = aligner._make_options(aligner.insert_size)
    return aligner


@functools.lru_cache(maxsize=1)
def _shared(place: str, digest: str) -> tuple[Genome, Any]:
    genome = load_genome(place)
    if genome.digest != digest:
        raise AlignerError(f"{place}: is another reference on this machine", "let all workers see the same files")
    return genome, load_index(Request(genome, "", "", SerialRunner(), SILENT))


def load_index(request: Request) -> Any:
    """The index of the reference, built first if there is none (see :func:`agd.aligners.index.find_index`)."""
    threads = request.runner.workers

    def build(fasta: Path, prefix: Path) -> None:
        minibwa.Index.build(str(fasta), str(prefix), threads=threads)

    prefix = find_index(request.genome, "minibwa", build, request.progress, threads)
    try:
        return minibwa.Index.load(str(prefix))
    except Exception as error:  # a foreign module: any of its errors
        raise AlignerError(f"{prefix.parent}: cannot be loaded: {error}", "remove it and run again") from error
