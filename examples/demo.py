"""A tour: simulate reads (or take your own), then import, align, sort, export and look at them.

Run by ``make demo``; every command is printed before it runs, so that it can be typed again by hand.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

READ_GROUP = r"@RG\tID:demo\tSM:demo\tLB:demo\tPL:ILLUMINA"


def main() -> None:
    """Run the tour."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reads1")
    parser.add_argument("--reads2")
    parser.add_argument("--reference")
    parser.add_argument("--folder", default="demo-data")
    parser.add_argument("--pairs", type=int, default=100_000)
    options = parser.parse_args()
    given = [options.reads1, options.reference]
    if any(given) and not all(given):
        parser.error("give the reads (R1=, R2=) and the reference (REF=) together, or nothing at all")
    folder = Path(options.folder)
    folder.mkdir(exist_ok=True)
    reads1, reads2, reference = options.reads1, options.reads2, options.reference
    truth = None
    if not reads1:
        reads1, reads2, reference, truth = (
            str(folder / name) for name in ("R1.fastq.gz", "R2.fastq.gz", "genome.fa", "truth.tsv")
        )
        step("Simulate a genome of 5 million bases and read pairs of it")
        agd("simulate", reads1, reads2, "--pairs", str(options.pairs), "--genome", reference, "--truth", truth)
    dataset, ordered, bam = (str(folder / name) for name in ("demo.agd", "sorted.agd", "demo.bam"))

    step("1. Import: FASTQ becomes a dataset of three columns")
    reads = [reads1, reads2] if reads2 else [reads1]
    agd("import", "fastq", *reads, "-o", dataset, "--overwrite")
    step("2. Align: adds one column, rewrites nothing")
    agd("align", dataset, "--reference", reference, "--read-group", READ_GROUP)
    step("3. Sort by coordinate into a new dataset")
    agd("sort", dataset, "-o", ordered, "--overwrite")
    step("4. Export BAM and its index, for every other tool")
    agd("export", "bam", ordered, "-o", bam)
    step("5. Look at it")
    agd("info", ordered)
    agd("view", ordered, "--head", "3")
    if truth:
        check(ordered, truth)
    summary([Path(r) for r in reads], Path(dataset), Path(ordered), Path(bam))


def step(text: str) -> None:
    """Announce a step."""
    print(f"\n── {text}", flush=True)


def agd(*arguments: str) -> None:
    """Print and run a command; stop the tour if it fails."""
    print(f"$ agd {shlex.join(arguments)}", flush=True)
    command = Path(sys.executable).with_name("agd")
    code = subprocess.run([str(command), *arguments], check=False).returncode
    if code:
        sys.exit(f"the command failed with exit code {code}")


def check(dataset: str, truth: str) -> None:
    """Compare the places of the reads with the truth."""
    step("Check: is every read where it came from?")
    import agd as library
    from agd.types import Flag

    where: dict[str, tuple[str, int, int]] = {}
    with open(truth) as file:
        next(file)
        for line in file:
            name, contig, first, second, *_ = line.rstrip("\n").split("\t")
            where[name] = (contig, int(first), int(second))
    ds = library.open(dataset)
    references = [r.name for r in ds.manifest.references]
    right = total = 0
    start = time.perf_counter()
    for batch in ds.batches(["metadata", "results"]):
        names, places = batch.ragged("metadata"), batch.alignments()
        for i, flag in enumerate(places.flag.tolist()):
            if flag & (Flag.SECONDARY | Flag.SUPPLEMENTARY):
                continue
            contig, first, second = where[names[i].split()[0].decode()]
            expected = first if flag & Flag.READ1 else second
            total += 1
            found = places.position[i] + 1
            right += references[places.reference[i]] == contig and abs(found - expected) <= 10
    share = right / max(1, total)
    print(f"{right:,} of {total:,} reads ({share:.2%}) lie where they were taken from "
          f"({time.perf_counter() - start:.1f} s)")
    if share < 0.97:
        sys.exit("that is fewer than the 97 % that are expected: something is wrong")


def size(path: Path) -> int:
    """Bytes of a file or of all files in a folder."""
    if path.is_dir():
        return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    return os.stat(path).st_size


def summary(reads: list[Path], dataset: Path, ordered: Path, bam: Path) -> None:
    """Sizes side by side."""
    step("Summary")
    rows = [("FASTQ as given", sum(size(r) for r in reads)), (f"{dataset.name} (reads and alignments)", size(dataset)),
            (f"{ordered.name}", size(ordered)), (f"{bam.name}", size(bam))]
    for name, amount in rows:
        print(f"  {name:<40} {amount / 1e6:>8.1f} MB")
    print(f"\nEverything is in {dataset.parent}/ — try:\n"
          f"  .venv/bin/agd view {ordered} --head 5\n"
          f"  .venv/bin/python -c \"import agd; print(agd.open('{ordered}')[0:2])\"")


if __name__ == "__main__":
    main()
