"""Sorting BAM into BAM, against samtools sort."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pysam
import pytest

from agd.batch import Column
from agd.cli import run
from agd.convert import bam_sort
from agd.convert.bam_sort import sort_bam
from agd.errors import InputError, UsageError, VerificationError
from agd.run import Runner, SerialRunner, ThreadRunner
from tests.convert.test_index import parse, same_answers
from tests.support.samtools import samtools
from tests.support.unsorted import ORDERS, random_sam


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bam_sort")
    (folder / "in.sam").write_text(random_sam(600))
    samtools("view", "--no-PG", "-b", "-o", str(folder / "in.bam"), str(folder / "in.sam"))
    return folder / "in.bam"


def lines(path: Path) -> list[str]:
    """Records as text, with the first line of the header and without what programs note of themselves."""
    return [line for line in pysam.samtools.view("-h", "--no-PG", str(path)).splitlines() if line[:3] != "@PG"]


def expected(source: Path, folder: Path, by: str) -> list[str]:
    samtools("sort", "--no-PG", *ORDERS[by], "-o", str(folder / "theirs.bam"), str(source))
    return lines(folder / "theirs.bam")


def same(found: list[str], wanted: list[str]) -> bool:
    """Whether all is the same, but for the order of the fields of @HD."""
    return found[1:] == wanted[1:] and sorted(found[0].split("\t")) == sorted(wanted[0].split("\t"))


def small_pieces(monkeypatch: pytest.MonkeyPatch, records: int, budget: int | None = None, fan_in: int = 512) -> None:
    """Read and write few records at a time; with a budget, go through temporary files."""
    monkeypatch.setattr(bam_sort, "PIECE_RECORDS", records)
    monkeypatch.setattr(bam_sort, "MAX_FAN_IN", fan_in)
    if budget is not None:
        store = bam_sort.RunStore
        monkeypatch.setattr(bam_sort, "RunStore", lambda columns, _, folder: store(columns, budget, folder))


@pytest.mark.parametrize("by", ORDERS)
@pytest.mark.parametrize("runner", [SerialRunner(), ThreadRunner(2)], ids=["serial", "threads"])
@pytest.mark.parametrize("spill", ["", "one pass", "passes"])
def test_records_and_order_are_those_of_samtools(
    by: str, runner: Runner, spill: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_pieces(monkeypatch, 41, 9_000 if spill else None, 2 if spill == "passes" else 512)
    report = sort_bam(str(source), str(tmp_path / "out.bam"), by=by, runner=runner, tmp=str(tmp_path / "spill"))
    assert same(lines(tmp_path / "out.bam"), expected(source, tmp_path, by))
    assert report.records == 600
    assert bool(report.spilled_bytes) == bool(spill)
    assert (report.passes > 1) == (spill == "passes")
    assert not (tmp_path / "spill").exists() or list((tmp_path / "spill").iterdir()) == []
    assert report.bytes_out == (tmp_path / "out.bam").stat().st_size


@pytest.mark.parametrize("csi", [False, True])
def test_index_is_that_of_htslib(csi: bool, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_pieces(monkeypatch, 23)
    report = sort_bam(str(source), str(tmp_path / "out.bam"), csi=csi)
    assert report.index == str(tmp_path / f"out.bam.{'csi' if csi else 'bai'}")
    pysam.index("-c" if csi else "-b", "-o", str(tmp_path / "theirs"), str(tmp_path / "out.bam"))
    assert parse(Path(report.index)) == parse(tmp_path / "theirs")
    same_answers(tmp_path / "out.bam", Path(report.index), tmp_path / "theirs")


def test_bytes_are_the_same_for_any_number_of_workers(source: Path, tmp_path: Path) -> None:
    with ThreadRunner(3) as runner:
        sort_bam(str(source), str(tmp_path / "a.bam"), runner=runner)
    sort_bam(str(source), str(tmp_path / "b.bam"), runner=SerialRunner())
    assert (tmp_path / "a.bam").read_bytes() == (tmp_path / "b.bam").read_bytes()


@pytest.mark.data
@pytest.mark.parametrize(
    "name", ["human_na12878_chr22_dups/NA12878.chr22.s.bam", "tricky/tricky.bam", "tricky/long_cigar.bam",
             "tricky/header_only.bam"]
)  # fmt: skip
@pytest.mark.parametrize("by", ["coordinate", "queryname"])
def test_real_files(name: str, by: str, data: Path, tmp_path: Path) -> None:
    sort_bam(str(data / name), str(tmp_path / "out.bam"), by=by)
    assert same(lines(tmp_path / "out.bam"), expected(data / name, tmp_path, by))


def test_a_file_may_be_sorted_into_itself_and_is_not_touched_before_the_end(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.bam"
    path.write_bytes(source.read_bytes()[:-100])
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"cut short|ends"):
        sort_bam(str(path), str(path))
    assert path.read_bytes() == before
    path.write_bytes(source.read_bytes())
    sort_bam(str(path), str(path), index=False)
    assert same(lines(path), expected(source, tmp_path, "coordinate"))
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".") or p.suffix == ".bai"] == []


def test_other_records_than_were_read_are_never_shown(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gather = bam_sort.gather

    def damaged(parts: Any, order: Any) -> Column:
        column = gather(parts, order)
        column.values[-1] ^= 1
        return column

    monkeypatch.setattr(bam_sort, "gather", damaged)
    with pytest.raises(VerificationError, match="others than were read"):
        sort_bam(str(source), str(tmp_path / "out.bam"))
    assert list(tmp_path.iterdir()) == []


def test_damage_is_told_with_its_record(source: Path, tmp_path: Path) -> None:
    data = bytearray(pysam.BGZFile(str(source), "rb").read())
    text = int.from_bytes(data[4:8], "little")
    at = 8 + text
    at += 4 + sum(8 + len(name) + 1 for name in ("c2", "c1"))
    for _ in range(2):
        at += 4 + int.from_bytes(data[at : at + 4], "little")
    data[at + 4 : at + 8] = (99).to_bytes(4, "little")
    with pysam.BGZFile(str(tmp_path / "bad.bam"), "wb") as file:
        file.write(bytes(data))
    with pytest.raises(InputError, match="reference is not in the header") as caught:
        sort_bam(str(tmp_path / "bad.bam"), str(tmp_path / "out.bam"))
    assert "record 3" in str(caught.value)
    assert not (tmp_path / "out.bam").exists()


def test_what_cannot_be_done_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no order"):
        sort_bam(str(source), str(tmp_path / "out.bam"), by="length")
    with pytest.raises(UsageError, match="coordinate order"):
        sort_bam(str(source), str(tmp_path / "out.bam"), by="queryname", index=True)
    with pytest.raises(UsageError, match="--memory"):
        sort_bam(str(source), str(tmp_path / "out.bam"), memory=1 << 20)


def test_command_line(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out.bam")
    assert run(["sort", str(source), "-o", out, "--by", "queryname", "-l", "1"]) == 0
    assert "600 records by queryname" in capsys.readouterr().err
    assert same(lines(Path(out)), expected(source, tmp_path, "queryname"))
    header = pysam.samtools.view("-H", "--no-PG", out)
    assert "@PG\tID:agd-sort" in header
    assert run(["sort", str(source), "-o", str(tmp_path / "out.agd")]) == 2
    assert "agd import bam" in capsys.readouterr().err
    assert run(["sort", str(source), "-o", out, "--profile", "small"]) == 2
    assert "--profile goes with datasets" in capsys.readouterr().err


def test_standard_input_and_output(source: Path, tmp_path: Path, capfdbinary: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(source.read_bytes())))
    assert run(["sort", "-", "-o", "-"]) == 0
    (tmp_path / "out.bam").write_bytes(capfdbinary.readouterr().out)
    assert same(lines(tmp_path / "out.bam"), expected(source, tmp_path, "coordinate"))


def test_urls(s3_url: str, source: Path, tmp_path: Path) -> None:
    sort_bam(str(source), f"{s3_url}/out.bam")
    sort_bam(f"{s3_url}/out.bam", str(tmp_path / "back.bam"))
    assert same(lines(tmp_path / "back.bam"), expected(source, tmp_path, "coordinate"))


def test_long_records_make_small_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bam_sort, "PIECE_BYTES", 5_000)
    chance = random.Random(3)
    text = ["@SQ\tSN:c\tLN:100000"]
    for i in range(30):
        bases = "".join(chance.choices("ACGT", k=chance.choice([10, 3_000])))
        place = f"r{i}\t0\tc\t{chance.randrange(1, 90_000)}\t60\t{len(bases)}M"
        text.append(f"{place}\t*\t0\t0\t{bases}\t{'F' * len(bases)}")
    (tmp_path / "in.sam").write_text("\n".join(text) + "\n")
    samtools("view", "--no-PG", "-b", "-o", str(tmp_path / "in.bam"), str(tmp_path / "in.sam"))
    report = sort_bam(str(tmp_path / "in.bam"), str(tmp_path / "out.bam"))
    assert report.runs > 5
    assert same(lines(tmp_path / "out.bam"), expected(tmp_path / "in.bam", tmp_path, "coordinate"))


def test_sums_tell_records_apart_in_any_order() -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(0, 256, 300, dtype=np.uint8)
    offsets = np.arange(0, 301, 30, dtype=np.int64)
    a, b = bam_sort._Sum(), bam_sort._Sum()
    a.add(values, offsets)
    for i in rng.permutation(10):
        b.add(values[30 * i : 30 * i + 30], np.array([0, 30]))
    assert a == b
    values[17] ^= 4
    c = bam_sort._Sum()
    c.add(values, offsets)
    assert c != a


def test_a_level_that_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no level 13 of bgzf"):
        sort_bam(str(tmp_path / "none.bam"), str(tmp_path / "o.bam"), level=13)


def test_a_record_that_cannot_be_sorted_is_named_with_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agd.convert.bam_sort.PIECE_RECORDS", 20)
    header = pysam.AlignmentHeader.from_dict({"HD": {"VN": "1.6"}, "SQ": [{"SN": "c", "LN": 10_000}]})
    with pysam.AlignmentFile(str(tmp_path / "x.bam"), "wb", header=header) as file:
        for i in range(50):
            record = pysam.AlignedSegment(header)
            record.query_name, record.flag, record.cigarstring = f"r{i // 2}", 65 if i % 2 else 129, "4M"
            record.reference_id = record.next_reference_id = 0
            record.reference_start = record.next_reference_start = i
            record.query_sequence, record.mapping_quality = "ACGT", 60
            if i != 44:
                record.set_tag("MC", "4M")
            file.write(record)
    with pytest.raises(InputError) as caught:
        sort_bam(tmp_path / "x.bam", tmp_path / "y.bam", by="template-coordinate")
    assert (caught.value.path, caught.value.record) == (str(tmp_path / "x.bam"), 45)
    assert "fixmate" in caught.value.remedy
    assert not (tmp_path / "y.bam").exists()
