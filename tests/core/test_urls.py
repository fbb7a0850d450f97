"""Credentials are never written down: not in manifests, histories, headers or claims."""

from __future__ import annotations

import sys
from pathlib import Path

import fsspec.config
import pytest

from agd.cli import run
from agd.convert.inputs import describe_input
from agd.urls import without_credentials
from tests.support.servers import http_server


@pytest.mark.parametrize(
    ("url", "noted"),
    [
        ("https://host/a/r.fq?X-Amz-Credential=AKIA&X-Amz-Signature=beef", "https://host/a/r.fq"),
        ("https://user:word@host:8080/r.fq", "https://host:8080/r.fq"),
        ("https://token@host/r.fq", "https://host/r.fq"),
        ("filecache::https://token@host/r.fq?sig=1", "filecache::https://host/r.fq"),
        ("sftp://user:word@host/r.fq", "sftp://host/r.fq"),
        ("agd view https://u:p@h/x?s -o y", "agd view https://h/x -o y"),
        ("abfs://container@account.dfs.core.windows.net/s.agd", None),
        ("s3://bucket/s.agd@2", None),
        ("s3://bucket/what?.fq", None),
        ("memory://s.agd@2", None),
        ("r1?.fq", None),
        ("user:word@host", None),
    ],
)
def test_what_is_noted_of_a_url(url: str, noted: str | None) -> None:
    assert without_credentials(url) == (url if noted is None else noted)
    assert without_credentials({"a": [url, 1], "b": ({"c": url},)}) == {
        "a": [noted or url, 1], "b": ({"c": noted or url},)
    }  # fmt: skip


@pytest.mark.parametrize("option", [["--storage-option", "secret=HUNTER2"], ["--storage-option=secret=HUNTER2"]])
def test_nothing_of_it_is_in_a_dataset(
    option: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(fsspec.config.conf, "s3", {})
    monkeypatch.setenv("FSSPEC_S3", "{}")
    monkeypatch.chdir(tmp_path)
    Path("r.sam").write_text("@SQ\tSN:c\tLN:9\nr\t0\tc\t1\t60\t1M\t*\t0\t0\tA\tI\n")
    for words in (["import", "sam", "r.sam", "-o", "s.agd"], ["sort", "s.agd", "-o", "t.agd"],
                  ["export", "sam", "t.agd", "-o", "t.sam"]):  # fmt: skip
        arguments = [*words, *option, "--quiet"]
        monkeypatch.setattr(sys, "argv", ["agd", *arguments])
        assert run(arguments) == 0
    assert run(["log", "t.agd"]) == 0
    written = [*tmp_path.glob("*.agd/manifest*.json"), tmp_path / "t.sam"]
    assert len(written) == 5
    assert "CL:agd export sam t.agd -o t.sam --quiet\n" in written[-1].read_text()
    assert not any("HUNTER2" in path.read_text() for path in written)
    assert "HUNTER2" not in capsys.readouterr().out


def test_inputs_at_signed_urls(tmp_path: Path) -> None:
    (tmp_path / "r.sam").write_text("@SQ\tSN:c\tLN:9\nr\t0\tc\t1\t60\t1M\t*\t0\t0\tA\tI\n")
    with http_server(tmp_path) as server:
        url = f"{server}/r.sam?signature=HUNTER2"
        (tmp_path / "list").write_text(f"{url}\n")
        described = describe_input(url)
        assert described["path"] == f"{server}/r.sam"
        assert run(["import", "sam", url, "-o", str(tmp_path / "s.agd"), "--quiet"]) == 0
        assert run(["import", "sam", "--list", str(tmp_path / "list"), "-o", str(tmp_path / "t.agd"), "--quiet"]) == 0
    for path in tmp_path.glob("*.agd/manifest.json"):
        assert "HUNTER2" not in path.read_text()
        assert f"{server}/r.sam" in path.read_text()
