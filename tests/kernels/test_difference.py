"""Lengths, ends, NM and MD, with samtools and bwa as the oracles."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.batch import Column
from agd.errors import KernelError
from agd.kernels import _native, reference
from agd.types import CIGAR_OPERATIONS
from tests.support.alignment_text import Genome, SamLine, cigar_column, cigar_text, sam_lines

OPERATION = st.tuples(st.integers(1, 40), st.sampled_from("MMMMIDNSHP=X"))
CIGAR = st.lists(OPERATION, max_size=6).map(lambda ops: "".join(f"{n}{op}" for n, op in ops) or "*")


def nm_md(kernels: ModuleType, genome: Genome, lines: list[SamLine]) -> list[tuple[int, str]]:
    contigs = {name: i for i, name in enumerate(genome.names)}
    contig = np.array([-1 if line.flag & 4 else contigs.get(line.contig, -1) for line in lines], np.int32)
    position = np.array([line.position - 1 for line in lines], np.int64)
    cigar = cigar_column(line.cigar for line in lines)
    bases = Column.from_list([b"" if line.bases == "*" else line.bases.encode() for line in lines])
    nm, offsets = np.zeros(len(lines), np.int32), np.zeros(len(lines) + 1, np.int64)
    md = np.zeros(kernels.md_bound(genome.offsets, contig, cigar.values, cigar.offsets, bases.offsets), np.uint8)
    used = kernels.nm_md(
        genome.letters, genome.offsets, contig, position, cigar.values, cigar.offsets, bases.values, bases.offsets,
        nm, md, offsets,
    )  # fmt: skip
    assert used == offsets[-1]
    return list(zip(nm.tolist(), (text.decode() for text in Column(md, offsets)), strict=True))


def calmd(folder: Path, sam: str, fasta: str) -> list[SamLine]:
    (folder / "reads.sam").write_text(sam)
    (folder / "ref.fa").write_text(fasta)
    pysam.faidx(str(folder / "ref.fa"))
    return sam_lines(pysam.samtools.calmd("-Q", "--no-PG", str(folder / "reads.sam"), str(folder / "ref.fa")))  # type: ignore[attr-defined]


def tags_of(line: SamLine) -> tuple[int, str]:
    """NM and MD of a line as the kernel gives them."""
    return int(line.tags.get("NM", "i:-1")[2:]), line.tags.get("MD", "Z:")[2:]


def header(genome: Genome) -> str:
    return "".join(f"@SQ\tSN:{n}\tLN:{s}\n" for n, s in zip(genome.names, np.diff(genome.offsets), strict=True))


def random_case(seed: int, records: int) -> tuple[str, str, Genome]:
    """SAM text and FASTA: every operation, both cases, N, IUPAC, '=', ends of contigs, reads without SEQ."""
    random = np.random.default_rng(seed)

    def letters(n: int, alphabet: str, odds: str) -> np.ndarray[Any, Any]:
        out = random.choice(list(alphabet), n)
        strange = random.random(n) < 0.04
        out[strange] = random.choice(list(odds), int(strange.sum()))
        return out

    contigs = [letters(n, "ACGTacgt", "NnRyUWs=.*0-") for n in (400, 37, 1200)]
    fasta = "".join(f">c{i}\n{''.join(c)}\n" for i, c in enumerate(contigs))
    genome = Genome.from_fasta(fasta)
    lines = []
    for i in range(records):
        contig = random.integers(len(contigs))
        at = int(random.integers(len(contigs[contig])))
        kinds = random.choice(list("MMMM=XIDN"), random.integers(1, 6))
        ops = [(int(random.integers(1, 60)), str(kind)) for kind in kinds]
        ops = [(int(random.integers(1, 9)), "S")] * int(random.integers(2)) + ops
        ops = [(5, "H")] * int(random.integers(2)) + ops + [(3, "S")] * int(random.integers(2))
        read, here = [], at
        for n, op in ops:
            if op in "M=X":
                under = contigs[contig][here : here + n]
                copy = np.concatenate([under, letters(n - len(under), "ACGT", "N")])
                wrong = random.random(n) < 0.05
                copy[wrong] = letters(int(wrong.sum()), "ACGTacgtN", "=RYNKMBVu")
                read.append(copy)
            elif op in "IS":
                read.append(letters(n, "ACGT", "N"))
            here += n if op in "M=XDN" else 0
        bases = "".join("".join(piece) for piece in read).replace("*", "N").replace("-", "N") or "*"
        flag = int(random.choice([0, 16]))
        cigar = "".join(f"{n}{op}" for n, op in ops)
        if random.random() < 0.03:
            bases = "*"
        if random.random() < 0.03:
            flag, cigar = 4, random.choice(["*", cigar])
        lines.append(f"r{i}\t{flag}\tc{contig}\t{at + 1}\t60\t{cigar}\t*\t0\t0\t{bases}\t*\n")
    return header(genome) + "".join(lines), fasta, genome


@pytest.mark.parametrize("seed", range(3))
def test_nm_md_equal_samtools_calmd(kernels: ModuleType, tmp_path: Path, seed: int) -> None:
    sam, fasta, genome = random_case(seed, 600)
    expected = calmd(tmp_path, sam, fasta)
    assert len(expected) == 600
    assert sum("NM" in line.tags for line in expected) > 500
    assert nm_md(kernels, genome, sam_lines(sam)) == [tags_of(line) for line in expected]


@given(data=st.data())
def test_implementations_agree(simd: int, data: st.DataObject) -> None:
    first = "ACGTTGCAACGTTGCAACGTTGCAACGTTGCAACGTTG"
    text = first + data.draw(st.text("ACGTacgtNR=", max_size=80))
    genome = Genome.from_fasta(f">a\n{text}\n>b\nACGTACGTNN\n")
    reads = st.text("ACGTacgtN=", max_size=60) | st.integers(0, 90).map(lambda at: text[at:])
    cigars = CIGAR | st.sampled_from(["90M", "3S64M2D40M"])
    lines = [
        SamLine.parse(f"r\t0\t{name}\t{at}\t0\t{cigar}\t*\t0\t0\t{bases or '*'}\t*")
        for name, at, cigar, bases in data.draw(st.lists(st.tuples(
            st.sampled_from(["a", "a", "b", "*"]), st.integers(0, 90), cigars, reads,
        ), max_size=4))
    ]  # fmt: skip
    assert nm_md(_native, genome, lines) == nm_md(reference, genome, lines)


@pytest.fixture(scope="module")
def crop(data: Path) -> str:
    """FASTA text of the 1.1 Mbp crop of chromosome 20."""
    return gzip.decompress((data / "human_na12878_chr20" / "hg19_chr20_9995001_11095000.fa.gz").read_bytes()).decode()


@pytest.mark.data
def test_nm_md_of_real_reads_equal_samtools_calmd(kernels: ModuleType, data: Path, crop: str, tmp_path: Path) -> None:
    bam = str(data / "human_na12878_chr20" / "NA12878_S1.chr20.10_10p1mb.bam")
    genome = Genome.from_fasta(crop)
    lines = sam_lines(pysam.samtools.view(bam))  # type: ignore[attr-defined]
    lines = lines if kernels is _native else lines[::25]
    text = "".join(
        f"{i}\t{line.flag}\t{genome.names[0]}\t{line.position - 9995000}\t60\t{line.cigar}\t*\t0\t0\t{line.bases}\t*\n"
        for i, line in enumerate(lines)
    )
    expected = calmd(tmp_path, header(genome) + text, crop)
    assert len(expected) > 2000
    assert nm_md(kernels, genome, sam_lines(text)) == [tags_of(line) for line in expected]


@pytest.mark.data
def test_nm_md_equal_bwa_mem(kernels: ModuleType, data: Path, crop: str, tmp_path: Path) -> None:
    bwa = shutil.which("bwa")
    if bwa is None:
        pytest.skip("bwa is not installed")
    (tmp_path / "ref.fa").write_text(crop)
    with gzip.open(data / "human_na12878_chr20" / "NA12878_chr20_R1.fastq.gz", "rt") as reads:
        (tmp_path / "reads.fq").write_text("".join(next(reads) for _ in range(4 * 3000)))
    subprocess.run([bwa, "index", "ref.fa"], cwd=tmp_path, check=True, capture_output=True)
    done = subprocess.run([bwa, "mem", "ref.fa", "reads.fq"], cwd=tmp_path, check=True, capture_output=True, text=True)
    lines = sam_lines(done.stdout)
    assert len(lines) >= 3000
    assert nm_md(kernels, Genome.from_fasta(crop), lines) == [tags_of(line) for line in lines]


@given(st.lists(CIGAR, max_size=8))
def test_reference_spans(kernels: ModuleType, cigars: list[str]) -> None:
    column = cigar_column(cigars)
    query, span = np.zeros(len(cigars), np.int64), np.zeros(len(cigars), np.int64)
    kernels.reference_spans(column.values, column.offsets, query, span)
    for i, cigar in enumerate(cigars):
        record = pysam.AlignedSegment()
        record.cigarstring = None if cigar == "*" else cigar
        stats = record.get_cigar_stats()[0] if record.cigarstring else []
        counts = dict(zip(CIGAR_OPERATIONS, stats, strict=False))
        assert query[i] == (record.infer_query_length() or 0)
        assert span[i] == sum(counts.get(operation, 0) for operation in "MDN=X")


@pytest.mark.parametrize(
    ("cigar", "hard", "expected"),
    [
        ("10M", True, (100, 110)),
        ("*", True, (100, 101)),
        ("3S10M4S", True, (97, 114)),
        ("2H3S10M4S1H", True, (95, 115)),
        ("2H3S10M4S1H", False, (97, 114)),
        ("5H10M5D2I3N1P6=1X", True, (95, 125)),
        ("3I2S10M", True, (100, 110)),
        ("6S", True, (94, 107)),
        ("4S5I4S", False, (96, 105)),
    ],
)
def test_unclipped_ends(kernels: ModuleType, cigar: str, hard: bool, expected: tuple[int, int]) -> None:
    """Values by hand from the definition in samtools: bam_endpos counts at least one base."""
    column = cigar_column(["1S1M", cigar])
    start, end = np.zeros(2, np.int64), np.zeros(2, np.int64)
    kernels.unclipped_ends(np.array([7, 100]), column.values, column.offsets, hard, start, end)
    assert (start[1], end[1]) == expected
    assert (start[0], end[0]) == (6, 8)


@given(st.lists(st.tuples(st.integers(-1, 2**31), CIGAR, st.booleans()), max_size=6), st.booleans())
def test_unclipped_ends_agree(rows: list[tuple[int, str, bool]], hard: bool) -> None:
    column = cigar_column(row[1] for row in rows)
    out, position = np.zeros((2, 2, len(rows)), np.int64), np.array([r[0] for r in rows], np.int64)
    for kernels, (start, end) in zip((_native, reference), out, strict=True):
        kernels.unclipped_ends(position, column.values, column.offsets, hard, start, end)
    assert (out[0] == out[1]).all()


def test_bad_input(kernels: ModuleType) -> None:
    genome, offsets = np.frombuffer(b"ACGTACGT", np.uint8), np.array([0, 8])
    good = {
        "genome": genome, "contig_offsets": offsets, "reference": np.zeros(2, np.int32),
        "position": np.zeros(2, np.int64), "cigar": np.array([4 << 4, 4 << 4], np.uint32),
        "cigar_offsets": np.array([0, 1, 2]), "bases": genome, "base_offsets": np.array([0, 4, 8]),
        "nm": np.zeros(2, np.int32), "md": np.zeros(30, np.uint8), "md_offsets": np.zeros(3, np.int64),
    }  # fmt: skip
    assert kernels.nm_md(**good) == 2
    for change, reason, record in [
        ({"reference": np.array([0, 1], np.int32)}, "reference is not one of the contigs", 1),
        ({"cigar": np.array([64, 64 | 9], np.uint32)}, "CIGAR operation is not one of", 1),
        ({"md": np.zeros(9, np.uint8)}, "no room for the MD texts", 1),
        ({"cigar_offsets": np.array([0, 1, 3])}, "offsets outside of the CIGARs", 1),
        ({"base_offsets": np.array([0, 4, 9])}, "offsets outside of the bases", 1),
        ({"contig_offsets": np.array([0, 9])}, "offsets outside of the reference", 0),
        ({"nm": np.zeros(1, np.int32)}, "arrays of records differ in length", -1),
        ({"position": np.zeros(3, np.int64)}, "arrays of records differ in length", -1),
    ]:
        with pytest.raises(KernelError, match=reason) as caught:
            kernels.nm_md(**(good | change))
        assert caught.value.record == record
    spans = np.zeros(1, np.int64)
    with pytest.raises(KernelError, match="position out of range"):
        kernels.unclipped_ends(np.array([2**62]), good["cigar"][:1], np.array([0, 1]), True, spans, spans)
    with pytest.raises(KernelError, match="outputs and CIGARs differ"):
        kernels.reference_spans(good["cigar"], good["cigar_offsets"], spans, spans)
    insertions = np.full(9, 0xFFFFFFF << 4 | 1, np.uint32)
    with pytest.raises(KernelError, match="NM does not fit 32 bits"):
        kernels.nm_md(**(good | {"cigar": insertions, "cigar_offsets": np.array([0, 9, 9])}))


def test_cigar_text_round_trips() -> None:
    text = "5H3S10M2I4D1N7P6=2X1S"
    assert cigar_text(cigar_column([text])[0]) == text
