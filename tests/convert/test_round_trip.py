"""SAM and BAM in and out again: the same records, fields, tags and order as samtools reads from the source."""

from __future__ import annotations

import gzip
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pysam
import pytest

from agd.batch import Column
from agd.convert import bgzf
from agd.convert.bam_in import import_bam
from agd.convert.bam_out import export_bam
from agd.convert.sam_in import import_sam
from agd.convert.sam_out import export_sam
from agd.dataset import Dataset
from agd.draft import Draft, columns_of
from agd.errors import InputError, UsageError, VerificationError
from agd.manifest import Chunk
from agd.run import ThreadRunner

REAL = ["human_na12878_chr20/NA12878_S1.chr20.10_10p1mb.bam", "human_na12878_chr22_dups/NA12878.chr22.s.bam"]
SMALL = [
    "tricky/tricky.bam", "tricky/tricky.sam", "tricky/long_cigar.bam", "tricky/long_cigar.sam",
    "tricky/header_only.bam", "tricky/header_only.sam", "tricky/no_header_unmapped.sam",
]  # fmt: skip


@pytest.fixture(params=[1, 2])
def runner(request: pytest.FixtureRequest) -> Iterator[ThreadRunner]:
    with ThreadRunner(request.param) as made:
        yield made


def bring_in(path: Path | str, folder: Path, chunk_records: int, runner: ThreadRunner, name: str = "s.agd") -> Dataset:
    load = import_bam if str(path).endswith(".bam") else import_sam
    load(str(path), str(folder / name), chunk_records=chunk_records, runner=runner)
    return Dataset.open(str(folder / name))


def view(path: Path) -> str:
    """Header and records by samtools."""
    return str(pysam.samtools.view("-h", "--no-PG", str(path)))


def without_program(text: str) -> str:
    """Text without the @PG lines that AGD adds."""
    return re.sub(r"(?m)^@PG\tID:agd-[^\n]*\n", "", text)


@pytest.mark.data
@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("chunk_records", [9_973])
def test_real_files_come_back(
    data: Path, tmp_path: Path, runner: ThreadRunner, name: str, chunk_records: int
) -> None:
    ds = bring_in(data / name, tmp_path, chunk_records, runner)
    export_bam(ds, str(tmp_path / "out.bam"), runner=runner)
    export_sam(ds, str(tmp_path / "out.sam"), runner=runner)
    expected = view(data / name)
    assert without_program(view(tmp_path / "out.bam")) == expected
    assert without_program((tmp_path / "out.sam").read_text()) == expected


@pytest.mark.data
@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("chunk_records", [1, 7, 100_000])
def test_tricky_files_come_back(
    data: Path, tmp_path: Path, runner: ThreadRunner, name: str, chunk_records: int
) -> None:
    source = data / name
    ds = bring_in(source, tmp_path, chunk_records, runner)
    export_bam(ds, str(tmp_path / "out.bam"), runner=runner)
    export_sam(ds, str(tmp_path / "out.sam"), runner=runner)
    text = without_program((tmp_path / "out.sam").read_text())
    if source.suffix == ".sam":
        # The text itself, but for one record that names its own reference as that of its mate (docs/losslessness.md).
        expected = source.read_text().replace("60H40M\tchr2\t777", "60H40M\t=\t777")
        assert text == expected
    (tmp_path / "ours.sam").write_text(text)
    assert view(tmp_path / "ours.sam") == view(source)
    if source.suffix == ".bam":
        assert without_program(view(tmp_path / "out.bam")) == view(source)
        assert uncompressed_records(tmp_path / "out.bam") == uncompressed_records(source)


def uncompressed_records(path: Path) -> bytes:
    """The records of a BAM file as they stand in it, without the bin, which is a function of other fields."""
    data = gzip.decompress(path.read_bytes())
    at = 8 + struct.unpack_from("<i", data, 4)[0]
    count = struct.unpack_from("<i", data, at)[0]
    at += 4
    for _ in range(count):
        at += 8 + struct.unpack_from("<i", data, at)[0]
    out = bytearray(data[at:])
    at = 0
    while at < len(out):
        size = struct.unpack_from("<i", out, at)[0]
        out[at + 14 : at + 16] = b"\0\0"
        at += 4 + size
    return bytes(out)


