"""Digests of alignments: known once they are made, those of samtools, and carried from step to step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pysam
import pytest

import agd
from agd.aligners.align import align
from agd.aligners.minibwa import Minibwa
from agd.batch import Alignments, Batch
from agd.dataset import Dataset
from agd.draft import Draft
from agd.errors import VerificationError
from agd.manifest import Chunk
from agd.ops.digest import Digest, differences
from agd.ops.edit import drop_column, rename_column
from agd.ops.verify import verify
from agd.pipelines import align_sorted
from agd.run import SerialRunner, ThreadRunner
from tests.support.reads import Read

Make = Callable[..., Dataset]
GROUP = r"@RG\tID:s\tSM:s"
PRODUCTS = ["count", "seq", "name", "qual", "aux", "pos", "cigar", "mate"]


@pytest.fixture
def imported(tmp_path: Path, pairs: list[Read]) -> Make:
    """Imports the reads anew."""
    count = iter(range(10))
    text = b"".join(b"@%s\n%s\n+\n%s\n" % read for read in pairs)
    (tmp_path / "r.fq").write_bytes(text)

    def make(chunk_records: int = 94) -> Dataset:
        url = str(tmp_path / f"i{next(count)}.agd")
        agd.import_fastq(str(tmp_path / "r.fq"), output=url, interleaved=True, chunk_records=chunk_records)
        return Dataset.open(url)

    return make


def samtools(path: Path, *options: str) -> dict[str, Any]:
    """What samtools says of all records of a BAM file."""
    text = str(pysam.samtools.checksum("-T", *options, str(path)))
    (row,) = (line.split("\t") for line in text.splitlines() if line.startswith("all\tall\t"))
    return {name: int(v) if name == "count" else v.zfill(8) for name, v in zip(PRODUCTS, row[2:], strict=False)}


def of_bam(ds: Dataset, folder: Path) -> dict[str, Any]:
    """Digest of the exported records, by samtools."""
    agd.export_bam(ds, str(folder / "x.bam"))
    return samtools(folder / "x.bam", "-F", "0", "-b", "0xff", "-t", "*", "-P", "-C", "-M")


@pytest.mark.parametrize(("workers", "chunk_records"), [(1, 94), (2, 1000)])
def test_alignments_have_the_digest_of_samtools(
    imported: Make, reference: Path, tmp_path: Path, workers: int, chunk_records: int
) -> None:
    ds = imported(chunk_records)
    with ThreadRunner(workers) as runner:
        report = align(ds, str(reference), read_group=GROUP, aligner_args="--secondary", runner=runner)
    assert report.supplementary
    assert report.secondary
    aligned = Dataset.open(ds.url)
    noted, expected = aligned.manifest.digest, of_bam(aligned, tmp_path)
    assert {name: noted[name] for name in ("reads", "read_groups")} == {
        name: ds.manifest.digest[name] for name in ("reads", "read_groups")
    }
    # minibwa does not look at qualities: those of the reads are in the digest of the reads.
    assert noted["records"] == {name: value for name, value in expected.items() if name != "qual"}
    assert verify(aligned, deep=True).problems == ()


def test_steps_carry_it(imported: Make, reference: Path, tmp_path: Path) -> None:
    ds = imported()
    align(ds, str(reference), read_group=GROUP)
    aligned = Dataset.open(ds.url)
    agd.dedup(aligned)
    agd.sort(Dataset.open(ds.url), str(tmp_path / "sorted.agd"))
    ordered = Dataset.open(str(tmp_path / "sorted.agd"))
    assert ordered.manifest.digest == aligned.manifest.digest
    expected = of_bam(ordered, tmp_path)
    agd.cat([ordered, ordered], tmp_path / "twice.agd")
    twice = Dataset.open(str(tmp_path / "twice.agd"))
    assert twice.manifest.digest["records"].keys() == ordered.manifest.digest["records"].keys()
    found = Digest.from_json(dict(twice.manifest.digest, records=of_bam(twice, tmp_path)))
    assert differences(twice.manifest.digest, found) == []
    agd.dedup(aligned, column="marks", remove=str(tmp_path / "unique.agd"))
    unique = Dataset.open(str(tmp_path / "unique.agd"))
    assert len(unique) <= len(aligned)
    assert unique.manifest.digest["records"] == of_bam(unique, tmp_path)
    align_sorted(imported(), str(reference), tmp_path / "fused.agd", read_group=GROUP)
    fused = Dataset.open(str(tmp_path / "fused.agd"))
    assert fused.manifest.digest["records"] == expected == of_bam(fused, tmp_path)


def test_a_stopped_run_has_the_same(imported: Make, reference: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = imported()
    align(whole, str(reference))
    ds = imported()

    original = Minibwa.align_batch

    def stopping(self: Minibwa, batch: Batch) -> Any:
        if batch.first >= 600:
            raise KeyboardInterrupt
        return original(self, batch)

    monkeypatch.setattr(Minibwa, "align_batch", stopping)
    with pytest.raises(KeyboardInterrupt):
        align(ds, str(reference), runner=SerialRunner())
    monkeypatch.undo()
    report = align(ds, str(reference))
    assert report.resumed
    assert Dataset.open(ds.url).manifest.digest == Dataset.open(whole.url).manifest.digest


def test_other_alignments_are_not_exported(imported: Make, reference: Path, tmp_path: Path) -> None:
    ds = imported()
    align(ds, str(reference))
    aligned = Dataset.open(ds.url)

    def shifted(a: Alignments) -> Alignments:
        return a.replace(position=np.where(a.position > 0, a.position - 1, a.position))

    draft = Draft.extend(aligned, {"results": aligned.manifest.columns["results"]}, {"x": 1}, replace=True)
    chunks = [
        Chunk(c.first, c.count, {"results": draft.write("results", c.first, shifted(aligned.read(c).alignments()))})
        for c in aligned.chunks
    ]
    wrong = draft.commit(chunks)
    assert any("records: pos" in str(p) for p in verify(wrong, deep=True).problems)
    for export, name in ((agd.export_bam, "o.bam"), (agd.export_sam, "o.sam")):
        with pytest.raises(VerificationError, match="records: pos"):
            export(wrong, str(tmp_path / name))
        assert list(tmp_path.glob("o.*")) == []


def test_dropped_columns_take_their_products_along(imported: Make, reference: Path) -> None:
    ds = imported()
    align(ds, str(reference))
    before = Dataset.open(ds.url).manifest.digest
    no_names = rename_column(Dataset.open(ds.url), "metadata", "labels").manifest.digest
    assert no_names["records"] == {k: v for k, v in before["records"].items() if k != "name"}
    assert set(no_names["reads"]) == set(before["reads"]) - {"name"}
    assert verify(Dataset.open(ds.url), deep=True).problems == ()
    no_qualities = drop_column(Dataset.open(ds.url), "qualities")
    assert set(no_qualities.manifest.digest["reads"]) == {"count", "seq"}
    assert verify(no_qualities, deep=True).problems == ()
    for name in [n for n in reversed(no_qualities.columns) if n.startswith("secondary")]:
        drop_column(Dataset.open(ds.url), name)
    last = drop_column(Dataset.open(ds.url), "results").manifest.digest
    assert "records" not in last
    assert last["reads"] == no_qualities.manifest.digest["reads"]
