"""What is measured: our command, the peer's, and the ratio that is aimed at."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
AGD = str(Path(sys.executable).with_name("agd"))
PYTHON = sys.executable


@dataclass(frozen=True, slots=True)
class Case:
    """Two commands that do the same work.

    Attributes
    ----------
    name : str
    ours, peer : list of str
        Run in the folder of the inputs; outputs go to ``out/``.
    target : float
        Times faster than the peer that we mean to be.
    needs : str
        Program or Python module that the peer needs.
    by : str
        What the target is about: "wall" seconds, or "cpu" seconds of all processors.
    times : int
        How often our command does the work that the peer does once.
    """

    name: str
    ours: Sequence[str]
    peer: Sequence[str]
    target: float
    needs: str = "samtools"
    by: str = "wall"
    times: int = 1


def shell(*commands: str) -> list[str]:
    """Several commands, one after the other."""
    return ["bash", "-ec", "\n".join(commands)]


def missing(case: Case) -> bool:
    """Whether what the peer needs is not installed."""
    if case.needs.startswith("python:"):
        import importlib.util

        return importlib.util.find_spec(case.needs[7:]) is None
    return shutil.which(case.needs) is None


def cases(threads: int) -> list[Case]:
    """All cases, in the order of the main job."""
    t = str(threads)
    quiet = f"--quiet --overwrite -t {t}"
    scripts = {name: [PYTHON, str(HERE / "peers.py"), name] for name in
               ("pysam-loop", "pysam-fields", "map-pair", "polars-bio", "oxbow", "agd-arrow",
                "agd-flagstat")}  # fmt: skip
    return [
        Case("import FASTQ.gz pair", [AGD, "import", "fastq", "R1.fastq.gz", "R2.fastq.gz", "-o", "out/s.agd",
                                      *quiet.split()],
             ["samtools", "import", "-@", t, "-1", "R1.fastq.gz", "-2", "R2.fastq.gz", "-o", "out/u.bam"], 5),
        Case("sort, AGD → AGD", [AGD, "sort", "aligned.agd", "-o", "out/sorted.agd", *quiet.split()],
             ["samtools", "sort", "-@", t, "-o", "out/sorted.bam", "aligned.bam"], 6),
        Case("sort, BAM → BAM", [AGD, "sort", "aligned.bam", "-o", "out/bs.bam", "--no-index", "--quiet", "-t", t],
             ["samtools", "sort", "-@", t, "-o", "out/sorted.bam", "aligned.bam"], 2),
        Case("mark duplicates on sorted", [AGD, "dedup", "sorted.agd", *quiet.split()],
             ["samtools", "markdup", "-@", t, "fixed.bam", "out/marked.bam"], 8),
        Case("flagstat as a command", [AGD, "flagstat", "sorted.agd"],
             ["samtools", "flagstat", "-@", t, "sorted.bam"], 3),
        Case("flagstat in process", [*scripts["agd-flagstat"], "sorted.agd", "20"],
             ["samtools", "flagstat", "-@", t, "sorted.bam"], 15, times=20),
        Case("export BAM, level 6", [AGD, "export", "bam", "sorted.agd", "-o", "out/o.bam", "--no-index", "-l", "6",
                                     "--quiet", "-t", t],
             ["samtools", "view", "-b", "-@", t, "-o", "out/v.bam", "sorted.bam"], 1.5),
        Case("import BAM / samtools view -c", [AGD, "import", "bam", "sorted.bam", "-o", "out/i.agd", *quiet.split()],
             ["samtools", "view", "-c", "-@", t, "sorted.bam"], 0.5),
        Case("import BAM / pysam loop", [AGD, "import", "bam", "sorted.bam", "-o", "out/i.agd", *quiet.split()],
             [*scripts["pysam-loop"], "sorted.bam"], 15, "python:pysam"),
        Case("import BAM / pysam loop over all fields", [AGD, "import", "bam", "sorted.bam", "-o", "out/i.agd",
                                                         *quiet.split()],
             [*scripts["pysam-fields"], "sorted.bam"], 15, "python:pysam"),
        Case("FASTQ out", [AGD, "export", "fastq", "aligned.agd", "-o", "out/1.fq", "-2", "out/2.fq", "--quiet", "-t",
                           t],
             ["samtools", "fastq", "-@", t, "-1", "out/p1.fq", "-2", "out/p2.fq", "-0", "/dev/null", "-s", "/dev/null",
              "-n", "aligned.bam"], 2),
        Case("align with minibwa / bare map_pair", [AGD, "align", "reads.agd", "-r", "ref.fa", *quiet.split()],
             [*scripts["map-pair"], "ref.fa", "R1.fq", "R2.fq", t, "reads.agd"], 0.91, "python:minibwa", "cpu"),
        Case("align with bwa / bare bwa mem", [AGD, "align", "reads.agd", "-r", "ref.fa", "-a", "bwa",
                                               *quiet.split()],
             shell(f"bwa mem -t {t} -K 10000000 ref.fa R1.fastq.gz R2.fastq.gz > /dev/null"), 0.97, "bwa", "cpu"),
        Case("align with minimap2 / bare minimap2", [AGD, "align", "reads.agd", "-r", "ref.fa", "-a", "minimap2",
                                                     *quiet.split()],
             shell(f"minimap2 -a -x sr -t {t} ref.mmi R1.fastq.gz R2.fastq.gz > /dev/null"), 0.91, "minimap2", "cpu"),
        Case("align with snap-aligner / bare snap-aligner", [AGD, "align", "reads.agd", "-r", "ref.fa", "-a",
                                                             "snap-aligner", *quiet.split()],
             shell(f"snap-aligner paired ref.snap R1.fastq.gz R2.fastq.gz -t {t} -o -sam - > /dev/null"), 0.91,
             "snap-aligner", "cpu"),
        Case("align + sort + dedup with bwa / bare bwa mem", [AGD, "align", "reads.agd", "-r", "ref.fa", "-a", "bwa",
                                                              "--sort", "--dedup", "-o", "out/f.agd", *quiet.split()],
             shell(f"bwa mem -t {t} -K 10000000 ref.fa R1.fastq.gz R2.fastq.gz > /dev/null"), 0.926, "bwa", "cpu"),
        Case("all columns to Arrow / polars-bio", [*scripts["agd-arrow"], "sorted.agd"],
             [*scripts["polars-bio"], "sorted.bam"], 2, "python:polars_bio"),
        Case("all columns to Arrow / oxbow", [*scripts["agd-arrow"], "sorted.agd"],
             [*scripts["oxbow"], "sorted.bam"], 2, "python:oxbow"),
        Case("FASTQ through pigz (compress only)", [AGD, "import", "fastq", "R1.fq", "R2.fq", "-o", "out/p.agd",
                                                    *quiet.split()],
             shell(f"pigz -p {t} -c R1.fq > out/1.gz", f"pigz -p {t} -c R2.fq > out/2.gz"), 5, "pigz"),
        Case("FASTQ through zstd (compress only)", [AGD, "import", "fastq", "R1.fq", "R2.fq", "-o", "out/p.agd",
                                                    *quiet.split()],
             shell(f"zstd -q -f -T{t} R1.fq -o out/1.zst", f"zstd -q -f -T{t} R2.fq -o out/2.zst"), 1, "zstd"),
        Case("sort, AGD → AGD / sambamba", [AGD, "sort", "aligned.agd", "-o", "out/sorted.agd", *quiet.split()],
             ["sambamba", "sort", "-q", "-t", t, "-o", "out/sb.bam", "aligned.bam"], 6, "sambamba"),
        Case("mark duplicates / sambamba", [AGD, "dedup", "sorted.agd", *quiet.split()],
             ["sambamba", "markdup", "-q", "-t", t, "sorted.bam", "out/sbm.bam"], 8, "sambamba"),
    ]  # fmt: skip
