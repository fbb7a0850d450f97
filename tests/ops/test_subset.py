"""Subsets of datasets."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import fsspec
import numpy as np
import pysam
import pytest

import agd
from agd.cli import run
from agd.convert.bam_out import export_bam
from agd.convert.fastq import import_fastq
from agd.convert.sam_in import import_sam
from agd.convert.sam_out import export_sam
from agd.dataset import Dataset
from agd.ops.dedup import clear_duplicates
from agd.ops.edit import drop_column
from agd.ops.verify import verify

HEAD = "@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:c1\tLN:9000\n@RG\tID:a\n@RG\tID:b\n"
LINES = [
    f"r{i // 2}\t{99 if i % 2 == 0 else 147}\tc1\t{10 * i + 1}\t{i % 60}\t4M\t=\t1\t0\tACGT\tIIII"
    f"\tRG:Z:{'ab'[i // 2 % 2]}\n"
    for i in range(200)
]  # fmt: skip


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    (tmp_path / "s.sam").write_text(HEAD + "".join(LINES))
    import_sam(str(tmp_path / "s.sam"), str(tmp_path / "s.agd"), chunk_records=30)
    return Dataset.open(str(tmp_path / "s.agd"))


def taken(folder: Path, *options: str) -> list[str]:
    """Lines of a subset, which is sound and can be exported."""
    assert run(["subset", str(folder / "s.agd"), "-o", str(folder / "o.agd"), "--overwrite", "--quiet", *options]) == 0
    found = Dataset.open(str(folder / "o.agd"))
    assert verify(found, deep=True).problems == ()
    export_bam(found, str(folder / "o.bam"))
    export_sam(found, str(folder / "o.sam"))
    return [line for line in (folder / "o.sam").read_text().splitlines(keepends=True) if not line.startswith("@")]


def test_by_region_flags_and_group(dataset: Dataset, tmp_path: Path) -> None:
    assert taken(tmp_path, "c1:101-150") == LINES[10:15]
    assert taken(tmp_path, "-q", "50", "-f", "READ1") == [x for i, x in enumerate(LINES) if i % 60 >= 50 and i % 2 == 0]
    assert taken(tmp_path, "--rg", "b") == [line for line in LINES if "RG:Z:b" in line]
    assert taken(tmp_path, "--expr", "pos > 1500") == LINES[150:]
    assert taken(tmp_path, "--rg", "none") == []
    header = str(pysam.samtools.view("-H", str(tmp_path / "o.bam")))
    assert header.startswith(HEAD)


def test_by_name(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "names").write_text("r7\nr99\nr1000\n")
    assert taken(tmp_path, "--names", str(tmp_path / "names")) == [*LINES[14:16], *LINES[198:200]]
    (tmp_path / "names").write_text("")
    assert taken(tmp_path, "--names", str(tmp_path / "names")) == []
    (tmp_path / "names").write_bytes(b"r8\r\n\xff\xfe\n")
    assert taken(tmp_path, "--names", str(tmp_path / "names")) == LINES[16:18]
    fsspec.filesystem("memory").pipe_file("/names/list.gz", gzip.compress(b"r9\n"))
    assert taken(tmp_path, "--names", "memory://names/list.gz") == LINES[18:20]


def test_by_names_of_standard_input(dataset: Dataset, tmp_path: Path) -> None:
    words = ["subset", dataset.url, "-o", str(tmp_path / "o.agd"), "--names", "-"]
    subprocess.run([sys.executable, "-c", "from agd.cli import main; main()", *words], input=b"r9\n", check=True)
    assert len(Dataset.open(str(tmp_path / "o.agd"))) == 2


def test_without_names(dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drop_column(dataset, "metadata")
    assert run(["subset", dataset.url, "-o", str(tmp_path / "o.agd"), "--fraction", "0.5"]) == 2
    assert "there is no column 'metadata'" in capsys.readouterr().err


def test_by_chance(dataset: Dataset, tmp_path: Path) -> None:
    one = taken(tmp_path, "--fraction", "0.3", "--seed", "1")
    assert one == taken(tmp_path, "--fraction", "0.3", "--seed", "1")
    assert one != taken(tmp_path, "--fraction", "0.3", "--seed", "2")
    assert 30 < len(one) < 90
    names = [line.split("\t")[0] for line in one]
    assert names[::2] == names[1::2]  # mates stay together
    assert set(one) < set(taken(tmp_path, "--fraction", "0.6", "--seed", "1"))
    assert taken(tmp_path, "--fraction", "0") == []


def test_reads(tmp_path: Path) -> None:
    paths = []
    for mate in (1, 2):
        paths.append(str(tmp_path / f"R{mate}.fq"))
        Path(paths[-1]).write_text("".join(f"@r{i}/{mate} x\nACGTA\n+\nIIII{mate}\n" for i in range(50)))
    import_fastq(*paths, output=str(tmp_path / "s.agd"), chunk_records=20)
    assert run(["subset", str(tmp_path / "s.agd"), "--fraction", "0.5", "-o", str(tmp_path / "o.agd")]) == 0
    found = Dataset.open(str(tmp_path / "o.agd"))
    assert verify(found, deep=True).problems == ()
    assert 10 <= len(found) < 90
    assert len(found) % 2 == 0
    assert found.manifest.pairing == "interleaved"


@pytest.mark.parametrize("workers", [1, 2])
def test_reads_in_pairs_come_with_their_mates(tmp_path: Path, workers: int) -> None:
    paths, bases = [], [["ACGTA", "AC"][i % 3 == 0] for i in range(50)]
    for mate in (1, 2):
        paths.append(str(tmp_path / f"R{mate}.fq"))
        records = (b if mate == 2 else "ACGTA" for b in bases)
        Path(paths[-1]).write_text("".join(f"@r{i}/{mate} x\n{b}\n+\n{'I' * len(b)}\n" for i, b in enumerate(records)))
    import_fastq(*paths, output=str(tmp_path / "s.agd"), chunk_records=20)
    options = ["--threads", str(workers), "--quiet", "--overwrite"]
    command = ["subset", str(tmp_path / "s.agd"), "-o", str(tmp_path / "o.agd"), *options, "-e"]
    assert run([*command, "length >= 3"]) == 0
    found = Dataset.open(str(tmp_path / "o.agd"))
    assert verify(found, deep=True).problems == ()
    names = [name.split(b"/") for name in found[:].ragged("metadata")]
    assert [name[0] for name in names[::2]] == [name[0] for name in names[1::2]]
    assert [name[0] for name in names[::2]] == [b"r%d" % i for i in range(50) if i % 3]
    assert run([*command, "flag & 64"]) == 0
    assert len(Dataset.open(str(tmp_path / "o.agd"))) == 0


def test_all_columns_come_along(dataset: Dataset, tmp_path: Path) -> None:
    agd.append_column(dataset, "score", np.arange(200, dtype=np.float32))
    agd.append_column(agd.open(dataset.url), "label", [f"x{i}" for i in range(200)])
    agd.dedup(agd.open(dataset.url))
    before = agd.open(dataset.url)
    lines = taken(tmp_path, "c1:101-150")
    found = agd.open(str(tmp_path / "o.agd"))
    assert found.columns == before.columns
    for name in ("score", "label", "duplicates"):
        assert list(found[:][name]) == list(before[:][name])[10:15]
    assert lines == LINES[10:15]


def test_marks_can_be_cleared(tmp_path: Path) -> None:
    lines = [line for pair in "ab" for line in (
        f"{pair}\t99\tc1\t11\t60\t4M\t=\t51\t44\tACGT\tIIII\n", f"{pair}\t147\tc1\t51\t60\t4M\t=\t11\t-44\tACGT\tIIII\n"
    )]  # fmt: skip
    (tmp_path / "s.sam").write_text(HEAD + "".join(lines))
    import_sam(str(tmp_path / "s.sam"), str(tmp_path / "s.agd"))
    agd.sort(agd.open(str(tmp_path / "s.agd")), str(tmp_path / "t.agd"))
    (tmp_path / "s.agd").rename(tmp_path / "unsorted.agd")
    (tmp_path / "t.agd").rename(tmp_path / "s.agd")
    agd.dedup(agd.open(str(tmp_path / "s.agd")))
    assert any(int(line.split("\t")[1]) & 1024 for line in taken(tmp_path))
    clear_duplicates(Dataset.open(str(tmp_path / "o.agd")))
    flags = Dataset.open(str(tmp_path / "o.agd"))[:].alignments().flag
    assert not (flags & 1024).any()
