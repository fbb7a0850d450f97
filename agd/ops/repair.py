"""Repair a dataset: bring back a lost or damaged manifest, and name every object that is damaged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import agd
from agd import cell as cells
from agd.chunkfile import HEADER_SIZE, Header, parse_header, unframe
from agd.dataset import Dataset
from agd.errors import AgdError, FormatError, ObjectNotFoundError, VerificationError, VersionTooNewError
from agd.manifest import MANIFEST_KEY, Cell, Chunk, ColumnSpec, Manifest, generation_key, generation_of
from agd.run import Runner, SerialRunner
from agd.samheader import references_of, sort_order_of
from agd.storage import Storage
from agd.types import Orientation, RecordType, SortOrder

_OBJECT = re.compile(r"(?P<name>.+)-(?P<first>\d{12})\.(?P<key>[^/]+)")


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What was found and done.

    Attributes
    ----------
    manifest : str
        "sound", "restored" (from a copy or an older generation) or "rebuilt" (from the headers of the objects).
    actions : tuple of str
        What was written.
    damaged : tuple of str
        Keys of objects that are missing or damaged and were not brought back.
    notes : tuple of str
        What a person has to know or decide.
    """

    manifest: str
    actions: tuple[str, ...]
    damaged: tuple[str, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self) | {"ok": not self.damaged}


def repair_manifest(
    storage: Storage, *, header: str | None = None, dry_run: bool = False, runner: Runner | None = None,
    command: str = "",
) -> tuple[Manifest, RepairReport]:
    """Bring the manifest of a dataset back.

    The newest generation that can be read is taken; where there is none, a manifest is made from the headers of the
    objects. Nothing is ever guessed: what the objects cannot tell is left out, and said in the notes.

    Parameters
    ----------
    header : str, optional
        SAM header text, for a manifest that is made from objects with alignments.
    dry_run : bool
        Write nothing.

    Raises
    ------
    VerificationError
        The objects do not make one dataset, or hold alignments and no header is given.
    """
    keys = sorted(storage.keys())
    actions: list[str] = []
    notes: list[str] = []
    found = {k: _manifest(storage, k) for k in keys if k == MANIFEST_KEY or generation_of(k) is not None}
    readable = {key: m for key, m in found.items() if m is not None}
    if not readable:
        manifest, notes = _rebuild(storage, keys, header, runner or SerialRunner(), command)
        taken = [number for key in found if (number := generation_of(key)) is not None]
        manifest = replace(manifest, generation=max(taken, default=0) + 1)
        actions.append(f"{generation_key(manifest.generation)}: made from the headers of the objects")
        state = "rebuilt"
    else:
        manifest = max(readable.values(), key=lambda m: m.generation)
        state = "sound"
        for key in found:
            if found[key] is None and key != MANIFEST_KEY and key != generation_key(manifest.generation):
                notes.append(f"{key} is damaged: that generation is lost; 'agd gc' cannot tell which objects it named")
        lost = [number for k, m in found.items() if m is None and (number := generation_of(k)) is not None]
        if lost and max(lost) > manifest.generation:
            newest = max(lost)
            notes.append(f"generation {newest} is damaged: what it added to generation {manifest.generation} is not "
                         "in the dataset any more; run those steps again")  # fmt: skip
            manifest = replace(manifest, generation=newest + 1)
        for key in (MANIFEST_KEY, generation_key(manifest.generation)):
            if found.get(key) != manifest:
                actions.append(f"{key}: written again, as generation {manifest.generation}")
                state = "restored"
    if actions and not dry_run:
        data = manifest.to_bytes()
        Manifest.from_bytes(data, storage.url)
        storage.put(generation_key(manifest.generation), data)
        storage.put(MANIFEST_KEY, data)
    return manifest, RepairReport(state, tuple(actions), (), tuple(notes))


def _manifest(storage: Storage, key: str) -> Manifest | None:
    try:
        manifest = Manifest.from_bytes(storage.get(key), key)
        # A copy of another generation under this key is none.
        return manifest if key in (MANIFEST_KEY, generation_key(manifest.generation)) else None
    except VersionTooNewError:
        raise
    except (FormatError, ObjectNotFoundError):
        return None


def damaged_cells(dataset: Dataset, runner: Runner) -> Iterator[tuple[Chunk, str]]:
    """Cells whose object is missing or not what the manifest says, from end to end."""

    def check(chunk: Chunk) -> list[tuple[Chunk, str]]:
        wrong = []
        for name, cell in chunk.cells.items():
            key = dataset.manifest.object_key(name, chunk.first)
            try:
                data = dataset.storage.get(key)
                header = parse_header(data, key)
                cells.check_header(header, key, cell, data, {"first": chunk.first, "count": chunk.count})
                unframe(data, key)
            except AgdError:
                wrong.append((chunk, name))
        return wrong

    for found in runner.map(check, dataset.chunks, on="io"):
        yield from found


