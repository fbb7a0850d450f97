"""A disk that is full or read only: a named error, nothing lost, and the step goes on when there is room again."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pysam
import pytest

import agd
from agd.cli import run
from agd.errors import StorageError
from agd.ops import sort
from agd.ops.sort_plan import SortPlan, group
from agd.storage import open_storage
from agd.testing import content_digest


def mount(place: Path, *options: str) -> None:
    subprocess.run(["mount", *options, str(place)], check=True, capture_output=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    try:
        mount(place, "-t", "tmpfs", "-o", "size=256k", "tmpfs")
    except (subprocess.CalledProcessError, FileNotFoundError):
        pytest.skip("a small disk cannot be mounted here: only root may")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    chance = random.Random(2)
    with open(tmp_path / "r.fq", "w") as file:
        for i in range(4000):
            bases, qualities = ("".join(chance.choices(letters, k=100)) for letters in ("ACGT", "F:,#"))
            file.write(f"@r{i}\n{bases}\n+\n{qualities}\n")

    def work(place: Path) -> agd.Dataset:
        agd.import_fastq(str(tmp_path / "r.fq"), output=str(place / "s.agd"), chunk_records=200)
        return agd.open(str(place / "s.agd"))

    with pytest.raises(StorageError, match="No space left") as caught:
        work(small_disk)
    assert "run the same command again" in caught.value.remedy
    kept = {path.name: path.stat().st_ino for path in (small_disk / "s.agd").glob("s-*")}
    assert len(kept) > 3
    assert not [key for key in list(open_storage(small_disk / "s.agd").keys()) if key.startswith("manifest")]
    mount(small_disk, "-o", "remount,size=16m")
    expected = work(tmp_path)
    assert content_digest(work(small_disk)) == content_digest(expected)
    assert {name: (small_disk / "s.agd" / name).stat().st_ino for name in kept} == kept


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reads, the same aligned, and sorted: chunks of 100 records."""
    folder = tmp_path_factory.mktemp("base")
    reads, genome = [str(folder / f"R{i}.fq") for i in (1, 2)], str(folder / "ref.fa")
    agd.simulate(*reads, pairs=1000, genome=genome, genome_length=60_000, contigs=2, read_length=100, seed=5)
    agd.import_fastq(*reads, output=str(folder / "reads.agd"), chunk_records=100)
    shutil.copytree(folder / "reads.agd", folder / "aligned.agd")
    agd.align(agd.open(str(folder / "aligned.agd")), genome)
    agd.sort(agd.open(str(folder / "aligned.agd")), str(folder / "sorted.agd"), chunk_records=100)
    return folder


#: What each verb works on, in the place where it writes, and what it makes there.
VERBS = {
    "align": ("reads.agd", "reads.agd"), "sort": ("aligned.agd", "out.agd"), "dedup": ("sorted.agd", "sorted.agd"),
    "export": ("sorted.agd", "out.bam"),
}  # fmt: skip


def command(verb: str, base: Path, place: Path) -> list[str]:
    """Arguments of a verb; ``place`` has been filled by :func:`prepare`."""
    given, made = VERBS[verb]
    return {
        "align": ["align", f"{place}/{given}", "-r", f"{base}/ref.fa"],
        "sort": ["sort", f"{base}/{given}", "-o", f"{place}/{made}", "-c", "100"],
        "dedup": ["dedup", f"{place}/{given}"],
        "export": ["export", "bam", f"{base}/{given}", "-o", f"{place}/{made}"],
    }[verb] + ["--threads", "2", "--quiet"]


def prepare(verb: str, base: Path, place: Path) -> None:
    """Copy the dataset that a verb adds to."""
    place.mkdir(exist_ok=True)
    if VERBS[verb][0] == VERBS[verb][1]:
        shutil.copytree(base / VERBS[verb][0], place / VERBS[verb][0])


def result(verb: str, place: Path) -> str:
    """What tells two results apart."""
    made = place / VERBS[verb][1]
    return pysam.samtools.view(str(made)) if verb == "export" else content_digest(agd.open(str(made)))


