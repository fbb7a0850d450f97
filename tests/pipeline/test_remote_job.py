"""Inputs and outputs that lie elsewhere: https and S3, from reads to BAM and back, without ever listing a bucket."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import fsspec.config
import pysam
import pytest

import agd
from agd.cli import run
from agd.errors import FormatError, InputError
from agd.fasta import load_genome
from agd.ops.verify import verify
from agd.storage import open_storage
from agd.testing import Fault, FaultyStorage, content_digest, wrapped
from tests.support.servers import S3Server, http_server, s3_server

BUCKET = "agd-job"


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    pytest.importorskip("moto.server")
    import s3fs

    with s3_server() as running:
        s3fs.S3FileSystem(endpoint_url=running.endpoint, key="test", secret="test").mkdir(BUCKET)
        yield running


@pytest.fixture(params=["s3fs", "obstore"])
def place(
    request: pytest.FixtureRequest, server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> str:
    """Url of an empty folder in S3."""
    if request.param == "obstore":
        pytest.importorskip("obstore")
    for name in list(os.environ):
        if name.startswith(("AWS_", "AGD_S3")):
            monkeypatch.delenv(name)
    settings = {
        "AGD_S3_CLIENT": request.param, "AWS_ENDPOINT_URL": server.endpoint, "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    server.log.clear()
    return f"s3://{BUCKET}/{tmp_path.name}-{request.param}"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    agd.simulate(
        str(folder / "R1.fq.gz"), str(folder / "R2.fq.gz"), pairs=120, genome=str(folder / "genome.fa"),
        genome_length=30_000, read_length=100, seed=7,
    )  # fmt: skip
    (folder / "genome.fa.gz").write_bytes(gzip.compress((folder / "genome.fa").read_bytes()))
    return folder


def steps(source: str, reference: str, place: str) -> None:
    """The main job by the command line."""
    few = ["--chunk-records", "50", "--quiet"]
    for words in (
        ["import", "fastq", f"{source}/R1.fq.gz", f"{source}/R2.fq.gz", "-o", f"{place}/s.agd", *few],
        ["align", f"{place}/s.agd", "-r", reference, "--read-group", r"@RG\tID:s\tSM:s", "--quiet"],
        ["sort", f"{place}/s.agd", "-o", f"{place}/sorted.agd", *few],
        ["dedup", f"{place}/sorted.agd", "--quiet"],
        ["export", "bam", f"{place}/sorted.agd", "-o", f"{place}/out.bam", "--quiet"],
        ["export", "fastq", f"{place}/s.agd", "-o", f"{place}/1.fq", "-2", f"{place}/2.fq", "--quiet"],
    ):
        assert run(words) == 0, words


@pytest.fixture(scope="module")
def expected(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("expected")
    steps(str(inputs), str(inputs / "genome.fa"), str(folder))
    return folder


def test_a_storage_option_of_the_command_line(
    place: str, server: S3Server, monkeypatch: pytest.MonkeyPatch, expected: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fsspec.config, "conf", {})
    monkeypatch.setenv("FSSPEC_S3", "")  # so that it is put back
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    options = ["--storage-option", f"endpoint_url={server.endpoint}", "--storage-option", "key=test"]
    options += ["--storage-option", "secret=test"]
    assert run(["sort", str(expected / "s.agd"), "-o", f"{place}/t.agd", "--quiet", *options]) == 0
    capsys.readouterr()
    assert run(["info", f"{place}/t.agd", "--json", *options]) == 0
    assert '"records": 240' in capsys.readouterr().out
    assert run(["info", f"{place}/t.agd", "--storage-option", "endpoint"]) == 2
    assert "endpoint_url=http" in capsys.readouterr().err


def fetch(url: str, folder: Path) -> Path:
    place, _, name = url.rpartition("/")
    (folder / name).write_bytes(open_storage(place).get(name))
    return folder / name


@pytest.mark.parametrize("ranges", [True, False])
def test_the_job_from_http_to_s3_lists_nothing(
    inputs: Path, expected: Path, place: str, server: S3Server, tmp_path: Path, ranges: bool
) -> None:
    with http_server(inputs, ranges=ranges) as web:
        steps(web, f"{web}/genome.fa{'.gz' if ranges else ''}", place)
    assert run(["import", "bam", f"{place}/out.bam", "-o", f"{place}/again.agd", "--quiet"]) == 0
    assert not [request for request in server.log if request.is_listing]
    assert len(list(open_storage(f"{place}/s.agd").keys())) > 5
    assert [request for request in server.log if request.is_listing]
    for name in ("s.agd", "sorted.agd"):
        assert content_digest(agd.open(f"{place}/{name}")) == content_digest(agd.open(str(expected / name)))
    bam, index = (fetch(f"{place}/{name}", tmp_path) for name in ("out.bam", "out.bam.bai"))
    assert index.stat().st_size
    assert pysam.samtools.view(str(bam)) == pysam.samtools.view(str(expected / "out.bam"))
    assert pysam.samtools.view(str(bam), "chr1:5,000-6,000") != ""
    for number in (1, 2):
        assert fetch(f"{place}/{number}.fq", tmp_path).read_bytes() == gzip.decompress(
            (inputs / f"R{number}.fq.gz").read_bytes()
        )
    records = tmp_path / "again.sam"
    agd.export_sam(agd.open(f"{place}/again.agd"), str(records), header=False)
    assert records.read_text() == pysam.samtools.view(str(bam))


@pytest.mark.parametrize("ranges", [True, False])
def test_inputs_that_the_web_refuses(
    inputs: Path, tmp_path: Path, ranges: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("agd.storage.failures.time.sleep", lambda _: None)
    with http_server(inputs, ranges=ranges, statuses={"R1.fq.gz": 403, "genome.fa": 503}) as web:
        for words, said, remedy in (
            (["import", "fastq", f"{web}/R1.fq.gz"], "access denied", "check the credentials"),
            (["import", "fastq", f"{web}/nothing.fq"], "there is no such file", "check the path or url"),
            (["import", "bam", "http://127.0.0.1:9/x.bam"], "no connection", "check the endpoint"),
        ):
            assert run([*words, "-o", str(tmp_path / "s.agd"), "--quiet"]) == 1
            text = capsys.readouterr().err
            assert words[-1] in text
            assert said in text
            assert remedy in text
        with pytest.raises(InputError, match="503"):
            load_genome(f"{web}/genome.fa")
    assert not (tmp_path / "s.agd" / "manifest.json").exists()


def test_an_object_that_is_gone_cut_short_or_torn_is_named(expected: Path, tmp_path: Path) -> None:
    copy = tmp_path / "sorted.agd"
    shutil.copytree(expected / "sorted.agd", copy)
    dataset = agd.open(str(copy))
    chunk = dataset.chunks[1]
    key = dataset.manifest.object_key("bases", chunk.first)

    def cut(operation: str, name: str) -> Fault | None:
        return Fault(lambda: None, "torn") if operation == "get" and name == key else None

    with wrapped(lambda storage: FaultyStorage(storage, cut)):
        short = agd.open(str(copy))
        with pytest.raises(FormatError, match=rf"{key}.*(shorter|bytes|size|truncated)"):
            short.read(chunk)
    assert len(dataset.read(chunk)) == chunk.count
    stored = (copy / key).read_bytes()
    (copy / key).write_bytes(stored[: len(stored) // 2])
    with pytest.raises(FormatError, match=key):
        dataset.read(chunk)
    report = verify(agd.open(str(copy)))
    assert key in str(report.to_json())
    (copy / key).unlink()
    with pytest.raises(FormatError, match=rf"{key}: object: is missing"):
        dataset.read(chunk)
