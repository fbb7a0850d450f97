"""Put a wrapper around every storage that is opened."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from agd import storage
from agd.storage import Storage


@contextlib.contextmanager
def wrapped(wrap: Callable[[Storage], Storage]) -> Iterator[None]:
    """Within this context ``wrap`` is put around every storage that this process opens, the latest outermost."""
    storage.WRAPPERS.append(wrap)
    try:
        yield
    finally:
        storage.WRAPPERS.remove(wrap)
