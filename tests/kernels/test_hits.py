"""Bare hits to alignments, with bwa mem as the oracle: its SAM is stripped to bare hits and must come back."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.aligners.finish import collect, finish
from agd.batch import Alignments, Column
from agd.errors import KernelError
from agd.kernels import _native, reference
from agd.kernels.hits import BWA_SCORING, MINIBWA_SCORING, Hits
from agd.types import Reference
from tests.support.alignment_text import Genome, SamLine, cigar_text, sam_lines

COMPLEMENT = str.maketrans("ACGTNacgtn", "TGCANtgcan")


def hit(**fields: Any) -> SimpleNamespace:
    """A hit object as an aligner gives it."""
    defaults = {
        "contig": "c", "ref_start": 0, "query_start": 0, "query_end": 4, "mapq": 60, "reverse": False,
        "proper_pair": False, "is_primary": True, "is_secondary": False, "is_supplementary": False,
        "cigar": [("M", 4)],
    }  # fmt: skip
    return SimpleNamespace(**(defaults | fields))


def hit_of(contig: str, position: int, cigar: str, *, reverse: bool, length: int, **fields: Any) -> SimpleNamespace:
    """A hit object from what a SAM line says."""
    operations = [(op, int(n)) for n, op in re.findall(r"(\d+)(\D)", cigar)]
    left = operations[0][1] if operations[0][0] in "SH" else 0
    right = operations[-1][1] if operations[-1][0] in "SH" else 0
    first, last = (right, left) if reverse else (left, right)
    return hit(
        contig=contig, ref_start=position - 1, query_start=first, query_end=length - last, reverse=reverse,
        cigar=[o for o in operations if o[0] not in "SH"], **fields,
    )  # fmt: skip


def bare_hits(lines: Iterable[SamLine], length: int) -> list[SimpleNamespace]:
    """Hits of the lines of one read; those in XA become secondary ones."""
    hits, others = [], []
    for line in lines:
        if line.flag & 4:
            continue
        supplementary = bool(line.flag & 0x800)
        hits.append(hit_of(
            line.contig, line.position, line.cigar, reverse=bool(line.flag & 16), length=length,
            mapq=line.mapping_quality, proper_pair=bool(line.flag & 2), is_primary=not supplementary,
            is_supplementary=supplementary,
        ))  # fmt: skip
        for entry in line.tags.get("XA", "Z:")[2:].split(";")[:-1]:
            contig, place, cigar, _ = entry.rsplit(",", 3)
            others.append(hit_of(
                contig, int(place[1:]), cigar, reverse=place[0] == "-", length=length, mapq=0, is_primary=False,
                is_secondary=True,
            ))  # fmt: skip
    return hits + others


def expected_lines(lines: list[SamLine]) -> list[SamLine]:
    """Lines of one pair or read as ``finish`` gives them: what bwa does otherwise is put right."""
    lines = [replace(line, tags=dict(line.tags)) for line in lines]
    primaries = {line.flag & 0x80: line for line in lines if not line.flag & 0x900}
    for line in lines:
        tags = line.tags
        if line.flag & 4:
            # bwa gives unmapped reads scores of 0.
            del tags["AS"], tags["XS"]
        elif "XA" not in tags:
            # The score of the second best hit is not known where bwa does not list it.
            tags["XS"] = "i:0"
        if "MC" in tags:
            # bwa writes the clips of the mate hard where this line's own are.
            tags["MC"] = tags["MC"].replace("H", "S")
        own = primaries[line.flag & 0x80]
        if line.flag & 8 and not own.flag & 4:
            # bwa places an unmapped mate where the supplementary alignment is, the mate itself says otherwise.
            line.mate_contig, line.mate_position = "=" if line.contig == own.contig else own.contig, own.position
            line.flag = line.flag & ~0x20 | (0x20 if own.flag & 16 else 0)
    return lines


def lines_of(names: list[str], found: Alignments) -> list[SamLine]:
    """Alignments as SAM lines without name, bases and qualities."""
    out = []
    for i in range(len(found)):
        contig, mate = (names[r] if r >= 0 else "*" for r in (found.reference[i], found.mate_reference[i]))
        mate_text = "=" if mate == contig != "*" else mate
        out.append(SamLine(
            "", int(found.flag[i]), contig, int(found.position[i]) + 1, int(found.mapping_quality[i]),
            cigar_text(found.cigar[i]), mate_text, int(found.mate_position[i]) + 1, int(found.template_length[i]),
            "", "", aux_text(found.tags[i]),
        ))  # fmt: skip
    return out


def aux_text(raw: bytes) -> dict[str, str]:
    """Aux fields as text; reads the bytes by hand, by SAM specification 4.2.4."""
    out, at = {}, 0
    sizes = {"c": (1, True), "C": (1, False), "s": (2, True), "S": (2, False), "i": (4, True), "I": (4, False)}
    while at < len(raw):
        tag, kind = raw[at : at + 2].decode(), chr(raw[at + 2])
        at += 3
        if kind == "Z":
            end = raw.index(b"\0", at)
            out[tag], at = f"Z:{raw[at:end].decode()}", end + 1
        else:
            size, signed = sizes[kind]
            out[tag], at = f"i:{int.from_bytes(raw[at : at + size], 'little', signed=signed)}", at + size
    return out


def genome_of(genome: Genome) -> Any:
    """As agd.aligners gives it to ``finish``."""
    contigs = [Reference(n, int(s)) for n, s in zip(genome.names, np.diff(genome.offsets), strict=True)]
    return SimpleNamespace(contigs=contigs, bases=genome.letters, offsets=genome.offsets)


def finish_with(
    kernels: ModuleType, hits: Hits, bases: Column, genome: Genome, paired: bool = False, secondary: bool = False,
    scoring: Any = MINIBWA_SCORING, group: bytes = b"", ratio: float = 0.8,
) -> tuple[Alignments, list[int]]:  # fmt: skip
    names = Column.from_list([name.encode() for name in genome.names])
    *fields, reads = kernels.finish_hits(
        hits, bases.values, bases.offsets, genome.letters, genome.offsets, names.values, names.offsets,
        np.frombuffer(group, np.uint8), paired, secondary, scoring, 5, ratio,
    )  # fmt: skip
    fixed = dict(zip(Alignments.FIXED, fields, strict=False))
    return Alignments(**fixed, cigar=Column(*fields[7:9]), tags=Column(*fields[9:])), reads.tolist()


def fastq(path: Path, reads: int) -> list[tuple[str, str]]:
    with gzip.open(path, "rt") as file:
        lines = [line.rstrip("\n") for _, line in zip(range(4 * reads), file, strict=False)]
    return [(lines[i][1:].split()[0], lines[i + 1]) for i in range(0, len(lines), 4)]


SETS = {
    "human": ("human_na12878_chr20", "hg19_chr20_9995001_11095000.fa.gz", "NA12878_chr20_R1.fastq.gz",
              "NA12878_chr20_R2.fastq.gz", 9000),
    "bacteria": ("bacteria_shigella", "*.fna.gz", "*1.fastq.gz", "*2.fastq.gz", 3000),
}  # fmt: skip


@pytest.fixture(scope="module", params=SETS)
def aligned(request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Reads of both files, the genome, and the output of bwa mem by name of the read."""
    bwa = shutil.which("bwa")
    if bwa is None:
        pytest.skip("bwa is not installed")
    folder, fasta, first, second, pairs = SETS[request.param]
    files = [next((data / folder).glob(pattern)) for pattern in (fasta, first, second)]
    work = tmp_path_factory.mktemp(request.param)
    text = gzip.decompress(files[0].read_bytes()).decode()
    (work / "ref.fa").write_text(text)
    reads = [fastq(file, pairs) for file in files[1:]]
    for i, mates in enumerate(reads):
        (work / f"{i}.fq").write_text("".join(f"@{n}\n{s}\n+\n{'I' * len(s)}\n" for n, s in mates))
    subprocess.run([bwa, "index", "ref.fa"], cwd=work, check=True, capture_output=True)

    def run(*names: str) -> dict[str, list[SamLine]]:
        command = [bwa, "mem", "-R", "@RG\\tID:g1", "ref.fa", *names]
        done = subprocess.run(command, cwd=work, check=True, capture_output=True, text=True)
        out: dict[str, list[SamLine]] = {}
        for line in sam_lines(done.stdout):
            out.setdefault(line.name, []).append(line)
        return out

    return SimpleNamespace(genome=Genome.from_fasta(text), reads=reads, paired=run("0.fq", "1.fq"), single=run("0.fq"))


