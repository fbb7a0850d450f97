"""The generations of a dataset: look at them, and go back to one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import agd
from agd.dataset import Dataset
from agd.errors import ConflictError, DatasetNotFoundError, FormatError, ObjectExistsError
from agd.generations import load_manifest, publish
from agd.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation.

    Attributes
    ----------
    number : int
    records : int
    bytes : int
        Of the objects that it names.
    columns : tuple of str
    steps : tuple of dict
        What was done since the generation before it.
    unreadable : str
        Why its manifest cannot be read, "" where it can; nothing else is known of it then.
    """

    number: int
    records: int
    bytes: int
    columns: tuple[str, ...]
    steps: tuple[dict[str, Any], ...]
    unreadable: str = ""

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        if self.unreadable:
            return {"generation": self.number, "unreadable": self.unreadable}
        return {"generation": self.number, "records": self.records, "bytes": self.bytes,
                "columns": list(self.columns), "steps": list(self.steps)}  # fmt: skip


def history(dataset: Dataset) -> list[Generation]:
    """Generations that are still there, oldest first; those whose manifests are damaged say so."""
    found: list[Generation] = []
    before: tuple[Any, ...] = ()
    for number in range(1, dataset.manifest.generation + 1):
        try:
            m = load_manifest(dataset.storage, number)
        except DatasetNotFoundError:
            continue
        except FormatError as error:
            found.append(Generation(number, 0, 0, (), (), error.message))
            continue
        common = 0
        while common < min(len(before), len(m.steps)) and before[common] == m.steps[common]:
            common += 1
        steps = tuple(dict(step) for step in m.steps[common:])
        found.append(Generation(number, m.records, m.stored_bytes, tuple(m.columns), steps))
        before = m.steps
    return found


def checkout(dataset: Dataset, generation: int, *, command: str = "") -> Dataset:
    """Make an old generation the newest one again; nothing is lost, the generations between stay.

    Raises
    ------
    DatasetNotFoundError
        There is no such generation (any more).
    ConflictError
        Another writer published at the same time.
    """
    old = load_manifest(dataset.storage, generation)
    latest = load_manifest(dataset.storage)
    step = {"program": "agd checkout", "version": agd.__version__, "command": command,
            "parameters": {"generation": generation}}  # fmt: skip
    manifest: Manifest = old.next(
        generation=latest.generation + 1, steps=(*old.steps, step), retired=latest.retiring(old.columns)
    )
    try:
        publish(dataset.storage, manifest)
    except ObjectExistsError as error:
        raise ConflictError(
            f"{dataset.url}: another writer has just published generation {manifest.generation}",
            "look at 'agd log', then run the command again",
        ) from error
    return Dataset(dataset.storage, manifest)
