"""The manifest: round trips, and every field of the document damaged in every way."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from agd.errors import ChecksumError, FormatError, VersionTooNewError, VersionTooOldError
from agd.manifest import Cell, Chunk, ColumnSpec, Manifest, generation_key, object_key
from agd.schemas import manifest_schema
from agd.types import MAX_CHUNK_RECORDS, NUMBER_DTYPES, Orientation, RecordType, Reference, SortOrder
from tests.support.manifests import VALIDATOR, dump, full_manifest, seal, validate

FULL = full_manifest()
DOCUMENT: dict[str, Any] = json.loads(FULL.to_bytes())

Path = tuple[str | int, ...]

#: Objects whose keys are not fixed: names of columns, flags, settings of codecs, and what steps and sources hold.
FREE = {"steps", "sources", "digest", "statistics", "flags", "cells"}

#: Fields that may be left out.
OPTIONAL = {"dtype", "md5", "statistics", "total", "min_length", "max_length", "flags", "spans", "distant"}


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every place in the document."""
    if path:
        yield path
    if path and path[-1] in ("steps", "sources", "digest"):
        if isinstance(value, list):
            yield (*path, 0)
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths(inner, (*path, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from paths(inner, (*path, i))


def name_of(path: Path) -> str:
    """A place as an error names it."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def changed(path: Path, value: Any) -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    place: Any = document
    for part in path[:-1]:
        place = place[part]
    if value is MISSING:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return document


MISSING = object()
PLACES = [path for path in paths(DOCUMENT) if path != ("checksum",)]


def refused(document: dict[str, Any]) -> FormatError:
    with pytest.raises(FormatError) as caught:
        Manifest.from_bytes(seal(document), "s3://bucket/x.agd/manifest.json")
    assert "s3://bucket/x.agd/manifest.json" in str(caught.value)
    assert caught.value.remedy
    return caught.value


# Round trips


def test_a_manifest_comes_back() -> None:
    data = FULL.to_bytes()
    found = Manifest.from_bytes(data, "x")
    assert found == FULL
    assert found.to_bytes() == data
    assert found.records == 5
    assert found.stored_bytes == 4380
    validate(data)


def test_an_empty_manifest_comes_back() -> None:
    empty = Manifest("0" * 32, "x", 1, {}, (), Orientation.READ)
    assert Manifest.from_bytes(empty.to_bytes(), "x") == empty
    assert empty.records == empty.stored_bytes == 0
    validate(empty.to_bytes())


PRINTABLE = st.characters(min_codepoint=33, exclude_characters="/~\x7f", categories=["L", "N", "P", "S"])
WORDS = st.text(PRINTABLE, min_size=1, max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 60), 1 << 60) | st.text(max_size=9)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3), max_leaves=8,
)  # fmt: skip
OBJECTS = st.lists(st.dictionaries(st.text(max_size=9), JSON, max_size=3), max_size=3).map(tuple)
STEPS = st.lists(
    st.fixed_dictionaries(
        {"program": st.text(max_size=9), "version": st.text(max_size=9)},
        optional={
            "command": st.text(max_size=9), "parameters": st.dictionaries(st.text(max_size=9), JSON, max_size=3),
            "note": JSON,
        },
    ), max_size=3,
).map(tuple)  # fmt: skip
HEX16 = st.text("0123456789abcdef", min_size=16, max_size=16)
HEX32 = st.text("0123456789abcdef", min_size=32, max_size=32)
COUNTS = st.integers(0, 1 << 50)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    columns = {}
    for i, name in enumerate(draw(st.lists(WORDS, max_size=4, unique=True))):
        kind = draw(st.sampled_from(RecordType))
        dtype = draw(st.sampled_from(NUMBER_DTYPES)) if kind is RecordType.NUMBER else ""
        codecs = [{"name": draw(WORDS), "level": draw(st.integers())}]
        columns[name] = ColumnSpec(kind, codecs, f"{name[:9]}~{i}", dtype)
    statistics = st.fixed_dictionaries(
        {}, optional={
            "total": COUNTS, "min_length": COUNTS, "max_length": COUNTS, "spans": st.lists(
                st.tuples(COUNTS, COUNTS, COUNTS).map(list), max_size=3
            ), "flags": st.dictionaries(st.integers(0, 65535).map(str), COUNTS, max_size=3),
            "distant": st.lists(COUNTS, min_size=4, max_size=4),
        },
    )  # fmt: skip
    cell = st.builds(Cell, COUNTS, HEX16, statistics)
    chunks, first = [], 0
    pairing = draw(st.sampled_from(["single", "interleaved"]))
    for count in draw(st.lists(st.integers(1, MAX_CHUNK_RECORDS), max_size=4)):
        count += count % 2 if pairing == "interleaved" else 0
        chosen = draw(st.lists(st.sampled_from(sorted(columns)), unique=True)) if columns else []
        chunks.append(Chunk(first, count, {name: draw(cell) for name in chosen}))
        first += count
    reference = st.builds(
        Reference, st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9),
        st.integers(0, (1 << 31) - 1), st.just("") | HEX32,
    )  # fmt: skip
    return Manifest(
        draw(HEX32), draw(WORDS), draw(st.integers(1, 1 << 40)), columns, tuple(chunks),
        draw(st.sampled_from([Orientation.READ, Orientation.SEQ])), draw(st.sampled_from(["fastq", "sam"])),
        pairing, draw(st.sampled_from(SortOrder)), draw(st.text(max_size=30)),
        draw(st.lists(reference, max_size=3).map(tuple)), draw(STEPS), draw(OBJECTS),
        draw(st.dictionaries(st.text(max_size=9), JSON, max_size=3)), draw(st.lists(WORDS, max_size=2).map(tuple)),
    )  # fmt: skip


@given(manifests())
def test_any_manifest_comes_back_and_fits_the_schema(manifest: Manifest) -> None:
    data = manifest.to_bytes()
    assert Manifest.from_bytes(data, "x") == manifest
    data.decode("utf-8")
    validate(data)


def test_bytes_of_a_header_that_are_no_utf8_survive() -> None:
    header = b"@CO\t\xff\xe9\n".decode("utf-8", "surrogateescape")
    data = full_manifest(header=header).to_bytes()
    assert json.loads(data.decode("utf-8"))["header"] == header
    assert Manifest.from_bytes(data, "x").header.encode("utf-8", "surrogateescape") == b"@CO\t\xff\xe9\n"


def test_layout_of_the_json_is_free() -> None:
    """The checksum is of the compact document: another program may lay it out as it likes."""
    assert Manifest.from_bytes(json.dumps(DOCUMENT, indent=2).encode(), "x") == FULL
    assert Manifest.from_bytes(json.dumps(DOCUMENT).encode(), "x") == FULL


def test_the_next_generation() -> None:
    after = FULL.next(names="fastq")
    assert (after.generation, after.names, after.columns) == (4, "fastq", FULL.columns)
    assert FULL.generation == 3


def test_keys_of_objects() -> None:
    assert generation_key(1) == "manifest-000001.json"
    assert generation_key(1_000_000) == "manifest-1000000.json"
    assert object_key("sample", 400_000, "bases") == "sample-000000400000.bases"
    assert FULL.object_key("results", 3) == "sample-000000000003.results~2"


# Damage


@pytest.mark.parametrize("path", PLACES, ids=name_of)
def test_without_a_new_checksum_every_change_is_found(path: Path) -> None:
    for value in (MISSING, None, "zz", 10**6, [], {}):
        document = changed(path, value)
        if document == DOCUMENT or path in (("format",), ("version",)):
            continue
        with pytest.raises(ChecksumError, match="checksum"):
            Manifest.from_bytes(dump(document), "x")


REQUIRED = [
    path for path in PLACES
    if isinstance(path[-1], str) and path[-1] not in OPTIONAL and not (len(path) > 1 and path[-2] in FREE)
    and not (len(path) == 2 and path[0] == "columns") and path[-1] != "level"
]  # fmt: skip


@pytest.mark.parametrize("path", REQUIRED, ids=name_of)
def test_every_field_that_is_missing_is_named(path: Path) -> None:
    document = changed(path, MISSING)
    assert not VALIDATOR.is_valid(document)
    error = refused(document)
    assert error.field == name_of(path)
    if path not in (("format",), ("version",)):
        assert "is missing" in error.reason


@pytest.mark.parametrize("path", [p for p in PLACES if p[-1] != "level"], ids=name_of)
@pytest.mark.parametrize("value", [None, True, -1, 1.5, "", "nonsense/", [], [7], {}, {"a": 1}], ids=repr)
def test_every_field_of_a_wrong_type_is_named(path: Path, value: Any) -> None:
    document = changed(path, value)
    if VALIDATOR.is_valid(document):
        # Of the right type after all: it is read, or contradicts another field.
        try:
            Manifest.from_bytes(seal(document), "x")
        except FormatError:
            assert path[0] in ("chunks", "columns", "records")
        return
    error = refused(document)
    place = name_of(path)
    assert error.field.startswith(place) or place.startswith(error.field), error.field


RANGES: list[tuple[Path, Any]] = [
    (("id",), "0" * 31), (("id",), "0" * 33), (("id",), "G" * 32), (("id",), "A" * 32), (("name",), "a/b"),
    (("name",), "x" * 129), (("name",), "a\nb"), (("name",), "a\0b"), (("name",), "\udc80"), (("generation",), 0),
    (("generation",), -5),
    (("generation",), (1 << 62) + 1), (("records",), 6), (("records",), -1), (("records",), 1 << 70),
    (("orientation",), "none"), (("orientation",), "READ"), (("names",), "bam"), (("pairing",), "paired"),
    (("sort_order",), "random"), (("columns", "tags", "type"), "Text"), (("columns", "tags", "key"), "a/b"),
    (("columns", "duplicates", "dtype"), "O"), (("columns", "duplicates", "dtype"), "<u3"),
    (("columns", "tags", "dtype"), "|u1"), (("columns", "duplicates", "dtype"), MISSING),
    (("references", 0, "length"), -1), (("references", 0, "length"), 1 << 31), (("references", 0, "md5"), "F" * 32),
    (("references", 0, "md5"), ""), (("chunks", 0, "count"), 0), (("chunks", 0, "count"), MAX_CHUNK_RECORDS + 1),
    (("chunks", 0, "first"), 1), (("chunks", 1, "first"), 2), (("chunks", 1, "first"), 4),
    (("chunks", 0, "cells", "bases", "bytes"), -1), (("chunks", 0, "cells", "bases", "checksum"), "0" * 15),
    (("chunks", 0, "cells", "bases", "checksum"), "Z" * 16),
    (("chunks", 0, "cells", "results", "statistics", "flags"), {"65536": 1}),
    (("chunks", 0, "cells", "results", "statistics", "flags"), {"-1": 1}),
    (("chunks", 0, "cells", "results", "statistics", "flags"), {"²": 1}),
    (("chunks", 0, "cells", "results", "statistics", "spans"), [[0, 1]]),
    (("chunks", 0, "cells", "results", "statistics", "spans"), [[0, 1, -1]]),
    (("chunks", 0, "cells", "results", "statistics", "distant"), [0, 0, 0]),
    (("chunks", 0, "cells", "results", "statistics", "distant"), [0, 0, 0, -1]),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value"), RANGES, ids=lambda v: name_of(v) if isinstance(v, tuple) else repr(v)[:20])
def test_every_value_out_of_range_is_named(path: Path, value: Any) -> None:
    document = changed(path, value)
    error = refused(document)
    place = name_of(path)
    assert error.field.startswith(place) or place.startswith(error.field), error.field


@pytest.mark.parametrize(
    "path", [(), ("columns", "bases"), ("references", 0), ("chunks", 0), ("chunks", 0, "cells", "bases")], ids=name_of
)
def test_a_field_that_the_format_does_not_have_is_named(path: Path) -> None:
    document = changed((*path, "colour"), "red")
    assert not VALIDATOR.is_valid(document)
    error = refused(document)
    assert (error.field, error.reason) == (name_of((*path, "colour")), "is no field that version 1 has")


def test_what_is_free_stays_free() -> None:
    for path in [("steps", 0, "a"), ("sources", 0, "a"), ("digest", "a"), ("columns", "bases", "codecs", 0, "a"),
                 ("chunks", 0, "cells", "bases", "statistics", "a")]:  # fmt: skip
        document = changed(path, [1])
        assert VALIDATOR.is_valid(document)
        Manifest.from_bytes(seal(document), "x")


@pytest.mark.parametrize("key", ["program", "version", "command", "parameters"])
@pytest.mark.parametrize("value", [MISSING, None, [1], 7, "x"], ids=["missing", "null", "list", "number", "text"])
def test_fields_of_steps_are_of_their_types(key: str, value: Any) -> None:
    document = changed(("steps", 0, key), value)
    if VALIDATOR.is_valid(document):
        assert value == "x" or (value is MISSING and key in ("command", "parameters")) or key == "parameters"
        Manifest.from_bytes(seal(document), "x")
    else:
        assert refused(document).field == f"steps[0].{key}"


def test_no_chunk_parts_a_pair() -> None:
    error = refused(changed(("pairing",), "interleaved"))
    assert error.field == "chunks[0].count"
    even = changed(("pairing",), "interleaved")
    even["chunks"] = []
    assert Manifest.from_bytes(seal(even | {"records": 0}), "x").pairing == "interleaved"


def test_a_cell_of_no_column_is_found() -> None:
    document = changed(("chunks", 0, "cells", "results2"), {"bytes": 1, "checksum": "0" * 16})
    assert refused(document).field == "chunks[0].cells.results2"


@pytest.mark.parametrize("name", ["", "a/b", "a~2", "x" * 65, "a\nb", "\udc80"])
def test_names_of_columns_are_parts_of_names_of_objects(name: str) -> None:
    document = changed(("columns", name), {"type": "text", "codecs": [], "key": "other"})
    assert refused(document).field.startswith("columns.")
    if name != "\udc80":  # which JSON Schema has no word for
        assert not VALIDATOR.is_valid(document)


def test_a_retired_key_is_not_used_again() -> None:
    assert refused(changed(("retired",), ["bases"])).field == "retired"


def test_two_columns_cannot_share_objects() -> None:
    assert refused(changed(("columns", "tags", "key"), "bases")).field == "columns"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\0", b"{", b"nonsense", b"\xff\xfe\xfd", b'{"format":"agd"} tail', b"[" * 100_000,
        b'{"format":"agd","version":1,"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}", b'{"a":NaN}', b'{"a":Infinity}',
        b'{"a":' + b"9" * 10_000 + b"}", FULL.to_bytes()[:-1], FULL.to_bytes()[:100],
    ],
    ids=lambda data: repr(data[:20]),
)  # fmt: skip
def test_what_is_not_json_is_said_to_be_so(data: bytes) -> None:
    with pytest.raises(FormatError, match="x: document: not JSON"):
        Manifest.from_bytes(data, "x")


@pytest.mark.parametrize("data", [b"null", b"[]", b"{}", b"7", b'"agd"', b'{"format":"zarr"}', b'[{"format":"agd"}]'])
def test_other_json_is_no_manifest(data: bytes) -> None:
    with pytest.raises(FormatError, match="x: format: this is not an AGD manifest"):
        Manifest.from_bytes(data, "x")


@pytest.mark.parametrize("sealed", [True, False])
def test_other_versions_say_what_to_do(sealed: bool) -> None:
    write = seal if sealed else dump
    with pytest.raises(VersionTooNewError, match="newer release"):
        Manifest.from_bytes(write(changed(("version",), 2)), "x")
    with pytest.raises(VersionTooOldError, match="still reads this version"):
        Manifest.from_bytes(write(changed(("version",), 0)), "x")
    for wrong in ("1", None, 1.0, True):
        with pytest.raises(FormatError, match="version"):
            Manifest.from_bytes(write(changed(("version",), wrong)), "x")


def test_a_damaged_manifest_says_how_to_mend_it() -> None:
    with pytest.raises(ChecksumError, match="older generation") as caught:
        Manifest.from_bytes(FULL.to_bytes().replace(b"chr1", b"chr3"), "x")
    assert "repair" in caught.value.remedy


@given(st.data())
def test_any_flipped_byte_is_found_or_harmless(data: st.DataObject) -> None:
    good = FULL.to_bytes()
    place = data.draw(st.integers(0, len(good) - 1))
    damaged = good[:place] + bytes([data.draw(st.integers(0, 255))]) + good[place + 1 :]
    try:
        found = Manifest.from_bytes(damaged, "x")
    except FormatError:
        return
    assert found == FULL


# The schema itself


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(manifest_schema())


def test_the_schema_allows_nothing_that_it_does_not_name() -> None:
    for path in [(), ("columns", "bases"), ("chunks", 0), ("chunks", 0, "cells", "bases"), ("references", 0)]:
        assert not VALIDATOR.is_valid(changed((*path, "surprise"), 1)), path


def test_the_schema_lists_what_the_code_knows() -> None:
    schema = manifest_schema()
    column = schema["$defs"]["column"]["properties"]
    assert column["type"]["enum"] == [t.name.lower() for t in RecordType]
    assert column["dtype"]["enum"] == list(NUMBER_DTYPES)
    assert schema["properties"]["sort_order"]["enum"] == [order.value for order in SortOrder]
    assert schema["$defs"]["chunk"]["properties"]["count"]["maximum"] == MAX_CHUNK_RECORDS
    assert set(schema["required"]) == set(DOCUMENT)
