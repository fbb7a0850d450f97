"""Remove what no generation of a dataset needs: temporary files, orphans, old generations, stopped drafts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from agd import claim
from agd.errors import DatasetNotFoundError, ObjectNotFoundError
from agd.footprint import Footprint
from agd.generations import load_manifest
from agd.manifest import MANIFEST_KEY, Manifest, generation_key
from agd.ops.partition import INTERMEDIATE, PREFIX
from agd.storage import Storage, is_stale


@dataclass(frozen=True, slots=True)
class GcReport:
    """What was (or would be) removed.

    Attributes
    ----------
    temporary, drafts, generations, objects : int
        Temporary files of dead processes, records of stopped runs, manifests of old generations, and objects that no
        kept generation names.
    bytes : int
        Of all of them.
    kept : int
        Objects that stay because an unfinished run may need them.
    keys : tuple of str
        What was removed.
    lost : int
        Objects that stay though neither a manifest nor a claim is there: ``agd repair`` may make a dataset of them.
    """

    temporary: int
    drafts: int
    generations: int
    objects: int
    bytes: int
    kept: int
    keys: tuple[str, ...]
    lost: int = 0

    def __add__(self, other: GcReport) -> GcReport:
        """Of both."""
        return GcReport(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


def gc(storage: Storage, *, drafts: bool = False, keep: int | None = None, dry_run: bool = False) -> GcReport:
    """Remove what is not needed any more.

    Parameters
    ----------
    storage : Storage
        Of the dataset, or of an import that was stopped before there was one.
    drafts : bool
        Also remove the records and objects of unfinished runs, which then cannot be taken up again. Only while nobody
        writes.
    keep : int, optional
        Generations to keep, the newest ones. Default: all.
    dry_run : bool
        Remove nothing.

    Raises
    ------
    DatasetNotFoundError
        There are manifests, but not those that lead to the newest one.
    """
    own = Footprint.of(storage)
    generations = _generations(storage)
    if own.manifests and not generations:
        raise DatasetNotFoundError(
            f"{storage.url}: {MANIFEST_KEY} is lost", f"bring it back first: agd repair {storage.url}"
        )
    kept = generations if keep is None else generations[-max(1, keep):]
    live = {key for manifest in kept for key in _named(manifest)} | {MANIFEST_KEY}
    over = [key for key in own.records if not drafts and generations and _is_over(storage, key, generations[-1])]
    records = [key for key in own.records if key not in over]
    manifests = [generation_key(m.generation) for m in generations if m not in kept]
    temporary = [key for key in own.temporary if drafts or is_stale(key)]
    objects = [key for key in own.objects if key not in live]
    waiting: list[str] = []
    if records and not drafts:
        # An unfinished run may own any object that no generation names yet; old generations' own ones it cannot.
        old = {key for manifest in generations if manifest not in kept for key in _named(manifest)}
        waiting = [key for key in objects if key not in old]
        objects = [key for key in objects if key in old]
    lost = [] if generations or records or drafts else objects
    objects = [] if lost else objects
    gone = [*manifests, *over, *(records if drafts else []), *temporary, *objects]
    size = sum(storage.size(key) or 0 for key in gone)
    if not dry_run:
        for key in gone:
            storage.delete(key)
    return GcReport(
        temporary=len(temporary), drafts=len(over) + (len(records) if drafts else 0), generations=len(manifests),
        objects=len(objects), bytes=size, kept=len(waiting), keys=tuple(gone), lost=len(lost),
    )  # fmt: skip


def _is_over(storage: Storage, key: str, latest: Manifest) -> bool:
    """Whether a claim was left by a writer that was killed after it had published: nothing can come of it any more."""
    if key == claim.NEW:
        return True
    try:
        record = json.loads(storage.get(key))
    except (ObjectNotFoundError, ValueError):
        return False
    if not isinstance(record, dict) or "id" not in record:
        return False
    if key.startswith(PREFIX):
        names = {name: c[2].removesuffix(INTERMEDIATE) for name, c in record.get("columns", {}).items()}
        return all(name in latest.columns and latest.columns[name].key == value for name, value in names.items())
    column = key.removeprefix("draft-column-").removesuffix(".json")
    now = latest.columns[column].key if column in latest.columns else None
    return (record.get("id"), record.get("replaces")) != (latest.id, now)


def _generations(storage: Storage) -> list[Manifest]:
    """All generations that are there, oldest first; none where nothing was published."""
    try:
        latest = load_manifest(storage)
    except DatasetNotFoundError:
        return []
    found = []
    for number in range(1, latest.generation):
        try:
            found.append(load_manifest(storage, number))
        except DatasetNotFoundError:
            continue
    return [*found, latest]


def _named(manifest: Manifest) -> Iterable[str]:
    yield generation_key(manifest.generation)
    for chunk in manifest.chunks:
        for column in chunk.cells:
            yield manifest.object_key(column, chunk.first)
