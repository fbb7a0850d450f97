"""The main job from end to end: import, align, sort, export, view, in every store, for any workers and chunk size."""

from __future__ import annotations

import gzip
import shutil
from dataclasses import dataclass
from pathlib import Path

import pysam
import pytest

import agd
from agd.files import open_source
from agd.ops.digest import Digest, digest_records
from agd.ops.lines import to_records
from agd.ops.scan import scan
from agd.run import SerialRunner, ThreadRunner

READ_GROUP = r"@RG\tID:s\tSM:s\tPL:ILLUMINA"


@dataclass(frozen=True)
class Reads:
    read1: str
    read2: str
    genome: str
    truth: dict[str, tuple[str, int, int]]


@pytest.fixture(scope="session")
def reads(tmp_path_factory: pytest.TempPathFactory) -> Reads:
    folder = tmp_path_factory.mktemp("reads")
    paths = [str(folder / name) for name in ("R1.fq.gz", "R2.fq.gz", "genome.fa", "truth.tsv")]
    agd.simulate(
        paths[0], paths[1], pairs=150, genome=paths[2], truth=paths[3], genome_length=60_000, contigs=2,
        read_length=100, seed=11,
    )  # fmt: skip
    rows = [line.split("\t") for line in Path(paths[3]).read_text().splitlines()[1:]]
    return Reads(*paths[:3], {r[0]: (r[1], int(r[2]), int(r[3])) for r in rows})


def job(reads: Reads, place: str, *, workers: int, chunk_records: int) -> tuple[agd.Dataset, agd.Dataset]:
    """Import, align and sort; the aligned and the sorted dataset."""
    with ThreadRunner(workers) as runner:
        agd.import_fastq(
            reads.read1, reads.read2, output=f"{place}/s.agd", chunk_records=chunk_records, runner=runner
        )
        agd.align(agd.open(f"{place}/s.agd"), reads.genome, read_group=READ_GROUP, runner=runner)
        agd.sort(agd.open(f"{place}/s.agd"), f"{place}/sorted.agd", chunk_records=chunk_records, runner=runner)
    return agd.open(f"{place}/s.agd"), agd.open(f"{place}/sorted.agd")


def sam_text(dataset: agd.Dataset, folder: Path) -> str:
    path = folder / "out.sam"
    agd.export_sam(dataset, str(path), header=False)
    return path.read_text()


def contents(url: str) -> bytes:
    source = open_source(url)
    data = b"".join(iter(lambda: source.read(1 << 20), b""))
    source.close()
    return data


def digest(dataset: agd.Dataset) -> dict[str, object]:
    found = Digest()
    names = dataset.manifest.names
    for part in scan(dataset, lambda lines: digest_records(to_records(lines, names)), runner=SerialRunner()):
        found.add(part)
    return found.to_json()


@pytest.fixture(scope="session")
def expected(reads: Reads, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, object]]:
    folder = tmp_path_factory.mktemp("expected")
    _, ordered = job(reads, str(folder), workers=1, chunk_records=100_000)
    return sam_text(ordered, folder), digest(ordered)


@pytest.mark.parametrize("chunk_records", [1, 7, 64, 100_000])
@pytest.mark.parametrize("workers", [1, 2])
def test_same_records_for_any_workers_and_chunk_size(
    reads: Reads, expected: tuple[str, dict[str, object]], tmp_path: Path, workers: int, chunk_records: int
) -> None:
    aligned, ordered = job(reads, str(tmp_path), workers=workers, chunk_records=chunk_records)
    assert (sam_text(ordered, tmp_path), digest(ordered)) == expected
    assert digest(aligned) == expected[1]
    assert all(chunk.count == max(2, chunk_records - chunk_records % 2) for chunk in aligned.chunks[:-1])


