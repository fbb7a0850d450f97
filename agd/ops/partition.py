"""Parts of a step that run in any order on any machines, until one ``finalise`` publishes them together.

Each part stores its chunks under the claim that all of them share (their plans are equal), and then one small record
that says which chunks are done. Nothing else is written by two parts, so they need no talk with each other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from agd.draft import Draft
from agd.errors import FormatError, ObjectNotFoundError, UsageError
from agd.manifest import Cell, Chunk, ColumnSpec, Manifest
from agd.run import SILENT, Progress, Runner
from agd.storage import Storage
from agd.types import Orientation, RecordType, Reference, SortOrder

T = TypeVar("T")

#: Keys of the records of finished parts.
PREFIX = "draft-part-"

#: End of the keys of objects that parts leave for the finalise, and that it removes.
INTERMEDIATE = ".part"


@dataclass(frozen=True, slots=True)
class Partition:
    """Part ``number`` of ``count``, counted from 1."""

    number: int
    count: int

    @staticmethod
    def parse(text: str) -> Partition:
        """Partition of a text such as ``3/40``.

        Raises
        ------
        UsageError
            It is none.
        """
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise UsageError(f"{text!r} is not a part", "give one such as 3/40: the third of forty, counted from 1")
        return Partition(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def of(self, items: Sequence[T]) -> Sequence[T]:
        """The items of this part: consecutive ones; the parts have equal numbers of them, but for one."""
        n = len(items)
        return items[n * (self.number - 1) // self.count : n * self.number // self.count]

    def has(self, index: int) -> bool:
        """Whether item ``index`` (0-based) is in this part when items are dealt out one by one."""
        return index % self.count == self.number - 1


@dataclass(frozen=True, slots=True)
class Part:
    """The record of a finished part.

    Attributes
    ----------
    partition : Partition
    plan : dict
        Of the draft: equal for all parts of one step.
    new : bool
        Whether the step makes a dataset, or adds columns to one.
    identity, name : str
        Of the dataset.
    orientation : Orientation
    columns : dict of str to ColumnSpec
        That the step writes.
    replace : bool
        Columns of these names are replaced.
    chunks : tuple of Chunk
        Those of this part, with the cells of these columns.
    total : int
        Records of all parts.
    drop : tuple of str
        Columns that the step takes away.
    fields : dict
        Further fields of the manifest that the step sets.
    digest : dict
        Of the alignment lines that this part has made; ``{}`` where the step makes none.
    """

    partition: Partition
    plan: Mapping[str, Any]
    new: bool
    identity: str
    name: str
    orientation: Orientation
    columns: Mapping[str, ColumnSpec]
    replace: bool
    chunks: tuple[Chunk, ...]
    total: int
    drop: tuple[str, ...]
    fields: Mapping[str, Any]
    digest: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Key of the record."""
        return f"{PREFIX}{self.partition.number:06d}-of-{self.partition.count:06d}.json"

    def to_bytes(self) -> bytes:
        """As a JSON document."""
        document = {
            "partition": str(self.partition), "plan": self.plan, "new": self.new, "id": self.identity,
            "name": self.name, "orientation": self.orientation.name, "replace": self.replace, "total": self.total,
            "drop": self.drop, "fields": _plain(self.fields), "digest": self.digest,
            "columns": {n: [c.type.name, c.codecs, c.key, c.dtype] for n, c in self.columns.items()},
            "chunks": [
                [c.first, c.count, {n: [x.bytes, x.checksum, x.statistics] for n, x in c.cells.items()}]
                for c in self.chunks
            ],
        }  # fmt: skip
        return json.dumps(document).encode()

    @staticmethod
    def from_bytes(data: bytes, where: str) -> Part:
        """Part from its record.

        Raises
        ------
        FormatError
            It is damaged.
        """
        try:
            d = json.loads(data)
            return Part(
                Partition.parse(d["partition"]), d["plan"], d["new"], d["id"], d["name"],
                Orientation[d["orientation"]],
                {n: ColumnSpec(RecordType[c[0]], c[1], c[2], c[3]) for n, c in d["columns"].items()}, d["replace"],
                tuple(Chunk(c[0], c[1], {n: Cell(*x) for n, x in c[2].items()}) for c in d["chunks"]),
                d["total"], tuple(d["drop"]), _rich(d["fields"]), d["digest"],
            )  # fmt: skip
        except (ValueError, KeyError, IndexError, TypeError, UsageError) as error:
            raise FormatError(where, "part", f"the record is damaged: {error}", "run this part again") from error


@dataclass(frozen=True, slots=True)
class Joining:
    """What a step whose parts are all done is made a whole from.

    Attributes
    ----------
    storage : Storage
    parts : tuple of Part
        At least one; of one plan.
    chunks : tuple of Chunk
        Of all parts, without gaps.
    latest : Manifest or None
        The newest generation, if there is one.
    runner, memory, progress
        As in all operations.
    """

    storage: Storage
    parts: tuple[Part, ...]
    chunks: tuple[Chunk, ...]
    latest: Manifest | None
    runner: Runner
    memory: int | None = None
    progress: Progress = SILENT


def set_aside(
    draft: Draft, partition: Partition, chunks: Sequence[Chunk], total: int, *, replace: bool = False,
    drop: Sequence[str] = (), intermediate: bool = False, part_digest: Mapping[str, Any] | None = None, **fields: Any,
) -> Part:
    """Note that a part is done; takes the place of :meth:`agd.draft.Draft.commit` when a step is run in parts.

    Parameters
    ----------
    chunks : sequence of Chunk
        Those of this part.
    total : int
        Records of all parts.
    intermediate : bool
        The objects of the part are not those of the columns yet; their keys end with :data:`INTERMEDIATE`.
    drop, **fields
        As :meth:`agd.draft.Draft.commit` takes them; equal for all parts.
    part_digest : mapping, optional
        Of the alignment lines that this part has made; what ``fields`` say of the digest is that of the reads.
    """
    used = {name for chunk in chunks for name in chunk.cells} | set(draft.columns)
    columns = {name: spec for name, spec in draft.columns.items() if name in used}
    if intermediate:
        columns = {n: ColumnSpec(s.type, s.codecs, s.key + INTERMEDIATE, s.dtype) for n, s in columns.items()}
    part = Part(
        partition, draft.plan, draft.base is None, draft.id, draft.name, draft.orientation, columns, replace,
        tuple(chunks), total, tuple(drop), fields, dict(part_digest or {}),
    )  # fmt: skip
    draft.storage.put(part.key, part.to_bytes())
    return part


def load_parts(storage: Storage) -> list[Part]:
    """Records of all parts that are done, by number; a listing of the folder."""
    found = []
    for key in list(storage.keys()):
        if key.startswith(PREFIX):
            try:
                found.append(Part.from_bytes(storage.get(key), f"{storage.url}/{key}"))
            except ObjectNotFoundError:  # another finalise was faster
                continue
    return sorted(found, key=lambda part: (part.partition.count, part.partition.number))


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    plain = dict(fields)
    if "references" in plain:
        plain["references"] = [[r.name, r.length, r.md5] for r in plain["references"]]
    if "sort_order" in plain:
        plain["sort_order"] = plain["sort_order"].value
    return plain


def _rich(fields: Mapping[str, Any]) -> dict[str, Any]:
    rich: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    if "references" in rich:
        rich["references"] = tuple(Reference(*r) for r in rich["references"])
    if "sort_order" in rich:
        rich["sort_order"] = SortOrder(rich["sort_order"])
    return rich
