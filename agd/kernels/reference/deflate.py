"""Reference of the kernel that makes BGZF blocks of BAM records.

The blocks are not those of the native kernel, which looks for matches in its own way: both inflate to the same bytes.
"""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator

from agd.batch import I64, U8
from agd.errors import KernelError
from agd.kernels.reference.ragged import check_offsets

BLOCK_BYTES = 65_280
#: of a BGZF block, with its extra field; CRC-32 and size; the header of a stored block
HEADER_BYTES, TRAILER_BYTES, STORED_BYTES = 18, 8, 5

#: shortest length and number of extra bits of the codes 257 to 285, and the same of the 30 codes of distances
LENGTHS = [(3 + i, 0) for i in range(8)]
LENGTHS += [(base, bits) for bits in range(1, 6) for base in range(3 + (8 << bits >> 1), 3 + (8 << bits), 1 << bits)]
LENGTHS = [*LENGTHS[:28], (258, 0)]
DISTANCES = [(1, 0), (2, 0)]
DISTANCES += [(1 + (half << bits), bits) for bits in range(14) for half in (2, 3)]
END = 256
SHORTEST, LONGEST, FARTHEST = 4, 258, 32_768
META_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)

#: a code, and what follows it
Symbol = tuple[int, int, int]


def deflate_bam(data: U8, offsets: I64, out: U8, sizes: I64) -> int:
    """Make BGZF blocks (SAM specification, section 4.1) of BAM records.

    The data are cut every 65,280 bytes wherever records end; each block is one member of DEFLATE (RFC 1951).

    Parameters
    ----------
    data : ndarray of uint8
        Records as they are in BAM, uncompressed. Other bytes are made into blocks just as well: where the fields of
        records lie only tells where matches may be found.
    offsets : ndarray of int64, shape (n + 1,)
        Where the records begin, then the end of the last.
    out : ndarray of uint8, shape (at least ``len(data) + 31 * blocks``,)
        Output: the blocks, end to end, without the end-of-file marker.
    sizes : ndarray of int64, shape (blocks,)
        Output: compressed size of each block in bytes.

    Returns
    -------
    int
        Bytes of ``out`` that are used.

    Raises
    ------
    KernelError
        The offsets do not lie in the data, or the outputs are too small.

    Notes
    -----
    The native kernel looks for matches in each kind of field in its own way. What a match saves is told by the codes of
    the block before, so that blocks depend on those before them in the same call, and on nothing else.
    """
    blocks = -(-len(data) // BLOCK_BYTES)
    if len(sizes) != blocks:
        raise KernelError("sizes are not one for each block")
    if len(out) < len(data) + blocks * (HEADER_BYTES + STORED_BYTES + TRAILER_BYTES):
        raise KernelError("there is no room for the blocks")
    check_offsets(offsets, len(data), "offsets outside of the data")
    used = 0
    for i in range(blocks):
        block = bytes(data[i * BLOCK_BYTES : (i + 1) * BLOCK_BYTES])
        body = deflate_block(list(matches(block)))
        if len(body) > STORED_BYTES + len(block):
            body = struct.pack("<BHH", 1, len(block), ~len(block) & 0xFFFF) + block
        size = HEADER_BYTES + len(body) + TRAILER_BYTES
        head = struct.pack("<4BI2BH2B2H", 0x1F, 0x8B, 8, 4, 0, 0, 0xFF, 6, 0x42, 0x43, 2, size - 1)
        stored = head + body + struct.pack("<II", zlib.crc32(block), len(block))
        out[used : used + size] = list(stored)
        sizes[i] = size
        used += size
    return used


def matches(block: bytes) -> Iterator[Symbol]:
    """Literals as (byte, 0, 0), matches as (code of the length, length, distance)."""
    last: dict[bytes, int] = {}
    at = 0
    while at < len(block):
        earlier = last.get(block[at : at + SHORTEST], -FARTHEST - 1)
        length = 0
        while at - earlier <= FARTHEST and length < min(LONGEST, len(block) - at):
            if block[earlier + length] != block[at + length]:
                break
            length += 1
        if length >= SHORTEST:
            yield END + bisect_right(LENGTHS, (length, 99)), length, at - earlier
        else:
            yield block[at], 0, 0
        for passed in range(at, at + max(length, 1)):
            last[block[passed : passed + SHORTEST]] = passed
        at += max(length, 1)


def deflate_block(symbols: list[Symbol]) -> bytes:
    """One block of dynamic codes (RFC 1951, section 3.2.7)."""
    distances = [bisect_right(DISTANCES, (distance, 99)) - 1 for _, _, distance in symbols]
    literal = code_lengths([*(code for code, _, _ in symbols), END], 286, 15)
    distance = code_lengths([code for code in distances if code >= 0], 30, 15)
    runs = list(length_runs(literal + distance))
    meta = code_lengths([code for code, _, _ in runs], 19, 7)

    bits = Bits()
    bits.put(1, 1)
    bits.put(2, 2)
    for value, count in ((len(literal) - 257, 5), (len(distance) - 1, 5), (len(META_ORDER) - 4, 4)):
        bits.put(value, count)
    for code in META_ORDER:
        bits.put(meta[code], 3)
    codes = assign_codes(meta)
    for code, value, count in runs:
        bits.put_code(codes[code])
        bits.put(value, count)
    literals, fars = assign_codes(literal), assign_codes(distance)
    for (code, length, away), far in zip(symbols, distances, strict=True):
        bits.put_code(literals[code])
        if length:
            base, count = LENGTHS[code - END - 1]
            bits.put(length - base, count)
            base, count = DISTANCES[far]
            bits.put_code(fars[far])
            bits.put(away - base, count)
    bits.put_code(literals[END])
    return bits.to_bytes()


def code_lengths(occurrences: list[int], count: int, most: int) -> list[int]:
    """Lengths of the best prefix code of at most so many bits, 0 for what does not occur, by package-merge (Larmore and
    Hirschberg, 1990). There are at least two codes, so that the code is complete."""
    frequencies = Counter(occurrences)
    for spare in range(2):
        if len(frequencies) < 2:
            frequencies[spare if spare not in frequencies else count - 1] = 1
    leaves = sorted((frequency, [symbol]) for symbol, frequency in frequencies.items())
    packages: list[tuple[int, list[int]]] = []
    for _ in range(most):
        merged = sorted(leaves + packages, key=lambda item: item[0])
        packages = [(a[0] + b[0], a[1] + b[1]) for a, b in zip(merged[::2], merged[1::2], strict=False)]
    lengths = Counter(symbol for _, taken in packages[: len(leaves) - 1] for symbol in taken)
    return [lengths[symbol] for symbol in range(count)]


def assign_codes(lengths: list[int]) -> list[tuple[int, int]]:
    """Canonical codes of the lengths: (code, number of bits)."""
    codes, code = [(0, 0)] * len(lengths), 0
    for bits in range(1, 16):
        for symbol, length in enumerate(lengths):
            if length == bits:
                codes[symbol] = (code, bits)
                code += 1
        code <<= 1
    return codes


def length_runs(lengths: list[int]) -> Iterator[Symbol]:
    """Lengths of codes, run-length coded: (code, value of the extra bits, their number)."""
    at = 0
    while at < len(lengths):
        end = at
        while end < len(lengths) and lengths[end] == lengths[at] and end - at < 138:
            end += 1
        if lengths[at] or end - at < 3:
            yield lengths[at], 0, 0
            at += 1
        else:
            yield (17, end - at - 3, 3) if end - at < 11 else (18, end - at - 11, 7)
            at = end


class Bits:
    """A stream of bits, the first of each byte lowest."""

    def __init__(self) -> None:
        self._text: list[str] = []

    def put(self, value: int, count: int) -> None:
        """Append a number, its lowest bit first."""
        if count:
            self._text.append(f"{value:0{count}b}"[::-1])

    def put_code(self, code: tuple[int, int]) -> None:
        """Append a code, its highest bit first."""
        self._text.append(f"{code[0]:0{code[1]}b}")

    def to_bytes(self) -> bytes:
        """All of it; the last byte is filled up with zeros."""
        text = "".join(self._text)
        text += "0" * (-len(text) % 8)
        return bytes(int(text[at : at + 8][::-1], 2) for at in range(0, len(text), 8))
