"""Random numbers that can be asked for by ordinal.

Everything that one record must know about another (the fragment that it is a duplicate of) is a pure function of the
seed and the ordinal, so that batches are made independently, in any order, with the same result.
"""

from __future__ import annotations

import enum

import numpy as np
from numpy.typing import NDArray

from agd.batch import I64, U8, U64

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)


class Draw(enum.IntEnum):
    """What a number is drawn for: each has a sequence of its own."""

    START = 1
    INSERT1 = 2
    INSERT2 = 3
    STRAND = 4
    DUPLICATE = 5
    SOURCE = 6
    OPTICAL = 7
    X = 8
    NEAR_X = 9
    JITTER = 10


def _mix(z: U64) -> U64:
    # The finaliser of splitmix64 (Steele, Lea, Flood 2014): each output bit depends on every input bit.
    z = (z ^ (z >> np.uint64(30))) * _MIX1
    z = (z ^ (z >> np.uint64(27))) * _MIX2
    return z ^ (z >> np.uint64(31))


def bits(seed: int, draw: Draw, ordinals: I64) -> U64:
    """Uniform 64-bit numbers, one for each ordinal."""
    key = _mix(np.array([(seed * 1_000_003 + int(draw)) & 0xFFFFFFFFFFFFFFFF], np.uint64))
    return _mix((ordinals.astype(np.uint64) + np.uint64(1)) * _GAMMA + key)


def uniform(seed: int, draw: Draw, ordinals: I64) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1), one for each ordinal."""
    return (bits(seed, draw, ordinals) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def below(seed: int, draw: Draw, ordinals: I64, bound: I64 | int) -> I64:
    """Integers from 0 to ``bound`` (exclusive), one for each ordinal."""
    return (uniform(seed, draw, ordinals) * bound).astype(np.int64)


class Noise:
    """Random numbers of one batch, drawn in order.

    Parameters
    ----------
    seed, batch : int
        The sequence is a function of both.
    """

    def __init__(self, seed: int, batch: int) -> None:
        self._generator = np.random.SFC64(np.random.SeedSequence([seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF, batch]))
        self.rng = np.random.Generator(self._generator)

    def u16(self, *shape: int) -> NDArray[np.uint16]:
        """Uniform 16-bit numbers of this shape."""
        size = int(np.prod(shape))
        raw: NDArray[np.uint64] = self._generator.random_raw((size + 3) // 4)
        return raw.view(np.uint16)[:size].reshape(shape)

    def u8(self, *shape: int) -> U8:
        """Uniform 8-bit numbers of this shape."""
        size = int(np.prod(shape))
        raw: NDArray[np.uint64] = self._generator.random_raw((size + 7) // 8)
        return raw.view(np.uint8)[:size].reshape(shape)
