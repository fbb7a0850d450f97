"""Packing of bases, and the letters that do not fit."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.batch import I64, U64, Column
from agd.errors import KernelError

ACGTN = np.frombuffer(b"ACGTN", np.uint8)
ACGT = np.frombuffer(b"ACGT", np.uint8)

lengths_of_reads = st.one_of(st.integers(0, 70), st.sampled_from([20, 21, 22, 41, 42, 43, 63, 150, 301]))


@st.composite
def columns(draw: st.DrawFn, rare: str = "", letters: str = "ACGTN") -> Column:
    """Reads of random letters, some of them rare, as a slice of a larger column."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    lengths = draw(st.lists(lengths_of_reads, max_size=8))
    values = rng.choice(np.frombuffer(letters.encode(), np.uint8), sum(lengths))
    if rare:
        where = rng.random(len(values)) < draw(st.sampled_from([0, 0.01, 0.2, 1]))
        values[where] = rng.choice(np.frombuffer(rare.encode("latin-1"), np.uint8), int(where.sum()))
    column = Column.from_lengths(values, np.array(lengths, np.int64))
    skip = draw(st.integers(0, len(lengths)))
    return column.slice(skip, len(lengths))


def pack3(kernels: ModuleType, column: Column) -> tuple[U64, int]:
    words = np.zeros(int((column.lengths // 21 + 1).sum()), np.uint64)
    return words, kernels.base3_pack(column.values, column.offsets, words)


def unpack3(kernels: ModuleType, words: U64, lengths: list[int] | I64) -> bytes:
    out = np.zeros(int(np.sum(lengths)) if len(lengths) else 0, np.uint8)
    kernels.base3_unpack(words, np.asarray(lengths, np.int64), out)
    return out.tobytes()


def text(column: Column) -> bytes:
    return column.compact().values.tobytes()


def by_hand(read: str) -> list[int]:
    """The words of a read, from the definition of the packing."""
    codes = [{"A": 0, "C": 1, "T": 2, "G": 3, "N": 4}[base] for base in read] + [7]
    return [
        sum(code << (3 * i) for i, code in enumerate(codes[start : start + 21])) for start in range(0, len(codes), 21)
    ]


@pytest.mark.parametrize(
    ("read", "words"),
    [
        ("", [7]),
        ("A", [0o70]),
        ("N", [0o74]),
        ("ACGTN", [0x3C4C8]),
        ("C" * 20, [0o711111111111111111111]),
        ("G" * 21, [0x7FFFFFFFFFFFFFFF & 0o333333333333333333333, 7]),
        ("T" * 22, [0o222222222222222222222, 0o72]),
    ],
)
def test_base3_vectors(kernels: ModuleType, read: str, words: list[int]) -> None:
    assert by_hand(read) == words
    packed, others = pack3(kernels, Column.from_list([read.encode()]))
    assert (packed.tolist(), others) == (words, 0)
    assert unpack3(kernels, packed, [len(read)]) == read.encode()


@given(column=columns())
def test_base3_is_packed_by_definition_and_unpacks(kernels: ModuleType, column: Column) -> None:
    words, others = pack3(kernels, column)
    assert words.tolist() == [word for read in column for word in by_hand(read.decode())]
    assert others == 0
    assert unpack3(kernels, words, column.lengths) == text(column)


@given(column=columns(rare="acgtnRYKM.=*-U\x00\x4f\xce\x80\xff"))
def test_base3_packs_other_letters_as_n_and_lists_them(kernels: ModuleType, column: Column) -> None:
    words, others = pack3(kernels, column)
    values = column.compact().values
    positions, letters = np.zeros(others, np.int64), np.zeros(others, np.uint8)
    assert kernels.base3_exceptions(values, positions, letters) == others
    assert kernels.base3_exceptions(values, positions[:0], letters[:0]) == others
    bases = text(column)
    expected = [(i, letter) for i, letter in enumerate(bases) if letter not in b"ACGTN"]
    assert list(zip(positions.tolist(), letters.tolist(), strict=True)) == expected
    found = bytearray(unpack3(kernels, words, column.lengths))
    assert all(found[i] == ord("N") for i in positions)
    for i, letter in expected:
        found[i] = letter
    assert found == bases


@pytest.mark.parametrize("at", [0, 20, 21, 40])
@pytest.mark.parametrize("code", [5, 6, 7])
def test_base3_unpack_refuses_codes_of_no_base(kernels: ModuleType, at: int, code: int) -> None:
    words, _ = pack3(kernels, Column.from_list([b"ACGT", b"A" * 41]))
    words[1 + at // 21] |= np.uint64(code << (3 * (at % 21)))
    with pytest.raises(KernelError) as caught:
        unpack3(kernels, words, [4, 41])
    assert caught.value.record == 1


@pytest.mark.parametrize("bit", range(64))
def test_base3_unpack_refuses_every_flipped_bit_after_the_bases(kernels: ModuleType, bit: int) -> None:
    for read in (b"", b"A", b"ACGTN" * 4, b"ACGTN" * 4 + b"A", b"ACGTN" * 6):
        words, _ = pack3(kernels, Column.from_list([b"A", read]))
        if bit < 3 * (len(read) % 21):
            continue
        words[-1] ^= np.uint64(1 << bit)
        with pytest.raises(KernelError) as caught:
            unpack3(kernels, words, [1, len(read)])
        assert caught.value.record == 1


def test_base3_unpack_refuses_the_highest_bit_of_a_full_word(kernels: ModuleType) -> None:
    words, _ = pack3(kernels, Column.from_list([b"A" * 21]))
    words[0] |= np.uint64(1 << 63)
    with pytest.raises(KernelError):
        unpack3(kernels, words, [21])


@pytest.mark.parametrize(
    ("lengths", "record"),
    [([3, 21], 1), ([24], 0), ([3, 18, 3], 1), ([2, 22], 0), ([4, 20], 0), ([-1, 25], 0), ([3, 20], 1), ([3], 0),
     ([3, 2**62], 1), ([], -1)],
)  # fmt: skip
def test_base3_unpack_refuses_lengths_that_do_not_fit(kernels: ModuleType, lengths: list[int], record: int) -> None:
    words, _ = pack3(kernels, Column.from_list([b"ACG", b"A" * 21]))
    with pytest.raises(KernelError) as caught:
        kernels.base3_unpack(words[:-1], np.array(lengths, np.int64), np.zeros(24, np.uint8))
    assert caught.value.record == record


def test_base3_pack_refuses_words_and_offsets_that_do_not_fit(kernels: ModuleType) -> None:
    bases = np.frombuffer(b"ACGTACGTAC", np.uint8)
    for offsets, words in (([0, 10], 0), ([0, 10], 2), ([0, 11], 1), ([5, 4], 1), ([-1, 4], 1), ([], 0)):
        with pytest.raises(KernelError):
            kernels.base3_pack(bases, np.array(offsets, np.int64), np.zeros(words, np.uint64))


@given(column=columns(rare="Nacgt=R\xff", letters="ACGT"))
def test_base2_with_runs_brings_everything_back(kernels: ModuleType, simd: int, column: Column) -> None:
    bases = text(column)
    packed = np.full((len(bases) + 3) // 4, 255, np.uint8)
    starts, lengths, letters = kernels.base2_pack(column.values, column.offsets, packed)
    assert lengths.sum() == sum(base not in b"ACGT" for base in bases)
    coded = int.from_bytes(packed.tobytes(), "little")
    assert coded == sum(max(b"ACGT".find(base), 0) << (2 * i) for i, base in enumerate(bases))
    out = np.zeros(len(bases), np.uint8)
    kernels.base2_unpack(packed, len(bases), out)
    kernels.fill_runs(out, starts, lengths, letters)
    assert out.tobytes() == bases


def test_base2_packs_acgt_and_nothing_else(kernels: ModuleType, simd: int) -> None:
    # Each byte at each place of a block of 256, among letters of which each differs from its neighbours.
    for byte in range(256):
        bases = np.frombuffer(b"ACGT" * 64, np.uint8).copy()
        bases[byte] = byte
        packed = np.zeros(64, np.uint8)
        starts, lengths, letters = kernels.base2_pack(bases, np.array([0, 256], np.int64), packed)
        codes = packed[np.arange(256) // 4] >> (2 * (np.arange(256) % 4)) & 3
        expected = np.arange(256) % 4
        expected[byte] = max(b"ACGT".find(byte), 0)
        runs = list(zip(starts.tolist(), lengths.tolist(), letters.tolist(), strict=True))
        assert runs == ([] if byte in b"ACGT" else [(byte, 1, byte)])
        assert codes.tolist() == expected.tolist()


def test_base2_refuses_sizes_and_padding(kernels: ModuleType) -> None:
    five, two = np.zeros(5, np.uint8), np.array([0, 4], np.uint8)
    for count, size in ((4, 4), (9, 9), (5, 4), (-1, 0)):
        with pytest.raises(KernelError):
            kernels.base2_unpack(two, count, np.zeros(size, np.uint8))
    with pytest.raises(KernelError) as caught:
        kernels.base2_unpack(two, 5, five)
    assert caught.value.offset == 1
    with pytest.raises(KernelError):
        kernels.base2_pack(five, np.array([0, 5], np.int64), np.zeros(1, np.uint8))
    with pytest.raises(KernelError):
        kernels.base2_pack(five, np.array([0, 6], np.int64), np.zeros(2, np.uint8))


@pytest.mark.parametrize(("letters", "runs"), [
    (b"", []),
    (b"ACGTN", [(4, 1, b"N")]),
    (b"NNACNNNaaN", [(0, 2, b"N"), (4, 3, b"N"), (7, 2, b"a"), (9, 1, b"N")]),
    (b"\xff\xff\x00", [(0, 2, b"\xff"), (2, 1, b"\x00")]),
    (b"A" * 200 + b"N" * 200 + b"=" + b"ACGT" * 64 + b"N", [(200, 200, b"N"), (400, 1, b"="), (657, 1, b"N")]),
])  # fmt: skip
def test_base2_lists_the_runs_of_other_letters(
    kernels: ModuleType, simd: int, letters: bytes, runs: list[tuple[int, int, bytes]]
) -> None:
    values = np.frombuffer(b"NN" + letters + b"N", np.uint8)
    found = kernels.base2_pack(values, np.array([2, 2 + len(letters)]), np.zeros((len(letters) + 3) // 4, np.uint8))
    assert [(start, length, bytes([letter])) for start, length, letter in zip(*found, strict=True)] == runs


@pytest.mark.parametrize(("start", "length"), [(-1, 2), (9, 2), (11, 0), (3, -1), (2**62, 1), (1, 2**62)])
def test_fill_runs_refuses_runs_out_of_bounds(kernels: ModuleType, start: int, length: int) -> None:
    values = np.zeros(10, np.uint8)
    with pytest.raises(KernelError) as caught:
        kernels.fill_runs(values, np.array([0, start]), np.array([1, length]), np.zeros(2, np.uint8))
    assert caught.value.record == 1
    with pytest.raises(KernelError):
        kernels.fill_runs(values, np.zeros(2, np.int64), np.zeros(1, np.int64), np.zeros(2, np.uint8))
