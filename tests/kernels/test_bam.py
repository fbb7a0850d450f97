"""BAM records to arrays and back, against samtools and the specification."""

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

from agd.cell import alignment_ends
from agd.convert.records import to_batch
from agd.errors import KernelError
from agd.kernels import _native, reference
from agd.kernels.records import RecordArrays
from tests.kernels.sam_records import (
    assert_same,
    decode_bam,
    encode_bam,
    from_tuples,
    read_bam,
    record_lists,
    scan,
)

TRICKY = ["tricky.bam", "long_cigar.bam", "header_only.bam"]
REAL = ["human_na12878_chr20/NA12878_S1.chr20.10_10p1mb.bam", "human_na12878_chr22_dups/NA12878.chr22.s.bam"]

PLAIN = (99, 0, 100, 60, 1, 200, 150, b"read", [10 << 4], b"ACGTNACGTN", b"IIIIIIIIII", b"NMC\x01")


def one(**changes: Any) -> RecordArrays:
    names = ["flag", "reference", "position", "quality", "mate", "mate_position", "template", "name", "cigar", "bases",
             "qualities", "tags"]  # fmt: skip
    return from_tuples([tuple(changes.get(name, value) for name, value in zip(names, PLAIN, strict=True))])


@given(rows=record_lists)
def test_records_survive_bam(kernels: ModuleType, rows: list[Any]) -> None:
    records = from_tuples(rows)
    body = encode_bam(kernels, records)
    assert_same(decode_bam(kernels, np.frombuffer(body, np.uint8), 3), records)


