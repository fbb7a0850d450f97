"""One batch of simulated pairs, from ordinals to the text of the files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agd.batch import I64, U8
from agd.ops.simulate import text
from agd.ops.simulate.fragments import Fragments, Library
from agd.ops.simulate.genome import Genome
from agd.ops.simulate.qualities import QualityModel, error_thresholds, place_errors
from agd.ops.simulate.random import Noise

#: Pairs of a batch; part of what a seed means.
BATCH_PAIRS = 16_384


@dataclass(frozen=True)
class SimulatedBatch:
    """Text of a batch.

    Attributes
    ----------
    reads : list of ndarray of uint8
        FASTQ text of the reads 1 and, for pairs, of the reads 2.
    truth : ndarray of uint8
        Lines of the truth table.
    pairs, duplicates, errors : int
        Pairs (or single reads), those that are duplicates, and wrong bases.
    """

    reads: list[U8]
    truth: U8
    pairs: int
    duplicates: int
    errors: int


class Simulator:
    """Makes any batch of a simulated run: a pure function of the arguments and the number of the batch.

    Parameters
    ----------
    genome : Genome
        Of the sampled individual.
    library : Library
    model : QualityModel
    seed, pairs, read_length : int
    single : bool
        Only the reads 1.
    """

    def __init__(
        self, genome: Genome, library: Library, model: QualityModel, *, seed: int, pairs: int, read_length: int,
        single: bool,
    ) -> None:
        self._genome = genome
        self._library = library
        self._model = model
        self._seed = seed
        self._pairs = pairs
        self._length = read_length
        self._single = single
        self._strands = genome.both_strands()
        self._windows = np.lib.stride_tricks.sliding_window_view(self._strands, read_length)
        self._thresholds = error_thresholds()
        self._contigs = text.strings(genome.names)

    @property
    def batches(self) -> int:
        """Number of batches of the run."""
        return -(-self._pairs // BATCH_PAIRS)

    def batch(self, number: int) -> SimulatedBatch:
        """Make one batch, 0-based."""
        noise = Noise(self._seed, number)
        ordinals = np.arange(number * BATCH_PAIRS, min((number + 1) * BATCH_PAIRS, self._pairs))
        fragments = self._library.fragments(ordinals)
        names = text.read_names(*self._library.places(ordinals))
        classes = self._model.draw_classes(noise, len(ordinals), mates=not self._single)
        ends = (fragments.reverse,) if self._single else (fragments.reverse, ~fragments.reverse)
        reads, errors = [], 0
        for mate, reverse in enumerate(ends):
            # Read k of a pair starts at one end of its fragment; reversed, at the fragment's end on the other strand.
            stop = fragments.start + fragments.length
            bases = self._windows[np.where(reverse, len(self._strands) - stop, fragments.start)]
            qualities = self._model.draw(noise, classes[mate])
            errors += place_errors(noise, bases, qualities, self._model.lowest, self._thresholds)
            qualities += 33
            comment = f" {mate + 1}:N:0:ATCACG\n".encode()
            record = text.rows(len(bases), b"@", names, comment, bases, b"\n+\n", qualities, b"\n")
            reads.append(text.flatten(record))
        duplicates = int((fragments.root != ordinals).sum())
        return SimulatedBatch(reads, self._truth(ordinals, fragments, names), len(ordinals), duplicates, errors)

    def _truth(self, ordinals: I64, fragments: Fragments, names: U8) -> U8:
        contig = np.searchsorted(self._genome.offsets, fragments.start, side="right") - 1
        left = fragments.start - self._genome.offsets[contig] + 1
        right = left + fragments.length - self._length
        first = np.where(fragments.reverse, right, left)
        second = np.zeros_like(left) if self._single else np.where(fragments.reverse, left, right)
        strand = np.where(fragments.reverse, ord("-"), ord("+")).astype(np.uint8)[:, None]
        originals = text.read_names(*self._library.places(fragments.root))
        originals[fragments.root == ordinals] = np.frombuffer(b".".ljust(originals.shape[1], b"\0"), np.uint8)
        return text.flatten(
            text.rows(
                len(left), names, b"\t", self._contigs[contig], b"\t", text.number(first, 10), b"\t",
                text.number(second, 10), b"\t", strand, b"\t", originals, b"\n",
            )
        )  # fmt: skip