def test_the_whole_job_in_every_store(
    reads: Reads, expected: tuple[str, dict[str, object]], tmp_path: Path, store: str
) -> None:
    aligned, ordered = job(reads, store, workers=2, chunk_records=100)
    assert (sam_text(ordered, tmp_path), digest(ordered)) == expected
    agd.export_fastq(aligned, str(tmp_path / "1.fq"), str(tmp_path / "2.fq"))
    for path, name in ((reads.read1, "1.fq"), (reads.read2, "2.fq")):
        assert (tmp_path / name).read_bytes() == gzip.decompress(Path(path).read_bytes())
    agd.export_bam(ordered, f"{store}/out.bam")
    copy = tmp_path / "copy.bam"
    for suffix in ("", ".bai"):
        Path(f"{copy}{suffix}").write_bytes(contents(f"{store}/out.bam{suffix}"))
    assert pysam.samtools.view(str(copy)) == expected[0]


def test_bam_is_what_other_tools_expect(reads: Reads, tmp_path: Path) -> None:
    _, ordered = job(reads, str(tmp_path), workers=2, chunk_records=100)
    bam = str(tmp_path / "out.bam")
    report = agd.export_bam(ordered, bam)
    assert report.index == bam + ".bai"
    pysam.quickcheck(bam)
    with pysam.AlignmentFile(bam) as file:
        header = file.header.to_dict()
        assert header["HD"]["SO"] == "coordinate"
        assert [sq["SN"] for sq in header["SQ"]] == ["chr1", "chr2"]
        assert all(len(sq["M5"]) == 32 for sq in header["SQ"])
        assert header["RG"] == [{"ID": "s", "SM": "s", "PL": "ILLUMINA"}]
        programs = [p["ID"] for p in header["PG"]]
        assert programs[0] == "agd-import-fastq"
        assert programs[-1] == "agd-export-bam"
        assert [p.get("PP") for p in header["PG"]] == [None, *programs[:-1]]
        right = total = 0
        for record in file.fetch(until_eof=True):
            if record.is_secondary or record.is_supplementary:
                continue
            contig, first, second = reads.truth[record.query_name]
            total += 1
            place = first if record.is_read1 else second
            right += record.reference_name == contig and abs(record.reference_start + 1 - place) <= 10
        assert total == 300
        assert right >= 295
        here = {(r.query_name, r.flag) for r in file.fetch("chr1", 9_999, 10_500)}
    lines = pysam.samtools.view(bam, "chr1:10,000-10,500").splitlines()
    agd_lines = tmp_path / "region.sam"
    from agd.ops.select import Selection, parse_region

    region = parse_region("chr1:10,000-10,500", ordered.manifest.references)
    agd.export_sam(ordered, str(agd_lines), header=False, selection=Selection((region,)))
    assert agd_lines.read_text().splitlines() == lines
    assert len(here) == len(lines) > 0


def test_region_reads_only_the_chunks_that_overlap(reads: Reads, tmp_path: Path) -> None:
    _, ordered = job(reads, str(tmp_path), workers=1, chunk_records=10)
    from agd.ops.select import Selection, parse_region

    whole = Selection((parse_region("chr1:10,000-10,100", ordered.manifest.references),))
    chosen = whole.chunks(ordered)
    assert 0 < len(chosen) < len(ordered.chunks) // 4
    # Take all other objects away: nothing misses them.
    keep = {chunk.first for chunk in chosen}
    for path in (tmp_path / "sorted.agd").glob("sorted-*"):
        if int(path.name.split("-")[1].split(".")[0]) not in keep:
            path.unlink()
    count = sum(scan(ordered, len, runner=SerialRunner(), selection=whole))
    shutil.rmtree(tmp_path / "sorted.agd")
    assert count > 0


def test_unaligned_reads_become_unmapped_bam(reads: Reads, tmp_path: Path) -> None:
    agd.import_fastq(reads.read1, reads.read2, output=str(tmp_path / "s.agd"), chunk_records=7)
    bam = str(tmp_path / "u.bam")
    agd.export_bam(agd.open(str(tmp_path / "s.agd")), bam)
    oracle = str(tmp_path / "oracle.bam")
    pysam.samtools.fqimport("-1", reads.read1, "-2", reads.read2, "-o", oracle, catch_stdout=False)
    ours, theirs = pysam.samtools.view(bam), pysam.samtools.view(oracle)
    assert [line.split("\t")[:11] for line in ours.splitlines()] == [
        line.split("\t")[:11] for line in theirs.splitlines()
    ]
