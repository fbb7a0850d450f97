"""idxstats, stats, coverage and depth: the numbers of samtools."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pysam
import pytest

from agd.cli import run
from agd.convert.streams import open_input
from agd.dataset import Dataset
from agd.errors import InputError, UsageError
from agd.files import open_source
from agd.ops import depth as module
from agd.ops.coverage import coverage
from agd.ops.depth import bedgraph, depths, per_base, whole_references
from agd.ops.flagstat import flagstat
from agd.ops.idxstats import idxstats
from agd.ops.select import Selection, parse_region
from agd.ops.stats import stats
from agd.run import SerialRunner, ThreadRunner
from tests.support.sam_dataset import from_sam
from tests.support.samtools import samtools

REFERENCES = {"c1": 900, "c2": 400, "empty": 70, "c3": 300}
CIGARS = ["20M", "5S15M", "15M5S", "8M3I9M", "10M4D10M", "10M6N10M", "3H20M", "4=2X14=", "9M2P11M", "5M5I5M5D5M"]


def random_sam(records: int, seed: int) -> str:
    rng = random.Random(seed)
    lines = ["@HD\tVN:1.6\tSO:coordinate", *(f"@SQ\tSN:{name}\tLN:{size}" for name, size in REFERENCES.items())]
    rows = []
    for i in range(records):
        reference = rng.choice(["c1", "c1", "c2", "c3", "*"])
        flag = rng.choice([0, 1 | 0x40, 1 | 0x80, 3 | 0x40, 3 | 0x80]) | rng.choice([0, 16]) | rng.choice([0, 0, 32])
        flag |= rng.choice([0] * 12 + [4, 8, 0x100, 0x200, 0x400, 0x800])
        cigar = rng.choice(CIGARS)
        if reference == "*":
            flag, cigar = (flag & 0xC1) | 4, "*"
        flag &= 0xFFFF if flag & 1 else ~0x2A
        position = rng.randrange(1, REFERENCES[reference] - 40) if reference != "*" else 0
        length = rng.choice([1, 20, 20]) if flag & 4 else 20
        cigar = "*" if flag & 4 else cigar
        mate = rng.choice(["=\t40", "=\t300", "c3\t7", "*\t0"]) if flag & 1 and reference != "*" else "*\t0"
        size = rng.choice([0, 30, -40, 100, 9000]) if mate[0] == "=" else 0
        bases, quality = "".join(rng.choices("ACGT", k=length)), "".join(rng.choices("#5?I", k=length))
        if seed > 1 and rng.random() < 0.15:
            bases, quality = rng.choice([bases, bases, "*"]), "*"
        quality_of_mapping = rng.choice([0, 10, 60])
        row = [f"r{i}", flag, reference, position, quality_of_mapping, cigar, mate, size, bases, quality]
        rows.append((list(REFERENCES).index(reference) if reference != "*" else 9, position, row, rng.randrange(4)))
    rows.sort(key=lambda r: r[:2])
    for _, _, row, mismatches in rows:
        lines.append("\t".join(map(str, row)) + (f"\tNM:i:{mismatches}" if mismatches else ""))
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module", params=[1, 2, 3])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, str]:
    """A dataset, and a BAM of the same records with an index."""
    folder = tmp_path_factory.mktemp("reports")
    text = random_sam(400, request.param)
    (folder / "in.sam").write_text(text)
    bam = str(folder / "in.bam")
    samtools("view", "-b", "-o", bam, str(folder / "in.sam"))
    samtools("index", bam)
    return from_sam(str(folder / "in.agd"), text, chunk=60), bam


def positive(text: str) -> str:
    """Without lines of no depth, which samtools writes inside of deletions."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.endswith("\t0\n"))


def test_idxstats(both: tuple[Dataset, str]) -> None:
    dataset, bam = both
    report = idxstats(dataset)
    assert report.text() == pysam.samtools.idxstats(bam)
    assert sum(r["mapped"] + r["unmapped"] for r in report.to_json()["references"]) + report.to_json()[
        "without_reference"
    ] == len(dataset)


