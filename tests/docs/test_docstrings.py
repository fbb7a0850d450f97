"""Examples in docstrings of the public API run; parameters that docstrings speak of exist."""

from __future__ import annotations

import doctest
import importlib
import inspect
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import agd
from agd.frame import Frame

docscrape = pytest.importorskip("numpydoc.docscrape", reason="the extra 'docs' is not installed")

FUNCTIONS = [name for name in agd.__all__ if inspect.isfunction(getattr(agd, name))]
CLASSES = [agd.Dataset, Frame, agd.Batch, agd.Column, agd.Alignments]

#: Explained once for all operations, on the first page of the API.
COMMON = {"runner", "memory", "progress", "command", "dataset"}

#: The main functions have examples.
SHOWN = {
    "open", "import_fastq", "import_bam", "export_fastq", "export_bam", "export_sam", "align", "sort", "dedup",
    "flagstat", "coverage", "depths", "create", "append_column", "drop_column", "verify", "simulate",
    "collate", "fixmate", "bin_qualities", "report",
}  # fmt: skip


def methods() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Public methods of the public classes."""
    for kind in CLASSES:
        for name, member in inspect.getmembers(kind, inspect.isfunction):
            if not name.startswith("_"):
                yield f"{kind.__name__}.{name}", member


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the examples find in their folder, see docs/api/index.md."""
    folder = tmp_path_factory.mktemp("doctest")
    reads = [str(folder / f"R{i}.fastq.gz") for i in (1, 2)]
    agd.simulate(*reads, genome=str(folder / "ref.fa"), pairs=300, genome_length=60_000, contigs=2)
    agd.import_fastq(*reads, output=str(folder / "run.agd"))
    aligned = str(folder / "aligned.agd")
    agd.import_fastq(*reads, output=aligned)
    agd.align(agd.open(aligned), str(folder / "ref.fa"))
    agd.sort(agd.open(aligned), str(folder / "sorted.agd"))
    return folder


@pytest.mark.parametrize(
    "name", ["agd", *(f"agd.{name}" for name in FUNCTIONS), *(f"{c.__module__}.{c.__name__}" for c in CLASSES)]
)
def test_examples_run(name: str, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(inputs, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    module, _, last = name.rpartition(".")
    found = getattr(importlib.import_module(module), last) if module else agd
    tests = doctest.DocTestFinder(recurse=inspect.isclass(found)).find(found, name, module=False, globs={"agd": agd})
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    said: list[str] = []
    for test in tests:
        runner.run(test, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)
    assert last not in SHOWN or sum(len(test.examples) for test in tests), "there is no example"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_parameters_are_described(name: str) -> None:
    function = getattr(agd, name)
    doc = docscrape.FunctionDoc(function)
    described = [part.strip().lstrip("*") for entry in doc["Parameters"] for part in entry.name.split(",")]
    taken = list(inspect.signature(function).parameters)
    assert [p for p in described if p not in taken] == []
    assert [p for p in taken if p not in described and p not in COMMON] == []
    assert doc["Summary"] != [""]
    assert inspect.signature(function).return_annotation in ("None", "Any") or doc["Returns"] or doc["Yields"]


@pytest.mark.parametrize(("name", "method"), list(methods()), ids=lambda value: value if isinstance(value, str) else "")
def test_methods_describe_what_they_take(name: str, method: Callable[..., Any]) -> None:
    doc = docscrape.FunctionDoc(method)
    described = [part.strip().lstrip("*") for entry in doc["Parameters"] for part in entry.name.split(",")]
    taken = list(inspect.signature(method).parameters)
    assert "".join(doc["Summary"])
    assert [p for p in described if p not in taken] == []
    if "".join(doc["Summary"]).startswith("See :meth:"):
        return
    assert [p for p in taken if p not in {"self", *described}] == []
    assert inspect.signature(method).return_annotation == "None" or doc["Returns"] or doc["Yields"]
