"""Names of mates, and FASTQ text."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.batch import Column
from agd.errors import KernelError
from agd.kernels import _native, reference


def same(kernels: ModuleType, left: list[bytes], right: list[bytes], header: bool = True) -> list[bool]:
    a, b, out = Column.from_list(left), Column.from_list(right), np.zeros(len(left), np.bool_)
    assert a.offsets is not None
    assert b.offsets is not None
    kernels.same_names(a.values, a.offsets[:-1], a.offsets[1:], b.values, b.offsets[:-1], b.offsets[1:], header, out)
    return out.tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        (b"a", b"a", True),
        (b"a/1", b"a/2", True),
        (b"a/1", b"a", True),
        (b"a 1:N:0", b"a 2:N:0", True),
        (b"a\tx", b"a y", True),
        (b"a/1 x", b"a/2\ty", True),
        (b"", b"", True),
        (b"a", b"b", False),
        (b"a", b"aa", False),
        (b"a/3", b"a/4", False),
        (b"/1", b"/2", False),
        (b"a/1/1", b"a/1", False),
        (b"", b"a", False),
    ],
)
def test_same_names(kernels: ModuleType, one: bytes, two: bytes, expected: bool) -> None:
    assert same(kernels, [b"r", one, b"s"], [b"r", two, b"t"]) == [True, expected, False]
    assert same(kernels, [one, two], [two, one], header=False) == [one == two] * 2


def test_same_names_takes_any_stride(kernels: ModuleType) -> None:
    column = Column.from_list([b"a/1", b"a/2", b"b", b"b x", b"c", b"d"])
    assert column.offsets is not None
    spans = np.stack([column.offsets[:-1], column.offsets[1:]], axis=1)
    out = np.zeros(3, np.bool_)
    left, right = (spans[0::2, 0], spans[0::2, 1]), (spans[1::2, 0], spans[1::2, 1])
    kernels.same_names(column.values, *left, column.values, *right, True, out)
    assert out.tolist() == [True, True, False]


def test_same_names_checks_its_spans(kernels: ModuleType) -> None:
    text, out = np.zeros(4, np.uint8), np.zeros(1, np.bool_)
    zero, five, two = np.zeros(1, np.int64), np.full(1, 5, np.int64), np.zeros(2, np.int64)
    with pytest.raises(KernelError, match="outside of the text"):
        kernels.same_names(text, zero, five, text, zero, zero, True, out)
    with pytest.raises(KernelError, match="outside of the text"):
        kernels.same_names(text, zero, zero, text, zero - 1, zero, True, out)
    with pytest.raises(KernelError, match="differ in number"):
        kernels.same_names(text, zero, zero, text, two, two, True, out)
    with pytest.raises(KernelError, match="differ in number"):
        kernels.same_names(text, zero, two, text, zero, zero, True, out)
    with pytest.raises(KernelError, match="differ in number"):
        kernels.same_names(text, two, two, text, two, two, True, out)


def ends(kernels: ModuleType, lines: list[bytes], paired: list[bool]) -> list[bytes]:
    column, out = Column.from_list([b"xyz", *lines]), np.zeros(len(lines), np.int64)
    assert column.offsets is not None
    starts = column.offsets[1:]
    kernels.name_ends(column.values, starts, np.array(paired, np.bool_), out)
    return [column.values[a:b].tobytes() for a, b in zip(starts, out, strict=False)]


def test_name_ends(kernels: ModuleType) -> None:
    lines = [b"a/1 x", b"a/1 x", b"a\tb/2", b"/2", b"", b" x", b"a/3", b"ab/2"]
    paired = [True, False, True, True, True, True, True, True]
    assert ends(kernels, lines, paired) == [b"a", b"a/1", b"a", b"/2", b"", b"", b"a/3", b"ab"]
    text, zero = np.zeros(3, np.uint8), np.zeros(1, np.int64)
    with pytest.raises(KernelError, match="outside of the text"):
        kernels.name_ends(text, np.array([0, 4]), np.zeros(1, np.bool_), zero)
    with pytest.raises(KernelError, match="differ in number"):
        kernels.name_ends(text, np.array([0, 3]), np.zeros(2, np.bool_), zero)


def format_all(
    kernels: ModuleType, names: list[bytes], bases: list[bytes], quals: list[bytes], index: list[int],
    crlf: bool = False, room: int = 1 << 16,
) -> bytes:
    n, b, q = Column.from_list(names), Column.from_list(bases), Column.from_list(quals)
    out = np.full(room, 7, np.uint8)
    size = kernels.fastq_format(
        n.values, n.offsets, b.values, b.offsets, q.values, q.offsets, np.array(index, np.int64), crlf, 34, out
    )
    assert (out[size:] == 7).all()
    return out[:size].tobytes()


def test_fastq_format(kernels: ModuleType) -> None:
    names, bases, quals = [b"r/1 x", b"p\nplus", b"", b"m"], [b"ACGT", b"N", b"", b"AC"], [b"IIII", b"#", b"", b""]
    assert format_all(kernels, names, bases, quals, [0, 1]) == b"@r/1 x\nACGT\n+\nIIII\n@p\nN\n+plus\n#\n"
    assert format_all(kernels, names, bases, quals, [3, 2]) == b'@m\nAC\n+\n""\n@\n\n+\n\n'
    assert format_all(kernels, names, bases, quals, [1], crlf=True) == b"@p\r\nN\r\n+plus\r\n#\r\n"
    assert format_all(kernels, names, bases, quals, []) == b""


def test_fastq_format_refuses(kernels: ModuleType) -> None:
    with pytest.raises(KernelError, match="differ in length"):
        format_all(kernels, [b"r"], [b"ACG"], [b"I"], [0])
    with pytest.raises(KernelError, match="differ in length"):
        format_all(kernels, [b"r", b"s"], [b"ACG"], [b"III"], [0])
    with pytest.raises(KernelError, match="no such record"):
        format_all(kernels, [b"r"], [b"ACG"], [b"III"], [1])
    for room in range(13):
        with pytest.raises(KernelError, match="too small"):
            format_all(kernels, [b"r"], [b"ACG"], [b"III"], [0], room=room)
    assert len(format_all(kernels, [b"r"], [b"ACG"], [b"III"], [0], room=13)) == 13


TEXT = st.binary(max_size=12)


@given(st.lists(st.tuples(TEXT, TEXT, st.booleans()), max_size=12), st.booleans())
def test_format_agrees(records: list[tuple[bytes, bytes, bool]], crlf: bool) -> None:
    names, bases = [r[0] for r in records], [r[1] for r in records]
    quals = [r[1][::-1] if r[2] else b"" for r in records]
    index = list(range(len(records)))[::-1]
    assert format_all(_native, names, bases, quals, index, crlf) == format_all(
        reference, names, bases, quals, index, crlf
    )


# Long ones are looked through in blocks of 16 bytes, the last of which overlaps the one before.
NAME = st.builds(lambda size, end: b"x" * size + end.encode(), st.integers(0, 40), st.text("a/12 \t\x80", max_size=5))


@given(st.lists(st.tuples(NAME, NAME), max_size=12), st.booleans())
def test_same_names_agree(pairs: list[tuple[bytes, bytes]], header: bool) -> None:
    left, right = [p[0] for p in pairs], [p[1] for p in pairs]
    assert same(_native, left, right, header) == same(reference, left, right, header)


@given(st.lists(st.tuples(NAME, st.booleans()), max_size=12))
def test_name_ends_agree(rows: list[tuple[bytes, bool]]) -> None:
    lines, paired = [row[0] for row in rows], [row[1] for row in rows]
    assert ends(_native, lines, paired) == ends(reference, lines, paired)
