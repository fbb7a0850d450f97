"""The report: numbers against FastQC's definitions computed anew, samtools, and FastQC itself where it is installed."""

from __future__ import annotations

import collections
import gzip
import itertools
import json
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pysam
import pytest

import agd
from agd.dataset import Dataset
from agd.ops.report import Report, report
from agd.ops.report.adapters import ADAPTERS
from agd.ops.report.bins import EXACT, bins_of, group_index, groups_of, starts_of
from agd.ops.report.duplication import Duplication, corrected, find_sequences
from agd.ops.report.multiqc import fastqc_data
from agd.ops.report.quality import LEVELS
from agd.ops.report.reads import ENDS, ReadCounts
from agd.run import SerialRunner, ThreadRunner
from tests.support.sam_dataset import from_sam

Read = tuple[str, str]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """Pairs with adapters, N, lower case, repeats and of several lengths, and the genome that most are from."""
    folder = tmp_path_factory.mktemp("reads")
    plain = [str(folder / f"plain{i}.fq") for i in (1, 2)]
    genome = str(folder / "ref.fa")
    agd.simulate(*plain, genome=genome, pairs=400, genome_length=20_000, contigs=2, read_length=90)
    found = []
    for end, path in enumerate(plain, 1):
        out = str(folder / f"R{end}.fq")
        lines = Path(path).read_text().splitlines()
        with open(out, "w") as file:
            for i, (name, bases, _, quality) in enumerate(zip(*[iter(lines)] * 4, strict=True)):
                if i % 7 == 0:
                    bases = bases[:30] + list(ADAPTERS.values())[i % len(ADAPTERS)] + bases[30:48]
                elif i % 11 == 0:
                    bases = "ACGTTGCA" * 9
                elif i % 5 == 0:
                    bases = bases[:40].lower() + "N" + bases[41 : 41 + i % 40]
                file.write(f"{name}\n{bases}\n+\n{quality[: len(bases)]}\n")
        found.append(out)
    return found[0], found[1], genome


def import_reads(folder: Path, files: tuple[str, str, str], chunk: int = 100_000) -> Dataset:
    url = str(folder / f"reads{chunk}.agd")
    agd.import_fastq(files[0], files[1], output=url, chunk_records=chunk)
    return agd.open(url)


def reads_of(path: str) -> list[Read]:
    with pysam.FastxFile(path) as file:
        return [(r.sequence.upper(), r.quality) for r in file]


