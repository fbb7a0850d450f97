"""Dask as a runner: the law of maps, chains, lost workers, and aligning with the same result."""

from __future__ import annotations

import operator
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("distributed")

import agd
from agd.aligners.align import align
from agd.dataset import Dataset
from agd.errors import InputError, UsageError
from agd.processors import threads_here
from agd.run import SerialRunner, local_runner
from agd.run.dask import DaskRunner, WorkerLostError
from agd.storage import open_storage
from agd.testing import Fault, FaultyStorage, content_digest


@pytest.fixture
def runner(dask: DaskRunner) -> DaskRunner:
    return dask


def where(item: int) -> tuple[int, int]:
    return item, os.getpid()


def refuse(item: int) -> int:
    if item == 3:
        raise InputError("r.fq", "is damaged", record=item)
    return item


def die_once(marker: str, item: int) -> int:
    if item == 3:
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return item
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def die(item: int) -> int:
    if item == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def test_law_of_maps(runner: DaskRunner) -> None:
    assert list(runner.map(lambda x: x * x, range(20))) == [x * x for x in range(20)]
    assert sorted(runner.map(lambda x: x * x, range(20), ordered=False)) == [x * x for x in range(20)]
    assert list(runner.map(str, [])) == []


def test_a_task_has_one_processor(runner: DaskRunner) -> None:
    assert set(runner.map(lambda _: threads_here(), range(4))) == {1}


def test_chained_maps_are_one_task_and_read_lazily(runner: DaskRunner) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for i in range(50):
            taken.append(i)
            yield i

    chain = runner.map(where, runner.map(partial(operator.add, 1), items(), on="io", ahead=4), on="cpu", ahead=4)
    pids = set()
    for done in range(50):
        value, pid = next(chain)
        assert value == done + 1
        pids.add(pid)
        assert len(taken) <= done + 1 + 4
    assert os.getpid() not in pids
    with pytest.raises(StopIteration):
        next(chain)


def test_what_is_sent_to_a_worker_maps_there(runner: DaskRunner) -> None:
    inner = list(runner.map(lambda x: (type(runner).__name__, list(runner.map(str, range(x)))), [2]))
    assert inner == [(SerialRunner.__name__, ["0", "1"])]
    assert local_runner(runner) is not runner


def test_errors_arrive_as_they_were_raised(runner: DaskRunner) -> None:
    with pytest.raises(InputError, match=r"r\.fq, record 3: is damaged") as caught:
        list(runner.map(refuse, range(10)))
    assert caught.value.record == 3
    assert list(runner.map(refuse, [1])) == [1]


def test_a_lost_worker_is_made_up_for(runner: DaskRunner, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    assert list(runner.map(partial(die_once, str(marker)), range(10))) == list(range(10))
    assert marker.exists()


def test_an_item_that_ends_every_worker_is_an_error(runner: DaskRunner) -> None:
    with pytest.raises(WorkerLostError, match="again and again"):
        list(runner.map(die, range(5)))
    assert list(runner.map(str, [1])) == ["1"]


@pytest.mark.parametrize("address", ["local:0", "local:x", "tcp://127.0.0.1:1"])
def test_no_such_cluster(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agd.run.dask.CONNECT_SECONDS", 1)
    with pytest.raises(UsageError):
        DaskRunner(address)


@dataclass
class KillAWorker:
    """Rule: a process that is not the first ends at its first write of results, once in all."""

    marker: str
    parent: int

    def __call__(self, operation: str, key: str) -> Fault | None:
        if operation != "put" or not key.endswith(".results") or os.getpid() == self.parent:
            return None
        try:
            os.close(os.open(self.marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return None
        return Fault(lambda: os.kill(os.getpid(), signal.SIGKILL), "torn")


def test_align_on_workers_one_of_which_is_killed(runner: DaskRunner, tmp_path: Path) -> None:
    genome = str(tmp_path / "genome.fa")
    agd.simulate(
        str(tmp_path / "R1.fq"), str(tmp_path / "R2.fq"), pairs=150, genome=genome, genome_length=60_000,
        read_length=100, seed=5,
    )  # fmt: skip
    one, two = str(tmp_path / "one.agd"), str(tmp_path / "two.agd")
    agd.import_fastq(str(tmp_path / "R1.fq"), str(tmp_path / "R2.fq"), output=one, chunk_records=30)
    shutil.copytree(one, two)
    expected = align(agd.open(one), genome)
    marker = tmp_path / "marker"
    plain = agd.open(two)
    faulty = Dataset(FaultyStorage(plain.storage, KillAWorker(str(marker), os.getpid())), plain.manifest)
    report = align(faulty, genome, runner=runner)
    assert marker.exists()
    assert (report.mapped, report.proper, report.chunks) == (expected.mapped, expected.proper, expected.chunks)
    assert content_digest(agd.open(two)) == content_digest(agd.open(one))
    assert not [key for key in list(open_storage(two).keys()) if key.startswith("draft-")]


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from agd.cli import run

    paths = [str(tmp_path / name) for name in ("R1.fq", "R2.fq", "genome.fa", "s.agd")]
    agd.simulate(*paths[:2], pairs=50, genome=paths[2], genome_length=20_000, read_length=100, seed=5)
    agd.import_fastq(*paths[:2], output=paths[3], chunk_records=30)
    assert run(["align", paths[3], "-r", paths[2], "--cluster", "local:1"]) == 0
    assert "100 reads" in capsys.readouterr().err
    assert run(["align", paths[3], "-r", paths[2], "--cluster", "local:none", "--overwrite"]) == 2
    assert "is no cluster" in capsys.readouterr().err
