"""The site is built without a warning, fetches nothing when it is read, and speaks of what there is."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

import agd
from agd.cli import VERBS
from agd.cli import agd as command
from tests.docs.pages import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as ``make docs`` builds it."""
    pytest.importorskip("sphinx", reason="the extra 'docs' is not installed")
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", str(folder / "doctrees")]
    done = subprocess.run(
        [*build, "-c", "docs", ".", str(folder / "html")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    pages = [*site.rglob("*.html"), *site.rglob("*.css")]
    assert len(pages) > 40
    tags = r"""<(?:script|img|iframe|source)[^>]+src=|<link(?![^>]+rel="canonical")[^>]+href=|@import\s+|url\("""
    loads = re.compile(rf"""(?:{tags})["']?(?:https?:)?//[^"')\s]+""")
    assert {match for page in pages for match in loads.findall(page.read_text())} == set()


def test_every_verb_is_described(site: Path) -> None:
    page = (site / "docs" / "cli.html").read_text()
    assert [verb for verb in VERBS if f'id="agd-{verb}"' not in page] == []
    assert "--storage-option" in page


def test_every_public_name_is_described() -> None:
    pages = "".join(page.read_text() for page in (ROOT / "docs" / "api").glob("*.md"))
    named = {name.rpartition(".")[2] for name in re.findall(r":: (agd\.\S+)", pages)}
    assert set(agd.__all__) - named == {"__version__", "AgdError"}    # the latter with all of agd.errors


def test_messages_of_troubleshooting_exist() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    terms = re.findall(r"^`(.+)`$", page, re.MULTILINE)
    assert len(terms) > 20
    texts = "\n".join(
        node.value
        for file in [*(ROOT / "agd").rglob("*.py"), *(ROOT / "cli").glob("*.py")]
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    assert [term for term in terms if term not in texts and term != "No space left on device"] == []


@pytest.mark.parametrize("verb", VERBS)
def test_help_keeps_its_lines(verb: str) -> None:
    # A raw docstring would hold a backslash and a b where click looks for the character that keeps lines as they are.
    found = command.get_command(click.Context(command), verb)
    assert found is not None
    below = list(found.commands.values()) if isinstance(found, click.Group) else []
    assert not [c.name for c in [found, *below] if r"\b" in (c.help or "")]


def test_functions_are_not_hidden_by_modules() -> None:
    # A module agd.NAME takes the place of a function agd.NAME as soon as it is imported.
    assert [n for n in agd.__all__ if (ROOT / "agd" / f"{n}.py").exists() or (ROOT / "agd" / n).is_dir()] == []
