"""Chunks of FASTQ: where they end, and that their columns hold the records, however these differ in size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agd.convert.fastq_chunks import chunks
from agd.convert.fastq_reader import Block, FastqReader

Read = tuple[bytes, bytes, bytes]

READS = st.lists(
    st.tuples(st.integers(0, 90), st.integers(0, 70), st.sampled_from([b"", b"", b"again"])), min_size=0, max_size=30
)  # fmt: skip


class Stream:
    """Text that is handed out a few bytes at a time."""

    def __init__(self, text: bytes, size: int) -> None:
        self._text, self._size = text, size

    def read(self, size: int) -> bytes:
        part = self._text[: min(size, self._size)]
        self._text = self._text[len(part) :]
        return part


def reads_of(shapes: list[tuple[int, int, bytes]], base: bytes) -> list[Read]:
    return [(b"n" * name, base * length, plus) for name, length, plus in shapes]


def blocks_of(reads: list[Read], size: int, interleaved: bool) -> Iterator[Block]:
    text = b"".join(b"@%b\n%b\n+%b\n%b\n" % (name, bases, plus, b"I" * len(bases)) for name, bases, plus in reads)
    return FastqReader(Stream(text, size), "r.fq", interleaved=interleaved, block_bytes=64).blocks()


def in_step(files: list[Iterator[Block]]) -> Iterator[tuple[Block, ...]]:
    """Single records of every file."""
    singles = [(block.slice(i, i + 1) for block in file for i in range(len(block))) for file in files]
    return zip(*singles, strict=True)


def expected(groups: list[list[Read]], units: int, limit: int) -> list[list[Read]]:
    """Chunks, one group after the other."""
    found: list[list[Read]] = []
    taken, sizes = 0, [0, 0]
    for group in groups:
        if not taken:
            found.append([])
        found[-1] += group
        taken += 1
        sizes[0] += sum(len(bases) for _, bases, _ in group)
        sizes[1] += sum(len(name) + len(plus) + bool(plus) for name, _, plus in group)
        if taken == units or max(sizes) >= limit:
            taken, sizes = 0, [0, 0]
    return found


@given(
    READS, st.sampled_from(["single", "interleaved", "two"]), st.integers(1, 9), st.integers(1, 300), st.integers(1, 99)
)  # fmt: skip
def test_chunks_hold_the_records_and_end_where_they_should(
    shapes: list[tuple[int, int, bytes]], kind: str, units: int, limit: int, size: int
) -> None:
    one = reads_of(shapes, b"A")
    if kind == "two":
        two = reads_of([(name // 2, 70 - length, plus) for name, length, plus in shapes], b"C")
        segments: Iterator[tuple[Block, ...]] = in_step([blocks_of(one, size, False), blocks_of(two, size, False)])
        groups = [list(pair) for pair in zip(one, two, strict=True)]
    elif kind == "interleaved":
        one = one[: len(one) // 2 * 2]
        segments = ((block,) for block in blocks_of(one, size, True) if len(block))
        groups = [one[i : i + 2] for i in range(0, len(one), 2)]
    else:
        segments = ((block,) for block in blocks_of(one, size, False) if len(block))
        groups = [[read] for read in one]
    found = list(chunks(segments, 2 if kind == "interleaved" else 1, units, limit))
    wanted = expected(groups, units, limit)
    assert [len(batch) for batch in found] == list(map(len, wanted))
    assert [batch.first for batch in found] == np.cumsum([0, *map(len, wanted)])[:-1].tolist()
    for batch, reads in zip(found, wanted, strict=True):
        assert list(batch.ragged("bases")) == [bases for _, bases, _ in reads]
        assert list(batch.ragged("qualities")) == [b"I" * len(bases) for _, bases, _ in reads]
        assert list(batch.ragged("metadata")) == [name + (b"\n" + plus if plus else b"") for name, _, plus in reads]


def test_later_reads_may_be_much_larger_than_the_first() -> None:
    reads = reads_of([(1, 2, b""), *[(400, 3000, b"")] * 20], b"G")
    [batch] = chunks(((block,) for block in blocks_of(reads, 999, False)), 1, 1000, 1 << 20)
    assert list(batch.ragged("bases")) == [bases for _, bases, _ in reads]
    assert list(batch.ragged("metadata")) == [name for name, _, _ in reads]