@given(rows=record_lists)
def test_samtools_reads_what_is_encoded(rows: list[Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("bam")
    records = from_tuples(rows)
    body = encode_bam(_native, records)
    text = "@HD\tVN:1.6\n" + "".join(f"@SQ\tSN:r{i}\tLN:2147483647\n" for i in range(3))
    raw = b"BAM\1" + struct.pack("<i", len(text)) + text.encode() + struct.pack("<i", 3)
    raw += b"".join(struct.pack("<i", 3) + f"r{i}".encode() + b"\0" + struct.pack("<i", 2**31 - 1) for i in range(3))
    path = folder / "in.bam"
    with pysam.BGZFile(str(path), "wb") as out:
        out.write(raw + body)
    pysam.samtools.view("--no-PG", "-b", "-o", str(folder / "out.bam"), str(path), catch_stdout=False)
    assert read_bam(folder / "out.bam").body.tobytes() == body


@pytest.mark.data
@pytest.mark.parametrize("name", TRICKY)
def test_tricky_files_come_back_byte_for_byte(kernels: ModuleType, data: Path, name: str) -> None:
    _, names, body = read_bam(data / "tricky" / name)
    assert encode_bam(kernels, decode_bam(kernels, body, len(names))) == body.tobytes()


@pytest.mark.data
@pytest.mark.parametrize("name", REAL)
def test_real_files_come_back_byte_for_byte(data: Path, name: str) -> None:
    _, names, body = read_bam(data / name)
    assert encode_bam(_native, decode_bam(_native, body, len(names))) == body.tobytes()


@pytest.mark.data
@pytest.mark.parametrize("name", [*REAL, "tricky/tricky.bam"])
def test_decoded_fields_are_those_of_pysam(data: Path, name: str) -> None:
    _, names, body = read_bam(data / name)
    records = decode_bam(_native, body, len(names))
    with pysam.AlignmentFile(str(data / name), check_sq=False) as bam:
        for i, read in enumerate(bam):
            if i == 3000:
                break
            a, b = records.name_offsets[i : i + 2]
            assert (records.names[a:b].tobytes().decode() or "*") == read.query_name
            assert records.flag[i] == read.flag
            assert records.reference[i] == read.reference_id
            assert records.position[i] == read.reference_start
            assert records.mapping_quality[i] == read.mapping_quality
            assert records.mate_reference[i] == read.next_reference_id
            assert records.mate_position[i] == read.next_reference_start
            assert records.template_length[i] == read.template_length
            a, b = records.cigar_offsets[i : i + 2]
            assert [(c & 15, c >> 4) for c in records.cigar[a:b].tolist()] == (read.cigartuples or [])
            a, b = records.base_offsets[i : i + 2]
            assert records.bases[a:b].tobytes().decode() == (read.query_sequence or "")
            a, b = records.quality_offsets[i : i + 2]
            expected = [] if read.query_qualities is None else [q + 33 for q in read.query_qualities]
            assert records.qualities[a:b].tolist() == expected


@pytest.mark.data
@pytest.mark.parametrize("name", TRICKY)
def test_both_kernels_decode_alike(data: Path, name: str) -> None:
    _, names, body = read_bam(data / "tricky" / name)
    assert_same(decode_bam(_native, body, len(names)), decode_bam(reference, body, len(names)))


def test_long_cigar_moves_between_tag_and_field(kernels: ModuleType) -> None:
    operations = [1 << 4, 1 << 4 | 1] * 32768
    length = 65536
    tags = b"NMC\x05"
    row = (0, 0, 5, 60, -1, -1, 0, b"long", operations, b"A" * length, b"", tags)
    records = from_tuples([row])
    body = np.frombuffer(encode_bam(kernels, records), np.uint8).copy()
    assert struct.unpack_from("<H", body, 16)[0] == 2  # n_cigar_op: the two that stand in
    assert body[41:49].tobytes() == struct.pack("<II", length << 4 | 4, 32768 << 4 | 3)
    at = body.tobytes().index(b"CGBI" + struct.pack("<I", 65536))
    assert at + 8 + 4 * 65536 == len(body)
    assert_same(decode_bam(kernels, body, 1), records)
    # Without a position htslib leaves the tag alone, and so the bytes still come back.
    body[8:12] = 255
    unplaced = decode_bam(kernels, body, 1)
    assert unplaced.cigar_offsets.tolist() == [0, 2]
    assert len(unplaced.tags) == len(tags) + 8 + 4 * 65536


def test_long_cigar_tag_before_others_is_taken_out(kernels: ModuleType) -> None:
    cg = b"CGBI" + struct.pack("<4I", 3, 2 << 4, 1 << 4 | 2, 2 << 4)
    stand_in = [4 << 4 | 4, 5 << 4 | 3]
    body = encode_bam(kernels, one(cigar=stand_in, bases=b"ACGT", qualities=b"", tags=b"XAAa" + cg + b"XBAb"))
    records = decode_bam(kernels, np.frombuffer(body, np.uint8), 2)
    assert records.cigar.tolist() == [2 << 4, 1 << 4 | 2, 2 << 4]
    assert records.tags.tobytes() == b"XAAaXBAb"


@pytest.mark.parametrize(
    ("letters", "folded"),
    [(b"acgtnu", b"ACGTNT"), (b"U.-*XxZ0123", b"TNNNNNNACGT"), (b"=acmgrsvtwyhkdbn", b"=ACMGRSVTWYHKDBN")],
)
def test_letters_fold_as_in_htslib(kernels: ModuleType, letters: bytes, folded: bytes) -> None:
    read = pysam.AlignedSegment()
    read.query_sequence = letters.decode()
    assert read.query_sequence.encode() == folded
    body = encode_bam(kernels, one(bases=letters, qualities=b"", cigar=[]))
    assert decode_bam(kernels, np.frombuffer(body, np.uint8), 2).bases.tobytes() == folded


def test_star_and_empty_names_are_one(kernels: ModuleType) -> None:
    body = encode_bam(kernels, one(name=b""))
    assert body[36:38] == b"*\0"
    assert len(decode_bam(kernels, np.frombuffer(body, np.uint8), 2).names) == 0


def test_missing_qualities(kernels: ModuleType) -> None:
    body = encode_bam(kernels, one(qualities=b""))
    assert b"\xff" * 10 in body
    assert len(decode_bam(kernels, np.frombuffer(body, np.uint8), 2).qualities) == 0


@given(body=record_lists.map(from_tuples), cut=st.integers(1, 40), capacity=st.integers(0, 4))
def test_scan_stops_before_what_is_incomplete(
    kernels: ModuleType, body: RecordArrays, cut: int, capacity: int
) -> None:
    data = np.frombuffer(encode_bam(kernels, body), np.uint8)
    whole = scan(kernels, data)
    assert len(whole) == len(body.flag) + 1
    offsets = np.zeros(len(whole), np.int64)
    partial = data[: max(len(data) - cut, 0)]
    records, consumed = kernels.bam_scan(partial, False, offsets)
    assert records == np.searchsorted(whole, len(partial), "right") - 1
    assert consumed == whole[records] == offsets[records]
    if consumed < len(partial):
        with pytest.raises(KernelError, match="truncated") as caught:
            kernels.bam_scan(partial, True, offsets)
        assert (caught.value.record, caught.value.offset) == (records, consumed)
    few = np.zeros(capacity + 1, np.int64)
    records, consumed = kernels.bam_scan(data, True, few)
    assert records == min(capacity, len(body.flag))
    assert consumed == whole[records]


def patched(body: bytes, at: int, new: bytes) -> Any:
    return np.frombuffer(body[:at] + new + body[at + len(new) :], np.uint8)


@pytest.mark.parametrize(
    ("at", "new", "reason"),
    [
        (0, struct.pack("<i", 20), "block size"),
        (0, struct.pack("<i", -5), "block size"),
        (0, struct.pack("<i", 2**31 - 1), "truncated"),
        (4, struct.pack("<i", 2), "reference is not in the header"),
        (4, struct.pack("<i", -2), "reference is not in the header"),
        (8, struct.pack("<i", -2), "position"),
        (12, b"\0", "name size"),
        (12, b"\xff", "longer than the record"),
        (12, b"\4", "NUL"),
        (16, struct.pack("<H", 60000), "longer than the record"),
        (20, struct.pack("<i", -1), "sequence length"),
        (20, struct.pack("<i", 2**31 - 1), "longer than the record"),
        (24, struct.pack("<i", 7), "mate reference"),
        (28, struct.pack("<i", -9), "mate position"),
        (41, struct.pack("<I", 10 << 4 | 9), "CIGAR operation"),
        (41, struct.pack("<I", 9 << 4), "differ in length"),
        (-2, b"?", "tags"),
        (-2, b"I", "tags"),
        (-2, b"Z", "tags"),
    ],
)
def test_damaged_fields_are_found(kernels: ModuleType, at: int, new: bytes, reason: str) -> None:
    good = encode_bam(kernels, one())
    bad = patched(good, at % len(good), new)
    body = np.concatenate([np.frombuffer(good, np.uint8), bad])
    with pytest.raises(KernelError, match=reason) as caught:
        decode_bam(kernels, body, 2)
    assert caught.value.record == 1
    assert len(good) <= caught.value.offset < len(body)


damage = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8)


@given(count=st.integers(1, 3), places=damage)
def test_both_kernels_judge_damage_alike(count: int, places: list[tuple[int, int]]) -> None:
    body = np.frombuffer(encode_bam(_native, from_tuples([PLAIN] * count)), np.uint8).copy()
    for at, byte in places:
        body[at % len(body)] = byte
    outcomes = []
    for kernels in (_native, reference):
        try:
            outcomes.append(decode_bam(kernels, body, 2))
        except KernelError as error:
            outcomes.append((error.reason, error.record, error.offset))
    if isinstance(outcomes[0], tuple) and not isinstance(outcomes[0], RecordArrays):
        assert outcomes[0] == outcomes[1]
    else:
        assert_same(outcomes[0], outcomes[1])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": b"n" * 255}, "name"),
        ({"qualities": b"III"}, "differ in length"),
        ({"cigar": [10 << 4 | 9]}, "CIGAR operation"),
        ({"position": 2**31}, "position"),
        ({"position": -2}, "position"),
        ({"mate_position": 2**31}, "mate position"),
        ({"template": 2**31}, "template length"),
        ({"reference": -2}, "reference"),
        ({"flag": 0, "cigar": [3 << 4], "bases": b"ACGT", "qualities": b"IIII"}, "CIGAR and sequence differ in length"),
    ],
)
def test_what_bam_cannot_hold_is_refused(kernels: ModuleType, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(KernelError, match=reason) as caught:
        encode_bam(kernels, one(**changes))
    assert caught.value.record == 0


def test_arrays_that_do_not_fit_are_refused(kernels: ModuleType) -> None:
    body = np.frombuffer(encode_bam(kernels, one()), np.uint8)
    offsets = scan(kernels, body)
    sizes = kernels.bam_measure(body, offsets)
    for k in range(len(sizes)):
        small = RecordArrays.allocate(1, *(size - (j == k) for j, size in enumerate(sizes)))
        with pytest.raises(KernelError, match="too small"):
            kernels.bam_decode(body, offsets, 2, small)
    with pytest.raises(KernelError, match="too small"):
        kernels.bam_decode(body, offsets, 2, RecordArrays.allocate(0, *sizes))
    with pytest.raises(KernelError, match="differ"):
        kernels.bam_encode(one(), np.zeros(500, np.uint8), np.array([0, 50], np.int64))
    with pytest.raises(KernelError, match="outside"):
        kernels.bam_encode(one(), np.zeros(10, np.uint8), np.array([0, len(body)], np.int64))
    broken = one()._replace(name_offsets=np.array([0, 99], np.int64))
    with pytest.raises(KernelError, match="names"):
        kernels.bam_sizes(broken, np.zeros(1, np.int64))


def places_of(kernels: ModuleType, body: Any, references: int) -> list[Any]:
    offsets = scan(kernels, body)
    out = [np.zeros(len(offsets) - 1, dtype) for dtype in (np.uint16, np.int32, np.int64, np.int64)]
    kernels.bam_places(body, offsets, references, *out)
    return out


@given(rows=record_lists)
def test_places_are_those_of_the_decoded_records(kernels: ModuleType, rows: list[Any]) -> None:
    body = np.frombuffer(encode_bam(kernels, from_tuples(rows)), np.uint8)
    records = decode_bam(kernels, body, 3)
    flag, reference_, position, end = places_of(kernels, body, 3)
    np.testing.assert_array_equal(flag, records.flag)
    np.testing.assert_array_equal(reference_, records.reference)
    np.testing.assert_array_equal(position, records.position)
    np.testing.assert_array_equal(end, alignment_ends(to_batch(0, records).alignments()))


@pytest.mark.data
@pytest.mark.parametrize("name", [*REAL, "tricky/tricky.bam", "tricky/long_cigar.bam"])
def test_ends_are_those_of_pysam(data: Path, name: str) -> None:
    _, names, body = read_bam(data / name)
    ends = places_of(_native, body, len(names))[3].tolist()
    with pysam.AlignmentFile(str(data / name), check_sq=False) as bam:
        for read, end in zip(bam, ends, strict=True):
            assert end == (read.reference_end or read.reference_start + 1)


def test_places_outside_of_the_header_are_refused(kernels: ModuleType) -> None:
    body = np.frombuffer(encode_bam(kernels, one()), np.uint8)
    with pytest.raises(KernelError, match="reference is not in the header"):
        places_of(kernels, body, 0)
    damaged = body.copy()
    damaged[8:12] = np.frombuffer(struct.pack("<i", -2), np.uint8)
    with pytest.raises(KernelError, match="position is less than -1"):
        places_of(kernels, damaged, 3)
    with pytest.raises(KernelError, match="differ in number"):
        kernels.bam_places(body, scan(kernels, body), 3, *[np.zeros(2, t) for t in ("u2", "i4", "i8", "i8")])
