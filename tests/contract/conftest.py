"""What the suites of this folder share."""

from __future__ import annotations

import pytest


@pytest.fixture
def url(store: str) -> str:
    """Of a dataset that is not there yet, in every kind of store."""
    return f"{store}/x.agd"