def compare(kernels: ModuleType, groups: list[tuple[list[str], list[SamLine]]], genome: Genome, paired: bool) -> int:
    """Strip the lines of each group of reads to bare hits, finish them, compare; how many lines were compared."""
    results: list[Any] = []
    expected: list[tuple[int, SamLine]] = []
    for g, (reads, printed) in enumerate(groups):
        lines = expected_lines(printed)
        mates = [[line for line in lines if line.flag & 0x80 == 0x80 * k] for k in range(len(reads))]
        found = [bare_hits(own, len(read)) for own, read in zip(mates, reads, strict=True)]
        results.append(tuple(found) if paired else found[0])
        expected += [(g * len(reads) + k, line) for k, own in enumerate(mates) for line in own]
    expected.sort(key=lambda pair: (pair[1].flag & 0x900 > 0, pair[0]))
    hits = Hits(*kernels.collect_hits(results, {name: i for i, name in enumerate(genome.names)}))
    bases = Column.from_list([read.encode() for reads, _ in groups for read in reads])
    # bwa has chosen already what to list in XA.
    found, further = finish_with(kernels, hits, bases, genome, paired, scoring=BWA_SCORING, group=b"g1", ratio=-1.0)
    assert [*range(len(bases)), *further] == [r for r, _ in expected]
    other = 0
    for ours, (_, line) in zip(lines_of(genome.names, found), expected, strict=True):
        line.name = line.bases = line.qualities = ""
        assert list(ours.tags) == list(line.tags)
        for tag in line.tags.keys() & {"AS", "XS"}:
            # bwa's score leaves out ends that it keeps for less than what it takes for clipping, and gaps in rescued
            # mates: not always that of the alignment that it writes.
            other += line.tags[tag] != ours.tags[tag]
            line.tags[tag] = ours.tags[tag]
        assert ours == line
    assert other < 0.15 * len(expected)
    return len(expected)


