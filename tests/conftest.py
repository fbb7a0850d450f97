"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Shared machines are slow now and then: a time limit per example would make tests fail for no fault of the code.
settings.register_profile(
    "default", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.register_profile("thorough", parent=settings.get_profile("default"), max_examples=2000)
settings.load_profile(os.environ.get("AGD_HYPOTHESIS", "default"))

DATA_VARIABLE = "AGD_TEST_DATA"


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of real sequencing data beside the repository; tests that need it are skipped aloud without it."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get(DATA_VARIABLE, default))
    if not (folder / "MANIFEST.tsv").is_file():
        pytest.skip(f"no test data in {folder}; set {DATA_VARIABLE} to the folder that holds them")
    return folder
