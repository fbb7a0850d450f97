"""The bases that alignments lead to expect."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.batch import Column
from agd.errors import KernelError
from agd.kernels import reference

GENOME = np.frombuffer(b"ACGTNacgtRYACGTT", np.uint8)
CONTIGS = np.array([0, 10, 16], np.int64)
OPERATIONS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), max_size=4)
Record = tuple[int, int, list[tuple[int, int]], int, bool]
RECORDS = st.lists(
    st.tuples(st.integers(-1, 3), st.integers(-1, 12), OPERATIONS, st.integers(-1, 1), st.booleans()), max_size=6
)


@given(records=RECORDS)
def test_native_and_reference_agree(kernels: ModuleType, simd: int, records: list[Record]) -> None:
    cigars = [[size << 4 | code for code, size in operations] for _, _, operations, _, _ in records]
    lengths = [max(0, sum(s for c, s in r[2] if c in (0, 1, 4, 7, 8)) + min(0, r[3])) for r in records]
    operations = np.array([operation for cigar in cigars for operation in cigar], np.uint32)
    cigar = Column.from_lengths(operations, np.array([len(c) for c in cigars], np.int64))
    results = []
    for module in (kernels, reference):
        out = Column.from_lengths(np.full(sum(lengths), 7, np.uint8), np.array(lengths, np.int64))
        used = module.predict_bases(
            GENOME, CONTIGS, np.array([r[0] for r in records], np.int32), np.array([r[1] for r in records], np.int64),
            cigar.values, cigar.offsets, np.array([r[4] for r in records], np.bool_), out.offsets, out.values,
        )  # fmt: skip
        results.append((used, list(out)))
        assert used == (np.count_nonzero(out.values), False)
    assert results[0] == results[1]


def test_an_example(kernels: ModuleType) -> None:
    cigar = np.array([2 << 4 | 4, 3 << 4 | 0, 1 << 4 | 2, 2 << 4 | 0], np.uint32)
    for turned, expected in ((False, b"\0\0CGTAC"), (True, b"GTACG\0\0")):
        out = np.empty(7, np.uint8)
        used = kernels.predict_bases(
            GENOME, CONTIGS, np.zeros(1, np.int32), np.ones(1, np.int64), cigar, np.array([0, 4]), np.array([turned]),
            np.array([0, 7]), out,
        )  # fmt: skip
        assert (used, out.tobytes()) == ((5, False), expected)


@pytest.mark.parametrize("size", [1, 31, 32, 33, 64, 100])
def test_letters_in_upper_case_and_those_that_lack(kernels: ModuleType, simd: int, size: int) -> None:
    genome = np.frombuffer(bytes(range(1, 256)), np.uint8).copy()
    text = genome.tobytes().upper()
    for lacking in (None, 60, 60 + size - 1, 60 + size):
        letters = genome.copy()
        if lacking is not None:
            letters[lacking] = 0
        out = np.empty(size, np.uint8)
        used = kernels.predict_bases(
            letters, np.array([0, 255]), np.zeros(1, np.int32), np.full(1, 60), np.array([size << 4 | 7], np.uint32),
            np.array([0, 1]), np.zeros(1, np.bool_), np.array([0, size]), out,
        )  # fmt: skip
        inside = lacking is not None and lacking < 60 + size
        assert used == (size, inside)
        expected = bytearray(text[60 : 60 + size])
        if inside:
            expected[lacking - 60] = 0
        assert out.tobytes() == bytes(expected)


def test_arrays_that_do_not_fit(kernels: ModuleType) -> None:
    none = np.zeros(1, np.int64)
    with pytest.raises(KernelError, match="outside of the reference"):
        kernels.predict_bases(GENOME, np.array([0, 99]), np.empty(0, np.int32), none[:0], np.empty(0, np.uint32), none,
                              np.empty(0, np.bool_), none, np.empty(0, np.uint8))  # fmt: skip
    with pytest.raises(KernelError, match="differ in length"):
        kernels.predict_bases(GENOME, CONTIGS, np.empty(2, np.int32), none, np.empty(0, np.uint32), none,
                              np.empty(0, np.bool_), none, np.empty(0, np.uint8))  # fmt: skip


@given(places=st.lists(st.booleans(), max_size=200), letters=st.binary(min_size=200, max_size=200))
def test_letters_fill_what_is_not_expected(kernels: ModuleType, places: list[bool], letters: bytes) -> None:
    free = np.array(places, np.bool_)
    values, count = np.where(free, 0, 7).astype(np.uint8), int(free.sum())
    given = np.frombuffer(letters, np.uint8)[:count]
    expected = values.copy()
    expected[free] = given
    kernels.fill_zeros(values, given)
    assert values.tolist() == expected.tolist()


def test_letters_and_places_must_fit(kernels: ModuleType) -> None:
    values = np.array([1, 0, 1, 0], np.uint8)
    with pytest.raises(KernelError, match="fewer letters than places"):
        kernels.fill_zeros(values.copy(), np.full(1, 65, np.uint8))
    with pytest.raises(KernelError, match="more letters than places"):
        kernels.fill_zeros(values.copy(), np.full(3, 65, np.uint8))
