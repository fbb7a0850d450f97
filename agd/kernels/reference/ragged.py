"""Reference of the kernels that copy and turn the records of ragged columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agd.batch import I64, U8, Bool
from agd.errors import KernelError

#: Complement of every byte: IUPAC letters in both cases, everything else itself.
COMPLEMENT = np.arange(256, dtype=np.uint8)
COMPLEMENT[np.frombuffer(b"ACGTUMRWSYKVHDBNacgtumrwsykvhdbn", np.uint8)] = np.frombuffer(
    b"TGCAAKYWSRMBDHVNtgcaakywsrmbdhvn", np.uint8
)


def copy_spans(source: NDArray[Any], starts: I64, ends: I64, out: NDArray[Any], targets: I64) -> None:
    """Copy ``source[starts[i]:ends[i]]`` to ``out[targets[i]:]`` for every span ``i``.

    Parameters
    ----------
    source, out : ndarray of uint8, uint32 or uint64
        Of one dtype; spans of the output must not overlap each other.
    starts, ends : ndarray of int64, shape (spans,)
        0-based, half-open.
    targets : ndarray of int64, at least ``spans`` long
        Where each copy begins in ``out``.

    Raises
    ------
    KernelError
        A span lies outside of the source or the output.
    """
    if len(ends) != len(starts) or len(targets) < len(starts):
        raise KernelError("spans and targets differ in number")
    for i, (start, end, target) in enumerate(zip(starts.tolist(), ends.tolist(), targets.tolist(), strict=False)):
        if not 0 <= start <= end <= len(source):
            raise KernelError("span outside of the source", i, start)
        if not 0 <= target <= len(out) - (end - start):
            raise KernelError("span outside of the output", i, target)
        out[target : target + end - start] = source[start:end]


def reverse_spans(values: U8, offsets: I64, mask: Bool, complement: bool) -> None:
    """Turn the records where ``mask`` is set around, in place, and complement them if asked (IUPAC, both cases).

    Raises
    ------
    KernelError
        Offsets lie outside of the values or decrease.
    """
    if len(mask) + 1 != len(offsets):
        raise KernelError("mask and offsets differ in length")
    check_offsets(offsets, len(values), "offsets outside of the values")
    for i in np.flatnonzero(mask).tolist():
        run = values[offsets[i] : offsets[i + 1]][::-1].copy()
        values[offsets[i] : offsets[i + 1]] = COMPLEMENT[run] if complement else run


def check_offsets(offsets: I64, size: int, what: str) -> None:
    """Raise KernelError unless the offsets never decrease and lie within ``size`` values."""
    if len(offsets) < 1:
        raise KernelError(what)
    if offsets[0] < 0:
        raise KernelError(what, 0)
    falls = np.flatnonzero(np.diff(offsets) < 0)
    if len(falls):
        raise KernelError(what, int(falls[0]))
    if offsets[-1] > size:
        raise KernelError(what, len(offsets) - 2)
