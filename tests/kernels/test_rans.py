"""Entropy coding of bytes."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.batch import U8, U16
from agd.codecs import rans
from agd.errors import KernelError
from agd.kernels import _native, reference


@st.composite
def texts(draw: st.DrawFn, most: int = 6000) -> U8:
    """Bytes of a few or many kinds, with runs, of any length about the steps and tiles of the coder."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.one_of(st.integers(0, 100), st.sampled_from([1023, 1024, 1025, 2048, 5000]), st.integers(0, most)))
    kinds = draw(st.sampled_from([1, 2, 3, 4, 5, 16, 17, 42, 256]))
    base = draw(st.integers(0, 256 - kinds))
    skew = draw(st.sampled_from([0.0, 1.0, 3.0]))
    weights = (1 + np.arange(kinds)) ** -skew
    values = rng.choice(kinds, n, p=weights / weights.sum())
    stay = draw(st.sampled_from([0, 0.5, 0.99]))
    source = np.maximum.accumulate(np.where(rng.random(n) < stay, 0, np.arange(n)))
    return (values[source] + base).astype(np.uint8)


def table(values: U8, order: int, bits: int, lanes: int) -> tuple[int, int, U16]:
    base, span = rans._range(values)
    counts = np.zeros((span if order else 1, span), np.uint32)
    reference.rans_counts(values, base, span, order, lanes, counts.reshape(-1))
    return base, span, rans._frequencies(counts, bits).reshape(-1)


def code(kernels: ModuleType, values: U8, order: int, bits: int, lanes: int = 32) -> tuple[int, int, U16, U8]:
    base, span, frequencies = table(values, order, bits, lanes)
    out = np.empty(2 * len(values) + 4 * lanes + 64, np.uint8)
    start = kernels.rans_encode(values, base, span, order, bits, frequencies, lanes, out)
    return base, span, frequencies, out[start:]


orders, precisions, widths = st.sampled_from([0, 1]), st.sampled_from([8, 9, 10, 12]), st.sampled_from([32, 64])


@given(values=texts(), order=orders, bits=precisions, lanes=widths)
def test_all_ways_to_code_give_the_same_and_bring_it_back(
    simd: int, values: U8, order: int, bits: int, lanes: int
) -> None:
    if len(values) == 0:
        return
    base, span, frequencies, coded = code(_native, values, order, bits, lanes)
    other = code(reference, values, order, bits, lanes)[3]
    assert coded.tobytes() == other.tobytes()
    for kernels in (_native, reference):
        out = np.zeros(len(values), np.uint8)
        kernels.rans_decode(coded, base, span, order, bits, frequencies, lanes, out)
        assert out.tobytes() == values.tobytes()


