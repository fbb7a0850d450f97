"""The codec ``rans``: what it chooses, and streams that lie."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agd.batch import U8, U32
from agd.codecs import Rans, rans
from agd.codecs.rans import ORDER1, PACKED, REPEATS, STORED, WIDE, Plan, compress, decompress
from agd.errors import CodecError, KernelError
from tests.kernels.test_rans import texts

NONE = np.empty(0, np.uint8)


@given(values=texts(20_000))
def test_streams_bring_everything_back(values: U8) -> None:
    stream = compress(values)
    assert len(stream) <= len(values) + 9
    found = decompress(np.frombuffer(stream, np.uint8), len(values))
    assert found.tobytes() == values.tobytes()


@pytest.fixture
def all_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams of any length may be wide."""
    monkeypatch.setattr(rans, "LONG", 1)


wide = st.booleans()


@pytest.mark.usefixtures("all_long")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=texts(3000), order=st.sampled_from([0, 1]), packed=st.booleans(), which=st.integers(0, 3), wide=wide)
def test_every_plan_brings_everything_back(values: U8, order: int, packed: bool, which: int, wide: bool) -> None:
    if len(values) == 0:
        return
    symbols = np.unique(values)
    plan = Plan(order, symbols if packed and len(symbols) <= 16 else NONE, symbols[:which])
    stream = np.frombuffer(rans._write(values, plan, wide), np.uint8)
    assert bool(stream[0] & WIDE) == wide
    assert decompress(stream, len(values)).tobytes() == values.tobytes()
    with pytest.raises(CodecError):
        decompress(stream, len(values) - 1)