def state(place: Path) -> dict[str, tuple[int, int]]:
    """Files, their inodes and times."""
    files = (path for path in place.rglob("*") if path.is_file())
    return {str(path.relative_to(place)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def expected(verb: str, base: Path, tmp_path: Path) -> str:
    prepare(verb, base, tmp_path / "whole")
    assert run(command(verb, base, tmp_path / "whole")) == 0
    return result(verb, tmp_path / "whole")


def always_spilling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sort, "plan", lambda ds, *_: SortPlan(True, tuple(group(ds.chunks, 500)), 100, 100, 2, 2, 100, False)
    )
    monkeypatch.setattr("agd.ops.dedup.BASE", 1 << 60)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_goes_on_when_there_is_room_again(
    verb: str, base: Path, small_disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = expected(verb, base, tmp_path)
    mount(small_disk, "-o", "remount,size=8m")
    prepare(verb, base, small_disk)
    before = state(small_disk)
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize
    (small_disk / "filler").write_bytes(bytes(free - (40 << 10)))
    assert run(command(verb, base, small_disk)) == 1
    error = capsys.readouterr().err
    assert "No space left" in error
    assert f"{small_disk}/{VERBS[verb][1]}" in error
    stopped = state(small_disk)
    assert {name: stopped[name] for name in before} == before
    if verb == "export":
        assert stopped.keys() == {"filler"}
    else:
        assert not [name for name in stopped.keys() - before.keys() if "manifest" in name]
        assert len([name for name in stopped.keys() - before.keys() if "draft-" not in name]) >= 5
    (small_disk / "filler").unlink()
    assert run(command(verb, base, small_disk)) == 0
    assert result(verb, small_disk) == whole
    after = state(small_disk)
    objects = {name for name in stopped if name != "filler" and "manifest" not in name and "draft-" not in name}
    assert {name: after[name] for name in objects} == {name: stopped[name] for name in objects}


@pytest.mark.parametrize("verb", ["sort", "dedup"])
def test_a_full_disk_of_temporary_files(
    verb: str, base: Path, small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = expected(verb, base, tmp_path)
    always_spilling(monkeypatch)
    prepare(verb, base, tmp_path / "out")
    before = state(tmp_path / "out")
    arguments = [*command(verb, base, tmp_path / "out"), "--tmp", str(small_disk)]
    assert run(arguments) == 1
    error = capsys.readouterr().err
    assert "No space left" in error
    assert f"{small_disk}/" in error
    assert "a temporary file cannot be written" in error
    assert list(small_disk.iterdir()) == []
    assert state(tmp_path / "out") == before
    mount(small_disk, "-o", "remount,size=16m")
    assert run(arguments) == 0
    assert result(verb, tmp_path / "out") == whole
    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize("verb", VERBS)
def test_a_disk_that_is_read_only(
    verb: str, base: Path, small_disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = expected(verb, base, tmp_path)
    mount(small_disk, "-o", "remount,size=8m")
    prepare(verb, base, small_disk)
    before = state(small_disk)
    mount(small_disk, "-o", "remount,ro")
    assert run(command(verb, base, small_disk)) == 1
    error = capsys.readouterr().err
    assert "Read-only file system" in error
    assert f"{small_disk}/" in error
    assert state(small_disk) == before
    mount(small_disk, "-o", "remount,rw")
    assert run(command(verb, base, small_disk)) == 0
    assert result(verb, small_disk) == whole


def test_metrics_that_cannot_be_written(base: Path, small_disk: Path, tmp_path: Path) -> None:
    prepare("dedup", base, tmp_path / "out")
    before = state(tmp_path / "out")
    (small_disk / "filler").write_bytes(bytes(256 << 10))
    arguments = [*command("dedup", base, tmp_path / "out"), "--metrics", str(small_disk / "m.txt")]
    assert run(arguments) == 1
    assert [path.name for path in small_disk.iterdir()] == ["filler"]
    assert state(tmp_path / "out") == before
    (small_disk / "filler").unlink()
    assert run(arguments) == 0
    assert (small_disk / "m.txt").read_text().startswith("## ")
