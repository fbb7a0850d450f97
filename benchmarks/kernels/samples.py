"""What kernels are measured on: reads of a chunk, as sequencers write them and aligners place them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from agd.aligners.finish import finish
from agd.batch import I64, U8, Alignments, Column
from agd.kernels import _native as kernels
from agd.kernels.hits import HIT_PROPER, HIT_REVERSE, Hits
from agd.kernels.ragged import take, take_any
from agd.kernels.records import RecordArrays
from agd.ops.simulate.qualities import QualityModel
from agd.ops.simulate.random import Noise
from agd.types import Reference

LENGTH, GENOME, CONTIGS = 150, 20_000_000, 24

#: CIGARs of reads without their clips (150M, 145M, 70M1D80M, 70M2I78M), how common they are, and how many bases are
#: clipped off at the left.
CIGARS = ([LENGTH << 4], [145 << 4], [70 << 4, 1 << 4 | 2, 80 << 4], [70 << 4, 2 << 4 | 1, 78 << 4])
SHARES = (0.85, 0.07, 0.04, 0.04)
CLIPS = np.array([0, 5, 0, 0], np.int32)


def offsets_of(column: Column) -> I64:
    """Offsets of a ragged column."""
    assert column.offsets is not None
    return column.offsets


def spans_of(column: Column) -> tuple[I64, I64]:
    """Starts and ends of the records of a ragged column, half-open."""
    return offsets_of(column)[:-1], offsets_of(column)[1:]


def letters(rng: np.random.Generator, alphabet: bytes, size: int) -> U8:
    """Letters that are each as likely as the others."""
    return np.frombuffer(alphabet, np.uint8)[rng.integers(0, len(alphabet), size)]


def headers(reads: int) -> Column:
    """Header lines of pairs, mates side by side, in the order of their places on the flow cell."""
    rng = np.random.default_rng(2)
    # No two clusters are at one place: a place is drawn as one number.
    x, y = np.divmod(np.sort(rng.choice(100_000 * 100_000, reads // 2, replace=False)), 100_000)
    return Column.from_list(
        [b"A00123:45:HXXXXXXXX:1:%d:%d:%d %d:N:0:ACGTACGT" % (1101 + a // 10_000, a, b, mate)
         for a, b in zip((x + 1000).tolist(), (y + 1000).tolist(), strict=True) for mate in (1, 2)]
    )  # fmt: skip


def names(lines: Column) -> Column:
    """The names in header lines: up to the first white space."""
    starts, ends = spans_of(lines)[0], np.empty(len(lines), np.int64)
    kernels.name_ends(lines.values, offsets_of(lines), np.ones(len(lines), np.bool_), ends)
    out = Column.from_lengths(np.empty(int((ends - starts).sum()), np.uint8), ends - starts)
    kernels.copy_spans(lines.values, starts, ends, out.values, offsets_of(out))
    return out


def bases(reads: int) -> Column:
    """Reads a hundredth of whose bases is N."""
    rng = np.random.default_rng(1)
    values = letters(rng, b"ACGT", reads * LENGTH)
    values[rng.integers(0, len(values), len(values) // 100)] = ord("N")
    return Column.from_lengths(values, np.full(reads, LENGTH))


def qualities(reads: int) -> Column:
    """Qualities of eight levels, as the simulator draws them."""
    model, noise = QualityModel("binned8", LENGTH), Noise(3, 0)
    phred = model.draw(noise, model.draw_classes(noise, reads, False)[0])
    return Column.from_lengths((phred + 33).ravel(), np.full(reads, LENGTH))


def walk(reads: int, levels: int) -> U8:
    """Qualities of that many levels that stay, or change to one nearby."""
    rng = np.random.default_rng(1)
    steps = rng.choice([-1, 0, 1], reads * LENGTH, p=[0.1, 0.8, 0.1])
    place = np.abs(np.cumsum(steps) % (2 * levels) - levels).clip(0, levels - 1)
    return (35 + place * 38 // levels).astype(np.uint8)


def fastq(lines: Column, bases: Column, qualities: Column) -> U8:
    """Text of reads."""
    parts = [part for column in (lines, bases, qualities) for part in (column.values, offsets_of(column))]
    out = np.empty(sum(len(part) for part in parts[::2]) + 6 * len(lines), np.uint8)
    return out[: kernels.fastq_format(*parts, np.arange(len(lines)), False, ord("!"), out)]


@dataclass(frozen=True)
class Aligned:
    """Pairs on a genome, in the order of the sequencer.

    Attributes
    ----------
    genome : namespace
        Contigs, their letters (``bases``) and where each begins (``offsets``).
    hits : Hits
        What the aligner gives.
    sequenced : Column
        Bases as they were sequenced.
    lines : Alignments
        What is made of the hits: with the tags of bwa mem.
    bases : Column
        SEQ of the lines.
    """

    genome: Any
    hits: Hits
    sequenced: Column
    lines: Alignments
    bases: Column

    @property
    def cigar(self) -> tuple[Any, I64]:
        """Values and offsets of the CIGARs."""
        return self.lines.cigar.values, offsets_of(self.lines.cigar)

    @property
    def tags(self) -> tuple[U8, I64]:
        """Values and offsets of the tags."""
        return self.lines.tags.values, offsets_of(self.lines.tags)

    def sorted(self) -> Aligned:
        """The same lines (and their bases) by coordinate; hits and bases as sequenced stay as they are."""
        order = np.lexsort((self.lines.position, self.lines.reference))
        lines = take_any(self.lines, order)
        assert isinstance(lines, Alignments)
        return Aligned(self.genome, self.hits, self.sequenced, lines, take(self.bases, order))


def align(reads: int) -> Aligned:
    """Proper pairs at random places; one base in 250 is wrong, some reads are clipped or have a gap."""
    rng = np.random.default_rng(4)
    genome = SimpleNamespace(
        bases=letters(rng, b"ACGT", GENOME), offsets=np.linspace(0, GENOME, CONTIGS + 1).astype(np.int64),
    )  # fmt: skip
    sizes = np.diff(genome.offsets)
    genome.contigs = [Reference(f"chr{i + 1}", size) for i, size in enumerate(sizes.tolist())]
    contig = np.repeat(rng.integers(0, CONTIGS, reads // 2), 2)
    first = rng.integers(LENGTH, int(sizes.min()) - 1000, reads // 2)
    start = np.stack([first, first + 250], axis=1).ravel()
    kind = rng.choice(len(CIGARS), reads, p=SHARES)
    letters_of = _bases(rng, genome, start + genome.offsets[contig], kind)
    reverse = np.arange(reads) % 2 == 1
    sequenced = Column(letters_of.values.copy(), letters_of.offsets)
    kernels.reverse_spans(sequenced.values, offsets_of(sequenced), reverse, True)
    clip = CLIPS[kind]
    operations = Column.from_lengths(
        np.concatenate([np.array(CIGARS[k], np.uint32) for k in kind.tolist()]),
        np.array([len(cigar) for cigar in CIGARS])[kind],
    )
    hits = Hits(
        np.arange(reads + 1), contig.astype(np.int32), start, np.where(reverse, 0, clip),
        np.where(reverse, LENGTH - clip, LENGTH), np.full(reads, 60, np.uint8),
        (HIT_PROPER + HIT_REVERSE * reverse).astype(np.uint8), operations.values, offsets_of(operations),
    )  # fmt: skip
    lines, _, _ = finish(hits, sequenced, genome, read_group="sample", paired=True)
    return Aligned(genome, hits, sequenced, lines, letters_of)


def _bases(rng: np.random.Generator, genome: Any, place: I64, kind: I64) -> Column:
    """Bases that reads of these shapes have at these places of the genome, not all of them right."""
    cycle = np.arange(LENGTH)
    steps = np.stack([cycle, cycle - 5, cycle + (cycle >= 70), cycle - 2 * (cycle >= 72)]).astype(np.int32)
    values = genome.bases[place.astype(np.int32)[:, None] + steps[kind]].ravel()
    wrong = rng.integers(0, len(values), len(values) // 250)
    values[wrong] = letters(rng, b"ACGT", len(wrong))
    return Column.from_lengths(values, np.full(len(place), LENGTH))


def records(names: Column, aligned: Aligned, qualities: Column) -> RecordArrays:
    """The lines of alignments as records of SAM and BAM."""
    lines = aligned.lines
    ragged = (names, lines.cigar, aligned.bases, qualities, lines.tags)
    return RecordArrays(
        *(getattr(lines, name) for name in Alignments.FIXED),
        *(part for column in ragged for part in (column.values, offsets_of(column))),
    )


def hit_objects(hits: Hits) -> Iterator[tuple[list[Any], list[Any]]]:
    """What an aligner in this process gives: one tuple of two lists of hits per pair."""
    reverse, proper = hits.bits & HIT_REVERSE != 0, hits.bits & HIT_PROPER != 0
    columns = (hits.reference, hits.start, hits.query_start, hits.query_end, hits.mapping_quality, reverse, proper)
    made = [
        SimpleNamespace(
            contig=f"chr{contig + 1}", ref_start=start, query_start=first, query_end=end, mapq=mapq, reverse=turned,
            proper_pair=pair, is_primary=True, is_secondary=False,
            cigar=[("MID"[o & 15], o >> 4) for o in hits.cigar[a:b].tolist()],
        )
        for contig, start, first, end, mapq, turned, pair, a, b in zip(
            *(column.tolist() for column in columns), hits.cigar_offsets[:-1].tolist(),
            hits.cigar_offsets[1:].tolist(), strict=True,
        )
    ]  # fmt: skip
    return (([one], [two]) for one, two in zip(made[::2], made[1::2], strict=True))
