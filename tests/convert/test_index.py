"""Indexes against those of htslib: the same content, and the same answers."""

from __future__ import annotations

import gzip
import random
import shutil
import struct
from pathlib import Path

import numpy as np
import pysam
import pytest

from agd.convert.index import IndexBuilder, bins, csi_depth
from agd.errors import VerificationError


def parse(path: Path) -> tuple[object, ...]:
    """Content of an index without the order of the bins, which htslib takes from its hash table."""
    data = path.read_bytes()
    csi = data[:2] == b"\x1f\x8b"
    if csi:
        data = gzip.decompress(data)
    at = 0

    def take(layout: str) -> tuple[int, ...]:
        nonlocal at
        values = struct.unpack_from("<" + layout, data, at)
        at += struct.calcsize("<" + layout)
        return values

    head: tuple[object, ...] = (data[:4],)
    at = 4
    if csi:
        head += take("iii")
        assert head[-1] == 0
    references = []
    for _ in range(take("i")[0]):
        content = {}
        for _ in range(take("i")[0]):
            name, *loff, count = take("IQi") if csi else take("Ii")
            assert name not in content
            content[name] = (*loff, take(f"{2 * count}Q"))
        references.append((content, None if csi else take(f"{take('i')[0]}Q")))
    unplaced = take("Q") if at < len(data) else (0,)
    assert at == len(data)
    return (*head, references, unplaced)


def build(path: Path, batch: int, csi: bool | None = None) -> IndexBuilder:
    """Our index of a BAM file, from what pysam says of its records."""
    with pysam.AlignmentFile(str(path)) as file:
        builder = IndexBuilder(list(file.lengths), csi)
        rows = []
        start = file.tell()
        for record in file:
            stop = file.tell()
            end = record.reference_end or record.reference_start + 1
            rows.append((record.reference_id, record.reference_start, end, record.flag, start, stop))
            start = stop
    columns = np.array(rows, np.int64).reshape(-1, 6).T
    for low in range(0, len(rows), batch):
        reference, position, end, flag, start, stop = columns[:, low : low + batch]
        builder.add(reference.astype(np.int32), position, end, flag.astype(np.uint16), start, stop)
    return builder


def check(bam: Path, folder: Path, *, csi: bool | None = None, batch: int = 1000) -> None:
    builder = build(bam, batch, csi)
    ours, theirs = folder / f"ours{builder.suffix}", folder / f"theirs{builder.suffix}"
    ours.write_bytes(builder.to_bytes())
    pysam.index(*(["-c"] if builder.csi else ["-b"]), "-o", str(theirs), str(bam))
    assert parse(ours) == parse(theirs)
    same_answers(bam, ours, theirs)


def same_answers(bam: Path, ours: Path, theirs: Path) -> None:
    chance = random.Random(1)
    with (
        pysam.AlignmentFile(str(bam), index_filename=str(ours)) as a,
        pysam.AlignmentFile(str(bam), index_filename=str(theirs)) as b,
    ):
        assert a.get_index_statistics() == b.get_index_statistics()
        assert a.nocoordinate == b.nocoordinate
        used = [row.contig for row in a.get_index_statistics() if row.total]
        for name in used[:20]:
            length = a.get_reference_length(name)
            for _ in range(10):
                start = chance.randrange(length)
                stop = min(length, start + chance.choice([1, 100, 20_000, 10**9]))
                pairs = zip(a.fetch(name, start, stop), b.fetch(name, start, stop), strict=True)
                assert all(x.flag == y.flag and x.query_name == y.query_name for x, y in pairs)
        assert sum(1 for _ in a.fetch("*")) == sum(1 for _ in b.fetch("*")) == a.nocoordinate


def make_bam(path: Path, lengths: list[int], records: int, seed: int, *, level: int = 6, spread: int = 10**9) -> None:
    """A BAM file in coordinate order with mapped, spliced, placed unmapped and unplaced records."""
    chance = random.Random(seed)
    header = {"HD": {"VN": "1.6", "SO": "coordinate"}, "SQ": [{"SN": f"c{i}", "LN": n} for i, n in enumerate(lengths)]}
    places = []
    for _ in range(records):
        reference = chance.choice([*range(len(lengths)), *range(len(lengths)), -1])
        room = min(lengths[reference], spread) - 60 if reference >= 0 else 0
        places.append((reference, chance.randrange(room) if reference >= 0 else -1))
    places.sort(key=lambda place: (place[0] < 0, place))
    with pysam.AlignmentFile(str(path), "wb" if level else "wbu", header=header) as file:
        for number, (reference, position) in enumerate(places):
            record = pysam.AlignedSegment(file.header)
            record.query_name = f"r{number}"
            record.query_sequence = "".join(chance.choices("ACGT", k=40))
            record.query_qualities = pysam.qualitystring_to_array("F" * 40)
            record.reference_id, record.reference_start = reference, position
            record.flag = 0 if reference >= 0 and chance.random() < 0.9 else 4
            if record.flag == 0:
                gap = chance.choice([0, 0, 0, 5, 30_000, 3_000_000])
                gap = min(gap, lengths[reference] - position - 40)
                record.cigartuples = [(0, 20), (3, gap), (0, 20)] if gap > 0 else [(0, 40)]
            file.write(record)


