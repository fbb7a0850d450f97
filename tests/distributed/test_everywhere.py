"""The same result from one thread, many threads, other processes, and parts, for every verb that has them."""

from __future__ import annotations

import functools
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pysam
import pytest

pytest.importorskip("distributed")

import agd
from agd.aligners.align import align
from agd.cli import run
from agd.convert.finalise import finalise as finalise_url
from agd.convert.gc import gc_at
from agd.convert.many import import_many, read_list
from agd.convert.sam_out import count_records
from agd.convert.streams import open_input
from agd.dataset import Dataset
from agd.errors import UsageError
from agd.ops import subset as subsets
from agd.ops.cat import cat
from agd.ops.depth import depths, runs, whole_references
from agd.ops.embed import embed_reference
from agd.ops.finalise import GapsError, finalise
from agd.ops.partition import Partition
from agd.ops.recompress import recompress
from agd.ops.select import Selection
from agd.ops.verify import verify
from agd.run import Runner, SerialRunner, ThreadRunner
from agd.run.dask import DaskRunner
from agd.storage import TEMPORARY_PREFIX, LocalStorage, open_storage
from agd.testing import PicklingRunner, content_digest

#: No result of a task, and no item, is larger than this: what is, goes through the store.
SMALL = 64 << 10


@pytest.fixture(params=["serial", "threads", "pickling", "dask"])
def runner(request: pytest.FixtureRequest, dask: DaskRunner) -> Iterator[Runner]:
    if request.param == "dask":
        yield dask
    elif request.param == "pickling":
        with PicklingRunner() as pickling:
            yield pickling
            assert 0 < pickling.largest_result < SMALL
            assert 0 < pickling.largest_item < SMALL
    else:
        with SerialRunner() if request.param == "serial" else ThreadRunner(2) as made:
            yield made


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reads, a reference, and what one thread makes of them."""
    folder = tmp_path_factory.mktemp("everywhere")
    reads = [str(folder / f"R{i}.fq") for i in (1, 2)]
    agd.simulate(
        *reads, pairs=1200, genome=str(folder / "genome.fa"), genome_length=20_000, contigs=2, read_length=100,
        duplicates=0.2, seed=5,
    )  # fmt: skip
    with SerialRunner() as serial:
        agd.import_fastq(*reads, output=str(folder / "reads.agd"), chunk_records=350, runner=serial)
        shutil.copytree(folder / "reads.agd", folder / "aligned.agd")
        align(agd.open(str(folder / "aligned.agd")), str(folder / "genome.fa"), runner=serial)
        aligned = agd.open(str(folder / "aligned.agd"))
        agd.sort(aligned, str(folder / "sorted.agd"), chunk_records=400, runner=serial)
        shutil.copytree(folder / "sorted.agd", folder / "marked.agd")
        agd.dedup(agd.open(str(folder / "marked.agd")), runner=serial)
    return folder


def left_over(url: str) -> list[str]:
    return [key for key in list(open_storage(url).keys()) if key.startswith(("draft-", TEMPORARY_PREFIX))]


def same(url: str, expected: Path) -> None:
    assert content_digest(agd.open(url)) == content_digest(agd.open(str(expected)))
    assert left_over(url) == []


def shuffled_parts(count: int) -> list[Partition]:
    """All parts in some order, two of them twice."""
    parts = [Partition(number, count) for number in range(1, count + 1)]
    random.Random(count).shuffle(parts)
    return [*parts[:2], *parts]


@pytest.fixture(scope="module")
def lanes(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs in three files each, of different numbers of reads, and the list of them."""
    folder = tmp_path_factory.mktemp("lanes")
    cuts = [0, 500, 501, 1200]
    for mate in (1, 2):
        lines = (inputs / f"R{mate}.fq").read_text().splitlines(keepends=True)
        for lane in range(3):
            (folder / f"L{lane}_{mate}.fq").write_text("".join(lines[4 * cuts[lane] : 4 * cuts[lane + 1]]))
    rows = [f"{folder}/L{lane}_1.fq\t{folder}/L{lane}_2.fq\n" for lane in range(3)]
    (folder / "lanes.txt").write_text("# lanes of one run\n" + "".join(rows))
    import_many("fastq", read_list(str(folder / "lanes.txt"), "fastq"), folder / "one.agd", runner=SerialRunner(),
                chunk_records=150)  # fmt: skip
    return folder


