"""Export of FASTQ: imported files come back byte for byte; alignments as ``samtools fastq`` writes them."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pysam
import pysam.samtools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.batch import Alignments, Batch, Column
from agd.convert.fastq import import_fastq
from agd.convert.fastq_writer import export_fastq
from agd.dataset import Dataset
from agd.draft import Draft, columns_of
from agd.errors import UsageError
from agd.manifest import Chunk
from agd.run import SerialRunner, ThreadRunner
from agd.types import Orientation, SortOrder


@pytest.fixture(params=[1, 2], ids=["1 worker", "2 workers"])
def runner(request: pytest.FixtureRequest) -> Iterator[ThreadRunner]:
    with ThreadRunner(request.param) as runner:
        yield runner


def content(path: Path | str) -> bytes:
    data = Path(path).read_bytes()
    return gzip.decompress(data) if str(path).endswith(".gz") else data


# ------------------------------------------------------------------------------------------------- imported from FASTQ

SINGLE = [
    "bacteria_shigella/ERR6005894_R1.fastq.gz",
    "human_hiseq_lanes/TESTX_H7YRLADXX_S1_L001_R1_001.fastq.gz",
    "human_na12878_chr20/NA12878_chr20_singletons.fastq.gz",
    "tricky/crlf.fastq",
    "tricky/empty.fastq",
    "tricky/empty.fastq.gz",
    "tricky/multi_member.fastq.gz",
    "tricky/no_final_newline.fastq",
    "tricky/single_member.fastq.gz",
    "tricky/tricky_R1.fastq",
    "tricky/tricky_R2.fastq",
    "tricky/tricky_slash12.fastq",
]
PAIRED = [
    ("bacteria_shigella/ERR6005894_R1.fastq.gz", "bacteria_shigella/ERR6005894_R2.fastq.gz"),
    ("human_na12878_chr20/NA12878_chr20_R1.fastq.gz", "human_na12878_chr20/NA12878_chr20_R2.fastq.gz"),
    (
        "human_hiseq_lanes/TESTX_H7YRLADXX_S1_L002_R1_001.fastq.gz",
        "human_hiseq_lanes/TESTX_H7YRLADXX_S1_L002_R2_001.fastq.gz",
    ),
    ("tricky/tricky_R1.fastq", "tricky/tricky_R2.fastq"),
]


def chunk_sizes(path: Path) -> list[int]:
    """Chunks of one record are for small files: they cost a few objects each."""
    return [1, 7, 100_000] if path.stat().st_size < 20_000 else [10_007, 100_000]


@pytest.mark.data
@pytest.mark.parametrize("name", SINGLE)
def test_single_files_come_back(data: Path, tmp_path: Path, runner: ThreadRunner, name: str) -> None:
    source = data / name
    for chunk_records in chunk_sizes(source):
        out = str(tmp_path / f"{chunk_records}.agd")
        import_fastq(source, output=out, chunk_records=chunk_records, runner=runner)
        for suffix in ("fq", "fq.gz"):
            path = tmp_path / f"{chunk_records}.{suffix}"
            report = export_fastq(Dataset.open(out), path, runner=runner)
            assert content(path) == content(source)
            assert report.records == len(Dataset.open(out))
            assert report.bytes_out == len(content(source))


@pytest.mark.data
@pytest.mark.parametrize("names", PAIRED, ids=lambda names: names[0].split("/")[0])
def test_paired_files_come_back(data: Path, tmp_path: Path, runner: ThreadRunner, names: tuple[str, str]) -> None:
    one, two = (data / name for name in names)
    for chunk_records in chunk_sizes(one):
        out = str(tmp_path / f"{chunk_records}.agd")
        import_fastq(one, two, output=out, chunk_records=chunk_records, runner=runner)
        export_fastq(Dataset.open(out), tmp_path / "1.fq", tmp_path / "2.fq.gz", runner=runner)
        assert content(tmp_path / "1.fq") == content(one)
        assert content(tmp_path / "2.fq.gz") == content(two)


@pytest.mark.data
def test_interleaved_file_comes_back(data: Path, tmp_path: Path, runner: ThreadRunner) -> None:
    source = data / "tricky/tricky_slash12.fastq"
    out = str(tmp_path / "s.agd")
    import_fastq(source, output=out, interleaved=True, runner=runner)
    export_fastq(Dataset.open(out), tmp_path / "back.fq", runner=runner)
    assert content(tmp_path / "back.fq") == content(source)
    export_fastq(Dataset.open(out), tmp_path / "1.fq", tmp_path / "2.fq", runner=runner)
    lines = content(source).splitlines(keepends=True)
    halves = [b"".join(b"".join(lines[i : i + 4]) for i in range(4 * k, len(lines), 8)) for k in (0, 1)]
    assert [content(tmp_path / "1.fq"), content(tmp_path / "2.fq")] == halves


END = st.sampled_from([b"\n", b"\r\n"])
LINE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=10).map(str.encode)


@st.composite
def fastq(draw: st.DrawFn, count: int | None = None) -> bytes:
    """Any FASTQ file that is read: comments, '+' texts, line ends, a missing last newline, blank lines at the end."""
    end = draw(END)
    text = b""
    for i in range(draw(st.integers(0, 6)) if count is None else count):
        size = draw(st.integers(0, 12))
        bases = draw(st.text("ACGTNacgtnRYKM.-*=", min_size=size, max_size=size)).encode()
        quals = draw(st.text([chr(c) for c in range(33, 127)], min_size=size, max_size=size)).encode()
        text += b"@%d %s" % (i, draw(LINE)) + end + bases + end + b"+" + draw(LINE) + end + quals + end
    ending = draw(st.sampled_from(["cut", "as is", "blank"]))
    if ending == "cut" and text:
        return text[: -len(end)]
    return text + end * 2 if ending == "blank" else text


@given(fastq(), st.sampled_from([1, 2, 100]))
def test_any_file_comes_back(tmp_path_factory: pytest.TempPathFactory, text: bytes, chunk_records: int) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "in.fq").write_bytes(text)
    url = f"memory://{folder.name}/s.agd"
    import_fastq(folder / "in.fq", output=url, chunk_records=chunk_records, runner=SerialRunner())
    export_fastq(Dataset.open(url), folder / "out.fq", runner=SerialRunner())
    assert content(folder / "out.fq") == text


@given(st.integers(0, 5).flatmap(lambda n: st.tuples(fastq(n), fastq(n))), st.sampled_from([1, 4, 100]))
def test_any_two_files_come_back(
    tmp_path_factory: pytest.TempPathFactory, texts: tuple[bytes, bytes], chunk_records: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    for name, text in zip(("1.fq", "2.fq"), texts, strict=True):
        (folder / name).write_bytes(text)
    url = f"memory://{folder.name}/s.agd"
    files = [folder / "1.fq", folder / "2.fq"]
    import_fastq(*files, output=url, chunk_records=chunk_records, runner=SerialRunner())
    export_fastq(Dataset.open(url), folder / "3.fq", folder / "4.fq", runner=SerialRunner())
    assert (content(folder / "3.fq"), content(folder / "4.fq")) == texts


def test_two_files_as_one_and_back(tmp_path: Path) -> None:
    (tmp_path / "1.fq").write_bytes(b"@a/1\r\nAC\r\n+\r\nII\r\n@b/1\r\nA\r\n+\r\nI")
    (tmp_path / "2.fq").write_bytes(b"@a/2\nGT\n+\n##\n@b/2\nT\n+\n#\n\n")
    import_fastq(tmp_path / "1.fq", tmp_path / "2.fq", output=tmp_path / "s.agd")
    dataset = Dataset.open(tmp_path / "s.agd")
    export_fastq(dataset, tmp_path / "both.fq", singletons=tmp_path / "none.fq")
    expected = b"@a/1\nAC\n+\nII\n@a/2\nGT\n+\n##\n@b/1\nA\n+\nI\n@b/2\nT\n+\n#\n"
    assert content(tmp_path / "both.fq") == expected.replace(b"\n", b"\r\n")
    assert content(tmp_path / "none.fq") == b""


def test_refusals(tmp_path: Path) -> None:
    (tmp_path / "1.fq").write_bytes(b"@a\nA\n+\nI\n")
    import_fastq(tmp_path / "1.fq", output=tmp_path / "s.agd")
    dataset = Dataset.open(tmp_path / "s.agd")
    with pytest.raises(UsageError, match="single reads"):
        export_fastq(dataset, tmp_path / "o1.fq", tmp_path / "o2.fq")
    with pytest.raises(UsageError, match="the same"):
        export_fastq(dataset, tmp_path / "o1.fq", singletons=tmp_path / "o1.fq")
    with pytest.raises(UsageError, match="interleaved or to two files"):
        export_fastq(dataset, tmp_path / "o1.fq", tmp_path / "o2.fq", interleaved=True)
    assert not list(tmp_path.glob("o*"))


# ------------------------------------------------------------------------------------------------------- alignments


def dataset_of(url: str, records: list[pysam.AlignedSegment], chunk_records: int, order: SortOrder) -> Dataset:
    """A dataset of alignment lines, made without the importers."""
    columns = ["bases", "qualities", "metadata", "results"]
    draft = Draft.create(url, columns_of(columns), {"made": "for a test"}, orientation=Orientation.SEQ, overwrite=True)
    chunks = []
    for first in range(0, len(records), chunk_records):
        part = records[first : first + chunk_records]
        qualities = [bytes(q + 33 for q in r.query_qualities or ()) for r in part]
        alignments = Alignments.null(len(part)).replace(flag=np.array([r.flag for r in part], np.uint16), valid=None)
        batch = Batch(
            first,
            {
                "bases": Column.from_list([(r.query_sequence or "").encode() for r in part]),
                "qualities": Column.from_list(qualities),
                "metadata": Column.from_list([(r.query_name or "").encode() for r in part]),
                "results": alignments,
            },
        )
        cells = {name: draft.write(name, first, batch[name]) for name in columns}
        chunks.append(Chunk(first, len(part), cells))
    return draft.commit(chunks, names="sam", sort_order=order)


def all_by_samtools(bam: Path, folder: Path) -> bytes:
    """All primary reads; samtools puts the first read of a name before the second where they are neighbours."""
    out = str(folder / "theirs.fq")
    pysam.samtools.fastq("-n", "-0", out, "-1", out, "-2", out, str(bam), catch_stdout=False)
    return content(out)


def by_pysam(records: list[pysam.AlignedSegment]) -> bytes:
    """All primary reads in the order of the records."""
    rows = []
    for r in records:
        if not r.flag & 0x900:
            qualities = r.get_forward_qualities()
            text = "B" * r.query_length if qualities is None else pysam.array_to_qualitystring(qualities)
            rows.append(f"@{r.query_name}\n{r.get_forward_sequence() or ''}\n+\n{text}\n")
    return "".join(rows).encode()


def rows_of(text: bytes) -> list[bytes]:
    """The records of a FASTQ text, sorted."""
    lines = text.splitlines(keepends=True)
    return sorted(b"".join(lines[i : i + 4]) for i in range(0, len(lines), 4))


def records_of(path: Path) -> list[pysam.AlignedSegment]:
    with pysam.AlignmentFile(str(path), check_sq=False) as file:
        return list(file)


@pytest.mark.data
@pytest.mark.parametrize(
    "name", ["human_na12878_chr22_dups/NA12878.chr22.s.bam", "human_na12878_chr20/NA12878_S1.chr20.10_10p1mb.bam"]
)
def test_in_record_order_as_samtools(data: Path, tmp_path: Path, name: str) -> None:
    records = records_of(data / name)
    dataset = dataset_of("memory://fastq-export/o.agd", records, 3000, SortOrder.COORDINATE)
    report = export_fastq(dataset, tmp_path / "mine.fq")
    mine = content(tmp_path / "mine.fq")
    assert mine == by_pysam(records)
    # samtools drops a read that is an exact copy of its neighbour, of which one of the files has some
    assert set(rows_of(mine)) == set(rows_of(all_by_samtools(data / name, tmp_path)))
    assert report.records == sum(not r.flag & 0x900 for r in records)


@pytest.mark.data
def test_tricky_alignments_as_samtools(data: Path, tmp_path: Path) -> None:
    records = records_of(data / "tricky/tricky.bam")
    dataset = dataset_of("memory://fastq-export/t.agd", records, 7, SortOrder.UNKNOWN)
    export_fastq(dataset, tmp_path / "mine.fq")
    mine = rows_of(content(tmp_path / "mine.fq"))
    theirs = rows_of(all_by_samtools(data / "tricky/tricky.bam", tmp_path))
    assert mine == theirs


@pytest.mark.data
@pytest.mark.parametrize("chunk_records", [7, 1000])
def test_mates_as_samtools(data: Path, tmp_path: Path, runner: ThreadRunner, chunk_records: int) -> None:
    sorted_bam = tmp_path / "n.bam"
    pysam.samtools.sort("-n", "-o", str(sorted_bam), str(data / "human_na12878_chr22_dups/NA12878.chr22.s.bam"))
    records = records_of(sorted_bam)[:3000]
    with pysam.AlignmentFile(str(sorted_bam)) as old, pysam.AlignmentFile(
        str(tmp_path / "part.bam"), "wb", template=old
    ) as new:
        for record in records:
            new.write(record)
    dataset = dataset_of("memory://fastq-export/n.agd", records, chunk_records, SortOrder.QUERYNAME)
    mine = [tmp_path / f"mine.{k}.fq" for k in "12s"]
    theirs = [tmp_path / f"theirs.{k}.fq" for k in "12s0"]
    options = [x for flag, path in zip(("-1", "-2", "-s", "-0"), theirs, strict=True) for x in (flag, str(path))]
    pysam.samtools.fastq("-n", *options, str(tmp_path / "part.bam"), catch_stdout=False)
    report = export_fastq(dataset, mine[0], mine[1], singletons=mine[2], runner=runner)
    assert [content(path) for path in mine] == [content(path) for path in theirs[:3]]
    assert content(theirs[3]) == b""
    assert sum(report.files.values()) == report.records
    with pytest.raises(UsageError, match="no mate beside it"):
        export_fastq(dataset, tmp_path / "x1.fq", tmp_path / "x2.fq", runner=runner)
    assert not list(tmp_path.glob("x*"))
    export_fastq(dataset, tmp_path / "turns.fq", interleaved=True, singletons=tmp_path / "rest.fq", runner=runner)
    lines = [content(path).splitlines(keepends=True) for path in mine[:2]]
    turns = [b"".join(side[i : i + 4]) for i in range(0, len(lines[0]), 4) for side in lines]
    assert content(tmp_path / "turns.fq") == b"".join(turns)
    assert content(tmp_path / "rest.fq") == content(mine[2])


def lines_of(rows: list[tuple[str, int]]) -> list[pysam.AlignedSegment]:
    out = []
    for i, (name, flag) in enumerate(rows):
        record = pysam.AlignedSegment()
        record.query_name, record.flag = name, flag
        record.query_sequence = "ACGTN"[: i % 5 + 1]
        record.query_qualities = pysam.qualitystring_to_array("I" * (i % 5 + 1))
        out.append(record)
    return out


def names(path: Path) -> list[str]:
    return [line[1:].decode() for line in content(path).splitlines()[0::4]]


ROWS = [
    ("a", 0x41), ("a", 0x81), ("b", 0x81), ("b", 0x841), ("b", 0x41), ("c", 0x41), ("d", 0x0), ("e", 0xC1),
    ("f", 0x41), ("f", 0x41), ("f", 0x81), ("g", 0x181), ("h", 0x91), ("h", 0x51),
]  # fmt: skip


@pytest.mark.parametrize("chunk_records", [1, 2, 3, 5, 100])
def test_mates_are_matched_within_a_name(tmp_path: Path, chunk_records: int) -> None:
    dataset = dataset_of("memory://fastq-export/m.agd", lines_of(ROWS), chunk_records, SortOrder.QUERYNAME)
    one, two, rest = (tmp_path / f"{k}.fq" for k in "12s")
    report = export_fastq(dataset, one, two, singletons=rest)
    assert names(one) == names(two) == ["a", "b", "f", "h"]
    assert names(rest) == ["c", "d", "e", "f"]
    assert report.files == {str(one): 4, str(two): 4, str(rest): 4}
    sequences = [line for path in (one, two) for line in content(path).splitlines()[1::4]]
    # h: the second read comes first, and both are on the other strand.
    assert sequences == [b"A", b"ACGTN", b"ACGT", b"ACGT", b"AC", b"ACG", b"A", b"CGT"]


def test_sorted_by_coordinate_has_no_mates_beside(tmp_path: Path) -> None:
    dataset = dataset_of("memory://fastq-export/c.agd", lines_of(ROWS), 3, SortOrder.COORDINATE)
    for options in ({"output2": tmp_path / "o2.fq"}, {"singletons": tmp_path / "os.fq"}, {"interleaved": True}):
        with pytest.raises(UsageError, match="sorted by coordinate") as caught:
            export_fastq(dataset, tmp_path / "o1.fq", **options)  # type: ignore[arg-type]
        assert "agd sort --by queryname" in caught.value.remedy
    assert not list(tmp_path.glob("o*"))
    assert export_fastq(dataset, tmp_path / "o1.fq").records == 12


def test_missing_qualities_and_bases(tmp_path: Path) -> None:
    records = lines_of([("a", 4), ("b", 4), ("c", 16)])
    records[1].query_qualities = None
    records[2].query_sequence = None
    dataset = dataset_of("memory://fastq-export/q.agd", records, 100, SortOrder.UNKNOWN)
    export_fastq(dataset, tmp_path / "q.fq")
    assert content(tmp_path / "q.fq") == b'@a\nA\n+\nI\n@b\nAC\n+\nBB\n@c\n\n+\n\n'


def test_outputs(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], read: Callable[[str], bytes]) -> None:
    text = b"@a\nA\n+\nI\n"
    (tmp_path / "1.fq").write_bytes(text)
    import_fastq(tmp_path / "1.fq", output=tmp_path / "s.agd")
    dataset = Dataset.open(tmp_path / "s.agd")
    export_fastq(dataset, "-")
    assert capfdbinary.readouterr().out == text
    export_fastq(dataset, "memory://fastq-export/o.fq")
    assert read("memory://fastq-export/o.fq") == text


@pytest.fixture
def read() -> Callable[[str], bytes]:
    import fsspec

    def read(url: str) -> bytes:
        with fsspec.open(url) as file:
            return bytes(file.read())

    return read
