"""Binning of qualities: only them, only when asked for, and noted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pysam
import pytest

import agd
from agd.dataset import Dataset
from agd.errors import ColumnError, ConflictError, UsageError, VerificationError
from agd.ops.binning import SCHEMES, bin_qualities, binning_table
from agd.ops.edit import drop_column
from agd.ops.recompress import recompress
from agd.ops.verify import verify
from agd.run import SerialRunner, ThreadRunner


@pytest.fixture(params=["reads", "sorted"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> Dataset:
    """Simulated pairs with many levels, aligned and sorted or not."""
    reads, reference, url = [str(tmp_path / f"R{i}.fq") for i in (1, 2)], str(tmp_path / "ref.fa"), tmp_path / "a.agd"
    agd.simulate(*reads, genome=reference, pairs=150, genome_length=8_000, profile="hiseq")
    agd.import_fastq(*reads, output=str(url), chunk_records=70)
    if request.param == "reads":
        return agd.open(str(url))
    agd.align(agd.open(str(url)), reference, read_group="@RG\tID:s\tSM:s")
    agd.sort(agd.open(str(url)), str(tmp_path / "s.agd"), chunk_records=110)
    return agd.open(str(tmp_path / "s.agd"))


def by_hand(scheme: str, quality: int) -> int:
    """What becomes of a Phred quality, straight from the text of the scheme."""
    for part in scheme.split(","):
        span, value = part.split(":")
        low, _, high = span.partition("-")
        if int(low) <= quality <= int(high or low):
            return int(value)
    return quality


@pytest.mark.parametrize("scheme", [*SCHEMES, "0-9:5,30-93:40", "7:3"])
def test_tables_are_what_the_schemes_say(scheme: str) -> None:
    table = binning_table(scheme)
    text = SCHEMES.get(scheme, scheme)
    assert [int(table[q + 33]) - 33 for q in range(94)] == [by_hand(text, q) for q in range(94)]
    assert (table[:33] == np.arange(33)).all()


def test_published_levels() -> None:
    assert {int(q) - 33 for q in binning_table("illumina-8")[35:]} >= {6, 15, 22, 27, 33, 37, 40}
    assert {int(q) - 33 for q in binning_table("illumina-4")[33:127]} == {2, 12, 23, 37}


@pytest.mark.parametrize("scheme", ["", "illumina-9", "9-2:5", "0-94:1", "0-5:94", "0-9:5,9-12:10", "0-9", "a-b:c"])
def test_what_is_no_scheme_is_refused(dataset: Dataset, scheme: str) -> None:
    with pytest.raises(UsageError):
        bin_qualities(dataset, scheme)
    assert agd.open(dataset.url).manifest.generation == dataset.manifest.generation


@pytest.mark.parametrize("workers", [1, 2])
def test_only_the_qualities_change(dataset: Dataset, workers: int) -> None:
    before, table = dataset[:], binning_table("illumina-8")
    runner = SerialRunner() if workers == 1 else ThreadRunner(workers)
    report = bin_qualities(dataset, "illumina-8", runner=runner)
    now = agd.open(dataset.url)
    after = now[:]
    for name in dataset.columns:
        if name in ("results", "qualities"):
            continue
        np.testing.assert_array_equal(after.ragged(name).values, before.ragged(name).values)
    old, new = before.ragged("qualities"), after.ragged("qualities")
    np.testing.assert_array_equal(new.offsets, old.offsets)
    np.testing.assert_array_equal(new.values, table[old.values])
    assert (report.bases, report.changed) == (len(old.values), int((new.values != old.values).sum()))
    assert (report.levels_before, report.levels_after) == (len(np.unique(old.values)), len(np.unique(new.values)))
    assert report.bytes_after < report.bytes_before
    assert report.generation == now.manifest.generation == dataset.manifest.generation + 1
    # The dataset is whole, says what was done, and the generation before still has what it had.
    assert verify(now, deep=True).problems == ()
    assert now.manifest.steps[-1]["parameters"] == {"scheme": "illumina-8", "table": SCHEMES["illumina-8"]}
    np.testing.assert_array_equal(dataset[:].ragged("qualities").values, old.values)


def test_digest_of_what_is_exported_is_that_of_samtools(dataset: Dataset, tmp_path: Path) -> None:
    bin_qualities(dataset, "illumina-4", command="agd bin x --scheme illumina-4")
    agd.export_bam(agd.open(dataset.url), str(tmp_path / "out.bam"))
    lines = str(pysam.samtools.checksum("-q", "-T", str(tmp_path / "out.bam"))).splitlines()
    row = next(line.split("\t") for line in lines if line.startswith("all"))
    reads = agd.open(dataset.url).manifest.digest["reads"]
    assert row[2:6] == [str(reads["count"]), reads["seq"], reads["name"], reads["qual"]]
    assert "\tCL:agd bin" in str(pysam.samtools.view("-H", str(tmp_path / "out.bam")))


def test_other_records_than_were_imported_are_not_binned(dataset: Dataset) -> None:
    wrong = dict(dataset.manifest.digest)
    wrong["reads"] = wrong["reads"] | {"qual": "00000001"}
    from agd.draft import Draft

    # As it would be after damage that every checksum has missed.
    bad = Draft.extend(dataset, {}, {"operation": "test"}).commit(
        [type(c)(c.first, c.count, {}) for c in dataset.chunks], digest=wrong
    )
    with pytest.raises(VerificationError, match="qual"):
        bin_qualities(bad, "illumina-8")
    assert agd.open(dataset.url).manifest.generation == bad.manifest.generation


def test_columns_that_are_not_there(dataset: Dataset) -> None:
    drop_column(dataset, "qualities")
    with pytest.raises(ColumnError, match="qualities"):
        bin_qualities(agd.open(dataset.url), "illumina-8")


def test_two_binnings_do_not_meet(dataset: Dataset) -> None:
    bin_qualities(dataset, "illumina-8")
    with pytest.raises(ConflictError, match="generation"):
        bin_qualities(dataset, "illumina-4")


def test_qualities_that_are_stored_with_the_help_of_others(dataset: Dataset) -> None:
    if "results" not in dataset.columns:
        pytest.skip("strand needs alignments")
    recompress(dataset, columns=["qualities"], codecs={"qualities": [{"name": "strand"}, {"name": "fqz"}]})
    bin_qualities(agd.open(dataset.url), "illumina-4")
    found = agd.open(dataset.url)
    assert verify(found, deep=True).problems == ()
    assert set(np.unique(found[:].ragged("qualities").values) - 33) <= {2, 12, 23, 37}
