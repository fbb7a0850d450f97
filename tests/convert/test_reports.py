"""What converters report, and that they leave no thread and no progress bar behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import agd
from agd.convert import bgzf
from agd.convert.against import compare_with_source
from agd.convert.many import import_many
from agd.convert.restore import repair
from agd.convert.sam_out import count_records
from agd.dataset import Dataset
from agd.errors import InputError, StorageError, UsageError
from agd.ops.partition import Partition
from agd.ops.select import Selection

SAM = "@SQ\tSN:c1\tLN:99\n" + "".join(f"r{i}\t0\tc1\t1\t9\t4M\t*\t0\t0\tACGT\tIIII\n" for i in range(10))
FASTQ = "".join(f"@r{i}\nACGT\n+\nIIII\n" for i in range(10))


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """The same records in every format."""
    paths = {kind: str(tmp_path / f"s.{kind}") for kind in ("sam", "bam", "cram", "fastq")}
    Path(paths["sam"]).write_text(SAM)
    Path(paths["fastq"]).write_text(FASTQ)
    agd.import_sam(paths["sam"], str(tmp_path / "made.agd"))
    agd.export_bam(agd.open(tmp_path / "made.agd"), paths["bam"])
    agd.export_cram(agd.open(tmp_path / "made.agd"), paths["cram"], embed=True)
    return paths


def load(kind: str, path: str, output: str, **options: Any) -> Any:
    if kind == "fastq":
        return agd.import_fastq(path, output=output, **options)
    return getattr(agd, f"import_{kind}")(path, output, **options)


@pytest.mark.parametrize("kind", ["sam", "bam", "cram", "fastq"])
def test_imports(files: dict[str, str], tmp_path: Path, kind: str) -> None:
    report = load(kind, files[kind], str(tmp_path / "s.agd"), chunk_records=4)
    found = Dataset.open(str(tmp_path / "s.agd"))
    assert (report.records, report.pairs, report.chunks, report.bases) == (10, 0, 3, 40)
    assert report.bytes_in == Path(files[kind]).stat().st_size
    assert report.bytes_out == found.manifest.stored_bytes
    assert report.digest == found.manifest.digest
    if kind == "cram":
        return
    other = str(tmp_path / f"other.{kind}")
    Path(other).write_bytes(Path(files[kind]).read_bytes())
    both = import_many(kind, [[files[kind]], [other]], tmp_path / "both.agd", chunk_records=4)
    assert (both.records, both.chunks, both.bases) == (20, 6, 80)
    assert both.bytes_in == 2 * report.bytes_in
    part = import_many(
        kind, [[files[kind]], [other]], tmp_path / "part.agd", chunk_records=4, partition=Partition(2, 2)
    )
    assert (part.records, part.chunks, part.bytes_in) == (10, 3, report.bytes_in)


@pytest.mark.parametrize("kind", ["sam", "bam", "cram", "fastq"])
def test_codecs_of_no_column(files: dict[str, str], tmp_path: Path, kind: str) -> None:
    with pytest.raises(UsageError, match="there is no column 'foo' to choose codecs for"):
        load(kind, files[kind], str(tmp_path / "s.agd"), codecs={"foo": [{"name": "zstd"}]})
    assert not (tmp_path / "s.agd").exists()
    if kind != "cram":
        with pytest.raises(UsageError, match="there is no column 'foo' to choose codecs for"):
            import_many(kind, [[files[kind]]], tmp_path / "s.agd", codecs={"foo": [{"name": "zstd"}]})
        assert not list(tmp_path.glob("s.agd*"))


CALLS: dict[str, Callable[[dict[str, str], str], object]] = {
    "import_sam": lambda files, out: agd.import_sam(files["sam"], out + ".agd"),
    "import_cram": lambda files, out: agd.import_cram(files["cram"], out + ".agd"),
    "import_fastq": lambda files, out: agd.import_fastq(files["fastq"], output=out + ".agd"),
    "import_many": lambda files, out: import_many("sam", [[files["sam"]]], out + ".agd"),
    "export_bam": lambda files, out: agd.export_bam(made(files), out + ".bam"),
    "export_sam": lambda files, out: agd.export_sam(made(files), out + ".sam.gz"),
    "export_cram": lambda files, out: agd.export_cram(made(files), out + ".cram", embed=True),
    "export_fastq": lambda files, out: agd.export_fastq(made(files), out + ".fq.gz"),
    "count_records": lambda files, out: count_records(made(files), Selection()),
    "compare_with_source": lambda files, out: compare_with_source(made(files), [files["sam"]]),
    "repair": lambda files, out: repair(made(files).url, sources=[files["sam"]]),
}


def made(files: dict[str, str]) -> Dataset:
    return Dataset.open(str(Path(files["sam"]).parent / "made.agd"))


@pytest.mark.parametrize("call", CALLS)
def test_no_thread_is_left(files: dict[str, str], tmp_path: Path, call: str) -> None:
    before = set(threading.enumerate())
    CALLS[call](files, str(tmp_path / "out"))
    assert [t for t in threading.enumerate() if t not in before and t.name.startswith("agd-")] == []


def test_text_is_compressed_on_the_workers(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, names = bgzf.deflate_blocks, set()

    def deflate(data: Any, level: int) -> Any:
        names.add(threading.current_thread().name)
        return whole(data, level)

    monkeypatch.setattr(bgzf, "deflate_blocks", deflate)
    agd.export_sam(made(files), str(tmp_path / "out.sam.gz"))
    assert names
    assert all(name.startswith("agd-cpu") for name in names)


class Bars:
    """Counts stages that have begun and not ended."""

    def __init__(self) -> None:
        self.begun = self.open = 0

    def begin(self, label: str, total: int | None, unit: str = "reads") -> None:
        self.begun += 1
        self.open += 1

    def advance(self, amount: int) -> None:
        pass

    def end(self) -> None:
        self.open -= 1


def test_no_stage_stays_open_after_an_error(files: dict[str, str], tmp_path: Path) -> None:
    dataset = made(files)
    key = dataset.manifest.object_key("bases", 0)
    dataset.storage.put(key, dataset.storage.get(key)[:-5])
    for parts in (None, Partition(1, 1)):
        for export in (agd.export_fastq, agd.export_sam, agd.export_bam):
            bars = Bars()
            with pytest.raises(agd.AgdError):
                export(dataset, str(tmp_path / export.__name__), partition=parts, progress=bars)
            assert (bars.begun, bars.open) == (1, 0)
    bars = Bars()
    Path(files["sam"]).write_text(SAM + "broken\n")
    with pytest.raises(InputError):
        import_many("sam", [[files["sam"]]], tmp_path / "many.agd", progress=bars)
    assert (bars.begun, bars.open) == (1, 0)


def test_no_stage_stays_open_after_a_failed_join(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agd.convert import sam_out
    from agd.convert.finalise import finalise

    agd.export_sam(made(files), str(tmp_path / "out.sam"), partition=Partition(1, 1))

    def fail(*_: object) -> None:
        raise StorageError("disk full")

    monkeypatch.setattr(sam_out.Digest, "add", fail)
    bars = Bars()
    with pytest.raises(StorageError):
        finalise(str(tmp_path / "out.sam"), progress=bars)
    assert (bars.begun, bars.open) == (1, 0)
