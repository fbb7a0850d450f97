"""Sort keys and stable sorts, against samtools sort."""

from __future__ import annotations

import functools
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.batch import Column
from agd.errors import KernelError


def argsort(kernels: ModuleType, keys: list[int]) -> list[int]:
    out = np.full(len(keys), -1, np.int64)
    kernels.argsort_u64(np.array(keys, np.uint64), out)
    return out.tolist()  # type: ignore[no-any-return]


def argsort_bytes(kernels: ModuleType, records: list[bytes]) -> list[int]:
    column = Column.from_list([b"gone", *records]).slice(1, len(records) + 1)
    out = np.full(len(records), -1, np.int64)
    kernels.argsort_bytes(column.values, column.offsets, out)
    return out.tolist()  # type: ignore[no-any-return]


def in_order(keys: list[int] | list[bytes]) -> list[int]:
    return sorted(range(len(keys)), key=keys.__getitem__)


def test_argsort_is_stable(kernels: ModuleType) -> None:
    assert argsort(kernels, []) == []
    assert argsort(kernels, [5, 1, 5, 1, 2**64 - 1, 0]) == [5, 1, 3, 0, 2, 4]


@given(st.integers(0, 2**32), st.integers(0, 2000), st.integers(0, 64), st.integers(0, 64))
def test_argsort_of_any_keys(kernels: ModuleType, seed: int, size: int, bits: int, shift: int) -> None:
    rng = random.Random(seed)
    keys = [rng.getrandbits(bits) << shift & (2**64 - 1) if bits else 7 for _ in range(size)]
    assert argsort(kernels, keys) == in_order(keys)


@given(st.integers(0, 2**32), st.integers(0, 1500), st.integers(0, 20), st.booleans())
def test_argsort_of_nearly_sorted_keys(kernels: ModuleType, seed: int, size: int, changes: int, runs: bool) -> None:
    rng = random.Random(seed)
    keys = sorted(rng.randrange(500) for _ in range(size))
    for _ in range(changes):
        at = rng.randrange(size + 1)
        if runs:
            keys = keys[at:] + keys[:at]
        elif keys:
            keys[at - 1] = rng.randrange(500)
    assert argsort(kernels, keys) == in_order(keys)


@given(st.integers(0, 2**32), st.integers(100, 1500), st.integers(1, 100))
def test_argsort_of_displaced_keys(kernels: ModuleType, seed: int, size: int, distance: int) -> None:
    rng = random.Random(seed)
    keys = [i // 3 + rng.randrange(distance) for i in range(size)]
    assert argsort(kernels, keys) == in_order(keys)


@pytest.mark.parametrize("runs", [1, 2, 3, 15, 16, 17])
def test_argsort_of_runs(kernels: ModuleType, runs: int) -> None:
    keys = [value for _ in range(runs) for value in range(0, 200, 2)]
    assert argsort(kernels, keys) == in_order(keys)


def test_argsort_refuses_an_output_of_another_length(kernels: ModuleType) -> None:
    with pytest.raises(KernelError):
        kernels.argsort_u64(np.zeros(2, np.uint64), np.zeros(3, np.int64))
    with pytest.raises(KernelError):
        kernels.argsort_bytes(np.zeros(2, np.uint8), np.array([0, 1, 2]), np.zeros(3, np.int64))
    with pytest.raises(KernelError):
        kernels.argsort_bytes(np.zeros(2, np.uint8), np.array([0, 1, 3]), np.zeros(2, np.int64))


PIECES = [b"", b"a", b"\x00", b"\xff", b"abcdefgh", b"0000000", b"zz"]


@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=6), max_size=40))
def test_argsort_bytes_is_the_order_of_python(kernels: ModuleType, pieces: list[list[bytes]]) -> None:
    records = [b"".join(parts) for parts in pieces]
    assert argsort_bytes(kernels, records) == in_order(records)


@given(st.integers(0, 2**32), st.integers(60, 400), st.integers(0, 30), st.integers(1, 4))
def test_argsort_bytes_of_many_alike(
    kernels: ModuleType, seed: int, size: int, prefix: int, letters: int
) -> None:
    rng = random.Random(seed)
    records = [b"p" * prefix + bytes(rng.choices(range(letters), k=rng.randrange(20))) for _ in range(size)]
    assert argsort_bytes(kernels, records) == in_order(records)


def test_argsort_bytes_of_long_equal_strings(kernels: ModuleType) -> None:
    records = [b"A" * 200_000 + b"b", b"A" * 200_000, b"A" * 200_001] * 30
    assert argsort_bytes(kernels, records) == in_order(records)