def test_import_of_many_files(runner: Runner, lanes: Path, inputs: Path, tmp_path: Path) -> None:
    url = tmp_path / "s.agd"
    report = import_many(
        "fastq", read_list(str(lanes / "lanes.txt"), "fastq"), url, runner=runner, chunk_records=150
    )
    assert (report.records, report.pairs) == (2400, 1200)
    same(str(url), lanes / "one.agd")
    assert [path.name for path in tmp_path.iterdir()] == ["s.agd"]
    one, two = str(tmp_path / "1.fq"), str(tmp_path / "2.fq")
    agd.export_fastq(agd.open(str(url)), one, two)
    assert [Path(path).read_bytes() for path in (one, two)] == [
        (inputs / name).read_bytes() for name in ("R1.fq", "R2.fq")
    ]
    assert len(agd.open(str(url)).manifest.sources) == 6


def test_import_of_many_files_in_parts(lanes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = str(tmp_path / "s.agd")
    command = ["import", "fastq", "--list", str(lanes / "lanes.txt"), "-o", url, "-c", "150", "--quiet", "--partition"]
    for number in (3, 1, 3):
        assert run([*command, f"{number}/3"]) == 0
    assert run(["finalise", url]) == 1
    assert "1 of 3 parts are not done: 2 (files 1" in capsys.readouterr().err
    assert run([*command[:-3], "160", "--partition", "2/3"]) == 1, "with other parameters"
    assert "other inputs or parameters" in capsys.readouterr().err
    assert run([*command, "2/3"]) == 0
    assert run(["finalise", url, "--quiet"]) == 0
    same(url, lanes / "one.agd")
    assert [path.name for path in tmp_path.iterdir()] == ["s.agd"]
    assert run(["import", "fastq", "a.fq", "-o", url, "--partition", "1/2"]) == 2
    assert run(["import", "fastq", "-o", url]) == 2


@pytest.mark.parametrize("kind", ["import", "export"])
def test_parts_that_are_given_up(
    lanes: Path, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    output = str(tmp_path / ("s.agd" if kind == "import" else "s.bam"))
    command = ["import", "fastq", "--list", str(lanes / "lanes.txt"), "-o", output, "-c", "150"]
    if kind == "export":
        command = ["export", "bam", str(inputs / "sorted.agd"), "-o", output]
    assert run([*command, "--quiet", "--partition", "2/3"]) == 0
    (tmp_path / Path(output + ".parts").name / "notes.txt").write_text("not ours")
    before = sorted(tmp_path.rglob("*"))
    assert run(["gc", output]) == 0
    assert "objects of an unfinished run stay" in capsys.readouterr().out
    assert run(["gc", output, "--drafts", "--dry-run"]) == 0
    assert sorted(tmp_path.rglob("*")) == before
    assert run(["gc", f"{output}.parts", "--drafts"]) == 0
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["notes.txt"]
    assert run([*command, "--quiet", "--partition", "1/2"]) == 0, "nothing blocks another attempt"


def test_parts_that_were_joined_and_not_removed(lanes: Path, inputs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "s.bam.parts"
    for number in (1, 2):
        agd.export_bam(agd.open(str(inputs / "sorted.agd")), str(tmp_path / "s.bam"), partition=Partition(number, 2))
    pieces = [(path, path.read_bytes()) for path in folder.glob("piece-*")]
    finalise_url(str(tmp_path / "s.bam"))
    folder.mkdir()
    for path, data in pieces:
        path.write_bytes(data)
    assert gc_at(str(tmp_path / "s.bam")).objects == len(pieces) > 1
    assert not folder.exists()
    assert pysam.samtools.view("-c", str(tmp_path / "s.bam")).strip() == str(len(agd.open(str(inputs / "sorted.agd"))))


def test_import_of_many_alignments(runner: Runner, inputs: Path, tmp_path: Path) -> None:
    files = [str(tmp_path / f"{i}.bam") for i in range(2)]
    for file, name in zip(files, ("sorted.agd", "marked.agd"), strict=True):
        agd.export_bam(agd.open(str(inputs / name)), file, index=False)
    import_many("bam", [[file] for file in files], tmp_path / "s.agd", runner=runner, chunk_records=300)
    import_many("bam", [[file] for file in files], tmp_path / "t.agd", runner=SerialRunner(), chunk_records=300)
    same(str(tmp_path / "s.agd"), tmp_path / "t.agd")
    assert pysam.samtools.view("-c", files[0]) == pysam.samtools.view("-c", files[1])
    assert len(agd.open(str(tmp_path / "s.agd"))) == 2 * int(pysam.samtools.view("-c", files[0]))


def test_align(runner: Runner, inputs: Path, tmp_path: Path) -> None:
    url = shutil.copytree(inputs / "reads.agd", tmp_path / "s.agd")
    align(agd.open(str(url)), str(inputs / "genome.fa"), runner=runner)
    same(str(url), inputs / "aligned.agd")


@pytest.mark.parametrize("by", ["coordinate", "queryname"])
def test_sort(runner: Runner, inputs: Path, tmp_path: Path, by: str) -> None:
    dataset, url = agd.open(str(inputs / "aligned.agd")), str(tmp_path / "t.agd")
    report = agd.sort(dataset, url, by=by, chunk_records=400, runner=runner)
    expected = inputs / "sorted.agd"
    if by != "coordinate":
        expected = tmp_path / "expected.agd"
        agd.sort(dataset, str(expected), by=by, chunk_records=400, runner=SerialRunner())
    same(url, expected)
    assert (report.spilled_bytes > 0) == isinstance(runner, DaskRunner | PicklingRunner)


def test_dedup(runner: Runner, inputs: Path, tmp_path: Path) -> None:
    for source in ("sorted.agd", "aligned.agd"):
        url = str(shutil.copytree(inputs / source, tmp_path / source))
        report = agd.dedup(agd.open(url), runner=runner)
        assert report.marked > 100
        if source == "sorted.agd":
            same(url, inputs / "marked.agd")


@pytest.mark.parametrize("count", [1, 3, 9])
def test_dedup_in_parts(inputs: Path, tmp_path: Path, count: int) -> None:
    url = str(shutil.copytree(inputs / "sorted.agd", tmp_path / "s.agd"))
    for part in shuffled_parts(count):
        agd.dedup(agd.open(url), metrics=str(tmp_path / "m.txt"), partition=part)
        assert "duplicates" not in agd.open(url).columns
    report = finalise(open_storage(url))
    assert (report.operation, report.parts, report.published) == ("dedup", count, True)
    same(url, inputs / "marked.agd")
    assert "PERCENT_DUPLICATION" in (tmp_path / "m.txt").read_text()
    assert sorted(open_storage(url).keys()) == sorted(open_storage(inputs / "marked.agd").keys())


def bam_text(path: Path) -> str:
    """Records, header but for the command lines, and a look through the index."""
    header = [line for line in pysam.samtools.view("-H", str(path)).splitlines() if not line.startswith("@PG")]
    first = pysam.AlignmentFile(str(path)).references[0]
    return "\n".join(header) + pysam.samtools.view(str(path)) + pysam.samtools.view(str(path), first)


def test_export_bam(runner: Runner, inputs: Path, tmp_path: Path) -> None:
    dataset = agd.open(str(inputs / "marked.agd"))
    report = agd.export_bam(dataset, str(tmp_path / "a.bam"), runner=runner)
    expected = agd.export_bam(dataset, str(tmp_path / "b.bam"), runner=SerialRunner())
    assert (report.records, report.bases) == (expected.records, expected.bases)
    assert (tmp_path / "a.bam").read_bytes() == (tmp_path / "b.bam").read_bytes()
    assert (tmp_path / "a.bam.bai").read_bytes() == (tmp_path / "b.bam.bai").read_bytes()
    assert len(list(tmp_path.iterdir())) == 4


def test_export_bam_in_parts(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, out = agd.open(str(inputs / "marked.agd")), tmp_path / "a.bam"
    for part in shuffled_parts(4)[:-1]:
        agd.export_bam(dataset, str(out), partition=part)
    missing = shuffled_parts(4)[-1]
    with pytest.raises(GapsError, match=f"1 of 4 parts are not done: {missing.number} "):
        finalise_url(str(out))
    with pytest.raises(agd.AgdError, match="other inputs or parameters"):
        agd.export_bam(dataset, str(out), level=1, partition=missing)
    # A piece that is torn, of a part that is done.
    torn = sorted((tmp_path / "a.bam.parts").glob("piece-*"))[0]
    torn.write_bytes(torn.read_bytes()[:100])
    agd.export_bam(dataset, str(out), partition=missing)
    with pytest.raises(GapsError, match="1 of 4"):
        finalise_url(str(out))
    for part in shuffled_parts(4):
        agd.export_bam(dataset, str(out), partition=part)
    delete, deleted = LocalStorage.delete, []
    monkeypatch.setattr(LocalStorage, "delete", lambda self, key: (deleted.append(key), delete(self, key))[1])
    assert run(["finalise", str(out), "--json"]) == 0
    assert sorted(set(deleted)) == sorted(deleted)  # of a store that is far away, every request counts
    assert '"operation": "export bam"' in capsys.readouterr().out
    agd.export_bam(dataset, str(tmp_path / "b.bam"))
    assert bam_text(out) == bam_text(tmp_path / "b.bam")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bam", "a.bam.bai", "b.bam", "b.bam.bai"]


def test_export_sam(runner: Runner, inputs: Path, tmp_path: Path) -> None:
    for source in ("marked", "aligned"):
        dataset = agd.open(str(inputs / f"{source}.agd"))
        found = agd.export_sam(dataset, str(tmp_path / "a.sam"), runner=runner)
        expected = agd.export_sam(dataset, str(tmp_path / "b.sam"), runner=SerialRunner())
        assert (tmp_path / "a.sam").read_bytes() == (tmp_path / "b.sam").read_bytes()
        assert (found.records, found.bases, found.digest) == (expected.records, expected.bases, expected.digest)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_export_sam_in_parts(inputs: Path, tmp_path: Path, suffix: str) -> None:
    dataset, out = agd.open(str(inputs / "marked.agd")), str(tmp_path / f"a.sam{suffix}")
    for part in shuffled_parts(3):
        agd.export_sam(dataset, out, level=3 if suffix else None, partition=part)
    assert finalise_url(out).operation == "export sam"
    agd.export_sam(dataset, str(tmp_path / "b.sam"))
    with open_input(out) as stream:
        assert b"".join(iter(lambda: bytes(stream.read()), b"")) == (tmp_path / "b.sam").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(UsageError, match="a selection"):
        agd.export_sam(dataset, out, selection=Selection(min_mapq=3), partition=Partition(1, 2))


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".bz2"])
def test_nothing_is_exported_in_parts(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "e.fq").touch()
    agd.import_fastq(str(tmp_path / "e.fq"), output=str(tmp_path / "e.agd"))
    out = str(tmp_path / f"o.fq{suffix}")
    agd.export_fastq(agd.open(str(tmp_path / "e.agd")), out, partition=Partition(1, 1))
    finalise_url(out)
    agd.export_fastq(agd.open(str(tmp_path / "e.agd")), str(tmp_path / f"one.fq{suffix}"))
    for path in (out, str(tmp_path / f"one.fq{suffix}")):
        assert (Path(path).stat().st_size > 0) == bool(suffix)
        with open_input(path) as stream:
            assert not stream.read()


@pytest.mark.parametrize("parts", [None, Partition(1, 1)])
@pytest.mark.parametrize(("name", "level"), [("o.sam", 3), ("o.sam.gz", 22), ("o.sam.bz2", 0), ("o.sam.zst", 0)])
def test_levels_that_there_are_not(
    inputs: Path, tmp_path: Path, name: str, level: int, parts: Partition | None
) -> None:
    dataset = agd.open(str(inputs / "marked.agd"))
    with pytest.raises(UsageError, match=r"is not compressed|there is no level"):
        agd.export_sam(dataset, str(tmp_path / name), level=level, partition=parts)
    with pytest.raises(UsageError, match="there is no level 13 of bgzf"):
        agd.export_bam(dataset, str(tmp_path / "o.bam"), level=13, partition=parts)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("parts", [None, Partition(1, 1)])
@pytest.mark.parametrize("suffix", ["sam", "sam.gz", "bam", "cram", "fastq", "FQ.gz"])
def test_names_of_another_kind(inputs: Path, tmp_path: Path, suffix: str, parts: Partition | None) -> None:
    dataset, out = agd.open(str(inputs / "sorted.agd")), str(tmp_path / f"o.{suffix}")
    exports = {"sam": agd.export_sam, "bam": agd.export_bam, "fastq": agd.export_fastq}
    if parts is None:
        exports["cram"] = functools.partial(agd.export_cram, embed=True)
    for kind, export in exports.items():
        if kind == suffix.lower().replace("fq", "fastq").removesuffix(".gz"):
            continue
        with pytest.raises(UsageError, match=f"would be {kind.upper()}"):
            export(dataset, out, **({} if parts is None else {"partition": parts}))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".bz2"])
