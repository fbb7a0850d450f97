"""BGZF blocks of BAM records: what the inflaters of others make of them, whatever the bytes and offsets."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import deflate
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from isal import isal_zlib

from agd.batch import I64, U8
from agd.convert import bgzf
from agd.errors import KernelError
from agd.kernels import _native, reference
from tests.kernels.sam_records import encode_bam, from_tuples, record_lists

INFLATERS: dict[str, Callable[[bytes, int], bytes]] = {
    "zlib": lambda body, size: zlib.decompress(body, -15),
    "libdeflate": lambda body, size: bytes(deflate.deflate_decompress(body, size)) if size else b"",
    "isal": lambda body, size: isal_zlib.decompress(body, -15),
}
EVERY = bgzf.BLOCK_BYTES


def compress(kernels: ModuleType, data: bytes | U8, offsets: list[int] | I64 | None = None) -> tuple[bytes, I64]:
    values = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data
    blocks = -(-len(values) // EVERY)
    out, sizes = np.empty(len(values) + 31 * blocks, np.uint8), np.empty(blocks, np.int64)
    places = np.array([0, len(values)] if offsets is None else offsets, np.int64)
    return out[: kernels.deflate_bam(values, places, out, sizes)].tobytes(), sizes


def check(data: bytes | U8, compressed: bytes, sizes: I64) -> None:
    """Every block is a member of gzip with its size, CRC and length, and inflates to its bytes with all inflaters."""
    plain, at = bytes(data), 0
    for i, size in enumerate(sizes.tolist()):
        block, wanted = compressed[at : at + size], plain[i * EVERY : (i + 1) * EVERY]
        assert block[:16] == bytes.fromhex("1f8b08040000000000ff0600424302 00".replace(" ", ""))
        assert int.from_bytes(block[16:18], "little") == size - 1
        assert int.from_bytes(block[-8:-4], "little") == zlib.crc32(wanted)
        assert int.from_bytes(block[-4:], "little") == len(wanted)
        for name, inflate in INFLATERS.items():
            assert inflate(block[18:-8], len(wanted)) == wanted, name
        at += size
    assert at == len(compressed)


def fibonacci(count: int, most: int) -> bytes:
    """Bytes whose frequencies want the longest codes."""
    a, b, parts = 1, 1, []
    for value in range(count):
        parts.append(np.full(min(a, most), value, np.uint8))
        a, b = b, a + b
    data = np.concatenate(parts)
    np.random.default_rng(7).shuffle(data)
    return data.tobytes()


RNG = np.random.default_rng(5)
NOISE = RNG.integers(0, 256, 40_000, dtype=np.uint8).tobytes()
ODD = {
    "empty": b"",
    "one byte": b"x",
    "two bytes": b"xy",
    "noise": NOISE,
    "one symbol": b"\xff" * 1000,
    "one symbol, many blocks": bytes(2 * EVERY + 5),
    "every byte once": bytes(range(256)),
    "frequencies of Fibonacci": fibonacci(23, EVERY),
    "runs of 257 to 261": b"".join(bytes([i]) * n + NOISE[40 * i : 40 * i + 40] for i, n in enumerate(range(257, 262))),
    "as far as may be": NOISE[:300] + NOISE[1000 : 1000 + 32_768 - 300] + NOISE[:300],
    "a byte too far": NOISE[:300] + NOISE[1000 : 1001 + 32_768 - 300] + NOISE[:300],
    "repeat across the end of a block": NOISE[:500] + bytes(EVERY - 600) + NOISE[:500],
    "a block and a byte": NOISE + NOISE[: EVERY - 40_000] + b"y",
}


@pytest.mark.parametrize("name", ODD)
def test_odd_bytes_come_back(kernels: ModuleType, name: str) -> None:
    data = ODD[name]
    check(data, *compress(kernels, data))


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("step", [1, 36, 37, 333, 70_000])
def test_odd_bytes_come_back_taken_for_records(simd: int, name: str, step: int) -> None:
    data = ODD[name]
    offsets = np.append(np.arange(0, len(data), step), len(data))
    check(data, *compress(_native, data, offsets))


def test_what_does_not_compress_is_stored(kernels: ModuleType) -> None:
    compressed, sizes = compress(kernels, NOISE)
    assert sizes.tolist() == [len(NOISE) + 31] == [len(compressed)]


def test_limited_codes_cost_little(kernels: ModuleType) -> None:
    data = ODD["frequencies of Fibonacci"]
    assert len(compress(kernels, data)[0]) < 1.1 * len(bgzf.deflate_blocks(data, 6)[0])


@given(
    pieces=st.lists(st.tuples(st.binary(max_size=40), st.integers(1, 400)), max_size=12),
    cuts=st.lists(st.integers(0, 20_000), max_size=30),
)
def test_any_bytes_come_back_whatever_the_offsets(pieces: list[tuple[bytes, int]], cuts: list[int]) -> None:
    data = b"".join(piece * times for piece, times in pieces)
    offsets = sorted(min(cut, len(data)) for cut in [*cuts, 0])
    check(data, *compress(_native, data, offsets))


@given(rows=record_lists, repeats=st.sampled_from([1, 2, 40]))
def test_records_come_back(kernels: ModuleType, rows: list[Any], repeats: int) -> None:
    body = encode_bam(_native, from_tuples(rows * repeats if kernels is _native else rows))
    sizes, at = [], 0
    while at < len(body):
        sizes.append(4 + int.from_bytes(body[at : at + 4], "little"))
        at += sizes[-1]
    offsets = np.cumsum([0, *sizes])
    check(body, *compress(kernels, body, offsets))
    # Lengths that lie lead nowhere.
    values = np.frombuffer(body, np.uint8).copy()
    values[np.random.default_rng(len(body)).integers(0, max(len(body), 1), len(body) // 8)] = 255
    check(values, *compress(_native, values, offsets))


def test_same_bytes_with_any_vector_instructions() -> None:
    data = NOISE[:5000] * 30
    try:
        made = [compress(_native, data)[0] for level in (0, 1) if _native.limit_simd(level) is not None]
    finally:
        _native.limit_simd(1)
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("offsets", "room", "blocks", "reason"),
    [
        ([0, 101], 131, 1, "offsets outside of the data"),
        ([50, 40, 100], 131, 1, "offsets outside of the data"),
        ([-1, 100], 131, 1, "offsets outside of the data"),
        ([], 131, 1, "offsets outside of the data"),
        ([0, 100], 130, 1, "there is no room for the blocks"),
        ([0, 100], 131, 2, "sizes are not one for each block"),
    ],
)
def test_wrong_arguments(kernels: ModuleType, offsets: list[int], room: int, blocks: int, reason: str) -> None:
    with pytest.raises(KernelError, match=reason):
        kernels.deflate_bam(
            np.zeros(100, np.uint8), np.array(offsets, np.int64), np.empty(room, np.uint8), np.empty(blocks, np.int64)
        )


def test_reference_compresses_too() -> None:
    data = b"the same again, " * 300
    assert len(compress(reference, data)[0]) < 200
