"""minibwa inside the process: placements are its own, the rest of the records is consistent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import minibwa
import numpy as np
import pytest

from agd.aligners.align import align
from agd.aligners.minibwa import DEFAULT_INSERT_SIZE, insert_size_of
from agd.batch import Alignments
from agd.dataset import Dataset
from agd.errors import AlignerError, ConflictError, UsageError
from agd.run import SerialRunner, ThreadRunner
from agd.types import CIGAR_OPERATIONS, Flag
from tests.support.reads import Read, dataset, interleave, read_fastq

Make = Callable[..., Dataset]


def rows(column: Alignments) -> list[Any]:
    """One tuple per record, None for null fields."""
    fixed = [getattr(column, name).tolist() for name in Alignments.FIXED]
    valid = [True] * len(column) if column.valid is None else column.valid.tolist()
    ragged = zip(([x.tolist() for x in column.cigar]), column.tags, strict=True)
    return [(*f, *r) if v else None for f, r, v in zip(zip(*fixed, strict=True), ragged, valid, strict=True)]


def contents(ds: Dataset) -> dict[str, list[Any]]:
    """All alignments of a dataset."""
    names = [n for n in ds.columns if n == "results" or n.startswith("secondary")]
    return {n: [row for b in ds.batches([n]) for row in rows(b.alignments(n))] for n in names}


def bare_loop(prefix: Path, reads: list[Read], insert_size: list[int]) -> list[tuple[Any, ...] | None]:
    """Primary placements as a loop over map_pair gives them."""
    index, options = minibwa.Index.load(str(prefix)), minibwa.Opts()
    options.set_paired(True)
    options.set_pe_insert_size(*insert_size)
    out: list[tuple[Any, ...] | None] = []
    for first, second in zip(reads[::2], reads[1::2], strict=True):
        names = [r[0].split()[0].decode().removesuffix(f"/{k + 1}") for k, r in enumerate((first, second))]
        bases = [r[1].decode() or "N" for r in (first, second)]
        for hits in minibwa.map_pair(index, options, names[0], bases[0], names[1], bases[1]):
            best = [h for h in hits if h.is_primary]
            assert len(best) == bool(hits)
            h = best[0] if hits else None
            out.append((h.contig, h.ref_start, h.reverse, h.mapq, h.cigar) if h else None)
    return out


def placements(ds: Dataset) -> list[tuple[Any, ...] | None]:
    """The same from the results of a dataset."""
    names = [r.name for r in ds.manifest.references]
    out: list[tuple[Any, ...] | None] = []
    for batch in ds.batches(["results"]):
        for flag, reference, position, quality, *_, cigar, _ in rows(batch.alignments()):
            operations = [(CIGAR_OPERATIONS[x & 15], x >> 4) for x in cigar]
            kept = [x for x in operations if x[0] not in "SH"]
            mapped = not flag & Flag.UNMAPPED
            out.append((names[reference], position, bool(flag & Flag.REVERSE), quality, kept) if mapped else None)
    return out


def index_of(reference: Path) -> Path:
    (found,) = reference.with_name(f"{reference.name}.agd-index").glob("minibwa-*/*.mbw")
    return found.with_suffix("")


def test_primary_placements_are_those_of_a_bare_loop(make_dataset: Make, pairs: list[Read], reference: Path) -> None:
    ds = make_dataset(pairs)
    report = align(ds, str(reference))
    ds = Dataset.open(ds.url)
    expected = bare_loop(index_of(reference), pairs, report.parameters["insert_size"])
    assert placements(ds) == expected
    assert report.reads == len(pairs)
    assert report.mapped == sum(x is not None for x in expected)
    assert report.proper > 0.85 * len(pairs)


@pytest.mark.parametrize("chunk", [2, 14, 100])
def test_same_results_for_any_chunks_and_workers(
    make_dataset: Make, pairs: list[Read], reference: Path, chunk: int
) -> None:
    found = []
    some = pairs[-240:]
    for runner, size in ((SerialRunner(), 100_000), (ThreadRunner(1), chunk), (ThreadRunner(2), chunk)):
        ds = make_dataset(some, chunk=size)
        align(ds, str(reference), runner=runner)
        found.append(contents(Dataset.open(ds.url)))
    assert found[0] == found[1] == found[2]


def test_single_reads(make_dataset: Make, pairs: list[Read], reference: Path) -> None:
    found = []
    for chunk in (7, 1000):
        ds = make_dataset(pairs, paired=False, chunk=chunk)
        report = align(ds, str(reference))
        assert "insert_size" not in report.parameters
        found.append(contents(Dataset.open(ds.url)))
    assert found[0] == found[1]
    flags = {row[0] for row in found[0]["results"]}
    assert flags == {0, 4, 16}
    for row in found[0]["results"]:
        assert row[4:7] == (-1, -1, 0)  # no mate


def test_mates_agree(make_dataset: Make, pairs: list[Read], reference: Path) -> None:
    ds = make_dataset(pairs)
    align(ds, str(reference))
    records = contents(Dataset.open(ds.url))["results"]
    for first, second in zip(records[::2], records[1::2], strict=True):
        for own, mate, bit in ((first, second, Flag.READ1), (second, first, Flag.READ2)):
            flag = own[0]
            assert flag & Flag.PAIRED
            assert flag & (Flag.READ1 | Flag.READ2) == bit
            assert bool(flag & Flag.MATE_UNMAPPED) == bool(mate[0] & Flag.UNMAPPED)
            assert bool(flag & Flag.MATE_REVERSE) == bool(mate[0] & Flag.REVERSE)
            assert own[4:6] == mate[1:3]
            if flag & Flag.PROPER_PAIR:
                assert mate[0] & Flag.PROPER_PAIR
                assert own[1] == mate[1]
                assert not flag & (Flag.UNMAPPED | Flag.MATE_UNMAPPED)
                assert bool(flag & Flag.REVERSE) != bool(flag & Flag.MATE_REVERSE)
        assert first[6] == -second[6]


def test_supplementary_alignments_have_columns_where_there_are_some(
    make_dataset: Make, pairs: list[Read], reference: Path
) -> None:
    ds = make_dataset(pairs, chunk=10)
    report = align(ds, str(reference))
    ds = Dataset.open(ds.url)
    assert report.supplementary > 0
    assert "secondary0" in ds.columns
    with_some = [c for c in ds.chunks if "secondary0" in c.cells]
    assert 0 < len(with_some) < len(ds.chunks)
    for chunk in with_some:
        batch = ds.read(chunk, ["bases", "results", "secondary0"])
        further = batch.alignments("secondary0")
        assert further.valid is not None
        assert further.valid.any()
        for i in np.flatnonzero(further.valid).tolist():
            assert further.flag[i] & Flag.SUPPLEMENTARY
            length = sum(int(x >> 4) for x in further.cigar[i] if CIGAR_OPERATIONS[x & 15] in "MISH=X")
            assert length == batch.ragged("bases").lengths[i]
            assert b"SAZ" in further.tags[i]


def test_header_references_and_provenance(make_dataset: Make, pairs: list[Read], reference: Path) -> None:
    ds = make_dataset(pairs[:100])
    align(ds, str(reference), read_group=r"@RG\tID:lane 1\tSM:s", command="agd align x")
    ds = Dataset.open(ds.url)
    lines = ds.manifest.header.splitlines()
    assert [x.split("\t")[1] for x in lines if x.startswith("@SQ")] == ["SN:one", "SN:two", "SN:three|x"]
    assert all("\tM5:" in x for x in lines if x.startswith("@SQ"))
    assert "@RG\tID:lane 1\tSM:s" in lines
    assert [r.length for r in ds.manifest.references] == [30_000, 20_000, 12_500]
    step = ds.manifest.steps[-1]
    assert step["program"] == "agd align"
    assert step["command"] == "agd align x"
    assert step["parameters"]["aligner"] == "minibwa"
    assert step["parameters"]["reference"] == str(reference)
    assert len(step["parameters"]["insert_size"]) == 4
    assert all(b"RGZlane 1\0" in row[-1] for row in contents(ds)["results"])


def test_the_reference_is_noted_for_readers_in_other_folders(
    make_dataset: Make, pairs: list[Read], reference: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ds = make_dataset(pairs[:20])
    monkeypatch.chdir(reference.parent)
    align(ds, reference.name)
    assert Dataset.open(ds.url).manifest.steps[-1]["parameters"]["reference"] == str(reference.resolve())


def test_aligned_already_and_overwrite(make_dataset: Make, pairs: list[Read], reference: Path, tmp_path: Path) -> None:
    ds = make_dataset(pairs, chunk=500)
    align(ds, str(reference), aligner_args="--secondary")
    before = Dataset.open(ds.url)
    assert "secondary1" in before.columns
    with pytest.raises(UsageError, match="aligned already"):
        align(before, str(reference))
    with pytest.raises(ConflictError):
        align(ds, str(reference))  # an old generation, on which somebody else has worked since
    align(before, str(reference), overwrite=True)
    after = Dataset.open(ds.url)
    assert "secondary1" not in after.columns
    fresh = make_dataset(pairs, chunk=500)
    align(fresh, str(reference))
    assert contents(after) == contents(Dataset.open(fresh.url))
    assert contents(Dataset.open(ds.url, generation=before.manifest.generation)) == contents(before)


def test_a_stopped_run_is_taken_up(
    make_dataset: Make, pairs: list[Read], reference: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agd.aligners.minibwa import Minibwa

    whole = make_dataset(pairs, chunk=100)
    align(whole, str(reference))
    ds = make_dataset(pairs, chunk=100)
    original = Minibwa.align_batch

    def stopping(self: Minibwa, batch: Any) -> Any:
        if batch.first >= 600:
            raise KeyboardInterrupt
        return original(self, batch)

    monkeypatch.setattr(Minibwa, "align_batch", stopping)
    with pytest.raises(KeyboardInterrupt):
        align(ds, str(reference), runner=SerialRunner())
    assert "results" not in Dataset.open(ds.url).columns
    monkeypatch.setattr(Minibwa, "align_batch", original)
    report = align(ds, str(reference))
    assert 0 < report.resumed < report.chunks
    expected, found = Dataset.open(whole.url), Dataset.open(ds.url)
    assert contents(found) == contents(expected)
    assert [sorted(c.cells) for c in found.chunks] == [sorted(c.cells) for c in expected.chunks]


def test_in_memory(pairs: list[Read], reference: Path) -> None:
    ds = dataset("memory://s.agd", pairs, chunk=300)
    align(ds, str(reference))
    assert len(contents(Dataset.open("memory://s.agd"))["results"]) == len(pairs)


def test_no_reads(make_dataset: Make, reference: Path) -> None:
    ds = make_dataset([])
    report = align(ds, str(reference))
    assert (report.reads, report.chunks) == (0, 0)
    assert Dataset.open(ds.url).manifest.references


def test_index_is_reused_and_never_stale(
    make_dataset: Make, pairs: list[Read], contigs: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support.reads import write_fasta

    path = write_fasta(tmp_path / "own.fa", {"one": contigs["one"]})
    align(make_dataset(pairs[:20]), str(path))
    (first,) = tmp_path.glob("own.fa.agd-index/*/*.mbw")
    stamp = first.stat().st_mtime_ns
    align(make_dataset(pairs[:20]), str(path))
    assert first.stat().st_mtime_ns == stamp
    write_fasta(tmp_path / "own.fa", {"one": contigs["two"]})
    (tmp_path / "own.fa.agd-index" / ".agd-index-killed").mkdir()
    align(make_dataset(pairs[:20]), str(path))
    assert len(list((tmp_path / "own.fa.agd-index").iterdir())) == 2


def test_index_of_a_remote_reference_is_cached(
    make_dataset: Make, pairs: list[Read], reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with fsspec.open("memory://far/ref.fa", "wb") as file:
        file.write(reference.read_bytes())
    far, near = make_dataset(pairs[:200]), make_dataset(pairs[:200])
    align(far, "memory://far/ref.fa")
    align(near, str(reference))
    assert contents(Dataset.open(far.url)) == contents(Dataset.open(near.url))
    assert len(list((tmp_path / "cache").rglob("*.mbw"))) == 1


def test_a_damaged_index_is_an_error(
    make_dataset: Make, pairs: list[Read], contigs: dict[str, bytes], tmp_path: Path
) -> None:
    from tests.support.reads import write_fasta

    path = write_fasta(tmp_path / "own.fa", {"one": contigs["one"]})
    ds = make_dataset(pairs[:20])
    align(ds, str(path))
    for part in tmp_path.glob("own.fa.agd-index/*/*"):
        part.write_bytes(b"nonsense")
    again = make_dataset(pairs[:20])
    with pytest.raises(AlignerError, match="cannot be loaded"):
        align(again, str(path))
    assert not list(Path(again.url).glob("draft-*"))


def test_bad_arguments(make_dataset: Make, pairs: list[Read], reference: Path) -> None:
    for arguments in (
        "--nonsense", "--preset x", "'", "--min-seed -5", "--min-seed 0", "--min-seed 2000000000", "--min-seed x",
        *(f"--insert-size {size}" for size in ("5", "a,b,c,d", "0,0,0,0", "400,0,50,800", "400,100,-1,800",
                                               "400,100,500,800", "400,100,50,300", "400,100,50,99999999999")),
    ):  # fmt: skip
        with pytest.raises(UsageError, match="--aligner-args"):
            align(make_dataset(pairs[:20]), str(reference), aligner_args=arguments)
    with pytest.raises(UsageError, match="no aligner 'x'"):
        align(make_dataset(pairs[:20]), str(reference), aligner="x")
    with pytest.raises(UsageError, match="read group"):
        align(make_dataset(pairs[:20]), str(reference), read_group="ID:x")


def test_insert_size() -> None:
    rng = np.random.default_rng(5)
    normal = rng.normal(350, 40, 5000).astype(np.int64)
    outliers = rng.integers(2000, 9_999, 100)
    found = insert_size_of(np.concatenate([normal, outliers, [-5, 0, 10**8]]))
    assert abs(found.mean - 350) < 3
    assert abs(found.deviation - 40) < 3
    assert 150 < found.low < 250
    assert 450 < found.high < 560
    assert insert_size_of(normal[:19]) == DEFAULT_INSERT_SIZE
    assert insert_size_of(np.full(100, 250)).deviation >= 1


@pytest.mark.data
def test_real_pairs_as_a_bare_loop_places_them(make_dataset: Make, data: Path, tmp_path: Path) -> None:
    folder = data / "human_na12878_chr20"
    reads = interleave(*(read_fastq(folder / f"NA12878_chr20_R{k}.fastq.gz") for k in (1, 2)))[:12_000]
    reference = tmp_path / "ref.fa.gz"
    reference.write_bytes((folder / "hg19_chr20_9995001_11095000.fa.gz").read_bytes())
    ds = make_dataset(reads, chunk=5000)
    report = align(ds, str(reference))
    ds = Dataset.open(ds.url)
    assert placements(ds) == bare_loop(index_of(reference), reads, report.parameters["insert_size"])
    assert report.mapped > 0.99 * len(reads)
    assert report.proper > 0.98 * len(reads)