@given(values=texts(), order=orders, width=widths)
def test_counts(kernels: ModuleType, values: U8, order: int, width: int) -> None:
    counts = np.full(256 ** (1 + order), 7, np.uint32)
    kernels.rans_counts(values, 0, 256, order, width, counts)
    expected = np.zeros((256 if order else 1, 256), np.uint32)
    lanes = values[: len(values) // width * width].reshape(width, -1)
    for lane in lanes.tolist():
        for before, value in zip([0, *lane], lane, strict=False):
            expected[before if order else 0, value] += 1
    assert (counts == expected.reshape(-1)).all()


@pytest.mark.parametrize("order", [0, 1])
def test_counts_of_many_values(kernels: ModuleType, order: int) -> None:
    values = np.random.default_rng(1).integers(100, 103, 300_017).astype(np.uint8)
    counts = np.full(3 ** (1 + order), 7, np.uint32)
    kernels.rans_counts(values, 100, 3, order, 32, counts)
    lanes = values[: len(values) // 32 * 32].reshape(32, -1).astype(np.int64) - 100
    before = np.concatenate((np.zeros((32, 1), np.int64), lanes[:, :-1]), axis=1)
    codes = before * 3 + lanes if order else lanes
    assert counts.tolist() == np.bincount(codes.reshape(-1), minlength=len(counts)).tolist()


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("value", [0, 99, 103, 255])
@pytest.mark.parametrize("place", [0, 9374, 150_000, 299_999, 300_000, 300_016])
def test_of_many_values_one_lies_outside(kernels: ModuleType, order: int, value: int, place: int) -> None:
    values = np.full(300_017, 101, np.uint8)
    values[place] = value
    with pytest.raises(KernelError, match="outside of the span"):
        kernels.rans_counts(values, 100, 3, order, 32, np.zeros(3 ** (1 + order), np.uint32))


@given(values=texts())
def test_pairs_are_counted(kernels: ModuleType, values: U8) -> None:
    counts = np.full(1 << 16, 7, np.uint32)
    kernels.pair_counts(values, counts)
    expected = np.zeros(1 << 16, np.uint32)
    np.add.at(expected, values[:-1].astype(np.int64) * 256 + values[1:], 1)
    assert (counts == expected).all()
    with pytest.raises(KernelError):
        kernels.pair_counts(values, counts[1:])


@given(values=texts(2000), order=orders, lanes=widths, seed=st.integers(0, 2**32))
def test_damage_is_a_typed_error_or_gives_other_values(
    kernels: ModuleType, simd: int, values: U8, order: int, lanes: int, seed: int
) -> None:
    if len(values) == 0:
        return
    base, span, frequencies, coded = code(_native, values, order, 12, lanes)
    rng = np.random.default_rng(seed)
    for _ in range(5):
        bad = coded.copy()
        if len(bad):
            bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
        bad = bad[: rng.integers(len(bad) + 1)] if rng.random() < 0.3 else bad
        out = np.zeros(len(values), np.uint8)
        try:
            kernels.rans_decode(bad, base, span, order, 12, frequencies, lanes, out)
        except KernelError:
            continue
        # One value may have become another of the same frequency: that is for the checksum of the object to find.
        assert np.isin(out, np.arange(base, base + span)).all()


def test_a_context_that_does_not_occur_is_an_error_in_the_end(kernels: ModuleType) -> None:
    values = np.array([0, 1] * 64, np.uint8)
    base, span, frequencies, coded = code(_native, values, 1, 8)
    assert (frequencies.reshape(2, 2) > 0).sum() >= 2
    frequencies.reshape(2, 2)[1] = 0
    with pytest.raises(KernelError):
        kernels.rans_decode(coded, base, span, 1, 8, frequencies, 32, np.zeros(128, np.uint8))


@pytest.mark.parametrize(
    ("base", "span", "order", "bits", "sum_", "size"),
    [(0, 4, 2, 8, 256, 4), (0, 4, 0, 7, 128, 4), (0, 4, 0, 13, 8192, 4), (253, 4, 0, 8, 256, 4), (-1, 4, 0, 8, 256, 4),
     (0, 0, 0, 8, 0, 0), (0, 4, 0, 8, 255, 4), (0, 4, 0, 8, 257, 4), (0, 4, 1, 8, 256, 4), (0, 4, 0, 8, 256, 5)],
)  # fmt: skip
def test_impossible_tables(
    kernels: ModuleType, base: int, span: int, order: int, bits: int, sum_: int, size: int
) -> None:
    frequencies = np.zeros(size, np.uint16)
    frequencies[:1] = sum_
    zeros = np.zeros(999, np.uint8)
    with pytest.raises(KernelError):
        kernels.rans_decode(zeros[:200], base, span, order, bits, frequencies, 32, zeros[:64])
    with pytest.raises(KernelError):
        kernels.rans_encode(zeros[:64], base, span, order, bits, frequencies, 32, zeros)


@given(values=texts().filter(len), order=orders, bits=precisions, lanes=widths, odd=st.integers(0, 1))
def test_so_much_room_is_enough_and_less_than_nothing_else(
    values: U8, order: int, bits: int, lanes: int, odd: int
) -> None:
    base, span, frequencies = table(values, order, bits, lanes)
    counts = np.zeros((span if order else 1, span), np.uint32)
    reference.rans_counts(values, base, span, order, lanes, counts.reshape(-1))
    coded = code(reference, values, order, bits, lanes)[3]
    room = rans._room(counts, frequencies.reshape(counts.shape), bits, len(values), lanes)
    # Begins and ends where it likes: nothing before or after it is touched.
    memory = np.full(room + odd + 200, 0xEE, np.uint8)
    out = memory[100 + odd : 100 + odd + room]
    for each in (reference, _native):
        out[:] = 0
        start = each.rans_encode(values, base, span, order, bits, frequencies, lanes, out)
        assert out[start:].tobytes() == coded.tobytes()
        assert (memory[: 100 + odd] == 0xEE).all()
        assert (memory[100 + odd + room :] == 0xEE).all()
        for size in {len(coded) - 1, len(coded) // 2, 0} - {-1, len(coded)}:
            with pytest.raises(KernelError, match="too small"):
                each.rans_encode(values, base, span, order, bits, frequencies, lanes, np.empty(size, np.uint8))


def test_values_and_outputs_that_do_not_fit(kernels: ModuleType) -> None:
    values = np.array([5, 6] * 40, np.uint8)
    whole = np.array([256, 0], np.uint16)
    for base, span, out in ((5, 1, 999), (6, 2, 999), (5, 2, 300), (5, 2, 999)):
        with pytest.raises(KernelError):
            kernels.rans_encode(values, base, span, 0, 8, whole[:span], 32, np.zeros(out, np.uint8))
    with pytest.raises(KernelError):
        kernels.rans_counts(values, 5, 1, 0, 32, np.zeros(1, np.uint32))
    with pytest.raises(KernelError):
        kernels.rans_counts(values, 5, 2, 1, 32, np.zeros(2, np.uint32))
    pairs = np.array([128, 128], np.uint16)
    for lanes in (0, 16, 33, 128):
        with pytest.raises(KernelError):
            kernels.rans_counts(values, 5, 2, 0, lanes, np.zeros(2, np.uint32))
        with pytest.raises(KernelError):
            kernels.rans_encode(values, 5, 2, 0, 8, pairs, lanes, np.zeros(999, np.uint8))
        with pytest.raises(KernelError):
            kernels.rans_decode(np.zeros(200, np.uint8), 5, 2, 0, 8, pairs, lanes, np.zeros(80, np.uint8))


@given(found=st.lists(st.one_of(st.just(0), st.integers(1, 4096)), max_size=70), seed=st.integers(0, 2**32))
def test_tables(found: list[int], seed: int) -> None:
    expected = np.array(found, np.uint16)
    kept = expected[expected > 0].astype("<u2") - 1
    halves = kept.view(np.uint8)
    raw = np.packbits(expected > 0, bitorder="little").tobytes() + halves[0::2].tobytes() + halves[1::2].tobytes()
    rng = np.random.default_rng(seed)
    bad = bytearray(raw)
    for at in rng.integers(len(raw), size=min(len(raw), 2)):
        bad[at] ^= 1 << rng.integers(8)
    for data in (raw, bytes(bad), raw[:-1], raw + b"\0"):
        results = []
        for kernels in (_native, reference):
            out = np.full(len(found), 7, np.uint16)
            try:
                kernels.rans_table(np.frombuffer(data, np.uint8), out)
                results.append(out.tolist())
            except KernelError as error:
                results.append(str(error))
        assert results[0] == results[1]
        assert results[0] == found or data != raw


@given(values=texts(1000))
def test_symbols(kernels: ModuleType, simd: int, values: U8) -> None:
    symbols = np.unique(values)[:16]
    values = values[np.isin(values, symbols)]
    if not len(symbols):
        return
    per = 8 if len(symbols) <= 2 else 4 if len(symbols) <= 4 else 2
    packed = np.full(-(-len(values) // per), 77, np.uint8)
    kernels.symbols_pack(values, symbols, packed)
    number = int.from_bytes(packed.tobytes(), "little")
    codes = np.searchsorted(symbols, values).tolist()
    assert number == sum(c << (8 // per * i) for i, c in enumerate(codes))
    out = np.full(len(values), 99, np.uint8)
    kernels.symbols_unpack(packed, symbols, out)
    assert out.tobytes() == values.tobytes()


def test_symbols_refuse(kernels: ModuleType) -> None:
    three = np.array([3, 7, 9], np.uint8)
    for values, symbols, size in (([3, 4], three, 1), ([3], three[:0], 1), ([3], np.arange(17, dtype=np.uint8), 1),
                                  ([3], three, 2)):  # fmt: skip
        with pytest.raises(KernelError):
            kernels.symbols_pack(np.array(values, np.uint8), symbols, np.zeros(size, np.uint8))
    for data, size in (([3], 1), ([3, 0], 4), ([4], 1), ([0b11 << 4, 0], 5)):
        with pytest.raises(KernelError):
            kernels.symbols_unpack(np.array(data, np.uint8), three, np.zeros(size, np.uint8))


@given(values=texts(1500), which=st.sets(st.integers(0, 255), max_size=4), run=st.integers(0, 700))
def test_repeats(kernels: ModuleType, values: U8, which: set[int], run: int) -> None:
    values = np.concatenate((values, np.repeat(values[:1], run)))
    chosen = np.unique([*which, *values[:2].tolist()]).astype(np.uint8)
    none = np.zeros(0, np.uint8)
    sizes = kernels.repeats_split(values, chosen, none, none)
    kept, repeats = (np.zeros(size, np.uint8) for size in sizes)
    assert kernels.repeats_split(values, chosen, kept, repeats) == sizes
    out = np.zeros(len(values), np.uint8)
    kernels.repeats_join(kept, repeats, chosen, out)
    assert out.tobytes() == values.tobytes()
    assert not (np.isin(kept[1:], chosen) & (kept[1:] == kept[:-1])).any()
    for damaged in ((kept[:-1], repeats), (kept, repeats[:-1]), (kept, np.append(repeats, 0).astype(np.uint8))):
        if len(values) and (len(damaged[0]), len(damaged[1])) != sizes:
            with pytest.raises(KernelError):
                kernels.repeats_join(*damaged, chosen, out)
