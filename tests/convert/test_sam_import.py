"""Import of SAM: what is no SAM text is named, with what to do, and nothing is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from agd.convert.sam_in import import_sam
from agd.errors import InputError

LINE = "r1\t4\t*\t0\t0\t*\t*\t0\t0\tACGT\tIIII\n"


@pytest.mark.parametrize(
    ("data", "reason", "remedy"),
    [
        (b"", "there is nothing in it", "the program that wrote it"),
        (b"BAM\x01\0\0\0\0\0\0\0\0", "this is a BAM file", "agd import bam"),
        (b"CRAM\x03\0\0\0\0\0", "this is a CRAM file", "agd import cram"),
        (b"@r1\nACGT\n+\nIIII\n", "fewer than 11 fields", "FASTQ"),
        (b"@HD\tVN:1.6\n" + LINE.encode() + b"r2\t4\n", "fewer than 11 fields", "mend that line"),
    ],
)
def test_no_sam_text(tmp_path: Path, data: bytes, reason: str, remedy: str) -> None:
    (tmp_path / "in.sam").write_bytes(data)
    with pytest.raises(InputError, match=reason) as caught:
        import_sam(str(tmp_path / "in.sam"), str(tmp_path / "s.agd"))
    assert remedy in caught.value.remedy
    assert not (tmp_path / "s.agd").exists()


def test_a_name_like_a_magic(tmp_path: Path) -> None:
    (tmp_path / "in.sam").write_text(LINE.replace("r1", "CRAM1"))
    assert import_sam(str(tmp_path / "in.sam"), str(tmp_path / "s.agd")).records == 1
