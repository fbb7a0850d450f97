"""CRAM in and out, against the samtools that pysam carries."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pysam
import pytest

from agd.convert.bam_in import import_bam
from agd.convert.bam_out import export_bam
from agd.convert.cram import export_cram, import_cram
from agd.convert.sam_in import import_sam
from agd.dataset import Dataset
from agd.errors import AgdError, InputError, StorageError, UsageError, VerificationError
from agd.ops.sort import sort
from tests.support.samtools import samtools

CHR20 = "human_na12878_chr20/NA12878_S1.chr20.10_10p1mb.bam"
FILES = [CHR20, "human_na12878_chr22_dups/NA12878.chr22.s.bam", "tricky/tricky.bam", "tricky/long_cigar.bam"]


def records(path: Path | str, *options: str) -> str:
    return str(pysam.samtools.view("--no-PG", *options, str(path)))


@pytest.mark.data
@pytest.mark.parametrize("name", FILES)
def test_without_reference_as_samtools(data: Path, tmp_path: Path, name: str) -> None:
    import_bam(str(data / name), str(tmp_path / "a.agd"))
    export_cram(Dataset.open(str(tmp_path / "a.agd")), str(tmp_path / "ours.cram"), embed=True)
    opt = "--output-fmt-option"
    samtools("view", "-C", "--no-PG", opt, "no_ref=1", opt, "store_md=1", opt, "store_nm=1", "-o",
             str(tmp_path / "theirs.cram"), str(data / name))  # fmt: skip
    expected = records(tmp_path / "theirs.cram")
    assert records(tmp_path / "ours.cram") == expected
    import_cram(str(tmp_path / "theirs.cram"), str(tmp_path / "b.agd"), chunk_records=9_000)
    export_bam(Dataset.open(str(tmp_path / "b.agd")), str(tmp_path / "back.bam"))
    assert records(tmp_path / "back.bam") == expected
    assert sorted(line.split("\t")[0] for line in expected.splitlines()) == sorted(
        line.split("\t")[0] for line in records(data / name).splitlines()
    )


@pytest.fixture(scope="module")
def reference(data: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("reference") / "ref.fa"
    packed = data / "human_na12878_chr20/ucsc.hg19.chr20.unittest.fasta.gz"
    with gzip.open(packed) as source, path.open("wb") as file:
        shutil.copyfileobj(source, file)
    return str(path)


@pytest.mark.data
def test_with_reference_and_index(data: Path, tmp_path: Path, reference: str) -> None:
    import_bam(str(data / CHR20), str(tmp_path / "a.agd"))
    sort(Dataset.open(str(tmp_path / "a.agd")), str(tmp_path / "sorted.agd"))
    ds = Dataset.open(str(tmp_path / "sorted.agd"))
    with pytest.raises(UsageError, match="reference"):
        export_cram(ds, str(tmp_path / "a.cram"))
    report = export_cram(ds, str(tmp_path / "a.cram"), reference=reference)
    assert report.index == str(tmp_path / "a.cram.crai")
    region = "chr20:10000000-10001000"
    names = [line.split("\t")[:4] for line in records(data / CHR20).splitlines()]
    found = [line.split("\t")[:4] for line in records(tmp_path / "a.cram", "-T", reference).splitlines()]
    assert sorted(found) == sorted(names)
    inside = str(pysam.samtools.view("-T", reference, str(tmp_path / "a.cram"), region))
    expected = str(pysam.samtools.view(str(data / CHR20), region))
    fields = [sorted(line.split("\t")[:11] for line in text.splitlines()) for text in (inside, expected)]
    for line in fields[0] + fields[1]:
        if int(line[1]) & 4:
            line[5] = "*"  # CRAM has no CIGAR for what is not mapped
    assert fields[0] == fields[1]
    import_cram(str(tmp_path / "a.cram"), str(tmp_path / "b.agd"), reference=reference)
    assert Dataset.open(str(tmp_path / "b.agd")).manifest.digest["reads"] == ds.manifest.digest["reads"]


SAM = "@SQ\tSN:c\tLN:20\nr1\t0\tc\t1\t60\t8M\t*\t0\t0\tACGTACGT\tIIIIIIII\tNM:i:3\n"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A CRAM file whose reference is gone."""
    (tmp_path / "s.sam").write_text(SAM)
    (tmp_path / "ref.fa").write_text(">c\nACGTACGTACGTACGTACGT\n")
    import_sam(str(tmp_path / "s.sam"), str(tmp_path / "s.agd"))
    export_cram(Dataset.open(str(tmp_path / "s.agd")), str(tmp_path / "s.cram"), reference=str(tmp_path / "ref.fa"))
    (tmp_path / "ref.fa").rename(tmp_path / "moved.fa")
    return tmp_path / "s.cram"


