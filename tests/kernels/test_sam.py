"""SAM text to arrays and back, against samtools and the specification."""

from __future__ import annotations

import struct
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.errors import KernelError
from agd.kernels import _native, reference
from agd.kernels.records import RecordArrays
from tests.kernels.sam_records import (
    assert_same,
    decode_bam,
    encode_bam,
    format_sam,
    from_tuples,
    parse_sam,
    read_bam,
    record_lists,
    references,
)

NAMES = ["chr1", "chr2", "HLA-A*01:01:01:01"]
HEADER = "@HD\tVN:1.6\n" + "".join(f"@SQ\tSN:{name}\tLN:2147483647\n" for name in NAMES)
REAL = ["human_na12878_chr20/NA12878_S1.chr20.10_10p1mb.bam", "human_na12878_chr22_dups/NA12878.chr22.s.bam"]
GOOD = b"read\t99\tchr1\t101\t60\t4M\t=\t201\t150\tACGT\tIIII\tNM:i:1"


def array(text: bytes) -> Any:
    return np.frombuffer(text, np.uint8)


def line(**changes: bytes) -> bytes:
    """The good line with some of its columns exchanged."""
    names = ["name", "flag", "reference", "position", "quality", "cigar", "mate", "mate_position", "template", "bases",
             "qualities", "tags"]  # fmt: skip
    columns = [changes.get(name, column) for name, column in zip(names, GOOD.split(b"\t"), strict=True)]
    return b"\t".join(columns) + b"\n"


def through_samtools(text: bytes, folder: Path, *options: str) -> bytes:
    path = folder / "in.sam"
    path.write_bytes(text)
    out = pysam.samtools.view("--no-PG", *options, str(path))
    return out.encode() if isinstance(out, str) else bytes(out)


def as_bam(text: bytes, folder: Path) -> bytes:
    path = folder / "in.sam"
    path.write_bytes(text)
    pysam.samtools.view("--no-PG", "-b", "-o", str(folder / "out.bam"), str(path), catch_stdout=False)
    return read_bam(folder / "out.bam").body.tobytes()


def body_of(text: bytes) -> bytes:
    """What follows the header lines."""
    return b"".join(part for part in text.splitlines(keepends=True) if not part.startswith(b"@"))


@given(rows=record_lists)
def test_records_survive_text(kernels: ModuleType, rows: list[Any]) -> None:
    records = from_tuples(rows)
    text = format_sam(kernels, records, NAMES)
    assert text.count(b"\n") == len(rows)
    assert_same(parse_sam(kernels, text, NAMES), records)


@given(rows=record_lists)
def test_both_kernels_write_the_same_text(rows: list[Any]) -> None:
    records = from_tuples(rows)
    assert format_sam(_native, records, NAMES) == format_sam(reference, records, NAMES)


