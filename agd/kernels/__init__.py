"""Hot loops over whole columns.

Every kernel exists twice: in C++ (``native/``) and as a readable numpy reference (``reference/``). Both take the same
arguments, go through the same tests and raise :class:`agd.errors.KernelError` on bad input. The native ones are used
unless the environment says ``AGD_KERNELS=reference``; a missing native module is an error, never a silent fallback.

Conventions: outputs are allocated by the caller; arrays are C-contiguous; offsets are int64 and are checked against the
arrays that they point into before anything is read or written; native kernels release the GIL.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agd.kernels.records import RecordArrays

if TYPE_CHECKING:
    from agd.kernels import _native as active
    from agd.kernels._native import *  # noqa: F403
elif os.environ.get("AGD_KERNELS", "native") == "reference":
    from agd.kernels import reference as active
else:
    try:
        from agd.kernels import _native as active
    except ImportError as error:
        raise ImportError(
            "the compiled kernels of agd cannot be loaded; reinstall agd, or set AGD_KERNELS=reference to run (slowly) "
            "on numpy"
        ) from error

__all__ = ["RecordArrays", "active"]


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        return getattr(active, name)