@pytest.mark.data
def test_pairs_equal_bwa_mem(kernels: ModuleType, aligned: Any) -> None:
    pairs = list(zip(*aligned.reads, strict=True))
    pairs = pairs if kernels is _native else pairs[::20]
    groups = [([a, b], aligned.paired[name]) for (name, a), (_, b) in pairs]
    assert compare(kernels, groups, aligned.genome, True) >= 2 * len(pairs)


@pytest.mark.data
def test_single_reads_equal_bwa_mem(kernels: ModuleType, aligned: Any) -> None:
    reads = aligned.reads[0] if kernels is _native else aligned.reads[0][::20]
    groups = [([read], aligned.single[name]) for name, read in reads]
    assert compare(kernels, groups, aligned.genome, False) >= len(reads)


TOY = Genome(["c", "dd"], np.frombuffer(b"ACGTTGCAAC" * 6 + b"GATTACAN" * 5, np.uint8), np.array([0, 60, 100]))
CONTIGS = {"c": 0, "dd": 1}


@st.composite
def toy_hits(draw: st.DrawFn, length: int) -> list[SimpleNamespace]:
    """Hits of one read on the toy genome, all sensible one by one but not together."""
    hits = []
    for _ in range(draw(st.integers(0, 4 if length else 0))):
        first = draw(st.integers(0, length - 1))
        last = draw(st.integers(first + 1, length))
        cut = draw(st.integers(first + 1, last))
        kinds = draw(st.sampled_from(["MIM", "MDM", "MNM", "=IX"]))
        # Bases are shared out over the operations; one of no reads at all is left out.
        gap = draw(st.integers(1, 5))
        cigar = [(kinds[0], cut - first), (kinds[1], gap), (kinds[2], last - cut)]
        if kinds[1] == "I":
            last = min(length, last + gap)
            cigar[1] = ("I", last - first - (cigar[0][1] + cigar[2][1]))
        cigar = [(op, n) for op, n in cigar if n]
        kind = draw(st.sampled_from(["is_primary", "is_secondary", "is_supplementary"]))
        contig = draw(st.sampled_from(["c", "dd"]))
        fields = {"is_primary": False} | {kind: True}
        hits.append(hit(
            contig=contig, ref_start=draw(st.integers(0, 60 if contig == "c" else 40)), query_start=first,
            query_end=last, mapq=draw(st.integers(0, 255)), reverse=draw(st.booleans()),
            proper_pair=draw(st.booleans()), cigar=cigar, **fields,
        ))  # fmt: skip
    return hits


def outcome(kernels: ModuleType, *arguments: Any, **options: Any) -> Any:
    try:
        found, reads = finish_with(kernels, *arguments, **options)
    except KernelError as error:
        return error.reason, error.record
    fixed = [getattr(found, name).tolist() for name in Alignments.FIXED]
    return fixed, [c.tolist() for c in found.cigar], list(found.tags), reads


