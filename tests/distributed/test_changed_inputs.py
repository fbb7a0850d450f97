"""A stopped import of records goes on with the same file only."""

from __future__ import annotations

import os
from pathlib import Path

import pysam
import pytest

import agd
from agd.cli import run
from agd.run import SerialRunner
from agd.storage import open_storage
from agd.testing import FaultyStorage, content_digest, fail_at, wrapped

GENOME = "ACGTTGCAAC" * 30


def write(path: Path, bases: str) -> None:
    """30 records that end with ``bases``; coordinate order, against a reference beside the file."""
    reference = path.with_name("ref.fa")
    if not reference.exists():
        reference.write_text(f">c\n{GENOME}\n")
    lines = "".join(
        f"r{i}\t0\tc\t{i + 1}\t60\t20M\t*\t0\t0\t{GENOME[i : i + 15]}{bases}\t{'I' * 20}\n" for i in range(30)
    )
    sam = path.with_name("text.sam")
    sam.write_text(f"@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:c\tLN:{len(GENOME)}\n{lines}")
    how = {".sam": ("-h",), ".bam": ("-b",), ".cram": ("-C", "-T", str(reference))}[path.suffix]
    pysam.samtools.view("--no-PG", *how, "-o", str(path), str(sam), catch_stdout=False)


def importing(path: Path, output: Path) -> agd.Dataset:
    options = {"reference": str(path.with_name("ref.fa"))} if path.suffix == ".cram" else {}
    verb = getattr(agd, f"import_{path.suffix[1:]}")
    verb(str(path), str(output), chunk_records=10, runner=SerialRunner(), **options)
    return agd.open(str(output))


def stop(path: Path, output: Path) -> dict[str, int]:
    """Import until the disk is full: objects that are stored, and their inodes."""
    rule = fail_at(9, OSError(28, "No space left on device"), operations=("put",))
    with wrapped(lambda storage: FaultyStorage(storage, rule)), pytest.raises(OSError, match="No space"):
        importing(path, output)
    kept = {file.name: file.stat().st_ino for file in output.glob("s-*")}
    assert len(kept) == 7
    return kept


@pytest.mark.parametrize("suffix", ["sam", "bam", "cram"])
def test_a_changed_file_is_refused_and_the_same_one_goes_on(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, output = tmp_path / f"r.{suffix}", tmp_path / "s.agd"
    write(path, "AAAAA")
    expected = content_digest(importing(path, tmp_path / "whole.agd"))
    kept = stop(path, output)
    was, before = path.read_bytes(), path.stat()
    write(path, "CCCCC")
    arguments = ["import", suffix, str(path), "-o", str(output), "-c", "10"]
    arguments += ["--reference", str(tmp_path / "ref.fa")] if suffix == "cram" else []
    assert run(arguments) == 1
    error = capsys.readouterr().err
    assert "they differ in: source" in error
    assert "agd gc --drafts" in error
    assert {file.name: file.stat().st_ino for file in output.glob("s-*")} == kept
    path.write_bytes(was)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    done = importing(path, output)
    assert content_digest(done) == expected
    assert {name: (output / name).stat().st_ino for name in kept} == kept
    assert done.manifest.steps[-1]["parameters"]["source"] == str(path)


def test_a_changed_file_starts_afresh_when_the_rest_is_removed(tmp_path: Path) -> None:
    path, output = tmp_path / "r.bam", tmp_path / "s.agd"
    write(path, "AAAAA")
    stop(path, output)
    write(path, "CCCCC")
    assert run(["gc", str(output), "--drafts"]) == 0
    assert not list(open_storage(output).keys())
    assert content_digest(importing(path, output)) == content_digest(importing(path, tmp_path / "whole.agd"))


def test_another_reference_of_cram_is_refused(tmp_path: Path) -> None:
    path, output = tmp_path / "r.cram", tmp_path / "s.agd"
    write(path, "AAAAA")
    stop(path, output)
    (tmp_path / "ref.fa").write_text(f">c\n{GENOME}\n>d\nACGT\n")
    with pytest.raises(agd.AgdError, match="they differ in: reference"):
        importing(path, output)
