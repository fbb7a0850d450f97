"""Finding, numbering and joining aux fields, against pysam and simple counting."""

from __future__ import annotations

import struct
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.batch import Column
from agd.errors import KernelError
from agd.kernels import _native, reference
from tests.kernels.sam_records import decode_bam, read_bam, tag_names, tag_values

few_names = st.sampled_from([b"NM", b"RG", b"XX", b"X0"])
field_lists = st.lists(st.tuples(st.one_of(few_names, tag_names), tag_values), max_size=6)
columns_of_fields = st.lists(field_lists, max_size=6)


def number(tag: bytes) -> int:
    return int.from_bytes(tag, "little")


def column(records: list[list[tuple[bytes, bytes]]]) -> tuple[Any, Any]:
    made = Column.from_list([b"".join(tag + value for tag, value in fields) for fields in records])
    return made.values, made.offsets


@given(records=columns_of_fields, tag=few_names)
def test_spans_are_of_the_first_field_of_the_name(kernels: ModuleType, records: list[Any], tag: bytes) -> None:
    tags, offsets = column(records)
    starts, ends = np.full((2, len(records)), -1, np.int64)
    found = kernels.aux_spans(tags, offsets, number(tag), starts, ends)
    expected = [next((t + v for t, v in fields if t == tag), b"") for fields in records]
    assert [tags[a:b].tobytes() for a, b in zip(starts, ends, strict=True)] == expected
    assert found == sum(map(bool, expected))
    missing = [i for i, field in enumerate(expected) if not field]
    assert starts[missing].tolist() == ends[missing].tolist() == offsets[1:][missing].tolist()


@given(
    values=st.lists(
        st.one_of(st.none(), st.just("text"), st.tuples(st.sampled_from("cCsSiI"), st.integers(-(2**31), 2**32 - 1))),
        max_size=8,
    )
)
def test_numbers_of_every_type(kernels: ModuleType, values: list[Any]) -> None:
    formats = {"c": "b", "C": "B", "s": "h", "S": "H", "i": "i", "I": "I"}
    records, expected = [], []
    for value in values:
        if value is None or value == "text":
            records.append([(b"XX", b"C\x07")] + ([(b"NM", b"Zx\0")] if value else []))
            expected.append(None)
            continue
        kind, wide = value
        packed = struct.pack("<q", wide)[: struct.calcsize(formats[kind])]
        records.append([(b"NM", kind.encode() + packed)])
        expected.append(struct.unpack("<" + formats[kind], packed)[0])
    tags, offsets = column(records)
    out = np.full(len(values), -1, np.int64)
    present = np.zeros(len(values), np.bool_)
    assert kernels.aux_numbers(tags, offsets, number(b"NM"), out, present) == sum(v is not None for v in expected)
    assert out.tolist() == [v or 0 for v in expected]
    assert present.tolist() == [v is not None for v in expected]


@given(values=st.lists(st.one_of(st.none(), st.sampled_from([b"", b"a", b"b", b"ab", b"long name"])), max_size=12))
def test_codes_number_the_values_as_they_come(kernels: ModuleType, values: list[bytes | None]) -> None:
    records = [[(b"XX", b"Zz\0")] + ([] if value is None else [(b"RG", b"Z" + value + b"\0")]) for value in values]
    tags, offsets = column(records)
    codes, firsts = np.full((2, len(values)), -1, np.int64)
    distinct = list(dict.fromkeys(value for value in values if value is not None))
    assert kernels.aux_codes(tags, offsets, number(b"RG"), codes, firsts) == len(distinct)
    assert codes.tolist() == [0 if value is None else distinct.index(value) + 1 for value in values]
    text = tags.tobytes()
    assert [text[at : text.index(0, at)] for at in firsts[: len(distinct)]] == distinct


def test_codes_take_the_last_text_field(kernels: ModuleType) -> None:
    tags, offsets = column([[(b"RG", b"Za\0"), (b"RG", b"Zb\0"), (b"RG", b"C\x01")], [(b"RG", b"Ac")]])
    codes, firsts = np.zeros((2, 2), np.int64)
    assert kernels.aux_codes(tags, offsets, number(b"RG"), codes, firsts) == 1
    assert codes.tolist() == [1, 0]
    assert tags[firsts[0]] == ord("b")


@given(pairs=st.lists(st.tuples(field_lists, field_lists), max_size=6))
def test_merge_lets_the_others_win(kernels: ModuleType, pairs: list[Any]) -> None:
    left, right = column([a for a, _ in pairs]), column([b for _, b in pairs])
    out = np.zeros(len(left[0]) + len(right[0]), np.uint8)
    offsets = np.full(len(pairs) + 1, -1, np.int64)
    used = kernels.aux_merge(*left, *right, out, offsets)
    expected = [[(t, v) for t, v in a if t not in dict(b)] + b for a, b in pairs]
    values, expected_offsets = column(expected)
    assert out[:used].tobytes() == values.tobytes()
    assert offsets.tolist() == expected_offsets.tolist()
    if used:
        with pytest.raises(KernelError, match="too small"):
            kernels.aux_merge(*left, *right, out[: used - 1].copy(), offsets)


