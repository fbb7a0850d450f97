"""The example notebooks run from the first cell to the last, and say what they said when they were committed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="the extra 'notebooks' is not installed")
nbclient = pytest.importorskip("nbclient", reason="the extra 'notebooks' is not installed")

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


def printed(book: Any) -> list[str]:
    """What the cells of a notebook print, without what differs between runs and releases: folders, shares of bytes."""
    texts = ["".join(o["text"] for o in cell.get("outputs", []) if o["output_type"] == "stream") for cell in book.cells]
    return [re.sub(r"\S*/tmp\S*|[0-9.]+% of the bytes", "…", text) for text in texts]


def images(book: Any) -> int:
    """How many plots a notebook shows."""
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    return sum("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    for name in ("MPLBACKEND", "AGD_EXAMPLE_BUCKET"):    # plots in the notebook, and a bucket of its own
        monkeypatch.delenv(name, raising=False)
    committed = nbformat.read(path, as_version=4)
    book = nbformat.from_dict(committed)
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(book, timeout=120, kernel_name="python3", resources=place).execute()
    assert images(book) == images(committed) > 0
    assert printed(book) == printed(committed)


def test_notebooks_are_small() -> None:
    assert len(NOTEBOOKS) >= 4
    assert all(path.stat().st_size < 150_000 for path in NOTEBOOKS)
