"""What a new dataset may be: where it goes, how its objects are named, and how large its chunks are."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from agd.dataset import Dataset
from agd.embedded import EMBEDDED
from agd.errors import UsageError
from agd.manifest import MAX_NAME, is_word
from agd.storage import TEMPORARY_PREFIX, place_of
from agd.types import MAX_CHUNK_RECORDS


def check_target(url: str, name: str | None, inputs: Iterable[Dataset] = ()) -> str:
    """Name of a new dataset; before anything is made or removed.

    Parameters
    ----------
    url : str
        Where it will be.
    name : str or None
        As the user gave it. Default: from the url.
    inputs : iterable of Dataset
        What it is made of.

    Raises
    ------
    UsageError
        The name cannot be a part of the names of objects, or an input is at the url.
    """
    name = name or name_of(url)
    if not is_word(name) or name.startswith(TEMPORARY_PREFIX):
        raise UsageError(
            f"{name!r:.160} is not a name of a dataset",
            f"give at most {MAX_NAME} bytes, printable, without '/' (--name; by default it is that of the output)",
        )
    here = place_of(url)
    places = [place_of(source) for dataset in inputs for source in dataset.urls]
    # What a dataset keeps of a reference goes with it.
    inside = [folder for folder, _, last in (place.rpartition("/") for place in places) if EMBEDDED.fullmatch(last)]
    if here in (*places, *inside):
        raise UsageError(f"{url}: is the dataset that is read", "choose another output")
    return name


def check_chunk_size(records: int, nbytes: int = 1) -> None:
    """Refuse chunks that could hold nothing, or more than the format has.

    Raises
    ------
    UsageError
    """
    if not 1 <= records <= MAX_CHUNK_RECORDS or nbytes < 1:
        raise UsageError(
            f"chunks of {records:,} records" + (f" or {nbytes:,} bytes" if nbytes < 1 else ""),
            f"a chunk holds at least one record and one byte, and at most {MAX_CHUNK_RECORDS:,} records",
        )


def check_distinct(paths: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse files of which two are one, however they are spelled.

    Raises
    ------
    UsageError
    """
    found: dict[str, str] = {}
    for given in paths:
        path = os.fspath(given)
        place = place_of(path)
        if place in found and place != os.devnull:
            also = "" if found[place] == path else f" (the other one: {found[place]})"
            raise UsageError(f"{path}: two files are the same{also}", "give each a name of its own")
        found[place] = path


def name_of(url: str) -> str:
    """Name of a dataset from its url: the last part, without ``.agd``."""
    name = url.rstrip("/").split("/")[-1].removesuffix(".agd")
    name = re.sub(r"[^A-Za-z0-9._+=@-]", "_", name)
    if not name:
        raise UsageError(f"{url}: has no name", "give a path such as sample.agd")
    return name