@given(rows=record_lists)
def test_samtools_prints_the_same_text(rows: list[Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("sam")
    rows = [(*row[:11], drop_long_floats(row[11])) for row in rows]
    text = format_sam(_native, from_tuples(rows), NAMES)
    # samtools treats records without place or CIGAR as unmapped: only flag 4 and the references change.
    ours = [part.split(b"\t") for part in text.splitlines()]
    theirs = [part.split(b"\t") for part in through_samtools(HEADER.encode() + text, folder).splitlines()]
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        placed = mine[2] != b"*" and mine[3] != b"0"
        mate_placed = mine[6] != b"*" and mine[7] != b"0"
        assert int(other[1]) == int(mine[1]) | (4 if mine[5] == b"*" or not placed else 0)
        if placed and mate_placed:
            assert other[2] == mine[2]
            assert other[6] == mine[6]
        assert other[:1] + other[3:6] + other[7:] == mine[:1] + mine[3:6] + mine[7:]


def drop_long_floats(tags: bytes) -> bytes:
    """Without floats that samtools would round."""
    kept = []
    for field in reference.tags.fields(tags, 0, 0):
        text = reference.sam.format_field(field).decode()
        values = text[5:].split(",")[text[3] == "B" :] if text[3] == "f" or text[3:6] == "B:f" else []
        if all(f"{float(value):g}" == value for value in values):
            kept.append(field)
    return b"".join(kept)


@pytest.mark.data
@pytest.mark.parametrize("name", ["tricky.sam", "long_cigar.sam", "no_header_unmapped.sam"])
def test_tricky_text_comes_back_byte_for_byte(kernels: ModuleType, data: Path, name: str) -> None:
    text = (data / "tricky" / name).read_bytes()
    names = [part.split("\t")[1][3:] for part in text.decode().splitlines() if part.startswith("@SQ")]
    expected = body_of(text)
    if name == "tricky.sam":  # the mate of a record on the same reference is always written as "="
        expected = expected.replace(b"\tchr2\t900\t30\t60H40M\tchr2\t777\t", b"\tchr2\t900\t30\t60H40M\t=\t777\t")
    assert format_sam(kernels, parse_sam(kernels, expected, names), names) == expected


@pytest.mark.data
@pytest.mark.parametrize("name", ["tricky", "long_cigar"])
def test_tricky_text_becomes_the_bam_of_samtools(kernels: ModuleType, data: Path, name: str) -> None:
    text = body_of((data / "tricky" / f"{name}.sam").read_bytes())
    _, names, body = read_bam(data / "tricky" / f"{name}.bam")
    # htslib sets flag 4 where a mapped read has no CIGAR; the arrays hold what is written.
    text = text.replace(b"cigar_star_mapped\t0\t", b"cigar_star_mapped\t4\t")
    assert encode_bam(kernels, parse_sam(kernels, text, names)) == body.tobytes()


@pytest.mark.data
@pytest.mark.parametrize("name", REAL)
def test_real_files_as_text_and_back(data: Path, name: str) -> None:
    _, names, body = read_bam(data / name)
    records = decode_bam(_native, body, len(names))
    text = format_sam(_native, records, names)
    printed = pysam.samtools.view(str(data / name))
    assert text == (printed.encode() if isinstance(printed, str) else bytes(printed))
    parsed = parse_sam(_native, text, names)
    assert format_sam(_native, parsed, names) == text
    for field in RecordArrays._fields[:15]:  # integer tags may have been wider than they need to be
        np.testing.assert_array_equal(getattr(parsed, field), getattr(records, field))
    few = b"".join(text.splitlines(keepends=True)[:200])
    assert_same(parse_sam(reference, few, names), parse_sam(_native, few, names))


@given(rows=record_lists.filter(len), final_newline=st.booleans(), crlf=st.booleans())
def test_line_ends(kernels: ModuleType, rows: list[Any], final_newline: bool, crlf: bool) -> None:
    text = format_sam(_native, from_tuples(rows), NAMES)
    expected = parse_sam(kernels, text, NAMES)
    changed = text.replace(b"\n", b"\r\n" if crlf else b"\n")
    changed = changed if final_newline else changed.rstrip(b"\r\n")
    assert_same(parse_sam(kernels, changed, NAMES), expected)


@given(rows=record_lists.filter(len), cut=st.integers(1, 60), room=st.integers(0, 6))
def test_what_is_incomplete_is_left(kernels: ModuleType, rows: list[Any], cut: int, room: int) -> None:
    text = format_sam(_native, from_tuples(rows), NAMES)
    part = text[:-cut]
    room = min(room, len(rows))
    records = RecordArrays.allocate(room, *kernels.sam_capacity(array(text))[1:])
    count, consumed, *_ = kernels.sam_parse(array(part), *references(NAMES), records, False)
    assert count == min(room, part.count(b"\n"))
    assert consumed == sum(map(len, text.splitlines(keepends=True)[:count]))


@pytest.mark.parametrize(
    ("text", "binary"),
    [
        (b"XX:i:-1", b"c\xff"), (b"XX:i:-128", b"c\x80"), (b"XX:i:-129", b"s\x7f\xff"), (b"XX:i:+7", b"C\x07"),
        (b"XX:i:255", b"C\xff"), (b"XX:i:256", b"S\x00\x01"), (b"XX:i:65536", b"I\x00\x00\x01\x00"),
        (b"XX:i:-32769", b"i\xff\x7f\xff\xff"), (b"XX:i:4294967295", b"I\xff\xff\xff\xff"), (b"XX:i:007", b"C\x07"),
        (b"XX:A:~", b"A~"), (b"XX:Z:", b"Z\0"), (b"XX:Z: a b ", b"Z a b \0"), (b"XX:Z:\xc2\xb5", b"Z\xc2\xb5\0"),
        (b"XX:H:", b"H\0"), (b"XX:H:1aE3", b"H1aE3\0"),
        (b"XX:f:1.5", b"f" + struct.pack("<f", 1.5)), (b"XX:f:-.5e1", b"f" + struct.pack("<f", -5)),
        (b"XX:f:1e999", b"f" + struct.pack("<f", np.inf)), (b"XX:f:+1.", b"f" + struct.pack("<f", 1)),
        (b"XX:B:c", b"Bc\0\0\0\0"), (b"XX:B:c,-128,127", b"Bc\2\0\0\0\x80\x7f"),
        (b"XX:B:I,4294967295", b"BI\1\0\0\0\xff\xff\xff\xff"),
        (b"XX:B:f,1,-2", b"Bf\2\0\0\0" + struct.pack("<ff", 1, -2)),
    ],
)  # fmt: skip
def test_tags_become_what_samtools_makes_of_them(
    kernels: ModuleType, text: bytes, binary: bytes, tmp_path: Path
) -> None:
    records = parse_sam(kernels, line(tags=text), NAMES)
    assert records.tags.tobytes() == b"XX" + binary
    assert as_bam(HEADER.encode() + line(tags=text), tmp_path).endswith(b"XX" + binary)


#: the line, the column where the error is, and what it says
BAD = [
    (b"read\n", 0, "fewer than 11"),
    (b"\n", 0, "fewer than 11"),
    (b"\t".join(GOOD.split(b"\t")[:10]) + b"\n", 9, "fewer than 11"),
    (b"\t".join(GOOD.split(b"\t")[:5]) + b"\n", 4, "fewer than 11"),
    (line(name=b""), 0, "QNAME"), (line(name=b"n" * 255), 0, "QNAME"), (line(name=b"a b"), 0, "QNAME"),
    (line(name=b"@SQ"), 0, "header"), (line(name=b"a\xc2\xb5"), 0, "QNAME"),
    (line(flag=b"65536"), 1, "FLAG"), (line(flag=b""), 1, "FLAG"), (line(flag=b"-1"), 1, "FLAG"),
    (line(flag=b"0x10"), 1, "FLAG"), (line(flag=b"99999999999999999999999"), 1, "FLAG"),
    (line(reference=b"chr3"), 2, "RNAME"), (line(reference=b""), 2, "RNAME"), (line(reference=b"="), 2, "RNAME"),
    (line(position=b"-1"), 3, "POS"), (line(position=b"1.5"), 3, "POS"),
    (line(position=b"4611686018427387904"), 3, "POS"),
    (line(quality=b"256"), 4, "MAPQ"), (line(quality=b"*"), 4, "MAPQ"),
    (line(cigar=b""), 5, "CIGAR"), (line(cigar=b"4"), 5, "CIGAR"), (line(cigar=b"M"), 5, "CIGAR"),
    (line(cigar=b"4B"), 5, "CIGAR"), (line(cigar=b"268435456M"), 5, "CIGAR"), (line(cigar=b"4M*"), 5, "CIGAR"),
    (line(cigar=b"5M"), 5, "differ in length"), (line(cigar=b"4M1S"), 5, "differ in length"),
    (line(flag=b"4", cigar=b"2M"), 5, "differ in length"), (line(cigar=b"00000000004M"), 5, "CIGAR"),
    (line(mate=b"chrX"), 6, "RNEXT"), (line(mate_position=b"x"), 7, "PNEXT"), (line(template=b"1-"), 8, "TLEN"),
    (line(template=b"--1"), 8, "TLEN"), (line(template=b"+1"), 8, "TLEN"),
    (line(bases=b""), 5, "differ in length"),
    (line(bases=b"AC T"), 9, "SEQ"), (line(bases=b"AC-T"), 9, "SEQ"), (line(bases=b"AC\0T"), 9, "SEQ"),
    (line(qualities=b"III"), 10, "QUAL"), (line(qualities=b"IIIII"), 10, "QUAL"), (line(qualities=b"II I"), 10, "QUAL"),
    (line(qualities=b"II\x7fI"), 10, "QUAL"), (line(bases=b"*", cigar=b"*"), 10, "QUAL"),
    (line(tags=b"NM:i"), 11, "form"), (line(tags=b"N:i:1"), 11, "form"), (line(tags=b"1M:i:1"), 11, "form"),
    (line(tags=b"NM:i:1\t\tXX:i:1"), 12, "form"), (line(tags=b"NM:q:1"), 11, "type"),
    (line(tags=b"NM:c:1"), 11, "type"),
    (line(tags=b"XX:i:"), 11, "integer"), (line(tags=b"XX:i:1x"), 11, "integer"),
    (line(tags=b"XX:i:- 1"), 11, "integer"),
    (line(tags=b"XX:i:4294967296"), 11, "integer"), (line(tags=b"XX:i:-2147483649"), 11, "integer"),
    (line(tags=b"XX:i:99999999999999999999999"), 11, "integer"), (line(tags=b"XX:i:+-1"), 11, "integer"),
    (line(tags=b"XX:A:"), 11, "type A"), (line(tags=b"XX:A:ab"), 11, "type A"), (line(tags=b"XX:A: "), 11, "type A"),
    (line(tags=b"XX:Z:a\x01"), 11, "type Z"), (line(tags=b"XX:H:ABC"), 11, "type H"),
    (line(tags=b"XX:H:0G"), 11, "type H"),
    (line(tags=b"XX:f:"), 11, "number"), (line(tags=b"XX:f:1,5"), 11, "number"), (line(tags=b"XX:f: 1"), 11, "number"),
    (line(tags=b"XX:f:1e"), 11, "number"), (line(tags=b"XX:f:+-1"), 11, "number"),
    (line(tags=b"XX:f:0x1p3"), 11, "number"),
    (line(tags=b"XX:B:"), 11, "type B"), (line(tags=b"XX:B:q,1"), 11, "type B"), (line(tags=b"XX:B:c1"), 11, "type B"),
    (line(tags=b"XX:B:c,"), 11, "integer"), (line(tags=b"XX:B:c,128"), 11, "integer"),
    (line(tags=b"XX:B:C,-1"), 11, "integer"),
    (line(tags=b"XX:B:S,65536"), 11, "integer"), (line(tags=b"XX:B:f,1,"), 11, "number"),
    (line(tags=b"XX:B:i,1.5"), 11, "integer"),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "column", "reason"), BAD)
def test_bad_lines_are_refused_with_their_place(kernels: ModuleType, bad: bytes, column: int, reason: str) -> None:
    with pytest.raises(KernelError, match=reason) as caught:
        parse_sam(kernels, line() + bad + line(), NAMES)
    assert caught.value.record == 1
    assert caught.value.offset == len(line()) + sum(len(part) + 1 for part in bad.split(b"\t")[:column])


def test_samtools_refuses_lengths_that_differ(tmp_path: Path) -> None:
    for bad in (line(cigar=b"5M"), line(flag=b"4", cigar=b"2M"), line(qualities=b"III")):
        with pytest.raises(pysam.SamtoolsError):
            as_bam(HEADER.encode() + bad, tmp_path)


def test_what_is_tolerated(kernels: ModuleType, tmp_path: Path) -> None:
    text = (
        line(bases=b"", qualities=b"", cigar=b"*")  # as some aligners write empty reads
        + line(bases=b"A", qualities=b"*", cigar=b"1M")
        + line(position=b"4611686018427387903", mate_position=b"3000000000")
        + line(tags=b"NM:i:1\t")
        + line(name=b"*", cigar=b"0M4=", flag=b"65535")
    )
    records = parse_sam(kernels, text, NAMES)
    assert np.diff(records.base_offsets).tolist() == [0, 1, 4, 4, 4]
    assert np.diff(records.quality_offsets).tolist() == [0, 0, 4, 4, 4]
    assert records.position.tolist()[2] == 2**62 - 2
    assert np.diff(records.name_offsets).tolist() == [4, 4, 4, 4, 0]
    assert records.tags.tobytes() == b"NMC\x01" * 5
    assert through_samtools(HEADER.encode() + text, tmp_path).count(b"\n") == 5


def test_capacity_holds_whatever_grows_most(kernels: ModuleType) -> None:
    tags = b"\t".join([b"XX:B:f,1", b"XY:B:I,0,0,0,0", b"XZ:d:1", b"XA:B:c", b"XB:f:1"])
    text = line(cigar=b"1M1I1X1=", tags=tags)
    records, names, cigar, bases, qualities, size = kernels.sam_capacity(array(text))
    assert (records, names, cigar, bases, qualities) == (1, 4, 4, 4, 4)
    assert size >= len(parse_sam(kernels, text, NAMES).tags)
    assert kernels.sam_capacity(array(b"")) == (0, 0, 0, 0, 0, 0)


def test_too_little_room_is_an_error(kernels: ModuleType) -> None:
    text = array(line(tags=b"NM:i:1\tXX:Z:abc"))
    full = parse_sam(kernels, text.tobytes(), NAMES)
    sizes = [len(full.names), len(full.cigar), len(full.bases), len(full.qualities), len(full.tags)]
    for k in range(5):
        small = RecordArrays.allocate(1, *(size - (j == k) for j, size in enumerate(sizes)))
        with pytest.raises(KernelError, match="too small"):
            kernels.sam_parse(text, *references(NAMES), small, True)
    bound = kernels.sam_format_bound(full, *references(NAMES))
    with pytest.raises(KernelError, match="sam_format_bound"):
        kernels.sam_format(full, *references(NAMES), np.zeros(len(text) - 1, np.uint8))
    assert bound >= len(text)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"names": array(b"re\td")}, "name"),
        ({"bases": array(b"A\nCG")}, "bases"),
        ({"qualities": array(b"II\tI")}, "qualities"),
        ({"qualities": array(b"II I")}, "qualities"),
        ({"quality_offsets": np.array([0, 3], np.int64)}, "differ in length"),
        ({"cigar": np.array([4 << 4 | 9], np.uint32)}, "CIGAR"),
        ({"reference": np.array([3], np.int32)}, "reference"),
        ({"mate_reference": np.array([-2], np.int32)}, "reference"),
        ({"tags": array(b"NMZ\n\0"), "tag_offsets": np.array([0, 5], np.int64)}, "control character"),
        ({"tags": array(b"NMq\1")}, "tags"),
    ],
)
def test_what_text_cannot_hold_is_refused(kernels: ModuleType, changes: dict[str, Any], reason: str) -> None:
    records = parse_sam(kernels, line(), NAMES)._replace(**changes)
    with pytest.raises(KernelError, match=reason) as caught:
        format_sam(kernels, records, NAMES)
    assert caught.value.record == 0


