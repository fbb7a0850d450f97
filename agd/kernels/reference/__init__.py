"""Readable numpy reference of every kernel (see :mod:`agd.kernels`)."""

from agd.kernels.reference.alignment import alignment_decode, alignment_encode, alignment_sizes
from agd.kernels.reference.ragged import copy_spans, reverse_spans

__all__ = [
    "alignment_decode",
    "alignment_encode",
    "alignment_sizes",
    "copy_spans",
    "reverse_spans",
]
