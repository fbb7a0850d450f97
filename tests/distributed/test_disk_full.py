"""A disk that is full: a named error, nothing lost, and the step goes on when there is room again."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import agd
from agd.errors import StorageError
from agd.storage import open_storage
from agd.testing import content_digest


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], capture_output=True)
    if done.returncode:
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
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    expected = work(tmp_path)
    assert content_digest(work(small_disk)) == content_digest(expected)
    assert {name: (small_disk / "s.agd" / name).stat().st_ino for name in kept} == kept
