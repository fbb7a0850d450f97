"""Copying and turning the records of ragged columns."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.batch import Column
from agd.errors import KernelError

records_of_bytes = st.lists(st.binary(max_size=70), max_size=20)


@given(records=records_of_bytes, gap=st.integers(0, 3), data=st.data())
@pytest.mark.parametrize("dtype", [np.uint8, np.uint32, np.uint64])
def test_copy_spans_moves_exactly_the_spans(
    kernels: ModuleType, dtype: type, records: list[bytes], gap: int, data: st.DataObject
) -> None:
    column = Column.from_list(records)
    source = column.values.astype(dtype)
    assert column.offsets is not None
    order = np.array(data.draw(st.permutations(range(len(records)))), np.int64)
    starts, ends = column.offsets[:-1][order], column.offsets[1:][order]
    targets = np.zeros(len(records) + 1, np.int64)
    np.cumsum(ends - starts + gap, out=targets[1:])
    back = np.argsort(-targets[:-1], kind="stable")  # targets need not ascend
    out = np.full(targets[-1], 200, dtype)
    kernels.copy_spans(source, starts[back], ends[back], out, targets[:-1][back])
    expected = b"".join(records[i] + b"\xc8" * gap for i in order)
    assert out.astype(np.uint8).tobytes() == expected


def test_copy_spans_takes_strided_spans(kernels: ModuleType) -> None:
    source = np.frombuffer(b"ACGTNacgtn", np.uint8)
    spans = np.array([[0, 3, 0], [5, 9, 3]], np.int64)
    out = np.zeros(7, np.uint8)
    kernels.copy_spans(source, spans[:, 0], spans[:, 1], out, spans[:, 2])
    assert out.tobytes() == b"ACGacgt"
    kernels.copy_spans(source, spans[::-1, 0], spans[::-1, 1], out, np.array([0, 4], np.int64))
    assert out.tobytes() == b"acgtACG"


@pytest.mark.parametrize(
    ("start", "end", "target"),
    [(-1, 2, 0), (3, 2, 0), (0, 11, 0), (0, 5, -1), (0, 5, 4), (0, 0, 9), (2**62, 2**62 + 1, 0), (0, 1, 2**62)],
)
def test_copy_spans_refuses_spans_out_of_bounds(kernels: ModuleType, start: int, end: int, target: int) -> None:
    source, out = np.zeros(10, np.uint8), np.zeros(8, np.uint8)
    starts, ends, targets = (np.array([0, x], np.int64) for x in (start, end, target))
    with pytest.raises(KernelError) as caught:
        kernels.copy_spans(source, starts, ends, out, targets)
    assert caught.value.record == 1


def test_copy_spans_refuses_arrays_of_other_lengths(kernels: ModuleType) -> None:
    two, one, out = np.zeros(2, np.int64), np.zeros(1, np.int64), np.zeros(1, np.uint8)
    with pytest.raises(KernelError):
        kernels.copy_spans(out, two, one, out, two)
    with pytest.raises(KernelError):
        kernels.copy_spans(out, two, two, out, one)


bases_of_reads = st.lists(
    st.one_of(st.text("ACGTN", max_size=200), st.text("ACGTUMRWSYKVHDBNacgtumrwsykvhdbn=.*-", max_size=80)),
    max_size=12,
)
TURNED = str.maketrans("ACGTUMRWSYKVHDBNacgtumrwsykvhdbn", "TGCAAKYWSRMBDHVNtgcaakywsrmbdhvn")


@given(reads=bases_of_reads, complement=st.booleans(), data=st.data())
def test_reverse_spans_turns_masked_records(
    kernels: ModuleType, reads: list[str], complement: bool, data: st.DataObject
) -> None:
    column = Column.from_list([read.encode() for read in reads])
    mask = data.draw(st.lists(st.booleans(), min_size=len(reads), max_size=len(reads)))
    values = column.values.copy()
    kernels.reverse_spans(values, column.offsets, np.array(mask, np.bool_), complement)
    expected = [
        (read[::-1].translate(TURNED) if complement else read[::-1]) if turn else read
        for read, turn in zip(reads, mask, strict=True)
    ]
    assert values.tobytes().decode() == "".join(expected)


@pytest.mark.parametrize("offsets", [[], [0, 3, 2], [0, 2, 11], [-1, 2, 3], [0, 1]])
def test_reverse_spans_refuses_bad_offsets(kernels: ModuleType, offsets: list[int]) -> None:
    with pytest.raises(KernelError):
        kernels.reverse_spans(np.zeros(10, np.uint8), np.array(offsets, np.int64), np.ones(2, np.bool_), True)
