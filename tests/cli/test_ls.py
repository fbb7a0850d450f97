"""``agd ls``."""

from __future__ import annotations

import json

import pytest

import agd
from agd.cli import run


def test_datasets_of_a_folder(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("b.agd", "a.agd"):
        agd.create(f"{store}/{name}", {"bases": ["AC", "GT"]})
    broken = agd.create(f"{store}/c.agd", {"bases": ["AC", "GT"]})
    for key in list(broken.storage.keys()):
        if key.startswith("manifest"):
            broken.storage.put(key, b"{")
    assert run(["ls", store, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [entry["url"].rsplit("/", 1)[1] for entry in found] == ["a.agd", "b.agd", "c.agd"]
    assert [entry.get("records") for entry in found] == [2, 2, None]
    assert "manifest" in found[2]["error"]
    assert run(["ls", f"{store}/a.agd"]) == 0
    assert "bases" in capsys.readouterr().out


def test_no_such_folder(capsys: pytest.CaptureFixture[str], tmp_path: object) -> None:
    assert run(["ls", f"{tmp_path}/nowhere"]) == 1
    assert "no such folder" in capsys.readouterr().err
