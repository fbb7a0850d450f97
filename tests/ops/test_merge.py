"""Merging sorted datasets: records and order of ``samtools merge``, headers joined without its chance."""

from __future__ import annotations

import re
from pathlib import Path

import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st

import agd
from agd.batch import Column
from agd.dataset import Dataset
from agd.errors import UsageError, VerificationError
from agd.ops.merge import merge
from agd.ops.merge_headers import JoinedHeader
from agd.ops.verify import verify
from agd.run import SerialRunner, ThreadRunner
from agd.samheader import lines_of, references_of, with_references
from agd.tags import rename_values
from tests.ops.test_sort import ORDERS, random_sam
from tests.support.sam_dataset import to_sam
from tests.support.samtools import samtools

#: References in another order, one more, one fewer; a read group that differs, one that does not, and one of its own.
HEADERS = [
    ["@SQ\tSN:c2\tLN:5000", "@SQ\tSN:c1\tLN:3000", "@RG\tID:g1\tLB:lib2\tSM:s", "@RG\tID:g2\tLB:lib1\tSM:s\tPG:p2",
     "@PG\tID:p1\tPN:bwa\tVN:1", "@PG\tID:p2\tPN:x\tPP:p1", "@CO\tone", "@CO\tboth"],
    ["@SQ\tSN:c0\tLN:400", "@SQ\tSN:c1\tLN:3000", "@SQ\tSN:c2\tLN:5000", "@RG\tSM:s\tID:g1\tLB:lib2",
     "@RG\tID:g2\tLB:lib9\tSM:s\tPG:p2", "@PG\tID:p1\tPN:bwa\tVN:2", "@PG\tID:p2\tPN:x\tPP:p1", "@CO\tboth"],
    ["@SQ\tSN:c1\tLN:3000", "@SQ\tSN:c2\tLN:5000", "@RG\tID:g2\tLB:lib9\tSM:s\tPG:p2", "@RG\tID:g3\tSM:s",
     "@PG\tID:p1\tPN:bwa\tVN:2", "@PG\tID:p2\tPN:x\tPP:p1"],
]  # fmt: skip


def records(text: str) -> list[list[str]]:
    """Lines without the suffixes of IDs, tags in the order of their names (samtools puts RG and PG last)."""
    found = []
    for line in text.splitlines():
        if not line.startswith("@"):
            fields = re.sub(r"(\t(?:RG|PG):Z:\w+)-\w+", r"\1", line).split("\t")
            found.append([*fields[:11], *sorted(fields[11:])])
    return found


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[Dataset]:
    """Datasets that no one has sorted, imported from SAM with headers that differ."""
    found = []
    for number, header in enumerate(HEADERS):
        folder = tmp_path_factory.mktemp("merge")
        body = [x for x in random_sam(300, number + 1).splitlines() if not x.startswith("@")]
        body = [x + f"\tPG:Z:p{i % 3}" for i, x in enumerate(body)]
        # samtools drops the tag of a read group that the header does not have.
        unknown = "|".join({"g1", "g2", "g3", "none"} - {x["ID"] for x in lines_of("\n".join(header), "RG")})
        body = [re.sub(rf"\tRG:Z:({unknown})\b", "", x) for x in body]
        body = [x.replace("\tPG:Z:p0", "") for x in body]
        (folder / "in.sam").write_text("\n".join(["@HD\tVN:1.6\tSO:unsorted", *header, *body]) + "\n")
        agd.import_sam(str(folder / "in.sam"), str(folder / "in.agd"), chunk_records=70)
        found.append(agd.open(str(folder / "in.agd")))
    return found


@pytest.mark.parametrize("by", ORDERS)
def test_records_and_order_are_those_of_samtools(inputs: list[Dataset], by: str, tmp_path: Path) -> None:
    parts = []
    for i, dataset in enumerate(inputs):
        agd.sort(dataset, tmp_path / f"{i}.agd", by=by, chunk_records=60 + i)
        parts.append(agd.open(str(tmp_path / f"{i}.agd")))
        text = to_sam(parts[-1])
        if not by.startswith("queryname"):
            # Where references are in another order, samtools loses the order of the records: give it the final one.
            header = JoinedHeader.of([d.manifest for d in inputs], ["", "", ""]).text
            (tmp_path / "text.sam").write_text(with_references(text, references_of(header)))
            samtools("sort", *ORDERS[by], "-O", "sam", "-o", str(tmp_path / f"{i}.sam"), str(tmp_path / "text.sam"))
        else:
            (tmp_path / f"{i}.sam").write_text(text)
    report = merge(parts, tmp_path / "m.agd", chunk_records=50, runner=SerialRunner())
    assert (report.by, report.records) == (by, 900)
    merged = agd.open(str(tmp_path / "m.agd"))
    out = str(tmp_path / "m.sam")
    samtools("merge", *ORDERS[by], "-O", "sam", "-o", out, *(str(tmp_path / f"{i}.sam") for i in range(3)))
    expected = Path(out).read_text()
    found = to_sam(merged)
    assert records(found) == records(expected)
    assert [x for x in found.splitlines() if x[:3] in ("@SQ", "@CO")] == [
        x for x in expected.splitlines() if x[:3] in ("@SQ", "@CO")
    ]
    # The same again with other workers, and from runs on disk.
    with ThreadRunner(2) as runner:
        merge(parts, tmp_path / "again.agd", chunk_records=50, runner=runner)
    assert to_sam(agd.open(str(tmp_path / "again.agd"))) == found
    assert verify(merged, deep=True).problems == ()


