"""The benchmarks of the kernels measure all of them, and run."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from agd.kernels import _native

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks" / "kernels"

#: Functions that need no benchmark, and why.
NOT_MEASURED = {"limit_simd": "sets which instructions the others use, and touches no data"}


def measured(path: Path) -> set[str]:
    """Names of the kernels that are called in what a file gives to ``measure``, not only to prepare it."""
    calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    return {
        inner.func.attr
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "measure"
        for inner in ast.walk(call)
        if isinstance(inner, ast.Call)
        and isinstance(inner.func, ast.Attribute)
        and isinstance(inner.func.value, ast.Name)
        and inner.func.value.id == "kernels"
    }


def test_every_kernel_is_measured() -> None:
    kernels = {name for name in dir(_native) if not name.startswith("_") and callable(getattr(_native, name))}
    found = set().union(*(measured(path) for path in FOLDER.glob("test_*.py")))
    assert kernels - found == set(NOT_MEASURED)
    assert found <= kernels


def test_the_benchmarks_run() -> None:
    pytest.importorskip("pytest_benchmark")
    arguments = (str(FOLDER), "--benchmark-disable", "--reads", "2000", "-p", "no:cacheprovider")
    done = subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
