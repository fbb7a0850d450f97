"""Input streams against Python's own decompressors, and against damage of every kind."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import random
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import numpy as np
import pysam
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from agd.convert import inflate
from agd.convert.bgzf import EOF, deflate_blocks
from agd.convert.inflate import Compression
from agd.convert.streams import InputStream, open_input
from agd.errors import InputError
from agd.run import Runner, SerialRunner, ThreadRunner

TEXT = b"".join(b"@read%d\nACGTTGCA%d\n+\nFFFFFFF,\n" % (i, i * i) for i in range(6000))


@pytest.fixture(scope="module", params=["none", "serial", "threads"])
def runner(request: pytest.FixtureRequest) -> Iterator[Runner | None]:
    if request.param == "threads":
        with ThreadRunner(2) as threads:
            yield threads
    else:
        yield SerialRunner() if request.param == "serial" else None


def bgzf(data: bytes) -> bytes:
    return deflate_blocks(data, 1)[0] + EOF


def gzip_with_every_field(data: bytes) -> bytes:
    header = b"\x1f\x8b\x08\x1e" + b"\0\0\0\0\0\x03" + struct.pack("<H", 4) + b"ZZ\0\0" + b"name\0" + b"comment\0"
    header += struct.pack("<H", zlib.crc32(header) & 0xFFFF)
    return header + gzip.compress(data)[10:]


PACK: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "gzip_fields": gzip_with_every_field,
    "members": lambda data: b"".join(gzip.compress(data[i : i + 999]) for i in range(0, len(data), 999)),
    "empty_members": lambda data: gzip.compress(b"") * 3 + gzip.compress(data) + gzip.compress(b"") * 300,
    "bgzf": bgzf,
    "bgzf_twice": lambda data: bgzf(data[:100_000]) + bgzf(data[100_000:]),
    "bgzf_then_gzip": lambda data: bgzf(data[:100_000]) + gzip.compress(data[100_000:]),
    "gzip_then_bgzf": lambda data: gzip.compress(data[:100_000]) + bgzf(data[100_000:]),
    "bzip2": lambda data: bz2.compress(data[:5000]) + bz2.compress(b"") + bz2.compress(data[5000:]),
    "zstd": lambda data: b"\x5a\x2a\x4d\x18\x05\0\0\0hello".join(
        [zstandard.compress(data[:5000]), zstandard.compress(b""), zstandard.compress(data[5000:])]
    ),
}  # fmt: skip


def read_all(path: Path | str, runner: Runner | None, **options: bool) -> bytes:
    with open_input(str(path), runner, **options) as stream:
        return b"".join(bytes(block) for block in stream.blocks())


@pytest.mark.parametrize("kind", sorted(PACK))
def test_reads_what_was_packed(tmp_path: Path, kind: str, runner: Runner | None) -> None:
    (tmp_path / "reads.fastq").write_bytes(PACK[kind](TEXT))
    assert read_all(tmp_path / "reads.fastq", runner) == TEXT


@pytest.mark.parametrize("kind", sorted(PACK))
def test_small_reads_and_chunks(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whatever is read at a time, every header and trailer is cut somewhere.
    monkeypatch.setattr(inflate, "READ_BYTES", 7)
    monkeypatch.setattr(inflate, "_FIRST_FEED", 3)
    monkeypatch.setattr(inflate, "_LARGEST_FEED", 5)
    monkeypatch.setattr(inflate, "_ZSTD_FEED", 2)
    monkeypatch.setattr(inflate, "BLOCK_BYTES", 101)
    data = TEXT[:9000]
    (tmp_path / "x").write_bytes(PACK[kind](data))
    buffer = np.zeros(777, np.uint8)
    out = b""
    with open_input(tmp_path / "x", SerialRunner()) as stream:
        while count := stream.readinto(buffer):
            out += buffer[:count].tobytes()
            assert stream.offset == len(out)
            out += bytes(stream.read(3))
    assert out == data


@given(
    st.lists(st.binary(max_size=300), max_size=8), st.sampled_from(["gzip", "bgzf", "bzip2", "zstd"]),
    st.integers(1, 64), st.integers(1, 400),
)  # fmt: skip
def test_any_members_any_block_size(parts: list[bytes], kind: str, read: int, block: int) -> None:
    pack = {"gzip": gzip.compress, "bgzf": bgzf, "bzip2": bz2.compress, "zstd": zstandard.compress}[kind]
    stored = b"".join(pack(part) for part in parts)
    feed = inflate.Feed(_Memory(stored, read))
    if stored:
        assert b"".join(map(bytes, inflate.inflate(feed, inflate.detect(feed)))) == b"".join(parts)
        assert feed.offset == len(stored)


class _Memory:
    size = None
    name = "memory"

    def __init__(self, data: bytes, most: int) -> None:
        self._file = io.BytesIO(data)
        self._most = most

    def read(self, size: int) -> bytes:
        return self._file.read(min(size, self._most))

    def cancel(self) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize("kind", sorted(set(PACK) - {"plain"}))
def test_cut_short_is_never_silent(tmp_path: Path, kind: str) -> None:
    data = TEXT[:3000] if "bgzf" not in kind else TEXT[:120_000]
    stored = PACK[kind](data)
    path = tmp_path / "x.gz"
    silent = []
    cuts = set(range(min(len(stored), 400))) | set(range(max(0, len(stored) - 400), len(stored)))
    cuts |= set(random.Random(1).sample(range(len(stored)), min(len(stored), 300)))
    for cut in sorted(cuts):
        path.write_bytes(stored[:cut])
        error = None
        try:
            got = read_all(path, SerialRunner(), require_eof=True)
        except InputError as caught:
            error = caught
        if error is None:
            assert data.startswith(got)
            silent.append(cut)
        else:
            assert error.path == str(path)
            assert 0 <= error.offset <= cut
            assert error.remedy
    # A file that ends where a member ends cannot be told from a whole one, and neither can other software.
    assert [cut for cut in silent if not _is_whole(stored[:cut])] == []


def _is_whole(stored: bytes) -> bool:
    """Whether independent software finds nothing missing."""
    try:
        if stored[:2] == b"\x1f\x8b":
            gzip.decompress(stored)
        elif stored[:3] == b"BZh":
            bz2.decompress(stored)
        else:
            with io.BytesIO(stored) as file:
                while file.tell() < len(stored):
                    inflater = zstandard.ZstdDecompressor().decompressobj()
                    if stored[file.tell() + 1 : file.tell() + 4] == b"\x2a\x4d\x18":
                        if len(file.read(13)) < 13:
                            return False
                        continue
                    inflater.decompress(file.read())
                    if not inflater.eof:
                        return False
                    file.seek(-len(inflater.unused_data), os.SEEK_CUR)
    except (EOFError, OSError, ValueError, zlib.error, zstandard.ZstdError):
        return False
    return True


@pytest.mark.parametrize("kind", ["gzip", "bgzf", "bzip2"])
def test_every_flipped_bit_of_the_data_is_found(tmp_path: Path, kind: str, runner: Runner | None) -> None:
    stored = PACK[kind](TEXT[:70_000])
    chance = random.Random(kind)
    first = 18 if kind == "bgzf" else 10 if kind == "gzip" else 4
    last = len(stored) - (28 if kind == "bgzf" else 0)
    for place in chance.sample(range(first, last), 60) + list(range(last - 8, last)):
        damaged = bytearray(stored)
        damaged[place] ^= 1 << chance.randrange(8)
        (tmp_path / "x").write_bytes(damaged)
        if kind == "bzip2" and _same(bytes(damaged)):
            continue  # padding bits after the last stream
        with pytest.raises(InputError) as caught:
            read_all(tmp_path / "x", runner)
        assert 0 <= caught.value.offset <= len(stored)


def _same(damaged: bytes) -> bool:
    try:
        return bz2.decompress(damaged) == TEXT[:70_000]
    except (OSError, ValueError):
        return False


def test_data_before_the_damage_come_first(tmp_path: Path, runner: Runner | None) -> None:
    stored = bytearray(bgzf(TEXT * 20))
    place = len(stored) * 3 // 4
    start = bytes(stored).find(EOF[:4], place)
    for field in (16, 30):  # the block's size, its data
        damaged = bytearray(stored)
        damaged[start + field] ^= 0xFF
        (tmp_path / "x").write_bytes(damaged)
        got: list[bytes] = []
        with open_input(tmp_path / "x", runner) as stream:
            with pytest.raises(InputError) as caught:
                got.extend(map(bytes, stream.blocks()))
            with pytest.raises(InputError):
                stream.read()
        assert (TEXT * 20).startswith(b"".join(got))
        assert len(b"".join(got)) >= len(TEXT) * 4
        assert caught.value.offset >= start


@pytest.mark.parametrize(("tail", "what"), [(b"\0" * 512, "zero"), (b"\0", "zero"), (b"@read\n", "not gzip")])
def test_trailing_garbage(tmp_path: Path, tail: bytes, what: str, runner: Runner | None) -> None:
    for stored in (gzip.compress(TEXT), bgzf(TEXT)):
        (tmp_path / "x").write_bytes(stored + tail)
        with pytest.raises(InputError, match=what) as caught:
            read_all(tmp_path / "x", runner)
        assert caught.value.offset == len(stored)
        assert caught.value.remedy


def test_bam_without_marker_is_cut_short(tmp_path: Path, runner: Runner | None) -> None:
    (tmp_path / "x").write_bytes(bgzf(b"BAM\1" + TEXT)[: -len(EOF)])
    with pytest.raises(InputError, match="end-of-file marker"):
        read_all(tmp_path / "x", runner)


def test_marker_of_bgzf(tmp_path: Path, runner: Runner | None) -> None:
    (tmp_path / "x").write_bytes(bgzf(TEXT)[: -len(EOF)])
    with pytest.warns(UserWarning, match="end-of-file marker"):
        assert read_all(tmp_path / "x", runner) == TEXT
    with pytest.raises(InputError, match="end-of-file marker"):
        read_all(tmp_path / "x", runner, require_eof=True)


@pytest.mark.parametrize(
    ("name", "content"), [("x.gz", b""), ("x.fastq.gz", b"\x1f"), ("x.zst", b"\x28\xb5"), ("x.bam", b"")]
)
def test_empty_and_tiny_files_of_a_compressed_name(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="too few"):
        open_input(tmp_path / name)
    (tmp_path / "plain.fastq").write_bytes(content)
    assert read_all(tmp_path / "plain.fastq", None) == content


@pytest.mark.parametrize("head", [b"\xfd7zXZ\x00...", b"PK\x03\x04....", b"\x1f\x9d\x90...."])
def test_other_compressions_are_named(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "x").write_bytes(head)
    with pytest.raises(InputError, match="is compressed with"):
        open_input(tmp_path / "x")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path, "memory://missing/x"):
        with pytest.raises(InputError) as caught:
            open_input(path)
        assert caught.value.remedy


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "agd-read-ahead"]


@pytest.mark.parametrize("kind", ["plain", "gzip", "bgzf", "bzip2"])
def test_closing_early_ends_the_thread(tmp_path: Path, kind: str) -> None:
    (tmp_path / "x").write_bytes(PACK[kind](TEXT * 20))
    before = len(readers())
    with ThreadRunner(2) as threads, open_input(tmp_path / "x", threads) as stream:
        assert bytes(stream.read(10)) == TEXT[:10]
        assert len(readers()) <= before + 1  # a thread that has read everything ahead is gone already
    assert len(readers()) == before
    with pytest.raises(ValueError, match="closed"):
        stream.read()


def test_a_stream_that_is_forgotten_ends_its_thread(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(TEXT * 100)
    stream: InputStream | None = open_input(tmp_path / "x")
    assert stream is not None
    thread = readers()[-1]
    stream.read(1)
    stream = None
    thread.join(30)
    assert not thread.is_alive()


def test_pipe_that_never_ends_can_be_closed(tmp_path: Path) -> None:
    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    keep: list[int] = []
    writer = threading.Thread(target=lambda: keep.append(os.open(path, os.O_WRONLY)))
    writer.start()

    def feed_it() -> None:
        writer.join()
        os.write(keep[0], b"@some text that is long enough to tell\n")

    feeder = threading.Thread(target=feed_it)
    feeder.start()
    stream = open_input(path)
    assert bytes(stream.read(5)) == b"@some"
    stream.close()
    feeder.join()
    os.close(keep[0])
    assert not readers()


def test_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").write_bytes(gzip.compress(TEXT))
    with open(tmp_path / "x") as file:
        monkeypatch.setattr("sys.stdin", file)
        assert read_all("-", None) == TEXT
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(bgzf(TEXT))))
    assert read_all("-", None) == TEXT


def test_remote_in_ranges(monkeypatch: pytest.MonkeyPatch, runner: Runner | None) -> None:
    monkeypatch.setattr("agd.files.REQUEST_BYTES", 1000)
    for kind in ("gzip", "plain", "bgzf"):
        fsspec.filesystem("memory").pipe_file("/streams/x", PACK[kind](TEXT))
        assert read_all("memory://streams/x", runner) == TEXT


def test_blocks_of_htslib(tmp_path: Path, runner: Runner | None) -> None:
    path = str(tmp_path / "x.bgz")
    (tmp_path / "x").write_bytes(TEXT)
    pysam.tabix_compress(str(tmp_path / "x"), path)
    with open_input(path, runner, require_eof=True) as stream:
        assert b"".join(map(bytes, stream.blocks())) == TEXT
        assert stream.compression is Compression.BGZF
        assert stream.bytes_in == stream.stored_size == os.path.getsize(path)


def test_real_files(data: Path, runner: Runner | None) -> None:
    files = sorted(data.glob("*/*.gz"))
    assert len(files) > 10
    for path in files:
        if path.stat().st_size < 3_000_000:
            assert read_all(path, runner) == gzip.decompress(path.read_bytes()), path
    with open_input(data / "human_na12878_chr20" / "NA12878_S1.chr20.10_10p1mb.bam", runner, require_eof=True) as bam:
        assert bytes(bam.read(4)) == b"BAM\x01"