@pytest.mark.data
def test_datasets_do_not_depend_on_the_workers(data: Path, tmp_path: Path) -> None:
    found = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        with ThreadRunner(workers) as runner:
            ds = bring_in(data / REAL[1], folder, 5_000, runner)
        found.append([(c.first, {n: (x.bytes, x.statistics) for n, x in c.cells.items()}) for c in ds.chunks])
    assert found[0] == found[1]


def pipe(arguments: list[str], data: bytes) -> bytes:
    code = "from agd.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *arguments], input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.data
@pytest.mark.parametrize("kind", ["bam", "sam"])
def test_standard_input_and_output(data: Path, tmp_path: Path, kind: str) -> None:
    source = data / f"tricky/tricky.{kind}"
    pipe(["import", kind, "-", "-o", str(tmp_path / "s.agd"), "--quiet"], source.read_bytes())
    out = tmp_path / f"out.{kind}"
    out.write_bytes(pipe(["export", kind, str(tmp_path / "s.agd"), "-o", "-"], b""))
    assert without_program(view(out)) == view(source)


UNMAPPED = "@RG\tID:x\nr1\t77\t*\t0\t0\t*\t*\t0\t0\tACGTN\tIIII#\tRG:Z:x\nr1\t141\t*\t0\t0\t*\t*\t0\t0\t*\t*\n"


def test_unmapped_bam_without_references(tmp_path: Path, runner: ThreadRunner) -> None:
    (tmp_path / "u.sam").write_text(UNMAPPED)
    (tmp_path / "u.bam").write_bytes(bam_of(tmp_path / "u.sam"))
    ds = bring_in(tmp_path / "u.bam", tmp_path, 1, runner)
    report = export_bam(ds, str(tmp_path / "out.bam"))
    assert report.records == 2
    assert without_program(view(tmp_path / "out.bam")) == UNMAPPED
    assert ds.manifest.references == ()


def bam_of(path: Path) -> bytes:
    out = path.with_suffix(".by-samtools.bam")
    pysam.samtools.view("-b", "--no-PG", "-o", str(out), str(path), catch_stdout=False)
    return out.read_bytes()


@pytest.mark.parametrize(("length", "suffix"), [(1 << 29, ".bai"), ((1 << 31) - 1, ".csi")])
def test_long_references_get_an_index_that_can_hold_them(tmp_path: Path, length: int, suffix: str) -> None:
    last = length - 10
    text = (
        f"@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:c\tLN:{length}\n"
        f"a\t0\tc\t5\t60\t4M\t*\t0\t0\tACGT\tIIII\nb\t0\tc\t{last}\t60\t4M\t*\t0\t0\tACGT\tIIII\n"
    )
    (tmp_path / "l.sam").write_text(text)
    import_sam(str(tmp_path / "l.sam"), str(tmp_path / "l.agd"))
    report = export_bam(Dataset.open(str(tmp_path / "l.agd")), str(tmp_path / "l.bam"))
    assert report.index == str(tmp_path / "l.bam") + suffix
    found = str(pysam.samtools.view(str(tmp_path / "l.bam"), f"c:{last}-{last}"))
    assert [line.split("\t")[0] for line in found.splitlines()] == ["b"]


def test_an_index_needs_the_order(tmp_path: Path) -> None:
    (tmp_path / "u.sam").write_text(UNMAPPED)
    import_sam(str(tmp_path / "u.sam"), str(tmp_path / "u.agd"))
    with pytest.raises(UsageError, match="coordinate order"):
        export_bam(Dataset.open(str(tmp_path / "u.agd")), str(tmp_path / "u.bam"), index=True)


HEAD = b"@SQ\tSN:c\tLN:100\n"
LINE = b"r%d\t0\tc\t1\t60\t4M\t*\t0\t0\tACGT\tIIII\n"