def coordinate_keys(
    kernels: ModuleType, reference: list[int], position: list[int], flag: list[int]
) -> list[int]:
    out = np.zeros(len(reference), np.uint64)
    kernels.coordinate_keys(
        np.array(reference, np.int32), np.array(position, np.int64), np.array(flag, np.uint16), out
    )
    return out.tolist()  # type: ignore[no-any-return]


def test_coordinate_keys_are_those_of_the_definition(kernels: ModuleType) -> None:
    keys = coordinate_keys(kernels, [0, 0, 1, 5, -1, -1], [-1, 0, 7, 2**31 - 2, -1, 3], [0, 16, 4095, 16, 4, 20])
    assert keys == [0, 3, 1 << 32 | 17, 5 << 32 | 2**32 - 1, (2**32 - 1) << 32, (2**32 - 1) << 32 | 9]


@pytest.mark.parametrize(("reference", "position"), [(-2, 0), (0, -2), (0, 2**31 - 1), (0, 2**40)])
def test_coordinate_keys_refuse_what_bam_cannot_hold(kernels: ModuleType, reference: int, position: int) -> None:
    with pytest.raises(KernelError) as caught:
        coordinate_keys(kernels, [0, reference], [0, position], [0, 0])
    assert caught.value.record == 1


# A port of the comparison of samtools sort -n, written from its description: runs of digits are numbers.
def natural_compare(a: bytes, b: bytes) -> int:
    i = k = 0
    while i < len(a) and k < len(b):
        if not (a[i : i + 1].isdigit() and b[k : k + 1].isdigit()):
            if a[i] != b[k]:
                return a[i] - b[k]
            i, k = i + 1, k + 1
            continue
        x, y = digits(a, i), digits(b, k)
        if int(x) != int(y):
            return -1 if int(x) < int(y) else 1
        i, k = i + len(x), k + len(y)
    return (i < len(a)) - (k < len(b))


def digits(name: bytes, start: int) -> bytes:
    end = start
    while name[end : end + 1].isdigit():
        end += 1
    return name[start:end]


def flag_rank(flag: int) -> int:
    return (flag & 0xC0) << 8 | (flag & 0x100) << 3 | (flag & 0x800) >> 3


def compare(a: tuple[bytes, int], b: tuple[bytes, int]) -> int:
    return natural_compare(a[0], b[0]) or flag_rank(a[1]) - flag_rank(b[1])


def name_keys(kernels: ModuleType, records: list[tuple[bytes, int]], natural: bool) -> list[bytes]:
    column = Column.from_list([name for name, _ in records])
    flags = np.array([flag for _, flag in records], np.uint16)
    out = np.zeros(2 * len(column.values) + 2 * len(records), np.uint8)
    offsets = np.zeros(len(records) + 1, np.int64)
    used = kernels.name_keys(column.values, column.offsets, flags, natural, out, offsets)
    assert used == offsets[-1]
    return list(Column(out, offsets))


NAME_PIECES = [b"0", b"00", b"1", b"9", b"10", b"09", b"a", b"!", b"/", b":", b"B", b"~", b"123456789", b"1" * 30]
characters_of_names = st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="@")
names = st.one_of(
    st.lists(st.sampled_from(NAME_PIECES), min_size=1, max_size=8).map(b"".join),
    st.text(characters_of_names, min_size=1, max_size=20).map(str.encode),
)
flags = st.sampled_from([0, 4, 16, 64, 65, 128, 129, 192, 256, 64 | 256, 128 | 256, 2048, 64 | 2048, 2048 | 256, 4095])


@given(records=st.lists(st.tuples(names, flags), min_size=1, max_size=25))
def test_name_keys_order_as_samtools_compares(kernels: ModuleType, records: list[tuple[bytes, int]]) -> None:
    keys = name_keys(kernels, records, True)
    rank = functools.cmp_to_key(compare)
    assert in_order(keys) == sorted(range(len(records)), key=lambda i: rank(records[i]))
    keys = name_keys(kernels, records, False)
    assert in_order(keys) == sorted(range(len(records)), key=lambda i: (records[i][0], flag_rank(records[i][1])))


def test_name_keys_of_numbers_of_any_length(kernels: ModuleType) -> None:
    numbers = [0, 1, 7, 10, 99_999_999, 123_456_789, 10**9, 10**262, 10**263, 10**264, 10**600, 10**600 + 1]
    records = [(b"r%d" % number, 0) for number in numbers]
    keys = name_keys(kernels, records, True)
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)
    assert name_keys(kernels, [(b"r" + b"0" * 300 + b"7", 0)], True) == [keys[2]]