@dataclass(frozen=True, slots=True)
class _Found:
    key: str
    header: Header
    cell: Cell


def _rebuild(
    storage: Storage, keys: list[str], header: str | None, runner: Runner, command: str
) -> tuple[Manifest, list[str]]:
    """A manifest made from the headers of the objects, and what a person has to know of it."""
    objects, notes = _sound_objects(storage, keys, runner)
    columns, chunks, more = _columns_and_chunks(objects)
    notes += [*more, *_check_whole(storage.url, columns, chunks)]
    structured = any(spec.type is RecordType.STRUCTURED for spec in columns.values())
    if structured and header is None:
        raise VerificationError(
            f"{storage.url}: the names of the references were in the manifest alone",
            "give a file with the same header, with --from, such as the BAM file that was imported or the reference's "
            "SAM header",
        )
    header = header or ""
    orientation = next((o.header.orientation for o in objects if o.header.orientation), Orientation.READ)
    notes.append("sort order, pairing, provenance and digest were in the manifest alone: they are not known any more")
    first = objects[0].header
    manifest = Manifest(
        id=first.dataset_id, name=first.dataset_name, generation=1, columns=columns, chunks=tuple(chunks),
        orientation=orientation, names="sam" if orientation is Orientation.SEQ else "fastq",
        sort_order=sort_order_of(header) if header else SortOrder.UNKNOWN, header=header,
        references=references_of(header),
        steps=({"program": "agd repair", "version": agd.__version__, "command": command, "parameters": {}},),
    )  # fmt: skip
    return manifest, notes


def _sound_objects(storage: Storage, keys: list[str], runner: Runner) -> tuple[list[_Found], list[str]]:
    """The objects of the one dataset that is here, and what is said of those that are damaged."""

    def look(key: str) -> _Found | str:
        try:
            data = storage.get(key)
            parsed = parse_header(data[:HEADER_SIZE], key)
            unframe(data, key)
            try:
                _, column = cells.decode_cell(data, key)
                statistics = cells.statistics(parsed.record_type, column)
            except FormatError:
                statistics = {}  # it needs other columns to be read; whole it is, by its checksums
        except AgdError as error:
            return f"{key}: damaged, left out: {error.message}"
        return _Found(key, parsed, Cell(len(data), cells.header_checksum(data), statistics))

    looked = list(runner.map(look, [key for key in keys if _OBJECT.fullmatch(key)], on="io"))
    objects = [item for item in looked if isinstance(item, _Found)]
    if not objects:
        raise VerificationError(f"{storage.url}: there is no sound object of a dataset here", "restore it from a copy")
    ids = {o.header.dataset_id for o in objects}
    if len(ids) > 1:
        raise VerificationError(
            f"{storage.url}: the objects belong to {len(ids)} datasets", "move those of each into a folder of their own"
        )
    return objects, [item for item in looked if isinstance(item, str)]


def _columns_and_chunks(objects: list[_Found]) -> tuple[dict[str, ColumnSpec], list[Chunk], list[str]]:
    """What the objects make; of a column that was replaced, the newer one."""
    columns: dict[str, ColumnSpec] = {}
    by_chunk: dict[tuple[int, int], dict[str, Cell]] = {}
    notes: list[str] = []
    for o in objects:
        match = _OBJECT.fullmatch(o.key)
        assert match is not None
        name, key = o.header.column, match["key"]
        if name in columns and columns[name].key != key:
            older, newer = sorted([columns[name].key, key], key=lambda k: int(k.partition("~")[2] or 0))
            notes.append(f"column {name!r} is there as {older!r} and as {newer!r}: the newer one is taken")
            if key == older:
                continue
            for entry in by_chunk.values():
                entry.pop(name, None)
        columns[name] = ColumnSpec(o.header.record_type, o.header.codecs, key, o.header.dtype)
        by_chunk.setdefault((o.header.first, o.header.count), {})[name] = o.cell
    return columns, [Chunk(first, count, entry) for (first, count), entry in sorted(by_chunk.items()) if entry], notes


def _check_whole(url: str, columns: dict[str, ColumnSpec], chunks: list[Chunk]) -> list[str]:
    """Refuse chunks with gaps; the notes on columns that are missing in some."""
    notes, expected = [], 0
    for chunk in chunks:
        if chunk.first != expected:
            raise VerificationError(
                f"{url}: no object tells of the records {expected} to {chunk.first - 1}",
                "restore the objects of that chunk from a copy, then run 'agd repair' again",
            )
        expected = chunk.first + chunk.count
        missing = [name for name in columns if name not in chunk.cells and not name.startswith("secondary")]
        notes += [f"chunk {chunk.first} has no sound object of the column {name!r}: it is empty there"
                  for name in missing]  # fmt: skip
    return notes
