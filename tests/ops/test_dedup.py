"""Duplicates: the flags of samtools markdup, whatever the order, the chunks, the workers and the memory."""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pysam
import pytest

import agd
from agd.dataset import Dataset
from agd.errors import ColumnError, UsageError
from agd.ops import dedup as module
from agd.ops.dedup import clear_duplicates, dedup
from agd.ops.dedup_metrics import estimate_library_size
from agd.ops.flagstat import flagstat
from agd.ops.sort import sort
from agd.run import SerialRunner, ThreadRunner
from agd.storage import LocalStorage
from tests.support.sam_dataset import from_sam, split, to_sam
from tests.support.samtools import samtools

Key = tuple[str, int, str, str, bool]


def random_sam(templates: int, seed: int = 1, *, libraries: int = 1, umis: int = 0) -> str:
    """Pairs and single reads of few places, with clips, all orientations, unmapped mates, orphans, bad quality."""
    rng = random.Random(seed)
    lines = ["@HD\tVN:1.6\tSO:unsorted", "@SQ\tSN:c1\tLN:5000", "@SQ\tSN:c2\tLN:5000"]
    lines += [f"@RG\tID:g{i}\tLB:lib{i % libraries}\tSM:s" for i in range(4 if libraries > 1 else 1)]
    for number in range(templates):
        tile, x, y = rng.choice([1101, 1102]), rng.randrange(60), rng.randrange(60)
        name = f"M:1:FC:1:{tile}:{x:02d}:{y:02d}:U{number:03d}"
        tags = f"\tRG:Z:g{rng.randrange(4)}" if libraries > 1 else "\tRG:Z:g0"
        tags += f"\tRX:Z:{rng.randrange(umis)}" if umis else ""
        kind = rng.random()
        if kind < 0.2:
            lines.append(line(rng, name, rng.choice([0, 16]), "*\t0", tags))
        elif kind < 0.3:
            place = rng.choice(["c1\t100", "c1\t103"])
            lines.append(line(rng, name, 1 + 8 + rng.choice([0x40, 0x80]) + rng.choice([0, 16]), "*\t0", tags))
            first = lines[-1].split("\t")
            flag = 1 + 4 + (0x80 if int(first[1]) & 0x40 else 0x40)
            place = f"{first[2]}\t{first[3]}"
            lines.append(f"{name}\t{flag}\t{place}\t0\t*\t=\t{first[3]}\t0\tACGTACGTAC\tIIIIIIIIII{tags}")
        else:
            lines += pair(rng, name, tags, orphan=kind > 0.93)
    return "\n".join(lines) + "\n"


def line(rng: random.Random, name: str, flag: int, mate: str, tags: str) -> str:
    reference, position = rng.choice(["c1", "c1", "c2"]), rng.choice([100, 102, 103])
    cigar = rng.choice(["10M", "10M", "2S8M", "8M2S", "3S7M", "2H10M", "10M3H", "5M2D5M", "1H2S8M"])
    flag |= rng.choice([0] * 12 + [0x200, 0x400])
    quality = "".join(rng.choices("#/0I", k=10)) if rng.random() < 0.5 else "IIIIIIIII" + rng.choice("I0")
    return f"{name}\t{flag}\t{reference}\t{position}\t30\t{cigar}\t{mate}\t0\tACGTACGTAC\t{quality}{tags}"


def pair(rng: random.Random, name: str, tags: str, *, orphan: bool) -> list[str]:
    strands = rng.choice([0, 16]), rng.choice([0, 16])
    reads = [
        line(rng, name, 1 | side | own | (mate and 0x20), "*\t0", tags).split("\t")
        for side, own, mate in ((0x40, strands[0], strands[1]), (0x80, strands[1], strands[0]))
    ]
    for this, other in (reads, reads[::-1]):
        this[6:8] = ["=" if this[2] == other[2] else other[2], other[3]]
    lines = ["\t".join(read) for read in reads]
    if rng.random() < 0.3:
        further = list(reads[0])
        further[1] = str(int(further[1]) | rng.choice([0x100, 0x800]))
        lines.append("\t".join([*further, "SA:Z:x"]))
        lines[0] += "\tSA:Z:x"
        lines[1] += "\tSA:Z:x"
    return lines[:1] if orphan else lines