def percentile(values: list[int], percent: int) -> int:
    """The least value that as many values as this share of them (rounded down) do not exceed."""
    return sorted(values)[max(1, len(values) * percent // 100) - 1]


def oracle(reads: list[Read]) -> dict[str, Any]:
    """FastQC's definitions, read by read."""
    longest = max(len(b) for b, _ in reads)
    found: dict[str, Any] = collections.defaultdict(list)
    for start, end in groups_of(longest):
        cycles = range(start - 1, end)
        columns = [[ord(q[c]) - 33 for _, q in reads if len(q) > c] for c in cycles]
        columns = [column for column in columns if len(column) > 100]
        for name, value in (("mean", lambda v: sum(v) / len(v)), ("median", lambda v: percentile(v, 50)),
                            ("lower quartile", lambda v: percentile(v, 25)),
                            ("90th percentile", lambda v: percentile(v, 90))):  # fmt: skip
            found[name].append(sum(map(value, columns)) / len(columns) if columns else None)
        letters = collections.Counter(b[c] for b, _ in reads for c in cycles if len(b) > c)
        known = sum(letters[x] for x in "ACGT")
        for letter in "ACGT":
            found[letter].append(100 * letters[letter] / known)
        found["n"].append(100 * letters["N"] / sum(letters.values()))
    found["mean_quality"] = collections.Counter(sum(map(ord, q)) // len(q) - 33 for _, q in reads)
    found["lengths"] = collections.Counter(len(b) for b, _ in reads)
    prefixes = collections.Counter(b[:50] for b, _ in reads)
    found["remaining"] = 100 * len(prefixes) / len(reads)
    levels = [0.0] * len(LEVELS)
    for times in prefixes.values():
        levels[max(i for i, level in enumerate(LEVELS) if level <= times)] += 100 * times / len(reads)
    found["levels"] = levels
    found["overrepresented"] = {s: n for s, n in prefixes.items() if n > 0.001 * len(reads)}
    for name, adapter in ADAPTERS.items():
        first = [b.find(adapter) for b, _ in reads if adapter in b]
        for start, end in groups_of(longest - 11):
            shares = [100 * sum(f <= c for f in first) / len(reads) for c in range(start - 1, end)]
            found[name].append(sum(shares) / len(shares))
    gc = [0.0] * 101
    for bases, _ in reads:
        for percent, weight in gc_weights(len(bases), sum(c in "GC" for c in bases)):
            gc[percent] += weight
    found["gc"] = gc
    return found


def gc_weights(length: int, strong: int) -> list[tuple[int, float]]:
    def of(count: int) -> range:
        low, high = max(0.0, count - 0.5), min(float(length), count + 0.5)
        return range(math.floor(low * 100 / length + 0.5), math.floor(high * 100 / length + 0.5) + 1)

    claims = collections.Counter(itertools.chain.from_iterable(of(count) for count in range(length + 1)))
    return [(percent, 1 / claims[percent]) for percent in of(strong)]


@pytest.mark.parametrize("chunk", [100_000, 38])
def test_definitions(files: tuple[str, str, str], tmp_path: Path, chunk: int) -> None:
    found = report(import_reads(tmp_path, files, chunk), runner=ThreadRunner(2))
    assert [q.end for q in found.reads] == ["read 1", "read 2"]
    for q, path in zip(found.to_json()["reads"], files[:2], strict=True):
        expected = oracle(reads_of(path))
        for name in ("mean", "median", "lower quartile", "90th percentile"):
            assert q["quality"][name] == pytest.approx(expected[name]), name
        for letter in "ACGT":
            assert q["bases_by_cycle"][letter] == pytest.approx(expected[letter])
        for name in ADAPTERS:
            assert q["adapters"][name] == pytest.approx(expected[name])
        assert max(q["adapters"]["Illumina Universal Adapter"]) > 0
        assert q["n"]["percent"] == pytest.approx(expected["n"])
        assert q["gc"]["reads"] == pytest.approx(expected["gc"])
        assert q["mean_quality"] == {str(k): v for k, v in sorted(expected["mean_quality"].items())}
        assert q["lengths"] == {str(k): v for k, v in sorted(expected["lengths"].items())}
        assert q["duplication"]["remaining_percent"] == pytest.approx(expected["remaining"])
        assert list(q["duplication"]["levels"].values()) == pytest.approx(expected["levels"])
        assert {o["sequence"]: o["reads"] for o in q["overrepresented"]} == expected["overrepresented"]
        assert q["verdicts"]["lengths"] == "warn"
        assert q["verdicts"]["overrepresented"] == "fail"


@pytest.mark.parametrize("aligned", [False, True])
def test_same_for_any_chunks_and_workers(files: tuple[str, str, str], tmp_path: Path, aligned: bool) -> None:
    texts = set()
    if aligned:  # once: aligners look at whole chunks
        whole = import_reads(tmp_path, files)
        agd.align(whole, files[2])
    for chunk, runner in ((100_000, SerialRunner()), (38, ThreadRunner(1)), (200, ThreadRunner(3))):
        if aligned:
            agd.sort(agd.open(whole.url), str(tmp_path / f"sorted{chunk}.agd"), chunk_records=chunk)
            dataset = agd.open(str(tmp_path / f"sorted{chunk}.agd"))
        else:
            dataset = import_reads(tmp_path, files, chunk)
        found = report(dataset, runner=runner).to_json()
        texts.add(json.dumps([found["reads"], found["alignments"]]))
    assert len(texts) == 1


def test_reads_as_they_were_sequenced(files: tuple[str, str, str], tmp_path: Path) -> None:
    """Alignment, sorting and SAM turn reads around and mix the ends; the modules on reads tell the same."""
    dataset = import_reads(tmp_path, files)
    before = report(dataset).to_json()["reads"]
    agd.align(dataset, files[2])
    agd.sort(agd.open(dataset.url), str(tmp_path / "sorted.agd"))
    agd.export_bam(agd.open(str(tmp_path / "sorted.agd")), str(tmp_path / "s.bam"))
    agd.import_bam(str(tmp_path / "s.bam"), str(tmp_path / "bam.agd"), chunk_records=90)
    for url in (dataset.url, str(tmp_path / "sorted.agd"), str(tmp_path / "bam.agd")):
        after = report(agd.open(url)).to_json()["reads"]
        for one, two in zip(before, after, strict=True):
            one, two = ({k: v for k, v in q.items() if k not in ("overrepresented", "gc")} for q in (one, two))
            assert one == two


SAM = """@HD\tVN:1.6\tSO:coordinate
@SQ\tSN:c1\tLN:900
@SQ\tSN:c2\tLN:400
@SQ\tSN:never\tLN:70
"""


def sam_rows() -> str:
    rows = []
    for i in range(60):
        name, reverse = f"r{i}", i % 3 == 0
        flag = 1 | 2 | (16 if reverse else 32) | (64 if i % 2 else 128) | (0x400 if i % 10 == 0 else 0)
        other, reference = (c for c in (("c2", "c1") if i < 40 else ("c1", "c2")))
        size = [200, -200, 31, 0][i % 4]
        mate = f"{other}\t5\t0" if i % 13 == 0 else f"=\t{10 + i}\t{size}"
        flag |= 0x100 if i % 17 == 16 else 0x800 if i % 19 == 18 else 0
        rows.append(f"{name}\t{flag}\t{reference}\t{10 + i}\t{i % 61}\t3S8M2D9M\t{mate}\tACGTNACGTTGCACGTAAGC\t"
                    f"{'5?I#' * 5}" + (f"\tNM:i:{i % 5}" if i % 2 else ""))  # fmt: skip
    rows += ["u\t77\t*\t0\t0\t*\t*\t0\t0\tACGTA\tIIIII", "u\t141\t*\t0\t0\t*\t*\t0\t0\tACGTAC\t*"]
    return SAM + "\n".join(rows) + "\n"


@pytest.fixture(params=[7, 1000])
def alignments(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Report, str]:
    text = sam_rows()
    (tmp_path / "in.sam").write_text(text)
    pysam.samtools.view("-b", "-o", str(tmp_path / "in.bam"), str(tmp_path / "in.sam"), catch_stdout=False)
    return report(from_sam(str(tmp_path / "in.agd"), text, chunk=request.param)), str(tmp_path / "in.bam")


def test_alignments(alignments: tuple[Report, str]) -> None:
    found, bam = alignments
    assert found.flags is not None
    assert found.flags.text() == pysam.samtools.flagstat(bam)
    numbers = found.to_json()["alignments"]
    summary = dict(line.split("\t")[1:3] for line in pysam.samtools.stats(bam).splitlines() if line.startswith("SN"))
    sizes = numbers["insert_size"]
    for name, key in (("inward", "inward oriented pairs:"), ("outward", "outward oriented pairs:"),
                      ("other", "pairs with other orientation:")):  # fmt: skip
        assert sum(sizes[name].values()) == int(summary[key])
    with pysam.AlignmentFile(bam) as file:
        records = list(file)
    primary = [r for r in records if not r.is_unmapped and not r.flag & 0x900]
    assert numbers["mapq"] == {str(q): n for q, n in sorted(collections.Counter(r.mapq for r in primary).items())}
    told = [r for r in records if not r.is_unmapped and not r.is_secondary and r.has_tag("NM")]
    assert numbers["mismatches"] == sum(r.get_tag("NM") for r in told) > 0
    assert numbers["measured_bases"] == sum(n for r in told for op, n in r.cigartuples if op in (0, 1, 7, 8))


def test_coverage(alignments: tuple[Report, str]) -> None:
    found, bam = alignments
    depth: dict[str, list[int]] = {"c1": [0] * 900, "c2": [0] * 400, "never": [0] * 70}
    for line in pysam.samtools.depth("-a", bam).splitlines():
        name, position, count = line.split("\t")
        depth[name][int(position) - 1] = int(count)
    numbers = found.to_json()["alignments"]
    for row in numbers["references"]:
        assert row["aligned_bases"] == sum(depth[row["name"]])
        assert sum(depth[row["name"]][row["start"] : row["end"]]) == sum(depth[row["name"]])
        starts = range(row["start"], row["end"], numbers["bin_width"])
        stretches = [depth[row["name"]][s : min(s + numbers["bin_width"], row["end"])] for s in starts]
        assert numbers["coverage"].get(row["name"], []) == pytest.approx([sum(s) / len(s) for s in stretches])
    assert "never" not in numbers["coverage"]


def test_columns_that_are_read(files: tuple[str, str, str], tmp_path: Path) -> None:
    dataset = import_reads(tmp_path, files, 200)
    agd.align(dataset, files[2])
    for name in list(dataset.storage.keys()):
        if name.endswith(".metadata"):
            dataset.storage.delete(name)
    assert report(agd.open(dataset.url)).reads[0].reads == 400
    assert report(dataset).alignments is None  # the generation before the alignment


def test_bins() -> None:
    for cycles in (1, 75, 101, 1200, EXACT + 1, 25_000, 1_234_567):
        bins, count = bins_of(cycles)
        starts = starts_of(count)
        assert count == bins[-1] + 1
        assert set(bins[1:] - bins[:-1]) <= {0, 1}
        assert [int(starts[bins[c - 1]]) <= c for c in (1, cycles // 2 + 1, cycles)] == [True] * 3
        groups = groups_of(cycles)
        assert len(groups) <= 75
        assert [start for start, _ in groups] == [1, *(end + 1 for _, end in groups[:-1])]
        assert groups[-1][1] == cycles
        # No bin is in two groups.
        for bin, group in enumerate(group_index(cycles, count).tolist()):
            low, high = groups[group]
            assert low <= starts[bin]
            assert bin + 1 == count or starts[bin + 1] - 1 <= high


def test_cycles_of_long_reads(tmp_path: Path) -> None:
    texts = ["ACGT" * 7000, "G" * 11_000, "C"]
    columns = {"bases": texts, "qualities": ["I" * len(t) for t in texts], "metadata": list("abc")}
    found = report(agd.create(str(tmp_path / "long.agd"), columns))
    (q,) = found.reads
    assert q.end == "reads"
    assert (q.shortest, q.longest) == (1, 28_000)
    assert len(q.groups) == len(q.n) <= 75
    assert q.letters[1].tolist() == pytest.approx([0, 50, 50, 0])
    assert q.letters[-2].tolist() == pytest.approx([25] * 4)
    assert "28,000" in found.html()


def test_correction() -> None:
    """As FastQC multiplies it out."""
    for at_limit, reads, level, observed in ((1000, 5000, 1, 20), (1000, 5000, 2, 20), (3000, 5000, 30, 7)):
        missed = math.prod((reads - i - level) / (reads - i) for i in range(at_limit))
        assert corrected(at_limit, reads, level, observed) == pytest.approx(observed / (1 - missed))
    assert corrected(5000, 5000, 3, 9) == 9
    assert corrected(4000, 5000, 1001, 1) == 1


def test_full_table() -> None:
    """Sequences that are met when the table is full are not followed, and chunks make no difference."""
    from agd.batch import Column

    texts = [t.encode() for t in ("A", "C", "A", "G", "T", "C", "T", "A")]
    results = []
    for size in (1, 3, 8):
        table = Duplication(tracked=3)
        for at in range(0, 8, size):
            column = Column.from_list(texts[at : at + size])
            everything = column.lengths > 0
            table.add(find_sequences(column, everything, ~everything))
        results.append((table.reads, table.at_limit, table.over(0.1), table.levels()[0]))
    assert results[0] == results[1] == results[2]
    assert results[0][:3] == (8, 4, [("A", 3), ("C", 2), ("G", 1)])


def test_counts_add() -> None:
    total = ReadCounts()
    assert [total.reads(end) for end in range(len(ENDS))] == [0, 0, 0]


def parse(text: str) -> dict[str, tuple[str, dict[str, list[str]]]]:
    """Sections of ``fastqc_data.txt``: verdict and rows."""
    found: dict[str, tuple[str, dict[str, list[str]]]] = {}
    for line in text.splitlines():
        if line.startswith(">>") and line != ">>END_MODULE":
            name, verdict = line[2:].split("\t")
            rows: dict[str, list[str]] = {}
            found[name] = verdict, rows
        elif found and line[:1] not in ("#", ">"):
            first, *rest = line.split("\t")
            rows[first] = rest
    return found


def test_fastqc(data: Path, tmp_path: Path) -> None:
    """The numbers and verdicts of FastQC itself."""
    if shutil.which("fastqc") is None:
        pytest.skip("fastqc is not installed")
    lanes = data / "human_hiseq_lanes"
    paths = [lanes / f"TESTX_H7YRLADXX_S1_L001_R{end}_001.fastq.gz" for end in (1, 2)]
    small = [tmp_path / f"R{end}.fastq" for end in (1, 2)]
    for path, copy in zip(paths, small, strict=True):
        with gzip.open(path, "rt") as file:
            copy.write_text("".join(itertools.islice(file, 4 * 8000)))
    subprocess.run(["fastqc", "--quiet", "--extract", "-o", str(tmp_path), *map(str, small)], check=True)
    agd.import_fastq(*map(str, small), output=str(tmp_path / "s.agd"))
    for q in report(agd.open(str(tmp_path / "s.agd"))).reads:
        number = q.end[-1]
        theirs = parse((tmp_path / f"R{number}_fastqc" / "fastqc_data.txt").read_text())
        ours = parse(fastqc_data(q, f"R{number}.fastq"))
        assert set(theirs) - set(ours) == {"Per tile sequence quality"}
        for section, (verdict, rows) in ours.items():
            assert theirs[section][0] == verdict, section
            assert set(theirs[section][1]) == set(rows), section
            for key, values in rows.items():
                other = theirs[section][1][key]
                if section == "Sequence Duplication Levels":
                    other = other[-1:]  # older versions have a column more
                for a, b in zip(values, other, strict=False):  # the lists of adapters differ at their ends
                    if section == "Overrepresented sequences" and not a[0].isdigit():
                        continue  # where a sequence may come from
                    if section == "Adapter Content" and values.index(a) >= 4:
                        continue
                    same = a == b or float(a) == pytest.approx(float(b), rel=1e-9)
                    assert same, (section, key, a, b)