@pytest.mark.data
@pytest.mark.parametrize("name", ["NM", "RG", "SA"])
def test_fields_are_those_of_pysam(data: Path, name: str) -> None:
    path = data / "human_na12878_chr22_dups" / "NA12878.chr22.s.bam"
    _, references, body = read_bam(path)
    records = decode_bam(_native, body, len(references))
    tag = number(name.encode())
    count = len(records.flag)
    starts, ends, numbers = np.zeros((3, count), np.int64)
    present = np.zeros(count, np.bool_)
    assert _native.aux_spans(records.tags, records.tag_offsets, tag, starts, ends) > 0
    _native.aux_numbers(records.tags, records.tag_offsets, tag, numbers, present)
    with pysam.AlignmentFile(str(path)) as bam:
        for i, read in enumerate(bam):
            if i == 20000:
                break
            value = read.get_tag(name) if read.has_tag(name) else None
            field = records.tags[starts[i] : ends[i]].tobytes()
            if isinstance(value, str):
                assert field == name.encode() + b"Z" + value.encode() + b"\0"
            elif value is not None:
                assert (numbers[i], present[i]) == (value, True)
            else:
                assert field == b""


DAMAGED = [
    b"N", b"NM", b"NMC", b"NMs\1", b"NMi\1\2\3", b"NMf\1\2\3", b"NMd\1\2\3\4\5\6\7", b"NMZabc", b"NMHAB",
    b"NMq\1\1\1",
    b"NMBc", b"NMBc\1\0\0", b"NMBc\2\0\0\0\1", b"NMBs\1\0\0\0\1", b"NMBI\xff\xff\xff\xff\1", b"NMBq\0\0\0\0",
    b"\0\0\0\0",
]  # fmt: skip


@pytest.mark.parametrize("damaged", DAMAGED)
def test_damaged_fields_are_found(kernels: ModuleType, damaged: bytes) -> None:
    good = b"XAAaXBC\1"
    made = Column.from_list([good, good + damaged, good])
    tags, offsets = made.values, made.offsets
    work = [np.zeros(3, np.int64) for _ in range(2)]
    present = np.zeros(3, np.bool_)
    other = column([[], [], []])
    for call in (
        lambda: kernels.aux_validate(tags, offsets),
        lambda: kernels.aux_spans(tags, offsets, number(b"ZZ"), *work),
        lambda: kernels.aux_numbers(tags, offsets, number(b"ZZ"), work[0], present),
        lambda: kernels.aux_codes(tags, offsets, number(b"ZZ"), *work),
        lambda: kernels.aux_merge(tags, offsets, *other, np.zeros(99, np.uint8), np.zeros(4, np.int64)),
        lambda: kernels.aux_merge(*other, tags, offsets, np.zeros(99, np.uint8), np.zeros(4, np.int64)),
    ):
        with pytest.raises(KernelError, match="parse") as caught:
            call()
        assert (caught.value.record, caught.value.offset) == (1, 2 * len(good))


def test_good_fields_are_valid(kernels: ModuleType) -> None:
    fields = [b"XAA!", b"XBZ\0", b"XHH\0", b"XdD"[:2] + b"d" + bytes(8), b"XcBc\0\0\0\0", b"XfBf\1\0\0\0\0\0\0\0"]
    made = Column.from_list([b"".join(fields), b"", fields[1]])
    kernels.aux_validate(made.values, made.offsets)


def test_arrays_that_do_not_fit_are_refused(kernels: ModuleType) -> None:
    tags, offsets = column([[(b"NM", b"C\1")]])
    one, two = np.zeros(1, np.int64), np.zeros(2, np.int64)
    for call in (
        lambda: kernels.aux_spans(tags, offsets, 1, one, two),
        lambda: kernels.aux_numbers(tags, offsets, 1, two, np.zeros(1, np.bool_)),
        lambda: kernels.aux_codes(tags, offsets, 1, two, one),
        lambda: kernels.aux_merge(tags, offsets, tags, offsets, tags.copy(), one),
    ):
        with pytest.raises(KernelError, match="length"):
            call()
    with pytest.raises(KernelError, match="outside"):
        kernels.aux_validate(tags, np.array([0, 9], np.int64))


@given(data=st.binary(max_size=40))
def test_both_kernels_judge_bytes_alike(data: bytes) -> None:
    made = Column.from_list([data])
    outcomes = []
    for kernels in (_native, reference):
        try:
            kernels.aux_validate(made.values, made.offsets)
            outcomes.append("valid")
        except KernelError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]