@given(data=st.data(), paired=st.booleans(), secondary=st.booleans(), group=st.sampled_from([b"", b"x"]))
def test_implementations_agree(data: st.DataObject, paired: bool, secondary: bool, group: bytes) -> None:
    """Whatever the hits: primaries missing or doubled, hits beyond the contig, secondary ones without a parent."""
    reads = data.draw(st.lists(st.text("ACGTNacgt", max_size=20), max_size=4))
    results = [data.draw(toy_hits(len(read))) for read in reads]
    bases = Column.from_list([read.encode() for read in reads])
    collected = [Hits(*kernels.collect_hits(results, CONTIGS)) for kernels in (_native, reference)]
    for ours, theirs in zip(*collected, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.tolist() == theirs.tolist()
    results_of = [
        outcome(kernels, collected[0], bases, TOY, paired, secondary, group=group) for kernels in (_native, reference)
    ]
    assert results_of[0] == results_of[1]


def toy(kernels: ModuleType, reads: list[str], results: list[Any], **options: Any) -> list[SamLine]:
    hits = Hits(*kernels.collect_hits(results, CONTIGS))
    found, _ = finish_with(kernels, hits, Column.from_list([r.encode() for r in reads]), TOY, **options)
    return lines_of(TOY.names, found)


def test_alternatives_and_scores(kernels: ModuleType) -> None:
    """Scores by hand: 2 a match, 8 a mismatch, 1 an N, gaps min(12 + 2n, 23 + n)."""
    read = "ACGTTGCAAC"
    hits = [
        hit(query_end=10, cigar=[("M", 10)]),
        hit(query_end=10, cigar=[("M", 10)], ref_start=10, is_primary=False, is_secondary=True),
        hit(query_end=10, cigar=[("M", 4), ("D", 10), ("M", 6)], ref_start=0, is_primary=False, is_secondary=True),
        hit(query_end=10, cigar=[("M", 10)], ref_start=20, reverse=True, is_primary=False, is_secondary=True),
    ]
    (line,) = toy(kernels, [read], [hits])
    assert line.tags["AS"] == "i:20"
    assert line.tags["XS"] == "i:20"
    assert line.tags["XA"] == "Z:c,+11,10M,0;"
    lines = toy(kernels, [read], [hits], secondary=True)
    assert [x.flag for x in lines] == [0, 0x100, 0x100, 0x110]
    assert [x.tags["AS"] for x in lines] == ["i:20", "i:20", f"i:{20 - 32}", "i:-80"]
    assert ["XA" in x.tags or "SA" in x.tags for x in lines] == [False] * 4
    # Too many alternatives: none is listed.
    (line,) = toy(kernels, [read], [hits[:2] + [hits[1]] * 5])
    assert "XA" not in line.tags
    (line,) = toy(kernels, ["GATNACAG"], [[hit(contig="dd", query_end=8, cigar=[("M", 8)])]])
    assert (line.tags["AS"], line.tags["NM"], line.tags["MD"]) == (f"i:{6 * 2 - 2}", "i:2", "Z:3T3N0")


@pytest.mark.parametrize(
    ("second", "proper"),
    [
        ({"ref_start": 20, "reverse": True}, True),
        ({"ref_start": 20, "reverse": True, "proper_pair": False}, False),
        ({"ref_start": 20, "reverse": False}, False),
        ({"ref_start": 2, "reverse": True}, False),  # faces away: its end lies before the start of the other
        ({"ref_start": 20, "reverse": True, "contig": "dd"}, False),
    ],
)
def test_proper_pairs_are_checked(kernels: ModuleType, second: dict[str, Any], proper: bool) -> None:
    first = hit(ref_start=10, proper_pair=True)
    lines = toy(kernels, ["ACGT", "TTGC"], [([first], [hit(**({"proper_pair": True} | second))])], paired=True)
    assert [bool(line.flag & 2) for line in lines] == [proper, proper]
    assert lines[0].template_length == -lines[1].template_length


def test_a_read_without_primary_hit_gets_one(kernels: ModuleType) -> None:
    secondary = hit(is_primary=False, is_secondary=True)
    supplementary = hit(is_primary=False, is_supplementary=True, ref_start=8)
    lines = toy(kernels, ["ACGT"], [[secondary, supplementary]])
    assert [(line.flag, line.position) for line in lines] == [(0, 9)]
    assert [(line.flag, line.cigar) for line in toy(kernels, ["ACGTC"], [[secondary]])] == [(0, "4M1S")]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"query_end": 6, "cigar": [("M", 6)]}, "hit lies outside of its read"),
        ({"query_start": 3, "query_end": 2}, "hit lies outside of its read"),
        ({"cigar": [("M", 3)]}, "CIGAR of a hit does not fit"),
        ({"cigar": []}, "CIGAR of a hit does not fit"),
        ({"cigar": [("S", 2), ("M", 4)]}, "CIGAR operation of a hit is not one of MIDN=X"),
        ({"ref_start": 57}, "hit lies outside of its contig"),
        ({"ref_start": 2**63 - 1}, "hit lies outside of its contig"),
    ],
)
def test_bad_hits(kernels: ModuleType, change: dict[str, Any], reason: str) -> None:
    with pytest.raises(KernelError, match=reason) as caught:
        toy(kernels, ["ACGTA", "ACGTA"], [[hit()], [hit(**change)]])
    assert caught.value.record == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"contig": "unknown"}, "contig of a hit is not one of the reference"),
        ({"contig": None}, "contig of a hit is not one of the reference"),
        ({"ref_start": -1}, "ref_start of a hit is out of range"),
        ({"query_end": 2**31}, "query_end of a hit is out of range"),
        ({"mapq": 256}, "mapq of a hit is out of range"),
        ({"cigar": [("Q", 4)]}, "CIGAR operation is not one of"),
        ({"cigar": [("\0", 4)]}, "CIGAR operation is not one of"),
        ({"cigar": [("M", 2**28)]}, "length of a CIGAR operation"),
    ],
)
def test_bad_hit_objects(kernels: ModuleType, change: dict[str, Any], reason: str) -> None:
    with pytest.raises(KernelError, match=reason) as caught:
        kernels.collect_hits([([hit()], [hit(**change)])], CONTIGS)
    assert caught.value.record == 1
    with pytest.raises(AttributeError):
        kernels.collect_hits([[SimpleNamespace(contig="c")]], CONTIGS)
    with pytest.raises(KernelError, match="not a list"):
        kernels.collect_hits([7], CONTIGS)


