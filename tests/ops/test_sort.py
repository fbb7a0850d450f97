"""Sorting: the order is that of samtools, whatever the memory, the workers and the chunks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pysam
import pytest

from agd.batch import Alignments, Column
from agd.dataset import Dataset
from agd.draft import Draft, columns_of
from agd.errors import (
    ColumnError,
    ConflictError,
    DatasetExistsError,
    FormatError,
    InputError,
    UnknownCodecError,
    UsageError,
)
from agd.manifest import Chunk
from agd.ops import sort as module
from agd.ops.sort import sort
from agd.ops.sort_load import Loader
from agd.ops.sort_plan import SortPlan, decoded_size, group
from agd.ops.sort_tags import parse_cigars
from agd.run import SerialRunner, ThreadRunner
from agd.samheader import references_of
from agd.types import Orientation, SortOrder
from tests.support.reads import dataset as fastq_dataset
from tests.support.sam_dataset import from_sam, split, to_sam
from tests.support.unsorted import ORDERS, random_sam


def samtools(text: str, folder: Path, *options: str) -> str:
    """The same text as samtools sorts it."""
    source, sorted_ = folder / "in.sam", folder / "sorted.sam"
    source.write_text(text)
    # In a process of its own: within one, samtools never takes the option -N back.
    script = "import sys, pysam; pysam.samtools.sort(*sys.argv[1:], catch_stdout=False)"
    arguments = [*options, "--no-PG", "-O", "sam", "-o", str(sorted_), str(source)]
    subprocess.run([sys.executable, "-c", script, *arguments], check=True)
    return sorted_.read_text()


def in_order(header: str) -> list[str]:
    """Fields of the first line of a header, whatever their order."""
    return sorted(header.split("\n")[0].split("\t"))


@pytest.fixture(scope="module")
def text() -> str:
    return random_sam(600)


def small_plan(monkeypatch: pytest.MonkeyPatch, *, fan_in: int, block: int, window: int, records: int) -> None:
    """Make every sort spill."""

    def plan(dataset: Dataset, *_: object) -> SortPlan:
        return SortPlan(True, tuple(group(dataset.chunks, records)), block, fan_in, 2, 2, window, fan_in == 2)

    monkeypatch.setattr(module, "plan", plan)


@pytest.mark.parametrize("by", ORDERS)
def test_order_is_that_of_samtools(by: str, text: str, tmp_path: Path) -> None:
    expected = samtools(text, tmp_path, *ORDERS[by])
    dataset = from_sam(str(tmp_path / "in.agd"), text, chunk=100)
    report = sort(dataset, tmp_path / "out.agd", by=by)
    found = to_sam(Dataset.open(tmp_path / "out.agd"))
    assert split(found)[1] == split(expected)[1]
    assert in_order(found) == in_order(expected)
    assert (report.records, report.spilled_bytes, report.runs) == (600, 0, 6)


def test_more_runs_than_files_may_be_open(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    dataset = from_sam(str(tmp_path / "in.agd"), text, chunk=4)
    sort(dataset, tmp_path / "plain.agd")
    small_plan(monkeypatch, fan_in=512, block=2, window=50, records=4)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(number) for number in os.listdir("/dev/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 30, limits[1]))
    try:
        report = sort(dataset, tmp_path / "out.agd", tmp=str(tmp_path / "spill"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert (report.runs, report.passes) == (150, 1)
    assert to_sam(Dataset.open(tmp_path / "out.agd")) == to_sam(Dataset.open(tmp_path / "plain.agd"))


@pytest.mark.parametrize("by", ORDERS)
@pytest.mark.parametrize("chunk", [1, 7, 100_000])
@pytest.mark.parametrize("spill", ["", "one pass", "passes"])
def test_result_depends_on_nothing_but_the_records(
    by: str, chunk: int, spill: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "".join(text.splitlines(keepends=True)[: 100 if chunk == 1 else None])
    dataset = from_sam("memory://sort-in.agd", text, chunk=9 if chunk == 1 else 41)
    sort(dataset, "memory://sort-plain.agd", by=by, overwrite=True, runner=SerialRunner())
    expected = to_sam(Dataset.open("memory://sort-plain.agd"))
    if spill:
        fan_in = 2 if spill == "passes" else 100
        small_plan(monkeypatch, fan_in=fan_in, block=16, window=50, records=20 if chunk == 1 else 90)
    with ThreadRunner(2) as runner:
        report = sort(
            dataset, "memory://sort-out.agd", by=by, chunk_records=chunk, overwrite=True, runner=runner,
            tmp=str(tmp_path / "spill"),
        )  # fmt: skip
    output = Dataset.open("memory://sort-out.agd")
    assert to_sam(output) == expected
    assert {c.count for c in output.chunks[:-1]} <= {chunk}
    assert bool(report.spilled_bytes) == bool(spill)
    assert report.passes == (3 if spill == "passes" else 1)
    assert not spill or list((tmp_path / "spill").iterdir()) == []


def test_large_columns_are_in_memory_one_after_the_other(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = from_sam(str(tmp_path / "in.agd"), text, chunk=100)
    merged, merge_window = [], module.merge_window

    def merge(draft: Draft, runs: Any, window: Any, columns: Any, origins: Any, watch: Any) -> Any:
        for run in runs:
            assert set(run._columns) == set(columns)
        merged.append(tuple(columns))
        return merge_window(draft, runs, window, columns, origins, watch)

    given_back: list[Any] = []
    monkeypatch.setattr(module, "merge_window", merge)
    monkeypatch.setattr(module, "give_back", given_back.append)
    runner = SerialRunner()
    sort(dataset, tmp_path / "out.agd", chunk_records=70, runner=runner)
    assert given_back == [runner]
    assert list(dict.fromkeys(merged)) == [("metadata", "tags", "results"), ("qualities",), ("bases",)]
    # Where bases may close a chunk all columns are needed to cut it.
    merged.clear()
    sort(dataset, tmp_path / "cut.agd", chunk_records=70, chunk_bytes=300, runner=SerialRunner())
    assert [set(columns) for columns in dict.fromkeys(merged)] == [set(dataset.columns)]
    assert split(to_sam(Dataset.open(tmp_path / "cut.agd")))[1] == split(to_sam(Dataset.open(tmp_path / "out.agd")))[1]
    assert max(c.count for c in Dataset.open(tmp_path / "cut.agd").chunks) < 70


def test_real_alignments(data: Path, tmp_path: Path) -> None:
    text = pysam.samtools.view("-h", str(data / "human_na12878_chr22_dups" / bam_name(data)))
    dataset = from_sam(str(tmp_path / "in.agd"), text, chunk=7000)
    for by in ("queryname", "coordinate", "tag:RG"):
        options = ["-t", "RG"] if by == "tag:RG" else ORDERS[by]
        sort(dataset, tmp_path / "out.agd", by=by, chunk_records=9000, overwrite=True)
        assert split(to_sam(Dataset.open(tmp_path / "out.agd")))[1] == split(samtools(text, tmp_path, *options))[1]


def bam_name(data: Path) -> str:
    return next((data / "human_na12878_chr22_dups").glob("*.bam")).name


def test_tricky_records(data: Path, tmp_path: Path) -> None:
    text = (data / "tricky" / "tricky.sam").read_text()
    dataset = from_sam(str(tmp_path / "in.agd"), text, chunk=5)
    for by in ("coordinate", "queryname", "queryname-lexicographic", "tag:XS"):
        options = ["-t", "XS"] if by == "tag:XS" else ORDERS[by]
        sort(dataset, tmp_path / "out.agd", by=by, overwrite=True)
        found = split(to_sam(Dataset.open(tmp_path / "out.agd")))[1].splitlines()
        expected = split(samtools(text, tmp_path, *options))[1].splitlines()
        # samtools changes some fields of some records on the way; each is known by its name, flag and CIGAR.
        assert [line.split(b"\t")[0] for line in found] == [line.split(b"\t")[0] for line in expected]


@pytest.mark.parametrize("spill", [False, True])
def test_from_an_object_store_to_another(
    spill: bool, text: str, s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = from_sam(f"{s3_url}/in.agd", text, chunk=200)
    expected = to_sam(sorted_by_default(dataset))
    if spill:
        small_plan(monkeypatch, fan_in=2, block=50, window=1, records=200)
    sort(dataset, f"{s3_url}/out.agd", chunk_records=250, tmp=str(tmp_path / "spill"))
    assert to_sam(Dataset.open(f"{s3_url}/out.agd")) == expected


def test_a_chunk_is_closed_by_its_bytes(text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    dataset = from_sam("memory://sort-in.agd", text, chunk=100)
    counts = []
    for spill in (False, True):
        if spill:
            small_plan(monkeypatch, fan_in=100, block=16, window=1, records=150)
        sort(dataset, "memory://sort-out.agd", chunk_records=50, chunk_bytes=400, overwrite=True, tmp=str(tmp_path))
        output = Dataset.open("memory://sort-out.agd")
        counts.append([c.count for c in output.chunks])
        for batch in output.batches(["bases", "tags"]):
            sizes = [batch.ragged(name).lengths for name in ("bases", "tags")]
            assert all(part[:-1].sum() < 400 for part in sizes)
    assert counts[0] == counts[1]
    assert max(counts[0]) < 50
    assert to_sam(output) == to_sam(sorted_by_default(dataset))


def sorted_by_default(dataset: Dataset) -> Dataset:
    sort(dataset, "memory://sort-default.agd", overwrite=True)
    return Dataset.open("memory://sort-default.agd")


def reads_with_alignments(url: str) -> Dataset:
    """Two pairs and further alignments as an aligner adds them to reads from FASTQ."""
    columns: dict[str, Any] = {
        "bases": Column.from_list([b"AACCGGTTAC", b"ACGTT", b"GGGTTTAAAC", b""]),
        "qualities": Column.from_list([b"ABCDEFGHIJ", b"JIHGF", b"0123456789", b""]),
        "metadata": Column.from_list([b"p1/1 x", b"p1/2 y", b"p0/1", b"p0/2"]),
        "results": made([(99, 0, 50), (147, 0, 90), None, None], ["10M", "5M", "", ""]),
        "secondary0": made([(2131, 0, 10), None, None, None], ["6M4H", "", "", ""]),
        "secondary1": made([(355, 0, 70), None, None, None], ["10M", "", "", ""]),
        "duplicates": Column(np.array([1, 0, 0, 0], np.uint8)),
    }  # fmt: skip
    draft = Draft.create(url, columns_of(list(columns)), {}, orientation=Orientation.READ, overwrite=True)
    chunks = []
    for first in (0, 2):
        cells = {name: draft.write(name, first, c.slice(first, first + 2)) for name, c in columns.items()}
        chunks.append(Chunk(first, 2, cells))
    header = "@SQ\tSN:c\tLN:500\n"
    return draft.commit(
        chunks, pairing="interleaved", header=header, references=references_of(header), digest={"kind": "x"},
        sources=({"path": "a.fq"},), steps=({"program": "one", "version": "1"},),
    )  # fmt: skip


def made(lines: list[tuple[int, int, int] | None], cigars: list[str]) -> Alignments:
    count = len(lines)
    null = Alignments.null(count)
    fields = [line or (0, -1, -1) for line in lines]
    return null.replace(
        flag=np.array([f for f, _, _ in fields], np.uint16), reference=np.array([r for _, r, _ in fields], np.int32),
        position=np.array([p for _, _, p in fields], np.int64),
        cigar=parse_cigars(Column.from_list([cigar.encode() for cigar in cigars])),
        valid=np.array([line is not None for line in lines]),
    )  # fmt: skip


@pytest.mark.parametrize("spill", [False, True])
def test_reads_become_lines(spill: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = reads_with_alignments(str(tmp_path / "in.agd"))
    if spill:
        small_plan(monkeypatch, fan_in=9, block=2, window=1, records=1)
    sort(dataset, tmp_path / "out.agd", chunk_records=4)
    output = Dataset.open(tmp_path / "out.agd")
    manifest = output.manifest
    assert (manifest.pairing, manifest.orientation, manifest.names) == ("single", Orientation.SEQ, "fastq")
    assert manifest.sort_order is SortOrder.COORDINATE
    assert "secondary0" not in manifest.columns
    assert (manifest.digest, manifest.sources) == (dataset.manifest.digest, dataset.manifest.sources)
    assert [step["program"] for step in manifest.steps] == ["one", "agd sort"]
    batch = output[:]
    assert batch.alignments().flag.tolist() == [2131 | 1024, 99 | 1024, 355 | 1024, 147, 77, 141]
    assert list(batch["bases"]) == [b"GTAACC", b"AACCGGTTAC", b"", b"AACGT", b"GGGTTTAAAC", b""]
    assert list(batch["qualities"]) == [b"JIHGFE", b"ABCDEFGHIJ", b"", b"FGHIJ", b"0123456789", b""]
    assert list(batch["metadata"]) == [b"p1/1 x", b"p1/1 x", b"p1/1 x", b"p1/2 y", b"p0/1", b"p0/2"]
    assert list(batch["duplicates"]) == [1, 1, 1, 0, 0, 0]
    raw = output.decode(output.chunks[0], {"results": output.fetch(output.chunks[0])["results"]}, ["results"])
    assert raw.alignments().flag.tolist() == [2131, 99, 355, 147]  # marks are carried along, not folded


def test_reads_that_were_never_aligned(tmp_path: Path) -> None:
    reads = [(name, b"ACGT", b"IIII") for name in (b"b10/1", b"b10/2", b"b9/1 x", b"b9/2 x")]
    dataset = fastq_dataset(str(tmp_path / "in.agd"), reads, chunk=2)
    sort(dataset, tmp_path / "out.agd", by="queryname")
    batch = Dataset.open(tmp_path / "out.agd")[:]
    assert list(batch["metadata"]) == [b"b9/1 x", b"b9/2 x", b"b10/1", b"b10/2"]
    assert batch.alignments().flag.tolist() == [77, 141, 77, 141]
    sort(dataset, tmp_path / "out2.agd")
    assert list(Dataset.open(tmp_path / "out2.agd")[:]["metadata"]) == [r[0] for r in reads]


def test_decoded_sizes_depend_neither_on_codecs_nor_on_statistics(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = from_sam(str(tmp_path / "in.agd"), text, chunk=100)
    sort(dataset, tmp_path / "out.agd", codecs={"results": [{"name": "alignments"}], "tags": [{"name": "tags"}]})
    sort(dataset, tmp_path / "plain.agd")
    recoded, plain = (Dataset.open(tmp_path / name) for name in ("out.agd", "plain.agd"))
    for name in plain.columns:
        assert decoded_size(recoded, name) == decoded_size(plain, name)
    noted = {name: decoded_size(plain, name) for name in plain.columns}
    assert noted["bases"] == pytest.approx(10, abs=0.5)
    reads = reads_with_alignments(str(tmp_path / "reads.agd"))
    noted_reads = {name: decoded_size(reads, name) for name in reads.columns}
    assert (noted_reads["results"], noted_reads["secondary0"]) == (44, 24)  # of two records, one is null
    monkeypatch.setattr("agd.ops.sort_plan.noted_bytes", lambda chunk, name: None)
    assert {name: decoded_size(plain, name) for name in plain.columns} == noted
    assert {name: decoded_size(reads, name) for name in reads.columns} == noted_reads
    assert to_sam(recoded) == to_sam(plain)


def test_no_records(tmp_path: Path) -> None:
    dataset = from_sam(str(tmp_path / "in.agd"), "@SQ\tSN:c\tLN:9\n")
    for by in ORDERS:
        assert sort(dataset, tmp_path / "out.agd", by=by, overwrite=True).records == 0
        assert len(Dataset.open(tmp_path / "out.agd")) == 0


def test_refusals(text: str, tmp_path: Path) -> None:
    dataset = from_sam(str(tmp_path / "in.agd"), text)
    for arguments in (
        {"by": "size"}, {"by": "tag:X"}, {"by": "tag:9X"}, {"by": "tag:XXX"}, {"codecs": {"nothing": []}},
        {"chunk_records": 0}, {"chunk_bytes": 0}, {"memory": 1 << 20},
    ):  # fmt: skip
        with pytest.raises(UsageError):
            sort(dataset, tmp_path / "out.agd", **arguments)  # type: ignore[arg-type]
    with pytest.raises(UnknownCodecError):
        sort(dataset, tmp_path / "out.agd", codecs={"bases": [{"name": "nothing"}]})
    for same in (tmp_path / "in.agd", f"{tmp_path}/in.agd/", tmp_path / "x" / ".." / "in.agd"):
        with pytest.raises(UsageError):
            sort(dataset, same, overwrite=True)
    assert not (tmp_path / "out.agd").exists()
    m = dataset.manifest
    renamed = replace(
        m, columns={n.replace("results", "old"): spec for n, spec in m.columns.items()},
        chunks=tuple(replace(c, cells={n.replace("results", "old"): x for n, x in c.cells.items()}) for c in m.chunks),
    )  # fmt: skip
    with pytest.raises(ColumnError, match="no column 'results'"):
        sort(Dataset(dataset.storage, renamed), tmp_path / "out.agd")
    sort(dataset, tmp_path / "out.agd")
    with pytest.raises(DatasetExistsError):
        sort(dataset, tmp_path / "out.agd")


@pytest.mark.parametrize("after", [0, 25])
def test_a_missing_mate_cigar_is_an_error(after: int, text: str, tmp_path: Path) -> None:
    header, body = split(text)
    lines = bytes(body).decode().splitlines()
    at = next(i for i, line in enumerate(lines) if i >= after and int(line.split("\t")[1]) & 9 == 1)
    lines[at] = "\t".join(field for field in lines[at].split("\t") if not field.startswith("MC:"))
    dataset = from_sam(str(tmp_path / "in.agd"), header + "\n".join(lines) + "\n", chunk=20)
    name = lines[at].split("\t")[0]
    with pytest.raises(InputError, match=f"{dataset.url}, record {at + 1}: '{name}' has no MC tag") as error:
        sort(dataset, tmp_path / "out.agd", by="template-coordinate")
    assert "agd fixmate" in error.value.remedy
    assert not (tmp_path / "out.agd").exists()


class Stopped(BaseException):
    """As an interrupt: nothing catches it."""


@pytest.mark.parametrize("spill", [False, True])
def test_a_stopped_sort_is_taken_up_again(
    spill: bool, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = from_sam(str(tmp_path / "in.agd"), text, chunk=100)
    expected = to_sam(sorted_by_default(dataset))
    if spill:
        small_plan(monkeypatch, fan_in=100, block=16, window=1, records=100)
    store, stored = Draft.store, []

    def stop_after_some(self: Draft, name: str, first: int, data: bytes) -> None:
        if len(stored) == 12:
            raise Stopped
        store(self, name, first, data)
        stored.append(name)

    monkeypatch.setattr(Draft, "store", stop_after_some)
    with pytest.raises(Stopped):
        sort(dataset, tmp_path / "out.agd", chunk_records=70, runner=SerialRunner())
    monkeypatch.setattr(Draft, "store", store)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.agd", "out.agd"]  # no temporary files
    with pytest.raises(ConflictError):
        sort(dataset, tmp_path / "out.agd", chunk_records=80)
    report = sort(dataset, tmp_path / "out.agd", chunk_records=70)
    assert report.kept == 12
    assert to_sam(Dataset.open(tmp_path / "out.agd")) == expected


@pytest.mark.parametrize("spill", [False, True])
def test_a_failed_sort_leaves_nothing(
    spill: bool, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = from_sam(str(tmp_path / "in.agd"), text, chunk=100)
    if spill:
        small_plan(monkeypatch, fan_in=2, block=16, window=1, records=100)
    damaged = tmp_path / "in.agd" / "in-000000000300.bases"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    with pytest.raises(FormatError):
        sort(dataset, tmp_path / "out.agd")
    assert [p.name for p in tmp_path.iterdir()] == ["in.agd"]


MEASURED = """
import json, sys
from agd.dataset import Dataset
from agd.ops.sort import sort
from agd.run import ThreadRunner
source, output, by, memory = sys.argv[1:]
with ThreadRunner(2) as runner:
    report = sort(Dataset.open(source), output, by=by, memory=int(memory), runner=runner, chunk_records=20_000)
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"peak": int(peak.split()[1]) << 10, **report.to_json()}))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of the memory is read from /proc")
@pytest.mark.parametrize("by", ["coordinate", "queryname"])
def test_peak_memory_is_bounded(by: str, tmp_path: Path) -> None:
    # 400,000 reads of 300 bases, some 250 MB once decoded.
    rng, count, length = np.random.default_rng(1), 20_000, 300
    bases = Column.from_lengths(rng.choice(np.frombuffer(b"ACGT", np.uint8), count * length), np.full(count, length))
    qualities = Column(np.full(count * length, ord("F"), np.uint8), bases.offsets)
    null = Alignments.null(count)
    draft = Draft.create(
        tmp_path / "in.agd", columns_of(["bases", "qualities", "metadata", "results"]), {}, orientation=Orientation.SEQ
    )
    chunks = []
    for first in range(0, 20 * count, count):
        names = Column.from_list([f"read{i}".encode() for i in rng.permutation(count).tolist()])
        placed = null.replace(position=rng.integers(0, 1000, count), reference=np.zeros(count, np.int32), valid=None)
        columns = {"bases": bases, "qualities": qualities, "metadata": names, "results": placed}
        cells = {name: draft.write(name, first, column) for name, column in columns.items()}
        chunks.append(Chunk(first, count, cells))
    draft.commit(chunks, names="sam", header="@SQ\tSN:c\tLN:1000\n")
    memory = 200 << 20
    arguments = [str(tmp_path / "in.agd"), str(tmp_path / "out.agd"), by, str(memory)]
    done = subprocess.run([sys.executable, "-c", MEASURED, *arguments], check=True, capture_output=True)
    report = json.loads(done.stdout)
    assert report["spilled_bytes"] > 0
    assert report["records"] == 20 * count
    assert report["peak"] <= memory


