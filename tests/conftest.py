"""Fixtures that all tests share."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Shared machines are slow now and then: a time limit per example would make tests fail for no fault of the code.
settings.register_profile(
    "default", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.register_profile("thorough", parent=settings.get_profile("default"), max_examples=2000)
settings.load_profile(os.environ.get("AGD_HYPOTHESIS", "default"))

DATA_VARIABLE = "AGD_TEST_DATA"

#: An S3 server to test against in place of our own; credentials the usual way.
ENDPOINT_VARIABLE = "AGD_TEST_S3_ENDPOINT"


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of real sequencing data beside the repository; tests that need it are skipped aloud without it."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get(DATA_VARIABLE, default))
    if not (folder / "MANIFEST.tsv").is_file():
        pytest.skip(f"no test data in {folder}; set {DATA_VARIABLE} to the folder that holds them")
    return folder


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Url of an S3 server: the one of AGD_TEST_S3_ENDPOINT, else one that this session runs on the loopback device."""
    given = os.environ.get(ENDPOINT_VARIABLE)
    if given:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AGD_S3_ENDPOINT", given)
            yield given
        return
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    settings = {
        "AGD_S3_ENDPOINT": url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        yield url
    server.stop()


@pytest.fixture
def s3_url(s3_endpoint: str) -> str:
    """Url of an empty bucket."""
    import s3fs

    bucket = f"agd-{uuid.uuid4().hex}"
    s3fs.S3FileSystem(endpoint_url=s3_endpoint, use_listings_cache=False).mkdir(bucket)
    return f"s3://{bucket}"


@pytest.fixture(params=["local", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Url of a place without any dataset in every kind of store."""
    if request.param == "local":
        return str(tmp_path)
    if request.param == "memory":
        return f"memory://agd-{uuid.uuid4().hex}"
    return str(request.getfixturevalue("s3_url"))
