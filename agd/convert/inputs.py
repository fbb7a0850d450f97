"""What an input file is, for the plan of an import."""

from __future__ import annotations

import os
import stat
from typing import Any

from agd.convert.streams import open_input
from agd.errors import InputError
from agd.files import describe_remote
from agd.storage import local_path
from agd.urls import without_credentials


def describe_input(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Path, size and version of an input, so that a stopped import is taken up only with the same one.

    Parameters
    ----------
    path : str or path
        A local path, a url, or "-" for standard input.

    Returns
    -------
    dict
        ``path`` as given, but without credentials; ``size`` in bytes as stored, None if unknown; ``version``: text, ""
        if unknown.

    Raises
    ------
    InputError
        There is no such file, or it cannot be looked up.
    """
    text = os.fspath(path)
    if text == "-":
        return {"path": text, "size": None, "version": ""}
    here = local_path(text)
    if here is None:
        info = describe_remote(text)
        return {"path": without_credentials(text), "size": info.size, "version": info.version}
    try:
        status = os.stat(here)
    except FileNotFoundError as error:
        raise InputError(text, "there is no such file", remedy="check the path or url") from error
    except (OSError, ValueError) as error:
        remedy = "check the path or url and its permissions"
        raise InputError(text, f"cannot be opened: {error}", remedy=remedy) from error
    if stat.S_ISDIR(status.st_mode):
        raise InputError(text, "is a directory", remedy="give a file")
    return {"path": text, "size": status.st_size, "version": str(status.st_mtime)}


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """Lines of a text file that are not blank, without their ends; bytes that are not UTF-8 as surrogates.

    Parameters
    ----------
    path : str or path
        A local path, a url, or "-" for standard input; compressed or not.

    Raises
    ------
    InputError
        It cannot be read.
    """
    with open_input(path) as stream:
        text = b"".join(stream.blocks()).decode("utf-8", "surrogateescape")
    return [line for line in text.replace("\r\n", "\n").split("\n") if line.strip()]


def is_known(described: dict[str, Any]) -> bool:
    """Whether the same input can be told from a changed one: what was made of it before may then be kept."""
    return bool(described["version"]) and described["size"] is not None