def test_stats(both: tuple[Dataset, str]) -> None:
    dataset, bam = both
    expected = "".join(f"{x}\n" for x in pysam.samtools.stats(bam).splitlines() if x.startswith("SN"))
    assert stats(dataset).text() == expected
    assert stats(dataset, runner=SerialRunner()).to_json() == stats(dataset).to_json()
    inserts = [x.split("\t")[1:] for x in pysam.samtools.stats(bam).splitlines() if x.startswith("IS")]
    found = {size: directions for size, *directions in stats(dataset).to_json()["insert_sizes"]}
    for size, total, *directions in (map(int, row) for row in inserts):
        if total:
            assert found[size] == directions


def test_coverage(both: tuple[Dataset, str]) -> None:
    dataset, bam = both
    assert coverage(dataset).text() == pysam.samtools.coverage(bam)
    assert coverage(dataset, min_mapq=5, exclude=4).text() == pysam.samtools.coverage("-q", "5", "--ff", "4", bam)
    for text in ("c1:100-199", "c1:101-101", "c3", "empty", "c2:1-400"):
        region = parse_region(text, dataset.manifest.references)
        assert coverage(dataset, [region]).text() == pysam.samtools.coverage("-r", text, bam)


def test_depth(both: tuple[Dataset, str]) -> None:
    dataset, bam = both
    everything = whole_references(dataset)
    found = "".join(per_base(dataset, depths(dataset, everything)))
    assert found == positive(pysam.samtools.depth(bam))
    zeros = "".join(per_base(dataset, depths(dataset, everything), zero=True))
    assert zeros == pysam.samtools.depth("-aa", bam)
    graph = [line.split("\t") for line in "".join(bedgraph(dataset, depths(dataset, everything))).splitlines()]
    spread = "".join(f"{n}\t{p + 1}\t{d}\n" for n, a, b, d in graph for p in range(int(a), int(b)))
    assert spread == found
    for before, after in itertools.pairwise(graph):
        assert before[0] != after[0] or before[2] != after[1] or before[3] != after[3]
    whole = "".join(bedgraph(dataset, depths(dataset, everything), zero=True)).splitlines()
    assert sum(int(b) - int(a) for _, a, b, _ in (line.split("\t") for line in whole)) == sum(REFERENCES.values())