def test_bad_arrays(kernels: ModuleType) -> None:
    hits = Hits(*kernels.collect_hits([[hit()]], CONTIGS))
    bases = Column.from_list([b"ACGT"])
    assert len(finish_with(kernels, hits, bases, TOY)[0]) == 1
    for change, reason in [
        ({"reference": np.array([2], np.int32)}, "reference of a hit is not one of the contigs"),
        ({"start": np.array([-1])}, "hit lies outside of its contig"),
        ({"query_start": np.array([-1], np.int32)}, "hit lies outside of its read"),
        ({"offsets": np.array([0, 2])}, "offsets outside of the hits"),
        ({"cigar_offsets": np.array([0, 2])}, "offsets outside of the CIGARs"),
        ({"bits": np.array([], np.uint8)}, "arrays of hits differ in length"),
        ({"offsets": np.array([0])}, "hits and bases differ in number"),
    ]:
        with pytest.raises(KernelError, match=reason):
            finish_with(kernels, hits._replace(**change), bases, TOY)
    with pytest.raises(KernelError, match="mates are missing"):
        finish_with(kernels, hits, bases, TOY, paired=True)


def test_no_reads(kernels: ModuleType) -> None:
    hits = Hits(*kernels.collect_hits([], CONTIGS))
    found, reads = finish_with(kernels, hits, Column.empty(), TOY, paired=True)
    assert (len(found), reads) == (0, [])


def test_collect_and_finish() -> None:
    """What agd.aligners calls: primary ones and further ones apart."""
    results: list[Any] = [
        ([hit(query_end=3, cigar=[("M", 3)]), hit(is_primary=False, is_supplementary=True)], []),
        ([], [hit(reverse=True)]),
    ]
    parts = [collect(results[:1], CONTIGS), collect(results[1:], CONTIGS)]
    bases = Column.from_list([b"ACGT"] * 4)
    hits = Hits.concatenate(parts)
    primary, further, reads = finish(hits, bases, genome_of(TOY), read_group="g", paired=True)
    assert primary.flag.tolist() == [0x49, 0x85, 0x40 | 0x20 | 0x10 | 0x5, 0x80 | 0x10 | 0x20 | 0x9]
    assert (len(further), reads.tolist()) == (1, [0])
    assert [cigar_text(c) for c in (*primary.cigar, *further.cigar)] == ["3M1S", "*", "*", "4M", "4M"]
    assert [list(aux_text(t)) for t in (*primary.tags, *further.tags)] == [
        ["NM", "MD", "AS", "XS", "RG", "SA"], ["MC", "RG"], ["MC", "RG"], ["NM", "MD", "AS", "XS", "RG"],
        ["NM", "MD", "AS", "XS", "RG", "SA"],
    ]  # fmt: skip
    assert all(len(column) == 0 for column in Hits.concatenate([])[1:8])


