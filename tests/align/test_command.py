"""Aligners that are programs: every record is what the program prints, and its failures are errors."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agd.aligners import process
from agd.aligners.align import align
from agd.aligners.collect import ordinal_names
from agd.dataset import Dataset
from agd.draft import Draft
from agd.errors import AgdError, AlignerError
from agd.run import SerialRunner, ThreadRunner
from tests.support.reads import Read, interleave, read_fastq, sam_lines

Make = Callable[..., Dataset]

PLAIN = frozenset(b"ACGTN")


def needs(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")


def printed(command: list[str], reads: list[Read], folder: Path, *, ordinals: bool, paired: bool = True) -> list[str]:
    """What a program prints for the reads, given as one interleaved file."""
    source = folder / "in.fq"
    with source.open("wb") as file:
        for i, (name, bases, qualities) in enumerate(reads):
            own = name.split()[0].removesuffix(b"/%d" % (i % 2 + 1))
            named = b"%012d" % (i // 2 if paired else i) if ordinals else own
            file.write(b"@%s\n%s\n+\n%s\n" % (named, bases, qualities))
    done = subprocess.run([*command, str(source)], capture_output=True, check=True)
    return [line for line in done.stdout.decode().splitlines() if not line.startswith("@")]


def plain(reads: list[Read]) -> list[Read]:
    """Pairs of upper-case bases only: the others bwa prints as N."""
    pairs = zip(reads[::2], reads[1::2], strict=True)
    return [r for p in pairs if all(x[1] and set(x[1]) <= PLAIN for x in p) for r in p]


def canonical(lines: list[str]) -> list[str]:
    """Sorted, with numbers of type f in their shortest form, and RNEXT as in BAM."""
    short = [re.sub(r"(?<=:f:)[^\t]+", lambda m: repr(float(m[0])), line) for line in lines]
    return sorted(re.sub(r"\t\*\t0\t0\t\*\t=\t", "\t*\t0\t0\t*\t*\t", line) for line in short)


def without_names(lines: list[str]) -> list[str]:
    """Lines without QNAME, and without SEQ and QUAL of further alignments."""
    out = []
    for line in lines:
        fields = line.split("\t")
        if int(fields[1]) & 0x900:
            fields[9:11] = []
        out.append("\t".join(fields[1:]))
    return out


@pytest.mark.parametrize("arguments", ["", "-a -T 20"])
def test_bwa_is_bwa(make_dataset: Make, pairs: list[Read], reference: Path, tmp_path: Path, arguments: str) -> None:
    needs("bwa")
    reads = plain(pairs)
    ds = make_dataset(reads, chunk=100)
    align(ds, str(reference), aligner="bwa", read_group=r"@RG\tID:x\tSM:s", aligner_args=arguments)
    ds = Dataset.open(ds.url)
    (index,) = reference.with_name(f"{reference.name}.agd-index").glob("bwa-*")
    command = ["bwa", "mem", "-p", "-K", "10000000", "-t", "1", "-R", r"@RG\tID:x\tSM:s", *arguments.split()]
    expected = printed([*command, str(index / "index")], reads, tmp_path, ordinals=False)
    found = sam_lines(ds)
    if arguments:  # bwa writes SEQ of secondary alignments as '*', but repeats QUAL and clips for some
        found, expected = without_names(found), without_names(expected)
    assert found == expected
    assert any(int(line.split("\t")[1]) & 0x800 for line in sam_lines(ds))
    step = ds.manifest.steps[-2]
    assert step["program"] == "bwa"
    assert step["command"].startswith("bwa mem -t")


@pytest.mark.parametrize("aligner", ["bwa", "minimap2", "bowtie2", "snap-aligner", "bwa-mem2"])
@pytest.mark.parametrize("paired", [True, False])
def test_chunks_and_workers_do_not_matter(
    make_dataset: Make, pairs: list[Read], reference: Path, aligner: str, paired: bool
) -> None:
    needs(aligner)
    found = []
    for runner, chunk in ((SerialRunner(), 5000), (ThreadRunner(2), 150 if paired else 77)):
        ds = make_dataset(pairs, chunk=chunk, paired=paired)
        report = align(ds, str(reference), aligner=aligner, runner=runner)
        found.append(sam_lines(Dataset.open(ds.url)))
        assert report.reads == len(pairs)
        assert report.mapped > 0.8 * len(pairs)
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("aligner", "command", "index"),
    [
        ("minimap2", ["minimap2", "-ax", "sr", "-t", "1", "{}.mmi"], "minimap2-sr-*"),
        ("bowtie2", ["bowtie2", "-x", "{}", "--interleaved"], "bowtie2-*"),
        (
            "snap-aligner", ["snap-aligner", "paired", "{}", "-o", "-sam", "-", "-pairedInterleavedFastq"],
            "snap-aligner-*",
        ),
    ],
)
def test_every_record_is_what_the_program_prints(
    make_dataset: Make, pairs: list[Read], reference: Path, tmp_path: Path, aligner: str, command: list[str], index: str
) -> None:
    needs(aligner)
    reads = plain(pairs)
    ds = make_dataset(reads, chunk=200)
    align(ds, str(reference), aligner=aligner)
    (folder,) = reference.with_name(f"{reference.name}.agd-index").glob(index)
    arguments = [x.format(folder / "index") for x in command]
    expected = without_names(printed(arguments, reads, tmp_path, ordinals=True))
    found = without_names(sam_lines(Dataset.open(ds.url)))
    assert canonical(found) == canonical(expected)


def test_an_index_beside_the_reference_is_used(
    make_dataset: Make, pairs: list[Read], contigs: dict[str, bytes], tmp_path: Path
) -> None:
    needs("bwa")
    from tests.support.reads import write_fasta

    path = write_fasta(tmp_path / "own.fa", contigs)
    subprocess.run(["bwa", "index", str(path)], check=True, capture_output=True)
    align(make_dataset(pairs[:20]), str(path), aligner="bwa")
    assert not (tmp_path / "own.fa.agd-index").exists()
    # A reference that is newer than that index is indexed anew, elsewhere.
    write_fasta(path, {"one": contigs["two"]})
    os.utime(path, ns=(2**62, 2**62))
    align(make_dataset(pairs[:20]), str(path), aligner="bwa")
    assert (tmp_path / "own.fa.agd-index").exists()
    # And one that only claims to be of this reference is found out.
    os.utime(path, ns=(0, 0))
    ds = make_dataset(pairs[:20])
    with pytest.raises(AlignerError, match="index of the aligner is not that of"):
        align(ds, str(path), aligner="bwa")
    assert "results" not in Dataset.open(ds.url).columns


@pytest.mark.data
@pytest.mark.parametrize("which", ["NA12878", "Shigella"])
def test_bwa_is_bwa_on_real_reads(make_dataset: Make, data: Path, tmp_path: Path, which: str) -> None:
    needs("bwa")
    if which == "NA12878":
        folder = data / "human_na12878_chr20"
        source = folder / "hg19_chr20_9995001_11095000.fa.gz"
        files = [folder / f"NA12878_chr20_R{k}.fastq.gz" for k in (1, 2)]
    else:
        folder = data / "bacteria_shigella"
        source = folder / "GCF_002949675.fna.gz"
        files = [folder / f"ERR6005894_R{k}.fastq.gz" for k in (1, 2)]
    reads = interleave(*(read_fastq(path)[:6000] for path in files))
    reference = tmp_path / "ref.fa.gz"
    reference.symlink_to(source)
    ds = make_dataset(reads, chunk=7000)
    align(ds, str(reference), aligner="bwa")
    (index,) = tmp_path.glob("ref.fa.gz.agd-index/bwa-*")
    command = ["bwa", "mem", "-p", "-t", "2", "-K", "10000000", str(index / "index")]
    assert sam_lines(Dataset.open(ds.url)) == printed(command, reads, tmp_path, ordinals=False)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a program named ``minimap2`` on the PATH that runs some Python after answering for version and index."""

    def install(body: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        path = folder / "minimap2"
        path.write_text(
            f"#!{sys.executable}\n"
            "import sys, os, time, signal\n"
            "if '--version' in sys.argv: print('9.9-fake'); sys.exit()\n"
            "if '-d' in sys.argv: open(sys.argv[sys.argv.index('-d') + 1], 'w'); sys.exit()\n"
            "header = '@SQ\\tSN:one\\tLN:30000\\n@SQ\\tSN:two\\tLN:20000\\n@SQ\\tSN:three|x\\tLN:12500\\n'\n"
            "def record(number, flag): return f'{number:012d}\\t{flag}\\t*\\t0\\t0\\t*\\t*\\t0\\t0\\t*\\t*\\n'\n"
            "def say(text): sys.stdout.write(text); sys.stdout.flush()\n" + body
        )
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    return install


FAILURES = {
    "dies half-way": (
        "sys.stdin.readline(); say(header + record(0, 77) + record(0, 141))\n"
        "sys.stderr.write('out of luck\\n'); sys.exit(3)\n",
        "minimap2 ended with exit code 3(.|\n)*out of luck",
    ),
    "dies at the end": (
        "n = sum(1 for _ in sys.stdin) // 8; say(header)\n"
        "for i in range(n): say(record(i, 77) + record(i, 141))\n"
        "sys.exit(1)\n",
        "ended with exit code 1",
    ),
    "is killed": ("say(header); sys.stdin.read(); os.kill(os.getpid(), signal.SIGKILL)\n", "stopped by signal 9"),
    "hangs after closing its input": (
        "say(header); sys.stdin.readline(); os.close(0); time.sleep(1000)\n", "stopped reading before the end",
    ),
    "says nothing": ("sys.stdin.read()\n", "index of the aligner is not that of"),
    "leaves reads out": (
        "sys.stdin.read(); say(header + record(0, 77) + record(0, 141) + record(2, 77))\n",
        "printed 0 primary alignments of read 2 ",
    ),
    "says it twice": (
        "sys.stdin.read(); say(header + record(0, 77) + record(0, 77) + record(0, 141))\n",
        "printed 2 primary alignments of read 0 ",
    ),
    "speaks of others": ("sys.stdin.read(); say(header + record(10**9, 77))\n", "read 2,000,000,000 when it cannot"),
    "prints garbage": ("sys.stdin.read(); say(header + 'hello\\tworld\\n')\n", r"not SAM: .*hello\\tworld"),
    "renames reads": ("sys.stdin.read(); say(header + record(0, 77)[1:])\n", "names that are not those"),
    "prints binary": ("sys.stdin.read(); os.write(1, bytes(range(256)) * 9)\n", "index of the aligner is not that of"),
    "has another index": ("sys.stdin.read(); say('@SQ\\tSN:one\\tLN:5\\n' + record(0, 77))\n", "is not that of"),
}


@pytest.mark.parametrize("chunk", [1000, 100_000])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_failing_aligner_is_an_error_and_changes_nothing(
    make_dataset: Make, pairs: list[Read], reference: Path, fake: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch, failure: str, chunk: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(process, "GRACE", 0.05)
    body, message = FAILURES[failure]
    fake(body)
    ds = make_dataset(pairs * 6, chunk=chunk)  # more text than fits into a pipe
    before = sorted(os.listdir(ds.url))
    with pytest.raises(AlignerError, match=message):
        align(ds, str(reference), aligner="minimap2")
    assert sorted(os.listdir(ds.url)) == before
    assert [t.name for t in threading.enumerate() if t.name in ("agd-feed", "agd-stderr")] == []
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)  # no child is left, dead or alive


def test_a_failing_store_stops_the_aligner(
    make_dataset: Make, pairs: list[Read], reference: Path, fake: Callable[[str], None]
) -> None:
    fake("say(header); sys.stdin.read(); time.sleep(1000)\n")
    ds = make_dataset(pairs * 3, chunk=250)
    for path in Path(ds.url).glob("*000000001000.bases"):
        path.write_bytes(b"damaged")
    with pytest.raises(AgdError, match=r"000000001000\.bases"):
        align(ds, str(reference), aligner="minimap2")
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.parametrize("error", [OSError("no room"), KeyboardInterrupt()])
def test_results_that_cannot_be_stored_stop_the_aligner(
    make_dataset: Make, pairs: list[Read], reference: Path, fake: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch, error: BaseException,
) -> None:  # fmt: skip
    fake(
        "say(header)\n"
        "for i, line in enumerate(sys.stdin):\n"
        "    if i % 8 == 7: say(record(i // 8, 77) + record(i // 8, 141))\n"
        "time.sleep(1000)\n"
    )

    def failing(*arguments: object) -> None:
        raise error

    ds = make_dataset(pairs[:200], chunk=20)
    monkeypatch.setattr(Draft, "store", failing)
    before = sorted(os.listdir(ds.url))
    with pytest.raises(type(error)) as caught:
        align(ds, str(reference), aligner="minimap2", runner=SerialRunner())
    assert caught.value is error
    assert sorted(os.listdir(ds.url)) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_records_in_any_order(
    make_dataset: Make, pairs: list[Read], reference: Path, fake: Callable[[str], None]
) -> None:
    fake(
        "n = sum(1 for _ in sys.stdin) // 8; say(header)\n"
        "for i in reversed(range(n)): say(record(i, 141) + record(i, 77))\n"
    )
    ds = make_dataset(pairs, chunk=100)
    align(ds, str(reference), aligner="minimap2")
    flags = [f for b in Dataset.open(ds.url).batches(["results"]) for f in b.alignments().flag.tolist()]
    assert flags == [77, 141] * (len(pairs) // 2)


def test_a_missing_aligner(
    make_dataset: Make, pairs: list[Read], reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ds = make_dataset(pairs[:10])
    for name in ("bwa", "bwa-mem2", "minimap2", "bowtie2", "snap-aligner"):
        with pytest.raises(AlignerError, match=f"{name} is not installed(.|\n)*conda install"):
            align(ds, str(reference), aligner=name)


def test_names_of_reads() -> None:
    assert list(ordinal_names(np.array([0, 7, 123456789012]))) == [b"0" * 12, b"0" * 11 + b"7", b"123456789012"]
