"""The blocks of commands and code in README and docs: what they are, and how they are run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

#: Languages of blocks that are shown and not run; directives of the site have names in braces.
SHOWN = {"text", "toml", "json"}

_BLOCK = re.compile(r"^(?:<!-- not run: (?P<reason>.+) -->\n)?```(?P<language>\S*)\n(?P<text>.*?)^```$", re.M | re.S)


@dataclass(frozen=True, slots=True)
class Block:
    """One block: its language, its text, and why it is not run, if it is not."""

    language: str
    text: str
    reason: str


def blocks(page: Path) -> list[Block]:
    """The blocks of commands and code of a page, in order."""
    found = [Block(m["language"], m["text"], m["reason"] or "") for m in _BLOCK.finditer(page.read_text())]
    return [block for block in found if block.language not in SHOWN and not block.language.startswith("{")]


def prose(page: Path) -> str:
    """A page without its blocks."""
    return _BLOCK.sub("", page.read_text())


def simulate_inputs(folder: Path) -> Path:
    """Reads and a reference under the names that the pages use."""
    import agd

    reads = [str(folder / f"R{i}.fastq.gz") for i in (1, 2)]
    agd.simulate(*reads, genome=str(folder / "ref.fa"), pairs=300, genome_length=60_000, contigs=2)
    return folder


def run_page(
    page: Path, inputs: Path, folder: Path, python: str, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str] | None:
    """Run the blocks of a page one after the other in a folder, with the programs beside an interpreter.

    Returns
    -------
    CompletedProcess or None
        Of the first block that failed.
    """
    for file in inputs.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    commands: dict[str, Sequence[str]] = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": [python, "-c"]}
    path = f"{Path(python).parent}{os.pathsep}{environment['PATH']}"
    for block in blocks(page):
        if block.language == "bash" and block.reason:
            command = ["bash", "-n", "-c", block.text]
        elif block.reason:
            command = [python, "-c", f"compile({block.text!r}, 'block', 'exec')"]
        else:
            command = [*commands[block.language], block.text]
        done = subprocess.run(
            command, cwd=folder, env={**environment, "PATH": path}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            return done
    return None
