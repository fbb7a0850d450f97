"""A headless browser, where there is one."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")

OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--hide-scrollbars",
)  # fmt: skip


def browse(page: Path, *options: str) -> str:
    """Open a page and return what the browser prints; the test is skipped aloud where no browser is installed."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"none of {', '.join(NAMES)} is installed")
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(
            [found, *OPTIONS, f"--user-data-dir={profile}", *options, page.as_uri()], capture_output=True, text=True,
            check=True, timeout=180,
        )  # fmt: skip
    return done.stdout
