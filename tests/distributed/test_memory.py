"""``--memory`` is the peak of the resident set: measured, in processes of their own, on more data than that."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agd.aligners import fused
from agd.aligners.fused import ReadSource
from agd.aligners.reference import Genome
from agd.cli import run
from agd.errors import UsageError
from agd.run import ThreadRunner

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the peak of the memory is read from /proc"
)

MEASURED = """
import json, sys
from agd.cli import run
code = run(sys.argv[1:])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"code": code, "peak": int(peak.split()[1]) << 10}))
"""

#: Far less than the reads below take in memory: 1.2 million of 100 bases, 290 MB of text.
MEMORY = 300 << 20


def measured(*arguments: str) -> int:
    """Peak resident set of a command, bytes."""
    command = [sys.executable, "-c", MEASURED, *arguments, "--threads", "2", "--quiet"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["code"] == 0, done.stderr
    return int(result["peak"])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("memory")
    chance = random.Random(1)
    block = "".join(
        f"@read{i}\n{''.join(chance.choices('ACGT', k=100))}\n+\n{''.join(chance.choices('FFF:,#', k=100))}\n"
        for i in range(10_000)
    )
    with open(folder / "reads.fq", "w") as file:
        for _ in range(120):
            file.write(block)
    return folder


def test_import_and_exports_stay_within_their_memory(place: Path) -> None:
    dataset = str(place / "s.agd")
    few = ("-c", "20k", "--memory", str(MEMORY))
    peaks = {
        "import": measured("import", "fastq", str(place / "reads.fq"), "-o", dataset, *few),
        "export fastq": measured("export", "fastq", dataset, "-o", str(place / "out.fq"), "--memory", str(MEMORY)),
        "export bam": measured("export", "bam", dataset, "-o", str(place / "out.bam"), "--memory", str(MEMORY)),
        "export sam": measured("export", "sam", dataset, "-o", str(place / "out.sam"), "--memory", str(MEMORY)),
    }
    assert {verb: peak >> 20 for verb, peak in peaks.items() if peak > MEMORY} == {}
    assert (place / "out.fq").read_bytes() == (place / "reads.fq").read_bytes()


@pytest.mark.parametrize("verb", ["import", "sort", "pipeline"])
def test_too_little_is_refused_with_what_would_do(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r.fq").write_text("@r\nACGT\n+\nIIII\n" * 1000)
    arguments = ["import", "fastq", str(tmp_path / "r.fq"), "-o", str(tmp_path / "s.agd")]
    if verb == "sort":
        assert run(arguments) == 0
        arguments = ["sort", str(tmp_path / "s.agd"), "-o", str(tmp_path / "t.agd")]
    if verb == "pipeline":
        (tmp_path / "ref.fa").write_text(">c\n" + "ACGTTGCAAC" * 100 + "\n")
        arguments = ["pipeline", str(tmp_path / "r.fq"), "-r", str(tmp_path / "ref.fa"), "-o", str(tmp_path / "t.bam")]
    assert run([*arguments, "--memory", "1M"]) == 2
    error = capsys.readouterr().err
    assert "too little" in error
    least = next(word for word in error.split() if word.endswith("M") and word[:-1].isdigit())
    assert run([*arguments, "--memory", least.strip("'")]) == 0


@pytest.mark.parametrize("chunk", [1 << 10, 5 << 20, 36 << 20])
@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("dedup", [False, True])
def test_runs_and_chunks_of_a_fused_run_fit_together(chunk: int, workers: int, dedup: bool) -> None:
    records = max(1, chunk // 300)
    source = ReadSource(
        lambda: iter(()), lambda _: pytest.fail("loaded"), True, "fastq", {}, chunk, records, None, dict
    )
    genome = Genome("ref.fa", (), np.empty(20 << 20, np.uint8), np.empty(0, np.int64))
    # Chunks of the output are as large as they are asked to be, whatever the input has.
    item, merged, granted = 6 * max(chunk, 1 << 20), int(2.2 * 100_000 * chunk / records), 0
    with ThreadRunner(workers) as runner:

        def bounds(memory: int) -> Any:
            return fused._bounds(source, genome, memory, runner, True, 100_000, 64 << 20, dedup)

        for memory in range(100 << 20, 4 << 30, 60 << 20):
            try:
                found = bounds(memory)
            except UsageError as error:
                least = int(error.remedy.split()[-1].removesuffix("M")) << 20
                assert least > memory
                assert bounds(least)
                continue
            granted += 1
            assert 1 <= found.ahead <= workers + 1
            assert 1 <= found.mergers <= workers
            assert found.held >= max(chunk, 1 << 20) // 2 - 1
            held = 4 * (found.held + max(chunk, 1 << 20)) // 3 + (176 << 20)
            assert held + found.ahead * item <= memory
            assert held + found.mergers * merged + (dedup * 48 << 20) <= memory
    assert granted


def test_long_reads_stay_within_their_memory(tmp_path: Path) -> None:
    chance, limit = random.Random(2), 640 << 20
    bases, qualities = ("".join(chance.choices(letters, k=200_000)) for letters in ("ACGT", "FFF:,#"))
    with open(tmp_path / "long.sam", "w") as file:
        for i in range(700):
            file.write(f"r{i}\t4\t*\t0\t0\t*\t*\t0\t0\t{bases[i:]}{bases[:i]}\t{qualities}\n")
    dataset, memory = str(tmp_path / "s.agd"), ("--memory", str(limit))
    peaks = {
        "import": measured("import", "sam", str(tmp_path / "long.sam"), "-o", dataset, "-c", "20k", *memory),
        "subset": measured("subset", dataset, "-o", str(tmp_path / "t.agd"), "-F", "1", *memory),
        "recompress": measured("recompress", dataset, "--profile", "small", *memory),
        "a part": measured("export", "sam", dataset, "-o", str(tmp_path / "o.sam"), "--partition", "1/1", *memory),
    }
    assert {verb: peak >> 20 for verb, peak in peaks.items() if peak > limit} == {}
    # Pieces are some 70 MB each; where memory is short, fewer of them are read ahead.
    assert measured("finalise", str(tmp_path / "o.sam"), "--memory", str(limit // 2)) <= limit // 2
