"""Every block of commands and code in README and docs runs, in order, in a folder of its own."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, blocks, prose, run_page, simulate_inputs


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reads and a reference under the names that the pages use."""
    return simulate_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.mark.parametrize(
    "page", [p for p in PAGES if blocks(p)], ids=lambda p: str(p.relative_to(ROOT).with_suffix(""))
)
def test_blocks_run(page: Path, inputs: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if any(re.search(r"^[^#]*s3://", block.text, re.M) and not block.reason for block in blocks(page)):
        buckets(request.getfixturevalue("s3_endpoint"), inputs)
    failed = run_page(page, inputs, tmp_path, sys.executable, os.environ)
    assert failed is None, f"{page.name}:\n{failed.args[-1]}\n{failed.stdout}\n{failed.stderr}"


def buckets(endpoint: str, inputs: Path) -> None:
    """The buckets that the pages speak of: ``reads`` with the reads, and ``bucket``."""
    import s3fs

    store = s3fs.S3FileSystem(endpoint_url=endpoint, use_listings_cache=False)
    for bucket in ("reads", "bucket"):
        if not store.exists(bucket):
            store.mkdir(bucket)
    for reads in inputs.glob("R*.fastq.gz"):
        store.put_file(str(reads), f"reads/{reads.name}")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT).with_suffix("")))
def test_blocks_have_a_language(page: Path) -> None:
    """So that none escapes being run: no indented blocks, and no languages that are neither run nor shown."""
    assert not [block.language for block in blocks(page) if block.language not in {"bash", "python"}]
    assert not re.search(r"(?:^|\n\n)    \S", prose(page)), "an indented block: fence it, and name its language"


def test_pages_have_blocks() -> None:
    assert sum(len(blocks(page)) for page in PAGES) >= 40