@pytest.mark.parametrize("csi", [False, True])
@pytest.mark.parametrize("batch", [1, 7, 10**6])
@pytest.mark.parametrize(
    ("lengths", "records", "level", "spread"),
    [
        ([100_000], 3000, 6, 10**9), ([5_000_000, 300, 400_000, 20_000_000], 3000, 0, 10**9), ([2**29], 5000, 0, 10**9),
        ([2**29, 1000], 3000, 6, 100_000), ([1000], 0, 6, 10**9), ([3_000_000] * 5, 4, 6, 10**9),
    ],
)  # fmt: skip
def test_same_content_as_htslib(
    tmp_path: Path, lengths: list[int], records: int, level: int, spread: int, batch: int, csi: bool
) -> None:
    if batch == 1:
        records = min(records, 500)
    make_bam(tmp_path / "x.bam", lengths, records, 1, level=level, spread=spread)
    check(tmp_path / "x.bam", tmp_path, csi=csi, batch=batch)


def test_long_references_get_csi(tmp_path: Path) -> None:
    make_bam(tmp_path / "x.bam", [2**29 + 1, 2**31 - 1], 2000, 3)
    assert build(tmp_path / "x.bam", 100).suffix == ".csi"
    check(tmp_path / "x.bam", tmp_path)


def test_real_files(data: Path, tmp_path: Path) -> None:
    names = ("human_na12878_chr20/NA12878_S1.chr20.10_10p1mb.bam", "human_na12878_chr22_dups/NA12878.chr22.s.bam")
    for name, csi in zip(names, (True, False), strict=True):
        bam = tmp_path / "x.bam"
        shutil.copyfile(data / name, bam)
        check(bam, tmp_path, csi=csi, batch=10_007)


def test_no_references(tmp_path: Path) -> None:
    builder = IndexBuilder([])
    nothing = np.zeros(3, int)
    builder.add(np.full(3, -1, np.int32), np.full(3, -1), nothing, np.full(3, 4, np.uint16), nothing, nothing)
    (tmp_path / "x.bai").write_bytes(builder.to_bytes())
    assert parse(tmp_path / "x.bai") == (b"BAI\1", [], (3,))


@pytest.mark.parametrize(
    ("reference", "position"), [([0, 0], [5, 4]), ([1, 0], [1, 1]), ([-1, 0], [-1, 3]), ([0, 7], [1, 1])]
)
def test_records_out_of_order(reference: list[int], position: list[int]) -> None:
    start = np.arange(2) << 16
    rows = [(np.array(reference, np.int32), np.array(position), np.array(position) + 1, np.zeros(2, np.uint16))]
    with pytest.raises(VerificationError):
        IndexBuilder([100, 100]).add(*rows[0], start, start + 1)
    builder = IndexBuilder([100, 100])

    def add(i: int) -> None:
        builder.add(*(column[i : i + 1] for column in rows[0]), start[i : i + 1], start[i : i + 1] + 1)

    if max(reference) < 2:
        add(0)
        with pytest.raises(VerificationError):
            add(1)


def test_bins_of_the_specification() -> None:
    def reg2bin(begin: int, end: int) -> int:
        end -= 1
        for shift, first in ((14, 4681), (17, 585), (20, 73), (23, 9), (26, 1)):
            if begin >> shift == end >> shift:
                return first + (begin >> shift)
        return 0

    chance = random.Random(1)
    begin = np.array([chance.randrange(2**29 - 1) for _ in range(2000)])
    end = np.minimum(begin + np.array([int(2 ** chance.uniform(0, 29)) for _ in begin]), 2**29)
    assert bins(begin, end, 5).tolist() == [reg2bin(*pair) for pair in zip(begin.tolist(), end.tolist(), strict=True)]
    assert [csi_depth(n) for n in (0, 16_128, 16_129, 2**29 - 256, 2**29 - 255, 2**31 - 1)] == [0, 0, 1, 5, 6, 6]