def markdup(text: str, folder: Path, *options: str) -> str:
    """The text as samtools marks it (mates made known first)."""
    paths = [str(folder / f"{n}.sam") for n in ("text", "names", "mates", "sorted", "marked")]
    Path(paths[0]).write_text(text)
    samtools("sort", "-n", "-O", "sam", "-o", paths[1], paths[0])
    samtools("fixmate", "-m", "-O", "sam", paths[1], paths[2])
    samtools("sort", "-O", "sam", "-o", paths[3], paths[2])
    samtools("markdup", "-S", "-c", "-O", "sam", "--no-PG", *options, paths[3], paths[4])
    return Path(paths[4]).read_text()


def flags(text: str) -> Counter[Key]:
    """Records by name, which read they are, place, and whether they are duplicates."""
    found: Counter[Key] = Counter()
    for record in split(text)[1].decode().splitlines():
        name, flag, reference, position = record.split("\t")[:4]
        found[name, int(flag) & 0x9D0, reference, position, bool(int(flag) & 0x400)] += 1
    return found


def pairs_only(found: Counter[Key], text: str) -> Counter[Key]:
    """Without single reads, among which samtools chooses by the order of the file when they are equally good."""
    names = Counter(r.split("\t")[0] for r in text.splitlines() if r[0] != "@" and not int(r.split("\t")[1]) & 0x90C)
    return Counter({key: n for key, n in found.items() if names[key[0]] == 2})


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("order", ["as is", "coordinate", "queryname"])
def test_flags_are_those_of_samtools(order: str, seed: int, tmp_path: Path) -> None:
    text = random_sam(400, seed)
    expected = markdup(text, tmp_path)
    dataset = from_sam(str(tmp_path / "in.agd"), text, chunk=150)
    if order != "as is":
        sort(dataset, tmp_path / "sorted.agd", by=order, chunk_records=150)
        dataset = Dataset.open(tmp_path / "sorted.agd")
    report = dedup(dataset)
    dataset = Dataset.open(dataset.url)
    found, wanted = flags(to_sam(dataset)), flags(expected)
    assert pairs_only(found, text) == pairs_only(wanted, text)
    assert sum(n for key, n in found.items() if key[-1]) == sum(n for key, n in wanted.items() if key[-1])
    assert report.marked == sum(n for key, n in found.items() if key[-1])
    # The manifest alone tells the flags with the marks in them.
    path = tmp_path / "marked-by-agd.sam"
    path.write_text(to_sam(dataset))
    statistics = flagstat(dataset)
    assert statistics.from_manifest
    assert statistics.text() == pysam.samtools.flagstat(str(path))


def test_libraries_barcodes_and_read_groups_are_kept_apart(tmp_path: Path) -> None:
    text = random_sam(500, 3, libraries=2, umis=2)
    counts = {}
    for name, ours, theirs in (
        ("groups", {"read_groups": True}, ["--use-read-groups"]),
        ("barcodes", {"read_groups": True, "barcode_tag": "RX"}, ["--use-read-groups", "--barcode-tag", "RX"]),
        ("libraries", {}, None),
    ):
        dataset = from_sam(f"memory://dedup-{name}.agd", text, chunk=100)
        report = dedup(dataset, **ours)  # type: ignore[arg-type]
        counts[name] = report.marked
        if theirs is None:
            # What samtools finds in each library on its own.
            parts = []
            for library in (0, 1):
                groups = {f"RG:Z:g{i}" for i in range(4) if i % 2 == library}
                kept = [x for x in text.splitlines() if x[0] == "@" or groups & set(x.split("\t"))]
                parts.append(flags(markdup("\n".join(kept) + "\n", tmp_path)))
            wanted = parts[0] + parts[1]
            assert [x.library for x in report.libraries] == ["lib0", "lib1"]
        else:
            wanted = flags(markdup(text, tmp_path, *theirs))
        found = flags(to_sam(Dataset.open(dataset.url)))
        assert pairs_only(found, text) == pairs_only(wanted, text)
        assert report.marked == sum(n for key, n in wanted.items() if key[-1])
    assert counts["barcodes"] < counts["groups"] < counts["libraries"]


