"""Import of FASTQ: what is stored, at any chunk size and with any runner; and every way to be damaged."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.convert import fastq, fastq_batches, fastq_reader
from agd.convert.fastq import import_fastq
from agd.convert.fastq_reader import FastqReader
from agd.dataset import Dataset
from agd.errors import AgdError, DatasetExistsError, InputError, UsageError
from agd.run import SerialRunner, ThreadRunner

Records = list[tuple[bytes, bytes, bytes]]


def fastq_text(records: Records, end: bytes = b"\n", plus: bytes = b"") -> bytes:
    return b"".join(b"@" + n + end + s + end + b"+" + plus + end + q + end for n, s, q in records)


def some_reads(count: int, mate: int = 0, length: int = 12) -> Records:
    rng = np.random.default_rng(count + mate)
    letters, suffix = np.frombuffer(b"ACGTN", np.uint8), b"/%d" % mate if mate else b""
    return [
        (b"read%d%s c%d" % (i, suffix, i), rng.choice(letters, length + i % 3).tobytes(), b"I" * (length + i % 3))
        for i in range(count)
    ]


def stored(url: str) -> Records:
    dataset = Dataset.open(url)
    rows: Records = []
    for batch in dataset.batches():
        rows += zip(batch.ragged("metadata"), batch.ragged("bases"), batch.ragged("qualities"), strict=True)
    assert len(rows) == len(dataset)
    return rows


def chunk_counts(url: str) -> list[int]:
    return [chunk.count for chunk in Dataset.open(url).chunks]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    def write(name: str, data: bytes) -> str:
        path = tmp_path / name
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return str(path)

    return write


@pytest.fixture(params=[1, 2], ids=["1 worker", "2 workers"])
def runner(request: pytest.FixtureRequest) -> Iterator[ThreadRunner]:
    with ThreadRunner(request.param) as runner:
        yield runner


# ---------------------------------------------------------------------------------------------------- what is stored


@pytest.mark.parametrize("chunk_records", [1, 7, 100_000])
@pytest.mark.parametrize("suffix", ["fq", "fq.gz"])
def test_single_reads(
    write: Callable[..., str], tmp_path: Path, runner: ThreadRunner, chunk_records: int, suffix: str
) -> None:
    reads = some_reads(25)
    out = str(tmp_path / "s.agd")
    report = import_fastq(
        write(f"r.{suffix}", fastq_text(reads)), output=out, chunk_records=chunk_records, runner=runner
    )
    assert stored(out) == reads
    assert (report.records, report.pairs, report.bases) == (25, 0, sum(len(r[1]) for r in reads))
    manifest = Dataset.open(out).manifest
    assert report.bytes_out == manifest.stored_bytes
    assert (manifest.pairing, manifest.names, manifest.steps[0]["program"]) == ("single", "fastq", "agd import fastq")
    expected = [chunk_records] * (25 // chunk_records) + [25 % chunk_records]
    assert chunk_counts(out) == [c for c in expected if c]


@pytest.mark.parametrize(("chunk_records", "expected"), [(1, [2] * 11), (7, [6, 6, 6, 4]), (100_000, [22])])
@pytest.mark.parametrize("interleaved", [False, True])
def test_pairs(
    write: Callable[..., str], tmp_path: Path, runner: ThreadRunner, chunk_records: int, expected: list[int],
    interleaved: bool,
) -> None:
    one, two = some_reads(11, 1), some_reads(11, 2, length=9)
    both = [read for pair in zip(one, two, strict=True) for read in pair]
    out = str(tmp_path / "s.agd")
    if interleaved:
        files = [write("both.fq", fastq_text(both))]
    else:
        files = [write("1.fq", fastq_text(one)), write("2.fq.gz", fastq_text(two))]
    report = import_fastq(
        *files, output=out, interleaved=interleaved, chunk_records=chunk_records, runner=runner
    )
    assert stored(out) == both
    assert (report.records, report.pairs) == (22, 11)
    assert Dataset.open(out).manifest.pairing == "interleaved"
    assert chunk_counts(out) == expected


def test_chunks_end_at_a_number_of_bytes(write: Callable[..., str], tmp_path: Path, runner: ThreadRunner) -> None:
    reads: Records = [(b"n" * 3, b"A" * n, b"I" * n) for n in (10, 10, 10, 40, 5, 30, 29, 1)]
    reads.append((b"m" * 90, b"A", b"I"))
    out = str(tmp_path / "s.agd")
    import_fastq(write("r.fq", fastq_text(reads)), output=out, chunk_bytes=30, runner=runner)
    assert stored(out) == reads
    assert chunk_counts(out) == [3, 1, 2, 2, 1]


@pytest.mark.parametrize("block_bytes", [1, 64, 1000])
def test_blocks_do_not_matter(
    write: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    one, two = some_reads(40, 1), some_reads(40, 2, length=30)
    files = [write("1.fq", fastq_text(one, b"\r\n")), write("2.fq", fastq_text(two, plus=b"x")[:-1])]
    urls = [str(tmp_path / "a.agd"), str(tmp_path / "b.agd")]
    import_fastq(*files, output=urls[0], chunk_records=10, chunk_bytes=150)

    def small(*args: Any, **kwargs: Any) -> FastqReader:
        return FastqReader(*args, **kwargs, block_bytes=block_bytes)

    monkeypatch.setattr(fastq_batches, "FastqReader", small)
    monkeypatch.setattr(fastq_reader, "BLOCK_RECORDS", 4)
    import_fastq(*files, output=urls[1], chunk_records=10, chunk_bytes=150, runner=SerialRunner())
    assert stored(urls[0]) == stored(urls[1])
    assert chunk_counts(urls[0]) == chunk_counts(urls[1])
    assert Dataset.open(urls[0]).manifest.sources == Dataset.open(urls[1]).manifest.sources


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"@r\nA\n+\nI\n", {"line_ending": "\n", "final_newline": True, "trailer": ""}),
        (b"@r\nA\n+\nI", {"line_ending": "\n", "final_newline": False, "trailer": ""}),
        (b"@r\nA\n+\nI\n\n\n", {"line_ending": "\n", "final_newline": True, "trailer": "\n\n"}),
        (b"@r\r\nA\r\n+\r\nI\r\n", {"line_ending": "\r\n", "final_newline": True, "trailer": ""}),
        (b"@r\r\nA\r\n+\r\nI", {"line_ending": "\r\n", "final_newline": False, "trailer": ""}),
        (b"@r\r\nA\r\n+\r\nI\r\n\r\n", {"line_ending": "\r\n", "final_newline": True, "trailer": "\r\n"}),
        (b"@r\n\n+\n", {"line_ending": "\n", "final_newline": False, "trailer": ""}),
        (b"@r\n\n+\n\n", {"line_ending": "\n", "final_newline": True, "trailer": ""}),
        (b"@r\n\n+\n\n\n", {"line_ending": "\n", "final_newline": True, "trailer": "\n"}),
    ],
)
def test_what_a_source_says(
    write: Callable[..., str], tmp_path: Path, text: bytes, expected: dict[str, Any]
) -> None:
    path = write("r.fq", text)
    import_fastq(path, output=str(tmp_path / "s.agd"))
    source = dict(Dataset.open(str(tmp_path / "s.agd")).manifest.sources[0])
    assert source == expected | {"path": path, "format": "fastq", "records": 1}


@pytest.mark.parametrize(("text", "trailer"), [(b"", ""), (b"\n\n", "\n\n")])
@pytest.mark.parametrize("suffix", ["fq", "fq.gz"])
def test_empty(write: Callable[..., str], tmp_path: Path, text: bytes, trailer: str, suffix: str) -> None:
    report = import_fastq(write(f"r.{suffix}", text), output=str(tmp_path / "s.agd"))
    dataset = Dataset.open(str(tmp_path / "s.agd"))
    assert (report.records, len(dataset), dataset.chunks) == (0, 0, ())
    assert dataset.manifest.sources[0]["trailer"] == trailer
    assert list(dataset.batches()) == []


def test_plus_line_is_kept(write: Callable[..., str], tmp_path: Path) -> None:
    import_fastq(write("r.fq", b"@a b\nA\n+a b\nI\n@c\nA\n+\nI\n"), output=str(tmp_path / "s.agd"))
    assert [row[0] for row in stored(str(tmp_path / "s.agd"))] == [b"a b\na b", b"c"]


def test_codecs_and_name(write: Callable[..., str], tmp_path: Path) -> None:
    out = str(tmp_path / "s.agd")
    codecs = {"qualities": [{"name": "gzip", "level": 6}]}
    path = write("r.fq", fastq_text(some_reads(5)))
    import_fastq(path, output=out, codecs=codecs, name="lane 1")
    dataset = Dataset.open(out)
    assert stored(out) == some_reads(5)
    assert dataset.name == "lane 1"
    assert dataset.manifest.columns["qualities"].codecs[0]["name"] == "gzip"
    with pytest.raises(UsageError, match="no column"):
        import_fastq(path, output=out, codecs={"tags": []}, overwrite=True)
    assert stored(out) == some_reads(5)


def test_memory_store(write: Callable[..., str]) -> None:
    import_fastq(write("r.fq", fastq_text(some_reads(9))), output="memory://fastq-import/s.agd", chunk_records=4)
    assert stored("memory://fastq-import/s.agd") == some_reads(9)


NAME = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=8).map(str.encode)
READ = st.integers(0, 30).flatmap(
    lambda n: st.tuples(
        NAME, st.text("ACGTNacgtnRYKM.-*=", min_size=n, max_size=n).map(str.encode),
        st.text([chr(c) for c in range(33, 127)], min_size=n, max_size=n).map(str.encode),
    )
)  # fmt: skip


@given(st.lists(READ, max_size=20), st.sampled_from([1, 3, 100]), st.sampled_from([7, 50, 4096]), st.data())
def test_any_reads(reads: Records, chunk_records: int, block_bytes: int, data: st.DataObject) -> None:
    crlf = data.draw(st.booleans())
    text = fastq_text(reads, b"\r\n" if crlf else b"\n")

    class Stream:
        def __init__(self) -> None:
            self.rest = text

        def read(self, size: int) -> bytes:
            size = min(size, data.draw(st.integers(1, 40)))
            out, self.rest = self.rest[:size], self.rest[size:]
            return out

    reader = FastqReader(Stream(), "any", block_bytes=block_bytes)
    rows: Records = []
    for block in reader.blocks():
        assert block.first == len(rows)
        rows += [
            tuple(block.text[s[k] : s[k + 1]].tobytes() for k in (0, 2, 6)) for s in block.spans  # type: ignore[misc]
        ]
    assert rows == reads
    assert reader.records == len(reads)
    assert reader.crlf == (crlf and bool(reads))


@pytest.mark.data
@pytest.mark.parametrize("chunk_records", [7, 100_000])
@pytest.mark.parametrize(
    "names",
    [
        ("tricky/tricky_R1.fastq", "tricky/tricky_R2.fastq"),
        ("tricky/crlf.fastq",),
        ("tricky/no_final_newline.fastq",),
        ("tricky/multi_member.fastq.gz",),
        ("tricky/empty.fastq.gz",),
        ("human_na12878_chr20/NA12878_chr20_singletons.fastq.gz",),
    ],
)
def test_same_reads_as_htslib(data: Path, tmp_path: Path, names: tuple[str, ...], chunk_records: int) -> None:
    files = [str(data / name) for name in names]
    out = str(tmp_path / "s.agd")
    import_fastq(*files, output=out, chunk_records=chunk_records)
    expected = []
    for file in files:
        rows = []
        with pysam.FastxFile(file) as reads:
            for r in reads:
                name = f"{r.name} {r.comment}" if r.comment else r.name
                rows.append(((name or "").encode(), (r.sequence or "").encode(), (r.quality or "").encode()))
        expected.append(rows)
    found = stored(out)
    for way, rows in enumerate(expected):
        mine = found[way :: len(files)]
        assert [(n.split()[0] if n else n, s, q) for n, s, q in mine] == [
            (n.split()[0] if n else n, s, q) for n, s, q in rows
        ]


# ---------------------------------------------------------------------------------------------------------- refusals


def refused(tmp_path: Path, *files: str, **options: Any) -> AgdError:
    """The error of an import that leaves nothing behind, the same at any chunk size and number of workers."""
    messages = []
    error: AgdError | None = None
    for chunk_records in (2, 100_000):
        for workers in (1, 2):
            out = tmp_path / "refused.agd"
            with ThreadRunner(workers) as runner, pytest.raises(AgdError) as caught:
                import_fastq(*files, output=str(out), chunk_records=chunk_records, runner=runner, **options)
            assert not out.exists() or not list(out.iterdir())
            error = caught.value
            messages.append(str(error))
    assert len(set(messages)) == 1
    assert error is not None
    assert error.remedy
    return error


GOOD = fastq_text([(b"r%d" % i, b"ACGTA", b"IIIII") for i in range(6)])


def lines(text: bytes) -> list[bytes]:
    return text.splitlines(keepends=True)


@pytest.mark.parametrize("line", range(1, 24))
def test_truncated_within_a_record(write: Callable[..., str], tmp_path: Path, line: int) -> None:
    """The file ends after so many whole lines, or within the line that follows."""
    if line % 4:
        error = refused(tmp_path, write("r.fq", b"".join(lines(GOOD)[:line])))
        assert isinstance(error, InputError)
        assert (error.record, error.line) == (line // 4 + 1, line + 1)
        assert "file ends" in error.reason
    error = refused(tmp_path, write("s.fq", b"".join(lines(GOOD)[:line]) + lines(GOOD)[line][:1]))
    assert isinstance(error, InputError)
    assert (error.record, error.line) == (line // 4 + 1, line + 1)


def change(text: bytes, line: int, new: bytes) -> bytes:
    """The text with the 1-based line exchanged."""
    changed = lines(text)
    changed[line - 1] = new
    return b"".join(changed)


@pytest.mark.parametrize(
    ("line", "new", "record", "at", "reason"),
    [
        (9, b"r2\n", 3, 9, "does not start with '@' but with 'r'"),
        (1, b">r0\n", 1, 1, "does not start with '@' but with '>'"),
        (10, b"", 3, 10, "bad character in the sequence: '+'"),
        (10, b"ACGT\n", 3, 12, "differ in length"),
        (12, b"IIII\n", 3, 12, "differ in length"),
        (12, b"IIIIII\n", 3, 12, "differ in length"),
        (11, b"", 3, 11, "does not start with '+'"),
        (11, b"-\n", 3, 11, "does not start with '+'"),
        (10, b"AC TA\n", 3, 10, "bad character in the sequence: ' '"),
        (10, b"AC0TA\n", 3, 10, "bad character in the sequence: '0'"),
        (12, b"II II\n", 3, 12, "bad character in the qualities: ' '"),
        (12, b"II\x7fII\n", 3, 12, "bad character in the qualities: '\\x7f'"),
        (12, b"II\xffII\n", 3, 12, "bad character in the qualities: '\xff'"),
        (10, b"ACGTA\r\n", 3, 10, "line endings are mixed"),
        (8, b"IIIII\n\n", 3, 9, "does not start with '@'"),
    ],
)
def test_damaged(
    write: Callable[..., str], tmp_path: Path, line: int, new: bytes, record: int, at: int, reason: str
) -> None:
    path = write("r.fq", change(GOOD, line, new))
    error = refused(tmp_path, path)
    assert isinstance(error, InputError)
    assert (error.path, error.record, error.line) == (path, record, at)
    assert reason in error.reason


def test_mixed_endings_after_crlf(write: Callable[..., str], tmp_path: Path) -> None:
    path = write("r.fq", change(GOOD.replace(b"\n", b"\r\n"), 14, b"ACGTA\n"))
    error = refused(tmp_path, path)
    assert isinstance(error, InputError)
    assert (error.record, error.line) == (4, 14)
    assert "line endings are mixed" in error.reason


@pytest.mark.parametrize("keep", [5, 15, 30, -1, -8])
def test_truncated_gzip(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "r.fq.gz"
    path.write_bytes(gzip.compress(GOOD, mtime=0)[:keep])
    error = refused(tmp_path, str(path))
    assert isinstance(error, InputError)
    assert error.path == str(path)


def test_names_out_of_step(write: Callable[..., str], tmp_path: Path) -> None:
    one, two = some_reads(9, 1), some_reads(9, 2)
    two[4], two[5] = two[5], two[4]
    path1, path2 = write("1.fq", fastq_text(one)), write("2.fq", fastq_text(two))
    error = refused(tmp_path, path1, path2)
    assert isinstance(error, InputError)
    assert (error.path, error.record, error.line) == (path2, 5, 17)
    assert "read5/2 c5" in error.reason
    assert "read4/1 c4" in error.reason
    both = [read for pair in zip(one, two, strict=True) for read in pair]
    error = refused(tmp_path, write("both.fq", fastq_text(both)), interleaved=True)
    assert isinstance(error, InputError)
    assert (error.record, error.line) == (10, 37)


@pytest.mark.parametrize(("left", "right"), [(9, 4), (4, 9), (9, 0), (0, 9)])
def test_different_numbers_of_reads(write: Callable[..., str], tmp_path: Path, left: int, right: int) -> None:
    path1, path2 = write("1.fq", fastq_text(some_reads(left, 1))), write("2.fq", fastq_text(some_reads(right, 2)))
    error = refused(tmp_path, path1, path2)
    assert isinstance(error, InputError)
    short, long = (path1, path2) if left < right else (path2, path1)
    assert error.path == short
    assert error.reason == f"ends after {min(left, right)} reads, but {long} has {abs(left - right)} more"


def test_earliest_damage_is_reported(write: Callable[..., str], tmp_path: Path) -> None:
    one, two = some_reads(9, 1), some_reads(9, 2)
    two[3] = (b"other", *two[3][1:])
    broken = change(fastq_text(one), 33, b"no header\n")
    error = refused(tmp_path, write("1.fq", broken), write("2.fq", fastq_text(two)))
    assert isinstance(error, InputError)
    assert error.record == 4
    assert "other" in error.reason


def test_interleaved_with_an_odd_number(write: Callable[..., str], tmp_path: Path) -> None:
    one, two = some_reads(3, 1), some_reads(3, 2)
    both = [read for pair in zip(one, two, strict=True) for read in pair]
    error = refused(tmp_path, write("r.fq", fastq_text(both[:5])), interleaved=True)
    assert isinstance(error, InputError)
    assert (error.record, error.line) == (5, 17)
    assert "no mate" in error.reason


def test_missing_input(tmp_path: Path) -> None:
    error = refused(tmp_path, str(tmp_path / "absent.fq"))
    assert isinstance(error, InputError)
    assert "no such file" in error.reason
    error = refused(tmp_path, str(tmp_path))
    assert "directory" in str(error)


def test_requests_that_make_no_sense(write: Callable[..., str], tmp_path: Path) -> None:
    path = write("r.fq", GOOD)
    out = str(tmp_path / "s.agd")
    with pytest.raises(UsageError, match="interleaved"):
        import_fastq(path, path, output=out, interleaved=True)
    with pytest.raises(UsageError, match="once only"):
        import_fastq("-", "-", output=out)
    with pytest.raises(UsageError, match="at least one record"):
        import_fastq(path, output=out, chunk_records=0)
    with pytest.raises(UsageError, match="memory"):
        import_fastq(path, output=out, memory=1 << 20)
    assert not Path(out).exists()


def test_a_dataset_is_not_replaced_unless_asked_for(write: Callable[..., str], tmp_path: Path) -> None:
    out = str(tmp_path / "s.agd")
    import_fastq(write("1.fq", fastq_text(some_reads(3))), output=out)
    second = write("2.fq", fastq_text(some_reads(4)))
    with pytest.raises(DatasetExistsError):
        import_fastq(second, output=out)
    assert stored(out) == some_reads(3)
    import_fastq(second, output=out, overwrite=True)
    assert stored(out) == some_reads(4)


def test_a_damaged_input_replaces_nothing(write: Callable[..., str], tmp_path: Path) -> None:
    out = str(tmp_path / "s.agd")
    import_fastq(write("1.fq", fastq_text(some_reads(3))), output=out)
    with pytest.raises(InputError):
        import_fastq(write("2.fq", b"no reads at all"), output=out, overwrite=True)
    assert stored(out) == some_reads(3)


class Killed(BaseException):
    """Stands for a signal that gives no chance to clean up."""


def test_a_stopped_import_is_taken_up(
    write: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = write("r.fq", fastq_text(some_reads(20))), str(tmp_path / "s.agd")
    store, count = fastq.Draft.store, 0

    def stopping(self: Any, column: str, first: int, data: bytes) -> None:
        nonlocal count
        count += 1
        if count > 7:
            raise Killed
        store(self, column, first, data)

    with monkeypatch.context() as patch:
        patch.setattr(fastq.Draft, "store", stopping)
        patch.setattr(fastq.Draft, "abandon", lambda self, keys: None)
        with pytest.raises(Killed):
            import_fastq(path, output=out, chunk_records=4, runner=SerialRunner())
    kept = sorted(Path(out).glob("*.bases"))
    assert len(kept) == 3
    before = [p.stat().st_mtime_ns for p in kept]
    torn = Path(out) / "s-000000000004.qualities"
    torn.write_bytes(torn.read_bytes()[:50])
    import_fastq(path, output=out, chunk_records=4)
    assert [p.stat().st_mtime_ns for p in kept] == before
    assert stored(out) == some_reads(20)


def samtools_digest(data: bytes, folder: Path) -> dict[str, str]:
    """Products of all reads by ``samtools checksum``, of an import of interleaved reads by ``samtools import``."""
    (folder / "digest.fq").write_bytes(data)
    pysam.samtools.fqimport("-s", str(folder / "digest.fq"), "-o", str(folder / "digest.bam"), catch_stdout=False)
    text = pysam.samtools.checksum(str(folder / "digest.bam"))
    row = next(line.split() for line in text.splitlines() if line.split()[:2] == ["all", "all"])
    return dict(zip(("count", "seq", "name", "qual"), row[2:6], strict=True))


@pytest.mark.parametrize("chunk_records", [2, 100_000])
def test_digest_is_that_of_samtools(
    write: Callable[..., str], tmp_path: Path, runner: ThreadRunner, chunk_records: int
) -> None:
    one, two = some_reads(11, 1), some_reads(11, 2, length=9)
    both = [read for pair in zip(one, two, strict=True) for read in pair]
    files = [write("1.fq", fastq_text(one)), write("2.fq", fastq_text(two))]
    report = import_fastq(*files, output=str(tmp_path / "s.agd"), chunk_records=chunk_records, runner=runner)
    found = report.digest["reads"]
    assert report.digest == Dataset.open(str(tmp_path / "s.agd")).manifest.digest
    expected = samtools_digest(fastq_text(both), tmp_path)
    assert {name: str(value) for name, value in found.items()} == expected
