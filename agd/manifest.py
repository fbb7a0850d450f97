"""The manifest: one JSON document that names every object of a dataset (``spec/manifest.md``)."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import xxhash

from agd.errors import ChecksumError, FormatError, VersionTooNewError, VersionTooOldError
from agd.types import MAX_CHUNK_RECORDS, NUMBER_DTYPES, Orientation, RecordType, Reference, SortOrder
from agd.urls import without_credentials

VERSION = 1

#: Key of the newest manifest; the generations are kept beside it.
MANIFEST_KEY = "manifest.json"

#: Most bytes in the name of a dataset and in the key of a column, so that object names fit any file system.
MAX_NAME = 128

#: Most bytes in the name of a column, as the header of a chunk file has room for.
MAX_COLUMN = 64

REMEDY = "run 'agd repair' on the dataset; older generations can be read as DATASET@N"


def generation_key(generation: int) -> str:
    """Key of one generation of the manifest."""
    return f"manifest-{generation:06d}.json"


def generation_of(key: str) -> int | None:
    """The generation whose manifest has this key; None for any other key."""
    digits = key.removeprefix("manifest-").removesuffix(".json")
    return int(digits) if digits.isdecimal() and key == generation_key(int(digits)) else None


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """How a column is stored.

    Attributes
    ----------
    type : RecordType
    codecs : list of dict
        The codec chain that new chunks are written with; each object records its own.
    key : str
        Extension of the objects of this column; differs from the name once the column was renamed or replaced.
    dtype : str
        numpy type code of number columns, "" otherwise.
    """

    type: RecordType
    codecs: list[dict[str, Any]]
    key: str
    dtype: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """One stored object: a column of a chunk.

    Attributes
    ----------
    bytes : int
        Size of the object.
    checksum : str
        Checksum of its header (which holds those of index and payload), 16 hexadecimal digits.
    statistics : dict
        What readers may use to leave the object unread, see ``spec/manifest.md``.
    """

    bytes: int
    checksum: str
    statistics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive records.

    Attributes
    ----------
    first : int
        Ordinal of the first record.
    count : int
        Records.
    cells : mapping of str to Cell
        By column name. A column without a cell is null in all records of the chunk.
    """

    first: int
    count: int
    cells: Mapping[str, Cell]


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything about a dataset but its records. Immutable: a change makes the next generation.

    Attributes
    ----------
    id : str
        UUID, 32 hexadecimal digits.
    name : str
        First part of all object names.
    generation : int
        Counts from 1.
    columns : mapping of str to ColumnSpec
    chunks : tuple of Chunk
        Ascending, without gaps.
    orientation : Orientation
        Of the bases and qualities.
    names : str
        "fastq": the metadata column holds header lines of FASTQ; "sam": it holds QNAME.
    pairing : str
        "single", or "interleaved": records 2i and 2i + 1 are the two reads of a pair.
    sort_order : SortOrder
    header : str
        SAM header text, lines ended by a newline; "" for reads that were never aligned.
    references : tuple of Reference
        The ``@SQ`` lines of the header.
    steps : tuple of dict
        Provenance: one entry a step, oldest first; they become ``@PG`` lines.
    sources : tuple of dict
        What was imported: path, format, and what is needed to write it again byte for byte.
    digest : dict
        Order-independent digest of the records (``spec/digest.md``).
    retired : tuple of str
        Keys of columns of older generations that this one is without; their objects stay, and no new ones take them.
    """

    id: str
    name: str
    generation: int
    columns: Mapping[str, ColumnSpec]
    chunks: tuple[Chunk, ...]
    orientation: Orientation
    names: str = "fastq"
    pairing: str = "single"
    sort_order: SortOrder = SortOrder.UNKNOWN
    header: str = ""
    references: tuple[Reference, ...] = ()
    steps: tuple[Mapping[str, Any], ...] = ()
    sources: tuple[Mapping[str, Any], ...] = ()
    digest: Mapping[str, Any] = field(default_factory=dict)
    retired: tuple[str, ...] = ()

    @property
    def records(self) -> int:
        """Number of records."""
        return self.chunks[-1].first + self.chunks[-1].count if self.chunks else 0

    @property
    def stored_bytes(self) -> int:
        """Bytes of all objects but the manifest."""
        return sum(cell.bytes for chunk in self.chunks for cell in chunk.cells.values())

    def object_key(self, column: str, first: int) -> str:
        """Key of the object of a column and chunk."""
        return object_key(self.name, first, self.columns[column].key)

    def next(self, **changes: Any) -> Manifest:
        """The next generation, with these fields exchanged."""
        return replace(self, **({"generation": self.generation + 1} | changes))

    def retiring(self, columns: Mapping[str, ColumnSpec]) -> tuple[str, ...]:
        """``retired`` of a next generation with these columns: keys that generations have used, and it does not."""
        used = {*self.retired, *(column.key for column in self.columns.values())}
        return tuple(sorted(used - {column.key for column in columns.values()}))

    def to_bytes(self) -> bytes:
        """The JSON document, its own checksum included."""
        document = _to_json(self)
        return _dump(document | {"checksum": _checksum(document)})

    @staticmethod
    def from_bytes(data: bytes, where: str) -> Manifest:
        """Manifest from its JSON document; every field is checked.

        Raises
        ------
        FormatError
            Or one of its kinds: VersionTooNewError, VersionTooOldError, ChecksumError.
        """
        try:
            document = json.loads(data, parse_constant=_refuse)
            noted = document.pop("checksum", None) if isinstance(document, dict) else None
            found = _checksum(document)
        except (ValueError, RecursionError) as error:
            raise FormatError(where, "document", f"not JSON: {error}", REMEDY) from error
        if not isinstance(document, dict) or document.get("format") != "agd":
            raise FormatError(where, "format", "this is not an AGD manifest", REMEDY)
        version = document.get("version")
        if not isinstance(version, int) or isinstance(version, bool):
            raise FormatError(where, "version", f"{version!r} is not a version", REMEDY)
        if version > VERSION:
            raise VersionTooNewError(where, "version", f"manifest version {version}; this release reads {VERSION}")
        if version < 1:
            raise VersionTooOldError(where, "version", f"manifest version {version} is not read any more")
        if noted != found:
            raise ChecksumError(where, "checksum", "the manifest is damaged or was edited by hand", REMEDY)
        return _Parser(where).manifest(document)


def object_key(name: str, first: int, key: str) -> str:
    """Key of the object of a column (by its ``key``) and chunk (by its first ordinal)."""
    return f"{name}-{first:012d}.{key}"


def _dump(document: Any) -> bytes:
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # Bytes of a SAM header that are no UTF-8 are lone surrogates in Python: \udcXX in JSON, which stays valid UTF-8.
    return text.encode("utf-8", "backslashreplace")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _checksum(document: Any) -> str:
    return xxhash.xxh3_64_hexdigest(_dump(document))


def _to_json(m: Manifest) -> dict[str, Any]:
    return {
        "format": "agd",
        "version": VERSION,
        "id": m.id,
        "name": m.name,
        "generation": m.generation,
        "records": m.records,
        "orientation": m.orientation.name.lower(),
        "names": m.names,
        "pairing": m.pairing,
        "sort_order": m.sort_order.value,
        "columns": {
            name: {"type": c.type.name.lower(), "codecs": c.codecs, "key": c.key}
            | ({"dtype": c.dtype} if c.dtype else {})
            for name, c in m.columns.items()
        },
        "references": [
            {"name": r.name, "length": r.length} | ({"md5": r.md5} if r.md5 else {}) for r in m.references
        ],
        "header": m.header,
        "steps": without_credentials(list(m.steps)),
        "sources": without_credentials(list(m.sources)),
        "digest": m.digest,
        "retired": list(m.retired),
        "chunks": [
            {
                "first": c.first,
                "count": c.count,
                "cells": {
                    name: {"bytes": cell.bytes, "checksum": cell.checksum}
                    | ({"statistics": cell.statistics} if cell.statistics else {})
                    for name, cell in c.cells.items()
                },
            }
            for c in m.chunks
        ],
    }


def is_word(text: str, limit: int = MAX_NAME) -> bool:
    """Whether text may be a part of the names of objects."""
    return bool(text) and "/" not in text and text.isprintable() and len(text.encode()) <= limit


#: Fields of the document beside its checksum.
_FIELDS = frozenset((
    "format", "version", "id", "name", "generation", "records", "orientation", "names", "pairing", "sort_order",
    "columns", "references", "header", "steps", "sources", "digest", "retired", "chunks",
))  # fmt: skip

#: Fields of a step, which may have others: name, type, and whether it must be there.
_STEP = (("program", str, True), ("version", str, True), ("command", str, False), ("parameters", dict, False))


class _Parser:
    """Checks a document field by field; an error names the field by its path."""

    def __init__(self, where: str) -> None:
        self.where = where

    def fail(self, path: str, reason: str) -> NoReturn:
        raise FormatError(self.where, path, reason, REMEDY)

    def get(self, parent: Mapping[str, Any], path: str, key: str, kind: type | tuple[type, ...]) -> Any:
        path = f"{path}.{key}" if path else key
        if key not in parent:
            self.fail(path, "is missing")
        value = parent[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
            self.fail(path, f"{value!r:.60} is not of the right type")
        return value

    def number(self, parent: Mapping[str, Any], path: str, key: str, low: int = 0, high: int = 1 << 62) -> int:
        value = self.get(parent, path, key, int)
        if not low <= value <= high:
            self.fail(f"{path}.{key}" if path else key, f"{value} is out of range")
        return int(value)

    def choice(self, parent: Mapping[str, Any], path: str, key: str, choices: Mapping[str, Any]) -> Any:
        value = self.get(parent, path, key, str)
        if value not in choices:
            self.fail(f"{path}.{key}" if path else key, f"{value!r:.60} is none of {', '.join(choices)}")
        return choices[value]

    def digits(self, parent: Mapping[str, Any], path: str, key: str, count: int) -> str:
        value = self.get(parent, path, key, str)
        if len(value) != count or set(value) - set("0123456789abcdef"):
            self.fail(f"{path}.{key}" if path else key, f"{value!r:.60} is not {count} hexadecimal digits")
        return str(value)

    def dicts(self, parent: Mapping[str, Any], path: str, key: str) -> tuple[dict[str, Any], ...]:
        value = self.get(parent, path, key, list)
        for i, entry in enumerate(value):
            if not isinstance(entry, dict):
                self.fail(f"{path}.{key}[{i}]" if path else f"{key}[{i}]", "is not an object")
        return tuple(value)

    def only(self, parent: Mapping[str, Any], path: str, known: Collection[str]) -> None:
        for key in parent:
            if key not in known:
                self.fail(f"{path}.{key:.60}" if path else f"{key:.60}", "is no field that version 1 has")

    def steps(self, d: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
        steps = self.dicts(d, "", "steps")
        for i, step in enumerate(steps):
            for key, kind, required in _STEP:
                if required or key in step:
                    self.get(step, f"steps[{i}]", key, kind)
        return steps

    def manifest(self, d: dict[str, Any]) -> Manifest:
        self.only(d, "", _FIELDS)
        columns = {}
        for name, spec in self.get(d, "", "columns", dict).items():
            if not is_word(name, MAX_COLUMN) or "~" in name:
                self.fail(f"columns.{name!r:.60}", "is not a name of a column")
            columns[name] = self.column(spec, f"columns.{name}")
        keys = [column.key for column in columns.values()]
        if len(set(keys)) != len(keys):
            self.fail("columns", "two columns share one key")
        if not set(keys).isdisjoint(self.words(d, "retired")):
            self.fail("retired", "a column uses a key that is retired")
        manifest = Manifest(
            id=self.digits(d, "", "id", 32),
            name=self.word(d, "", "name"),
            generation=self.number(d, "", "generation", 1),
            columns=columns,
            chunks=self.chunks(d, columns),
            orientation=self.choice(d, "", "orientation", {"read": Orientation.READ, "seq": Orientation.SEQ}),
            names=self.choice(d, "", "names", {"fastq": "fastq", "sam": "sam"}),
            pairing=self.choice(d, "", "pairing", {"single": "single", "interleaved": "interleaved"}),
            sort_order=self.choice(d, "", "sort_order", {order.value: order for order in SortOrder}),
            header=self.get(d, "", "header", str),
            references=tuple(
                self.reference(r, f"references[{i}]") for i, r in enumerate(self.dicts(d, "", "references"))
            ),
            steps=self.steps(d),
            sources=self.dicts(d, "", "sources"),
            digest=self.get(d, "", "digest", dict),
            retired=self.words(d, "retired"),
        )
        if self.number(d, "", "records") != manifest.records:
            self.fail("records", f"{d['records']} records, the chunks have {manifest.records}")
        for i, chunk in enumerate(manifest.chunks if manifest.pairing == "interleaved" else ()):
            if chunk.count % 2:
                self.fail(f"chunks[{i}].count", f"{chunk.count}, which parts the two reads of a pair")
        return manifest

    def reference(self, entry: Mapping[str, Any], path: str) -> Reference:
        self.only(entry, path, ("name", "length", "md5"))
        return Reference(
            self.text(entry, path, "name"),
            self.number(entry, path, "length", 0, (1 << 31) - 1),
            self.digits(entry, path, "md5", 32) if "md5" in entry else "",
        )

    def words(self, parent: Mapping[str, Any], key: str) -> tuple[str, ...]:
        value = self.get(parent, "", key, list)
        for i, word in enumerate(value):
            if not isinstance(word, str) or not is_word(word):
                self.fail(f"{key}[{i}]", f"{word!r:.60} is not a part of object names")
        return tuple(value)

    def text(self, parent: Mapping[str, Any], path: str, key: str) -> str:
        value = self.get(parent, path, key, str)
        if not value:
            self.fail(f"{path}.{key}", "is empty")
        return str(value)

    def word(self, parent: Mapping[str, Any], path: str, key: str) -> str:
        """A part of the names of objects."""
        value = self.get(parent, path, key, str)
        if not is_word(value):
            self.fail(f"{path}.{key}" if path else key, f"{value!r:.60} is not a part of object names")
        return str(value)

    def column(self, spec: Any, path: str) -> ColumnSpec:
        if not isinstance(spec, dict):
            self.fail(path, "is not an object")
        self.only(spec, path, ("type", "codecs", "key", "dtype"))
        key = self.word(spec, path, "key")
        codecs = list(self.dicts(spec, path, "codecs"))
        for i, codec in enumerate(codecs):
            self.get(codec, f"{path}.codecs[{i}]", "name", str)
        kind = self.choice(spec, path, "type", {t.name.lower(): t for t in RecordType})
        dtype = self.get(spec, path, "dtype", str) if "dtype" in spec else ""
        if (kind is RecordType.NUMBER) != bool(dtype) or dtype not in ("", *NUMBER_DTYPES):
            self.fail(f"{path}.dtype", f"{dtype!r:.60} is not possible here")
        return ColumnSpec(kind, codecs, key, dtype)

    def chunks(self, d: Mapping[str, Any], columns: Mapping[str, ColumnSpec]) -> tuple[Chunk, ...]:
        chunks, expected = [], 0
        for i, entry in enumerate(self.dicts(d, "", "chunks")):
            path = f"chunks[{i}]"
            self.only(entry, path, ("first", "count", "cells"))
            first = self.number(entry, path, "first")
            count = self.number(entry, path, "count", 1, MAX_CHUNK_RECORDS)
            if first != expected:
                self.fail(f"{path}.first", f"{first}, but the records before it end at {expected}")
            expected = first + count
            cells = {}
            for name, cell in self.get(entry, path, "cells", dict).items():
                if name not in columns:
                    self.fail(f"{path}.cells.{name}", "there is no such column")
                if not isinstance(cell, dict):
                    self.fail(f"{path}.cells.{name}", "is not an object")
                self.only(cell, f"{path}.cells.{name}", ("bytes", "checksum", "statistics"))
                cells[name] = Cell(
                    self.number(cell, f"{path}.cells.{name}", "bytes"),
                    self.digits(cell, f"{path}.cells.{name}", "checksum", 16),
                    self.statistics(cell, f"{path}.cells.{name}") if "statistics" in cell else {},
                )
            chunks.append(Chunk(first, count, cells))
        return tuple(chunks)

    def statistics(self, cell: Mapping[str, Any], path: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(cell, path, "statistics", dict)
        path = f"{path}.statistics"
        for key in ("total", "min_length", "max_length", "cigar_operations", "tag_bytes"):
            if key in found:
                self.number(found, path, key)
        flags = self.get(found, path, "flags", dict) if "flags" in found else {}
        for flag in flags:
            if not (flag.isascii() and flag.isdigit() and len(flag) <= 5 and int(flag) < 1 << 16):
                self.fail(f"{path}.flags", f"{flag!r:.60} is no flag")
            self.number(flags, f"{path}.flags", flag)
        distant = self.get(found, path, "distant", list) if "distant" in found else [0] * 4
        if len(distant) != 4 or not all(type(n) is int and n >= 0 for n in distant):
            self.fail(f"{path}.distant", f"{distant!r:.60} is not four counts")
        for i, span in enumerate(self.get(found, path, "spans", list) if "spans" in found else ()):
            if not (isinstance(span, list) and len(span) == 3 and all(type(n) is int and n >= 0 for n in span)):
                self.fail(f"{path}.spans[{i}]", f"{span!r:.60} is not a reference, a start and an end")
        return found
