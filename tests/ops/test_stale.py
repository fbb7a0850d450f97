"""Steps on an older generation: what they read must still be what the newest one holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import agd
from agd.dataset import Dataset
from agd.errors import ConflictError, UsageError
from agd.ops.binning import bin_qualities
from agd.ops.dedup import dedup
from agd.ops.finalise import finalise
from agd.ops.fixmate import fixmate
from agd.ops.partition import Partition
from agd.ops.recompress import recompress
from agd.ops.verify import verify
from agd.run import SerialRunner


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    reads = [str(tmp_path / f"R{i}.fq") for i in (1, 2)]
    agd.simulate(*reads, genome=str(tmp_path / "ref.fa"), pairs=60, genome_length=4_000, profile="hiseq")
    agd.import_fastq(*reads, output=str(tmp_path / "a.agd"), chunk_records=50)
    agd.align(agd.open(str(tmp_path / "a.agd")), str(tmp_path / "ref.fa"))
    agd.collate(agd.open(str(tmp_path / "a.agd")), str(tmp_path / "c.agd"), chunk_records=50)
    return tmp_path


def align_again(url: Path, reference: Path) -> None:
    agd.align(agd.open(str(url)), str(reference), aligner_args="--min-seed 40", overwrite=True)


STEPS: dict[str, Callable[[Dataset], Any]] = {
    "recompress": lambda ds: recompress(ds, columns=["qualities"], profile="small"),
    "fixmate": lambda ds: fixmate(ds),
    "bin": lambda ds: bin_qualities(ds, "illumina-8"),
}


@pytest.mark.parametrize("step", STEPS)
def test_replaced_qualities_do_not_come_back(folder: Path, step: str) -> None:
    old = agd.open(str(folder / "c.agd"))
    bin_qualities(agd.open(old.url), "illumina-4")
    newest = agd.open(old.url)
    with pytest.raises(ConflictError, match=r"'qualities' of generation 1.*generation 2"):
        STEPS[step](old)
    after = agd.open(old.url)
    assert after.manifest.generation == newest.manifest.generation
    assert verify(after, deep=True).problems == ()
    STEPS[step](after)
    assert verify(agd.open(old.url), deep=True).problems == ()


def test_marks_of_alignments_that_were_replaced(folder: Path) -> None:
    old = agd.open(str(folder / "a.agd"))
    align_again(folder / "a.agd", folder / "ref.fa")
    with pytest.raises(ConflictError, match="'results'"):
        dedup(old)
    dedup(agd.open(old.url))
    assert verify(agd.open(old.url), deep=True).problems == ()


def test_an_older_generation_with_the_same_columns_will_do(folder: Path) -> None:
    old = agd.open(str(folder / "a.agd"))
    agd.append_column(agd.open(old.url), "score", [1.0] * len(old))
    dedup(old)
    assert {"score", "duplicates"} <= set(agd.open(old.url).columns)


def test_parts_of_alignments_that_were_replaced_before_they_were_joined(folder: Path) -> None:
    dataset = agd.open(str(folder / "a.agd"))
    for number in (1, 2):
        dedup(dataset, partition=Partition(number, 2), runner=SerialRunner())
    align_again(folder / "a.agd", folder / "ref.fa")
    with pytest.raises(UsageError, match="changed since the parts were run"):
        finalise(dataset.storage)


def test_what_was_replaced_while_the_step_ran(folder: Path) -> None:
    """The look at the beginning does not see it; the one at publishing does."""
    dataset = agd.open(str(folder / "a.agd"))

    class Meanwhile(SerialRunner):
        done = False

        def map(self, *args: Any, **options: Any) -> Any:
            if not self.done:
                self.done = True
                align_again(folder / "a.agd", folder / "ref.fa")
            return super().map(*args, **options)

    with pytest.raises(ConflictError, match="'results'"):
        dedup(dataset, runner=Meanwhile())
    after = agd.open(dataset.url)
    assert "duplicates" not in after.columns
    assert verify(after, deep=True).problems == ()
