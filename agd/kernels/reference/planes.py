"""Reference of the kernels for integers as planes of bytes (``spec/streams.md``)."""

from __future__ import annotations

import numpy as np

from agd.batch import I64, U8, U64
from agd.errors import KernelError


def _fold(values: I64, signed: bool) -> U64:
    """0, -1, 1, -2, … as 0, 1, 2, 3, …, if signed."""
    return ((values << 1) ^ (values >> 63) if signed else values).view(np.uint64)


def folded_bits(values: I64, signed: bool) -> int:
    """How many bits the largest number takes.

    Parameters
    ----------
    values : ndarray of int64
    signed : bool
        Fold the sign into the lowest bit first.
    """
    return int(np.bitwise_or.reduce(_fold(values, signed), initial=0)).bit_length()


def planes_split(values: I64, signed: bool, planes: list[U8]) -> None:
    """Split numbers into their bytes.

    Parameters
    ----------
    values, signed
        As for :func:`folded_bits`.
    planes : list of ndarray of uint8, shape (numbers,)
        Written: the lowest byte of each number to the first, the next to the second, …; at most eight.

    Raises
    ------
    KernelError
        Planes and numbers differ in length.
    """
    _check(planes)
    if any(len(plane) != len(values) for plane in planes):
        raise KernelError("planes and numbers differ in length")
    folded = _fold(values, signed)
    for k, plane in enumerate(planes):
        plane[:] = (folded >> np.uint64(8 * k)).astype(np.uint8)


def planes_join(planes: list[U8], signed: bool, largest: int, out: I64) -> bool:
    """Join what :func:`planes_split` split.

    Parameters
    ----------
    planes : list of ndarray of uint8
        A plane without bytes is all zeros.
    largest : int
        Not negative.
    out : ndarray of int64, shape (numbers,)
        Written.

    Returns
    -------
    bool
        Whether all numbers are at most ``largest``, and at least ``-largest - 1``.

    Raises
    ------
    KernelError
        Planes and numbers differ in length.
    """
    _check(planes)
    if any(len(plane) not in (0, len(out)) for plane in planes):
        raise KernelError("planes and numbers differ in length")
    if largest < 0:
        raise KernelError("the largest number is negative")
    folded = np.zeros(len(out), np.uint64)
    for k, plane in enumerate(planes):
        if len(plane):
            folded |= plane.astype(np.uint64) << np.uint64(8 * k)
    half = folded >> np.uint64(1)
    out[:] = half.view(np.int64) ^ -(folded & np.uint64(1)).view(np.int64) if signed else folded.view(np.int64)
    return int((half if signed else folded).max(initial=0)) <= largest


def _check(planes: list[U8]) -> None:
    if len(planes) > 8:
        raise KernelError("more than eight planes")
