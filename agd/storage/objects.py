"""S3 through obstore: less processor time a request than s3fs (docs/remote.md), where it is installed."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import os
import posixpath
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from agd.errors import UsageError
from agd.storage.client import Info, begins_beyond_end
from agd.storage.options import CONNECT_TIMEOUT, ENVIRONMENT, TIMEOUT, check_endpoint

#: Options of s3fs that mean the same here. Others (and files of settings that say more) are left to s3fs.
_KNOWN = {
    "anon", "endpoint_url", "key", "secret", "token", "username", "password", "profile", "client_kwargs",
    "config_kwargs", "use_listings_cache", "default_fill_cache", "use_ssl", "requester_pays",
}  # fmt: skip
_KNOWN_CLIENT = {
    "endpoint_url", "region_name", "aws_access_key_id", "aws_secret_access_key", "aws_session_token", "verify",
}  # fmt: skip
_KNOWN_CONFIG = {"connect_timeout", "read_timeout", "max_pool_connections"}

#: How long temporary credentials are used before the chain of boto is asked again.
_CREDENTIALS_FOR = timedelta(minutes=5)


class NotForObstoreError(Exception):
    """Why an s3 url with its options is left to s3fs."""


class ObstoreClient:
    """One bucket.

    Parameters
    ----------
    bucket : str
    settings : dict
        Of :func:`obstore_settings`.
    """

    def __init__(self, bucket: str, settings: dict[str, Any]) -> None:
        self._bucket, self._settings = bucket, settings
        self._store = _open(bucket, json.dumps(settings, sort_keys=True), tuple(map(os.environ.get, ENVIRONMENT)))

    def __reduce__(self) -> tuple[object, ...]:
        return (ObstoreClient, (self._bucket, self._settings))

    def store(self, path: str) -> str:
        """See :meth:`agd.storage.client.Client.store`."""
        return f"s3:{self._settings['config'].get('aws_endpoint_url_s3', '')}:{self._bucket}"

    def get(self, path: str, start: int = 0, stop: int | None = None) -> bytes:
        """See :meth:`agd.storage.client.Client.get`."""
        import obstore

        if stop is not None and start >= stop:
            return b""
        wanted: Any = None
        if stop is not None:
            wanted = {"range": (start, stop)}
        elif start:
            wanted = {"range": {"offset": start}}
        try:
            with _plain_errors():
                return bytes(obstore.get(self._store, path, options=wanted).bytes())
        except Exception as error:
            if wanted is None or not begins_beyond_end(self, path, start, error):
                raise
            return b""

    def put(self, path: str, data: bytes | memoryview) -> None:
        """See :meth:`agd.storage.client.Client.put`."""
        import obstore

        with _plain_errors():
            obstore.put(self._store, path, data, use_multipart=len(data) > 64 << 20, chunk_size=16 << 20)

    def create(self, path: str, data: bytes | memoryview) -> None:
        """See :meth:`agd.storage.client.Client.create`; in one request."""
        import obstore

        with _plain_errors():
            obstore.put(self._store, path, data, mode="create", use_multipart=False)

    def info(self, path: str) -> Info:
        """See :meth:`agd.storage.client.Client.info`."""
        import obstore

        with _plain_errors():
            found = obstore.head(self._store, path)
        return Info(int(found["size"]), str(found["e_tag"] or "").strip('"'))

    def delete(self, path: str) -> None:
        """See :meth:`agd.storage.client.Client.delete`."""
        import obstore

        with _plain_errors():
            obstore.delete(self._store, path)

    def names(self, path: str) -> list[str]:
        """See :meth:`agd.storage.client.Client.names`."""
        import obstore

        with _plain_errors():
            found = obstore.list_with_delimiter(self._store, path)["objects"]
        return [posixpath.basename(entry["path"]) for entry in found]


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    """Errors of obstore as those of Python where there is one."""
    from obstore import exceptions

    try:
        yield
    except exceptions.AlreadyExistsError as error:
        if "ConditionalRequestConflict" in str(error):
            # Not yet decided: another request about this object is under way.
            raise ConnectionError("ConditionalRequestConflict") from error
        raise FileExistsError(_brief(error)) from error
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise PermissionError(_brief(error)) from error
    except FileNotFoundError as error:
        raise FileNotFoundError(_brief(error)) from error
    except exceptions.GenericError as error:
        if "kind: Timeout" in str(error):
            raise TimeoutError(_brief(error)) from error
        if "kind: Connect" in str(error):
            raise ConnectionError(_brief(error)) from error
        raise


def _brief(error: BaseException) -> str:
    """What the server said, if it said something, else what became of the request."""
    text = str(error).split("\n\nDebug source", 1)[0]
    code, message = (re.search(f"<{name}>(.*?)</{name}>", text) for name in ("Code", "Message"))
    if code:
        return f"{code[1]}: {message[1]}" if message else code[1]
    return text.rsplit(" - ", 1)[-1]


def is_installed() -> bool:
    """Whether obstore can be imported."""
    return importlib.util.find_spec("obstore") is not None


def split(path: str) -> tuple[str, str]:
    """Bucket and key of what fsspec calls the path.

    Raises
    ------
    NotForObstoreError
        obstore would give the key another name, or the bucket is none.
    """
    bucket, _, key = path.strip("/").partition("/")
    if ":" in bucket or any(part in ("", ".", "..") for part in key.split("/")):
        raise NotForObstoreError(f"the path {path!r}")
    return bucket, key


def obstore_settings(options: dict[str, Any]) -> dict[str, Any]:
    """What :class:`ObstoreClient` is opened with, from options of s3fs and the settings of boto.

    Returns
    -------
    dict
        ``config`` and ``client`` of the store, ``profile`` for its credentials; all of it JSON.

    Raises
    ------
    NotForObstoreError
        Something is asked for that cannot be said to obstore.
    """
    own, told = options.get("client_kwargs") or {}, options.get("config_kwargs") or {}
    for given, known in ((options, _KNOWN), (own, _KNOWN_CLIENT), (told, _KNOWN_CONFIG)):
        for name in given:
            if name not in known:
                raise NotForObstoreError(f"the option {name!r}")
    session = _session(options.get("profile"))
    with _profile_errors():
        scoped = session.get_scoped_config()
    for name in ("services", "s3"):
        if name in scoped:
            raise NotForObstoreError(f"the section {name!r} of the profile")
    config: dict[str, Any] = {"disable_bulk_delete": "true"}
    endpoint = options.get("endpoint_url") or own.get("endpoint_url") or _endpoint(scoped)
    if endpoint:
        check_endpoint(endpoint)
        # This name wins over all variables of the environment that obstore itself would look at.
        config["aws_endpoint_url_s3"] = endpoint
    config["region"] = (
        own.get("region_name") or session.get_config_variable("region") or os.environ.get("AWS_REGION") or "us-east-1"
    )
    config |= _given_credentials(options, own)
    if options.get("requester_pays"):
        config["request_payer"] = "true"
    return {"config": config, "client": _client_options(own, told), "profile": options.get("profile")}


def _given_credentials(options: dict[str, Any], own: dict[str, Any]) -> dict[str, str]:
    if options.get("anon"):
        return {"skip_signature": "true"}
    found = {
        "access_key_id": options.get("key") or options.get("username") or own.get("aws_access_key_id"),
        "secret_access_key": options.get("secret") or options.get("password") or own.get("aws_secret_access_key"),
        "session_token": options.get("token") or own.get("aws_session_token"),
    }
    if bool(found["access_key_id"]) != bool(found["secret_access_key"]):
        raise NotForObstoreError("a key without its secret")
    return {name: str(value) for name, value in found.items() if value}


def _client_options(own: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    verify = own.get("verify", os.environ.get("AWS_CA_BUNDLE"))
    silence = float(told.get("read_timeout") or TIMEOUT)
    connect = float(told.get("connect_timeout") or CONNECT_TIMEOUT)
    client: dict[str, Any] = {
        "allow_http": True, "connect_timeout": f"{round(1000 * connect)}ms",
        # The limit of the whole is for uploads, in which no byte comes back before the end.
        "read_timeout": f"{round(1000 * silence)}ms", "timeout": f"{round(10_000 * silence)}ms",
    }  # fmt: skip
    if verify is False:
        client["allow_invalid_certificates"] = True
    elif isinstance(verify, str) and verify:
        with open(verify, encoding="ascii", errors="replace") as file:
            client["root_certificate"] = file.read()
    return client


def _endpoint(scoped: dict[str, Any]) -> str | None:
    if os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    variables = (os.environ.get(name) for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"))
    return next(filter(None, variables), None) or scoped.get("endpoint_url")


def _session(profile: str | None) -> Any:
    from botocore.session import Session

    return Session(profile=profile)


@contextlib.contextmanager
def _profile_errors() -> Iterator[None]:
    from botocore.exceptions import BotoCoreError

    try:
        yield
    except BotoCoreError as error:
        raise UsageError(f"{error}", "check AWS_PROFILE and the files in ~/.aws") from error


@functools.lru_cache(maxsize=64)
def _open(bucket: str, settings: str, environment: tuple[str | None, ...]) -> Any:
    """The store of a bucket: one for all that ask, so that connections are used again."""
    from obstore.store import S3Store

    read = json.loads(settings)
    config = read["config"]
    provider = None
    if "skip_signature" not in config and "access_key_id" not in config:
        provider = _credentials(read["profile"])
    # No retries here: agd.storage.failures.Retry must see every attempt.
    return S3Store(
        bucket, config=config, client_options=read["client"], retry_config={"max_retries": 0},
        credential_provider=provider,
    )  # fmt: skip


def _credentials(profile: str | None) -> Callable[[], dict[str, Any]]:
    """Credentials from where boto takes them: environment, profile, single sign-on, role, machine."""

    session = _session(profile)

    def provide() -> dict[str, Any]:
        from botocore.exceptions import NoCredentialsError

        found = session.get_credentials()
        if found is None:
            raise NoCredentialsError
        frozen = found.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key, "secret_access_key": frozen.secret_key, "token": frozen.token,
            "expires_at": datetime.now(UTC) + _CREDENTIALS_FOR,
        }  # fmt: skip

    return provide
