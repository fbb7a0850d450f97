"""SAM headers, with pysam and samtools as the oracles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd import samheader
from agd.errors import UsageError
from agd.types import Reference, SortOrder
from tests.support.samtools import samtools

#: The header of the example in section 1.1 of the SAM specification, and the kinds of lines of section 1.3.
SPEC = "@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:ref\tLN:45\n"
RICH = (
    "@HD\tVN:1.6\tSO:unsorted\tGO:query\n"
    "@SQ\tSN:chr1\tLN:248956422\tM5:6aef897c3d6ff0c78aff06ac189178dd\tAS:GRCh38\tUR:file:///x.fa\n"
    "@SQ\tSN:chr2\tLN:242193529\tAN:2,NC_2\n"
    "@RG\tID:r1\tSM:NA12878\tPL:ILLUMINA\tDS:a: b\n"
    "@PG\tID:bwa\tPN:bwa\tVN:0.7.17\tCL:bwa mem ref.fa x.fq\n"
    "@CO\tfree text\twith a tab, é\n"
)


def as_dict(text: str) -> dict[str, Any]:
    found: dict[str, Any] = pysam.AlignmentHeader.from_text(text).to_dict()
    return found


@pytest.mark.parametrize("text", [SPEC, RICH, "", "@HD\tVN:1.6\n"])
def test_references_are_those_of_pysam(text: str) -> None:
    oracle = pysam.AlignmentHeader.from_text(text)
    found = samheader.references_of(text)
    assert [(r.name, r.length) for r in found] == list(zip(oracle.references, oracle.lengths, strict=True))
    assert [r.md5 for r in found] == [line.get("M5", "") for line in oracle.to_dict().get("SQ", [])]


@pytest.mark.parametrize("kind", ["SQ", "RG", "PG"])
def test_lines_are_those_of_pysam(kind: str) -> None:
    expected = [{"": kind} | {k: str(v) for k, v in line.items()} for line in as_dict(RICH)[kind]]
    assert samheader.lines_of(RICH, kind) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("@SQ\tLN:5\n", "without a valid SN and LN"), ("@SQ\tSN:a\n", "without a valid SN and LN"),
        ("@SQ\tSN:a\tLN:x\n", "without a valid SN and LN"), ("@SQ\tSN:a\tLN:-1\n", "without a valid SN and LN"),
        ("@SQ\tSN:a\tLN:\n", "without a valid SN and LN"), ("@SQ\tSN:\tLN:5\n", "without a valid SN and LN"),
        ("@SQ\tSN:a\tLN:5\n@SQ\tSN:a\tLN:6\n", "two @SQ lines are named a"),
    ],
)  # fmt: skip
def test_wrong_references_are_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        samheader.references_of(text)


def test_md5_is_lower_case() -> None:
    assert samheader.references_of("@SQ\tSN:a\tLN:5\tM5:ABCDEF\n")[0].md5 == "abcdef"


def test_comments_are_no_references() -> None:
    assert samheader.references_of("@CO\t@SQ\tSN:a\tLN:5\n@SQX\tSN:b\tLN:1\n") == ()


# Read groups


@pytest.mark.parametrize("text", [r"@RG\tID:s1\tSM:sample", "@RG\tID:s1\tSM:sample"])
def test_read_groups_as_on_a_command_line(text: str) -> None:
    assert samheader.read_group_line(text) == "@RG\tID:s1\tSM:sample"


@pytest.mark.parametrize("text", ["", "ID:s1", r"@RG\tSM:x", r"@RG\tID:", r"@PG\tID:x", "@RG\tID:x\n@RG\tID:y"])
def test_what_is_no_read_group(text: str) -> None:
    with pytest.raises(UsageError, match="not a read group line") as caught:
        samheader.read_group_line(text)
    assert "@RG" in caught.value.remedy


# Changes


def test_with_references_leaves_the_rest() -> None:
    new = [Reference("x", 5), Reference("y", 6, "f" * 32)]
    text = samheader.with_references(RICH, new)
    assert samheader.references_of(text) == tuple(new)
    before, after = as_dict(RICH), as_dict(text)
    assert after.pop("SQ") == [{"SN": "x", "LN": 5}, {"SN": "y", "LN": 6, "M5": "f" * 32}]
    before.pop("SQ")
    assert after == before
    assert text.startswith("@HD\tVN:1.6\tSO:unsorted\tGO:query\n@SQ\tSN:x\tLN:5\n")
    assert samheader.with_references("", new) == "@SQ\tSN:x\tLN:5\n@SQ\tSN:y\tLN:6\tM5:" + "f" * 32 + "\n"


def test_a_line_is_added_once() -> None:
    line = "@RG\tID:r2\tSM:x"
    once = samheader.with_line(RICH, line)
    assert once == RICH + line + "\n"
    assert samheader.with_line(once, line) == once


def test_a_line_takes_the_place_of_one_of_its_id() -> None:
    text = samheader.with_line(RICH, "@RG\tID:r1\tSM:other")
    assert as_dict(text)["RG"] == [{"ID": "r1", "SM": "other"}]
    assert as_dict(text)["CO"] == as_dict(RICH)["CO"]
    text = samheader.with_line(RICH, "@SQ\tSN:chr2\tLN:7")
    assert [r.name for r in samheader.references_of(text)] == ["chr1", "chr2"]
    assert samheader.references_of(text)[0].length == 248956422


def test_comments_are_never_lost() -> None:
    text = samheader.with_line(RICH, "@CO\tanother")
    assert as_dict(text)["CO"] == ["free text\twith a tab, é", "another"]
    odd = "@CO\tID:r1\n"
    assert samheader.with_line(odd, "@RG\tID:r1") == odd + "@RG\tID:r1\n"


ORDERS = {
    SortOrder.COORDINATE: [], SortOrder.QUERYNAME: ["-n"], SortOrder.QUERYNAME_LEXICOGRAPHIC: ["-N"],
    SortOrder.TEMPLATE_COORDINATE: ["--template-coordinate"],
}  # fmt: skip


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("head", ["", "@HD\tVN:1.5\tSO:unknown\n", "@HD\tVN:1.5\tXX:y\tSO:coordinate\tGO:query\n"])
def test_the_sort_order_is_written_as_samtools_does(tmp_path: Path, order: SortOrder, head: str) -> None:
    text = head + "@SQ\tSN:a\tLN:5\n@CO\tx\n"
    (tmp_path / "in.sam").write_text(text)
    samtools("sort", *ORDERS[order], "--no-PG", "-O", "sam", "-o", f"{tmp_path}/out.sam", f"{tmp_path}/in.sam")
    oracle = (tmp_path / "out.sam").read_text()
    found = samheader.with_sort_order(text, order)
    expected, mine = as_dict(oracle), as_dict(found)
    expected["HD"].pop("VN")
    assert mine["HD"].pop("VN") == ("1.5" if head else "1.6")
    assert mine == expected
    assert samheader.sort_order_of(oracle) is order
    assert samheader.sort_order_of(found) is order


@given(st.sampled_from(SortOrder), st.sampled_from(SortOrder))
def test_the_order_that_is_set_last_counts(first: SortOrder, second: SortOrder) -> None:
    text = samheader.with_sort_order(samheader.with_sort_order(RICH, first), second)
    assert samheader.sort_order_of(text) is second
    assert text == samheader.with_sort_order(RICH, second)
    assert text.count("@HD") == 1


@pytest.mark.parametrize(
    ("head", "order"),
    [
        ("", SortOrder.UNKNOWN), ("@HD\tVN:1.6", SortOrder.UNKNOWN), ("@HD\tVN:1.6\tSO:unsorted", SortOrder.UNSORTED),
        ("@HD\tVN:1.6\tSO:coordinate", SortOrder.COORDINATE), ("@HD\tVN:1.6\tSO:queryname", SortOrder.QUERYNAME),
        ("@HD\tVN:1.6\tSO:coordinate\tSS:coordinate:mine", SortOrder.COORDINATE),
        ("@HD\tVN:1.6\tSO:queryname\tSS:queryname:lexicographical", SortOrder.QUERYNAME_LEXICOGRAPHIC),
        ("@HD\tVN:1.6\tSO:sideways", SortOrder.UNKNOWN), ("@CO\t@HD\tSO:coordinate", SortOrder.UNKNOWN),
    ],
)  # fmt: skip
def test_the_order_that_a_header_declares(head: str, order: SortOrder) -> None:
    assert samheader.sort_order_of(head + "\n@SQ\tSN:a\tLN:5\n") is order


# Provenance


PROGRAMS = [
    "", "@PG\tID:bwa\tPN:bwa\n", "@PG\tID:samtools\tPN:samtools\n",
    "@PG\tID:bwa\tPN:bwa\n@PG\tID:samtools\tPN:samtools\tPP:bwa\n",
    "@PG\tID:samtools\tPN:samtools\n@PG\tID:samtools.1\tPN:samtools\tPP:samtools\n",
    "@PG\tID:a\tPN:x\tPP:b\n@PG\tID:b\tPN:x\tPP:a\n",
]  # fmt: skip


@pytest.mark.parametrize("programs", PROGRAMS)
def test_programs_are_chained_as_samtools_does(tmp_path: Path, programs: str) -> None:
    text = "@HD\tVN:1.6\n" + programs
    (tmp_path / "in.sam").write_text(text)
    oracle = as_dict(pysam.samtools.view("-H", str(tmp_path / "in.sam")))["PG"][-1]
    found = samheader.with_program(text, "samtools", oracle["VN"], oracle["CL"])
    assert found.startswith(text)
    assert as_dict(found)["PG"][-1] == oracle
    assert len(as_dict(found)["PG"]) == programs.count("@PG") + 1


def test_every_chain_goes_on() -> None:
    text = "@PG\tID:a\tPN:a\n@PG\tID:b\tPN:b\n"
    added = as_dict(samheader.with_program(text, "agd", "1", ""))["PG"][2:]
    assert [(p["ID"], p["PP"]) for p in added] == [("agd", "a"), ("agd.1", "b")]


def test_steps_become_programs_once() -> None:
    steps = [
        {"program": "agd import fastq", "version": "0.1.0", "command": "agd import fastq a b -o x.agd"},
        {"program": "agd align", "version": "0.1.0", "command": "", "parameters": {}},
        {"program": "bwa", "version": "1", "in_header": True},
    ]
    found = as_dict(samheader.with_steps("@HD\tVN:1.6\n", steps))["PG"]
    assert [p["ID"] for p in found] == ["agd-import-fastq", "agd-align"]
    assert found[1]["PP"] == "agd-import-fastq"
    assert "CL" not in found[1]


def test_a_command_cannot_break_the_header() -> None:
    text = samheader.with_program("@HD\tVN:1.6", "agd", "1", "agd view\n@SQ\tSN:evil\tLN:1")
    assert samheader.references_of(text) == ()
    assert text == "@HD\tVN:1.6\n@PG\tID:agd\tPN:agd\tVN:1\tCL:agd view @SQ SN:evil LN:1\n"


@given(st.lists(st.text(st.characters(categories=["L", "N", "P", "Zs", "Cc"]), max_size=20), max_size=5))
def test_no_text_makes_the_reader_fail(lines: list[str]) -> None:
    text = "\n".join(lines)
    samheader.sort_order_of(text)
    for kind in ("SQ", "RG", "PG"):
        samheader.lines_of(text, kind)
    samheader.with_steps(text, [{"program": "x", "version": "1"}])