def test_a_missing_reference_is_explained(small: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--reference"):
        import_cram(str(small), str(tmp_path / "out.agd"))
    assert not (tmp_path / "out.agd").exists()
    import_cram(str(small), str(tmp_path / "out.agd"), reference=str(tmp_path / "moved.fa"))
    assert len(Dataset.open(str(tmp_path / "out.agd"))) == 1
    with pytest.raises(UsageError, match="no such reference"):
        import_cram(str(small), str(tmp_path / "x.agd"), reference=str(tmp_path / "none.fa"))


@pytest.mark.parametrize("size", [0, 4, 26, 200, 300])
def test_damaged_files_are_errors(small: Path, tmp_path: Path, size: int) -> None:
    cut = tmp_path / "cut.cram"
    cut.write_bytes(small.read_bytes()[:size])
    with pytest.raises(AgdError):
        import_cram(str(cut), str(tmp_path / "out.agd"), reference=str(tmp_path / "moved.fa"))
    assert not (tmp_path / "out.agd").exists()


def test_there_is_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        import_cram(str(tmp_path / "none.cram"), str(tmp_path / "out.agd"))


def test_a_failed_export_leaves_nothing(small: Path, tmp_path: Path) -> None:
    ds = Dataset.open(str(tmp_path / "s.agd"))
    wrong = dict(ds.manifest.digest, records=dict(ds.manifest.digest["records"], count=2))
    changed = Dataset(ds.storage, ds.manifest.next(digest=wrong))
    with pytest.raises(VerificationError):
        export_cram(changed, str(tmp_path / "o.cram"), reference=str(tmp_path / "moved.fa"))
    assert not (tmp_path / "o.cram").exists()


def test_file_urls(small: Path, tmp_path: Path) -> None:
    reference = f"file://{tmp_path}/moved.fa"
    report = import_cram(f"file://{small}", str(tmp_path / "a.agd"), reference=reference)
    assert report.bytes_in == small.stat().st_size
    sort(Dataset.open(str(tmp_path / "a.agd")), str(tmp_path / "sorted.agd"))
    output = f"file://{tmp_path}/o.cram"
    done = export_cram(Dataset.open(str(tmp_path / "sorted.agd")), output, reference=reference)
    assert done.index == f"{output}.crai"
    assert (tmp_path / "o.cram.crai").exists()
    found = pysam.samtools.view("-T", str(tmp_path / "moved.fa"), str(tmp_path / "o.cram"), "c:1-9")
    assert str(found).split("\t")[:4] == ["r1", "0", "c", "1"]
    with pytest.raises(InputError, match="no such file"):
        import_cram(f"file://{tmp_path}/none.cram", str(tmp_path / "b.agd"))


def test_a_failed_writer_is_explained(small: Path, tmp_path: Path) -> None:
    ds = Dataset.open(str(tmp_path / "s.agd"))
    (tmp_path / "other.fa").write_text("no FASTA\n")
    with pytest.raises(StorageError, match="writing CRAM failed") as caught:
        export_cram(ds, str(tmp_path / "o.cram"), reference=str(tmp_path / "other.fa"))
    assert "truncated" not in caught.value.remedy
    assert not (tmp_path / "o.cram").exists()


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "e.cram").touch()
    with pytest.raises(InputError, match=r"fail to read the header") as caught:
        import_cram(str(tmp_path / "e.cram"), str(tmp_path / "s.agd"))
    assert "\\n" not in caught.value.message
    assert "truncated" in caught.value.remedy
    assert not (tmp_path / "s.agd").exists()
