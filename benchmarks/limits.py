"""What the steps of each work cost at least on this machine, and how much faster than its peer it could be at most.

``make limits [SIZE=1M]``, after ``make bench``: each step alone, on one thread, its memory and files at hand. A work
cannot take less than its steps shared out evenly, after its start; what it takes more is ours to answer for.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import mmap
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from isal import igzip

import agd
from agd import kernels
from agd.batch import I64, U8
from agd.cell import encode_cell
from agd.convert.bgzf import BlockGroup, cut_groups, deflate_blocks, inflate_group
from agd.convert.inflate import Feed
from agd.files import open_source
from agd.ops.digest import digest_records
from agd.ops.lines import to_lines, to_records
from agd.run.memory import keep_freed

#: What a process must load before it can do anything.
START = "import numpy, zstandard, click, agd.kernels, agd.dataset, agd.draft"


@dataclass(frozen=True, slots=True)
class Work:
    """A case of the benchmark and the steps that it cannot do without.

    Attributes
    ----------
    case : str
        Name of the case.
    steps : sequence of str
        Of :func:`measure_steps`, one thread each.
    """

    case: str
    steps: Sequence[str]


DECODE, ENCODE = "decode {}", "encode {}"
READS = ("bases", "qualities", "metadata")
ALL = (*READS, "results")
#: As a sort moves them.
MOVED = ("packed bases", "qualities", "metadata", "results")


def each(step: str, columns: Sequence[str]) -> list[str]:
    """The same step for several columns."""
    return [step.format(column) for column in columns]


WORKS = [
    Work("import FASTQ.gz pair", ["gunzip FASTQ", *each(ENCODE, READS), "digest of reads", "write reads.agd"]),
    Work("sort, AGD → AGD", [*each(DECODE, MOVED), *each("gather {}", MOVED), *each(ENCODE, MOVED),
                             "fresh memory, qualities", "write sorted.agd"]),
    Work("sort, BAM → BAM", ["inflate BAM", "gather records", "deflate at level 6", "fresh memory, records"]),
    Work("export BAM, level 6", [*each(DECODE, ALL), "deflate at level 6", "digest of records"]),
    Work("import BAM / samtools view -c", ["inflate BAM", *each(ENCODE, ALL), "digest of records", "write sorted.agd"]),
    Work("import BAM / pysam loop", ["inflate BAM"]),
    Work("FASTQ out", [*each(DECODE, READS), "write FASTQ"]),
    Work("mark duplicates on sorted", each(DECODE, ["results", "qualities"])),
]


def best(function: Callable[[], object], runs: int = 3) -> float:
    """Least processor seconds of some runs."""
    seconds = []
    for _ in range(runs):
        begun = time.process_time()
        function()
        seconds.append(time.process_time() - begun)
    return min(seconds)


def start_seconds() -> float:
    """Wall seconds until a process has loaded what it needs."""
    found = []
    for _ in range(5):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", START], check=True)
        found.append(time.perf_counter() - begun)
    return min(found)


def gunzip(paths: Sequence[Path]) -> None:
    """Inflate whole files with ISA-L."""
    buffer = bytearray(1 << 20)
    for path in paths:
        with igzip.open(path, "rb") as file:
            while file.readinto(buffer):
                pass


def groups(path: Path) -> Iterator[BlockGroup]:
    """The blocks of a BAM file, as they are stored."""
    with contextlib.closing(open_source(str(path))) as source:
        yield from cut_groups(Feed(source))


def inflate_bam(path: Path) -> None:
    """Inflate the blocks of a BAM file with libdeflate."""
    for group in groups(path):
        inflate_group("", group)


def write(size: int) -> None:
    """Write so many bytes to a file, through the cache of the system."""
    data = bytes(1 << 22)
    with tempfile.TemporaryFile() as file:
        for _ in range(0, size, len(data)):
            file.write(data)


def touch(size: int) -> None:
    """Take memory that the system has to clear."""
    with mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as block:
        for at in range(0, size, 4096):
            block[at] = 1


def gather(rng: np.random.Generator, records: int, width: int) -> float:
    """Seconds for records of one width in random order."""
    values = np.ones(records * width, np.uint8)
    source, row = np.zeros(records, np.uint32), rng.permutation(records)
    found: I64 = 4 * width * row
    out: U8 = np.ones(records * width, np.uint8)
    offsets: I64 = np.arange(records + 1, dtype=np.int64) * width
    return best(lambda: kernels.gather_spans([values], source, found, False, out, offsets))


def gather_packed(rng: np.random.Generator, records: int, width: int) -> float:
    """Seconds for bases of records of one width in random order, two bits each."""
    none = np.empty(0, np.int64)
    bases = [(np.zeros((records * width + 3) // 4, np.uint8), none, none, np.empty(0, np.uint8))]
    source, starts, offsets = np.zeros(records, np.uint32), 4 * width * rng.permutation(records), np.arange(records + 1)
    out = np.zeros_like(bases[0][0])
    return best(lambda: kernels.gather_packed(bases, source, starts, offsets * width, out))


def columns(dataset: agd.Dataset) -> dict[str, float]:
    """Seconds to decode and to encode each column of a sorted dataset, chunk by chunk, and its digests."""
    found: dict[str, float] = {}

    def add(step: str, function: Callable[[], object]) -> None:
        found[step] = found.get(step, 0.0) + best(function)

    for chunk in dataset.chunks:
        blobs = dataset.fetch(chunk, ALL)
        for step in (*ALL, "packed bases"):
            name = step.split()[-1]
            decode = dataset.decode_packed if step != name else dataset.decode_column
            spec = dataset.manifest.columns[name]
            add(f"decode {step}", lambda d=decode, n=name, b=blobs, c=chunk: d(c, n, b))
            column = decode(chunk, name, blobs)
            add(f"encode {step}", lambda n=name, s=spec, c=column, f=chunk.first: encode_cell(
                c, n, s, first=f, dataset_id=dataset.manifest.id, dataset_name="", orientation=dataset.orientation
            ))  # fmt: skip
        records = to_records(to_lines(dataset.decode(chunk, blobs, ALL), dataset.orientation), dataset.manifest.names)
        add("digest of reads", lambda r=records: digest_records(r, alignments=False))
        add("digest of records", lambda r=records: digest_records(r))
    return found


def measure_steps(folder: Path) -> dict[str, float]:
    """Processor seconds of every step for all records, on one thread."""
    dataset, rng = agd.open(folder / "sorted.agd"), np.random.default_rng(1)
    records = len(dataset)
    text = sum((folder / name).stat().st_size for name in ("R1.fq", "R2.fq"))
    bam = folder / "sorted.bam"
    sample = b"".join(inflate_group("", group) for group in itertools.islice(groups(bam), 40))
    total = sum(sum(group.plain) for group in groups(bam))
    bases = sum(chunk.cells["bases"].statistics["total"] for chunk in dataset.chunks)
    names = sum(chunk.cells["metadata"].statistics["total"] for chunk in dataset.chunks)
    stored = {name: agd.open(folder / name).manifest.stored_bytes for name in ("reads.agd", "sorted.agd")}
    steps = columns(dataset)
    steps |= {
        "gunzip FASTQ": best(lambda: gunzip([folder / "R1.fastq.gz", folder / "R2.fastq.gz"])),
        "inflate BAM": best(lambda: inflate_bam(bam)),
        "deflate at level 6": best(lambda: deflate_blocks(sample, 6)) * total / len(sample),
        "gather packed bases": gather_packed(rng, records, bases // records),
        "gather qualities": gather(rng, records, bases // records),
        "gather metadata": gather(rng, records, names // records),
        "gather results": gather(rng, records, 48),
        "gather records": gather(rng, records, total // records),
        "fresh memory, qualities": best(lambda: touch(bases)), "fresh memory, records": best(lambda: touch(total)),
        "write FASTQ": best(lambda: write(text)),
    }  # fmt: skip
    return steps | {f"write {name}": best(lambda size=size: write(size)) for name, size in stored.items()}


def main() -> None:
    """Measure the steps, and print what they mean for each work."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="1M")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("bench-data"))
    options = parser.parse_args()
    folder = options.folder / options.size
    if not (folder / "sorted.agd").exists():
        parser.error(f"there is no {folder / 'sorted.agd'}: run make bench first, it makes the inputs")
    report = folder / "report.json"
    rows = {row["name"]: row for row in json.loads(report.read_text())["rows"]} if report.exists() else {}
    start = start_seconds()
    keep_freed()
    steps = measure_steps(folder)
    print("| step, one thread | seconds |\n|---|---|")
    for name, seconds in sorted(steps.items(), key=lambda item: -item[1]):
        print(f"| {name} | {seconds:.3f} |")
    print(f"| start of a process | {start:.3f} |\n\n| work | steps | least wall | AGD | faster at most | is | target |")
    print("|---|---|---|---|---|---|---|")
    for work in WORKS:
        total = sum(steps[step] for step in work.steps)
        least = start + total / options.threads
        row = rows.get(work.case, {})
        told = "| | | | |"
        if "peer" in row:
            told = (f"| {row['ours']['wall']:.2f} s | {row['peer']['wall'] / least:.1f}x | {row['ratio']:.2f}x "
                    f"| {row['target']}x |")  # fmt: skip
        print(f"| {work.case} | {total:.2f} s | {least:.2f} s {told}")


if __name__ == "__main__":
    main()
