"""Tags that are as expected are left out, and put back."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.batch import Column
from agd.errors import KernelError
from agd.kernels import reference

NM, MD = (int.from_bytes(name, "little") for name in (b"NM", b"MD"))
FIELDS = st.sampled_from([b"NMC\1", b"NMC\2", b"NMS\1\0", b"MDZ1A\0", b"MDZ2\0", b"MDA1", b"XXC\1", b"MDZ\0", b"XX*"])
VALUES = st.sampled_from([b"1A", b"2", b"\1", b"\2", b""])
RECORDS = st.lists(
    st.tuples(st.lists(FIELDS, max_size=4).map(b"".join), VALUES, st.booleans()),
    max_size=6,
)


@given(records=RECORDS, which=st.sampled_from([(NM, ord("C")), (MD, ord("Z"))]))
def test_what_is_left_out_comes_back(
    kernels: ModuleType, records: list[tuple[bytes, bytes, bool]], which: tuple[int, int]
) -> None:
    tags, expected = (Column.from_list([record[i] for record in records]) for i in (0, 1))  # type: ignore[misc]
    present = np.array([record[2] for record in records], np.bool_)
    arguments = (*which, expected.values, expected.offsets, present)
    results = []
    for module in (kernels, reference):
        out, offsets = np.zeros(len(tags.values), np.uint8), np.empty(len(tags) + 1, np.int64)
        omitted = module.aux_omit(tags.values, tags.offsets, *arguments, out, offsets)
        results.append((omitted, list(Column(out, offsets))))
    assert results[0] == results[1]
    again, ends = np.empty(len(tags.values), np.uint8), np.empty(len(tags) + 1, np.int64)
    total = kernels.aux_restore(out, offsets, *arguments, np.empty(0, np.uint8), ends)
    assert total == len(tags.values)
    assert ends.tolist() == (tags.offsets.tolist() if tags.offsets is not None else [])
    kernels.aux_restore(out, offsets, *arguments, again, ends)
    assert again.tobytes() == tags.values.tobytes()


def test_an_example(kernels: ModuleType) -> None:
    tags, expected = Column.from_list([b"NMC\1MDZ2A3\0ASC\7", b"MDZ9\0"]), Column.from_list([b"2A3", b"8"])
    out, offsets = np.empty(99, np.uint8), np.empty(3, np.int64)
    present = np.ones(2, np.bool_)
    assert kernels.aux_omit(tags.values, tags.offsets, MD, ord("Z"), expected.values, expected.offsets, present, out,
                            offsets) == 1  # fmt: skip
    assert list(Column(out, offsets)) == [b"NMC\1MD*ASC\7", b"MDZ9\0"]


def test_bad_tags_are_refused(kernels: ModuleType) -> None:
    none, out, offsets = np.zeros(2, np.int64), np.empty(9, np.uint8), np.empty(2, np.int64)
    empty = np.empty(0, np.uint8)
    for data, reason in ((b"MD*", "there already"), (b"MDZ1", "do not parse")):
        tags = Column.from_list([data])
        with pytest.raises(KernelError, match=reason):
            kernels.aux_omit(tags.values, tags.offsets, MD, ord("Z"), empty, none, np.ones(1, np.bool_), out, offsets)
    tags = Column.from_list([b"MD*"])
    with pytest.raises(KernelError, match="cannot be computed"):
        kernels.aux_restore(tags.values, tags.offsets, MD, ord("Z"), empty, none, np.zeros(1, np.bool_), empty, offsets)
