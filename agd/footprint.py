"""Which objects of a folder are a dataset's, or those of an unfinished one: whatever else lies there is left alone."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agd.chunkfile import MAGIC
from agd.embedded import EMBEDDED
from agd.errors import ObjectNotFoundError
from agd.manifest import MANIFEST_KEY, generation_of
from agd.storage import TEMPORARY, Storage

#: Claims, and records of parts that are done.
_RECORD = re.compile(r"draft-(new|column-.+|part-\d+-of-\d+)\.json")
_OBJECT = re.compile(r"(.+)-\d{12}\.[^/]+")


@dataclass(frozen=True, slots=True)
class Footprint:
    """Keys in a folder that are AGD's.

    Attributes
    ----------
    manifests : tuple of str
        In the order in which they may be removed: a reader sees the newest that is left, or no dataset.
    records : tuple of str
        Claims, and records of parts.
    objects : tuple of str
        Of all datasets that a manifest or a claim here names, or whose chunk files say what they are.
    temporary : tuple of str
    embedded : tuple of str
        Names of references that the dataset keeps in folders of its own.
    """

    manifests: tuple[str, ...]
    records: tuple[str, ...]
    objects: tuple[str, ...]
    temporary: tuple[str, ...]
    embedded: tuple[str, ...]

    @staticmethod
    def of(storage: Storage, names: Collection[str] = ()) -> Footprint:
        """By a listing, the manifests and claims, and the first bytes of objects of names that these do not tell.

        ``names`` are those that are AGD's here whatever lies under them.
        """
        keys = list(storage.keys())
        manifests = {k: _document(storage, k) for k in keys if k == MANIFEST_KEY or generation_of(k) is not None}
        records = {key: _document(storage, key) for key in keys if _RECORD.fullmatch(key)}
        told = [d for d in manifests.values() if d is not None and d.get("format") == "agd"]
        names = {*names, *(str(d.get("name")) for d in told)}
        names |= {str(d.get("name")) for d in records.values() if d is not None and "plan" in d}
        objects = {key: found[1] for key in keys if (found := _OBJECT.fullmatch(key))}
        for key, name in objects.items():
            if name not in names and _is_chunk_file(storage, key):
                names.add(name)
        # What is no JSON is taken for a manifest that was damaged only where there is more of a dataset.
        mine = [key for key, d in manifests.items() if (bool(names) if d is None else d.get("format") == "agd")]
        return Footprint(
            manifests=tuple(sorted(mine, key=lambda key: (key != MANIFEST_KEY, len(key), key), reverse=True)),
            records=tuple(key for key, d in records.items() if d is None or "plan" in d),
            objects=tuple(key for key, name in objects.items() if name in names),
            temporary=tuple(key for key in keys if TEMPORARY.fullmatch(key)),
            embedded=tuple(sorted({name for d in told for name in _embedded(d)})),
        )


def _document(storage: Storage, key: str) -> Mapping[str, Any] | None:
    """The JSON object of a key, None if it is damaged; {} if it is gone, or other JSON."""
    try:
        found = json.loads(storage.get(key))
    except ObjectNotFoundError:
        return {}
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else {}


def _is_chunk_file(storage: Storage, key: str) -> bool:
    with contextlib.suppress(ObjectNotFoundError):
        return storage.get(key, 0, len(MAGIC)) == MAGIC
    return False


def _embedded(document: Mapping[str, Any]) -> Iterable[str]:
    steps = document.get("steps")
    for step in steps if isinstance(steps, list) else ():
        parameters = step.get("parameters") if isinstance(step, dict) else None
        # Steps are carried to other datasets, which have not what this one keeps.
        if isinstance(parameters, dict) and parameters.get("dataset") == document.get("id"):
            name = parameters.get("embedded")
            if isinstance(name, str) and EMBEDDED.fullmatch(name):
                yield name


def remove(storage: Storage) -> None:
    """Remove every object of the dataset, or unfinished one, that is here; other files are left alone.

    Stopped between any two requests it can be done again. The manifests tell of the rest, so embedded references go
    before them; claims go last.
    """
    found = Footprint.of(storage)
    for name in found.embedded:
        inner = storage.inside(name)
        remove(inner)
        with contextlib.suppress(OSError):
            os.rmdir(inner.url)
    for key in (*found.manifests, *found.objects, *found.temporary, *found.records):
        storage.delete(key)
