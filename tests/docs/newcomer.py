"""README and docs as a newcomer meets them: AGD from its wheel in a fresh environment, and what a page says to install.

``make try-docs``. Pages that name no extra run first, before any is installed; then the others, and the notebooks. The
pages and their runner are copied to a folder without the library, so that only the installed one can be found.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.docs.pages import PAGES, ROOT, blocks

#: What runs the blocks, and the S3 server that they talk to.
RUNNER = ["pytest", "hypothesis", "moto[server]"]

COPIED = ["README.md", "docs", "examples", "tests/conftest.py", "tests/docs"]


def extras(page: Path) -> set[str]:
    """The extras that a page says to install: ``pip install '.[one,two]'``."""
    named = re.findall(r"pip install '\.\[([a-z,]+)\]'", page.read_text())
    return {extra for names in named for extra in names.split(",")}


def copy_pages(folder: Path) -> None:
    """The pages and what runs them, without the library."""
    for name in COPIED:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)


def run(*command: str | Path, cwd: Path, env: dict[str, str]) -> str:
    """Run a command, shown; ends the whole if it fails."""
    print("$", *command, flush=True)
    return subprocess.run(command, cwd=cwd, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    """Try all pages in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="agd-newcomer-") as name:
        folder = Path(name)
        pages, home, venv = folder / "pages", folder / "home", folder / "venv"
        home.mkdir()
        copy_pages(pages)
        python = venv / "bin" / "python"
        env = {"HOME": str(home), "PATH": f"{venv / 'bin'}:/usr/local/bin:/usr/bin:/bin"}
        build = ["wheel", "--quiet", "--no-deps", "-C", f"build-dir={folder / 'build'}", "-w", folder]
        run(sys.executable, "-m", "pip", *build, ROOT, cwd=folder, env=env)
        (wheel,) = folder.glob("agd-*.whl")
        run(sys.executable, "-m", "venv", venv, cwd=folder, env=env)

        def install(*what: str) -> None:
            # With the runner in one go: only then pip chooses versions that all of them can live with.
            run(python, "-m", "pip", "install", "--quiet", *what, *RUNNER, cwd=folder, env=env)

        def try_pages(chosen: list[Path]) -> None:
            ids = [f"test_blocks_run[{page.relative_to(ROOT).with_suffix('')}]" for page in chosen]
            tests = [f"tests/docs/test_code_blocks.py::{i}" for i in ids]
            pytest(*tests)

        def pytest(*tests: str) -> None:
            options = ["-q", "--rootdir", str(pages), "--import-mode=importlib", "-o", "pythonpath=.", "-rs"]
            print(run(python, "-m", "pytest", *options, *tests, cwd=pages, env=env), flush=True)

        run(python, "-m", "pip", "install", "--quiet", "--upgrade", "pip", cwd=folder, env=env)
        install(str(wheel))
        found = run(python, "-c", "import agd; print(agd.__file__, agd.__version__)", cwd=pages, env=env)
        print(found, end="")
        if not found.startswith(str(venv)):
            sys.exit(f"the blocks would not run against the wheel but against {found}")
        run("agd", "--version", cwd=folder, env=env)
        with_blocks = [page for page in PAGES if blocks(page)]
        try_pages([page for page in with_blocks if not extras(page)])
        wanted = sorted(set[str]().union(*map(extras, PAGES)))
        install(f"{wheel}[{','.join(wanted)}]")
        try_pages([page for page in with_blocks if extras(page)])
        pytest("tests/docs/test_notebooks.py")
        print(f"{len(with_blocks)} pages and the notebooks run from a fresh environment; extras: {', '.join(wanted)}")


if __name__ == "__main__":
    main()