@pytest.mark.parametrize("chunk", [7, 100, 10_000])
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("spill", [False, True])
def test_result_depends_on_nothing_but_the_records(
    chunk: int, workers: int, spill: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = random_sam(250, 11, libraries=2)
    expected = from_sam("memory://dedup-plain.agd", text)
    dedup(expected, runner=SerialRunner(), optical_distance=30)
    shuffled = split(text)[1].decode().splitlines(keepends=True)
    random.Random(chunk).shuffle(shuffled)
    other = from_sam("memory://dedup-other.agd", split(text)[0] + "".join(shuffled), chunk=chunk)
    if spill:
        monkeypatch.setattr("agd.ops.dedup_find._BYTES_PER_READ", 1 << 44)
        monkeypatch.setattr(module, "in_flight", lambda *args, **kwargs: 2)
    with ThreadRunner(workers) as runner:
        report = dedup(other, runner=runner, tmp=str(tmp_path), optical_distance=30)
    assert bool(report.spilled_bytes) == spill
    assert not list(tmp_path.iterdir())
    assert flags(to_sam(Dataset.open(other.url))) == flags(to_sam(Dataset.open(expected.url)))
    assert optical(other.url) == optical(expected.url)


def optical(url: str) -> Counter[tuple[bytes, int, int]]:
    found: Counter[tuple[bytes, int, int]] = Counter()
    for batch in Dataset.open(url).batches(["metadata", "results", "duplicates"]):
        flag = batch.alignments().flag
        flag = flag & 0xC0 | np.where(flag & 0x900, 0x100, 0)
        marks = batch.columns["duplicates"]
        found.update(zip(batch.ragged("metadata"), flag.tolist(), list(marks), strict=True))  # type: ignore[call-overload]
    return found


def test_optical_duplicates_are_those_of_samtools(tmp_path: Path) -> None:
    text = random_sam(500, 21)
    expected = markdup(text, tmp_path, "-d", "25")
    wanted = Counter(
        (r.split("\t")[0].encode(), int(r.split("\t")[1]) & 0x1C0)
        for r in expected.splitlines() if "dt:Z:SQ" in r and not int(r.split("\t")[1]) & 0x900
    )  # fmt: skip
    dataset = from_sam(str(tmp_path / "in.agd"), text)
    report = dedup(dataset, optical_distance=25)
    marks = optical(dataset.url).elements()
    found = Counter((name, flag) for name, flag, mark in marks if mark & 2 and not flag & 0x100)
    mated = {k[0].encode() for k in pairs_only(flags(expected), text)}
    assert {k for k in found if k[0] in mated} == {k for k in wanted if k[0] in mated}
    assert len(wanted) > 10
    assert report.libraries[0].read_pair_optical_duplicates > 0


def test_marks_are_a_small_column_of_their_own(tmp_path: Path) -> None:
    dataset = from_sam(str(tmp_path / "in.agd"), random_sam(2000, 5), chunk=1000)
    before = {p.name: p.read_bytes() for p in (tmp_path / "in.agd").iterdir() if "manifest" not in p.name}
    report = dedup(dataset)
    after = {p.name: p.read_bytes() for p in (tmp_path / "in.agd").iterdir() if "manifest" not in p.name}
    assert {name: after[name] for name in before} == before
    new = sum(len(data) for name, data in after.items() if name not in before)
    assert new == report.written_bytes
    with pytest.raises(ColumnError, match="marked already"):
        dedup(Dataset.open(dataset.url))
    dedup(Dataset.open(dataset.url), column="duplicates_by_group", read_groups=True)
    assert {"duplicates", "duplicates_by_group"} <= set(Dataset.open(dataset.url).columns)
    marked = to_sam(Dataset.open(dataset.url))
    cleared = clear_duplicates(Dataset.open(dataset.url))
    assert to_sam(cleared) == to_sam(dataset) != marked
    again = dedup(cleared)
    assert again.marked == report.marked
    assert to_sam(Dataset.open(dataset.url)) == marked
    with pytest.raises(ColumnError, match="marks"):
        clear_duplicates(dataset, column="results")


def test_removing_leaves_the_rest(tmp_path: Path) -> None:
    dataset = from_sam(str(tmp_path / "in.agd"), random_sam(600, 6), chunk=70)
    metrics = tmp_path / "metrics.txt"
    dedup(dataset, remove=tmp_path / "out.agd", metrics=str(metrics))
    assert "duplicates" not in Dataset.open(dataset.url).columns
    marked = dedup(dataset)
    head, body = split(to_sam(Dataset.open(dataset.url)))
    kept = [x for x in body.decode().splitlines(keepends=True) if not int(x.split("\t")[1]) & 0x400]
    output = Dataset.open(tmp_path / "out.agd")
    assert to_sam(output) == head + "".join(kept)
    assert len(output) == len(dataset) - marked.marked
    assert output.manifest.digest["records"]["count"] == len(output)
    with pytest.raises(UsageError, match="is read"):
        dedup(dataset, remove=dataset.url, overwrite=True)
    rows = metrics.read_text().splitlines()
    header = next(i for i, row in enumerate(rows) if row.startswith("LIBRARY"))
    row = dict(zip(rows[header].split("\t"), rows[header + 1].split("\t"), strict=True))
    found = marked.libraries[0]
    assert int(row["READ_PAIR_DUPLICATES"]) == found.read_pair_duplicates
    assert int(row["ESTIMATED_LIBRARY_SIZE"]) == found.estimated_library_size
    assert rows[header + 4 : header + 6] == ["BIN\tCoverageMult", rows[header + 5]]


def test_every_store(store: str) -> None:
    import fsspec

    from agd.ops.coverage import coverage
    from agd.storage import store_options

    text = random_sam(120, 8)
    plain = from_sam("memory://dedup-store-plain.agd", text)
    dedup(plain)
    dataset = from_sam(f"{store}/in.agd", text, chunk=50)
    report = dedup(dataset, metrics=f"{store}/metrics.txt", remove=f"{store}/unique.agd")
    assert dedup(dataset).marked == report.marked > 0
    marked = Dataset.open(f"{store}/in.agd")
    assert flags(to_sam(marked)) == flags(to_sam(Dataset.open(plain.url)))
    assert len(Dataset.open(f"{store}/unique.agd")) == len(marked) - report.marked
    with fsspec.open(f"{store}/metrics.txt", "r", **store_options(store, {})) as file:
        assert "ESTIMATED_LIBRARY_SIZE" in file.read()
    assert flagstat(marked).text() == flagstat(Dataset.open(plain.url)).text()
    assert coverage(marked).text() == coverage(Dataset.open(plain.url)).text()


def test_library_size_solves_its_equation() -> None:
    for size, pairs in ((1000, 500), (1_000_000, 300_000), (50_000, 200_000)):
        unique = round(size * (1 - np.exp(-pairs / size)))
        estimate = estimate_library_size(pairs, unique)
        assert estimate is not None
        assert abs(estimate - size) <= size * 0.01
    assert estimate_library_size(100, 100) is None
    assert estimate_library_size(0, 0) is None


def test_wrong_requests(tmp_path: Path) -> None:
    dataset = from_sam(str(tmp_path / "in.agd"), random_sam(10))
    with pytest.raises(UsageError, match="tag"):
        dedup(dataset, barcode_tag="RXX")
    with pytest.raises(UsageError, match="negative"):
        dedup(dataset, optical_distance=-1)
    with pytest.raises(ColumnError, match="not one of marks"):
        dedup(dataset, column="metadata")
    for name in ("secondary0", "../evil", "x~1", ""):
        with pytest.raises(ColumnError, match=re.escape(repr(name))):
            dedup(dataset, column=name)
    with_numbers = agd.append_column(dataset, "score", np.zeros(len(dataset), np.float32))
    with_numbers = agd.append_column(with_numbers, "small", np.zeros(len(dataset), np.uint8))
    for name in ("score", "small"):
        with pytest.raises(ColumnError, match="not one of marks"):
            dedup(with_numbers, column=name, overwrite=True)
        with pytest.raises(ColumnError, match="not one of marks"):
            clear_duplicates(with_numbers, column=name)
    dedup(with_numbers, column="other_marks")
    assert "other_marks" not in clear_duplicates(Dataset.open(dataset.url), column="other_marks").columns
    nameless = replace(dataset.manifest, columns={"results": dataset.manifest.columns["results"]})
    with pytest.raises(ColumnError, match="metadata"):
        dedup(Dataset(dataset.storage, nameless))
    with pytest.raises(ColumnError, match="no alignments"):
        dedup(Dataset(dataset.storage, replace(nameless, columns={})))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with reads of a small genome, the genome, and the truth."""
    from agd.ops.simulate import simulate

    folder = tmp_path_factory.mktemp("simulated")
    simulate(
        str(folder / "1.fq"), str(folder / "2.fq"), pairs=1500, genome=str(folder / "ref.fa"), genome_length=30_000,
        truth=str(folder / "truth.tsv"), duplicates=0.3, read_length=80, insert_mean=200, insert_sd=30,
    )  # fmt: skip
    return folder


@pytest.mark.parametrize("chunk", [200, 1000, 100_000])
def test_reads_in_the_order_of_the_sequencer(chunk: int, simulated: Path, tmp_path: Path) -> None:
    from agd.aligners.align import align
    from agd.convert.fastq import import_fastq

    url = str(tmp_path / "s.agd")
    import_fastq(str(simulated / "1.fq"), str(simulated / "2.fq"), output=url, chunk_records=chunk)
    align(Dataset.open(url), str(simulated / "ref.fa"))
    sort(Dataset.open(url), tmp_path / "sorted.agd", chunk_records=chunk)
    sorted_ = Dataset.open(tmp_path / "sorted.agd")
    expected = markdup(to_sam(sorted_), tmp_path, "-f", str(tmp_path / "counts.txt"))
    reports = [dedup(Dataset.open(url)), dedup(sorted_)]
    assert reports[0].libraries == reports[1].libraries
    theirs = dict(x.split(": ") for x in (tmp_path / "counts.txt").read_text().splitlines() if ": " in x)
    ours = reports[1].libraries[0]
    assert {
        "PAIRED": 2 * ours.read_pairs_examined, "SINGLE": ours.unpaired_reads_examined,
        "DUPLICATE PAIR": 2 * ours.read_pair_duplicates, "DUPLICATE SINGLE": ours.unpaired_read_duplicates,
        "DUPLICATE TOTAL": reports[1].marked, "ESTIMATED_LIBRARY_SIZE": ours.estimated_library_size,
    }.items() <= {name: int(n) for name, n in theirs.items() if n.isdigit()}.items()
    found = [flags(to_sam(Dataset.open(ds.url))) for ds in (Dataset.open(url), sorted_)]
    wanted = flags(expected)
    assert found[0] == found[1] == wanted
    assert flagstat(Dataset.open(url)).text() == flagstat(Dataset.open(sorted_.url)).text()
    assert flagstat(Dataset.open(url)).from_manifest
    assert agreement(simulated / "truth.tsv", found[0]) > 0.98
    # Without the duplicates pairs are still whole and side by side.
    removed = dedup(Dataset.open(url), remove=tmp_path / "unique.agd", overwrite=True)
    unique = Dataset.open(removed.output)
    names = [name.split()[0].rsplit(b"/", 1)[0] for batch in unique.batches(["metadata"]) for name in batch["metadata"]]
    assert names[0::2] == names[1::2]
    assert len(names) == len(Dataset.open(url)) - reports[0].marked


def test_all_that_is_written_is_less_than_a_fiftieth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from agd.ops.simulate import simulate
    from agd.pipelines import pipeline

    paths = [str(tmp_path / name) for name in ("1.fq", "2.fq", "ref.fa")]
    simulate(*paths[:2], pairs=6000, genome=paths[2], genome_length=100_000, profile="hiseq")
    pipeline(*paths[:2], reference=paths[2], dataset=tmp_path / "s.agd", dedup=False)
    before = sum(path.stat().st_size for path in (tmp_path / "s.agd").iterdir())
    written: list[int] = []
    put = LocalStorage.put

    def counted(self: LocalStorage, key: str, data: bytes, *, exclusive: bool = False) -> None:
        written.append(len(data))
        put(self, key, data, exclusive=exclusive)

    monkeypatch.setattr(LocalStorage, "put", counted)
    report = dedup(Dataset.open(tmp_path / "s.agd"))
    assert report.marked > 100
    assert report.written_bytes < sum(written) < 0.02 * before  # claims and manifests too


@pytest.mark.parametrize("workers", [1, 2])
def test_single_reads_in_the_order_of_the_sequencer(workers: int, simulated: Path, tmp_path: Path) -> None:
    from agd.aligners.align import align
    from agd.convert.fastq import import_fastq

    url = str(tmp_path / "s.agd")
    import_fastq(str(simulated / "1.fq"), output=url, chunk_records=333)
    align(Dataset.open(url), str(simulated / "ref.fa"))
    sort(Dataset.open(url), tmp_path / "sorted.agd", chunk_records=500)
    sorted_ = Dataset.open(tmp_path / "sorted.agd")
    expected = flags(markdup(to_sam(sorted_), tmp_path))
    with ThreadRunner(workers) as runner:
        reports = [dedup(Dataset.open(url), runner=runner), dedup(sorted_, runner=runner)]
    assert reports[0].libraries == reports[1].libraries
    assert reports[0].libraries[0].read_pairs_examined == 0
    found = [flags(to_sam(Dataset.open(u))) for u in (url, sorted_.url)]
    assert found[0] == found[1]
    # samtools chooses another one of equally good reads, but marks as many at every place.
    by_place = [Counter({key[1:]: 0 for key in which}) for which in (found[0], expected)]
    for counts, which in zip(by_place, (found[0], expected), strict=True):
        for key, n in which.items():
            counts[key[1:]] += n
    clipped = by_place[0] - by_place[1]
    assert sum(clipped.values()) <= 0.01 * sum(by_place[0].values())
    assert reports[0].marked == sum(n for key, n in expected.items() if key[-1]) > 200


def agreement(truth: Path, found: Counter[Key]) -> float:
    """Share of the groups of fragments with the same ends of which all but one are marked."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for row in truth.read_text().splitlines()[1:]:
        name, *ends = row.split("\t")[:5]
        groups.setdefault(tuple(ends), []).append(name)
    marked = {key[0] for key in found if key[-1]}
    right = sum(sum(name in marked for name in group) == len(group) - 1 for group in groups.values())
    return right / len(groups)


def test_real_duplicates_group_by_group(data: Path, tmp_path: Path) -> None:
    from agd.convert.bam_in import import_bam

    path = data / "human_na12878_chr22_dups" / "NA12878.chr22.s.bam"
    import_bam(str(path), str(tmp_path / "s.agd"), chunk_records=9000)
    dataset = Dataset.open(tmp_path / "s.agd")
    before = dataset.manifest.stored_bytes
    report = dedup(dataset)
    assert report.written_bytes < 0.02 * before
    text = pysam.samtools.view("-h", str(path))
    found, wanted = flags(to_sam(Dataset.open(dataset.url))), flags(markdup(text, tmp_path))
    assert pairs_only(found, text) == pairs_only(wanted, text)
    assert sum(n for key, n in found.items() if key[-1]) == sum(n for key, n in wanted.items() if key[-1]) == 5697
