"""Urls: as they come from users, and as they may be written down, without what gives access."""

from __future__ import annotations

import os
import re
from typing import Any, TypeAlias, TypeVar, overload

#: A path or url, as users give it.
Url: TypeAlias = str | os.PathLike[str]

T = TypeVar("T")

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(?:([^/?#\s'\"]*)@)?([^?#\s'\"]*)(\?[^#\s'\"]*)?")


@overload
def as_text(place: Url) -> str: ...
@overload
def as_text(place: None) -> None: ...
@overload
def as_text(place: Url | None) -> str | None: ...
def as_text(place: Url | None) -> str | None:
    """A path or url as a text; None stays None."""
    return None if place is None else os.fspath(place)


def without_credentials(value: T) -> T:
    """A text, or all texts of a JSON value, where urls have lost user and password, and http urls their query.

    Queries of http are where signatures and tokens are. A user without a password stays (``abfs://container@account``).
    """
    found: Any = value
    if isinstance(value, str):
        found = _URL.sub(_public, value)
    elif isinstance(value, dict):
        found = {key: without_credentials(item) for key, item in value.items()}
    elif isinstance(value, list | tuple):
        found = type(value)(without_credentials(item) for item in value)
    return found  # type: ignore[no-any-return]


def _public(url: re.Match[str]) -> str:
    protocol, user, rest, query = url.groups(default="")
    web = protocol.lower() in ("http", "https")
    keeps_user = user and ":" not in user and not web
    return f"{protocol}://{user + '@' if keeps_user else ''}{rest}{'' if web else query}"
