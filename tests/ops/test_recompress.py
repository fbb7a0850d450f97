"""Recompression: the same records, in place, and bases as differences to the reference."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import agd
from agd.dataset import Dataset
from agd.draft import Draft
from agd.errors import ColumnError, ReferenceNotFoundError, UsageError
from agd.ops.recompress import recompress
from agd.run import SerialRunner, ThreadRunner
from agd.storage import LocalStorage
from tests.support.columns import assert_equal


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Simulated pairs as an aligned dataset, sorted too, and their reference."""
    folder = tmp_path_factory.mktemp("recompress")
    reads = [str(folder / "R1.fq"), str(folder / "R2.fq")]
    reference = folder / "ref.fa"
    agd.simulate(*reads, genome=str(reference), pairs=400, genome_length=20_000, contigs=2)
    agd.import_fastq(reads[0], reads[1], output=str(folder / "a.agd"), chunk_records=300)
    agd.align(Dataset.open(str(folder / "a.agd")), str(reference), read_group="@RG\tID:s\tSM:s")
    agd.sort(Dataset.open(str(folder / "a.agd")), str(folder / "s.agd"), chunk_records=300)
    return folder / "a.agd", folder / "s.agd", reference


@pytest.fixture(params=["aligned", "sorted"])
def dataset(request: pytest.FixtureRequest, made: tuple[Path, Path, Path], tmp_path: Path) -> Dataset:
    """A copy of one of them, which may be changed."""
    source = made[0] if request.param == "aligned" else made[1]
    target = tmp_path / source.name
    target.mkdir()
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return Dataset.open(str(target))


def whole(dataset: Dataset) -> Any:
    return dataset[:]


def assert_same_records(found: Dataset, expected: Any) -> None:
    batch = whole(found)
    assert list(batch.columns) == list(expected.columns)
    for name, column in expected.columns.items():
        assert_equal(batch[name], column)


@pytest.mark.parametrize("profile", ["fast", "balanced", "small"])
@pytest.mark.parametrize("workers", [1, 2])
def test_every_profile_keeps_the_records(dataset: Dataset, profile: str, workers: int) -> None:
    expected = whole(dataset)
    runner = SerialRunner() if workers == 1 else ThreadRunner(workers)
    report = recompress(dataset, profile=profile, runner=runner)
    again = Dataset.open(dataset.url)
    assert_same_records(again, expected)
    assert again.manifest.generation == report.generation == dataset.manifest.generation + len(dataset.columns)
    assert report.after == {
        name: sum(chunk.cells[name].bytes for chunk in again.chunks if name in chunk.cells) for name in again.columns
    }
    assert_same_records(Dataset.open(dataset.url, generation=dataset.manifest.generation), expected)
    assert recompress(again, profile=profile, runner=runner).generation == report.generation


def test_differences_to_the_reference(dataset: Dataset) -> None:
    expected = whole(dataset)
    report = recompress(dataset, codecs={"bases": [{"name": "refdiff", "level": 3}]})
    assert report.after["bases"] * 2 < report.before["bases"]
    assert_same_records(Dataset.open(dataset.url), expected)
    again = Dataset.open(dataset.url)
    batch = again.read(again.chunks[0], ["bases"])
    assert_equal(batch["bases"], dataset.read(dataset.chunks[0], ["bases"])["bases"])
    recompress(Dataset.open(dataset.url), profile="fast")
    assert_same_records(Dataset.open(dataset.url), expected)


def test_without_the_reference(
    dataset: Dataset, made: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = whole(dataset)
    recompress(dataset, codecs={"bases": [{"name": "refdiff", "level": 3}]})
    moved = tmp_path / "moved.fa"
    os.rename(made[2], moved)
    try:
        again = Dataset.open(dataset.url)
        with pytest.raises(ReferenceNotFoundError, match=r"(?s)needs the reference sequence.*AGD_REFERENCE"):
            again.read(again.chunks[0], ["bases"])
        assert_equal(again.read(again.chunks[0], ["qualities"])["qualities"],
                     dataset.read(dataset.chunks[0], ["qualities"])["qualities"])  # fmt: skip
        again.read(again.chunks[0], ["results"])
        monkeypatch.setenv("AGD_REFERENCE", str(moved))
        assert_same_records(Dataset.open(dataset.url), expected)
        monkeypatch.delenv("AGD_REFERENCE")
        cache = tmp_path / "cache"
        for name, sequence in _sequences(moved).items():
            md5 = next(r.md5 for r in again.manifest.references if r.name == name)
            (cache / md5[:2]).mkdir(parents=True, exist_ok=True)
            (cache / md5[:2] / md5[2:]).write_bytes(sequence)
        monkeypatch.setenv("REF_PATH", f"/nowhere:{cache}/%2s/%s")
        assert_same_records(Dataset.open(dataset.url), expected)
        (cache / md5[:2] / md5[2:]).write_bytes(b"ACGT")
        with pytest.raises(ReferenceNotFoundError):
            whole(Dataset.open(dataset.url))
    finally:
        os.rename(moved, made[2])


def _sequences(path: Path) -> dict[str, bytes]:
    records = path.read_bytes().split(b">")[1:]
    return {r.split()[0].decode(): b"".join(r.split(b"\n")[1:]) for r in records}


def test_what_bases_depend_on_is_not_replaced(made: tuple[Path, Path, Path], dataset: Dataset) -> None:
    recompress(dataset, codecs={"bases": [{"name": "refdiff"}]})
    spec = {"results": dataset.manifest.columns["results"]}
    with pytest.raises(UsageError, match="stored as differences to 'results'"):
        Draft.extend(dataset, spec, {}, replace=True)


def test_sorting_what_was_recompressed(dataset: Dataset, tmp_path: Path) -> None:
    agd.sort(dataset, str(tmp_path / "before.agd"), chunk_records=200)
    recompress(dataset, codecs={"bases": [{"name": "refdiff"}]})
    agd.sort(Dataset.open(dataset.url), str(tmp_path / "after.agd"), chunk_records=200)
    assert_same_records(Dataset.open(str(tmp_path / "after.agd")), whole(Dataset.open(str(tmp_path / "before.agd"))))


def test_a_stopped_run_goes_on(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, put = whole(dataset), LocalStorage.put
    stored: list[str] = []

    def stop(self: LocalStorage, key: str, data: Any, **options: Any) -> Any:
        if ".qualities" in key:
            if stored:
                raise KeyboardInterrupt
            stored.append(key)
        return put(self, key, data, **options)

    monkeypatch.setattr(LocalStorage, "put", stop)
    with pytest.raises(KeyboardInterrupt):
        recompress(dataset, profile="small", runner=SerialRunner())
    monkeypatch.setattr(LocalStorage, "put", put)
    assert_same_records(Dataset.open(dataset.url), expected)
    recompress(Dataset.open(dataset.url), profile="small", runner=SerialRunner())
    assert_same_records(Dataset.open(dataset.url), expected)


def test_wrong_requests(dataset: Dataset) -> None:
    with pytest.raises(UsageError, match="no profile 'tiny'"):
        recompress(dataset, profile="tiny")
    with pytest.raises(ColumnError, match="'nothing'"):
        recompress(dataset, columns=["nothing"])
    with pytest.raises(ColumnError, match="'nothing'"):
        recompress(dataset, codecs={"nothing": []})
    assert np.array_equal(Dataset.open(dataset.url).manifest.generation, dataset.manifest.generation)