def test_regions_may_overlap_and_passes_may_be_many(
    both: tuple[Dataset, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, bam = both
    texts = ["c1:50-300", "c1:200-900", "c2", "c1:1-20", "c3:9-30"]
    regions = [parse_region(text, dataset.manifest.references) for text in texts]
    expected = "".join(pysam.samtools.depth("-a", "-r", text, bam) for text in texts)
    with ThreadRunner(2) as runner:
        assert "".join(per_base(dataset, depths(dataset, regions, runner=runner), zero=True)) == expected
    lines = [pysam.samtools.coverage("-H", "-r", text, bam) for text in texts]
    assert "".join(r.line() for r in coverage(dataset, regions).regions) == "".join(lines)
    # One position in memory at a time would be too little; a small bound means a pass for every reference.
    monkeypatch.setattr(module, "_MOST_POSITIONS", 1)
    assert coverage(dataset).text() == pysam.samtools.coverage(bam)
    with pytest.raises(UsageError, match="memory"):
        next(depths(dataset, regions, memory=1 << 20))


def test_order_of_the_records_does_not_matter(both: tuple[Dataset, str]) -> None:
    dataset, bam = both
    text = pysam.samtools.view("-h", bam)
    head = [x for x in text.splitlines() if x[0] == "@"]
    body = [x for x in text.splitlines() if x[0] != "@"]
    random.Random(0).shuffle(body)
    other = from_sam("memory://reports-shuffled.agd", "\n".join([*head, *body]) + "\n", chunk=33)
    assert coverage(other).to_json() == coverage(dataset).to_json()
    assert idxstats(other).text() == idxstats(dataset).text()
    found, expected = stats(other).text().splitlines(), stats(dataset).text().splitlines()
    assert [x for x in found if "is sorted" not in x] == [x for x in expected if "is sorted" not in x]
    assert "SN\tis sorted:\t0\t# not sorted by coordinate" in found


@pytest.mark.parametrize("verb", ["idxstats", "stats", "coverage", "depth"])
def test_commands(verb: str, both: tuple[Dataset, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset, bam = both
    assert run([verb, dataset.url]) == 0
    text = capsys.readouterr().out
    assert text
    assert run([verb, dataset.url, "--json"]) == 0
    lines = capsys.readouterr().out
    assert [json.loads(x) for x in lines.splitlines()] if verb == "depth" else json.loads(lines)
    if verb == "depth":
        assert run([verb, dataset.url, "c2:50-60", "--per-base", "--all", "-o", str(tmp_path / "out")]) == 0
        assert (tmp_path / "out").read_text() == pysam.samtools.depth("-a", "-r", "c2:50-60", bam)
    elif verb != "stats":
        assert text == getattr(pysam.samtools, verb)(bam)


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_depth_is_written_as_other_files_are(
    store: str, suffix: str, both: tuple[Dataset, str], capsys: pytest.CaptureFixture[str]
) -> None:
    dataset, _ = both
    assert run(["depth", dataset.url]) == 0
    expected, url = capsys.readouterr().out, f"{store}/depth.bedgraph{suffix}"
    assert run(["depth", dataset.url, "-o", url]) == 0
    with open_input(url) as file:
        assert bytes(file.read(1 << 20)).decode() == expected
    magic = {"": expected.encode()[:4], ".gz": b"\x1f\x8b\x08\x04", ".zst": b"\x28\xb5\x2f\xfd"}
    stored = open_source(url)
    assert stored.read(4) == magic[suffix]
    stored.close()


def test_a_depth_that_fails_leaves_what_is_there(
    both: tuple[Dataset, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset, _ = both
    (tmp_path / "out").write_text("what was there")

    def broken(*_: Any, **options: Any) -> Iterator[str]:
        yield "c1\t0\t1\t1\n"
        raise InputError("c1", "is damaged")

    monkeypatch.setattr(module, "bedgraph", broken)
    assert run(["depth", dataset.url, "-o", str(tmp_path / "out")]) == 1
    assert (tmp_path / "out").read_text() == "what was there"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert run(["depth", dataset.url, "--json", "--per-base"]) == 2
    assert "--per-base does not go with --json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("report", "columns"),
    [
        ("flagstat", set()), ("flagstat of some", {"results"}), ("idxstats", {"results"}), ("depth", {"results"}),
        ("coverage", {"results", "qualities"}), ("stats", {"results", "bases", "qualities", "tags"}),
    ],
)  # fmt: skip
def test_only_the_columns_that_count_are_fetched(
    both: tuple[Dataset, str], report: str, columns: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, fetched = Dataset.open(both[0].url), []
    rows = [line.split("\t") for line in pysam.samtools.view(both[1]).splitlines()]
    if report == "coverage" and any(row[9] != "*" and row[10] == "*" for row in rows):
        columns = {*columns, "bases"}  # without qualities, it is the bases that count
    get = dataset.storage.get
    monkeypatch.setattr(dataset.storage, "get", lambda key, *a: (fetched.append(key), get(key, *a))[1])
    serial = SerialRunner()
    verbs: dict[str, Callable[[], object]] = {
        "flagstat": lambda: flagstat(dataset, runner=serial),
        "flagstat of some": lambda: flagstat(dataset, selection=Selection(min_mapq=1), runner=serial),
        "idxstats": lambda: idxstats(dataset, runner=serial),
        "depth": lambda: list(depths(dataset, whole_references(dataset), runner=serial)),
        "coverage": lambda: coverage(dataset, runner=serial),
        "stats": lambda: stats(dataset, runner=serial),
    }
    verbs[report]()
    # Depth is of what has a place.
    placed = report in ("depth", "coverage")
    chunks = [c for c in dataset.chunks if not placed or c.cells["results"].statistics["spans"]]
    expected = [dataset.manifest.object_key(name, chunk.first) for name in columns for chunk in chunks]
    assert sorted(fetched) == sorted(expected)


def test_real_data(data: Path, tmp_path: Path) -> None:
    from agd.convert.bam_in import import_bam

    path = str(data / "human_na12878_chr20" / "NA12878_S1.chr20.10_10p1mb.bam")
    import_bam(path, str(tmp_path / "s.agd"), chunk_records=9000)
    dataset = Dataset.open(tmp_path / "s.agd")
    assert coverage(dataset).text() == pysam.samtools.coverage(path)
    assert idxstats(dataset).text() == pysam.samtools.idxstats(path)
    assert "".join(per_base(dataset, depths(dataset, whole_references(dataset)))) == positive(
        pysam.samtools.depth(path)
    )
    expected = "".join(f"{x}\n" for x in pysam.samtools.stats(path).splitlines() if x.startswith("SN"))
    assert stats(dataset).text() == expected
