"""Throughput of :mod:`agd.storage` next to raw clients: ``python -m benchmarks.remote``.

Without ``--endpoint`` an S3 server is started in a process of its own; it is written in Python, so what is compared
are requests and copies, not a network.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import s3fs

from agd.storage import open_storage

THREADS = 8


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Endpoint of an S3 server in another process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def clients(url: str, endpoint: str) -> Iterator[tuple[str, Callable[[str, bytes], object], Callable[[str], object]]]:
    """Name, put and get of each client."""
    storage = open_storage(f"{url}/agd")
    yield "agd", lambda key, data: storage.put(key, data, exclusive=True), storage.get
    raw = s3fs.S3FileSystem(endpoint_url=endpoint, use_listings_cache=False)
    yield "s3fs", lambda key, data: raw.pipe_file(f"{url}/s3fs/{key}", data), lambda key: raw.cat_file(
        f"{url}/s3fs/{key}"
    )
    with contextlib.suppress(ImportError):
        import obstore
        from obstore.store import S3Store

        fast = S3Store.from_url(
            f"{url}/obstore", endpoint=endpoint, client_options={"allow_http": True}, region="us-east-1"
        )
        yield "obstore", lambda key, data: obstore.put(fast, key, data), lambda key: obstore.get(fast, key).bytes()


def measure(url: str, endpoint: str, size: int, count: int) -> None:
    """Print MB/s of each client for objects of one size."""
    data = os.urandom(size)
    keys = [f"object-{size}-{i}" for i in range(count)]
    for name, put, get in clients(url, endpoint):
        with ThreadPoolExecutor(THREADS) as pool:
            put(f"warm-{size}", b"x")
            begun = time.perf_counter()
            list(pool.map(lambda key, put=put: put(key, data), keys))  # type: ignore[misc]
            middle = time.perf_counter()
            list(pool.map(get, keys))
            end = time.perf_counter()
        total = size * count / 1e6
        written, read = round(total / (middle - begun), 1), round(total / (end - middle), 1)
        line = {"client": name, "bytes": size, "objects": count, "put MB/s": written, "get MB/s": read}
        print(json.dumps(line), flush=True)


def main() -> int:
    """Compare the clients with small and large objects."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoint", help="of a server that runs already")
    parser.add_argument("--url", default="s3://agd-remote", help="bucket and folder to write to")
    chosen = parser.parse_args()
    with contextlib.ExitStack() as stack:
        endpoint = chosen.endpoint or stack.enter_context(server())
        os.environ["AGD_S3_ENDPOINT"] = endpoint
        if not chosen.endpoint:
            os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
            os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
            s3fs.S3FileSystem(endpoint_url=endpoint).mkdir(chosen.url)
        for size, count in ((64 << 10, 200), (4 << 20, 40)):
            measure(chosen.url, endpoint, size, count)
    return 0


if __name__ == "__main__":
    sys.exit(main())
