"""The specification is true: its tables, and its test vectors against the code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agd import cell as cells
from agd import chunkfile, claim, kernels
from agd.batch import Alignments, Column
from agd.chunkfile import FIELDS
from agd.codecs import Base3, Chain, Fqz, Names, Protobuf, Rans, names
from agd.codecs.base import make
from agd.errors import CodecError
from agd.manifest import ColumnSpec, Manifest, generation_key, object_key
from agd.schemas import alignment_pb2, manifest_schema
from agd.types import CIGAR_OPERATIONS, MAX_CHUNK_RECORDS, NUMBER_DTYPES, Orientation, RecordType, SortOrder
from tests.support.columns import assert_equal
from tests.support.manifests import VALIDATOR, dump, full_manifest

SPEC = Path(__file__).resolve().parents[2] / "spec"


def vectors(name: str) -> Any:
    return json.loads((SPEC / "vectors" / f"{name}.json").read_text("utf-8"))


def tables(page: str) -> list[list[dict[str, str]]]:
    """Tables of a page, as a list of rows by the heads of their columns."""
    found: list[list[dict[str, str]]] = []
    lines = (SPEC / page).read_text("utf-8").split("\n")
    for before, line, after in zip(["", *lines], lines, [*lines[1:], ""], strict=False):
        row = [part.strip().replace("\\|", "|") for part in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not row or set(line) <= set("|-"):
            continue
        if set(after) <= set("|-") and after:
            heads = row
            found.append([])
        elif before.startswith("|"):
            found[-1].append(dict(zip(heads, row, strict=True)))
    return found


# Tables


def test_the_byte_map_is_the_code() -> None:
    rows = tables("chunkfile.md")[0]
    assert {r["field"]: (int(r["offset"]), int(r["size"])) for r in rows} == FIELDS
    kinds = {"bytes": "s", "text": "s", "u8": "B", "u16": "H", "u64": "Q"}
    assert [kinds[r["type"]] for r in rows] == [code[-1] for _, _, code in chunkfile._FIELDS]
    dtype = next(r for r in rows if r["field"] == "dtype")["meaning"]
    assert all(code in dtype for code in NUMBER_DTYPES)


def test_record_types_are_the_code() -> None:
    rows = tables("README.md")[1]
    assert {int(r["number"]): r["type"].strip("`") for r in rows} == {t.value: t.name.lower() for t in RecordType}
    line = tables("chunkfile.md")[0][3]["meaning"]
    assert line == ", ".join(f"{t.value} {t.name.lower()}" for t in RecordType)


def test_the_columns_are_the_code() -> None:
    for row in tables("README.md")[2]:
        name = row["name"].strip("`").split("`")[0]
        assert row["type"].split(" ")[0] == cells.default_spec(name).type.name.lower()


def test_the_fields_of_the_manifest_are_those_of_the_schema() -> None:
    rows = tables("manifest.md")[0]
    schema = manifest_schema()["properties"]
    assert [r["field"].strip("`") for r in rows] == list(schema)
    types = {r["field"].strip("`"): r["type"] for r in rows}
    for name, entry in schema.items():
        if "type" in entry:
            assert types[name] == entry["type"]
    order = next(r for r in rows if r["field"] == "`sort_order`")["meaning"]
    assert {o.value for o in SortOrder} == set(re.findall(r'"([^"]+)"', order))


def test_statistics_are_those_of_the_schema() -> None:
    named = {n for r in tables("manifest.md")[1] for n in re.findall(r"`(\w+)`", r["statistic"])}
    assert named == set(manifest_schema()["$defs"]["statistics"]["properties"])
    assert str(cells.MAX_SPANS) in (SPEC / "manifest.md").read_text()


def test_limits_are_the_code() -> None:
    text = (SPEC / "chunkfile.md").read_text("utf-8") + (SPEC / "README.md").read_text("utf-8")
    assert MAX_CHUNK_RECORDS == 1 << 24
    assert "2^24" in text
    assert chunkfile.MAX_DECODED == 1 << 33
    assert "2^33" in text


def test_every_codec_has_a_page() -> None:
    pages = list((SPEC / "codecs").glob("*.md"))
    assert {page.stem for page in pages} == set(names())
    for path in pages:
        version = make({"name": path.stem}, str(path)).version
        assert path.read_text("utf-8").startswith(f"# {path.stem}, version {version}\n")


def test_the_fields_of_an_alignment_are_those_of_the_schema() -> None:
    rows = tables("codecs/protobuf.md")[0]
    fields = alignment_pb2.Alignment.DESCRIPTOR.fields
    assert {int(r["number"]): r["field"] for r in rows} == {f.number: f.name for f in fields}


def test_names_of_objects_are_the_code() -> None:
    text = (SPEC / "README.md").read_text("utf-8")
    assert claim.NEW in text
    assert claim.claim_key("<column>") in text
    assert re.sub(r"\d{6}", "NNNNNN", generation_key(1)) in text
    assert object_key("x", 7, "bases") == "x-000000000007.bases"


def test_links_lead_somewhere() -> None:
    for page in SPEC.rglob("*.md"):
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


# Vectors


@pytest.mark.parametrize("vector", vectors("base3")["words"], ids=lambda v: v["bases"][:25] or "empty")
def test_words_of_bases(vector: dict[str, Any]) -> None:
    record = Column.from_list([vector["bases"].encode()])
    words = np.empty(len(vector["words"]), np.uint64)
    assert record.offsets is not None
    assert kernels.base3_pack(record.values, record.offsets, words) == 0
    assert [f"{word:016x}" for word in words.tolist()] == vector["words"]


@pytest.mark.parametrize("vector", vectors("base3")["payloads"], ids=lambda v: ",".join(v["records"])[:25])
def test_payloads_of_bases(vector: dict[str, Any]) -> None:
    column = Column.from_list([record.encode() for record in vector["records"]])
    payload = bytes.fromhex(vector["payload"])
    assert bytes(Base3().encode(column)) == payload
    assert_equal(Base3().decode(memoryview(payload), len(column), column.lengths), column)


@pytest.mark.parametrize("vector", vectors("rans")["streams"], ids=lambda v: v["why"])
def test_streams_of_rans(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["data"])
    assert bytes(Rans().decode(bytes.fromhex(vector["stream"]), len(data))) == data


@pytest.mark.parametrize("vector", vectors("names")["payloads"], ids=lambda v: v["why"])
def test_payloads_of_names(vector: dict[str, Any]) -> None:
    column = Column.from_list([name.encode("latin-1") for name in vector["names"]])
    payload = bytes.fromhex(vector["payload"])
    assert_equal(Names().decode(memoryview(payload), len(column), None), column)


@pytest.mark.parametrize("vector", vectors("fqz")["payloads"], ids=lambda v: v["why"])
def test_payloads_of_fqz(vector: dict[str, Any]) -> None:
    column = Column.from_list([record.encode("latin-1") for record in vector["records"]])
    payload = bytes.fromhex(vector["payload"])
    assert_equal(Fqz().decode(memoryview(payload), len(column), column.lengths), column)


@pytest.mark.parametrize("vector", vectors("index")["indexes"], ids=lambda v: str(v["sizes"]))
def test_relative_indexes(vector: dict[str, Any]) -> None:
    sizes = np.array(vector["sizes"], np.int64)
    assert chunkfile.narrowest_width(sizes) == vector["width"]
    assert chunkfile.pack_index(sizes, vector["width"]).hex() == vector["raw"]


def alignments(entries: list[dict[str, Any] | None]) -> Alignments:
    column = Alignments.null(len(entries))
    cigars, tags = [], []
    for i, entry in enumerate(entries):
        cigars.append([n << 4 | CIGAR_OPERATIONS.index(o) for n, o in (entry or {}).get("cigar", [])])
        tags.append(bytes.fromhex((entry or {}).get("tags", "")))
        for name in Alignments.FIXED:
            if entry is not None:
                getattr(column, name)[i] = entry[name]
    operations = np.array([n for cigar in cigars for n in cigar], np.uint32)
    valid = np.array([entry is not None for entry in entries])
    return column.replace(
        cigar=Column.from_lengths(operations, np.array([len(c) for c in cigars])), tags=Column.from_list(tags),
        valid=None if valid.all() else valid,
    )  # fmt: skip


def test_messages_of_alignments() -> None:
    entries = vectors("protobuf")["messages"]
    column = alignments([entry["alignment"] for entry in entries])
    messages = [bytes.fromhex(entry["message"]) for entry in entries]
    assert list(Protobuf().encode(column)) == messages
    assert_equal(Protobuf().decode(Column.from_list(messages)), column)


@pytest.mark.parametrize("entry", vectors("protobuf")["readable"], ids=lambda e: e["why"])
def test_other_messages_that_are_read(entry: dict[str, Any]) -> None:
    found = Protobuf().decode(Column.from_list([bytes.fromhex(entry["message"])]))
    assert_equal(found, alignments([entry["alignment"]]))


@pytest.mark.parametrize("entry", vectors("protobuf")["refused"], ids=lambda e: e["why"])
def test_messages_that_are_refused(entry: dict[str, Any]) -> None:
    data = bytes.fromhex(entry["message"])
    with pytest.raises(CodecError, match="x: payload"):
        Chain([Protobuf()], "x").decode(data, 1, np.array([len(data)]), len(data))


def test_a_whole_chunk_file() -> None:
    vector = vectors("chunkfile")
    data = bytes.fromhex("".join(vector["file"]))
    for name, value in vector["fields"].items():
        offset, size = FIELDS[name]
        raw = data[offset : offset + size]
        if isinstance(value, int):
            assert int.from_bytes(raw, "little") == value, name
        elif name in ("magic", "dataset id"):
            assert raw.hex() == value
        else:
            assert raw.rstrip(b"\0").decode() == value, name
    assert set(vector["fields"]) == set(FIELDS)
    header, column = cells.decode_cell(data, "x")
    assert isinstance(column, Column)
    assert [record.decode() for record in column] == vector["records"]
    made = chunkfile.frame(
        header, chunkfile.pack_index(column.lengths, header.index_width), Base3().encode(column)
    )
    assert made == data
    assert (header.dataset_name, header.orientation) == ("probe-é", Orientation.READ)


def test_a_whole_manifest() -> None:
    vector = vectors("manifest")
    document = vector["document"]
    data = dump(document)
    found = Manifest.from_bytes(data, "x")
    assert found.to_bytes() == data
    VALIDATOR.validate(document)
    body = {name: value for name, value in document.items() if name != "checksum"}
    assert dump(body) == vector["checked"].encode("utf-8")
    assert vector["checksum"] == document["checksum"]
    assert found.columns["duplicates"] == ColumnSpec(RecordType.NUMBER, [], "duplicates~2", "|u1")
    assert Manifest.from_bytes(json.dumps(document, indent=1).encode(), "x") == found


def test_the_manifest_of_the_tests_fits_the_schema() -> None:
    VALIDATOR.validate(json.loads(full_manifest().to_bytes()))
