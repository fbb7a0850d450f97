# Types of the native kernels. Each one is documented at its numpy reference of the same name (agd/kernels/reference).
# One section a source file; within it, the order of the bind function.

from typing import TypeVar

from agd.batch import I64, U8, U32, U64, Bool
from agd.kernels.alignments import AlignmentArrays

_Values = TypeVar("_Values", U8, U32, U64)

# ragged.cpp
def copy_spans(source: _Values, starts: I64, ends: I64, out: _Values, targets: I64) -> None: ...
def reverse_spans(values: U8, offsets: I64, mask: Bool, complement: bool) -> None: ...

# alignment.cpp
def alignment_sizes(alignments: AlignmentArrays, sizes: I64) -> None: ...
def alignment_encode(alignments: AlignmentArrays, out: U8, offsets: I64) -> None: ...
def alignment_decode(data: U8, offsets: I64, alignments: AlignmentArrays) -> tuple[int, int]: ...
