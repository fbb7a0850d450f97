"""Samples of the campaigns that ``make corruption`` and ``make sanitize-payloads`` run."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from agd.errors import AgdError
from tests.corruption.campaign import originals, run_cases
from tests.corruption.payloads import run_payloads
from tests.corruption.targets import TARGETS


def test_damage_is_noticed_or_makes_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    counts = run_cases(tmp_path, 3000, seed=7)
    noticed = {name.partition(":")[0] for name in counts if name.endswith("noticed")}
    assert noticed == set(TARGETS)


def test_damaged_payloads_of_every_codec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    counts = run_payloads(tmp_path, 1500, seed=5)
    tried = {step for label in counts for step in label.partition(" by ")[2].partition(":")[0].split()}
    # Every codec, and gzip and zstd where the damage is noticed by them.
    assert tried >= {"base2", "dinucleotides", "base3", "refdiff", "rans", "fqz", "names", "alignments", "derived",
                     "protobuf", "tags", "strand", "zstd", "gzip"}  # fmt: skip
    assert {label.partition(":")[0] for label in counts if label.endswith("noticed")} >= {
        "bases by refdiff", "metadata by names", "qualities by rans", "results by alignments",
    }  # fmt: skip


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
