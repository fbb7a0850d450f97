"""Throughput of :mod:`agd.storage` next to raw clients: ``python -m benchmarks.remote``.

Without ``--endpoint`` an S3 server is started in a process of its own; it is written in Python, so what is compared
are requests and copies, not a network. The clients take turns, and the median of the rounds is printed, with the
processor time that the client took (server and client share the machine, so the rate alone says little).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import s3fs

from agd.storage import Storage, open_storage

THREADS = 8

#: Bytes of an object and how many there are: small cells, and those of a chunk of 100,000 reads.
SIZES = ((64 << 10, 200), (4 << 20, 40))

Put = Callable[[str, bytes], object]
Get = Callable[[str], object]


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


def ours(storage: Storage) -> tuple[Put, Get]:
    """Put and get as a dataset does it: exclusively, whole."""
    return lambda key, data: storage.put(key, data, exclusive=True), storage.get


def clients(url: str, endpoint: str) -> Iterator[tuple[str, Put, Get]]:
    """Name, put and get of each client; ours before the raw one below it."""
    raw = s3fs.S3FileSystem(endpoint_url=endpoint, use_listings_cache=False)
    yield "agd over s3fs", *ours(open_storage(f"{url}/agd-s3fs", s3_client="s3fs"))
    yield "s3fs", lambda key, data: raw.pipe_file(f"{url}/s3fs/{key}", data), lambda key: raw.cat_file(
        f"{url}/s3fs/{key}", start=0
    )
    with contextlib.suppress(ImportError):
        import obstore
        from obstore.store import S3Store

        yield "agd over obstore", *ours(open_storage(f"{url}/agd-obstore", s3_client="obstore"))
        fast = S3Store.from_url(f"{url}/obstore", endpoint=endpoint, client_options={"allow_http": True})
        yield "obstore", lambda key, data: obstore.put(fast, key, data), lambda key: obstore.get(fast, key).bytes()
    with contextlib.suppress(ImportError):
        import boto3
        from botocore.config import Config

        bucket, _, folder = url.removeprefix("s3://").partition("/")
        plain = boto3.client("s3", endpoint_url=endpoint, config=Config(max_pool_connections=THREADS))
        prefix = f"{folder}/boto3".lstrip("/")
        yield "boto3", lambda key, data: plain.put_object(
            Bucket=bucket, Key=f"{prefix}/{key}", Body=data
        ), lambda key: plain.get_object(Bucket=bucket, Key=f"{prefix}/{key}")["Body"].read()


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the wall clock and of the processors of this process."""

    def cpu() -> float:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime

    wall, busy = time.perf_counter(), cpu()
    work()
    return time.perf_counter() - wall, cpu() - busy


def measure(url: str, endpoint: str, size: int, count: int, rounds: int) -> None:
    """Print MB/s and processor time of each client for objects of one size."""
    data = os.urandom(size)
    found = list(clients(url, endpoint))
    results: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name, _, _ in found}
    draw = random.Random(size)
    with ThreadPoolExecutor(THREADS) as pool:
        for turn in range(-1, rounds):
            # The first turn is to warm up. Nobody always comes after the same other one, whose traces last for a while.
            for name, put, get in draw.sample(found, len(found)):
                keys = [f"object-{size}-{turn}-{i}" for i in range(count if turn >= 0 else THREADS)]
                written = timed(lambda put=put, keys=keys: list(pool.map(lambda key: put(key, data), keys)))  # type: ignore[misc]
                read = timed(lambda get=get, keys=keys: list(pool.map(get, keys)))  # type: ignore[misc]
                if turn >= 0:
                    results[name].append((*written, *read))
    total = size * count / 1e6
    for name, runs in results.items():
        put_wall, put_cpu, get_wall, get_cpu = (statistics.median(column) for column in zip(*runs, strict=True))
        print(json.dumps({
            "client": name, "bytes": size, "objects": count, "rounds": rounds, "put MB/s": round(total / put_wall, 1),
            "put CPU ms/object": round(1000 * put_cpu / count, 2), "get MB/s": round(total / get_wall, 1),
            "get CPU ms/object": round(1000 * get_cpu / count, 2),
        }), flush=True)  # fmt: skip


def main() -> int:
    """Compare the clients with small and large objects."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoint", help="of a server that runs already")
    parser.add_argument("--url", default="s3://agd-remote", help="bucket and folder to write to")
    parser.add_argument("--rounds", type=int, default=9, help="times that each client has its turn")
    chosen = parser.parse_args()
    with contextlib.ExitStack() as stack:
        endpoint = chosen.endpoint or stack.enter_context(server())
        os.environ["AGD_S3_ENDPOINT"] = endpoint
        if not chosen.endpoint:
            os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
            os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
            s3fs.S3FileSystem(endpoint_url=endpoint).mkdir(chosen.url)
        # Keys of their own for each run: what is there already could not be created.
        place = f"{chosen.url.rstrip('/')}/run-{os.getpid()}-{time.time_ns()}"
        for size, count in SIZES:
            measure(place, endpoint, size, count, chosen.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