@pytest.mark.data
def test_minibwa_hits_are_read_aright(data: Path, tmp_path: Path) -> None:
    """NM and MD of all alignments are those that samtools finds: strands and clips are as minibwa means them."""
    minibwa = pytest.importorskip("minibwa")
    folder = data / "human_na12878_chr20"
    text = gzip.decompress((folder / "hg19_chr20_9995001_11095000.fa.gz").read_bytes()).decode()
    (tmp_path / "ref.fa").write_text(text)
    minibwa.Index.build(str(tmp_path / "ref.fa"), str(tmp_path / "index"))
    index, options = minibwa.Index.load(str(tmp_path / "index")), minibwa.Opts()
    pairs = list(zip(*(fastq(folder / f"NA12878_chr20_R{k}.fastq.gz", 4000) for k in (1, 2)), strict=True))
    results = [minibwa.map_pair(index, options, n, s, m, t) for (n, s), (m, t) in pairs]
    genome = Genome.from_fasta(text)
    reads = [read for (_, a), (_, b) in pairs for read in (a, b)]
    hits = collect(results, {name: i for i, name in enumerate(genome.names)})
    primary, further, of = finish(hits, Column.from_list([r.encode() for r in reads]), genome_of(genome), paired=True)
    lines = lines_of(genome.names, primary) + lines_of(genome.names, further)
    assert sum(line.flag & 4 == 0 for line in lines) > 7900
    body = []
    for i, (read, line) in enumerate(zip([*reads, *(reads[r] for r in of)], lines, strict=True)):
        bases = read[::-1].translate(COMPLEMENT) if line.flag & 16 else read
        clips = [int(n) for n in re.findall(r"^(\d+)H", line.cigar) or [0]] + [
            int(n) for n in re.findall(r"(\d+)H$", line.cigar) or [0]
        ]
        bases = bases[clips[0] : len(bases) - clips[1]]
        fields = (i, line.flag, line.contig, line.position, 60, line.cigar, "*", 0, 0, bases, "*")
        body.append("\t".join(map(str, fields)))
    header = "".join(f"@SQ\tSN:{n}\tLN:{s}\n" for n, s in zip(genome.names, np.diff(genome.offsets), strict=True))
    (tmp_path / "reads.sam").write_text(header + "\n".join(body) + "\n")
    pysam.faidx(str(tmp_path / "ref.fa"))
    checked = pysam.samtools.calmd("-Q", "--no-PG", str(tmp_path / "reads.sam"), str(tmp_path / "ref.fa"))  # type: ignore[attr-defined]
    for line, check in zip(lines, sam_lines(checked), strict=True):
        assert [line.tags.get(tag) for tag in ("NM", "MD")] == [check.tags.get(tag) for tag in ("NM", "MD")]


def test_spans_as_strings(kernels: ModuleType) -> None:
    values = np.frombuffer(b"ACGTNNxyz\xff", np.uint8)
    starts, ends = np.array([4, 0, 9, 0]), np.array([9, 4, 9, 0])
    assert kernels.span_strings(values, starts, ends) == ["NNxyz", "ACGT", "", ""]
    for first, last, reason in ((9, 10, "ASCII"), (-1, 2, "outside"), (3, 2, "outside"), (3, 11, "outside")):
        with pytest.raises(KernelError, match=reason) as caught:
            kernels.span_strings(values, np.array([0, first]), np.array([1, last]))
        assert caught.value.record == 1
    with pytest.raises(KernelError, match="differ in number"):
        kernels.span_strings(values, starts, ends[:2])


def test_hits_from_an_iterator(kernels: ModuleType) -> None:
    results = [([hit()], []), ([], [hit(ref_start=5)])]
    expected = kernels.collect_hits(results, {"c": 0})
    found = kernels.collect_hits(iter(results), {"c": 0})
    assert [a.tolist() for a in found] == [a.tolist() for a in expected]

    def failing() -> Iterable[Any]:
        yield results[0]
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        kernels.collect_hits(failing(), {"c": 0})
