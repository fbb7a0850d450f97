"""Garbage collection, the log, and going back to an older generation."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

import agd
from agd.cli import run
from agd.errors import DatasetNotFoundError
from agd.ops.gc import gc, is_stale
from agd.ops.history import checkout, history
from agd.storage import TEMPORARY_PREFIX, open_storage, temporary_name

FASTQ = "@r1\nACGT\n+\nIIII\n@r2\nACGN\n+\nII#I\n"


@pytest.fixture
def dataset(tmp_path: Path, store: str) -> agd.Dataset:
    (tmp_path / "r.fq").write_text(FASTQ)
    agd.import_fastq(str(tmp_path / "r.fq"), output=f"{store}/s.agd", chunk_records=1)
    return agd.open(f"{store}/s.agd")


def test_nothing_to_remove(dataset: agd.Dataset) -> None:
    before = sorted(dataset.storage.keys())
    assert gc(dataset.storage).keys == ()
    assert sorted(dataset.storage.keys()) == before


def test_orphans_go_and_other_files_stay(dataset: agd.Dataset) -> None:
    orphan = "s-000000000009.results"
    dataset.storage.put(orphan, b"left behind")
    foreign = ("notes.txt", "IMG-202001010000.jpg", "draft-letter.json", ".tmp-notes")
    for key in foreign:
        dataset.storage.put(key, b"{}")
    assert gc(dataset.storage, dry_run=True).keys == (orphan,)
    assert dataset.storage.size(orphan) is not None
    report = gc(dataset.storage)
    assert (report.objects, report.bytes) == (1, 11)
    assert dataset.storage.size(orphan) is None
    gc(dataset.storage, drafts=True)
    assert {*foreign} < {*dataset.storage.keys()}
    assert len(agd.open(dataset.url)[0:2]) == 2


def test_objects_of_an_unfinished_run_stay_until_it_is_given_up(dataset: agd.Dataset) -> None:
    dataset.storage.put("draft-column-results.json", b'{"plan": {}}')
    dataset.storage.put("s-000000000000.results", b"half done")
    assert gc(dataset.storage).kept == 1
    assert dataset.storage.size("s-000000000000.results") is not None
    report = gc(dataset.storage, drafts=True)
    assert (report.drafts, report.objects) == (1, 1)


def test_generations_log_and_checkout(dataset: agd.Dataset) -> None:
    first = dataset.manifest.generation
    again = checkout(dataset, first, command="agd checkout")
    assert again.manifest.generation == first + 1
    assert agd.open(dataset.url).manifest.steps[-1]["program"] == "agd checkout"
    assert [g.number for g in history(again)] == [first, first + 1]
    assert [len(g.steps) for g in history(again)] == [1, 1]
    assert agd.open(f"{dataset.url}@{first}").manifest.generation == first
    assert gc(again.storage, keep=1).generations == 1
    with pytest.raises(DatasetNotFoundError):
        agd.open(f"{dataset.url}@{first}")
    assert len(agd.open(dataset.url)[0:2]) == 2


def test_temporary_files_of_dead_processes_are_stale(tmp_path: Path) -> None:
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    stale = f"{TEMPORARY_PREFIX}{socket.gethostname()}+{int(dead.stdout)}+0123"
    assert is_stale(stale)
    assert not is_stale(temporary_name())
    assert not is_stale(f"{TEMPORARY_PREFIX}elsewhere+1+0123")
    for name in (stale, temporary_name()):
        (tmp_path / name).write_bytes(b"x")
    assert gc(open_storage(str(tmp_path))).keys == (stale,)


def test_objects_of_a_dataset_that_lost_its_manifests_stay(
    dataset: agd.Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    before, names = dataset[:], sorted(dataset.storage.keys())
    for key in (key for key in names if key.startswith("manifest")):
        dataset.storage.delete(key)
    assert run(["gc", dataset.url]) == 0
    assert f"6 objects without a manifest stay; 'agd repair {dataset.url}'" in capsys.readouterr().out
    assert run(["repair", dataset.url]) == 0
    assert agd.open(dataset.url)[:].columns.keys() == before.columns.keys()
    for key in (key for key in names if key.startswith("manifest")):
        dataset.storage.delete(key)
    assert gc(dataset.storage, drafts=True).objects == 6


def test_the_newest_generation_alone_is_no_reason_to_remove_anything(dataset: agd.Dataset) -> None:
    checkout(dataset, 1)
    gc(dataset.storage, keep=1)
    dataset.storage.delete("manifest.json")
    before = sorted(dataset.storage.keys())
    assert "manifest-000002.json" in before
    with pytest.raises(DatasetNotFoundError, match="agd repair"):
        gc(dataset.storage, drafts=True)
    assert sorted(dataset.storage.keys()) == before


def test_where_there_is_nothing(store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["gc", f"{store}/nosuch.agd"]) == 1
    assert "there is no dataset here" in capsys.readouterr().err
    storage = open_storage(f"{store}/folder", create=True)
    storage.put("IMG-202001010000.jpg", b"a picture")
    assert run(["gc", f"{store}/folder", "--drafts"]) == 1
    assert list(storage.keys()) == ["IMG-202001010000.jpg"]
    assert run(["gc", f"{store}/folder/IMG-202001010000.jpg"]) == 0  # might be an export, whose parts are gone
