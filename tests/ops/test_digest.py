"""Digests of datasets, against samtools checksum."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pysam
import pytest

from agd.convert.bam_in import import_bam
from agd.convert.bam_out import export_bam
from agd.convert.sam_in import import_sam
from agd.convert.sam_out import export_sam
from agd.dataset import Dataset
from agd.draft import Draft
from agd.errors import VerificationError
from agd.manifest import Chunk
from agd.ops.digest import Digest, differences, digest_to_compare
from agd.ops.lines import to_records
from agd.ops.sort import sort

FILES = [
    "human_na12878_chr20/NA12878_S1.chr20.10_10p1mb.bam", "human_na12878_chr22_dups/NA12878.chr22.s.bam",
    "tricky/tricky.bam", "tricky/long_cigar.bam",
]  # fmt: skip

SMALL = """@HD\tVN:1.6
@SQ\tSN:c1\tLN:1000
@RG\tID:a
@RG\tID:b
r1\t99\tc1\t10\t60\t4M\t=\t20\t14\tACGT\tIIII\tRG:Z:a\tNM:i:0
r1\t147\tc1\t20\t60\t4M\t=\t10\t-14\tACGN\tIII#\tRG:Z:a\tNM:i:0
r2\t0\tc1\t30\t10\t3M\t*\t0\t0\tTTT\tIII\tRG:Z:b
r2\t256\tc1\t90\t0\t3M\t*\t0\t0\t*\t*\tRG:Z:b
r3\t4\t*\t0\t0\t*\t*\t0\t0\tGG\tI!
"""


def samtools_rows(path: str | Path, *options: str) -> dict[str, list[str]]:
    """Count and checksums by group, as ``samtools checksum`` prints them."""
    text = str(pysam.samtools.checksum("-T", *options, str(path)))
    rows = [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]
    return {row[0]: [row[2], *(value.zfill(8) for value in row[3:-1])] for row in rows if row[1] == "all"}


def values(row: dict[str, Any], *names: str) -> list[str]:
    return [str(row[name]) for name in names]


@pytest.mark.data
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("chunk_records", [977, 100_000])
def test_digest_of_an_import_is_that_of_samtools(data: Path, tmp_path: Path, name: str, chunk_records: int) -> None:
    report = import_bam(str(data / name), str(tmp_path / "s.agd"), chunk_records=chunk_records)
    check_with_samtools(data / name, dict(report.digest))


def check_with_samtools(path: Path, digest: dict[str, Any]) -> None:
    names = ("count", "seq", "name", "qual")
    reads = samtools_rows(path)
    every = samtools_rows(path, "-F", "0", "-b", "0xff", "-t", "*", "-P", "-C", "-M")["all"]
    assert values(digest["reads"], *names) == reads.pop("all")[:4]
    groups = {group or "-": values(row, *names) for group, row in digest["read_groups"].items()}
    assert groups == {group: row[:4] for group, row in reads.items() if row[0] != "0"}
    if digest["reads"]["count"]:
        assert values(digest["records"], *names, "aux", "pos", "cigar", "mate") == every


def small(folder: Path, text: str = SMALL, name: str = "s", chunk_records: int = 2) -> Dataset:
    (folder / f"{name}.sam").write_text(text)
    url = str(folder / f"{name}.agd")
    import_sam(str(folder / f"{name}.sam"), url, chunk_records=chunk_records)
    return Dataset.open(url)


def test_digest_survives_json_and_adds_up(tmp_path: Path) -> None:
    noted = small(tmp_path).manifest.digest
    assert Digest.from_json(noted).to_json() == noted
    head, records = SMALL.split("r1\t", 1)
    lines = ("r1\t" + records).splitlines(keepends=True)
    total = Digest()
    for i, line in enumerate(reversed(lines)):
        total.add(Digest.from_json(small(tmp_path, head + line, f"part{i}").manifest.digest))
    assert total.to_json() == noted


CHANGES = [
        ("ACGT\tIIII", "ACGA\tIIII", "reads: seq"), ("ACGT\tIIII", "ACGT\tIIIJ", "reads: qual"),
        ("r3\t", "r4\t", "reads: name"), ("NM:i:0", "NM:i:1", "records: aux"), ("c1\t30", "c1\t31", "records: pos"),
        ("3M\t*\t0\t0\tTTT", "2M1I\t*\t0\t0\tTTT", "records: cigar"), ("=\t20", "=\t21", "records: mate"),
        ("r2\t0\tc1", "r2\t16\tc1", "reads: seq"), ("r3\t4\t*\t0\t0\t*\t*\t0\t0\tGG\tI!\n", "", "reads: count"),
    ]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "part"), CHANGES)
def test_every_change_shows(tmp_path: Path, old: str, new: str, part: str) -> None:
    before = small(tmp_path).manifest.digest
    after = small(tmp_path, SMALL.replace(old, new, 1), "other").manifest.digest
    assert any(text.startswith(part) for text in differences(before, Digest.from_json(after)))


@pytest.mark.parametrize("unknown", ["", "qual"])
@pytest.mark.parametrize(("old", "new", "part"), CHANGES)
def test_every_change_shows_in_what_is_compared(tmp_path: Path, old: str, new: str, part: str, unknown: str) -> None:
    noted = small(tmp_path).manifest.digest
    noted["records"].pop(unknown, None)
    found = []
    for i, text in enumerate((SMALL, SMALL.replace(old, new, 1))):
        [batch] = small(tmp_path, text, f"other{i}", 9).batches()
        found.append(digest_to_compare(to_records(batch, "sam"), noted))
    # The reads are taken apart only where all records do not tell as much.
    assert [bool(digest.reads) for digest in found] == [bool(unknown)] * 2
    assert differences(noted, found[0]) == []
    assert differences(noted, found[1])


def test_marks_of_duplicates_do_not_change_it(tmp_path: Path) -> None:
    before = small(tmp_path).manifest.digest
    after = small(tmp_path, SMALL.replace("\t99\t", "\t1123\t"), "other").manifest.digest
    assert before == after


@pytest.mark.parametrize("order", ["coordinate", "queryname"])
def test_sorting_keeps_it(tmp_path: Path, order: str) -> None:
    before = small(tmp_path)
    sort(before, str(tmp_path / "sorted.agd"), by=order)
    after = Dataset.open(str(tmp_path / "sorted.agd"))
    assert after.manifest.digest == before.manifest.digest
    export_sam(after, str(tmp_path / "out.sam"))  # compares the records with the digest


def test_exports_refuse_other_records_than_were_imported(tmp_path: Path) -> None:
    ds = small(tmp_path)
    other = dict(ds.manifest.digest, records=dict(ds.manifest.digest["records"], pos="00000001"))
    changed = Draft.extend(ds, {}, {}).commit(
        [Chunk(c.first, c.count, {}) for c in ds.chunks], digest=other
    )
    assert changed.manifest.digest["records"]["pos"] == "00000001"
    for export, name in ((export_sam, "o.sam"), (export_bam, "o.bam")):
        with pytest.raises(VerificationError, match="records: pos"):
            export(changed, str(tmp_path / name))
        assert not (tmp_path / name).exists()


def test_no_records_have_a_digest_too(tmp_path: Path) -> None:
    noted = small(tmp_path, SMALL.split("r1\t")[0]).manifest.digest
    assert noted["reads"] == {"count": 0, "seq": "00000001", "name": "00000001", "qual": "00000001"}
    np.testing.assert_array_equal(Digest.from_json(noted).all_reads[:4], [0, 1, 1, 1])