def test_headers(inputs: list[Dataset]) -> None:
    header = JoinedHeader.of([d.manifest for d in inputs], ["a", "b", "c"])
    assert [(r.name, r.length) for r in header.references] == [("c2", 5000), ("c1", 3000), ("c0", 400)]
    assert [t.references.tolist() for t in header.translations] == [[0, 1, -1], [2, 1, 0, -1], [1, 0, -1]]
    groups = {g["ID"]: g for g in lines_of(header.text, "RG")}
    assert list(groups) == ["g1", "g2", "g2-1", "g3"]
    assert groups["g2-1"]["LB"] == "lib9"
    assert groups["g2-1"]["PG"] == "p2-1"
    programs = {p["ID"]: p for p in lines_of(header.text, "PG")}
    assert programs["p1-1"]["VN"] == "2"
    assert programs["p2-1"]["PP"] == "p1-1"
    # The third dataset has what the second one has: nothing is there twice.
    assert header.translations[2].tags["RG"] == {b"g2": b"g2-1"}
    assert len([p for p in programs if p.startswith("p")]) == 4
    assert header.text.count("@CO\tboth") == 2


def test_digest_is_that_of_the_records(inputs: list[Dataset], tmp_path: Path) -> None:
    for i, dataset in enumerate(inputs):
        agd.sort(dataset, tmp_path / f"{i}.agd")
    parts = [agd.open(str(tmp_path / f"{i}.agd")) for i in range(3)]
    agd.merge(parts, tmp_path / "m.agd")
    merged = agd.open(str(tmp_path / "m.agd"))
    agd.export_sam(merged, str(tmp_path / "m.sam"))
    agd.import_sam(str(tmp_path / "m.sam"), str(tmp_path / "back.agd"))
    assert agd.open(str(tmp_path / "back.agd")).manifest.digest == merged.manifest.digest
    # Records that are not those that were imported are no part of a new digest.
    cells = sorted((tmp_path / "1.agd").glob("1-*.metadata*"))
    for cell, other in zip(cells, sorted((tmp_path / "0.agd").glob("0-*.metadata*")), strict=True):
        assert cell.name[1:] == other.name[1:]
    bad = agd.open(str(tmp_path / "1.agd"))
    digest = {**bad.manifest.digest, "records": {**bad.manifest.digest["records"], "name": "00000001"}}
    object.__setattr__(bad.manifest, "digest", digest)
    with pytest.raises(VerificationError, match="name"):
        agd.merge([parts[0], bad], tmp_path / "x.agd")
    assert not (tmp_path / "x.agd").exists()


@given(
    st.lists(st.lists(st.sampled_from(["RGZa", "RGZab", "RGZ", "RGA", "NMC", "PGZa", "XXBc"]), max_size=4), max_size=9),
    st.dictionaries(st.sampled_from([b"a", b"ab", b"", b"zz"]), st.sampled_from([b"", b"a", b"longer"])),
)
def test_values_of_a_tag_are_exchanged_in_place(kinds: list[list[str]], names: dict[bytes, bytes]) -> None:
    fields = {"RGZa": b"RGZa\0", "RGZab": b"RGZab\0", "RGZ": b"RGZ\0", "RGA": b"RGAa", "NMC": b"NMC\x00",
              "PGZa": b"PGZa\0", "XXBc": b"XXBc\x02\0\0\0RG"}  # fmt: skip
    before, after = [], []
    for record in kinds:
        own = list(dict.fromkeys(record, None))
        own = [k for i, k in enumerate(own) if k[:2] not in {other[:2] for other in own[:i]}]
        before.append(b"".join(fields[k] for k in own))
        after.append(b"".join(
            b"RGZ" + names.get(fields[k][3:-1], fields[k][3:-1]) + b"\0" if k[:3] == "RGZ" else fields[k] for k in own
        ))  # fmt: skip
    assert list(rename_values(Column.from_list(before), "RG", names)) == after
    padded = Column.from_list([b"NMC\x00", *before]).slice(1, len(before) + 1)
    assert list(rename_values(padded, "RG", names)) == after