@pytest.mark.parametrize(
    ("line", "place"),
    [(b"r\t0\tc\t1\t60\t4M\t*\t0\t0\tACGT\n", "line 5"), (b"r\tx\tc\t1\t60\t4M\t*\t0\t0\tACGT\tIIII\n", "line 5"),
     (b"r\t0\tnone\t1\t60\t4M\t*\t0\t0\tACGT\tIIII\n", "line 5"), (b"\n", "line 5")],
)  # fmt: skip
def test_a_damaged_line_is_named(tmp_path: Path, line: bytes, place: str, runner: ThreadRunner) -> None:
    text = HEAD + b"".join(LINE % i for i in range(3)) + line + b"".join(LINE % i for i in range(9))
    (tmp_path / "d.sam").write_bytes(text)
    with pytest.raises(InputError, match=place):
        import_sam(str(tmp_path / "d.sam"), str(tmp_path / "d.agd"), chunk_records=2, runner=runner)
    assert not (tmp_path / "d.agd").exists()


@pytest.mark.parametrize("flag", [0, 4])
def test_a_cigar_for_other_bases_is_named_where_samtools_would_refuse_the_file(
    tmp_path: Path, flag: int, runner: ThreadRunner
) -> None:
    lines = [f"r{i}\t{flag}\tc1\t{i + 1}\t60\t4M\t*\t0\t0\tACGT\tIIII\n" for i in range(5)]
    (tmp_path / "a.sam").write_text("@SQ\tSN:c1\tLN:900\n" + "".join(lines))
    dataset = bring_in(tmp_path / "a.sam", tmp_path, 2, runner)
    draft = Draft.extend(dataset, columns_of(["results"]), {"operation": "test"}, replace=True)
    chunks = []
    for chunk in dataset.chunks:
        alignments = dataset.read(chunk, ["results"]).alignments()
        cigar = alignments.cigar.values.copy()
        cigar[:] = [(3 if chunk.first + i == 3 else 4) << 4 for i in range(len(cigar))]
        changed = alignments.replace(cigar=Column(cigar, alignments.cigar.offsets))
        cells = {**chunk.cells, "results": draft.write("results", chunk.first, changed)}
        chunks.append(Chunk(chunk.first, chunk.count, cells))
    wrong, bam = draft.commit(chunks, digest={}), str(tmp_path / "a.bam")
    if flag == 4:
        export_bam(wrong, bam, runner=runner)
        assert pysam.samtools.view(bam).split()[5::11] == ["4M", "4M", "4M", "3M", "4M"]
        return
    with pytest.raises(VerificationError, match="record 'r3' does not fit BAM: CIGAR and sequence differ in length"):
        export_bam(wrong, bam, runner=runner)
    assert not (tmp_path / "a.bam").exists()


def test_no_final_newline(tmp_path: Path) -> None:
    text = HEAD + LINE % 1 + LINE % 2
    (tmp_path / "a.sam").write_bytes(text.rstrip(b"\n"))
    import_sam(str(tmp_path / "a.sam"), str(tmp_path / "a.agd"))
    export_sam(Dataset.open(str(tmp_path / "a.agd")), str(tmp_path / "b.sam"))
    assert without_program((tmp_path / "b.sam").read_text()).encode() == text


def cut_bam(folder: Path, size: int) -> Path:
    (folder / "w.sam").write_bytes(HEAD + b"".join(LINE % i for i in range(50)))
    bam = bam_of(folder / "w.sam")
    body = gzip.decompress(bam)
    blocks, _ = bgzf.deflate_blocks(memoryview(body[:size]), 6)
    path = folder / "cut.bam"
    path.write_bytes(blocks + bgzf.EOF)
    return path


@pytest.mark.parametrize("size", [2, 6, 20, 40, 60, 500, 1001])
def test_a_truncated_bam_is_an_error(tmp_path: Path, size: int, runner: ThreadRunner) -> None:
    with pytest.raises(InputError):
        import_bam(str(cut_bam(tmp_path, size)), str(tmp_path / "s.agd"), chunk_records=7, runner=runner)
    assert not (tmp_path / "s.agd").exists()
