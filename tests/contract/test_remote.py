"""Remote stores that misbehave, through every client: what is tried again, what is named, what is never asked."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec.config
import pytest

import agd.storage.remote
from agd.errors import AgdError, InputError, ObjectExistsError, ObjectNotFoundError, StorageError, UsageError
from agd.files import open_source
from agd.run import ThreadRunner
from agd.sinks import open_sink
from agd.storage import RemoteStorage, Retry, open_client, open_storage, set_defaults, upload
from tests.support.servers import Request, S3Server, Spoil, s3_server

BUCKET = "agd-remote"


@pytest.fixture(scope="module")
def running() -> Iterator[S3Server]:
    pytest.importorskip("moto.server")
    import s3fs

    with s3_server() as server:
        s3fs.S3FileSystem(endpoint_url=server.endpoint, key="test", secret="test").mkdir(BUCKET)
        yield server


@pytest.fixture(params=["s3fs", "obstore"])
def client(request: pytest.FixtureRequest) -> str:
    if request.param == "obstore":
        pytest.importorskip("obstore")
    return str(request.param)


@pytest.fixture
def server(running: S3Server, client: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> S3Server:
    for name in list(os.environ):
        if name.startswith(("AWS_", "FSSPEC_", "AGD_S3")):
            monkeypatch.delenv(name)
    for name, value in {
        "AGD_S3_CLIENT": client, "AWS_ENDPOINT_URL": running.endpoint, "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    running.rule = lambda request: None
    agd.storage.remote._PROBED.clear()
    running.log.clear()
    return running


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def storage(server: S3Server, waits: list[float], tmp_path: Path) -> RemoteStorage:
    url = f"s3://{BUCKET}/{tmp_path.name}"
    storage = RemoteStorage(url, *open_client(url), Retry(sleep=waits.append, draw=lambda: 0.5))
    assert storage.exclusive
    server.log.clear()
    return storage


def test_the_client_is_the_one_that_was_chosen(storage: RemoteStorage, client: str) -> None:
    assert type(storage._client).__name__ == {"s3fs": "S3fsClient", "obstore": "ObstoreClient"}[client]


def test_each_request_is_one(storage: RemoteStorage, server: S3Server) -> None:
    storage.put("a", b"0123456789", exclusive=True)
    storage.put("a", b"0123456789")
    assert storage.get("a") == b"0123456789"
    assert storage.get("a", 2, 4) == b"23"
    assert storage.size("a") == 10
    assert storage.size("b") is None
    with pytest.raises(ObjectNotFoundError):
        storage.get("b")
    storage.delete("a")
    assert [request.method for request in server.log] == ["PUT", "PUT", "GET", "GET", "HEAD", "HEAD", "GET", "DELETE"]


def test_a_store_is_probed_once(server: S3Server, tmp_path: Path) -> None:
    for name in "abc":
        open_storage(f"s3://{BUCKET}/{tmp_path.name}/{name}").put("x", b"1", exclusive=True)
    assert server.asked("PUT") == 2 + 3
    assert server.asked("DELETE") == 1


def test_a_busy_server_is_asked_again(storage: RemoteStorage, server: S3Server, waits: list[float]) -> None:
    server.first("PUT", Spoil("refuse"), times=3)
    storage.put("a", b"1")
    server.first("GET", Spoil("refuse", "500 Internal Server Error", "InternalError"))
    assert storage.get("a") == b"1"
    assert waits == [0.2, 0.4, 0.8, 0.2]


def test_a_status_is_not_looked_for_in_names(storage: RemoteStorage, server: S3Server, waits: list[float]) -> None:
    folder = storage.inside("416")
    folder.put("404", b"0123456789")
    for start, stop in ((0, None), (2, 4), (9, None), (10, 12), (20, None)):
        server.first("GET", Spoil("refuse"))
        assert folder.get("404", start, stop) == b"0123456789"[start:stop]
    assert len(waits) == 5
    server.first("GET", Spoil("refuse", "403 Forbidden", "AccessDenied"))
    with pytest.raises(StorageError, match="access denied"):
        folder.get("404", 2, 4)


def test_an_answer_that_is_cut_short_is_asked_for_again(
    storage: RemoteStorage, server: S3Server, waits: list[float]
) -> None:
    data = os.urandom(300_000)
    storage.put("a", data)
    for start, stop in ((0, None), (100, 200_100)):
        server.first("GET", Spoil("cut"))
        assert storage.get("a", start, stop) == data[start:stop]
    assert len(waits) == 2


def test_what_was_created_although_the_answer_was_lost_is_ones_own(storage: RemoteStorage, server: S3Server) -> None:
    server.first("PUT", Spoil("lose", "500 Internal Server Error", "InternalError"))
    storage.put("a", b"mine", exclusive=True)
    assert server.asked("PUT") == 2
    # Of another's object the same is not believed, nor of one's own that was there before.
    with pytest.raises(ObjectExistsError):
        storage.put("a", b"mine", exclusive=True)
    server.first("PUT", Spoil("lose", "500 Internal Server Error", "InternalError"))
    with pytest.raises(ObjectExistsError):
        storage.put("a", b"other", exclusive=True)
    assert storage.get("a") == b"mine"


def test_a_conflict_that_is_not_decided_is_asked_about_again(storage: RemoteStorage, server: S3Server) -> None:
    server.first("PUT", Spoil("refuse", "409 Conflict", "ConditionalRequestConflict"))
    storage.put("a", b"1", exclusive=True)
    assert server.asked("PUT") == 2


@pytest.mark.parametrize(
    "spoil", [Spoil("refuse"), Spoil("refuse", "403 Forbidden", "AccessDenied")], ids=lambda spoil: spoil.code
)
def test_a_failure_that_passes_tells_nothing_of_exclusive_creation(
    server: S3Server, tmp_path: Path, spoil: Spoil
) -> None:
    url = f"s3://{BUCKET}/{tmp_path.name}"
    storage = RemoteStorage(url, *open_client(url), Retry(attempts=2, sleep=lambda _: None))
    puts: list[Request] = []

    def rule(request: Request) -> Spoil | None:
        puts.extend([request] * (request.method == "PUT"))
        return spoil if request.method == "PUT" and len(puts) > 1 else None

    server.rule = rule
    with pytest.raises(StorageError, match="cannot be written"):
        storage.put("a", b"1", exclusive=True)
    server.rule = lambda request: None
    assert storage.exclusive
    storage.put("a", b"1", exclusive=True)
    with pytest.raises(ObjectExistsError):
        storage.put("a", b"2", exclusive=True)


@pytest.mark.usefixtures("server")
def test_a_file_of_certificates_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"the option verify names /nonexistent\.pem"):
        open_storage(f"s3://{BUCKET}/x", client_kwargs={"verify": "/nonexistent.pem"})
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nonexistent.pem")
    with pytest.raises(UsageError, match=r"AWS_CA_BUNDLE names /nonexistent\.pem, which cannot be read: No such file"):
        open_storage(f"s3://{BUCKET}/x")


@pytest.mark.parametrize("spoil", [Spoil("unconditional"), Spoil("refuse", "501 Not Implemented", "NotImplemented")])
def test_a_store_without_conditions_is_looked_at_first(server: S3Server, tmp_path: Path, spoil: Spoil) -> None:
    seen = []

    def rule(request: Request) -> Spoil | None:
        # The first put of the probe has no condition, the second one has.
        seen.append(request.method)
        return spoil if request.method == "PUT" and (spoil.kind != "refuse" or seen.count("PUT") == 2) else None

    server.rule = rule
    storage = open_storage(f"s3://{BUCKET}/{tmp_path.name}")
    assert not storage.exclusive
    server.rule = lambda request: None
    storage.put("a", b"1", exclusive=True)
    with pytest.raises(ObjectExistsError):
        storage.put("a", b"2", exclusive=True)
    assert (storage.get("a"), sorted(storage.keys())) == (b"1", ["a"])


def reading_and_writing(storage: RemoteStorage) -> list[Callable[[], object]]:
    return [
        lambda: storage.get("a"), lambda: storage.put("a", b"1"), lambda: storage.put("a", b"1", exclusive=True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "code", "said", "remedy"),
    [
        ("403 Forbidden", "AccessDenied", "access denied", "policy of the bucket"),
        ("403 Forbidden", "InvalidAccessKeyId", "credentials are refused", "AWS_PROFILE"),
        ("403 Forbidden", "RequestTimeTooSkewed", "clock", "set the clock"),
        ("400 Bad Request", "IllegalLocationConstraintException", "another region", "AWS_DEFAULT_REGION"),
    ],
)
def test_a_refusal_is_told_at_once(
    storage: RemoteStorage, server: S3Server, waits: list[float], status: str, code: str, said: str, remedy: str
) -> None:
    server.rule = lambda request: Spoil("refuse", status, code)
    for request in reading_and_writing(storage):
        with pytest.raises(StorageError, match=said) as caught:
            request()
        assert f"s3://{BUCKET}/" in caught.value.message
        assert "/a: cannot be " in caught.value.message
        assert remedy in caught.value.remedy
    assert not waits


def test_a_bucket_that_is_not_there(server: S3Server) -> None:
    storage = open_storage("s3://agd-no-such-bucket/x.agd")
    for request in reading_and_writing(storage):
        with pytest.raises(StorageError, match="there is no such bucket") as caught:
            request()
        assert "make the bucket" in caught.value.remedy


def test_a_server_that_is_not_there(server: S3Server, monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    url = f"s3://{BUCKET}/x.agd"
    storage = RemoteStorage(url, *open_client(url), Retry(sleep=waits.append))
    with pytest.raises(StorageError, match="no connection") as caught:
        storage.get("a")
    assert "AWS_ENDPOINT_URL" in caught.value.remedy
    assert len(waits) == agd.storage.ATTEMPTS - 1


def test_a_server_that_does_not_answer(
    server: S3Server, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    monkeypatch.setenv("AGD_TIMEOUT", "0.2")
    url = f"s3://{BUCKET}/x.agd"
    storage = RemoteStorage(url, *open_client(url), Retry(attempts=2, sleep=waits.append))
    server.rule = lambda request: Spoil("hang")
    try:
        with pytest.raises(StorageError, match="no answer in time") as caught:
            storage.get("a")
    finally:
        server.ended.set()
        server.ended = threading.Event()
    assert "AGD_TIMEOUT" in caught.value.remedy
    assert len(waits) == 1


def test_without_credentials(server: S3Server, monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    url = f"s3://{BUCKET}/x.agd"
    storage = RemoteStorage(url, *open_client(url, config_kwargs={"connect_timeout": 7}), Retry(sleep=waits.append))
    with pytest.raises(StorageError, match="there are no credentials") as caught:
        storage.get("a")
    assert "AWS_PROFILE" in caught.value.remedy
    assert not waits


def test_credentials_and_endpoint_of_a_profile(
    server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text(
        f"[profile lab]\nregion = eu-central-1\nendpoint_url = {server.endpoint}\n"
        "aws_access_key_id = lab\naws_secret_access_key = lab\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    open_storage(f"s3://{BUCKET}/{tmp_path.name}", profile="lab").put("a", b"1")
    monkeypatch.setenv("AWS_PROFILE", "lab")
    assert open_storage(f"s3://{BUCKET}/{tmp_path.name}").get("a") == b"1"
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(AgdError, match="nobody"):
        open_storage(f"s3://{BUCKET}/{tmp_path.name}").get("a")


@pytest.mark.parametrize("way", ["option", "storage-option", "AGD_S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "FSSPEC_S3"])
def test_ways_to_give_an_endpoint(
    server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    # Each wins over the one that all programs share.
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(fsspec.config, "conf", {})
    options = {}
    if way == "option":
        options["endpoint_url"] = server.endpoint
    elif way == "storage-option":
        monkeypatch.setenv("FSSPEC_S3", "")  # so that it is put back
        set_defaults([f"endpoint_url={server.endpoint}"])
        assert json.loads(os.environ["FSSPEC_S3"]) == {"endpoint_url": server.endpoint}
    elif way == "FSSPEC_S3":
        monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": server.endpoint})
    else:
        monkeypatch.setenv(way, server.endpoint)
    storage = open_storage(f"s3://{BUCKET}/{tmp_path.name}", **options)
    storage.put("a", b"1")
    assert storage.get("a") == b"1"


@pytest.mark.parametrize("text", ["localhost:9000", "//host", "host"])
def test_an_endpoint_that_is_no_url(server: S3Server, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    with pytest.raises(UsageError, match="not a url") as caught:
        open_storage(f"s3://{BUCKET}/x.agd", endpoint_url=text)
    assert "http://" in caught.value.remedy
    monkeypatch.setenv("AWS_ENDPOINT_URL", text)
    with pytest.raises(AgdError, match="not a url"):
        open_storage(f"s3://{BUCKET}/x.agd").get("a")


@pytest.mark.parametrize("url", ["s3:/bucket/x.agd", "s3:bucket/x.agd", "https:/host/x", "s3://", "s3:///"])
def test_a_url_with_a_slip(url: str) -> None:
    for opens in (open_storage, open_source, open_sink):
        with pytest.raises(UsageError, match=r"neither a path nor a url|there is no bucket") as caught:
            opens(url)
        assert "://" in caught.value.remedy


def test_an_option_that_the_store_does_not_know(server: S3Server) -> None:
    with pytest.raises(AgdError, match="an option is not known") as caught:
        open_storage(f"s3://{BUCKET}/x.agd", s3_client="s3fs", nonsense=1).get("a")
    assert "--storage-option" in caught.value.remedy


def test_http_is_for_reading() -> None:
    for exclusive in (False, True):
        with pytest.raises(StorageError, match="cannot be written to"):
            open_storage("http://127.0.0.1:9/x.agd").put("a", b"1", exclusive=exclusive)
    with pytest.raises(StorageError, match="cannot be written to"):
        open_sink("http://127.0.0.1:9/x.bam")


@pytest.mark.parametrize("text", ["endpoint_url", "=x", "s3.=x", "a-b=c"])
def test_an_option_that_is_none(text: str) -> None:
    with pytest.raises(UsageError, match="not of the form"):
        set_defaults([text])


def test_a_client_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no client 'curl'"):
        open_storage("s3://b/x.agd", s3_client="curl")
    monkeypatch.setattr("agd.storage.objects.is_installed", lambda: False)
    with pytest.raises(UsageError, match="not installed") as caught:
        open_storage("s3://b/x.agd", s3_client="obstore")
    assert caught.value.remedy == "pip install obstore"


@pytest.mark.parametrize("options", [{"version_aware": True}, {"client_kwargs": {"api_version": "x"}}])
def test_what_obstore_cannot_be_told_is_left_to_s3fs(options: dict[str, object]) -> None:
    pytest.importorskip("obstore")
    client, _ = open_client("s3://bucket/x.agd", **options)
    assert type(client).__name__ == "S3fsClient"
    with pytest.raises(UsageError, match="obstore cannot be used"):
        open_client("s3://bucket/x.agd", s3_client="obstore", **options)


def test_both_clients_mean_the_same_object(server: S3Server, tmp_path: Path) -> None:
    pytest.importorskip("obstore")
    for number, folder in enumerate(("run 1", "a#b", "a%20b", "é", "x@3", "a+b=c", "[x]", "q?v=1")):
        url = f"s3://{BUCKET}/{tmp_path.name}/{folder}"
        one, other = (open_storage(url, s3_client=name) for name in ("s3fs", "obstore"))
        one.put("a", b"%d" % number)
        assert other.get("a") == b"%d" % number
        assert list(other.keys()) == ["a"]


@pytest.mark.parametrize("url", ["gs://bucket/x.agd", "gcs://bucket/x.agd", "abfs://box/x.agd"])
def test_a_package_that_is_missing_is_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # As if neither were installed, whatever is.
    for name in ("gcsfs", "adlfs"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match="missing") as caught:
        open_storage(url)
    assert caught.value.remedy == f"pip install {'adlfs' if url.startswith('abfs') else 'gcsfs'}"


# Files


def read(url: str) -> bytes:
    with ThreadRunner(2) as runner:
        source = open_source(url, runner)
        try:
            return b"".join(iter(lambda: source.read(1 << 20), b""))
        finally:
            source.close()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests and parts small enough for a test to need several."""
    monkeypatch.setattr("agd.files.REQUEST_BYTES", 1 << 20)
    monkeypatch.setattr(upload, "PART_BYTES", 5 << 20)
    monkeypatch.setattr("agd.storage.failures.time.sleep", lambda _: None)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("size", [0, 10, 5 << 20, (15 << 20) + 3])
