"""A manifest with something in every field, and the schema that all manifests must fit."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import xxhash

from agd.manifest import Cell, Chunk, ColumnSpec, Manifest
from agd.schemas import manifest_schema
from agd.types import Orientation, RecordType, Reference, SortOrder

VALIDATOR = jsonschema.Draft202012Validator(manifest_schema())

ZSTD = {"name": "zstd", "level": 1}


def full_manifest(**changes: Any) -> Manifest:
    """A manifest with something in every field."""
    checksum = "0123456789abcdef"
    aligned = {"flags": {"99": 1, "147": 2}, "spans": [[0, 100, 251], [1, 0, 7]]}
    lengths = {"total": 303, "min_length": 100, "max_length": 102}
    fields: dict[str, Any] = {
        "id": "00112233445566778899aabbccddeeff", "name": "sample", "generation": 3,
        "columns": {
            "bases": ColumnSpec(RecordType.BASES, [{"name": "base3"}, ZSTD], "bases"),
            "qualities": ColumnSpec(RecordType.TEXT, [ZSTD], "qualities"),
            "results": ColumnSpec(RecordType.STRUCTURED, [{"name": "protobuf"}, ZSTD], "results~2"),
            "tags": ColumnSpec(RecordType.AUX, [], "tags"),
            "duplicates": ColumnSpec(RecordType.NUMBER, [ZSTD], "duplicates", "|u1"),
        },
        "chunks": (
            Chunk(0, 3, {"bases": Cell(1100, checksum, lengths), "results": Cell(1200, checksum, aligned)}),
            Chunk(3, 2, {"bases": Cell(1050, checksum), "duplicates": Cell(1030, checksum)}),
        ),
        "orientation": Orientation.SEQ, "names": "sam", "pairing": "single",
        "sort_order": SortOrder.COORDINATE, "header": "@HD\tVN:1.6\tSO:coordinate\n@CO\té\n",
        "references": (Reference("chr1", 1000, "f" * 32), Reference("chr2", 2_147_483_647)),
        "steps": ({"program": "agd import bam", "version": "0.1.0", "command": "", "parameters": {"a": [1, None]}},),
        "sources": ({"path": "x.bam", "format": "bam"},), "digest": {"records": 5, "all": "12"},
        "retired": ("results",),
    }  # fmt: skip
    return Manifest(**(fields | changes))


def seal(document: dict[str, Any]) -> bytes:
    """The document with a right checksum: what somebody who knows the format would have written."""
    body = {name: value for name, value in document.items() if name != "checksum"}
    return dump(body | {"checksum": xxhash.xxh3_64_hexdigest(dump(body))})


def dump(document: Any) -> bytes:
    """Compact JSON."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def validate(data: bytes) -> None:
    """Raise an error unless a stored manifest fits the schema."""
    VALIDATOR.validate(json.loads(data))
