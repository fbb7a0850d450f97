"""The page of a report: whole, without anything from elsewhere, in a browser; its files for MultiQC; the verb."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import agd
from agd.cli import run
from agd.dataset import Dataset
from agd.ops.report.plot import Plot, round_up, ticks
from tests.support.browser import browse

VOID = {"meta", "link", "br", "img", "hr"}


class Page(HTMLParser):
    """Checks that elements are closed in order; keeps anchors, links, texts and what is loaded from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.loaded: list[str] = []
        self.drawings: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in found:
            assert found["id"] not in self.anchors
            self.anchors.add(found["id"] or "")
        if tag == "a":
            self.links.add(found.get("href") or "")
        if tag == "svg":
            assert found["role"] == "img"
            self.drawings.append(found["aria-label"] or "")
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href") and tag != "a"]
        assert tag not in ("script", "iframe", "link", "img")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def aligned(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("aligned")
    paths = [str(folder / name) for name in ("R1.fq", "R2.fq", "ref.fa")]
    agd.simulate(paths[0], paths[1], genome=paths[2], pairs=600, genome_length=30_000, contigs=3)
    agd.import_fastq(paths[0], paths[1], output=str(folder / "s.agd"))
    agd.align(agd.open(str(folder / "s.agd")), paths[2])
    agd.sort(agd.open(str(folder / "s.agd")), str(folder / "sorted.agd"))
    agd.dedup(agd.open(str(folder / "sorted.agd")))
    return agd.open(str(folder / "sorted.agd"))


def test_page(aligned: Dataset) -> None:
    text = agd.report(aligned).html()
    page = Page(text)
    assert page.links == {f"#{name}" for name in page.anchors}
    assert not page.loaded
    assert not re.findall(r"url\(|@import|https?://", text)
    assert {"Quality by cycle, read 1", "Coverage along the references", "Mapping quality"} <= set(page.drawings)
    assert "1,200" in page.text
    assert "agd sort" in page.text or "sort" in page.text
    assert not re.search(r"\bnan\b", text.lower())
    assert agd.report(agd.open(aligned.url)).html() == text


def empty(folder: Path) -> Dataset:
    (folder / "none.fq").write_text("")
    agd.import_fastq(str(folder / "none.fq"), output=str(folder / "none.agd"))
    return agd.open(str(folder / "none.agd"))


def empty_sam(folder: Path) -> Dataset:
    (folder / "none.sam").write_text("@SQ\tSN:c\tLN:10\n")
    agd.import_sam(str(folder / "none.sam"), str(folder / "sam.agd"))
    return agd.open(str(folder / "sam.agd"))


def reads(folder: Path, *texts: str) -> Dataset:
    columns = {"bases": list(texts), "qualities": ["I" * len(t) for t in texts], "metadata": ["r"] * len(texts)}
    return agd.create(str(folder / "reads.agd"), columns)


def unmapped(folder: Path) -> Dataset:
    rows = "".join(f"{name}\t4\t*\t0\t0\t*\t*\t0\t0\t{bases}\t*\n" for name, bases in (("u", "AC"), ("v", "*")))
    (folder / "u.sam").write_text(f"@SQ\tSN:<c&>\tLN:10\n{rows}")
    agd.import_sam(str(folder / "u.sam"), str(folder / "u.agd"))
    return agd.open(str(folder / "u.agd"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (empty, ["There are no reads", "not aligned"]),
        (empty_sam, ["There are no reads", "There are no records"]),
        (lambda folder: reads(folder, "ACGT"), ["Every read has 4 bases", "shorter than the adapters"]),
        (lambda folder: reads(folder, ""), ["have no bases"]),
        (lambda folder: reads(folder, "N" * 30, "A" * 9000), ["9,000", "PolyA"]),
        (lambda folder: agd.create(str(folder / "x.agd"), {"score": [1.5, 2]}), ["There are no reads", "float64"]),
        (unmapped, ["No read is mapped", "Nothing covers"]),
    ],
    ids=["empty", "header only", "one read", "no bases", "long", "own column", "unmapped"],
)
def test_little_to_show(make: Any, words: list[str], tmp_path: Path) -> None:
    found = agd.report(make(tmp_path))
    page = Page(found.html())
    for word in words:
        assert word in page.text, word
    json.dumps(found.to_json(), allow_nan=False)
    for name, text in found.multiqc().items():
        assert not name.endswith(".json") or json.loads(text)


def pixels(path: Path) -> tuple[int, int, set[bytes]]:
    """Width, height and the first pixels of some rows of a PNG file without interlace."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    assert (depth, colour in (2, 6)) == (8, True)
    at, packed = 8, b""
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        packed += data[at + 8 : at + 8 + size] if kind == b"IDAT" else b""
        at += size + 12
    channels = 3 if colour == 2 else 4
    raw = zlib.decompress(packed)
    # The first row has no row above it: of its filters only "none" and "sub" matter for the first pixel.
    return width, height, {raw[1 : 1 + 3], raw[1 : 1 + channels][:3]}


def test_in_a_browser(aligned: Dataset, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    agd.report(aligned).save(str(page))
    dom = browse(page, "--dump-dom")
    assert dom.count("<svg") == page.read_text().count("<svg") >= 9
    seen = {}
    for theme, options in (("light", []), ("dark", ["--blink-settings=preferredColorScheme=0"])):
        shot = tmp_path / f"{theme}.png"
        browse(page, f"--screenshot={shot}", "--window-size=1300,900", *options)
        width, height, first = pixels(shot)
        assert (width, height) == (1300, 900)
        seen[theme] = max(max(pixel) for pixel in first)
    assert seen["light"] > 200 > 60 > seen["dark"]


def test_multiqc_files(aligned: Dataset, tmp_path: Path) -> None:
    assert run(["report", aligned.url, "--multiqc", str(tmp_path / "qc")]) == 0
    found = {p.name: p.read_text() for p in (tmp_path / "qc").iterdir() if not p.name.startswith(".")}
    assert set(found) == {
        "sorted_R1_fastqc_data.txt", "sorted_R2_fastqc_data.txt", "sorted.flagstat", "sorted_general_mqc.json",
        "sorted_columns_mqc.json", "sorted_mapq_mqc.json", "sorted_insert_size_mqc.json",
    }  # fmt: skip
    for name in found:
        if name.endswith(".json"):
            content = json.loads(found[name])
            assert content["plot_type"] in ("generalstats", "bargraph", "linegraph")
            assert list(content["data"]) == ["sorted"]
            assert sum(content["data"]["sorted"].values()) > 0
    if shutil.which("multiqc") is None:
        pytest.skip("multiqc is not installed: only the structure of its files was checked")
    subprocess.run(["multiqc", "--quiet", "-o", str(tmp_path / "out"), str(tmp_path / "qc")], check=True)
    told = json.loads((tmp_path / "out" / "multiqc_data" / "multiqc_data.json").read_text())
    text = json.dumps(told["report_general_stats_data"])
    assert "sorted_R1" in text
    assert "agd_records" in text


def test_verb_everywhere(aligned: Dataset, store: str, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"{store}/reads.agd"
    agd.create(url, {"bases": ["ACGT"] * 8, "qualities": ["IIII"] * 8})
    assert run(["report", url, "-o", f"{store}/report.html", "--multiqc", f"{store}/qc", "--json", "-t", "2"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["reads"][0]["bases"] == 32
    from agd.storage import open_storage

    assert b"</html>" in open_storage(store).get("report.html")
    assert b">>Adapter Content" not in open_storage(f"{store}/qc").get("reads_fastqc_data.txt")[:40]
    assert run(["report", url, "-o", f"{store}/numbers.json"]) == 0
    assert json.loads(open_storage(store).get("numbers.json")) == numbers
    assert run(["report", url]) == 2
    assert "-o report.html" in capsys.readouterr().err


def test_axes() -> None:
    assert ticks(0, 100) == [0, 20, 40, 60, 80, 100]
    assert ticks(3, 3) == [3]
    assert [round_up(v) for v in (0, 7, 93, 1234)] == [1, 8, 100, 1250]
    plot = Plot("t", "x", "y", (0, 10), (0, 10))
    plot.line([0, 1, 2, 3], [1, float("nan"), 3, 4], "c0")
    plot.axes([(i, "a long label") for i in range(10)])
    text = plot.svg()
    assert text.count("<circle") == 1
    assert 1 < text.count("a long label") < 10
