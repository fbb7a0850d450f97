"""Objects in a folder of any store.

A :class:`Storage` holds the objects of one dataset: flat keys, whole immutable objects. Publishing is atomic: an object
is there with all its bytes or it is not there. ``create`` is exclusive where the store can do it (see
:attr:`Storage.exclusive`).
"""

from __future__ import annotations

import os
import threading
from typing import Any

from agd.errors import UsageError
from agd.storage.base import TEMPORARY, TEMPORARY_PREFIX, WRAPPERS, Storage, is_stale, temporary_name
from agd.storage.client import Client, FsspecClient, Info, MemoryClient, S3fsClient
from agd.storage.failures import ATTEMPTS, Retry, explain, is_transient
from agd.storage.local import LocalStorage
from agd.storage.options import (
    ENVIRONMENT,
    S3,
    check_local_options,
    check_url,
    protocol_of,
    set_defaults,
    store_options,
)
from agd.storage.remote import RemoteStorage

__all__ = [
    "ATTEMPTS", "TEMPORARY", "TEMPORARY_PREFIX", "WRAPPERS", "Client", "Info", "LocalStorage", "RemoteStorage", "Retry",
    "Storage", "explain", "filesystem_of", "is_stale", "is_transient", "local_path", "open_client", "open_storage",
    "place_of", "s3_filesystem", "set_defaults", "store_options", "temporary_name",
]  # fmt: skip

#: Which client speaks to S3: ``s3fs`` or ``obstore``. Default: obstore where it is installed and can do what is asked.
CLIENT_VARIABLE = "AGD_S3_CLIENT"


def open_storage(url: str | os.PathLike[str], *, create: bool = False, **options: Any) -> Storage:
    """Storage for a url or path.

    Parameters
    ----------
    url : str or path
        A local path, or any url that fsspec understands (``s3://bucket/folder``, ``memory://name``).
    create : bool
        Make the folder where the store has folders.
    **options
        Passed to fsspec (``endpoint_url``, credentials, …); for S3 also ``s3_client``: "s3fs" or "obstore".

    Raises
    ------
    UsageError
        The url or the options cannot be understood (a local path has none), or a package is missing.
    """
    url = os.fspath(url)
    here = local_path(url)
    storage: Storage
    if here is not None:
        check_url(url)
        check_local_options(url, options)
        storage = LocalStorage(os.path.abspath(os.path.expanduser(here)), create=create)
    else:
        storage = RemoteStorage(url, *open_client(url, **options))
    for wrap in WRAPPERS:
        storage = wrap(storage)
    return storage


def local_path(url: str) -> str | None:
    """A path as it is, the path of a url of this machine's file system, None for any other."""
    if "::" in url or protocol_of(url) not in ("file", "local"):
        return None
    if "://" not in url:
        return url
    # Imported where it is needed, here and below: it takes as long as numpy.
    import fsspec.core

    return str(fsspec.core.strip_protocol(url))


def place_of(url: str | os.PathLike[str]) -> str:
    """What all names of one place have in common: a path without links, or a url as the store would write it."""
    url = os.fspath(url)
    here = local_path(url)
    if here is not None:
        return os.path.realpath(os.path.expanduser(here))
    if "::" in url:
        return url.rstrip("/")
    if protocol_of(url) in S3:
        return "s3://" + url.split("://", 1)[1].strip("/")
    import fsspec.core

    return f"{protocol_of(url)}://{str(fsspec.core.strip_protocol(url)).strip('/')}"


def open_client(url: str, **options: Any) -> tuple[Client, str]:
    """Client for a url, and what it calls the path; see :func:`open_storage`."""
    check_url(url)
    choice = options.pop("s3_client", None) or os.environ.get(CLIENT_VARIABLE) or ""
    if choice not in ("", "s3fs", "obstore"):
        raise UsageError(f"there is no client {choice!r} for S3", f"set {CLIENT_VARIABLE} to s3fs or obstore")
    if protocol_of(url) in S3 and choice != "s3fs":
        found = _obstore_client(url, options, required=choice == "obstore")
        if found is not None:
            return found
    if protocol_of(url) in S3:
        filesystem, path = s3_filesystem(url, **options)
        return S3fsClient(filesystem), path
    filesystem, path = filesystem_of(url, **options)
    memory = type(filesystem).__name__ == "MemoryFileSystem"
    return (MemoryClient if memory else FsspecClient)(filesystem), path


def s3_filesystem(url: str, **options: Any) -> tuple[Any, str]:
    """A file system of s3fs that makes each request once (see :class:`agd.storage.Retry`), and the path of a url."""
    told = store_options(url, options)
    told["config_kwargs"] = {"retries": {"total_max_attempts": 1}} | told["config_kwargs"]
    key = (repr(sorted(told.items())), tuple(map(os.environ.get, ENVIRONMENT)))
    with _S3_LOCK:
        if key not in _S3_FILESYSTEMS:
            # The cache of fsspec knows nothing of the environment: who sets a variable and tries again, as one does in
            # a notebook, would get the client that failed.
            _S3_FILESYSTEMS[key] = filesystem_of(url, **told, skip_instance_cache=True)[0]
            _S3_FILESYSTEMS[key].retries = 1
    filesystem = _S3_FILESYSTEMS[key]
    return filesystem, filesystem._strip_protocol(url)


_S3_FILESYSTEMS: dict[tuple[str, tuple[str | None, ...]], Any] = {}
_S3_LOCK = threading.Lock()


def _obstore_client(url: str, options: dict[str, Any], *, required: bool) -> tuple[Client, str] | None:
    from agd.storage import objects

    if not objects.is_installed():
        if required:
            raise UsageError(f"{CLIENT_VARIABLE}=obstore: obstore is not installed", "pip install obstore")
        return None
    try:
        bucket, key = objects.split(url.split("://", 1)[1])
        return objects.ObstoreClient(bucket, objects.obstore_settings(store_options(url, options))), key
    except objects.NotForObstoreError as error:
        if required:
            raise UsageError(f"{url}: obstore cannot be used with {error}", f"set {CLIENT_VARIABLE}=s3fs") from error
        return None


#: What to install for a protocol whose package is not there.
_PACKAGES = {"gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs", "adl": "adlfs"}


def filesystem_of(url: str, **options: Any) -> tuple[Any, str]:
    """fsspec's file system for a url, and its path there.

    Raises
    ------
    UsageError
        The url or the options cannot be understood, or a package is missing.
    """
    import fsspec.core

    try:
        filesystem, path = fsspec.core.url_to_fs(url, **store_options(url, options))
    except ImportError as error:
        package = _PACKAGES.get(protocol_of(url))
        remedy = f"pip install {package}" if package else f"install the package that fsspec names: {error}"
        raise UsageError(f"{url}: a package for {protocol_of(url)}:// is missing: {error}", remedy) from error
    except (TypeError, ValueError, KeyError) as error:
        raise UsageError(f"{url}: {error}", "check the url and the options of the store") from error
    return filesystem, path
