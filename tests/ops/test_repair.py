"""Repairing: manifests come back, objects come back bit for bit, and nothing is guessed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agd.cli import run
from agd.convert.fastq import import_fastq
from agd.convert.restore import repair
from agd.convert.sam_in import import_sam
from agd.dataset import Dataset
from agd.errors import FormatError, VerificationError
from agd.manifest import ColumnSpec
from agd.ops.dedup import dedup
from agd.ops.edit import edit, reheader
from agd.ops.gc import gc
from agd.ops.recompress import recompress
from agd.ops.verify import verify
from agd.run import SerialRunner, ThreadRunner

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
    assert Dataset.open(sound.url).manifest == sound.manifest
    assert repair(sound.url, dry_run=True).manifest == "restored"
    assert path.exists() == (damage != "gone")
    assert repair(sound.url).manifest == "restored"
    assert files(sound) == before
    assert Dataset.open(sound.url).manifest == sound.manifest


@pytest.mark.parametrize("over", [("manifest-000002.json",), ("manifest.json", "manifest-000002.json")])
def test_an_older_generation_copied_over_the_newest(sound: Dataset, over: tuple[str, ...]) -> None:
    reheader(sound, HEAD + "@CO\tx\n")
    for key in over:
        (Path(sound.url) / key).write_bytes((Path(sound.url) / "manifest-000001.json").read_bytes())
    if len(over) == 2:
        with pytest.raises(FormatError, match=r"manifest-000002.json: generation: 1, under the key of 2") as caught:
            Dataset.open(sound.url)
        assert "agd repair" in caught.value.remedy
    assert Dataset.open(f"{sound.url}@1").manifest == sound.manifest
    assert repair(sound.url).manifest == "restored"
    found = Dataset.open(sound.url).manifest
    assert (found.generation, found.header) == ((2, HEAD + "@CO\tx\n") if len(over) == 1 else (3, HEAD))


def test_a_damaged_copy_is_renewed_by_the_next_change(sound: Dataset) -> None:
    reheader(sound, HEAD + "@CO\tx\n")
    copy = Path(sound.url) / "manifest.json"
    copy.write_bytes(b"damaged")
    gc(sound.storage, keep=1)
    assert Dataset.open(sound.url).manifest.generation == 2
    reheader(Dataset.open(sound.url), HEAD)
    assert copy.read_bytes() == (Path(sound.url) / "manifest-000003.json").read_bytes()


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


def hurt(ds: Dataset, column: str, first: int, damage: str) -> str:
    """Damage an object; its key."""
    path = Path(ds.url) / ds.manifest.object_key(column, first)
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.unlink() if damage == "gone" else path.write_bytes(data if damage == "flip" else data[:500])
    return path.name


@pytest.fixture(params=["sam", "fastq"])
def imported(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Dataset, list[str]]:
    """A dataset and its source."""
    if request.param == "sam":
        (tmp_path / "s.sam").write_text(SAM)
        paths = [str(tmp_path / "s.sam")]
        import_sam(paths[0], str(tmp_path / "s.agd"), chunk_records=4)
    else:
        paths = [str(tmp_path / "R1.fq"), str(tmp_path / "R2.fq")]
        for mate, path in enumerate(paths, 1):
            Path(path).write_text("".join(f"@r{i}/{mate} x\nACGT\n+\nII{i}{mate}\n" for i in range(5)))
        import_fastq(*paths, output=str(tmp_path / "s.agd"), chunk_records=4)
    return Dataset.open(str(tmp_path / "s.agd")), paths


@pytest.mark.parametrize("profile", ["fast", "balanced", "small"])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_after_other_codecs_were_chosen(imported: tuple[Dataset, list[str]], profile: str, damage: str) -> None:
    ds, paths = imported
    recompress(ds, profile=profile)
    ds = Dataset.open(ds.url)
    before = files(ds)
    for column in ds.columns:
        hurt(ds, column, 4, damage)
        assert repair(ds.url, sources=paths).damaged == ()
        assert files(ds) == before
    damaged = {hurt(ds, column, 8, damage) for column in ds.columns}  # a whole chunk
    assert set(repair(ds.url).damaged) == damaged
    assert repair(ds.url, sources=paths).damaged == ()
    assert files(ds) == before


def encoded_elsewhere(ds: Dataset, columns: list[str]) -> Dataset:
    """The same dataset, with objects that no codec chain of its manifest gives again."""
    chains = {name: [{"name": "gzip", "level": 9}] for name in columns}
    recompress(ds, codecs=chains)

    def change(m):  # type: ignore[no-untyped-def]
        kept = {n: ColumnSpec(c.type, [{"name": "zstd", "level": 3}], c.key, c.dtype) if n in columns else c
                for n, c in m.columns.items()}  # fmt: skip
        return replace(m, columns=kept)

    return edit(Dataset.open(ds.url), change, {"program": "agd column rename", "command": "", "parameters": {}})


@pytest.mark.parametrize("workers", [1, 2])
def test_values_come_back_where_the_bytes_do_not(imported: tuple[Dataset, list[str]], workers: int) -> None:
    ds, paths = imported
    columns = ["qualities", "metadata"]
    ds = encoded_elsewhere(ds, columns)
    original = ds[:]
    for column in columns:
        hurt(ds, column, 4, "gone")
    before = files(ds)
    report = repair(ds.url, sources=paths, dry_run=True)
    assert (report.damaged, len(report.actions)) == ((), 2)
    assert files(ds) == before
    report = repair(ds.url, sources=paths, runner=ThreadRunner(2) if workers == 2 else SerialRunner())
    assert report.damaged == ()
    assert all("encoded anew" in text for text in report.actions)
    mended = Dataset.open(ds.url)
    assert mended.manifest.generation == ds.manifest.generation + 1
    assert verify(mended, deep=True).problems == ()
    assert mended.manifest.digest == ds.manifest.digest
    for name in columns:
        assert list(mended[:].ragged(name)) == list(original.ragged(name))
    # Nothing that was there has been touched: older generations see what they saw.
    assert {key: data for key, data in files(ds).items() if key in before and key != "manifest.json"} == {
        key: data for key, data in before.items() if key != "manifest.json"
    }
    assert not list(Path(ds.url).glob("draft-*"))
    assert repair(ds.url).actions == ()


@pytest.mark.parametrize("lost", [["qualities"], ["qualities", "bases", "metadata"]])
def test_values_of_another_source_are_refused(
    imported: tuple[Dataset, list[str]], lost: list[str]
) -> None:
    ds, paths = imported
    ds = encoded_elsewhere(ds, ["qualities"])
    for column in lost:
        hurt(ds, column, 4, "gone")
    before = files(ds)
    for path in paths:  # one quality of the lost chunk is another, its length is not
        text = Path(path).read_text()
        Path(path).write_text(text.replace("III5", "III?").replace("II21", "II?1"))
    report = repair(ds.url, sources=paths)
    assert any("the dataset is not what it was" in note for note in report.notes)
    assert report.damaged == (ds.manifest.object_key("qualities", 4),)
    after = files(ds)
    assert {key: after[key] for key in before} == before
    # What the source gives bit for bit came back, and nothing else is new.
    assert set(after) - set(before) == {ds.manifest.object_key(name, 4) for name in lost[1:]}


def test_values_of_other_records_are_refused(imported: tuple[Dataset, list[str]]) -> None:
    ds, paths = imported
    ds = encoded_elsewhere(ds, ["qualities"])
    key = hurt(ds, "qualities", 4, "gone")
    before = files(ds)
    for path in paths:
        Path(path).write_text(Path(path).read_text().replace("r2", "x2").replace("r5", "x5"))
    report = repair(ds.url, sources=paths)
    assert report.damaged == (key,)
    assert any("which is another file" in note for note in report.notes)
    assert files(ds) == before


def test_the_command_that_made_a_column_is_named(sound: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    dedup(sound, command="agd dedup s.agd")
    ds = Dataset.open(sound.url)
    key = hurt(ds, "duplicates", 4, "flip")
    assert run(["repair", ds.url, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["damaged"] == [key]
    assert any("dedup --overwrite" in note and note.endswith("agd dedup s.agd") for note in document["notes"])
