"""Fixtures of the tests of many processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session")
def dask() -> Iterator[Any]:
    """Runner on a Dask cluster of two processes, one for the whole session."""
    pytest.importorskip("distributed")
    from agd.run.dask import DaskRunner

    with DaskRunner("local:2") as made:
        yield made
