"""The manifests of a dataset: which generations there are, and the newest one."""

from __future__ import annotations

from agd.errors import DatasetNotFoundError, ObjectNotFoundError
from agd.manifest import MANIFEST_KEY, Manifest, generation_key
from agd.storage import Storage


def is_dataset(storage: Storage) -> bool:
    """Whether a dataset has been published here."""
    return any(storage.size(key) is not None for key in (MANIFEST_KEY, generation_key(1)))


def load_manifest(storage: Storage, generation: int | None = None) -> Manifest:
    """Newest manifest of a dataset, or one generation of it.

    The newest is in ``manifest.json``, unless a writer stopped between publishing a generation and renewing that copy;
    so a look for the next generation follows.

    Raises
    ------
    DatasetNotFoundError
        There is no manifest.
    """
    if generation is not None:
        return _load(storage, generation_key(generation), f"there is no generation {generation}")
    try:
        manifest = _load(storage, MANIFEST_KEY, "there is no dataset")
    except DatasetNotFoundError:
        manifest = _load(storage, generation_key(1), "there is no dataset")
    while True:
        try:
            manifest = _load(storage, generation_key(manifest.generation + 1), "no newer one is")
        except DatasetNotFoundError:
            return manifest


def _load(storage: Storage, key: str, missing: str) -> Manifest:
    try:
        data = storage.get(key)
    except ObjectNotFoundError as error:
        raise DatasetNotFoundError(
            f"{storage.url}: {missing} here", "check the path or url; an import that was stopped can be run again"
        ) from error
    return Manifest.from_bytes(data, f"{storage.url}/{key}")