def test_the_next_columns_are_begun_while_the_last_windows_are_merged(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = from_sam(str(tmp_path / "in.agd"), text, chunk=100)
    load, merge_window = Loader.load, module.merge_window
    begun, waited = {name: threading.Event() for name in ("qualities", "bases")}, []
    following = {"metadata": "qualities", "qualities": "bases"}

    def loading(self: Loader, fetched: Any, columns: Any, before: Any, **options: Any) -> Any:
        if columns[0] in begun:
            begun[columns[0]].set()
        return load(self, fetched, columns, before, **options)

    def merging(draft: Draft, runs: Any, window: Any, columns: Any, origins: Any, watch: Any) -> Any:
        if columns[0] in following:  # ends only once the columns after it are being loaded
            waited.append(begun[following[columns[0]]].wait(60))
        return merge_window(draft, runs, window, columns, origins, watch)

    monkeypatch.setattr(Loader, "load", loading)
    monkeypatch.setattr(module, "merge_window", merging)
    with ThreadRunner(2) as runner:
        sort(dataset, tmp_path / "out.agd", chunk_records=70, runner=runner)
    assert waited == [True, True]
    monkeypatch.undo()
    sort(dataset, tmp_path / "serial.agd", chunk_records=70, runner=SerialRunner())
    assert to_sam(Dataset.open(tmp_path / "out.agd")) == to_sam(Dataset.open(tmp_path / "serial.agd"))


def test_a_merge_that_fails_leaves_no_loading_behind(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, closed = from_sam(str(tmp_path / "in.agd"), text, chunk=100), []
    windows, close = module.merge_window, module.Begun.close

    def merging(draft: Draft, runs: Any, window: Any, columns: Any, origins: Any, watch: Any) -> Any:
        if columns == ("qualities",):
            raise OSError("the disk is gone")
        return windows(draft, runs, window, columns, origins, watch)

    def closing(self: Any) -> None:
        closed.append(self)
        close(self)

    monkeypatch.setattr(module, "merge_window", merging)
    monkeypatch.setattr(module.Begun, "close", closing)
    with ThreadRunner(2) as runner, pytest.raises(OSError, match="the disk is gone"):
        sort(dataset, tmp_path / "out.agd", chunk_records=70, runner=runner)
    assert len(closed) == 2  # that of the qualities, which came to its end, and that of the bases
    assert not Path(tmp_path / "out.agd" / "manifest.json").exists()
