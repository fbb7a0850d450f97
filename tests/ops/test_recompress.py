"""Recompression: the same records, in place, and bases as differences to the reference."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import pysam
import pytest

import agd
from agd.batch import Alignments, Column
from agd.cell import default_spec
from agd.chunkfile import parse_header
from agd.codecs import Chain, Derived
from agd.codecs.profile import independent
from agd.dataset import Dataset
from agd.draft import Draft
from agd.errors import CodecError, ColumnError, ReferenceNotFoundError, StorageError, UsageError
from agd.genome import GenomeSource
from agd.manifest import Chunk
from agd.ops.recompress import recompress
from agd.run import SerialRunner, ThreadRunner
from agd.storage import LocalStorage
from agd.types import Orientation, RecordType, Reference
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
        in_lines = b"".join(sequence[i : i + 60] + b"\r\n" for i in range(0, len(sequence), 60))
        (cache / md5[:2] / md5[2:]).write_bytes(in_lines.lower())
        assert_same_records(Dataset.open(dataset.url), expected)
        lying = tuple(dataclasses.replace(r, length=r.length + 1) for r in again.manifest.references)
        with pytest.raises(ReferenceNotFoundError, match="bases, the dataset says"):
            GenomeSource(lying, "x").load()
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
    with pytest.raises(UsageError, match="cannot be read without 'results'"):
        Draft.extend(dataset, spec, {}, replace=True)


def test_qualities_in_the_order_of_sequencing(
    dataset: Dataset, made: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, chain = whole(dataset), [{"name": "strand"}, {"name": "rans"}]
    recompress(dataset, codecs={"qualities": chain})
    monkeypatch.setenv("AGD_REFERENCE", str(tmp_path / "none.fa"))
    again = Dataset.open(dataset.url)
    assert_same_records(again, expected)
    assert_equal(again.read(again.chunks[1], ["qualities"])["qualities"],
                 dataset.read(dataset.chunks[1], ["qualities"])["qualities"])  # fmt: skip
    # What is stored is as the sequencer gave it.
    context = again.context(again.chunks[0], again.fetch(again.chunks[0]))
    stored = Chain.from_json(chain).values[0].encode(context.whole("qualities"), context)  # type: ignore[attr-defined,call-arg]
    columns = dataset.read(dataset.chunks[0])
    turned = (columns.alignments().flag & 16 != 0) & (dataset.orientation is Orientation.SEQ)
    qualities = list(columns.ragged("qualities"))
    assert list(stored) == [q[::-1] if turn else q for q, turn in zip(qualities, turned.tolist(), strict=True)]
    assert turned.any() == (dataset.orientation is Orientation.SEQ)
    with pytest.raises(ColumnError, match="'qualities' cannot be read without 'results'"):
        agd.drop_column(again, "results")


def test_a_profile_turns_qualities_without_a_reference(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    falling = 80 - np.arange(100) // 3 + np.random.default_rng(1).integers(-6, 7, (600, 100))
    falling[1::2] = falling[1::2, ::-1]
    steep = Column.from_lengths(falling.astype(np.uint8).reshape(-1), np.full(600, 100))
    none = Alignments.null(600)
    results = none.replace(flag=(np.arange(600) % 2 * 16).astype(np.uint16), valid=None)
    specs = {name: default_spec(name) for name in ("qualities", "results")}
    draft = Draft.create(str(tmp_path / "steep.agd"), specs, {}, orientation=Orientation.SEQ)
    columns: dict[str, Any] = {"qualities": steep, "results": results}
    cells = {name: draft.write(name, 0, column) for name, column in columns.items()}
    dataset = draft.commit([Chunk(0, 600, cells)], references=(Reference("r", 9),))
    recompress(dataset, profile="small", columns=["qualities"])
    again = Dataset.open(dataset.url)
    assert [c["name"] for c in again.manifest.columns["qualities"].codecs] == ["strand", "fqz"]
    assert_same_records(again, whole(dataset))


def test_qualities_and_alignments_must_belong_together(dataset: Dataset) -> None:
    chunk = dataset.chunks[0]
    context = dataset.context(chunk, dataset.fetch(chunk))
    column = dataset.read(chunk, ["qualities"]).ragged("qualities").slice(0, 7)
    chain = Chain.from_json([{"name": "strand"}, {"name": "rans"}])
    if dataset.orientation is Orientation.READ:
        assert chain.encode(column, context).raw_size == column.compact().values.nbytes
        return
    with pytest.raises(CodecError, match="have no alignments that belong to them"):
        chain.encode(column, context)


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


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("profile", ["fast", "balanced", "small"])
def test_profiles_of_what_is_imported_and_sorted(
    made: tuple[Path, Path, Path], tmp_path: Path, profile: str, workers: int
) -> None:
    """Each chunk is stored with one of the codecs of the profile, and the records are the same."""
    runner = SerialRunner() if workers == 1 else ThreadRunner(workers)
    folder, url = made[0].parent, str(tmp_path / "i.agd")
    agd.import_fastq(
        str(folder / "R1.fq"), str(folder / "R2.fq"), output=url, chunk_records=300, profile=profile, runner=runner,
        codecs={"metadata": [{"name": "gzip", "level": 6}]},
    )  # fmt: skip
    imported = Dataset.open(url)
    for name in ("bases", "qualities", "metadata"):
        assert_equal(whole(imported)[name], whole(Dataset.open(str(made[0])))[name])
    assert {codecs_of(imported, "metadata", chunk.first)[0]["name"] for chunk in imported.chunks} == {"gzip"}
    possible = [Chain.from_json(c).to_json() for c in independent(profile, "qualities", RecordType.TEXT)]
    assert all(codecs_of(imported, "qualities", chunk.first) in possible for chunk in imported.chunks)
    assert imported.manifest.steps[0]["parameters"]["profile"] == profile
    agd.sort(Dataset.open(str(made[0])), str(tmp_path / "s.agd"), chunk_records=300, profile=profile, runner=runner)
    assert_same_records(Dataset.open(str(tmp_path / "s.agd")), whole(Dataset.open(str(made[1]))))
    agd.export_bam(Dataset.open(str(made[1])), str(tmp_path / "s.bam"))
    agd.import_bam(str(tmp_path / "s.bam"), str(tmp_path / "b.agd"), profile=profile, runner=runner)
    assert_equal(whole(Dataset.open(str(tmp_path / "b.agd")))["bases"], whole(Dataset.open(str(made[1])))["bases"])


def codecs_of(dataset: Dataset, name: str, first: int) -> list[dict[str, Any]]:
    """What the object itself says of its codecs."""
    key = dataset.manifest.object_key(name, first)
    return parse_header(dataset.storage.get(key), key).codecs


def test_profiles_make_it_smaller(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    sizes = []
    for profile in (None, "balanced", "small"):
        url = str(tmp_path / f"{profile}.agd")
        agd.sort(Dataset.open(str(made[0])), url, profile=profile)
        sizes.append(Dataset.open(url).manifest.stored_bytes)
    assert sizes == sorted(sizes, reverse=True)
    with pytest.raises(UsageError, match="no profile 'tiny'"):
        agd.sort(Dataset.open(str(made[0])), str(tmp_path / "t.agd"), profile="tiny")
    assert not (tmp_path / "t.agd").exists()


def test_a_stopped_import_keeps_what_its_profile_chose(
    made: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, url = made[0].parent, str(tmp_path / "i.agd")
    put, stored = LocalStorage.put, list[str]()

    def run() -> None:
        agd.import_fastq(
            str(folder / "R1.fq"), str(folder / "R2.fq"), output=url, chunk_records=100, profile="small",
            runner=SerialRunner(),
        )  # fmt: skip

    def full(self: LocalStorage, key: str, data: Any, **options: Any) -> Any:
        if len(stored) == 7:
            raise StorageError("the disk is full")
        stored.append(key)
        return put(self, key, data, **options)

    monkeypatch.setattr(LocalStorage, "put", full)
    with pytest.raises(StorageError):
        run()
    before = {p.name: p.stat().st_mtime_ns for p in Path(url).iterdir() if not p.name.startswith(("draft", "."))}
    assert len(before) == 6
    monkeypatch.setattr(LocalStorage, "put", put)
    run()
    after = {p.name: p.stat().st_mtime_ns for p in Path(url).iterdir()}
    assert all(after[name] == time for name, time in before.items())


@pytest.mark.parametrize("profile", ["balanced", "small"])
def test_what_needs_other_columns_can_be_sorted_and_marked(profile: str, dataset: Dataset, tmp_path: Path) -> None:
    agd.sort(dataset, tmp_path / "before.agd", by="queryname")
    recompress(dataset, profile=profile)
    kept = Dataset.open(dataset.url)
    assert kept.manifest.columns["results"].codecs[0]["name"] == "derived"
    agd.sort(kept, tmp_path / "after.agd", by="queryname")
    assert_same_records(Dataset.open(str(tmp_path / "after.agd")), whole(Dataset.open(str(tmp_path / "before.agd"))))
    agd.dedup(kept)
    assert agd.verify(Dataset.open(dataset.url), deep=True).problems == ()


def test_wrong_statistics_of_marks_are_found(dataset: Dataset) -> None:
    agd.dedup(dataset)
    marked = Dataset.open(dataset.url)
    assert agd.verify(marked, deep=True).problems == ()
    cell = marked.chunks[0].cells["duplicates"]
    flag = next(iter(cell.statistics["flags"]))
    cell.statistics["flags"][flag] += 1  # type: ignore[index]
    assert [(p.chunk, p.column) for p in agd.verify(marked, deep=True).problems] == [(0, "duplicates")]


def test_computable_tags_of_reads_that_differ_everywhere(tmp_path: Path) -> None:
    """Their MD takes as much room as there can be: as many bases that differ as bases, and as many numbers."""
    rng = np.random.default_rng(8)
    letters = rng.integers(0, 4, 3_000)
    texts = []
    for i in range(20):
        read = letters[40 * i : 40 * i + 2_000] + np.where(np.arange(2_000) % 40 < 20 + i, 1, 0)
        texts.append(f"r{i}\t0\tc\t{40 * i + 1}\t60\t2000M\t*\t0\t0\t{''.join('ACGT'[b % 4] for b in read)}\t*\n")
    reference = tmp_path / "ref.fa"
    reference.write_text(f">c\n{''.join('ACGT'[b] for b in letters)}\n")
    (tmp_path / "s.sam").write_text("@SQ\tSN:c\tLN:3000\n" + "".join(texts))
    filled = str(pysam.samtools.calmd(str(tmp_path / "s.sam"), str(reference)))
    (tmp_path / "filled.sam").write_text(filled)
    agd.import_sam(str(tmp_path / "filled.sam"), str(tmp_path / "s.agd"))
    batch = whole(Dataset.open(str(tmp_path / "s.agd")))
    lines = batch.alignments().replace(tags=batch.ragged("tags"))
    assert sum(map(len, lines.tags)) > 30_000
    context = _Context(batch.ragged("bases"), np.frombuffer(b"ACGT", np.uint8)[letters])
    left = Derived().encode(lines, context)
    assert all(tags.endswith(b"MD*") for tags in left.tags)
    assert_equal(Derived().decode(left, context), lines)


class _Context:
    """Bases as in SEQ, and a reference of one sequence."""

    orientation = Orientation.SEQ

    def __init__(self, bases: Column, letters: Any) -> None:
        self._bases, self._letters = bases, letters

    def column(self, name: str) -> Column:
        assert name == "bases"
        return self._bases

    def genome(self) -> Any:
        return self._letters, np.array([0, len(self._letters)])
