"""Datasets in a folder of any store."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from agd.dataset import Dataset
from agd.errors import AgdError, DatasetNotFoundError, UsageError
from agd.generations import is_dataset
from agd.storage import open_storage, store_options


def find_datasets(url: str) -> Iterator[tuple[str, Dataset | AgdError]]:
    """The dataset at a url, or those in the folder there, by name; not in folders of folders.

    Yields
    ------
    url : str
    dataset : Dataset or AgdError
        The error, where a dataset is damaged.

    Raises
    ------
    DatasetNotFoundError
        There is no such folder.
    UsageError
        No store is known for the url.
    """
    url = url.rstrip("/") or "/"
    if is_dataset(open_storage(url)):
        yield url, Dataset.open(url)
        return
    import fsspec.core

    try:
        filesystem, path = fsspec.core.url_to_fs(url, **store_options(url, {}))
    except (ImportError, ValueError) as error:
        raise UsageError(f"{url}: {error}", "check the url") from error
    try:
        entries = filesystem.ls(path, detail=True)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DatasetNotFoundError(f"{url}: there is no such folder", "check the path or url") from error
    for entry in sorted(entries, key=lambda entry: str(entry["name"])):
        if entry["type"] != "directory":
            continue
        below = posixpath.join(url, posixpath.basename(entry["name"].rstrip("/")))
        try:
            if is_dataset(open_storage(below)):
                yield below, Dataset.open(below)
        except AgdError as error:
            yield below, error
