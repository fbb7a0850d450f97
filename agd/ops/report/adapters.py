"""Adapters that reads are searched for; each by its first twelve bases."""

from __future__ import annotations

import functools

import numpy as np

from agd.batch import U64

#: Name and first bases, as sequencing adapters are published by their makers; and two runs of one base.
ADAPTERS = {
    "Illumina Universal Adapter": "AGATCGGAAGAG",
    "Illumina Small RNA 3' Adapter": "TGGAATTCTCGG",
    "Illumina Small RNA 5' Adapter": "GATCGTCGGACT",
    "Nextera Transposase Sequence": "CTGTCTCTTATA",
    "PolyA": "AAAAAAAAAAAA",
    "PolyG": "GGGGGGGGGGGG",
}

#: Bases of each.
WIDTH = 12


@functools.cache
def codes() -> U64:
    """The adapters as :func:`agd.kernels.base_cycles` takes them."""
    return np.array([int("".join(f"{'ACGT'.index(c):02b}" for c in text), 2) for text in ADAPTERS.values()], np.uint64)


def name_in(sequence: str) -> str:
    """What a sequence may have come from; "" where nothing is known."""
    for name, text in ADAPTERS.items():
        if text in sequence:
            return name
    return "undetermined bases" if sequence and set(sequence) == {"N"} else ""
