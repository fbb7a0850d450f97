"""What a store is to the rest of AGD, and the names of what lies in it for a moment only."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Protocol

#: Prefix of temporary files beside the objects; nothing with this prefix is ever part of a dataset.
TEMPORARY_PREFIX = ".tmp-"

#: Keys of such files, those of a writer's probe of its store among them; others may use the prefix, too.
TEMPORARY = re.compile(re.escape(TEMPORARY_PREFIX) + r"([^+/]+\+\d+\+|probe-)[0-9a-f]+([-.].*)?")


class Storage(Protocol):
    """Objects under one url: flat keys, whole immutable objects."""

    url: str

    @property
    def exclusive(self) -> bool:
        """Whether ``put(..., exclusive=True)`` lets exactly one of many concurrent writers win."""
        ...

    def get(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """Bytes ``start`` to ``stop`` (0-based, half-open) of an object; ObjectNotFoundError if it is not there."""
        ...

    def put(self, key: str, data: bytes | memoryview, *, exclusive: bool = False) -> None:
        """Publish an object at once; with ``exclusive`` ObjectExistsError if there is one of this key."""
        ...

    def size(self, key: str) -> int | None:
        """Bytes of an object, None if it is not there."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; no error if it is not there."""
        ...

    def keys(self) -> Iterator[str]:
        """Keys of all objects: a listing, for maintenance only, never on the path of normal work."""
        ...

    def inside(self, name: str, *, create: bool = False) -> Storage:
        """The folder of a name in this one, opened as this one was; ``keys`` tells nothing of what is in it."""
        ...


#: What every storage is wrapped in when it is opened; for tests (:func:`agd.testing.wrapped`).
WRAPPERS: list[Callable[[Storage], Storage]] = []


def temporary_name() -> str:
    """Name of a new temporary file; tells by whom, so that those of dead processes can be found and removed."""
    return f"{TEMPORARY_PREFIX}{os.uname().nodename}+{os.getpid()}+{uuid.uuid4().hex}"


def is_stale(key: str) -> bool:
    """Whether a temporary file was left by a process of this machine that is not alive any more."""
    host, _, rest = key.removeprefix(TEMPORARY_PREFIX).rpartition("+")[0].partition("+")
    if host != os.uname().nodename or not rest.isdigit():
        return False
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
