"""Parts of a step, run by processes in any order, published by one finalise."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import agd
from agd.aligners.align import align
from agd.cli import run
from agd.errors import DatasetNotFoundError, UsageError
from agd.ops.finalise import GapsError, finalise
from agd.ops.gc import gc
from agd.ops.partition import Partition
from agd.storage import open_storage
from agd.testing import content_digest


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    agd.simulate(
        str(folder / "R1.fq"), str(folder / "R2.fq"), pairs=150, genome=str(folder / "genome.fa"), genome_length=60_000,
        read_length=100, seed=5,
    )  # fmt: skip
    agd.import_fastq(
        str(folder / "R1.fq"), str(folder / "R2.fq"), output=str(folder / "reads.agd"), chunk_records=30
    )
    shutil.copytree(folder / "reads.agd", folder / "whole.agd")
    align(agd.open(str(folder / "whole.agd")), str(folder / "genome.fa"))
    agd.sort(agd.open(str(folder / "whole.agd")), str(folder / "sorted.agd"), chunk_records=30)
    return folder


@given(st.integers(0, 200), st.integers(1, 30))
def test_parts_make_the_whole(items: int, count: int) -> None:
    parts = [Partition(number, count) for number in range(1, count + 1)]
    assert [i for part in parts for i in part.of(range(items))] == list(range(items))
    assert sorted(i for part in parts for i in range(items) if part.has(i)) == list(range(items))
    assert max(len(part.of(range(items))) for part in parts) <= -(-items // count)
    assert all(Partition.parse(str(part)) == part for part in parts)


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "1/0", "a/b", "1/2/3", "-1/3", ""])
def test_what_is_no_part(text: str) -> None:
    with pytest.raises(UsageError, match="is not a part"):
        Partition.parse(text)


@pytest.mark.parametrize("count", [1, 3, 20])
def test_align_in_parts(inputs: Path, tmp_path: Path, count: int) -> None:
    url = str(tmp_path / "s.agd")
    shutil.copytree(inputs / "reads.agd", url)
    numbers = list(range(1, count + 1))
    random.Random(count).shuffle(numbers)
    for number in [*numbers[:2], *numbers]:  # some are run twice
        align(agd.open(url), str(inputs / "genome.fa"), partition=Partition(number, count))
        assert "results" not in agd.open(url).columns
    report = finalise(open_storage(url))
    assert (report.operation, report.parts, report.records, report.published) == ("align", count, 300, True)
    assert content_digest(agd.open(url)) == content_digest(agd.open(str(inputs / "whole.agd")))
    assert not [key for key in list(open_storage(url).keys()) if key.startswith("draft-")]
    with pytest.raises(UsageError, match="no part"):
        finalise(open_storage(url))


@pytest.mark.parametrize("count", [1, 4])
def test_sort_in_parts(inputs: Path, tmp_path: Path, count: int) -> None:
    url, whole = str(tmp_path / "sorted.agd"), agd.open(str(inputs / "whole.agd"))
    for number in range(count, 0, -1):
        agd.sort(whole, url, chunk_records=30, partition=Partition(number, count), memory=(1 + number) << 29)
        with pytest.raises(DatasetNotFoundError):
            agd.open(url)
    assert finalise(open_storage(url)).chunks == 10
    assert content_digest(agd.open(url)) == content_digest(agd.open(str(inputs / "sorted.agd")))


def test_gaps_are_named(inputs: Path, tmp_path: Path) -> None:
    url = str(tmp_path / "s.agd")
    shutil.copytree(inputs / "reads.agd", url)
    for number in (1, 3, 5):
        align(agd.open(url), str(inputs / "genome.fa"), partition=Partition(number, 5))
    with pytest.raises(GapsError, match=r"2 of 5 parts are not done: 2,4 \(records 60–119, 180–239\)"):
        finalise(open_storage(url))
    # An object of a part that is done may be lost, too.
    (Path(url) / "reads-000000000030.results").unlink()
    with pytest.raises(GapsError, match=r"3 of 5 parts are not done: 1,2,4 \(records 30–119, 180–239\)"):
        finalise(open_storage(url))
    assert "results" not in agd.open(url).columns
    for number in (4, 2, 1):
        align(agd.open(url), str(inputs / "genome.fa"), partition=Partition(number, 5))
    finalise(open_storage(url))
    assert content_digest(agd.open(url)) == content_digest(agd.open(str(inputs / "whole.agd")))


def test_parts_of_different_steps_do_not_mix(inputs: Path, tmp_path: Path) -> None:
    url = str(tmp_path / "s.agd")
    shutil.copytree(inputs / "reads.agd", url)
    align(agd.open(url), str(inputs / "genome.fa"), partition=Partition(1, 2))
    with pytest.raises(agd.AgdError, match="other inputs or parameters"):
        align(agd.open(url), str(inputs / "genome.fa"), aligner_args="--secondary", partition=Partition(2, 2))
    gc(open_storage(url), drafts=True)
    assert sorted(open_storage(url).keys()) == sorted(open_storage(inputs / "reads.agd").keys())


def test_a_finalise_killed_after_publishing(inputs: Path, tmp_path: Path) -> None:
    url = str(tmp_path / "s.agd")
    shutil.copytree(inputs / "reads.agd", url)
    align(agd.open(url), str(inputs / "genome.fa"), partition=Partition(1, 1))
    storage = open_storage(url)
    record = next(key for key in list(storage.keys()) if "part" in key)
    data = storage.get(record)
    finalise(storage)
    storage.put(record, data)
    assert not finalise(storage).published
    storage.put(record, data)
    assert gc(storage).keys == (record,)


def test_the_command_line_in_processes(inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = str(tmp_path / "s.agd")
    shutil.copytree(inputs / "reads.agd", url)
    command = ["align", url, "-r", str(inputs / "genome.fa"), "--threads", "1", "--partition"]
    program = [sys.executable, "-c", "import sys; from agd.cli import main; main()"]
    started = [subprocess.Popen([*program, *command, f"{number}/3"]) for number in (1, 2, 3)]
    assert [process.wait() for process in started] == [0, 0, 0]
    assert run(["finalise", url, "--quiet"]) == 0
    assert content_digest(agd.open(url)) == content_digest(agd.open(str(inputs / "whole.agd")))
    assert run(["finalise", url]) == 2
    assert run([*command, "9/3"]) == 2
    assert "is not a part" in capsys.readouterr().err
