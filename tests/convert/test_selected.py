"""Export of some of the records, as BAM, SAM and CRAM: those that samtools view prints, with an index."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pysam
import pytest

from agd.cli import run
from agd.convert.bam_in import import_bam
from agd.convert.bam_out import export_bam
from agd.convert.bam_sort import sort_bam
from agd.convert.sam_in import import_sam
from agd.dataset import Dataset
from agd.errors import UsageError
from agd.ops.partition import Partition
from agd.ops.sort import sort

SOURCE = "human_na12878_chr20/NA12878_S1.chr20.10_10p1mb.bam"
REGIONS = ["chr20:10,000,000-10,003,000", "chr20:10,080,001-10,080,500"]


@pytest.fixture(scope="module")
def dataset(data: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("selected")
    import_bam(str(data / SOURCE), str(folder / "s.agd"), chunk_records=5_000)
    sort(Dataset.open(str(folder / "s.agd")), str(folder / "sorted.agd"), chunk_records=5_000)
    return str(folder / "sorted.agd")


@pytest.fixture(scope="module")
def source(data: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("source") / "s.bam")
    pysam.samtools.sort("-o", path, str(data / SOURCE))
    pysam.samtools.index(path)
    return path


def exported(dataset: str, output: Path, *arguments: str) -> list[str]:
    """Lines of an export, as samtools reads it."""
    kind = output.suffix[1:]
    needed = ["--no-reference"] if kind == "cram" else []
    assert run(["export", kind, dataset, *arguments, "-o", str(output), *needed, "--quiet"]) == 0
    return pysam.samtools.view(str(output)).splitlines()


def kept(kind: str, lines: list[str]) -> list[str]:
    """What the format keeps of the lines: CRAM has the tag RG last, and no CIGAR of unmapped records."""
    if kind != "cram":
        return lines
    rows = [line.split("\t") for line in lines]
    for row in rows:
        row[5] = "*" if int(row[1]) & 4 else row[5]
        row[11:] = sorted(row[11:], key=lambda tag: tag.startswith("RG:"))
    return ["\t".join(row) for row in rows]


@pytest.mark.data
@pytest.mark.parametrize("kind", ["bam", "sam", "cram"])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ([], []), (["-f", "PROPER_PAIR", "-F", "0x404", "-q", "30"], ["-f", "2", "-F", "1028", "-q", "30"]),
        (["--expr", "[NM] > 1 and tlen < 0"], ["-e", "[NM] > 1 && tlen < 0"]), (["--rg", "none"], ["-r", "none"]),
    ],
)  # fmt: skip
def test_regions_and_conditions(
    source: str, dataset: str, tmp_path: Path, kind: str, ours: list[str], theirs: list[str]
) -> None:
    expected = pysam.samtools.view(*theirs, "-M", source, *REGIONS).splitlines()
    found = exported(dataset, tmp_path / f"o.{kind}", *REGIONS, *ours)
    assert kept(kind, found) == kept(kind, expected)
    if kind == "sam":
        return
    suffix = {"bam": ".bai", "cram": ".crai"}[kind]
    assert (tmp_path / f"o.{kind}{suffix}").exists()
    part = pysam.samtools.view(str(tmp_path / f"o.{kind}"), "chr20:10,080,100-10,080,200").splitlines()
    expected = pysam.samtools.view(*theirs, source, "chr20:10,080,100-10,080,200").splitlines()
    assert kept(kind, part) == kept(kind, expected)


@pytest.mark.data
def test_csi_when_asked_for(source: str, dataset: str, tmp_path: Path) -> None:
    exported(dataset, tmp_path / "o.bam", "--csi")
    assert not (tmp_path / "o.bam.bai").exists()
    place = "chr20:10,080,100-10,080,200"
    assert pysam.samtools.view(str(tmp_path / "o.bam"), place) == pysam.samtools.view(source, place)


def test_streams_have_no_index(tmp_path: Path) -> None:
    head = "@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:c\tLN:99\n"
    (tmp_path / "s.sam").write_text(head + "r\t0\tc\t5\t9\t4M\t*\t0\t0\tACGT\t*\n")
    import_sam(str(tmp_path / "s.sam"), str(tmp_path / "s.agd"))
    export_bam(Dataset.open(str(tmp_path / "s.agd")), str(tmp_path / "s.bam"))
    words = ["export", "bam", str(tmp_path / "s.agd"), "-o", "/dev/stdout"]
    program = [sys.executable, "-c", "from agd.cli import main; main()"]
    for command in (words, ["export", "cram", *words[2:], "--no-reference"]):
        done = subprocess.run([*program, *command], capture_output=True, check=True)
        (tmp_path / "out").write_bytes(done.stdout)
        assert pysam.samtools.view("-c", str(tmp_path / "out")).strip() == "1"
        assert b"crai" not in done.stderr
        assert b"bai" not in done.stderr
    with pytest.raises(UsageError, match="a stream cannot be written in parts"):
        export_bam(Dataset.open(str(tmp_path / "s.agd")), "/dev/stdout", partition=Partition(1, 1))
    os.mkfifo(tmp_path / "pipe")
    sizes: list[int] = []
    reader = threading.Thread(target=lambda: sizes.append(len((tmp_path / "pipe").read_bytes())))
    reader.start()
    assert sort_bam(str(tmp_path / "s.bam"), str(tmp_path / "pipe")).index == ""
    reader.join()
    assert sizes[0] > 100


def test_csi_without_an_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s.sam").write_text("@SQ\tSN:c\tLN:99\nr\t0\tc\t5\t9\t4M\t*\t0\t0\tACGT\t*\n")
    import_sam(str(tmp_path / "s.sam"), str(tmp_path / "s.agd"))
    words = ["export", "bam", str(tmp_path / "s.agd"), "-o", str(tmp_path / "o.bam"), "--csi"]
    assert run([*words, "--no-index"]) == 2
    assert "CSI is a kind of index" in capsys.readouterr().err
    assert run(words) == 2
    assert "only a file in coordinate order can be indexed" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["bam", "sam", "cram"])
def test_what_is_said_of_the_digest(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s.sam").write_text("@SQ\tSN:c\tLN:99\nr\t0\tc\t5\t9\t4M\t*\t0\t0\tACGT\t*\n")
    url = str(tmp_path / "s.agd")
    import_sam(str(tmp_path / "s.sam"), url)
    words = ["export", kind, url, "-o", str(tmp_path / f"o.{kind}")] + ["--no-reference"] * (kind == "cram")
    assert run(words) == 0
    assert "digest verified" in capsys.readouterr().err
    assert run([*words, "-q", "5"]) == 0
    assert "digest" not in capsys.readouterr().err
    assert run(["column", "drop", url, "bases"]) == 0
    assert Dataset.open(url).manifest.digest == {}
    if kind == "sam":
        assert run([*words, "--json"]) == 0
        assert '"digest": "none"' in capsys.readouterr().out
