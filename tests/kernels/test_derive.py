"""Tags that are as expected are left out, and put back."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.batch import Column
from agd.errors import KernelError
from agd.kernels import _native, reference

FIELDS = st.sampled_from([b"NMC\1", b"NMC\2", b"NMS\1\0", b"MDZ1A\0", b"MDZ2\0", b"MDA1", b"XXC\1", b"MDZ\0", b"XX*"])
RECORDS = st.lists(
    st.tuples(
        st.lists(FIELDS, max_size=4).map(b"".join), st.sampled_from([-1, 1, 2, 255, 257]),
        st.sampled_from([b"1A", b"2", b""]),
    ),
    max_size=6,
)  # fmt: skip


@given(records=RECORDS)
def test_what_is_left_out_comes_back(kernels: ModuleType, records: list[tuple[bytes, int, bytes]]) -> None:
    tags, md = Column.from_list([record[0] for record in records]), Column.from_list([record[2] for record in records])
    nm = np.array([record[1] for record in records], np.int32)
    expected = (nm, md.values, md.offsets)
    results = []
    for module in (kernels, reference):
        out, offsets = np.zeros(len(tags.values), np.uint8), np.empty(len(tags) + 1, np.int64)
        omitted = module.aux_omit(tags.values, tags.offsets, *expected, out, offsets)
        results.append((omitted, list(Column(out, offsets))))
    assert results[0] == results[1]
    ends = np.empty(len(tags) + 1, np.int64)
    for room in (0, max(0, len(tags.values) - 1), len(tags.values), len(tags.values) + 9):
        again = np.zeros(room, np.uint8)
        assert kernels.aux_restore(out, offsets, *expected, again, ends) == len(tags.values)
        assert tags.offsets is not None
        assert ends.tolist() == tags.offsets.tolist()
        assert room < len(tags.values) or again[: len(tags.values)].tobytes() == tags.values.tobytes()


def test_an_example(kernels: ModuleType) -> None:
    tags, md = Column.from_list([b"NMC\1MDZ2A3\0ASC\7", b"MDZ9\0NMC\0"]), Column.from_list([b"2A3", b"8"])
    out, offsets = np.empty(99, np.uint8), np.empty(3, np.int64)
    nm = np.array([1, 0], np.int32)
    assert kernels.aux_omit(tags.values, tags.offsets, nm, md.values, md.offsets, out, offsets) == 3
    assert list(Column(out, offsets)) == [b"NM*MD*ASC\7", b"MDZ9\0NM*"]


@given(records=RECORDS, data=st.data())
def test_both_restore_the_same_of_anything(records: list[tuple[bytes, int, bytes]], data: st.DataObject) -> None:
    """Tags that nothing has left out, cut and with stars in wrong places: the same bytes or the same error."""
    texts = []
    for fields, _, _ in records:
        text = bytearray(fields[: data.draw(st.integers(0, len(fields)))])
        for at in data.draw(st.lists(st.integers(0, max(0, len(text) - 1)), max_size=2)):
            text[at : at + 1] = b"*"
        texts.append(bytes(text) + data.draw(st.sampled_from([b"", b"XXA*", b"XYZ" + b"*" * 40 + b"\0"])))
    tags, md = Column.from_list(texts), Column.from_list([record[2] for record in records])
    nm = np.array([record[1] for record in records], np.int32)
    found = []
    for module in (_native, reference):
        out, ends = np.zeros(len(tags.values) + 99, np.uint8), np.zeros(len(tags) + 1, np.int64)
        try:
            total = module.aux_restore(tags.values, tags.offsets, nm, md.values, md.offsets, out, ends)
            found.append((out[:total].tobytes(), ends.tolist()))
        except KernelError as error:
            found.append(str(error))
    assert found[0] == found[1]


def test_bad_tags_are_refused(kernels: ModuleType) -> None:
    none, out, offsets = np.zeros(2, np.int64), np.empty(9, np.uint8), np.empty(2, np.int64)
    empty, zero = np.empty(0, np.uint8), np.zeros(1, np.int32)
    for data, reason in ((b"MD*", "there already"), (b"NM*", "there already"), (b"MDZ1", "do not parse")):
        tags = Column.from_list([data])
        with pytest.raises(KernelError, match=reason):
            kernels.aux_omit(tags.values, tags.offsets, zero, empty, none, out, offsets)
    for data, nm in ((b"MD*", -1), (b"NM*", -1), (b"NM*", 256)):
        tags = Column.from_list([data])
        with pytest.raises(KernelError, match="cannot be computed"):
            kernels.aux_restore(tags.values, tags.offsets, zero + nm, empty, none, out, offsets)
    tags = Column.from_list([b"MD*"])
    with pytest.raises(KernelError, match="differ in number"):
        kernels.aux_restore(tags.values, tags.offsets, np.zeros(2, np.int32), empty, none, out, offsets)
    with pytest.raises(KernelError, match="outside of the expected values"):
        kernels.aux_restore(tags.values, tags.offsets, zero, empty, np.array([0, 1]), out, offsets)
