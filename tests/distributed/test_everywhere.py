"""The same result from one thread, many threads, other processes, and parts, for every verb that has them."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("distributed")

import agd
from agd.aligners.align import align
from agd.convert.sam_out import count_records
from agd.dataset import Dataset
from agd.ops.depth import depths, runs, whole_references
from agd.ops.finalise import finalise
from agd.ops.partition import Partition
from agd.ops.recompress import recompress
from agd.ops.select import Selection
from agd.ops.verify import verify
from agd.run import Runner, SerialRunner, ThreadRunner
from agd.run.dask import DaskRunner
from agd.storage import TEMPORARY_PREFIX, open_storage
from agd.testing import PicklingRunner, content_digest

#: No result of a task, and no item, is larger than this: what is, goes through the store.
SMALL = 64 << 10


@pytest.fixture(params=["serial", "threads", "pickling", "dask"])
def runner(request: pytest.FixtureRequest, dask: DaskRunner) -> Iterator[Runner]:
    if request.param == "dask":
        yield dask
    elif request.param == "pickling":
        with PicklingRunner() as pickling:
            yield pickling
            assert 0 < pickling.largest_result < SMALL
            assert 0 < pickling.largest_item < SMALL
    else:
        with SerialRunner() if request.param == "serial" else ThreadRunner(2) as made:
            yield made


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reads, a reference, and what one thread makes of them."""
    folder = tmp_path_factory.mktemp("everywhere")
    reads = [str(folder / f"R{i}.fq") for i in (1, 2)]
    agd.simulate(
        *reads, pairs=1200, genome=str(folder / "genome.fa"), genome_length=20_000, contigs=2, read_length=100,
        duplicates=0.2, seed=5,
    )  # fmt: skip
    with SerialRunner() as serial:
        agd.import_fastq(*reads, output=str(folder / "reads.agd"), chunk_records=350, runner=serial)
        shutil.copytree(folder / "reads.agd", folder / "aligned.agd")
        align(agd.open(str(folder / "aligned.agd")), str(folder / "genome.fa"), runner=serial)
        aligned = agd.open(str(folder / "aligned.agd"))
        agd.sort(aligned, str(folder / "sorted.agd"), chunk_records=400, runner=serial)
        shutil.copytree(folder / "sorted.agd", folder / "marked.agd")
        agd.dedup(agd.open(str(folder / "marked.agd")), runner=serial)
    return folder


def left_over(url: str) -> list[str]:
    return [key for key in list(open_storage(url).keys()) if key.startswith(("draft-", TEMPORARY_PREFIX))]


def same(url: str, expected: Path) -> None:
    assert content_digest(agd.open(url)) == content_digest(agd.open(str(expected)))
    assert left_over(url) == []


def shuffled_parts(count: int) -> list[Partition]:
    """All parts in some order, two of them twice."""
    parts = [Partition(number, count) for number in range(1, count + 1)]
    random.Random(count).shuffle(parts)
    return [*parts[:2], *parts]


def test_align(runner: Runner, inputs: Path, tmp_path: Path) -> None:
    url = shutil.copytree(inputs / "reads.agd", tmp_path / "s.agd")
    align(agd.open(str(url)), str(inputs / "genome.fa"), runner=runner)
    same(str(url), inputs / "aligned.agd")


@pytest.mark.parametrize("by", ["coordinate", "queryname"])
def test_sort(runner: Runner, inputs: Path, tmp_path: Path, by: str) -> None:
    dataset, url = agd.open(str(inputs / "aligned.agd")), str(tmp_path / "t.agd")
    report = agd.sort(dataset, url, by=by, chunk_records=400, runner=runner)
    expected = inputs / "sorted.agd"
    if by != "coordinate":
        expected = tmp_path / "expected.agd"
        agd.sort(dataset, str(expected), by=by, chunk_records=400, runner=SerialRunner())
    same(url, expected)
    assert (report.spilled_bytes > 0) == isinstance(runner, DaskRunner | PicklingRunner)


def test_dedup(runner: Runner, inputs: Path, tmp_path: Path) -> None:
    for source in ("sorted.agd", "aligned.agd"):
        url = str(shutil.copytree(inputs / source, tmp_path / source))
        report = agd.dedup(agd.open(url), runner=runner)
        assert report.marked > 100
        if source == "sorted.agd":
            same(url, inputs / "marked.agd")


@pytest.mark.parametrize("count", [1, 3, 9])
def test_dedup_in_parts(inputs: Path, tmp_path: Path, count: int) -> None:
    url = str(shutil.copytree(inputs / "sorted.agd", tmp_path / "s.agd"))
    for part in shuffled_parts(count):
        agd.dedup(agd.open(url), metrics=str(tmp_path / "m.txt"), partition=part)
        assert "duplicates" not in agd.open(url).columns
    report = finalise(open_storage(url))
    assert (report.operation, report.parts, report.published) == ("dedup", count, True)
    same(url, inputs / "marked.agd")
    assert "PERCENT_DUPLICATION" in (tmp_path / "m.txt").read_text()
    assert sorted(open_storage(url).keys()) == sorted(open_storage(inputs / "marked.agd").keys())


def stretches(dataset: Dataset, runner: Runner) -> list[list[int]]:
    found = depths(dataset, whole_references(dataset), runner=runner)
    return [array.tolist() for stretch in found for array in runs(stretch)]


REPORTS: dict[str, Callable[[Dataset, Runner], Any]] = {
    "flagstat": lambda ds, runner: agd.flagstat(ds, selection=Selection(min_mapq=1), runner=runner).text(),
    "idxstats": lambda ds, runner: agd.idxstats(ds, runner=runner).text(),
    "stats": lambda ds, runner: agd.stats(ds, runner=runner).to_json(),
    "coverage": lambda ds, runner: agd.coverage(ds, runner=runner).text(),
    "depth": stretches,
    "view -c": lambda ds, runner: count_records(ds, Selection(exclude=4), runner=runner),
    "verify": lambda ds, runner: verify(ds, runner=runner).to_json(),
    "verify --deep": lambda ds, runner: verify(ds, deep=True, runner=runner).to_json(),
}


@pytest.mark.parametrize("report", REPORTS)
def test_reports(runner: Runner, inputs: Path, report: str) -> None:
    dataset = agd.open(str(inputs / "marked.agd"))
    found = REPORTS[report](dataset, runner)
    assert found == REPORTS[report](dataset, SerialRunner())
    assert found
    assert left_over(dataset.url) == []


def test_recompress(runner: Runner, inputs: Path, tmp_path: Path) -> None:
    url = str(shutil.copytree(inputs / "marked.agd", tmp_path / "s.agd"))
    recompress(agd.open(url), profile="fast", columns=["bases", "metadata"], runner=runner)
    same(url, inputs / "marked.agd")
