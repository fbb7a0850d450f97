"""Readable numpy reference of every kernel (see :mod:`agd.kernels`)."""

from agd.kernels.reference.ragged import copy_spans, reverse_spans

__all__ = ["copy_spans", "reverse_spans"]
