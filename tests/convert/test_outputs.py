"""Output streams, read back by other software; nothing is visible before the end or after an error."""

from __future__ import annotations

import bz2
import ctypes
import gzip
import os
import random
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import numpy as np
import pysam
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from agd import clib, sinks
from agd.convert import bgzf as bgzf_module
from agd.convert.bgzf import EOF, deflate_blocks, virtual_offsets
from agd.convert.streams import open_input, open_output
from agd.errors import InputError, StorageError, UsageError
from agd.run import Runner, SerialRunner, ThreadRunner

TEXT = b"".join(b"@read%d\nACGTTGCA%d\n+\nFFFFFFF,\n" % (i, i * i) for i in range(20_000))


@pytest.fixture(scope="module", params=["none", "serial", "threads"])
def runner(request: pytest.FixtureRequest) -> Iterator[Runner | None]:
    if request.param == "threads":
        with ThreadRunner(2) as threads:
            yield threads
    else:
        yield SerialRunner() if request.param == "serial" else None


def unzstd(data: bytes) -> bytes:
    with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
        return reader.read()


UNPACK: dict[str, Callable[[bytes], bytes]] = {
    ".fastq": bytes, ".gz": gzip.decompress, ".bgz": gzip.decompress, ".bz2": bz2.decompress, ".zst": unzstd,
}  # fmt: skip


def pieces(data: bytes, seed: int = 1) -> Iterator[bytes]:
    chance = random.Random(seed)
    at = 0
    while at < len(data):
        size = chance.choice([0, 1, 100, 65_280, 200_000])
        yield data[at : at + size]
        at += size


@pytest.mark.parametrize("suffix", sorted(UNPACK))
@pytest.mark.parametrize("content", [TEXT, b"", b"x"], ids=["text", "empty", "byte"])
def test_other_software_reads_it(tmp_path: Path, suffix: str, content: bytes, runner: Runner | None) -> None:
    path = tmp_path / f"out{suffix}"
    with open_output(path, runner=runner) as stream:
        for piece in pieces(content):
            stream.write(np.frombuffer(piece, np.uint8) if len(piece) % 2 else piece)
        assert not path.exists()
    assert UNPACK[suffix](path.read_bytes()) == content
    assert os.listdir(tmp_path) == [path.name]
    with open_input(path, runner) as back:
        assert b"".join(map(bytes, back.blocks())) == content


@pytest.mark.parametrize("suffix", sorted(UNPACK))
def test_same_bytes_for_any_runner(tmp_path: Path, suffix: str) -> None:
    written = []
    with ThreadRunner(3) as threads:
        for seed, runner in enumerate((None, SerialRunner(), threads)):
            with open_output(tmp_path / f"x{suffix}", runner=runner) as stream:
                for piece in pieces(TEXT, seed):
                    stream.write(piece)
            written.append((tmp_path / f"x{suffix}").read_bytes())
    assert written[0] == written[1] == written[2]


@pytest.mark.parametrize("suffix", sorted(UNPACK))
def test_nothing_is_left_behind_by_an_error(tmp_path: Path, suffix: str, runner: Runner | None) -> None:
    path = tmp_path / f"out{suffix}"
    path.write_bytes(b"old")

    def fail() -> None:
        with open_output(path, runner=runner) as stream:
            stream.write(TEXT)
            raise KeyError("stop")

    with pytest.raises(KeyError):
        fail()
    assert os.listdir(tmp_path) == [path.name]
    assert path.read_bytes() == b"old"
    assert not [thread for thread in threading.enumerate() if thread.name == "agd-pump"]


