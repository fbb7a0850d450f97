"""Simulated runs: same seed, same bytes; the truth is true; the shares are as asked."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pysam
import pytest

from agd.errors import InputError, StorageError, UsageError
from agd.ops.simulate import PROFILES, simulate
from agd.ops.simulate import fragments as fragments_module
from agd.ops.simulate.genome import parse_fasta, random_genome
from agd.ops.simulate.text import flatten, number
from agd.run import SerialRunner, ThreadRunner

COMPLEMENT = bytes.maketrans(b"ACGTN", b"TGCAN")


def fastq(path: Path) -> list[tuple[str, bytes, bytes]]:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    lines = data.split(b"\n")
    assert lines.pop() == b""
    assert all(line == b"+" for line in lines[2::4])
    return [(n[1:].decode(), b, q) for n, b, q in zip(lines[::4], lines[1::4], lines[3::4], strict=True)]


def table(path: Path) -> list[list[str]]:
    lines = path.read_text().splitlines()
    assert lines[0] == "name\tcontig\tposition1\tposition2\tstrand\tduplicate_of"
    return [line.split("\t") for line in lines[1:]]


def run(folder: Path, **options: object) -> object:
    folder.mkdir(exist_ok=True)
    arguments = {"pairs": 3000, "genome_length": 200_000, "truth": str(folder / "truth.tsv")} | options
    return simulate(str(folder / "1.fq"), str(folder / "2.fq"), genome=str(folder / "g.fa"), **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_same_seed_same_bytes_for_any_runner(tmp_path: Path, profile: str) -> None:
    with ThreadRunner(2) as threads:
        run(tmp_path / "a", profile=profile, pairs=40_000, runner=SerialRunner())
        run(tmp_path / "b", profile=profile, pairs=40_000, runner=threads)
    run(tmp_path / "c", profile=profile, pairs=40_000, seed=2)
    for name in ("1.fq", "2.fq", "g.fa", "g.fa.fai", "truth.tsv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert (tmp_path / "a" / "1.fq").read_bytes() != (tmp_path / "c" / "1.fq").read_bytes()


def test_reads_are_the_genome_where_the_truth_says(tmp_path: Path) -> None:
    report = run(tmp_path, snp_rate=0, read_length=100, insert_mean=180, insert_sd=60)
    different = bases = 0
    with pysam.FastaFile(str(tmp_path / "g.fa")) as genome:
        rows = zip(fastq(tmp_path / "1.fq"), fastq(tmp_path / "2.fq"), table(tmp_path / "truth.tsv"), strict=True)
        for first, second, (name, contig, position1, position2, strand, _) in rows:
            assert first[0] == f"{name} 1:N:0:ATCACG"
            assert second[0] == f"{name} 2:N:0:ATCACG"
            for (_, read, quality), position, reverse in (
                (first, position1, strand == "-"), (second, position2, strand == "+"),
            ):  # fmt: skip
                assert len(read) == len(quality) == 100
                start = int(position) - 1
                expected = genome.fetch(contig, start, start + 100).encode()
                if reverse:
                    expected = expected.translate(COMPLEMENT)[::-1]
                wrong = [i for i in range(100) if read[i] != expected[i]]
                different += sum(read[i] != ord("N") for i in wrong)
                bases += 100
                assert all(quality[i] == 2 + 33 for i in wrong if read[i] == ord("N"))
    assert different == report.errors > 0  # type: ignore[attr-defined]
    assert bases == report.bases  # type: ignore[attr-defined]


def test_error_rate_is_what_the_qualities_say(tmp_path: Path) -> None:
    report = run(tmp_path, profile="hiseq", snp_rate=0, pairs=10_000)
    quality = np.frombuffer(b"".join(q for _, _, q in fastq(tmp_path / "1.fq") + fastq(tmp_path / "2.fq")), np.uint8)
    expected = (10.0 ** (-(quality[quality > 35] - 33.0) / 10)).sum()
    assert abs(report.errors - expected) < 6 * expected**0.5 + 0.02 * expected  # type: ignore[attr-defined]


def test_snps_are_shared_by_the_reads_over_them(tmp_path: Path) -> None:
    run(tmp_path, snp_rate=0.02, pairs=2000, genome_length=20_000, contigs=1, duplicates=0)
    with pysam.FastaFile(str(tmp_path / "g.fa")) as file:
        genome = file.fetch("chr1").encode()
    seen: dict[int, list[int]] = {}
    for (_, read, _), row in zip(fastq(tmp_path / "1.fq"), table(tmp_path / "truth.tsv"), strict=True):
        forward = read.translate(COMPLEMENT)[::-1] if row[4] == "-" else read
        for place, base in enumerate(forward, int(row[2]) - 1):
            seen.setdefault(place, []).append(base)
    common = {place: max(set(b), key=b.count) for place, b in seen.items() if len(b) >= 5}
    share = sum(genome[place] != base for place, base in common.items()) / len(common)
    assert 0.015 < share < 0.025


def test_duplicates_copy_an_earlier_fragment(tmp_path: Path) -> None:
    report = run(tmp_path, pairs=20_000, duplicates=0.2, optical=0.5)
    rows = table(tmp_path / "truth.tsv")
    ordinal = {row[0]: i for i, row in enumerate(rows)}
    assert len(ordinal) == len(rows)
    near = 0
    copies = [row for row in rows if row[5] != "."]
    for row in copies:
        original = rows[ordinal[row[5]]]
        assert ordinal[row[5]] < ordinal[row[0]]
        assert original[5] == "."
        assert original[1:5] == row[1:5]
        (t1, x1, y1), (t2, x2, y2) = (map(int, n.split(":")[4:]) for n in (row[0], row[5]))
        near += t1 == t2 and abs(x1 - x2) <= 100 and abs(y1 - y2) <= 100
    assert len(copies) == report.duplicates  # type: ignore[attr-defined]
    assert abs(len(copies) / len(rows) - 0.2) < 0.02
    assert 0.3 < near / len(copies) < 0.55


def test_tiles_change_and_names_stay_unique(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fragments_module, "PAIRS_PER_TILE", 10)
    run(tmp_path)
    names = [row[0] for row in table(tmp_path / "truth.tsv")]
    assert len(set(names)) == len(names)
    fields = [tuple(map(int, name.split(":")[3:5])) for name in names]
    assert fields == sorted(fields)
    assert {lane for lane, _ in fields} == {1, 2}


def test_single_end_gzip_and_given_reference(tmp_path: Path) -> None:
    reference = tmp_path / "ref.fa.gz"
    sequence = random_genome(5000, 1, 7).bases.tobytes()
    text = b">one first\nNNNNN" + sequence + b"\nNNN\n>short\nACGT\n>two\n" + sequence[:300].lower() + b"RYK\n"
    reference.write_bytes(gzip.compress(text))
    for level in (1, 6):
        report = simulate(
            str(tmp_path / f"{level}.fq.gz"), pairs=500, reference=str(reference), truth=str(tmp_path / "t.tsv"),
            read_length=80, snp_rate=0, gzip_level=level,
        )  # fmt: skip
        assert (report.contigs, report.reads) == (3, 500)
    assert fastq(tmp_path / "1.fq.gz") == fastq(tmp_path / "6.fq.gz")
    rows = table(tmp_path / "t.tsv")
    assert {row[1] for row in rows} == {"one", "two"}
    assert {row[3] for row in rows} == {"0"}
    assert all(6 <= int(row[2]) <= 5006 - 80 for row in rows if row[1] == "one")


def test_fai_is_that_of_samtools(tmp_path: Path) -> None:
    run(tmp_path, pairs=1, genome_length=1234, contigs=4, read_length=20)
    ours = (tmp_path / "g.fa.fai").read_bytes()
    pysam.faidx(str(tmp_path / "g.fa"), "-o", str(tmp_path / "g.fa"), "--fai-idx", str(tmp_path / "theirs"))
    assert ours == (tmp_path / "theirs").read_bytes()


def test_no_pairs_give_empty_files(tmp_path: Path) -> None:
    simulate(str(tmp_path / "1.fq"), str(tmp_path / "2.fq.gz"), pairs=0, genome_length=1000, contigs=1)
    assert (tmp_path / "1.fq").read_bytes() == b""
    assert gzip.decompress((tmp_path / "2.fq.gz").read_bytes()) == b""


@pytest.mark.parametrize(
    "options", [{"pairs": -1}, {"duplicates": 1.5}, {"profile": "none"}, {"read_length": 10**5}, {"gzip_level": 9}]
)
def test_options_out_of_range(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(UsageError) as caught:
        run(tmp_path, **options)
    assert caught.value.remedy


def test_bad_references(tmp_path: Path) -> None:
    for text in (b"", b"ACGT\n", b">x\n", b">x\n>y\nACGT\n", b"> \nACGT\n"):
        with pytest.raises(InputError):
            parse_fasta(text, "ref.fa")
    with pytest.raises(InputError):
        run(tmp_path, reference=str(tmp_path / "missing.fa"))
    (tmp_path / "cut.fa.gz").write_bytes(gzip.compress(b">x\n" + b"ACGT" * 1000)[:-9])
    with pytest.raises(InputError):
        run(tmp_path, reference=str(tmp_path / "cut.fa.gz"))
    assert os.listdir(tmp_path) == ["cut.fa.gz"]


def test_nothing_is_left_behind_by_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        simulate(str(tmp_path / "1.fq"), str(tmp_path / "missing" / "2.fq"), pairs=10, genome_length=1000, contigs=1)
    assert os.listdir(tmp_path) == []


def test_numbers_as_text() -> None:
    values = np.array([0, 7, 10, 1000, 99999])
    assert flatten(number(values, 5)).tobytes() == b"0710100099999"