def test_export_fastq(inputs: Path, tmp_path: Path, suffix: str) -> None:
    dataset = agd.open(str(inputs / "reads.agd"))
    one, two = (str(tmp_path / f"R{i}.fq{suffix}") for i in (1, 2))
    for part in shuffled_parts(3):
        agd.export_fastq(dataset, one, two, partition=part)
    assert finalise_url(one).records == len(dataset)
    for made, given in ((one, "R1.fq"), (two, "R2.fq")):
        with open_input(made) as stream:
            assert b"".join(iter(lambda s=stream: bytes(s.read()), b"")) == (inputs / given).read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_export_fastq_on_runners(runner: Runner, inputs: Path, tmp_path: Path) -> None:
    one, two = (str(tmp_path / f"R{i}.fq") for i in (1, 2))
    report = agd.export_fastq(agd.open(str(inputs / "aligned.agd")), one, two, runner=runner)
    assert report.records == 2400
    assert [Path(path).read_bytes() for path in (one, two)] == [
        (inputs / name).read_bytes() for name in ("R1.fq", "R2.fq")
    ]
    agd.export_fastq(agd.open(str(inputs / "sorted.agd")), one, runner=runner)
    assert Path(one).read_bytes().count(b"\n") == 4 * 2400


def test_what_cannot_be_exported_in_parts(inputs: Path, tmp_path: Path) -> None:
    by_name = str(tmp_path / "n.agd")
    agd.sort(agd.open(str(inputs / "aligned.agd")), by_name, by="queryname")
    part = Partition(1, 2)
    with pytest.raises(UsageError, match="mates are matched by one process"):
        agd.export_fastq(agd.open(by_name), str(tmp_path / "1.fq"), str(tmp_path / "2.fq"), partition=part)
    with pytest.raises(UsageError, match="standard output"):
        agd.export_bam(agd.open(by_name), "-", partition=part)
    with pytest.raises(UsageError, match="a selection"):
        agd.export_bam(agd.open(by_name), str(tmp_path / "x.bam"), selection=Selection(min_mapq=3), partition=part)


