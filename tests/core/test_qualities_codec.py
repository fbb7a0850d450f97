"""The codec ``fqz``: any text survives, slices, payloads that lie, and sizes of real qualities."""

from __future__ import annotations

import gzip
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.batch import Column
from agd.codecs import Chain, Fqz, Rans, qualities
from agd.codecs.qualities import code_lengths
from agd.errors import CodecError
from agd.processors import sharing
from tests.kernels.test_quality_model import qualities as records
from tests.support.columns import TEXT, assert_equal


@given(records() | TEXT, st.sampled_from([10, 100, 1 << 20]))
def test_any_text_survives_in_any_number_of_slices(column: Column, values: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(qualities, "SLICE_VALUES", values)
        payload = Fqz().encode(column)
    assert_equal(Fqz().decode(memoryview(payload), len(column), column.lengths), column.compact())


@pytest.mark.parametrize(("processors", "threads"), [(1, []), (3, [3, 3]), (100, [5, 5])])
def test_slices_take_no_more_threads_than_there_are(
    processors: int, threads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, size: int) -> None:
            made.append(size)
            super().__init__(size)

    monkeypatch.setattr(qualities, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(qualities, "SLICE_VALUES", 100)
    column = Column.from_list([b"I" * 25, b"#FF:" * 5, b"", b"FFFFF"] * 10)
    with sharing(lambda: processors):
        payload = Fqz().encode(column)
        assert_equal(Fqz().decode(memoryview(payload), len(column), column.lengths), column)
    assert made == threads
    assert payload == Fqz().encode(column)


@given(records(), st.integers(0, 2**32))
def test_damaged_payloads_give_typed_errors_or_as_many_values(column: Column, seed: int) -> None:
    payload = Fqz().encode(column)
    rng = np.random.default_rng(seed)
    for _ in range(10):
        bad = bytearray(payload or b"\0")
        bad[rng.integers(min(len(bad), 60))] = rng.integers(256)
        data = bytes(bad[: rng.integers(len(bad) + 1)] if rng.random() < 0.2 else bad)
        try:
            found = Chain([Fqz()]).decode(data, len(column), column.lengths, len(data))
        except CodecError:
            continue
        assert found.nbytes == column.nbytes


def test_a_few_bytes_do_not_claim_much() -> None:
    payload = Fqz().encode(Column.from_list([b"IIII"]))
    for sizes in ([4 << 30], [1 << 40, 1]):
        with pytest.raises(CodecError, match="cannot hold"):
            Fqz().decode(memoryview(payload), len(sizes), np.array(sizes))


def test_code_lengths_are_those_of_huffman() -> None:
    counts = np.zeros(256, np.int64)
    counts[[65, 66, 67, 68]] = [8, 4, 2, 2]
    assert code_lengths(counts)[[65, 66, 67, 68]].tolist() == [1, 2, 3, 3]
    counts[:60] = [2 ** min(i, 62) for i in range(60)]
    assert 0 < int(code_lengths(counts).max()) <= 32
    only = np.eye(1, 256, 255, dtype=np.int64)[0]
    assert np.flatnonzero(code_lengths(only)).tolist() == [0, 255]


#: Bytes that fqzcomp (htscodecs 1.6, the best of its strategies) needs for the same qualities.
FQZCOMP = {"human_hiseq_lanes": 2_300_464, "bacteria_shigella": 948_710}


@pytest.mark.parametrize("folder", FQZCOMP)
def test_real_qualities_are_no_larger_than_with_fqzcomp(data: Path, folder: str) -> None:
    files = sorted(data.glob(f"{folder}/*_R[12]*.fastq.gz"))
    column = Column.from_list([q for path in files for q in gzip.decompress(path.read_bytes()).split(b"\n")[3::4]])
    payload = Fqz().encode(column)
    assert len(payload) < FQZCOMP[folder]
    assert len(payload) < 0.93 * len(Rans().encode(column.values))
    assert_equal(Fqz().decode(memoryview(payload), len(column), column.lengths), column)
