"""Every test that takes ``kernels`` runs twice: on the native kernels and on their numpy reference."""

from __future__ import annotations

from types import ModuleType

import pytest

from agd.kernels import _native, reference


@pytest.fixture(params=[_native, reference], ids=["native", "reference"], scope="session")
def kernels(request: pytest.FixtureRequest) -> ModuleType:
    """One of the two implementations of all kernels."""
    module = request.param
    assert isinstance(module, ModuleType)
    return module
