"""The manifests of a dataset: which generations there are, and the newest one."""

from __future__ import annotations

import contextlib

from agd.errors import (
    DatasetNotFoundError,
    FormatError,
    ObjectNotFoundError,
    StorageError,
    VersionTooNewError,
    VersionTooOldError,
)
from agd.manifest import MANIFEST_KEY, REMEDY, Manifest, generation_key, generation_of
from agd.storage import Storage


def is_dataset(storage: Storage) -> bool:
    """Whether a dataset has been published here."""
    return any(storage.size(key) is not None for key in (MANIFEST_KEY, generation_key(1)))


def load_manifest(storage: Storage, generation: int | None = None) -> Manifest:
    """Newest manifest of a dataset, or one generation of it.

    The newest is in ``manifest.json``, unless a writer stopped between publishing a generation and renewing that copy;
    so a look for the next generation follows. Where only the copy is damaged the generations are read.

    Raises
    ------
    DatasetNotFoundError
        There is no manifest.
    FormatError
        The newest generation is damaged, or is another than its key says.
    """
    if generation is not None:
        return _generation(storage, generation, f"there is no generation {generation}")
    try:
        manifest = _load(storage, MANIFEST_KEY, "there is no dataset")
    except DatasetNotFoundError:
        manifest = _generation(storage, 1, "there is no dataset")
    except (VersionTooNewError, VersionTooOldError):
        raise
    except FormatError:
        numbers = [number for key in list(storage.keys()) if (number := generation_of(key)) is not None]
        if not numbers:
            raise
        manifest = _generation(storage, max(numbers), "no generation is")
    while True:
        try:
            manifest = _generation(storage, manifest.generation + 1, "no newer one is")
        except DatasetNotFoundError:
            return manifest


def publish(storage: Storage, manifest: Manifest) -> None:
    """Publish a generation: ObjectExistsError if its number is taken, FormatError if it could not be read again."""
    key, data = generation_key(manifest.generation), manifest.to_bytes()
    Manifest.from_bytes(data, f"{storage.url}/{key}")
    storage.put(key, data, exclusive=True)
    publish_copy(storage, manifest)


def publish_copy(storage: Storage, manifest: Manifest) -> None:
    """Renew ``manifest.json`` after a generation was published.

    A reader that comes between finds the generation, and so does one where this fails: that is no error of the writer.
    """
    with contextlib.suppress(StorageError):
        storage.put(MANIFEST_KEY, manifest.to_bytes())


def _generation(storage: Storage, number: int, missing: str) -> Manifest:
    key = generation_key(number)
    manifest = _load(storage, key, missing)
    if manifest.generation != number:
        reason = f"{manifest.generation}, under the key of {number}"
        raise FormatError(f"{storage.url}/{key}", "generation", reason, REMEDY)
    return manifest


def _load(storage: Storage, key: str, missing: str) -> Manifest:
    try:
        data = storage.get(key)
    except ObjectNotFoundError as error:
        raise DatasetNotFoundError(
            f"{storage.url}: {missing} here", "check the path or url; an import that was stopped can be run again"
        ) from error
    return Manifest.from_bytes(data, f"{storage.url}/{key}")