def test_name_keys_refuse_bad_input(kernels: ModuleType) -> None:
    letters, flag, offsets = np.frombuffer(b"ab\x00c", np.uint8), np.zeros(2, np.uint16), np.zeros(3, np.int64)
    out = np.zeros(20, np.uint8)
    with pytest.raises(KernelError, match="zero byte") as caught:
        kernels.name_keys(letters, np.array([0, 1, 4]), flag, True, out, offsets)
    assert (caught.value.record, caught.value.offset) == (1, 2)
    with pytest.raises(KernelError, match="do not fit") as caught:
        kernels.name_keys(letters, np.array([0, 1, 2]), flag, True, out[:5], offsets)
    assert caught.value.record == 1
    for bounds in ([0, 1, 5], [0, 2, 1], [0, 1]):
        with pytest.raises(KernelError):
            kernels.name_keys(letters, np.array(bounds), flag, True, out, offsets)


def write_sam(path: Path, records: list[tuple[bytes, int, int, int]]) -> None:
    """Records of name, flag, reference and position; an aux field tells them apart."""
    lines = ["@HD\tVN:1.6", *(f"@SQ\tSN:c{i}\tLN:2147483647" for i in range(3))]
    for i, (name, flag, reference, position) in enumerate(records):
        where = f"c{reference}" if reference >= 0 else "*"
        lines.append(f"{name.decode()}\t{flag}\t{where}\t{position + 1}\t0\t*\t*\t0\t0\t*\t*\tXI:i:{i}")
    path.write_text("\n".join(lines) + "\n")


def samtools_order(path: Path, *options: str) -> list[int]:
    out = path.with_suffix(".sorted.sam")
    # In a process of its own: samtools keeps -N in a global variable, which a later -n in the same process would meet.
    program = "import sys, pysam; pysam.samtools.sort(*sys.argv[1:], catch_stdout=False)"
    arguments = ["--no-PG", "-O", "sam", "-o", str(out), *options, str(path)]
    subprocess.run([sys.executable, "-c", program, *arguments], check=True)
    return [int(line.rsplit(":", 1)[1]) for line in out.read_text().splitlines() if not line.startswith("@")]


def argsort_keys(kernels: ModuleType, keys: list[bytes]) -> list[int]:
    order = argsort_bytes(kernels, keys)
    assert order == in_order(keys)
    return order


def test_orders_of_samtools_sort(kernels: ModuleType, tmp_path: Path) -> None:
    rng = random.Random(5)
    pieces = [b"0", b"00", b"1", b"7", b"12", b"007", b"a", b"B", b":", b"!", b"~", b"123456789012"]
    records = []
    for _ in range(3000):
        name = b"".join(rng.choices(pieces, k=rng.randrange(1, 5)))
        flag = rng.choice([0, 4, 16, 20, 65, 129, 193, 81, 145, 321, 2113, 2369, 385, 2177])
        reference = rng.choice([-1, 0, 1, 2])
        # A reference without a position is not among them: htslib drops such a reference when it reads text.
        records.append((name, flag, reference, rng.choice([0, 1, 5, 2**31 - 2]) if reference >= 0 else -1))
    path = tmp_path / "records.sam"
    write_sam(path, records)
    reference, position, flag = ([r[k] for r in records] for k in (2, 3, 1))
    keys = coordinate_keys(kernels, reference, position, flag)  # type: ignore[arg-type]
    assert argsort(kernels, keys) == samtools_order(path)
    named = [(name, flag) for name, flag, *_ in records]
    assert argsort_keys(kernels, name_keys(kernels, named, True)) == samtools_order(path, "-n")
    assert argsort_keys(kernels, name_keys(kernels, named, False)) == samtools_order(path, "-N")


@pytest.mark.data
def test_orders_of_samtools_sort_on_real_records(kernels: ModuleType, data: Path, tmp_path: Path) -> None:
    (bam,) = (data / "human_na12878_chr22_dups").glob("*.bam")
    with pysam.AlignmentFile(str(bam)) as file:
        records = [
            (str(r.query_name).encode(), r.flag, min(r.reference_id, 0), r.reference_start) for r in file
        ]
    random.Random(3).shuffle(records)
    records = records[:20_000]
    path = tmp_path / "records.sam"
    write_sam(path, records)
    named = [(name, flag) for name, flag, *_ in records]
    keys = coordinate_keys(kernels, [r[2] for r in records], [r[3] for r in records], [r[1] for r in records])
    assert argsort(kernels, keys) == samtools_order(path)
    assert argsort_keys(kernels, name_keys(kernels, named, True)) == samtools_order(path, "-n")
    assert argsort_keys(kernels, name_keys(kernels, named, False)) == samtools_order(path, "-N")