def test_a_file_comes_back_through_spoilt_answers(server: S3Server, tmp_path: Path, size: int) -> None:
    url, data = f"s3://{BUCKET}/{tmp_path.name}/file", os.urandom(size)
    sink = open_sink(url)
    server.first("PUT", Spoil("refuse"), times=2)
    for start in range(0, size, 3_000_000):
        sink.write(data[start : start + 3_000_000])
    with pytest.raises(InputError, match="there is no such file"):
        read(url)
    # The completion of many parts is done, its answer lost: what it was asked to do has been done all the same.
    server.first("POST", Spoil("lose", "500 Internal Server Error", "InternalError"), key="/file")
    sink.commit()
    server.first("GET", Spoil("cut"), times=2)
    assert read(url) == data
    assert not any(request.is_listing for request in server.log)


@pytest.mark.usefixtures("small")
def test_an_upload_that_fails_leaves_nothing(server: S3Server, tmp_path: Path) -> None:
    import s3fs

    url = f"s3://{BUCKET}/{tmp_path.name}/never"
    sink = open_sink(url)
    server.first("PUT", Spoil("refuse", "403 Forbidden", "AccessDenied"), times=99)
    with pytest.raises(StorageError, match="never: cannot be written: access denied"):
        # The first parts are under way when one is refused; whoever writes on hears of it.
        sink.write(bytes(9 * (5 << 20)))
    sink.abort()
    filesystem = s3fs.S3FileSystem(endpoint_url=server.endpoint, use_listings_cache=False)
    assert not filesystem.exists(url)
    assert not filesystem.call_s3("list_multipart_uploads", Bucket=BUCKET).get("Uploads")


@pytest.mark.usefixtures("small")
def test_an_input_that_changes_while_it_is_read(server: S3Server, tmp_path: Path) -> None:
    url = f"s3://{BUCKET}/{tmp_path.name}/file"
    storage = open_storage(f"s3://{BUCKET}/{tmp_path.name}")
    for later, said in ((b"2" * (4 << 20), "was replaced"), (b"2" * (3 << 20), "came where"), (None, "no such file")):
        storage.put("file", b"1" * (4 << 20))
        source = open_source(url)
        assert source.read(10) == b"1" * 10
        if later is None:
            storage.delete("file")
        else:
            storage.put("file", later)
        with pytest.raises(InputError, match=said):
            list(iter(lambda source=source: source.read(1 << 20), b""))
        source.close()