def stretches(dataset: Dataset, runner: Runner) -> list[list[int]]:
    found = depths(dataset, whole_references(dataset), runner=runner)
    return [array.tolist() for stretch in found for array in runs(stretch)]


REPORTS: dict[str, Callable[[Dataset, Runner], Any]] = {
    "flagstat": lambda ds, runner: agd.flagstat(ds, selection=Selection(min_mapq=1), runner=runner).text(),
    "idxstats": lambda ds, runner: agd.idxstats(ds, runner=runner).text(),
    "stats": lambda ds, runner: agd.stats(ds, runner=runner).to_json(),
    "coverage": lambda ds, runner: agd.coverage(ds, runner=runner).text(),
    "depth": stretches,
    "report": lambda ds, runner: agd.report(ds, runner=runner).to_json(),
    "view -c": lambda ds, runner: count_records(ds, Selection(exclude=4), runner=runner),
    "verify": lambda ds, runner: verify(ds, runner=runner).to_json(),
    "verify --deep": lambda ds, runner: verify(ds, deep=True, runner=runner).to_json(),
}


@pytest.mark.parametrize("report", REPORTS)
def test_reports(runner: Runner, inputs: Path, report: str) -> None:
    dataset = agd.open(str(inputs / "marked.agd"))
    found = REPORTS[report](dataset, runner)
    assert found == REPORTS[report](dataset, SerialRunner())
    assert found
    assert left_over(dataset.url) == []


