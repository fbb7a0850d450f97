"""Base qualities: a Markov chain along the read, with a table per part of the read and per kind of read.

The tables are made from a few numbers per profile (how common each level is, how long it lasts, what each class of read
and each part of the read does to it); they imitate what real runs look like and compress like, and copy none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agd.batch import U8
from agd.errors import UsageError
from agd.ops.simulate.random import Noise

#: Random numbers of this many bits choose the next level.
_BITS = 10
_SLOTS = 1 << _BITS

#: Share of bases without a call.
UNKNOWN_RATE = 0.0003


@dataclass(frozen=True)
class Profile:
    """How the qualities of one kind of instrument behave.

    Attributes
    ----------
    levels : tuple of int
        The Phred values that occur, ascending; the lowest is that of an unknown base.
    weights : tuple of float
        How common each level is in the middle of a good read.
    stay : tuple of float
        Chance, at the lowest and at the highest level, that the next base has the same level.
    reach : float
        In levels: how far a step usually goes.
    starts : tuple of (int, int)
        (cycles, highest level) of the first cycles of a read.
    classes : tuple of (float, float, float)
        (share of read 1s, share of read 2s, tilt) of each class of read. A tilt t makes the lowest level e**t times as
        common beside the highest, and those between in proportion.
    decay : float
        Tilt that the last cycle has in addition.
    """

    levels: tuple[int, ...]
    weights: tuple[float, ...]
    stay: tuple[float, float]
    reach: float
    starts: tuple[tuple[int, int], ...]
    classes: tuple[tuple[float, float, float], ...]
    decay: float


PROFILES = {
    # HiSeq 2000/2500: nearly every value from 2 to 41.
    "hiseq": Profile(
        levels=(2, *range(5, 42)),
        weights=(
            0.001, 0.4, 0.1, 1.5, 0.6, 0.2, 0.6, 0.2, 0.2, 0.4, 0.1, 0.5, 0.3, 0.5, 0.9, 0.7, 1.1, 0.4, 0.7, 1.2, 1.6,
            2.1, 2.9, 2.7, 2.0, 4.2, 6.0, 10, 7, 13, 30, 75, 45, 80, 50, 85, 130, 380,
        ),
        stay=(0.08, 0.58), reach=3.5, starts=((3, 34), (2, 37)),
        classes=((0.45, 0.35, 0.0), (0.35, 0.35, 1.5), (0.17, 0.23, 4.0), (0.03, 0.07, 7.0)), decay=5.5,
    ),
    # HiSeq 4000/X: eight bins.
    "binned8": Profile(
        levels=(2, 8, 12, 22, 27, 32, 37, 41),
        weights=(0.0001, 0.02, 2.5, 2.0, 3.0, 6.0, 16.0, 70.0),
        stay=(0.25, 0.45), reach=2.5, starts=((3, 32), (2, 37)),
        classes=((0.45, 0.35, 0.0), (0.35, 0.35, 0.8), (0.17, 0.23, 1.8), (0.03, 0.07, 3.2)), decay=2.2,
    ),
    # NovaSeq: four bins.
    "novaseq": Profile(
        levels=(2, 12, 23, 37),
        weights=(0.0003, 1.2, 1.6, 97.2),
        stay=(0.08, 0.10), reach=6.0, starts=(),
        classes=((0.50, 0.42, 0.0), (0.32, 0.32, 0.8), (0.14, 0.20, 1.8), (0.04, 0.06, 3.4)), decay=0.6,
    ),
}


class QualityModel:
    """Draws the qualities of whole batches of reads.

    Parameters
    ----------
    profile : str
        A key of :data:`PROFILES`.
    read_length : int
    """

    def __init__(self, profile: str, read_length: int) -> None:
        if profile not in PROFILES:
            raise UsageError(f"unknown quality profile {profile!r}", f"choose one of {', '.join(sorted(PROFILES))}")
        self._profile = PROFILES[profile]
        self.lowest = self._profile.levels[0]
        self._length = read_length
        self._parts = _parts(self._profile, read_length)
        self._tables = {part: _table(self._profile, *part) for part in set(self._parts)}
        #: Phred value of each state (class and level).
        self._phred = np.tile(np.array(self._profile.levels, np.uint8), len(self._profile.classes))

    def draw_classes(self, noise: Noise, reads: int, mates: bool) -> tuple[U8, U8]:
        """Classes of the reads 1 and 2 of a batch of pairs; those of a pair depend on each other."""
        shares = np.array([row[:2] for row in self._profile.classes]).cumsum(0)
        uniform = noise.rng.random(reads)
        # Half of the time a cluster is as good or as bad in read 2 as it was in read 1.
        other = np.where(noise.rng.random(reads) < 0.5, uniform, noise.rng.random(reads)) if mates else uniform
        first, second = (np.searchsorted(s / s[-1], u) for s, u in ((shares[:, 0], uniform), (shares[:, 1], other)))
        return first.astype(np.uint8), second.astype(np.uint8)

    def draw(self, noise: Noise, classes: U8) -> U8:
        """Phred values of a batch of reads, shape (reads, read length)."""
        levels = len(self._profile.levels)
        reads = len(classes)
        state = (classes * levels + levels - 1).astype(np.uint8)
        states = np.empty((self._length, reads), np.uint8)
        index = np.empty(reads, np.int64)
        for cycle, part in enumerate(self._parts):
            np.left_shift(state, _BITS, out=index, dtype=np.int64, casting="unsafe")
            np.bitwise_or(index, noise.u16(reads) & np.uint16(_SLOTS - 1), out=index)
            state = states[cycle]
            np.take(self._tables[part], index, out=state, mode="clip")
        return self._phred[np.ascontiguousarray(states.T)]


def _parts(profile: Profile, read_length: int) -> list[tuple[int, float]]:
    """Highest level and tilt of each cycle, in steps so that few tables are needed."""
    tops = [top for cycles, top in profile.starts for _ in range(cycles)]
    tops += [profile.levels[-1]] * read_length
    # Quality falls faster and faster towards the end of a read.
    tilts = profile.decay * (np.arange(read_length) / max(read_length - 1, 1)) ** 2
    return [(top, round(float(np.round(tilt / profile.decay * 8)) / 8 * profile.decay, 6)) for top, tilt
            in zip(tops, tilts, strict=False)]


def _table(profile: Profile, top: int, decay: float) -> U8:
    """Next state for every state and every random number, shape (states * slots,)."""
    levels = np.array(profile.levels, np.float64)
    count = len(levels)
    rank = np.arange(count)
    rows: list[NDArray[np.uint8]] = []
    for number, (_, _, tilt) in enumerate(profile.classes):
        weights = np.array(profile.weights) * np.exp((tilt + decay) * (1 - rank / (count - 1))) * (levels <= top)
        allowed = int(np.flatnonzero(levels <= top)[-1])
        low, high = profile.stay
        stay = low + (high - low) * (rank / (count - 1)) ** 3
        for level in range(count):
            near = weights * np.exp(-np.abs(rank - level) / profile.reach)
            chance = (1 - stay[level]) * near / near.sum()
            chance[min(level, allowed)] += stay[level]
            edges = np.rint(np.cumsum(chance) * _SLOTS).astype(np.int64)
            rows.append((np.searchsorted(edges, np.arange(_SLOTS), side="right") + number * count).astype(np.uint8))
    return np.concatenate(rows)


def error_thresholds() -> NDArray[np.uint16]:
    """16-bit threshold below which a random number means an error, for each Phred value 0 to 255."""
    chance = 10.0 ** (-np.arange(256) / 10)
    return np.minimum(np.rint(chance * 65536), 65535).astype(np.uint16)


def place_errors(noise: Noise, bases: U8, qualities: U8, lowest: int, thresholds: NDArray[np.uint16]) -> int:
    """Put sequencing errors and unknown bases into reads, in place.

    Parameters
    ----------
    noise : Noise
    bases, qualities : ndarray of uint8, shape (reads, read length)
        ASCII bases and Phred values. A base is wrong with the chance that its quality says; unknown bases become N with
        the lowest quality.
    lowest : int
        The lowest level.
    thresholds : ndarray of uint16
        See :func:`error_thresholds`.

    Returns
    -------
    int
        Number of wrong bases (N not counted).
    """
    flat, phred = bases.reshape(-1), qualities.reshape(-1)
    wrong = np.flatnonzero(noise.u16(len(flat)) < np.take(thresholds, phred))
    flat[wrong] = _OTHER[noise.u8(len(wrong)) % np.uint8(3), flat[wrong]]
    unknown = np.unique(noise.rng.integers(0, len(flat), noise.rng.binomial(len(flat), UNKNOWN_RATE)))
    unknown = np.union1d(unknown, np.flatnonzero(phred == lowest))
    flat[unknown] = ord("N")
    phred[unknown] = lowest
    return len(wrong) - int(np.isin(wrong, unknown, assume_unique=True).sum())


_OTHER = np.full((3, 256), ord("N"), np.uint8)
for _shift in range(3):
    for _index, _base in enumerate(b"ACGT"):
        _OTHER[_shift, _base] = b"ACGT"[(_index + _shift + 1) % 4]
