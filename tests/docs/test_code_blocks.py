"""Every block of commands and code in README and docs runs, in order, in a folder of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

#: Languages of blocks that are shown and not run.
SHOWN = {"text", "toml", "json"}


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of each block of a page."""
    return [(m[1], m[2]) for m in BLOCK.finditer(page.read_text())]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reads and a reference under the names that the pages use."""
    import agd

    folder = tmp_path_factory.mktemp("inputs")
    reads = [str(folder / f"R{i}.fastq.gz") for i in (1, 2)]
    agd.simulate(*reads, genome=str(folder / "ref.fa"), pairs=300, genome_length=60_000, contigs=2)
    return folder


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda p: p.name)
def test_blocks_run(page: Path, inputs: Path, tmp_path: Path) -> None:
    for file in inputs.iterdir():
        if file.is_file():
            shutil.copy(file, tmp_path)
    commands = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for language, text in blocks(page):
        if language in SHOWN:
            continue
        assert language in commands, f"{page.name}: a block of {language!r} is neither run nor meant to be shown"
        done = subprocess.run(
            [*commands[language], text], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{page.name}:\n{text}\n{done.stdout}\n{done.stderr}"


def test_pages_have_blocks() -> None:
    assert sum(len(blocks(page)) for page in PAGES) >= 15
