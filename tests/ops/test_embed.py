"""Embedded references: the parts under the alignments stay with the dataset, and are enough to read it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import agd
from agd.dataset import Dataset
from agd.draft import exists
from agd.embedded import embedded_reference
from agd.errors import CodecError, ColumnError, ReferenceNotFoundError, UsageError
from agd.fasta import load_genome
from agd.footprint import remove
from agd.ops.embed import BLOCK, embed_reference
from agd.ops.history import checkout
from agd.ops.recompress import recompress
from agd.ops.verify import verify
from agd.run import SerialRunner, ThreadRunner
from agd.storage import open_storage
from tests.support.columns import assert_equal


@pytest.fixture(params=["aligned", "sorted"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> Dataset:
    """Few pairs on a genome, most of which they leave alone."""
    reads = [str(tmp_path / "R1.fq"), str(tmp_path / "R2.fq")]
    agd.simulate(*reads, genome=str(tmp_path / "ref.fa"), pairs=40, genome_length=300_000, contigs=3)
    agd.import_fastq(*reads, output=str(tmp_path / "a.agd"), chunk_records=30)
    agd.align(agd.open(str(tmp_path / "a.agd")), str(tmp_path / "ref.fa"), read_group="@RG\tID:s\tSM:s")
    if request.param == "aligned":
        return agd.open(str(tmp_path / "a.agd"))
    agd.sort(agd.open(str(tmp_path / "a.agd")), str(tmp_path / "s.agd"), chunk_records=30)
    return agd.open(str(tmp_path / "s.agd"))


def assert_same(found: Dataset, expected: Dataset) -> None:
    a, b = found[:], expected[:]
    assert list(a.columns) == list(b.columns)
    for name, column in a.columns.items():
        assert_equal(column, b[name])


def covered(dataset: Dataset) -> set[tuple[int, int]]:
    """Reference and position of every base under an alignment, one by one."""
    places = set()
    for name in dataset.columns:
        if name != "results" and not name.startswith("secondary"):
            continue
        for batch in dataset.batches([name]):
            a = batch.alignments(name)
            for i in np.flatnonzero((a.reference >= 0) & ((a.flag & 4) == 0)):
                span = sum(int(o) >> 4 for o in a.cigar[int(i)] if int(o) & 15 in (0, 2, 3, 7, 8))
                places |= {(int(a.reference[i]), int(a.position[i]) + k) for k in range(span)}
    return places


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("profile", ["balanced", "small"])
def test_datasets_are_read_without_their_reference(
    dataset: Dataset, tmp_path: Path, workers: int, profile: str
) -> None:
    before = agd.open(dataset.url)
    runner = SerialRunner() if workers == 1 else ThreadRunner(workers)
    recompress(dataset, profile=profile, embed=True, runner=runner, codecs={"bases": [{"name": "refdiff"}]})
    recompress(agd.open(dataset.url), profile=profile, columns=["results"], runner=runner)
    os.rename(tmp_path / "ref.fa", tmp_path / "elsewhere.fa")
    now = agd.open(dataset.url)
    assert "refdiff" in str(now.manifest.columns["bases"].codecs)
    assert_same(now, before)
    assert verify(now, deep=True).problems == ()
    # What is kept is what the alignments need, in whole blocks, and no more.
    letters, offsets = now.genome.load()
    genome = load_genome(str(tmp_path / "elsewhere.fa"))
    there = np.flatnonzero(letters)
    np.testing.assert_array_equal(letters[there], np.char.upper(genome.bases[there].view("S1")).view(np.uint8))
    blocks = {(r, p // BLOCK) for r, p in covered(before)}
    kept = {(r, int(k) // BLOCK) for r in range(len(offsets) - 1)
            for k in np.flatnonzero(letters[offsets[r] : offsets[r + 1]])}  # fmt: skip
    assert kept == blocks
    assert len(there) < len(genome.bases) // 2


def test_embedding_again_changes_nothing(dataset: Dataset) -> None:
    once, first = embed_reference(dataset)
    again, second = embed_reference(agd.open(dataset.url))
    assert (first.embedded, second.embedded) == (True, False)
    assert (first.name, first.bases, first.bytes) == (second.name, second.bases, second.bytes)
    assert again.manifest.generation == once.manifest.generation == dataset.manifest.generation + 1


def test_new_alignments_that_lie_elsewhere(tmp_path: Path, dataset: Dataset) -> None:
    """What an embedded reference lacks is never taken for anything else."""
    done, _ = embed_reference(dataset)
    if "secondary0" in done.columns or done.manifest.orientation.name == "SEQ":
        done = agd.open(dataset.url)
    a = done[:].alignments()
    moved = a.replace(position=np.where(a.position >= 0, (a.position + 40_000) % 90_000, a.position))
    from agd.draft import Draft
    from agd.manifest import Chunk

    draft = Draft.extend(done, {"results": done.manifest.columns["results"]}, {"operation": "test"}, replace=True)
    chunks = [
        Chunk(c.first, c.count, {"results": draft.write("results", c.first, moved.slice(c.first, c.first + c.count))})
        for c in done.chunks
    ]
    other = draft.commit(chunks)
    with pytest.raises(CodecError, match="lacks letters") as caught:
        recompress(other, codecs={"bases": [{"name": "refdiff"}]}, runner=SerialRunner())
    assert "--embed-reference" in caught.value.remedy
    wider, report = embed_reference(other, reference=str(tmp_path / "ref.fa"))
    assert (report.embedded, report.name) == (True, "reference-2.agd")
    recompress(wider, codecs={"bases": [{"name": "refdiff"}]})
    (tmp_path / "ref.fa").unlink()
    assert_equal(agd.open(dataset.url)[:]["bases"], done[:]["bases"])


def test_overwriting_a_dataset_removes_what_is_inside(dataset: Dataset, tmp_path: Path) -> None:
    embed_reference(dataset)
    inner = f"{dataset.url}/{embedded_reference(agd.open(dataset.url).manifest)}"
    assert exists(open_storage(inner))
    agd.import_fastq(str(tmp_path / "R1.fq"), output=dataset.url, overwrite=True)
    assert not os.path.exists(inner)


def test_what_is_made_of_its_records_has_no_such_reference(dataset: Dataset, tmp_path: Path) -> None:
    recompress(dataset, embed=True, codecs={"bases": [{"name": "refdiff"}]})
    url = str(tmp_path / "made.agd")
    agd.sort(agd.open(dataset.url), url)
    made = agd.open(url)
    assert embedded_reference(made.manifest) == ""
    assert verify(made, deep=True).problems == ()
    recompress(made, profile="balanced")  # with the FASTA file that the reads were aligned to
    (tmp_path / "ref.fa").unlink()
    with pytest.raises(ReferenceNotFoundError):
        agd.open(url).genome.load()


def test_in_every_store(store: str, dataset: Dataset, tmp_path: Path) -> None:
    url = f"{store}/copy.agd"
    agd.cat([dataset], url)
    recompress(agd.open(url), embed=True, codecs={"bases": [{"name": "refdiff"}]}, reference=str(tmp_path / "ref.fa"))
    (tmp_path / "ref.fa").unlink()
    assert_equal(agd.open(url)[:]["bases"], dataset[:]["bases"])


class Guarded(MemoryFileSystem):
    """A store that asks for a token."""

    protocol = "guarded"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    def __init__(self, token: str = "", **options: Any) -> None:
        super().__init__(**options)
        self.token = token

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(MemoryFileSystem._strip_protocol(path.replace("guarded://", "memory://")))

    def cat_file(self, *args: Any, **options: Any) -> bytes:
        if self.token != "secret":
            raise PermissionError("a token is needed")
        return bytes(super().cat_file(*args, **options))

    def pipe_file(self, *args: Any, **options: Any) -> None:
        if self.token != "secret":
            raise PermissionError("a token is needed")
        super().pipe_file(*args, **options)


def test_options_of_the_store_are_those_of_what_is_inside(dataset: Dataset, tmp_path: Path) -> None:
    fsspec.register_implementation("guarded", Guarded, clobber=True)
    storage = open_storage(f"guarded://{tmp_path.name}/s.agd", token="secret")
    for key in list(dataset.storage.keys()):
        storage.put(key, dataset.storage.get(key))
    recompress(
        agd.open(storage.url, token="secret"), embed=True, codecs={"bases": [{"name": "refdiff"}]},
        reference=str(tmp_path / "ref.fa"),
    )  # fmt: skip
    (tmp_path / "ref.fa").unlink()
    found = agd.open(storage.url, token="secret")
    assert_equal(found[:]["bases"], dataset[:]["bases"])
    assert embed_reference(found)[1].embedded is False
    assert verify(found, deep=True).problems == ()
    remove(storage)
    assert list(storage.keys()) == list(storage.inside("reference.agd").keys()) == []


def test_a_damaged_embedded_reference_is_found(dataset: Dataset, tmp_path: Path) -> None:
    recompress(dataset, embed=True, codecs={"bases": [{"name": "refdiff"}]})
    inner = Path(dataset.url) / "reference.agd"
    victim = next(path for path in inner.iterdir() if path.name.endswith(".bases"))
    victim.unlink()
    found = verify(agd.open(dataset.url)).problems
    assert [problem.what for problem in found if "reference.agd" in problem.what]


def test_what_cannot_be_embedded(tmp_path: Path, dataset: Dataset) -> None:
    agd.import_fastq(str(tmp_path / "R1.fq"), output=str(tmp_path / "reads.agd"))
    with pytest.raises(ColumnError, match="no alignments"):
        embed_reference(agd.open(str(tmp_path / "reads.agd")))
    other = tmp_path / "other.fa"
    other.write_text(">chr1\nACGT\n")
    (tmp_path / "ref.fa").unlink()
    with pytest.raises(ReferenceNotFoundError):
        embed_reference(dataset, reference=str(other))
    assert agd.open(dataset.url).manifest.generation == dataset.manifest.generation


def test_a_reference_that_an_older_generation_needs_is_left_alone(tmp_path: Path) -> None:
    """Others are embedded after going back: the numbers of all generations are taken."""
    url, letters = str(tmp_path / "a.agd"), np.random.default_rng(5).choice(list("ACGT"), 60_000)
    (tmp_path / "ref.fa").write_text(f">c\n{''.join(letters)}\n")
    texts = []
    # Reads that differ from the reference at every so many bases: only short seeds find the last of them.
    for i, apart in enumerate((150, 150, 52, 52, 25, 25)):
        read = letters[3_000 + 8_000 * i :][:150].copy()
        for at in range(apart - 1, 150, apart):
            read[at] = "ACGT"["CGTA".index(read[at])]
        texts.append(f"@r{i}\n{''.join(read)}\n+\n{'I' * 150}\n")
    (tmp_path / "r.fq").write_text("".join(texts))
    agd.import_fastq(str(tmp_path / "r.fq"), output=url)

    def again(seed: int) -> int:
        """Align in another way, and keep what lies under these alignments."""
        recompress(agd.open(url), columns=["bases"], profile="fast")
        agd.align(agd.open(url), str(tmp_path / "ref.fa"), aligner_args=f"--min-seed {seed}", overwrite=True)
        recompress(agd.open(url), columns=["bases"], codecs={"bases": [{"name": "refdiff", "level": 3}]}, embed=True)
        return agd.open(url).manifest.generation

    first = again(60)
    second = again(15)
    checkout(agd.open(url), first)
    third = again(45)
    os.rename(tmp_path / "ref.fa", tmp_path / "elsewhere.fa")
    for generation in (first, second, third):
        assert verify(agd.open(url, generation=generation), deep=True).problems == ()


def small(dataset: Dataset) -> Dataset:
    """Stored as differences to the reference, which it keeps."""
    recompress(dataset, profile="small", embed=True, codecs={"bases": [{"name": "refdiff"}]})
    return agd.open(dataset.url)


def test_a_concatenation_keeps_what_its_parts_keep(dataset: Dataset, tmp_path: Path) -> None:
    reads, other = [str(tmp_path / "O1.fq"), str(tmp_path / "O2.fq")], str(tmp_path / "other.agd")
    agd.simulate(*reads, reference=str(tmp_path / "ref.fa"), pairs=20, seed=8)
    agd.import_fastq(*reads, output=other)
    agd.align(agd.open(other), str(tmp_path / "ref.fa"), read_group="@RG\tID:s\tSM:s")
    if "tags" in dataset.columns or dataset.manifest.pairing == "single":
        agd.sort(agd.open(other), other := str(tmp_path / "sorted-other.agd"))
    expected = [dataset[:], agd.open(other)[:]]
    parts = [small(dataset), small(agd.open(other))]
    os.rename(tmp_path / "ref.fa", tmp_path / "elsewhere.fa")
    agd.cat(parts, tmp_path / "all.agd")
    found = agd.open(str(tmp_path / "all.agd"))
    assert "refdiff" in str(found.manifest.columns["bases"].codecs)
    for batch, start in zip(expected, (0, len(parts[0])), strict=True):
        for name, column in found[start : start + len(batch)].columns.items():
            assert_equal(column, batch[name])
    assert verify(found, deep=True).problems == ()
    letters = [part.genome.load()[0] for part in parts]
    assert not np.array_equal(*letters)
    np.testing.assert_array_equal(found.genome.load()[0], np.maximum(*letters))


def test_parts_that_keep_their_reference_go_with_those_that_need_none(dataset: Dataset, tmp_path: Path) -> None:
    plain, lacking, keeping = (str(tmp_path / name) for name in ("plain.agd", "lacking.agd", "keeping.agd"))
    for url in (plain, lacking, keeping):
        agd.cat([dataset], url)
    recompress(agd.open(lacking), codecs={"bases": [{"name": "refdiff"}]}, columns=["bases"])
    small(agd.open(keeping))
    with pytest.raises(UsageError, match=r"keeping.agd keeps its reference, .*lacking.agd needs it from elsewhere"):
        agd.cat([agd.open(keeping), agd.open(lacking)], tmp_path / "no.agd")
    assert not (tmp_path / "no.agd").exists()
    agd.cat([agd.open(plain), agd.open(keeping)], tmp_path / "both.agd")
    os.rename(tmp_path / "ref.fa", tmp_path / "elsewhere.fa")
    both = agd.open(str(tmp_path / "both.agd"))
    for name, column in both[len(dataset) :].columns.items():
        assert_equal(column, dataset[:][name])
