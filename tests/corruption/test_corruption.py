"""A sample of the campaign that ``make corruption`` runs."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from agd.errors import AgdError
from tests.corruption.campaign import originals, run_cases
from tests.corruption.targets import TARGETS


def test_damage_is_noticed_or_makes_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    counts = run_cases(tmp_path, 3000, seed=7)
    noticed = {name.partition(":")[0] for name in counts if name.endswith("noticed")}
    assert noticed == set(TARGETS)


def test_every_single_bit_of_a_chunk_file_counts(tmp_path: Path) -> None:
    name, data = originals(tmp_path)[0]
    assert name == "chunk file"
    expected = TARGETS[name](data)
    for at in range(len(data)):
        wrong = bytearray(data)
        wrong[at] ^= 0x10
        outcome = expected
        with contextlib.suppress(AgdError):
            outcome = TARGETS[name](bytes(wrong))
        assert outcome == expected