def sorted_sam(path: Path, head: list[str], order: str = "coordinate", extra: str = "") -> Dataset:
    path.with_suffix(".sam").write_text(
        "\n".join([f"@HD\tVN:1.6\tSO:{order}", *head, f"r\t0\tc1\t5\t9\t4M\t*\t0\t0\tACGT\tIIII{extra}"]) + "\n"
    )
    agd.import_sam(str(path.with_suffix(".sam")), str(path))
    return agd.open(str(path))


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    one = sorted_sam(tmp_path / "a.agd", ["@SQ\tSN:c1\tLN:50\tM5:" + "a" * 32])
    for name, head, order, message in (
        ("b", ["@SQ\tSN:c1\tLN:51"], "coordinate", "LN 50 in .*a.agd and 51 in .*b.agd"),
        ("c", ["@SQ\tSN:c1\tLN:50\tM5:" + "b" * 32], "coordinate", "M5 a+ in .*a.agd and b+ in"),
        ("d", ["@SQ\tSN:c1\tLN:50"], "queryname", r"a.agd \(coordinate\), .*d.agd \(queryname\)"),
        ("e", ["@SQ\tSN:c1\tLN:50"], "unsorted", r"e.agd \(not sorted\)"),
    ):
        with pytest.raises(UsageError, match=message):
            merge([one, sorted_sam(tmp_path / f"{name}.agd", head, order)], tmp_path / "x.agd")
        assert not (tmp_path / "x.agd").exists()
    with pytest.raises(UsageError, match="is read"):
        merge([one], tmp_path / "a.agd", overwrite=True)
    with pytest.raises(UsageError, match="nothing to merge"):
        merge([], tmp_path / "x.agd")


def test_marks_of_duplicates_of_some_are_those_of_all(tmp_path: Path) -> None:
    head = ["@SQ\tSN:c1\tLN:50"]
    one = sorted_sam(tmp_path / "a.agd", head)
    (tmp_path / "b.sam").write_text(
        "@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:c1\tLN:50\nq\t1024\tc1\t5\t9\t4M\t*\t0\t0\tACGT\tIIII\n"
        "q2\t0\tc1\t6\t9\t4M\t*\t0\t0\tACGT\tIIII\n"
    )
    agd.import_sam(str(tmp_path / "b.sam"), str(tmp_path / "b.agd"))
    agd.dedup(one)
    merge([agd.open(one.url), agd.open(str(tmp_path / "b.agd"))], tmp_path / "m.agd")
    merged = agd.open(str(tmp_path / "m.agd"))
    assert "duplicates" in merged.columns
    assert [int(x.split("\t")[1]) for x in to_sam(merged).splitlines() if x[0] != "@"] == [0, 1024, 0]


def test_datasets_from_fastq_and_from_sam(tmp_path: Path) -> None:
    (tmp_path / "r.fq").write_text("@x 1:N:0\nACGT\n+\nIIII\n@y/1\nACGT\n+\nIIII\n")
    agd.import_fastq(str(tmp_path / "r.fq"), output=str(tmp_path / "r.agd"))
    agd.sort(agd.open(str(tmp_path / "r.agd")), tmp_path / "s.agd")
    reads = agd.open(str(tmp_path / "s.agd"))
    other = sorted_sam(tmp_path / "a.agd", ["@SQ\tSN:c1\tLN:50"])
    with pytest.raises(UsageError, match="columns: qualities"):
        merge([reads, agd.drop_column(other, "qualities")], tmp_path / "x.agd")
    merge([reads, agd.open(f"{other.url}@1")], tmp_path / "m.agd")
    names = [x.split("\t")[0] for x in to_sam(agd.open(str(tmp_path / "m.agd"))).splitlines() if x[0] != "@"]
    assert names == ["r", "x", "y/1"]
    assert verify(agd.open(str(tmp_path / "m.agd")), deep=True).problems == ()


def test_real_lanes(data: Path, tmp_path: Path) -> None:
    bam = next((data / "human_na12878_chr22_dups").glob("*.bam"))
    halves = []
    for name in ("a", "b"):
        part = str(tmp_path / f"{name}.bam")
        ends = "[02468]$" if name == "a" else "[13579]$"
        samtools("view", "-b", "-e", f'qname =~ "{ends}"', "-o", part, str(bam))
        agd.import_bam(part, str(tmp_path / f"{name}.agd"))
        halves.append(part)
    merge([agd.open(str(tmp_path / f"{name}.agd")) for name in "ab"], tmp_path / "m.agd", memory=600 << 20)
    samtools("merge", "-c", "-p", "-o", str(tmp_path / "m.bam"), *halves)
    agd.export_sam(agd.open(str(tmp_path / "m.agd")), str(tmp_path / "m.sam"))
    found = records((tmp_path / "m.sam").read_text())
    assert found == records(pysam.samtools.view(str(tmp_path / "m.bam")))
    assert len(found) == 50531
