"""Write the golden datasets of this version of the format: once, never again.

    python -m tests.golden.make

What a folder holds is a promise: every later release reads it. A change of the format gets a folder of its own, a new
codec a dataset of its own; this script refuses to touch one that is there. The contents come from the lists below, not
from reading back.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from agd.batch import Alignments, AnyColumn, Column
from agd.codecs import rans
from agd.dataset import Dataset
from agd.draft import Draft, columns_of
from agd.manifest import VERSION, Chunk, ColumnSpec
from agd.types import CIGAR_OPERATIONS, NUMBER_DTYPES, Orientation, RecordType, Reference, SortOrder

HERE = Path(__file__).resolve().parent
FOLDER = HERE / f"v{VERSION}"

READS: list[tuple[str, str, str]] = [
    # metadata, bases, qualities
    ("r1/1 first pair", "ACGTNACGTACGTACGTACGTACGT", "IIIII!!!!!~~~~~#####IIIII"),
    ("r1/2\nr1/2 again", "TTTTTTTTTTTTTTTTTTTTT", "ABCDEFGHIJKLMNOPQRSTU"),
    ("r2/1", "acgtRYKM.-", "0123456789"), ("r2/2", "", ""), ("r3/1\ttab", "N", "!"),
    ("r3/2 é", "GATTACA" * 30, "J" * 210),
]  # fmt: skip

Entry = dict[str, Any] | None


def alignment(**changes: Any) -> Entry:
    """An unmapped read, changed."""
    return {
        "flag": 4, "reference": -1, "position": -1, "mapping_quality": 0, "mate_reference": -1, "mate_position": -1,
        "template_length": 0, "cigar": "", "tags": "",
    } | changes  # fmt: skip


RESULTS: list[Entry] = [
    alignment(
        flag=99, reference=0, position=100, mapping_quality=60, mate_reference=0, mate_position=200,
        template_length=121, cigar="20M5S", tags=b"NMC\0ASC\x14RGZg1\0".hex(),
    ),
    alignment(
        flag=147, reference=0, position=200, mapping_quality=60, mate_reference=0, mate_position=100,
        template_length=-121, cigar="10M1I10M", tags=b"NMC\1".hex(),
    ),
    alignment(
        flag=73, reference=1, position=0, mapping_quality=255, mate_reference=1, mate_position=0, cigar="3=1X2D6=",
    ),
    alignment(flag=133, reference=1, position=0, mate_reference=1, mate_position=0),
    None,
    alignment(flag=141),
]  # fmt: skip
SECONDARY: list[Entry] = [None, None, alignment(flag=329, reference=0, position=7, cigar="2H8M"), None]
DUPLICATES = [1, 1, 0, 0]
TAGS = [b"NMC\0", b"", b"XAZa b\0XBBs\2\0\0\0\1\0\xff\xff"]
CHAINS: dict[str, list[dict[str, Any]]] = {
    "plain": [], "zstd-1": [{"name": "zstd", "level": 1}], "zstd-19": [{"name": "zstd", "level": 19}],
    "gzip-6": [{"name": "gzip", "level": 6}],
    "gzip-0-zstd-3": [{"name": "gzip", "level": 0}, {"name": "zstd", "level": 3}],
}  # fmt: skip
NUMBERS = [0, 1, 0, 1, 1, 0, 1]


def alignments(entries: list[Entry]) -> Alignments:
    """Alignments as a column."""
    column = Alignments.null(len(entries))
    cigars: list[list[int]] = []
    tags: list[bytes] = []
    for i, entry in enumerate(entries):
        cigars.append(cigar((entry or {}).get("cigar", "")))
        tags.append(bytes.fromhex((entry or {}).get("tags", "")))
        for name in Alignments.FIXED:
            if entry is not None:
                getattr(column, name)[i] = entry[name]
    operations = np.array([n for run in cigars for n in run], np.uint32)
    valid = np.array([entry is not None for entry in entries])
    return column.replace(
        cigar=Column.from_lengths(operations, np.array([len(c) for c in cigars])), tags=Column.from_list(tags),
        valid=None if valid.all() else valid,
    )  # fmt: skip


def cigar(text: str) -> list[int]:
    """BAM operations of a CIGAR."""
    operations, length = [], ""
    for letter in text:
        if letter.isdigit():
            length += letter
        else:
            operations.append(int(length) << 4 | CIGAR_OPERATIONS.index(letter))
            length = ""
    return operations


def reads() -> tuple[Dataset, dict[str, Any]]:
    """Pairs from FASTQ, then aligned, then with marks of duplicates; the second chunk has none of the last two."""
    texts = list(zip(*READS, strict=True))
    columns: dict[str, list[bytes]] = dict(
        zip(("metadata", "bases", "qualities"), [[t.encode() for t in column] for column in texts], strict=True)
    )
    draft = Draft.create(
        FOLDER / "reads.agd", columns_of(["metadata", "bases", "qualities"]), {"operation": "golden"},
        orientation=Orientation.READ,
    )  # fmt: skip
    cuts = [(0, 4), (4, 6)]
    dataset = draft.commit(
        [
            Chunk(a, b - a, {n: draft.write(n, a, Column.from_list(c[a:b])) for n, c in columns.items()})
            for a, b in cuts
        ],
        names="fastq", pairing="interleaved", sort_order=SortOrder.UNSORTED,
        sources=({"path": "x_1.fastq", "format": "fastq"}, {"path": "x_2.fastq", "format": "fastq"}),
        steps=({"program": "agd import fastq", "version": "0.1.0", "command": "", "parameters": {}},),
        digest={"algorithm": "none"},
    )  # fmt: skip
    held: list[dict[str, Any]] = [{name: [r.decode("latin-1") for r in column] for name, column in columns.items()}]
    dataset = add(dataset, {"results": {0: alignments(RESULTS[:4]), 4: alignments(RESULTS[4:])},
                            "secondary0": {0: alignments(SECONDARY)}},
                  header="@HD\tVN:1.6\n@SQ\tSN:chr1\tLN:1000\n@SQ\tSN:chr2\tLN:7\n@CO\té\udcff\n",
                  references=(Reference("chr1", 1000, "d41d8cd98f00b204e9800998ecf8427e"),
                              Reference("chr2", 7)))  # fmt: skip
    held.append(held[0] | {"results": RESULTS, "secondary0": [*SECONDARY, None, None]})
    dataset = add(dataset, {"duplicates": {0: Column(np.array(DUPLICATES, np.uint8))}})
    marked = [entry and entry | {"flag": entry["flag"] | 1024 * mark} for entry, mark in
              zip(RESULTS, [*DUPLICATES, 0, 0], strict=True)]  # fmt: skip
    held.append(held[1] | {"duplicates": [*DUPLICATES, 0, 0], "results": marked})
    return dataset, {"generations": held}


def add(dataset: Dataset, columns: dict[str, dict[int, AnyColumn]], **fields: Any) -> Dataset:
    """Publish further columns."""
    draft = Draft.extend(dataset, columns_of(list(columns)), {"operation": "golden"})
    chunks = [
        Chunk(c.first, c.count, {n: draft.write(n, c.first, v[c.first]) for n, v in columns.items() if c.first in v})
        for c in dataset.chunks
    ]  # fmt: skip
    return draft.commit(chunks, **fields)


def types() -> tuple[Dataset, dict[str, Any]]:
    """Every record type by every chain, numbers of every type; lines of SAM."""
    specs: dict[str, ColumnSpec] = {}
    columns: dict[str, AnyColumn] = {}
    held: dict[str, Any] = {}
    tags = [*TAGS, b"", b"", b"", TAGS[0]]
    texts = [b"", b"a", b"ACGT" * 50, b"\0\xff", b"", b"N", b"acgtRY"]
    lines = [*RESULTS, alignment(flag=0, reference=0, position=3, cigar="5M")]
    for chain, codecs in CHAINS.items():
        for kind, first, column, plain in (
            (RecordType.TEXT, [], Column.from_list(texts), [t.decode("latin-1") for t in texts]),
            (RecordType.BASES, [{"name": "base3"}], Column.from_list(texts), [t.decode("latin-1") for t in texts]),
            (RecordType.STRUCTURED, [{"name": "protobuf"}], alignments(lines), lines),
            (RecordType.AUX, [], Column.from_list(tags), [t.decode("latin-1") for t in tags]),
        ):
            name = f"{kind.name.lower()}-{chain}"
            specs[name] = ColumnSpec(kind, [*first, *codecs], name)
            columns[name], held[name] = column, plain
    for dtype in NUMBER_DTYPES:
        name = f"number-{dtype[1:]}"
        specs[name] = ColumnSpec(RecordType.NUMBER, [{"name": "zstd", "level": 1}], name, dtype)
        columns[name], held[name] = Column(np.array(NUMBERS).astype(dtype)), NUMBERS
    draft = Draft.create(
        FOLDER / "types.agd", specs, {"operation": "golden"}, orientation=Orientation.SEQ, name="every_type"
    )
    cells = {name: draft.write(name, 0, column) for name, column in columns.items()}
    return draft.commit([Chunk(0, len(NUMBERS), cells)], names="sam"), {"generations": [held]}


STREAMS: dict[str, tuple[RecordType, list[dict[str, Any]]]] = {
    "text-rans": (RecordType.TEXT, [{"name": "rans"}]),
    "bases-base2": (RecordType.BASES, [{"name": "base2", "level": 1}]),
    "bases-base2-9": (RecordType.BASES, [{"name": "base2", "level": 9}]),
    "structured-alignments": (RecordType.STRUCTURED, [{"name": "alignments", "level": 1}]),
    "structured-alignments-9": (RecordType.STRUCTURED, [{"name": "alignments", "level": 9}]),
    "aux-tags": (RecordType.AUX, [{"name": "tags", "level": 1}]),
    "aux-tags-9": (RecordType.AUX, [{"name": "tags", "level": 9}]),
}  # fmt: skip


def streams() -> tuple[Dataset, dict[str, Any]]:
    """The codecs that take records apart, over enough records to have something to take apart."""
    texts = [t * 9 for t in ("IIIIIHHHGGF#", "IIIIIIIIIIII", "", "!\xff~")] * 16
    bases = ["ACGTTGCA" * 12 + "N" * (i % 7) + "acgtRY"[: i % 5] for i in range(64)]
    pairs = [line for i in range(32) for line in _pair(i)]
    tags = [TAGS[i % 3] + (b"ZZi" + i.to_bytes(4, "little") if i % 5 else b"") for i in range(64)]
    held: dict[str, Any] = {}
    columns: dict[str, AnyColumn] = {}
    for name, (kind, _) in STREAMS.items():
        if kind is RecordType.STRUCTURED:
            held[name], columns[name] = pairs, alignments(pairs)
            continue
        records = {RecordType.TEXT: texts, RecordType.BASES: bases}.get(kind) or [t.decode("latin-1") for t in tags]
        held[name], columns[name] = records, Column.from_list([r.encode("latin-1") for r in records])
    specs = {name: ColumnSpec(kind, chain, name) for name, (kind, chain) in STREAMS.items()}
    draft = Draft.create(FOLDER / "streams.agd", specs, {"operation": "golden"}, orientation=Orientation.READ)
    cells = {name: draft.write(name, 0, column) for name, column in columns.items()}
    for name in STREAMS:
        if name.endswith("-9"):
            held[name] = {"same as": name.removesuffix("-9")}
    return draft.commit([Chunk(0, 64, cells)]), {"generations": [held]}


def _pair(i: int) -> list[Entry]:
    """Mates that name each other, most of them as an aligner has them; some null, unmapped or supplementary."""
    if i % 10 == 9:
        return [RESULTS[i % 6], None if i % 20 == 9 else alignment(flag=2113, reference=1, position=i, cigar="9H30M")]
    left, right = 1000 + 37 * i % 500, 1200 + 37 * i % 500 + i % 3
    return [
        alignment(
            flag=99, reference=0, position=left, mapping_quality=60, mate_reference=0, mate_position=right,
            template_length=right - left + 100, cigar="100M" if i % 4 else "3S97M", tags=b"NMC\1MDZ10A5\0".hex(),
        ),
        alignment(
            flag=147, reference=0, position=right, mapping_quality=i % 61, mate_reference=0, mate_position=left,
            template_length=left - right - 100, cigar="100M", tags=b"NMC\0ASc\x64".hex(),
        ),
    ]  # fmt: skip


def dinucleotides() -> tuple[Dataset, dict[str, Any]]:
    """Bases that go in pairs, and too few to do so."""
    # Each third letter is one of the two that may follow the one before: no CG, and nothing that is there twice.
    letters = [
        ["AC", "CT", "GA", "TG"][i % 4][i * i * 7919 % 8191 % 2] + "CAGT"[i * 7907 % 8209 % 4] for i in range(4096)
    ]  # fmt: skip
    texts = ["".join(letters[i * 64 : i * 64 + 60]) for i in range(64)]
    records = [text + "N" * (i % 7) + "acgtRY"[: i % 5] for i, text in enumerate(texts)]
    held, columns = {"bases": records}, columns_of(["bases"])
    columns["bases"] = ColumnSpec(RecordType.BASES, [{"name": "dinucleotides", "level": 3}], "bases")
    draft = Draft.create(FOLDER / "dinucleotides.agd", columns, {"operation": "golden"}, orientation=Orientation.READ)
    chunks = [
        Chunk(first, stop - first, {"bases": draft.write(
            "bases", first, Column.from_list([r.encode("latin-1") for r in records[first:stop]])
        )})
        for first, stop in ((0, 62), (62, 64))
    ]  # fmt: skip
    return draft.commit(chunks), {"generations": [held]}


def strand() -> tuple[Dataset, dict[str, Any]]:
    """Qualities as they were read, of alignments on both strands."""
    pairs = [line for i in range(10) for line in _pair(i)]
    qualities = [chr(33 + i % 60) * 20 + "HGFEDCBA" * (i % 9) for i in range(20)]
    held: dict[str, Any] = {"qualities": qualities, "results": pairs}
    specs = columns_of(["results"])
    specs["qualities"] = ColumnSpec(RecordType.TEXT, [{"name": "strand"}, {"name": "fqz"}], "qualities")
    draft = Draft.create(FOLDER / "strand.agd", specs, {"operation": "golden"}, orientation=Orientation.SEQ)
    results = alignments(pairs)
    cells = {"results": draft.write("results", 0, results)}
    # A codec that needs another column is given it by who has it: here, all that it asks for.
    context = _Known(results)
    data, cells["qualities"] = draft.encode(
        "qualities", 0, Column.from_list([q.encode("latin-1") for q in qualities]), context=context
    )
    draft.store("qualities", 0, data)
    return draft.commit([Chunk(0, 20, cells)]), {"generations": [held]}


def wide() -> tuple[Dataset, dict[str, Any]]:
    """Streams of the codec ``rans`` of 64 lanes, which its writer makes of long ones only."""
    texts = [t * 9 for t in ("IIIIIHHHGGF#", "IIIIIIIIIIII", "", "!\xff~", "ABCDEFGHIJKLMNOPQRST")] * 4
    fours = ["".join("F:,#"[i * j * 7919 % 8191 % 7 % 4] for j in range(70)) for i in range(20)]
    held = {"text": texts, "fours": fours}
    specs = {name: ColumnSpec(RecordType.TEXT, [{"name": "rans", "version": 2}], name) for name in held}
    draft = Draft.create(FOLDER / "wide.agd", specs, {"operation": "golden"}, orientation=Orientation.READ)
    long, rans.LONG = rans.LONG, 256
    columns = {name: Column.from_list([r.encode("latin-1") for r in records]) for name, records in held.items()}
    cells = {name: draft.write(name, 0, column) for name, column in columns.items()}
    rans.LONG = long
    return draft.commit([Chunk(0, 20, cells)]), {"generations": [held]}


class _Known:
    """The context of one column, which is known."""

    orientation = Orientation.SEQ

    def __init__(self, results: Alignments) -> None:
        self._results = results

    def column(self, name: str) -> AnyColumn:
        assert name == "results"
        return self._results

    def genome(self) -> tuple[Any, Any]:
        raise AssertionError("there is no reference")


def empty() -> tuple[Dataset, dict[str, Any]]:
    """A dataset without records."""
    draft = Draft.create(
        FOLDER / "empty.agd", columns_of(["bases", "results"]), {"operation": "golden"}, orientation=Orientation.READ
    )
    return draft.commit([]), {"generations": [{"bases": [], "results": []}]}


def main() -> None:
    """Write the datasets that are not there, and what they must read as."""
    FOLDER.mkdir(exist_ok=True)
    made = (reads, types, empty, streams, dinucleotides, strand, wide)
    left = [make for make in made if not (FOLDER / f"{make.__name__}.agd").exists()]
    if not left:
        sys.exit(f"all datasets of {FOLDER.name} are there: they are never written again")
    for make in left:
        dataset, expected = make()
        files = sorted(Path(dataset.url).iterdir())
        sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
        document = {"records": len(dataset), "files": sums, **expected}
        (FOLDER / f"{make.__name__}.json").write_text(json.dumps(document) + "\n", "utf-8")


if __name__ == "__main__":
    main()