def test_error_of_the_work_reaches_the_writer(
    tmp_path: Path, runner: Runner | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def fail(*args: object) -> bytes:
        calls.append(1)
        if len(calls) > 40:
            raise OSError("no space")
        return b"x"

    monkeypatch.setattr(bgzf_module.deflate, "deflate_compress", fail)

    def write() -> None:
        with open_output(tmp_path / "x.gz", runner=runner) as stream:
            for _ in range(20):
                stream.write(bytes(bgzf_module.TASK_BYTES))

    with pytest.raises(OSError, match="no space"):
        write()
    assert os.listdir(tmp_path) == []


def test_existing_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_bytes(b"old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    with open_output(tmp_path / "link.txt") as stream:
        stream.write(b"new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_bytes() == b"new"


def test_standard_output(tmp_path: Path) -> None:
    program = "from agd.convert.streams import open_output\n"
    program += "with open_output('-', compression='gzip') as stream: stream.write(b'abc')"
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    assert gzip.decompress(done.stdout) == b"abc"


#: 1 MB of bytes to standard output.
TO_STDOUT = """
from agd.sinks import open_sink
sink = open_sink("-")
for number in range(10):
    sink.write(bytes([number]) * 100_000)
sink.commit()
"""


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_standard_output_that_takes_little_at_a_time(unbuffered: str) -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with subprocess.Popen([sys.executable, "-c", TO_STDOUT], stdout=write, env=environment) as process:
        os.close(write)
        with open(read, "rb", buffering=0) as pipe:
            found = b"".join(iter(lambda: pipe.read(10_000), b""))
    assert process.returncode == 0
    assert found == b"".join(bytes([number]) * 100_000 for number in range(10))


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_standard_output_that_is_full(tmp_path: Path, unbuffered: str) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (950_000, 950_000))"
    with open(tmp_path / "out", "wb") as file:
        done = subprocess.run(
            [sys.executable, "-c", limit + TO_STDOUT], stdout=file, stderr=subprocess.PIPE, check=False,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    assert done.returncode == 1
    assert b"StorageError: standard output: cannot be written: " in done.stderr


@pytest.mark.parametrize("path", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "file:///dev/stdout"])
def test_standard_output_by_a_path(tmp_path: Path, path: str) -> None:
    command = [sys.executable, "-c", TO_STDOUT.replace('"-"', repr(path))]
    expected = b"".join(bytes([number]) * 100_000 for number in range(10))
    assert subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout == expected
    with open(tmp_path / "out", "wb") as file:  # as in a shell: { echo; agd …; echo; } >out
        file.write(b"before")
        file.flush()
        subprocess.run(command, stdout=file, check=True)
        file.write(b"after")
    assert (tmp_path / "out").read_bytes() == b"before" + expected + b"after"
    assert os.listdir(tmp_path) == ["out"]


def test_what_a_shell_gives_for_a_process() -> None:
    read, write = os.pipe()
    command = [sys.executable, "-c", TO_STDOUT.replace('"-"', repr(f"/dev/fd/{write}"))]
    with subprocess.Popen(command, pass_fds=[write]) as process:
        os.close(write)
        with open(read, "rb") as pipe:
            assert len(pipe.read()) == 1_000_000
    assert process.returncode == 0


def test_an_open_file_that_is_none() -> None:
    with pytest.raises(StorageError, match="/dev/fd/999999: cannot be written"):
        open_output("/dev/fd/999999")


def test_devices_are_written_as_they_are() -> None:
    with open_output(os.devnull) as stream:
        stream.write(b"abc")
    assert not os.path.isfile(os.devnull)


def test_remote_file_appears_at_the_end(runner: Runner | None) -> None:
    memory = fsspec.filesystem("memory")
    if memory.exists("/outputs"):
        memory.rm("/outputs", recursive=True)
    with open_output("memory://outputs/x.gz", runner=runner) as stream:
        stream.write(TEXT)
        assert not memory.exists("/outputs/x.gz")
    assert gzip.decompress(memory.cat_file("/outputs/x.gz")) == TEXT

    def fail() -> None:
        with open_output("memory://outputs/y.gz", runner=runner) as stream:
            stream.write(TEXT)
            raise KeyError("stop")

    with pytest.raises(KeyError):
        fail()
    assert [os.path.basename(name) for name in memory.ls("/outputs", detail=False)] == ["x.gz"]


def test_bad_requests(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        open_output(tmp_path / "x", compression="lzma")
    with pytest.raises(UsageError):
        open_output(tmp_path / "x.zst", level=99)
    with pytest.raises(UsageError):
        open_output("nosuchprotocol://x")
    with pytest.raises(StorageError):
        open_output(tmp_path / "missing" / "x")


def test_blocks_that_do_not_compress_fit(tmp_path: Path) -> None:
    noise = random.Random(1).randbytes(300_000)
    for level in (0, 1, 6, 12):
        with open_output(tmp_path / "x.gz", level=level) as stream:
            stream.write(noise)
        assert gzip.decompress((tmp_path / "x.gz").read_bytes()) == noise
        with open_input(tmp_path / "x.gz", require_eof=True) as back:
            assert b"".join(map(bytes, back.blocks())) == noise


@given(st.lists(st.integers(0, 200_000), max_size=6))
def test_virtual_offsets_are_those_of_htslib(tmp_path_factory: pytest.TempPathFactory, lengths: list[int]) -> None:
    path = tmp_path_factory.getbasetemp() / "offsets.bgz"
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    blocks, sizes = deflate_blocks(np.zeros(int(offsets[-1]), np.uint8), 1)
    assert len(blocks) == sizes.sum()
    path.write_bytes(blocks + EOF)
    with pysam.BGZFile(str(path)) as file:
        for offset, virtual in zip(offsets.tolist(), virtual_offsets(offsets, sizes).tolist(), strict=True):
            file.seek(virtual)
            assert len(file.read()) == offsets[-1] - offset


def test_object_store(monkeypatch: pytest.MonkeyPatch) -> None:
    moto = pytest.importorskip("moto.server", reason="moto is not installed: object stores are not tested")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        options = {"endpoint_url": f"http://{host}:{port}"}
        store = fsspec.filesystem("s3", **options, use_listings_cache=False)
        bucket = f"b-{uuid.uuid4()}"  # all servers of a process have the same buckets
        store.mkdir(bucket)
        noise = random.Random(1).randbytes(12_000_000)
        with ThreadRunner(2) as threads:
            for name, content in (("a.gz", noise), ("b.gz", TEXT), ("c", b"")):
                with open_output(f"s3://{bucket}/{name}", runner=threads, **options) as stream:
                    stream.write(content)
                    assert not store.exists(f"{bucket}/{name}")
                with open_input(f"s3://{bucket}/{name}", threads, **options) as back:
                    assert b"".join(map(bytes, back.blocks())) == content

        def fail() -> None:
            with open_output(f"s3://{bucket}/never.gz", **options) as stream:
                stream.write(noise)
                raise KeyError("stop")

        with pytest.raises(KeyError):
            fail()
        assert sorted(store.ls(bucket, detail=False)) == [f"{bucket}/{name}" for name in ("a.gz", "b.gz", "c")]
        assert store.call_s3("list_multipart_uploads", Bucket=bucket).get("Uploads", []) == []
        with pytest.raises(InputError):
            open_input(f"s3://{bucket}/missing", **options)
    finally:
        server.stop()


def test_local_files_are_written_back_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    def note(descriptor: int, start: int, size: int) -> None:
        assert os.fstat(descriptor).st_size == start + size
        asked.append((start, size))
        begin(descriptor, start, size)

    begin = clib.begin_writeback
    monkeypatch.setattr(clib, "begin_writeback", note)
    monkeypatch.setattr(sinks, "WRITEBACK_BYTES", 1000)
    sink = sinks.open_sink(str(tmp_path / "out"))
    for data in (b"a" * 999, b"b", memoryview(np.arange(300, dtype=np.int64)), b"c" * 10):
        sink.write(data)
    sink.commit()
    assert asked == [(0, 1000), (1000, 2400)]
    assert (tmp_path / "out").read_bytes() == b"a" * 999 + b"b" + np.arange(300).tobytes() + b"c" * 10


def test_what_the_c_library_lacks_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    clib._function.cache_clear()
    try:
        clib.begin_writeback(-1, 0, 1)
        clib.malloc_trim()
        clib.mallopt(clib.ARENA_MAX, 1)
    finally:
        clib._function.cache_clear()
