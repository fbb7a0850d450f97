"""What a chunk of alignments holds: both implementations against plain Python."""

from __future__ import annotations

from collections import Counter
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.errors import KernelError

RECORD = st.tuples(
    st.sampled_from([99, 147, 65, 65 | 512, 73, 321, 2113, 4, 0, 65535]), st.sampled_from([-1, 0, 1, 2, 1 << 20]),
    st.integers(-1, 50) | st.just(1 << 61), st.integers(-1, 2), st.sampled_from([0, 4, 5, 255]),
    st.lists(st.tuples(st.integers(0, (1 << 28) - 1), st.integers(0, 15)), max_size=4), st.booleans(),
)  # fmt: skip


def arrays(records: list[Any], some_null: bool) -> list[Any]:
    columns = [list(column) for column in zip(*records, strict=True)] or [[]] * 7
    found: list[Any] = [
        np.array(column, dtype) for column, dtype in zip(columns, ("u2", "i4", "i8", "i4", "u1"), strict=False)
    ]
    cigars = [[length << 4 | code for length, code in cigar] for cigar in columns[5]]
    offsets = np.cumsum([0, *map(len, cigars)])
    # Operations of other records may lie around those that are meant.
    operations = np.array([3 << 4, *(o for cigar in cigars for o in cigar), 5 << 4], np.uint32)
    return [*found, operations, offsets + 1, np.array(columns[6], np.bool_) if some_null else None]


@given(records=st.lists(RECORD, max_size=20), some_null=st.booleans(), most=st.integers(0, 4))
def test_summary(kernels: ModuleType, records: list[Any], some_null: bool, most: int) -> None:
    given_ = arrays(records, some_null)
    counts, distant, spans = kernels.summarise_alignments(*given_, most)
    lengths = np.full(len(records), -9, np.int64)
    kernels.reference_lengths(given_[5], given_[6], lengths)
    covered = [sum(length for length, code in r[5] if code in (0, 2, 3, 7, 8)) for r in records]
    assert lengths.tolist() == covered
    known = [(r, length) for r, length in zip(records, covered, strict=True) if r[6] or not some_null]
    assert {flag: n for flag, n in enumerate(counts.tolist()) if n} == Counter(r[0] for r, _ in known)
    far = [r for r, _ in known if r[0] & 0x1 and not r[0] & 0x90C and r[1] != r[3]]
    high = [r for r in far if r[4] >= 5]
    assert distant.tolist() == [
        sum(1 for r in of if bool(r[0] & 0x200) == failed) for of in (far, high) for failed in (False, True)
    ]
    ends: dict[int, list[tuple[int, int]]] = {}
    for r, length in known:
        if r[1] >= 0 and r[2] >= 0:
            ends.setdefault(r[1], []).append((r[2], r[2] + max(length, 1)))
    if len(ends) > most:
        assert spans is None
    else:
        assert spans.tolist() == [
            value for r in sorted(ends) for value in (r, min(s for s, _ in ends[r]), max(e for _, e in ends[r]))
        ]


def test_arrays_must_fit(kernels: ModuleType) -> None:
    records = [(99, 0, 1, 0, 9, [(10, 0)], True), (147, 0, 5, 0, 9, [(10, 0)], True)]
    for at in range(8):
        given_ = arrays(records, True)
        given_[at] = given_[at][:1]
        with pytest.raises(KernelError, match=r"differ in length|outside"):
            kernels.summarise_alignments(*given_, 4)
    given_ = arrays(records, True)
    for offsets in ([0, 2, 9], [0, 3, 2], [-1, 0, 1]):
        with pytest.raises(KernelError, match="outside"):
            kernels.summarise_alignments(*given_[:6], np.array(offsets), None, 4)
        with pytest.raises(KernelError, match="outside"):
            kernels.reference_lengths(given_[5], np.array(offsets), np.zeros(2, np.int64))
    with pytest.raises(KernelError, match="differ in number"):
        kernels.reference_lengths(given_[5], given_[6], np.zeros(1, np.int64))
