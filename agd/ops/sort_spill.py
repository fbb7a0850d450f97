"""Where the runs of an external sort are kept."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager

from agd.sinks import is_stream

PREFIX = ".agd-sort-"


def default_folder(url: str) -> str:
    """Where runs are kept: beside a local output, in the system's folder for temporary files otherwise (pipes, too)."""
    if "://" in url or (is_stream(url) and not os.path.isdir(url)):
        import tempfile  # with all that it loads, for which a sort in memory need not wait

        return tempfile.gettempdir()
    return os.path.dirname(os.path.abspath(url.rstrip("/")))


def spill_folder(parent: str) -> AbstractContextManager[str]:
    """A new folder for runs in ``parent``, see :func:`agd.scratch.scratch_folder`."""
    from agd.scratch import scratch_folder

    return scratch_folder(parent, PREFIX)
