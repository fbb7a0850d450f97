"""Repairing: manifests come back, objects come back bit for bit, and nothing is guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from agd.cli import run
from agd.convert.fastq import import_fastq
from agd.convert.restore import repair
from agd.convert.sam_in import import_sam
from agd.dataset import Dataset
from agd.errors import FormatError, VerificationError
from agd.ops.edit import reheader
from agd.ops.verify import verify

HEAD = "@HD\tVN:1.6\n@SQ\tSN:c1\tLN:1000\n"
SAM = HEAD + "".join(f"r{i}\t0\tc1\t{i + 1}\t60\t4M\t*\t0\t0\tACGT\tIII{i}\tNM:i:{i}\n" for i in range(10))
COLUMNS = ("bases", "qualities", "metadata", "results", "tags")


@pytest.fixture
def sound(tmp_path: Path) -> Dataset:
    (tmp_path / "s.sam").write_text(SAM)
    import_sam(str(tmp_path / "s.sam"), str(tmp_path / "s.agd"), chunk_records=4)
    return Dataset.open(str(tmp_path / "s.agd"))


def files(ds: Dataset) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(ds.url).iterdir()}


def test_nothing_to_repair(sound: Dataset) -> None:
    before = files(sound)
    report = repair(sound.url)
    assert (report.manifest, report.actions, report.damaged) == ("sound", (), ())
    assert files(sound) == before


@pytest.mark.parametrize("key", ["manifest.json", "manifest-000001.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_one_copy_of_the_manifest(sound: Dataset, key: str, damage: str) -> None:
    before = files(sound)
    path = Path(sound.url) / key
    data = bytearray(before[key])
    data[100] ^= 1
    path.unlink() if damage == "gone" else path.write_bytes(data if damage == "flip" else data[:-9])
    if key == "manifest.json" and damage != "gone":
        with pytest.raises(FormatError):
            Dataset.open(sound.url)
    assert repair(sound.url, dry_run=True).manifest == "restored"
    assert path.exists() == (damage != "gone")
    assert repair(sound.url).manifest == "restored"
    assert files(sound) == before
    assert Dataset.open(sound.url).manifest == sound.manifest


def test_the_newest_generation_is_lost(sound: Dataset) -> None:
    reheader(sound, HEAD + "@CO\tx\n")
    for key in ("manifest.json", "manifest-000002.json"):
        (Path(sound.url) / key).write_bytes(b"{}")
    report = repair(sound.url)
    assert any("generation 2 is damaged" in note for note in report.notes)
    ds = Dataset.open(sound.url)
    assert ds.manifest.generation == 3
    assert ds.manifest.header == HEAD


def test_all_manifests_are_lost(sound: Dataset, tmp_path: Path) -> None:
    for path in Path(sound.url).glob("manifest*"):
        path.unlink()
    with pytest.raises(VerificationError, match="references"):
        repair(sound.url)
    report = repair(sound.url, sources=[str(tmp_path / "s.sam")])
    assert report.manifest == "rebuilt"
    assert any("not known any more" in note for note in report.notes)
    ds = Dataset.open(sound.url)
    assert ds.chunks == sound.chunks
    assert ds.manifest.columns == sound.manifest.columns
    assert (ds.manifest.header, ds.manifest.references) == (sound.manifest.header, sound.manifest.references)
    assert verify(ds, deep=True).problems == ()


def test_a_chunk_that_no_object_tells_of(sound: Dataset, tmp_path: Path) -> None:
    for path in [*Path(sound.url).glob("manifest*"), *Path(sound.url).glob("*-000000000004.*")]:
        path.unlink()
    with pytest.raises(VerificationError, match="records 4 to 7"):
        repair(sound.url, sources=[str(tmp_path / "s.sam")])


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_objects_from_the_source(sound: Dataset, tmp_path: Path, column: str, damage: str) -> None:
    before = files(sound)
    path = Path(sound.url) / sound.manifest.object_key(column, 4)
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.unlink() if damage == "gone" else path.write_bytes(data if damage == "flip" else data[:500])
    report = repair(sound.url)
    assert report.damaged == (path.name,)
    assert any("--from" in note for note in report.notes)
    report = repair(sound.url, sources=[str(tmp_path / "s.sam")])
    assert report.damaged == ()
    assert files(sound) == before


def test_another_file_is_not_taken(sound: Dataset, tmp_path: Path) -> None:
    path = Path(sound.url) / sound.manifest.object_key("qualities", 4)
    path.unlink()
    (tmp_path / "other.sam").write_text(SAM.replace("III5", "III6"))
    assert repair(sound.url, sources=[str(tmp_path / "other.sam")]).damaged == (path.name,)
    assert not path.exists()


def test_reads_from_their_files(tmp_path: Path) -> None:
    paths = []
    for mate in (1, 2):
        paths.append(str(tmp_path / f"R{mate}.fq"))
        Path(paths[-1]).write_text("".join(f"@r{i}/{mate}\nACGTA\n+\nIIII{mate}\n" for i in range(9)))
    import_fastq(*paths, output=str(tmp_path / "s.agd"), chunk_records=4)
    ds = Dataset.open(str(tmp_path / "s.agd"))
    before = files(ds)
    for column in ("bases", "metadata"):
        (Path(ds.url) / ds.manifest.object_key(column, 8)).unlink()
    assert run(["repair", ds.url]) == 1
    assert run(["repair", ds.url, "--from", *paths]) == 0
    assert files(ds) == before