def test_embedding(runner: Runner, inputs: Path, tmp_path: Path) -> None:
    urls = [str(shutil.copytree(inputs / "marked.agd", tmp_path / name)) for name in ("s.agd", "t.agd")]
    for url, other in zip(urls, (runner, SerialRunner()), strict=True):
        embed_reference(agd.open(url), reference=str(inputs / "genome.fa"), runner=other)
    same(f"{urls[0]}/reference.agd", tmp_path / "t.agd" / "reference.agd")
    assert left_over(urls[0]) == []


def test_recompress(runner: Runner, inputs: Path, tmp_path: Path) -> None:
    url = str(shutil.copytree(inputs / "marked.agd", tmp_path / "s.agd"))
    recompress(agd.open(url), profile="fast", columns=["bases", "metadata"], runner=runner)
    same(url, inputs / "marked.agd")


@pytest.fixture(scope="module")
def changed(inputs: Path) -> Path:
    """The sorted dataset with its references in another order and a read group of the same name that differs."""
    for name, group in (("one", "L1"), ("two", "L2")):
        text = pysam.samtools.view("-h", str(_bam(inputs))).replace("@SQ", f"@RG\tID:a\tLB:{group}\n@SQ", 1)
        (inputs / f"{name}.sam").write_text("".join(
            line if line[0] == "@" else line.rstrip("\n") + "\tRG:Z:a\n" for line in text.splitlines(keepends=True)
        ))  # fmt: skip
        agd.import_sam(str(inputs / f"{name}.sam"), str(inputs / f"{name}.agd"), chunk_records=330)
    return inputs