def test_values_that_the_sample_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(4).integers(20, 40, 3 * rans.SAMPLE).astype(np.uint8)
    monkeypatch.setattr(rans, "_sample", lambda data, size: data[: len(data) // 2])
    for at, value in ((-1, 0), (-2, 255)):
        values[at] = value
        stream = np.frombuffer(compress(values), np.uint8)
        assert int(stream[0]) & ~ORDER1 == 0
        base, last = stream[9:11].tolist()
        assert (base, base + last) == (int(values.min()), int(values.max()))
        assert decompress(stream, len(values)).tobytes() == values.tobytes()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many values are counted for each table; of long streams, a few."""
    lengths: list[int] = []
    count = rans._counts

    def counts(data: U8, *rest: int) -> U32:
        lengths.append(len(data))
        return count(data, *rest)

    for name in ("SAMPLE", "FEW_SAMPLE", "COUNTED"):
        monkeypatch.setattr(rans, name, 1 << 14)
    monkeypatch.setattr(rans, "_counts", counts)
    return lengths


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("wide", [False, True])
def test_a_table_is_made_from_a_part_of_a_long_stream(
    counted: list[int], monkeypatch: pytest.MonkeyPatch, order: int, wide: bool
) -> None:
    monkeypatch.setattr(rans, "LONG", 1)
    rng, plan = np.random.default_rng(8), Plan(order, NONE, NONE)
    source = np.maximum.accumulate(np.where(rng.random(200_000) < 0.4, 0, np.arange(200_000)))
    values = rng.binomial(20, 0.6, 200_000)[source].clip(6, 16).astype(np.uint8)
    coded = rans._write(values, plan, wide)
    assert max(counted) == 1 << 14
    monkeypatch.setattr(rans, "COUNTED", 1 << 30)
    exact = rans._write(values, plan, wide)
    assert max(counted) == len(values)
    assert len(exact) < len(coded) < 1.02 * len(exact)
    for stream in (coded, exact):
        assert decompress(np.frombuffer(stream, np.uint8), len(values)).tobytes() == values.tobytes()


RARE = {
    "a value that is not in the part": lambda values: values[40_000:40_001].fill(41),
    "a value below all of the part": lambda values: values[40_000:40_001].fill(0),
    "a value that is rare in it": lambda values: values[:: len(values) // 40].fill(41),
    "values that take more room": lambda values: values[20_000:60_000].fill(44),
}


@pytest.mark.parametrize("what", RARE)
def test_all_is_counted_where_a_part_does_not_tell(counted: list[int], what: str) -> None:
    values = (np.random.default_rng(6).binomial(20, 0.3, 200_000) + 20).clip(22, 30).astype(np.uint8)
    values[::200] = 44
    RARE[what](values)
    for order in (0, 1):
        counted.clear()
        stream = np.frombuffer(rans._write(values, Plan(order, NONE, NONE)), np.uint8)
        assert max(counted) == len(values)
        assert decompress(stream, len(values)).tobytes() == values.tobytes()


def test_long_streams_of_the_codec_are_wide_those_within_others_are_not() -> None:
    values = np.random.default_rng(3).choice(40, rans.LONG, p=np.arange(1, 41) / 820).astype(np.uint8)
    kinds = [stream[0] & WIDE for stream in (Rans().encode(values), Rans().encode(values[:-1]), compress(values))]
    assert kinds == [WIDE, 0, 0]
    found = Rans().decode(Rans().encode(values), len(values))
    assert found == values.data


@pytest.mark.usefixtures("all_long")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=texts(3000), order=st.sampled_from([0, 1]), packed=st.booleans(), wide=wide, seed=st.integers(0, 2**32))
def test_damaged_streams_give_typed_errors_or_as_many_bytes(
    values: U8, order: int, packed: bool, wide: bool, seed: int
) -> None:
    if len(values) == 0:
        return
    symbols = np.unique(values)
    plan = Plan(order, symbols if packed and len(symbols) <= 16 else NONE, symbols[: seed % 3])
    stream = rans._write(values, plan, wide)
    rng = np.random.default_rng(seed)
    for _ in range(20):
        bad = np.frombuffer(stream, np.uint8).copy()
        at = rng.integers(min(len(bad), 80) if rng.random() < 0.7 else len(bad))
        bad[at] = rng.choice([0, 255, bad[at] ^ (1 << rng.integers(8))])
        bad = bad[: rng.integers(len(bad) + 1)] if rng.random() < 0.2 else bad
        try:
            found = decompress(bad, 2 * len(values))
        except (CodecError, KernelError):
            continue
        assert len(found) <= 2 * len(values)


def kind_of(values: U8) -> int:
    return compress(values)[0]


def test_the_choice_follows_the_data() -> None:
    rng = np.random.default_rng(1)
    n = 1 << 20
    assert kind_of(rng.integers(0, 256, n).astype(np.uint8)) == STORED
    skewed = rng.choice(60, n, p=np.arange(60) / 1770).astype(np.uint8)
    assert kind_of(skewed) == 0
    walk = (np.cumsum(rng.integers(-1, 2, n)) % 40).astype(np.uint8)
    assert kind_of(walk) == ORDER1
    assert kind_of(np.repeat(rng.integers(0, 200, n // 2000), 2000).astype(np.uint8)) & REPEATS
    assert kind_of(rng.choice(4, n, p=[0.97, 0.01, 0.01, 0.01]).astype(np.uint8)) & PACKED
    assert kind_of(np.frombuffer(b"short", np.uint8)) == STORED


def levels_that_stay(n: int, stay: float) -> U8:
    """Few levels, one of them common, each followed by itself more often than by others."""
    rng = np.random.default_rng(4)
    values = rng.choice(np.frombuffer(b"#-8F", np.uint8), n, p=[0.02, 0.04, 0.04, 0.9])
    return values[np.maximum.accumulate(np.where(rng.random(n) < stay, 0, np.arange(n)))]


def test_few_levels_are_packed_by_two() -> None:
    values = levels_that_stay(3_000_000, 0.7)
    plan = rans._choose(values, None)
    assert (plan.order, len(plan.symbols), len(plan.repeated)) == (1, 5, 0)
    fours = Plan(1, np.unique(values), NONE)
    assert len(compress(values)) < 0.97 * len(rans._write(values, fours))


def test_a_symbol_that_the_sample_lacks() -> None:
    values = levels_that_stay(3_000_000, 0.5)
    at = np.flatnonzero(~np.isin(np.arange(len(values)), sampled(len(values))))[1000]
    values[at] = ord("Z")
    assert ord("Z") not in rans._symbols(rans._sample(values, rans.FEW_SAMPLE))
    stream = compress(values)
    assert stream[0] & PACKED
    assert decompress(np.frombuffer(stream, np.uint8), len(values)).tobytes() == values.tobytes()


def sampled(n: int) -> U8:
    """Places of a sample."""
    places = np.arange(n)
    pieces = rans.FEW_SAMPLE // rans.PIECE
    starts = np.arange(pieces) * ((n - rans.PIECE) // (pieces - 1))
    return np.concatenate([places[start : start + rans.PIECE] for start in starts])


def test_real_qualities_are_smaller_than_with_zstd(data: Path) -> None:
    for path in sorted(data.glob("human_hiseq_lanes/*R1*.gz")) + sorted(data.glob("bacteria_shigella/*_R1.fastq.gz")):
        qualities = b"".join(gzip.decompress(path.read_bytes()).split(b"\n")[3::4])
        stream = Rans().encode(qualities)
        assert bytes(Rans().decode(stream, len(qualities))) == qualities
        assert len(stream) < 0.85 * len(zstandard.compress(qualities, 9))
