"""What an input file is, for the plan of an import."""

from __future__ import annotations

import os
from typing import Any

import fsspec

from agd.errors import InputError

#: Details by which stores tell one version of a file from the next.
_VERSIONS = ("ETag", "etag", "mtime", "LastModified", "last_modified", "created")


def describe_input(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Path, size and version of an input, so that a stopped import is taken up only with the same one.

    Parameters
    ----------
    path : str or path
        A local path, a url, or "-" for standard input.

    Returns
    -------
    dict
        ``path`` as given; ``size`` in bytes as stored, None if unknown; ``version``: text, "" if unknown.

    Raises
    ------
    InputError
        There is no such file, or it cannot be looked up.
    """
    text = os.fspath(path)
    if text == "-":
        return {"path": text, "size": None, "version": ""}
    try:
        filesystem, inner = fsspec.core.url_to_fs(text)
        info = filesystem.info(inner)
    except FileNotFoundError as error:
        raise InputError(text, "there is no such file", remedy="check the path or url") from error
    except (OSError, ValueError, ImportError) as error:
        remedy = "check the path or url and its permissions"
        raise InputError(text, f"cannot be opened: {error}", remedy=remedy) from error
    if info.get("type") == "directory":
        raise InputError(text, "is a directory", remedy="give a file")
    size = info.get("size")
    version = next((str(info[key]) for key in _VERSIONS if info.get(key)), "")
    return {"path": text, "size": None if size is None else int(size), "version": version}