real_numbers = st.floats(width=32)


@given(values=st.lists(real_numbers, min_size=1, max_size=20))
def test_floats_come_back_and_are_short(kernels: ModuleType, values: list[float]) -> None:
    tags = b"XXBf" + struct.pack(f"<I{len(values)}f", len(values), *values)
    records = from_tuples([(0, -1, -1, 0, -1, -1, 0, b"x", [], b"", b"", tags)])
    texts = format_sam(kernels, records, NAMES).decode().rstrip("\n").split("XX:B:f,")[1].split(",")
    for value, text in zip(values, texts, strict=True):
        if value == value:
            assert np.float32(text) == np.float32(value)
            if np.float32(f"{value:g}") == np.float32(value):
                assert text == f"{value:g}"
            if np.isfinite(value):
                assert len(Decimal(text).normalize().as_tuple().digits) <= 9


awkward = st.sampled_from(b"\t\n\r\0:,*=-+.0129AISZBfic@ \xff")
damage = st.lists(st.tuples(st.integers(0, 10**6), awkward), min_size=1, max_size=5)
SAMPLE = line(tags=b"NM:i:1\tXX:B:c,1,-2\tXZ:Z:t\tXF:f:1.5") + line(cigar=b"1S2M1I3H", tags=b"XA:A:c\tXH:H:0A")


@given(places=damage)
def test_both_kernels_judge_damage_alike(places: list[tuple[int, int]]) -> None:
    text = bytearray(SAMPLE)
    for at, byte in places:
        text[at % len(text)] = byte
    outcomes: list[Any] = []
    for kernels in (_native, reference):
        try:
            outcomes.append(parse_sam(kernels, bytes(text), NAMES))
        except KernelError as error:
            outcomes.append(error)
    if isinstance(outcomes[0], KernelError):
        assert str(outcomes[0]) == str(outcomes[1])
    else:
        assert_same(outcomes[0], outcomes[1])
