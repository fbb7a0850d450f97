"""A small sample of the kill campaign: every verb, killed at some writes, run again."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from agd.cli import VERBS as KNOWN
from benchmarks.kill_campaign import MOMENTS, Campaign, Outcome

SAMPLE = ("import", "align", "sort", "dedup", "export", "import-list", "fixmate", "export-parts")
KNOWN_VERBS = tuple(verb for verb in SAMPLE if verb.partition("-")[0] in KNOWN)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    folder = tmp_path_factory.mktemp("kill")
    return Campaign(folder, str(folder), KNOWN_VERBS, pairs=150)


@pytest.mark.parametrize("verb", KNOWN_VERBS)
def test_killed_and_run_again(job: Campaign, verb: str) -> None:
    outcome = Outcome()
    number = random.Random(verb).randint(2, sum(job.writes[verb]) - 1)
    for moment in MOMENTS[:2] if verb != "import" else MOMENTS:
        job.trial(verb, number, moment, outcome)
    assert outcome.failures == []
    assert outcome.killed == outcome.trials
    assert outcome.redone == 0


@pytest.mark.parametrize("left", [3, 30])
def test_import_of_many_killed_after_it_was_published(job: Campaign, left: int) -> None:
    outcome = Outcome()
    job.trial("import-list", sum(job.writes["import-list"]) - left, "before", outcome)
    assert outcome.failures == []
    assert outcome.killed == 1


def test_import_killed_in_s3(tmp_path: Path, s3_url: str) -> None:
    job = Campaign(tmp_path, s3_url, ("import",), pairs=150)
    outcome = Outcome()
    job.trial("import", sum(job.writes["import"]) // 2, "torn", outcome)
    assert (outcome.failures, outcome.killed) == ([], 1)
    assert outcome.whole > 0
