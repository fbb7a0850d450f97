"""Fragments, duplicates and flow cell places of pairs, as pure functions of the pair's ordinal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agd.batch import I64, Bool
from agd.ops.simulate.genome import Genome
from agd.ops.simulate.random import Draw, below, uniform

#: Pairs of a tile before the next tile begins.
PAIRS_PER_TILE = 40_000

#: An optical duplicate lies within this many pairs of its original (they are in the order of y) …
_NEAR_PAIRS = 20
#: … and within this many pixels of its x.
_NEAR_PIXELS = 40


@dataclass(frozen=True)
class Fragments:
    """Fragments of a run of pairs.

    Attributes
    ----------
    start, length : ndarray of int64
        0-based leftmost base within the genome's bases, and number of bases.
    reverse : ndarray of bool
        Whether read 1 is the reverse complement of the fragment's end.
    root : ndarray of int64
        Ordinal of the pair whose fragment this is: its own, or that of the original of a duplicate.
    """

    start: I64
    length: I64
    reverse: Bool
    root: I64


class Library:
    """A sequencing library: which fragment every ordinal has.

    Parameters
    ----------
    genome : Genome
    seed : int
    read_length : int
        Fragments are at least this long.
    insert_mean, insert_sd : float
        Of the fragment length, normally distributed.
    duplicates : float
        Share of pairs that are copies of the fragment of an earlier pair.
    optical : float
        Share of the duplicates that lie beside their original on the flow cell.
    """

    def __init__(
        self, genome: Genome, seed: int, *, read_length: int, insert_mean: float, insert_sd: float, duplicates: float,
        optical: float,
    ) -> None:
        self._seed = seed
        self._read_length = read_length
        self._insert = (insert_mean, insert_sd)
        self._duplicates = duplicates
        self._optical = optical
        self._run_starts, self._run_ends = genome.runs(read_length)
        places = self._run_ends - self._run_starts - read_length + 1
        self._cumulative = np.cumsum(places)

    def fragments(self, ordinals: I64) -> Fragments:
        """Fragments of these pairs."""
        root = self.roots(ordinals)
        draw = below(self._seed, Draw.START, root, int(self._cumulative[-1]))
        run = np.searchsorted(self._cumulative, draw, side="right")
        end = self._run_ends[run]
        # Counted from the last place of the run: a fragment never leaves the stretch of known bases that it starts in.
        start = end - self._read_length - (self._cumulative[run] - 1 - draw)
        length = np.minimum(self._lengths(root), end - self._run_starts[run])
        start = np.minimum(start, end - length)
        return Fragments(start, length, uniform(self._seed, Draw.STRAND, root) < 0.5, root)

    def _lengths(self, ordinals: I64) -> I64:
        # Box and Muller (1958): two uniform numbers give a normal one.
        u = 1.0 - uniform(self._seed, Draw.INSERT1, ordinals)
        angle = 2 * np.pi * uniform(self._seed, Draw.INSERT2, ordinals)
        mean, sd = self._insert
        lengths = mean + sd * np.sqrt(-2 * np.log(u)) * np.cos(angle)
        bounded: I64 = np.maximum(np.rint(lengths).astype(np.int64), self._read_length)
        return bounded

    def is_duplicate(self, ordinals: I64) -> Bool:
        """Whether the fragment of these pairs is that of an earlier pair."""
        return (uniform(self._seed, Draw.DUPLICATE, ordinals) < self._duplicates) & (ordinals > 0)

    def _may_be_optical(self, ordinals: I64) -> Bool:
        within = ordinals % PAIRS_PER_TILE
        chosen = uniform(self._seed, Draw.OPTICAL, ordinals) < self._optical
        return chosen & (within > 0) & self.is_duplicate(ordinals)

    def optical_sources(self, ordinals: I64) -> tuple[Bool, I64]:
        """Whether these pairs are optical duplicates, and of which pair."""
        reach = np.minimum(ordinals % PAIRS_PER_TILE, _NEAR_PAIRS)
        source = np.maximum(ordinals - 1 - below(self._seed, Draw.SOURCE, ordinals, reach), 0)
        # Not of another optical duplicate, whose place is not its own.
        return self._may_be_optical(ordinals) & ~self._may_be_optical(source), source

    def sources(self, ordinals: I64) -> I64:
        """Ordinal of the pair whose fragment each duplicate copies (itself maybe a duplicate)."""
        optical, near = self.optical_sources(ordinals)
        return np.where(optical, near, below(self._seed, Draw.SOURCE, ordinals, ordinals))

    def roots(self, ordinals: I64) -> I64:
        """Ordinal of the original of each pair: its own where the pair is no duplicate."""
        root = ordinals.copy()
        active = np.flatnonzero(self.is_duplicate(root))
        while len(active):
            root[active] = self.sources(root[active])
            active = active[self.is_duplicate(root[active])]
        return root

    def places(self, ordinals: I64) -> tuple[I64, I64, I64, I64]:
        """Lane, tile, x and y of each pair on the flow cell; pairs of a tile come in the order of y."""
        optical, source = self.optical_sources(ordinals)
        x = 1000 + below(self._seed, Draw.X, np.where(optical, source, ordinals), 30_000)
        x += np.where(optical, below(self._seed, Draw.NEAR_X, ordinals, 2 * _NEAR_PIXELS + 1) - _NEAR_PIXELS, 0)
        step = ordinals % PAIRS_PER_TILE
        y = 1000 + step * 5 // 2 + below(self._seed, Draw.JITTER, ordinals, 3)
        tile = ordinals // PAIRS_PER_TILE
        lane, tile = 1 + tile // 156, tile % 156
        surface, tile = tile // 78, tile % 78
        return lane, 1101 + 1000 * surface + tile, x, y
