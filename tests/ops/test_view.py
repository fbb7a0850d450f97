"""Selecting records by conditions, against the samtools that pysam carries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.batch import Alignments, Batch
from agd.cli import run
from agd.convert.bam_in import import_bam
from agd.convert.sam_fields import FIELDS
from agd.convert.sam_in import import_sam
from agd.convert.sam_out import count_records, export_sam
from agd.dataset import Dataset
from agd.errors import UsageError
from agd.ops.edit import drop_column
from agd.ops.expression import Expression
from agd.ops.select import Selection, parse_region

CHR22 = "human_na12878_chr22_dups/NA12878.chr22.s.bam"


@pytest.fixture(scope="module")
def dataset(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    url = str(tmp_path_factory.mktemp("view") / "s.agd")
    import_bam(str(data / CHR22), url, chunk_records=5_000)
    return Dataset.open(url)


@pytest.mark.data
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("mapq >= 30 and [NM] < 3", "mapq >= 30 && [NM] < 3"), ("flag & 0x400", "flag & 0x400"),
        ("!(flag & 4) && [NM] > 2 || tlen < -500", "!(flag & 4) && [NM] > 2 || tlen < -500"),
        ("not [SA]", "!exists([SA])"), ("[SA]", "exists([SA])"),
        ("100 < length <= 150", "length(seq) > 100 && length(seq) <= 150"),
        ('rname == "chr22" and pos > 16700000', 'rname == "chr22" && pos > 16700000'),
        ('rnext != "chr22"', 'mrname != "chr22"'),
        ("((pos + 5 * mapq) & 7) == 3", "((pos + 5 * mapq) & 7) == 3"), ("endpos - pos > 150", "endpos - pos > 150"),
        ("[MQ] == 60 and [AS] >= 140", "[MQ] == 60 && [AS] >= 140"), ("rlen < 140", "rlen < 140"),
    ],
)  # fmt: skip
def test_expressions_as_samtools(data: Path, dataset: Dataset, ours: str, theirs: str) -> None:
    expression = Expression(ours, dataset.manifest.references)
    found = count_records(dataset, Selection(expression=expression))
    assert found == int(pysam.samtools.view("-c", "-e", theirs, str(data / CHR22)))


@pytest.mark.data
def test_read_groups_in_expressions(data: Path, dataset: Dataset) -> None:
    group = str(pysam.samtools.view(str(data / CHR22))).partition("RG:Z:")[2].split()[0]
    expected = int(pysam.samtools.view("-c", "-r", group, str(data / CHR22)))
    for selection in (
        Selection(expression=Expression(f'[RG] == "{group}"', ())), Selection(read_groups=(group.encode(),)),
    ):  # fmt: skip
        assert count_records(dataset, selection) == expected
    assert count_records(dataset, Selection(expression=Expression(f'[RG] != "{group}"', ()))) == len(dataset) - expected


@pytest.mark.parametrize(
    "text",
    ["", "mapq >", "__import__('os')", "flag.real", "[x for x in y]", "lambda: 1", "foo", "mapq == 'a' + 'b'",
     "pos ** 9", "rname", "rname < 'a'", "flag[0]", "(" * 500, "1.5 & 2", "f'{flag}'", "flag is 1", "9" * 5000, "~1.5",
     "~(mapq * 1.5) > 3", "mapq * 1.5 & 2", "tag_XYZ == 1", "tag_X", "tag_9X == 1", "tag_Né", "-" * 1500 + "mapq"],
)  # fmt: skip
def test_what_is_no_expression(text: str) -> None:
    with pytest.raises(UsageError):
        Expression(text, ())


@given(st.lists(st.integers(0, 255), min_size=1, max_size=5), st.lists(
    st.tuples(st.sampled_from("+-*&|^"), st.integers(0, (1 << 62) - 1)), min_size=1, max_size=4
))  # fmt: skip
def test_integers_are_exact(qualities: list[int], operations: list[tuple[str, int]]) -> None:
    text = "mapq"
    for operator, number in operations:
        text = f"({text} {operator} {number})"
    alignments = Alignments.null(len(qualities)).replace(mapping_quality=np.array(qualities, np.uint8))
    batch = Batch(0, {"results": alignments})
    values = [eval(text, {"mapq": quality}) for quality in qualities]  # Python's integers are the oracle
    assert Expression(f"~{text} < 0", ()).mask(batch).tolist() == [value >= 0 for value in values]
    if abs(values[0]) < 1 << 62:
        assert Expression(f"{text} == {values[0]}", ()).mask(batch).tolist() == [v == values[0] for v in values]


@pytest.mark.data
@pytest.mark.parametrize(
    "region",
    ["chr22:16600000-16600100", "chr22:16700000-16750000", "chr22", "*", "chr1", "chr22:16789000"],
)  # fmt: skip
def test_regions_read_only_what_overlaps(
    data: Path, dataset: Dataset, region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []
    get = dataset.storage.get
    monkeypatch.setattr(dataset.storage, "get", lambda key, *a: (fetched.append(key), get(key, *a))[1])
    selection = Selection(regions=(parse_region(region, dataset.manifest.references),))
    path = str(data / CHR22)
    bam = pysam.AlignmentFile(path)
    expected = [r.query_name for r in bam if region == "*" and r.reference_id < 0]
    if region != "*":
        name, _, span = region.partition(":")
        start, _, end = span.partition("-")
        low, high = int(start or 1) - 1, int(end or 1 << 40)
        bam.reset()
        expected = [r.query_name for r in bam if r.reference_name == name and r.reference_start < high
                    and max(r.reference_end or 0, r.reference_start + 1) > low]  # fmt: skip
    assert count_records(dataset, selection) == len(expected)
    touched = {key.split("-")[-1].split(".")[0] for key in fetched}
    spans = [(c.first, c.cells["results"].statistics["spans"]) for c in dataset.chunks]
    if region.startswith("chr22:166"):
        assert len(touched) < len(spans)
    assert bool(touched) == bool(expected) or region == "*"


@pytest.mark.data
def test_command(data: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["view", dataset.url, "-e", "mapq < 10", "-c"]) == 0
    assert int(capsys.readouterr().out) == int(pysam.samtools.view("-c", "-e", "mapq < 10", str(data / CHR22)))
    assert run(["view", dataset.url, "-e", "mapq <", "-c"]) == 2


@pytest.mark.data
@pytest.mark.parametrize("fields", ["QNAME", "POS,FLAG", "QNAME,SEQ,QUAL,TAGS", "TAGS,CIGAR", "TAGS", "QUAL"])
def test_fields(data: Path, tmp_path: Path, fields: str, capsys: pytest.CaptureFixture[str]) -> None:
    import_bam(str(data / "tricky/tricky.bam"), str(tmp_path / "t.agd"), chunk_records=10)
    out = tmp_path / "out"
    assert run(["view", str(tmp_path / "t.agd"), "--columns", fields, "-o", str(out)]) == 0
    assert run(["view", str(tmp_path / "t.agd"), "-o", str(tmp_path / "whole")]) == 0
    expected = []
    for line in (tmp_path / "whole").read_text().splitlines():
        parts = line.split("\t")
        values = dict(zip(FIELDS, [*parts[:11], "\t".join(parts[11:])], strict=True))
        expected.append("\t".join(values[name] for name in fields.split(",")))
    assert out.read_text().splitlines() == expected
    assert run(["view", str(tmp_path / "t.agd"), "--columns", "NAME"]) == 2


@pytest.mark.data
def test_fields_read_no_other_columns(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    get = dataset.storage.get
    monkeypatch.setattr(dataset.storage, "get", lambda key, *a: (fetched.append(key), get(key, *a))[1])
    export_sam(dataset, str(tmp_path / "o.sam"), header=False, fields=("POS", "TAGS"))
    assert {key.rpartition(".")[2] for key in fetched} == {"results", "tags"}


SAM = "@SQ\tSN:c1\tLN:99\n" + "".join(f"r{i}\t0\tc1\t1\t9\t4M\t*\t0\t0\tACGT\tIIII\tRG:Z:a\n" for i in range(3))


@pytest.fixture
def small(tmp_path: Path) -> str:
    (tmp_path / "s.sam").write_text(SAM)
    import_sam(str(tmp_path / "s.sam"), str(tmp_path / "s.agd"))
    return str(tmp_path / "s.agd")


@pytest.mark.parametrize("words", [["view"], ["view", "--columns", "QUAL"], ["export", "sam"], ["export", "bam"]])
def test_an_absent_column_is_named(
    small: str, tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    drop_column(Dataset.open(small), "bases")
    assert run([*words, small, "-o", str(tmp_path / "o")]) == 2
    assert "there is no column 'bases'" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
    assert run(["view", small, "--columns", "QNAME,TAGS"]) == 0
    drop_column(Dataset.open(small), "qualities")
    assert run(["export", "sam", small, "-o", str(tmp_path / "o")]) == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["view", "-c", "-F", "65536"], "65536 is no set of flags"), (["view", "-f", "-1"], "-1 is no set of flags"),
        (["view", "-f", "0x10000"], "0x10000 is no set of flags"), (["depth", "-f", "-1"], "-1 is no set of flags"),
        (["coverage", "-F", "65536"], "65536 is no set of flags"), (["view", "c1:,"], "',' is no stretch"),
        (["view", "c1:1-,"], "'1-,' is no stretch"), (["view", "c1:²"], "'²' is no stretch"),
        (["checkout", "@²"], "say which generation"), (["recompress", "--codec", "bases=zstd:--3"], "is not a level"),
        (["recompress", "--codec", "bases=zstd:²"], "is not a level"),
        (["recompress", "--codec", "bases=zstd:99"], "level 99 is not one of"),
        (["sort", "-o", "o.agd", "--codec", "bases=nothing"], "there is no codec 'nothing' here"),
        (["flagstat", "--cluster", "local:²"], "no clu"),
        (["subset", "-o", "o.agd", "-F", "65536"], "65536 is no set of flags"),
        (["subset", "-o", "o.agd", "--fraction", "nan"], "nan is no share"),
    ],
)  # fmt: skip
def test_arguments_that_make_no_sense(
    small: str, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    verb, *rest = words
    assert run([verb, small + rest[0]] if verb == "checkout" else [verb, small, *rest]) == 2
    assert says in capsys.readouterr().err
