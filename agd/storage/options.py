"""What a store is told when it is opened: the options given, the environment, and what AGD needs."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from agd.errors import UsageError

#: Protocols of S3 and its clones.
S3 = ("s3", "s3a")

#: Variables that credentials and endpoints depend on.
ENVIRONMENT = (
    "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
    "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION",
)  # fmt: skip

#: Seconds without a byte after which a request counts as failed (``AGD_TIMEOUT``).
TIMEOUT = 60.0

#: Seconds in which a connection must be made.
CONNECT_TIMEOUT = 10.0


def protocol_of(url: str) -> str:
    """The protocol of a url, "file" for a path."""
    return url.split("://", 1)[0] if "://" in url else "file"


def check_url(url: str) -> None:
    """Refuse what is neither a path nor a whole url.

    Raises
    ------
    UsageError
        A slash or the bucket is missing, or it means a stream.
    """
    if url == "-":
        raise UsageError("-: a dataset is no stream", "give a path or url (a folder of this name: ./-)")
    slip = re.match(r"(s3a?|gs|gcs|abfs|az|https?):/?(?!/)", url)
    if slip:
        whole = f"{slip[1]}://{url[slip.end() :]}"
        raise UsageError(f"{url}: is neither a path nor a url", f"did you mean {whole}? (a file of this name: ./{url})")
    if protocol_of(url) in S3 and not url.split("://", 1)[1].strip("/"):
        raise UsageError(f"{url}: there is no bucket in this url", "give s3://BUCKET/FOLDER")


def check_local_options(url: str, options: Mapping[str, Any]) -> None:
    """Refuse options of a store for a path of this machine, which has none: most likely one was misspelt.

    Raises
    ------
    UsageError
        There are options.
    """
    if options:
        given = ", ".join(sorted(options))
        raise UsageError(f"{url}: a local path has no such options: {given}", "leave them out, or check their names")


def check_endpoint(endpoint: str) -> None:
    """Refuse an endpoint that is no url.

    Raises
    ------
    UsageError
        It does not begin with ``http://`` or ``https://``.
    """
    if not re.match(r"https?://[^/\s]+", endpoint):
        raise UsageError(f"the endpoint {endpoint!r} is not a url", f"begin it with a protocol: http://{endpoint}")


def timeout() -> float:
    """Seconds without a byte after which a request counts as failed.

    Raises
    ------
    UsageError
        ``AGD_TIMEOUT`` is not a number above 0.
    """
    text = os.environ.get("AGD_TIMEOUT") or str(TIMEOUT)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise UsageError(f"AGD_TIMEOUT={text}: is not a number of seconds", "set it to a number above 0, such as 60")
    return seconds


def store_options(url: str, options: dict[str, Any]) -> dict[str, Any]:
    """Options for fsspec: those given, those of fsspec's own configuration, and what AGD needs of a store.

    An endpoint is taken from the options, fsspec's configuration (``FSSPEC_S3_ENDPOINT_URL`` and the like),
    ``AGD_S3_ENDPOINT``, or where boto looks for it (``AWS_ENDPOINT_URL_S3``, ``AWS_ENDPOINT_URL``, the profile), in
    this order.
    """
    protocol = protocol_of(url)
    if protocol in S3:
        return _s3_options(options)
    if protocol in ("http", "https"):
        import aiohttp

        # The default of the client is five minutes for all of a file.
        limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=timeout())
        return {"client_kwargs": {"timeout": limits}} | options
    return dict(options)


def _s3_options(options: dict[str, Any]) -> dict[str, Any]:
    import fsspec.config

    configured: dict[str, Any] = {}
    for protocol in S3:
        configured |= fsspec.config.conf.get(protocol, {})
    # A stale listing would hide objects that other machines have just written.
    merged = {"use_listings_cache": False, "default_fill_cache": False} | configured | options
    endpoint = os.environ.get("AGD_S3_ENDPOINT")
    if endpoint and not merged.get("endpoint_url") and not merged.get("client_kwargs", {}).get("endpoint_url"):
        merged["endpoint_url"] = endpoint
    if merged.get("endpoint_url"):
        check_endpoint(str(merged["endpoint_url"]))
    _check_certificates(merged.get("client_kwargs") or {})
    limits = {"connect_timeout": CONNECT_TIMEOUT, "read_timeout": timeout(), "max_pool_connections": 32}
    merged["config_kwargs"] = limits | merged.get("config_kwargs", {})
    return merged


def _check_certificates(own: Mapping[str, Any]) -> None:
    path = own.get("verify", os.environ.get("AWS_CA_BUNDLE"))
    if not isinstance(path, str) or not path:
        return
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        name = "the option verify" if "verify" in own else "AWS_CA_BUNDLE"
        raise UsageError(
            f"{name} names {path}, which cannot be read: {error.strerror}", "name a file of certificates (PEM)"
        ) from error


def set_defaults(settings: Iterable[str]) -> None:
    """Set options of all stores that this process, and those it starts, open from now on.

    Parameters
    ----------
    settings : iterable of str
        ``KEY=VALUE`` for S3, ``PROTOCOL.KEY=VALUE`` for another protocol; a value that is JSON is read as such. They
        become part of fsspec's configuration.

    Raises
    ------
    UsageError
        Not of this form.
    """
    import fsspec.config

    for setting in settings:
        name, equals, text = setting.partition("=")
        protocol, dot, key = name.rpartition(".")
        protocol = protocol.lower() if dot else "s3"
        if not equals or not key.isidentifier() or not protocol.isalnum():
            raise UsageError(
                f"--storage-option {setting}: is not of the form KEY=VALUE",
                "give for example endpoint_url=http://host:9000 or, for another store than S3, gs.project=NAME",
            )
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        fsspec.config.conf.setdefault(protocol, {})[key] = value
        os.environ[f"FSSPEC_{protocol.upper()}"] = json.dumps(fsspec.config.conf[protocol])
