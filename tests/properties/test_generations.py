"""Whatever writers do, and wherever they stop: every generation reads for ever as it was published."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import agd.generations
from agd.batch import Column
from agd.dataset import Dataset
from agd.draft import Draft
from agd.errors import AgdError, ConflictError
from agd.manifest import Chunk, ColumnSpec
from agd.types import Orientation, RecordType
from tests.support.manifests import validate

_numbers = itertools.count()

NAMES = st.sampled_from(["a", "b", "c"])
SEEDS = st.integers(0, 200)
FIRSTS, COUNT = (0, 3, 6), 8


def spec(name: str) -> dict[str, ColumnSpec]:
    return {name: ColumnSpec(RecordType.NUMBER, [], name, "|u1")}


def values(seed: int) -> list[int]:
    return [(seed + i) % 256 for i in range(COUNT)]


class Stopped(BaseException):
    """The end of a process."""


class Generations(RuleBasedStateMachine):
    """A dataset in memory, writers at work on it, and what each generation must hold."""

    @initialize()
    def make(self) -> None:
        self.url = f"memory://generations-{next(_numbers)}/x.agd"
        draft = Draft.create(self.url, spec("base"), {}, orientation=Orientation.READ)
        self.published: list[dict[str, list[int]]] = [{"base": values(0)}]
        self.drafts: list[tuple[Draft, str, int]] = []
        draft.commit(self.cells(draft, "base", 0, 3))

    def cells(self, draft: Draft, name: str, seed: int, chunks: int) -> list[Chunk]:
        """Write the first chunks of a column."""
        written = []
        for first, stop in list(zip(FIRSTS, (*FIRSTS[1:], COUNT), strict=True))[:chunks]:
            column = Column(np.array(values(seed)[first:stop], np.uint8))
            kept = draft.finished(name, first, len(column))
            written.append(Chunk(first, len(column), {name: kept or draft.write(name, first, column)}))
        return written

    @rule(name=NAMES, seed=SEEDS, replace=st.booleans())
    def begin(self, name: str, seed: int, replace: bool) -> None:
        """A writer begins a column, or takes up what an earlier one with the same plan has left."""
        dataset = Dataset.open(self.url)
        try:
            draft = Draft.extend(dataset, spec(name), {"seed": seed}, replace=replace)
        except ConflictError:
            claimed = {n for _, n, s in self.drafts if s != seed}
            assert name in claimed or (name in dataset.columns and not replace) or self.left_claims()
            return
        self.drafts.append((draft, name, seed))

    def left_claims(self) -> bool:
        keys = Dataset.open(self.url).storage.keys()
        return any(key.startswith("draft-") for key in keys)

    @precondition(lambda self: self.drafts)
    @rule(data=st.data(), chunks=st.integers(0, 2))
    def work_and_stop(self, data: st.DataObject, chunks: int) -> None:
        """A writer stores some objects, and is never heard of again."""
        draft, name, seed = self.drafts.pop(data.draw(st.integers(0, len(self.drafts) - 1)))
        try:
            self.cells(draft, name, seed, chunks)
        except ConflictError:
            return
        if data.draw(st.booleans()):
            draft.abandon()

    @precondition(lambda self: self.drafts)
    @rule(data=st.data(), drop=st.lists(NAMES, max_size=2), stop=st.booleans())
    def commit(self, data: st.DataObject, drop: list[str], stop: bool) -> None:
        """A writer finishes its column and publishes it; it may stop before it renews the copy."""
        draft, name, seed = self.drafts.pop(data.draw(st.integers(0, len(self.drafts) - 1)))
        before = self.published[-1]
        assert draft.base is not None
        drop = [n for n in drop if n != name and n in draft.base.columns]
        with pytest.MonkeyPatch.context() as patch:
            if stop:
                patch.setattr(agd.generations, "publish_copy", _stop)
            try:
                draft.commit(self.cells(draft, name, seed, 3), drop=drop)
            except ConflictError:
                return
            except Stopped:
                pass
        self.published.append({n: v for n, v in before.items() if n not in drop} | {name: values(seed)})

    @rule(key=st.sampled_from(["draft-column-a.json", "draft-column-b.json"]))
    def lose_a_claim(self, key: str) -> None:
        """Somebody removes the claim of a writer that is not at work any more."""
        name = key.removeprefix("draft-column-").removesuffix(".json")
        if name not in {n for _, n, _ in self.drafts}:
            Dataset.open(self.url).storage.delete(key)

    @invariant()
    def every_generation_is_as_it_was_published(self) -> None:
        newest = Dataset.open(self.url)
        assert newest.manifest.generation == len(self.published)
        for generation, expected in enumerate(self.published, 1):
            found = Dataset.open(self.url, generation=generation)
            batch = found[:]
            held: dict[str, Any] = {name: list(batch.ragged(name)) for name in found.columns}
            assert held == expected
            validate(found.storage.get(f"manifest-{generation:06d}.json"))


def _stop(*_: Any) -> None:
    raise Stopped


TestGenerations = Generations.TestCase
TestGenerations.settings = settings(
    max_examples=30, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_every_error_here_is_one_of_agd() -> None:
    assert issubclass(ConflictError, AgdError)
