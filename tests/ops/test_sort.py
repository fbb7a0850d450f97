"""Sorting: the order is that of samtools, whatever the memory, the workers and the chunks."""

from __future__ import annotations

import random
from pathlib import Path

import pysam
import pytest

from agd.dataset import Dataset
from agd.ops import sort as module
from agd.ops.sort import sort
from agd.ops.sort_plan import SortPlan, group
from agd.run import SerialRunner, ThreadRunner
from tests.support.sam_dataset import from_sam, split, to_sam

ORDERS = {
    "coordinate": [], "queryname": ["-n"], "queryname-lexicographic": ["-N"],
    "template-coordinate": ["--template-coordinate"], "tag:XX": ["-t", "XX"], "tag:AS": ["-t", "AS"],
}  # fmt: skip


def random_sam(records: int, seed: int = 1) -> str:
    """SAM text with many ties: pairs, single reads, unmapped ones, clips, and tags of every type."""
    rng = random.Random(seed)
    lines = ["@HD\tVN:1.6\tSO:unsorted", "@SQ\tSN:c2\tLN:5000", "@SQ\tSN:c1\tLN:3000", "@RG\tID:g1\tLB:lib2\tSM:s",
             "@RG\tID:g2\tLB:lib1\tSM:s", "@RG\tID:g3\tSM:s"]  # fmt: skip
    names = [f"r{rng.choice(['', '0', '00'])}{rng.randrange(60)}:{rng.randrange(3)}" for _ in range(records // 4)]
    for _ in range(records):
        paired, unmapped, mate_unmapped = rng.random() < 0.8, rng.random() < 0.15, rng.random() < 0.15
        flag = rng.choice([0, 16]) | rng.choice([0, 0, 0, 0x400])
        flag |= rng.choice([0, 0, 0, 0x100, 0x800]) if not unmapped else 4
        if paired:
            flag |= 1 | rng.choice([0x40, 0x80]) | rng.choice([0, 0x20]) | (8 if mate_unmapped else 0)
        reference = rng.choice(["c1", "c2"]) if not unmapped or rng.random() < 0.5 else "*"
        position = rng.randrange(1, 40) if reference != "*" else 0
        cigar = rng.choice(["10M", "3S7M", "2H4M6S", "5M2D5M1H", "4M2I4M", "3S4M3S"]) if not unmapped else "*"
        length = {"2H4M6S": 10}.get(cigar, 10)
        mate = rng.choice(["=", "c1", "c2"]) if paired and reference != "*" else "*"
        bases = "".join(rng.choices("ACGTN", k=length))
        qualities = "".join(rng.choices("#-AFJ", k=length))
        tags = [f"RG:Z:{rng.choice(['g1', 'g2', 'g3', 'none'])}"]
        tags.append(f"MC:Z:{rng.choice(['10M', '4S6M', '6M4S', '2H3S5M', '5M3D5M2H'])}")
        tags += rng.choice([[], [f"MI:Z:{rng.randrange(12)}/{rng.choice('AB')}"], [f"MI:Z:{rng.randrange(3)}"]])
        tags += rng.choice([[], [f"CB:Z:{''.join(rng.choices('ACGT', k=2))}"]])
        tags += rng.choice([[], [f"AS:i:{rng.choice([-70000, -300, -5, 0, 5, 200, 300, 70000, 3000000000])}"]])
        tags += rng.choice([
            [], [f"XX:i:{rng.randrange(-3, 3)}"], [f"XX:f:{rng.choice([-2.5, -0.0, 0, 1, 1.5, 1e20])}"], ["XX:A:b"],
            ["XX:A:a"], [f"XX:Z:{rng.choice(['', 'a', 'ab', 'B'])}"], ["XX:H:1AE3"], ["XX:B:c,1,2"],
        ])  # fmt: skip
        lines.append("\t".join([
            rng.choice(names), str(flag), reference, str(position), "30", cigar, mate,
            str(rng.randrange(1, 40)) if mate != "*" else "0", "0", bases, qualities, *tags,
        ]))  # fmt: skip
    return "\n".join(lines) + "\n"


def samtools(text: str, folder: Path, *options: str) -> str:
    """The same text as samtools sorts it."""
    source, sorted_ = folder / "in.sam", folder / "sorted.sam"
    source.write_text(text)
    pysam.samtools.sort(*options, "--no-PG", "-O", "sam", "-o", str(sorted_), str(source), catch_stdout=False)
    return sorted_.read_text()


def in_order(header: str) -> list[str]:
    """Fields of the first line of a header, whatever their order."""
    return sorted(header.split("\n")[0].split("\t"))


@pytest.fixture(scope="module")
def text() -> str:
    return random_sam(600)


def small_plan(monkeypatch: pytest.MonkeyPatch, *, fan_in: int, block: int, window: int, records: int) -> None:
    """Make every sort spill."""

    def plan(dataset: Dataset, *_: object) -> SortPlan:
        return SortPlan(True, tuple(group(dataset.chunks, records)), block, fan_in, 2, 2, window)

    monkeypatch.setattr(module, "plan", plan)


@pytest.mark.parametrize("by", ORDERS)
def test_order_is_that_of_samtools(by: str, text: str, tmp_path: Path) -> None:
    expected = samtools(text, tmp_path, *ORDERS[by])
    dataset = from_sam(str(tmp_path / "in.agd"), text, chunk=100)
    report = sort(dataset, tmp_path / "out.agd", by=by)
    found = to_sam(Dataset.open(tmp_path / "out.agd"))
    assert split(found)[1] == split(expected)[1]
    assert in_order(found) == in_order(expected)
    assert (report.records, report.spilled_bytes, report.runs) == (600, 0, 6)


@pytest.mark.parametrize("by", ORDERS)
@pytest.mark.parametrize("chunk", [1, 7, 100_000])
@pytest.mark.parametrize("spill", ["", "one pass", "passes"])
def test_result_depends_on_nothing_but_the_records(
    by: str, chunk: int, spill: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "".join(text.splitlines(keepends=True)[: 100 if chunk == 1 else None])
    dataset = from_sam("memory://sort-in.agd", text, chunk=9 if chunk == 1 else 41)
    sort(dataset, "memory://sort-plain.agd", by=by, overwrite=True, runner=SerialRunner())
    expected = to_sam(Dataset.open("memory://sort-plain.agd"))
    if spill:
        fan_in = 2 if spill == "passes" else 100
        small_plan(monkeypatch, fan_in=fan_in, block=16, window=50, records=20 if chunk == 1 else 90)
    with ThreadRunner(2) as runner:
        report = sort(
            dataset, "memory://sort-out.agd", by=by, chunk_records=chunk, overwrite=True, runner=runner,
            tmp=str(tmp_path / "spill"),
        )  # fmt: skip
    output = Dataset.open("memory://sort-out.agd")
    assert to_sam(output) == expected
    assert {c.count for c in output.chunks[:-1]} <= {chunk}
    assert bool(report.spilled_bytes) == bool(spill)
    assert report.passes == (3 if spill == "passes" else 1)
    assert not spill or list((tmp_path / "spill").iterdir()) == []