def _bam(inputs: Path) -> Path:
    if not (inputs / "sorted.bam").exists():
        agd.export_bam(agd.open(str(inputs / "sorted.agd")), str(inputs / "sorted.bam"))
    return inputs / "sorted.bam"


def test_merge(runner: Runner, changed: Path, tmp_path: Path) -> None:
    lanes = [agd.open(str(changed / f"{name}.agd")) for name in ("one", "two", "sorted")]
    report = agd.merge(lanes[:2], tmp_path / "m.agd", chunk_records=250, runner=runner)
    agd.merge(lanes[:2], tmp_path / "n.agd", chunk_records=250, runner=SerialRunner())
    same(str(tmp_path / "m.agd"), tmp_path / "n.agd")
    assert report.records == 2 * len(lanes[0]) == len(agd.open(str(tmp_path / "m.agd")))
    assert verify(agd.open(str(tmp_path / "m.agd")), deep=True).problems == ()
    assert (report.spilled_bytes > 0) == isinstance(runner, DaskRunner | PicklingRunner)


def test_cat_and_collate(runner: Runner, changed: Path, tmp_path: Path) -> None:
    dataset = agd.open(str(changed / "sorted.agd"))
    for name, other in (("m", runner), ("n", SerialRunner())):
        cat([dataset, dataset], tmp_path / f"c{name}.agd", runner=other)
        agd.collate(dataset, tmp_path / f"g{name}.agd", chunk_records=300, runner=other)
    for verb in "cg":
        same(str(tmp_path / f"{verb}m.agd"), tmp_path / f"{verb}n.agd")


@pytest.mark.parametrize(
    ("source", "wanted", "limit"),
    [
        ("marked", Selection(min_mapq=30, exclude=1024), None), ("marked", Selection(require=64), 30_000),
        ("marked", Selection(min_mapq=254), None), ("reads", Selection(), 30_000), ("reads", None, None),
    ],
)  # fmt: skip
def test_subset(
    runner: Runner, inputs: Path, tmp_path: Path, source: str, wanted: Selection | None, limit: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if limit is not None:
        monkeypatch.setattr(subsets, "DEFAULT_CHUNK_BYTES", limit)  # chunks are cut by their bases
    dataset = agd.open(str(inputs / f"{source}.agd"))
    selection = wanted or Selection(expression=subsets.NameCondition(dataset.manifest.names, None, 0.4, 3))
    report = subsets.subset(dataset, tmp_path / "m.agd", selection=selection, chunk_records=431, runner=runner)
    subsets.subset(dataset, tmp_path / "n.agd", selection=selection, chunk_records=431, runner=SerialRunner())
    same(str(tmp_path / "m.agd"), tmp_path / "n.agd")
    assert report.records == count_records(dataset, selection, runner=SerialRunner())
    found, expected = (agd.open(str(tmp_path / name)).chunks for name in ("m.agd", "n.agd"))
    assert [(chunk.first, chunk.count) for chunk in found] == [(chunk.first, chunk.count) for chunk in expected]
    assert all(chunk.count <= (300 if limit else 432) for chunk in found)
