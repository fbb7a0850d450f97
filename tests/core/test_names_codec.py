"""The codec ``names``: any bytes survive, fields are read as they stand, payloads may lie."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.batch import Column
from agd.codecs import Chain, Names
from agd.codecs.read_names import FIELDS, _parse
from agd.codecs.streams import StreamReader
from agd.errors import CodecError, KernelError
from tests.kernels.test_names import NAMES
from tests.support.columns import TEXT, assert_equal


@st.composite
def templates(draw: st.DrawFn) -> Column:
    """Names of one to three kinds of instruments, some as pairs, some linked from far, some like nothing else."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.integers(1, 400))
    makers = [
        lambda i: b"HISEQ:89:FC:1:%d:%d:%d" % (1101 + i // 50, rng.integers(1000, 20000), rng.integers(1000, 100000)),
        lambda i: b"ERR1.%d K0:38:H5B:7:%d:%d:12" % (i, rng.choice([1101, 2101]), rng.integers(20000)),
        lambda i: b"sim_%06d" % i,
        lambda i: b"A:1:F:2:11:%d:%d:%s" % (*rng.integers(0, 9999, 2), bytes(rng.choice(list(b"ACGT"), 8).tolist())),
        lambda i: b"r:%s:%d:3:4:5" % (rng.choice([b"run", b"go:1", b"x"]), i),
        lambda i: bytes(rng.integers(0, 256, rng.integers(0, 9)).astype(np.uint8).tolist()),
    ]
    chosen = [makers[k] for k in draw(st.lists(st.integers(0, len(makers) - 1), min_size=1, max_size=3))]
    ends = draw(st.sampled_from([(b"",), (b"", b""), (b"/1", b"/2"), (b" 1:N:0:ACG", b" 2:N:0:ACG")]))
    names: list[bytes] = []
    for i in range(n):
        name = chosen[rng.integers(len(chosen))](i)
        names += [name + end for end in ends]
    if draw(st.booleans()):
        names = [names[i] for i in rng.permutation(len(names))]
    return Column.from_list(names)


def round_trip(column: Column) -> Column:
    found = Names().decode(memoryview(Names().encode(column)), len(column), None)
    assert isinstance(found, Column)
    return found


@given(templates() | TEXT | NAMES.map(Column.from_list))
def test_any_names_survive_and_fields_are_those_of_the_names(column: Column) -> None:
    payload = Names().encode(column)
    assert Names().encode(column) == payload
    assert_equal(Names().decode(memoryview(payload), len(column), None), column)
    found, expected = Names().fields(memoryview(payload), len(column)), _parse(column.compact())
    assert list(found) == list(FIELDS)
    for i, name in enumerate(FIELDS):
        assert found[name].tolist() == expected[:, i].tolist()


@given(templates(), st.integers(0, 2**32))
def test_damaged_payloads_give_typed_errors_or_as_many_names(column: Column, seed: int) -> None:
    payload = Names().encode(column)
    rng = np.random.default_rng(seed)
    for _ in range(10):
        bad = bytearray(payload)
        for _ in range(rng.integers(1, 4)):
            bad[rng.integers(len(bad))] = rng.integers(256)
        data = bytes(bad[: rng.integers(len(bad) + 1)] if rng.random() < 0.2 else bad)
        try:
            found = Chain([Names()]).decode(data, len(column), None, len(data))
        except CodecError:
            continue
        assert len(found) == len(column)


@pytest.mark.parametrize("count", [0, 1, 41, 43, 1 << 24])
def test_another_number_of_records_is_refused(count: int) -> None:
    payload = Names().encode(Column.from_list([b"a:%d" % (7 * i % 41) for i in range(42)]))
    with pytest.raises((CodecError, KernelError)):
        Names().decode(memoryview(payload), count, None)


def test_the_name_of_a_pair_is_stored_once() -> None:
    rng = np.random.default_rng(1)
    single = [b"A:1:F:1:%d:%d" % tuple(rng.integers(0, 10**6, 2)) for _ in range(2000)]
    alone = len(Names().encode(Column.from_list(single)))
    paired = [name + end for name in single for end in (b" 1:N:0:ACGT", b" 2:N:0:ACGT")]
    assert len(Names().encode(Column.from_list(paired))) < alone + 250


def test_fields_need_no_stream_of_other_numbers() -> None:
    """Fields come from their own streams where the texts are all alike."""
    rng = np.random.default_rng(1)
    names = [b"A:1:F:1:%d:%d:%d %d" % (1101 + i // 99, *rng.integers(0, 9999, 2), i) for i in range(999)]
    payload = Names().encode(Column.from_list(names))
    assert len(StreamReader(payload, "names").entries) < 12
    assert Names().fields(memoryview(payload), 999)["tile"].tolist() == [1101 + i // 99 for i in range(999)]


#: Bytes that the name tokeniser of CRAM 3.1 (htscodecs 1.6, -9) needs for the same names as lines of text.
TOKENISER = {"human_hiseq_lanes": 97_685, "bacteria_shigella": 80_854}


@pytest.mark.parametrize("folder", TOKENISER)
def test_real_names_are_no_larger_than_those_of_cram(data: Path, folder: str) -> None:
    files = sorted(data.glob(f"{folder}/*_R[12]*.fastq.gz"))
    lines = [gzip.decompress(path.read_bytes()).split(b"\n")[:-1:4] for path in files]
    names = [line[1:] for k in range(0, len(files), 2) for pair in zip(*lines[k : k + 2], strict=True) for line in pair]
    column = Column.from_list(names)
    payload = Names().encode(column)
    assert len(payload) < TOKENISER[folder]
    assert_equal(Names().decode(memoryview(payload), len(column), None), column)
