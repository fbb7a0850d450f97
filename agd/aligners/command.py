"""Aligners that are programs: fed interleaved FASTQ, asked for SAM."""

from __future__ import annotations

import functools
import itertools
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agd import kernels
from agd.aligners.aligner import Aligned, Reads, Request, split_arguments
from agd.aligners.collect import Collector, SamReader, ordinal_names
from agd.aligners.index import find_index, local_path
from agd.aligners.process import Program
from agd.batch import Batch, Column
from agd.errors import AlignerError

#: Bases that ``bwa mem`` takes at one time: fixed, because its insert sizes are estimated from as many, and the
#: results must not depend on the number of threads.
BWA_BATCH = 10_000_000

#: Stands for all qualities where the aligner does not use them for aligning.
_ANY_QUALITY = ord("I")


@dataclass(frozen=True, slots=True)
class Job:
    """What a command line is made of: threads, prefix of the index, pairs or not, read group, the user's options."""

    threads: int
    index: str
    paired: bool
    read_group: str
    arguments: list[str]


@dataclass(frozen=True, slots=True)
class Tool:
    """A program that aligns.

    Attributes
    ----------
    program : str
        Name on the PATH.
    version : list of str
        Arguments which make it tell its version.
    install : str
        How to get it.
    columns : tuple of str
        Columns of the reads on which its results depend.
    command : callable
        Arguments for aligning reads from standard input.
    build : callable
        ``build(program, fasta, prefix, threads, arguments)``: the command that makes an index.
    index : callable, optional
        Part of the name of an index that depends on the options.
    suffixes : tuple of str
        Files that make up the index which users of the program have beside their reference, if it is complete.
    """

    program: str
    version: list[str]
    install: str
    columns: tuple[str, ...]
    command: Callable[[Job], list[str]]
    build: Callable[[str, str, str, int, list[str]], list[str]]
    index: Callable[[list[str]], str] = lambda _: ""
    suffixes: tuple[str, ...] = ()


def _escaped(read_group: str) -> list[str]:
    return ["-R", read_group.replace("\t", "\\t")] if read_group else []


def _bwa(job: Job) -> list[str]:
    return [
        "mem", "-t", str(job.threads), "-K", str(BWA_BATCH), *(["-p"] if job.paired else []),
        *_escaped(job.read_group), *job.arguments, job.index, "-",
    ]  # fmt: skip


def _preset(arguments: list[str]) -> str:
    """The preset of minimap2 that the user asks for; its index depends on it."""
    for option, value in itertools.pairwise([*arguments, ""]):
        if re.fullmatch(r"-[a-zA-Z]*x", option):
            return value
        if re.fullmatch(r"-x.+", option):
            return option[2:]
    return "sr"


def _minimap2(job: Job) -> list[str]:
    preset = [] if _preset(job.arguments) != "sr" else ["-x", "sr"]
    return ["-a", *preset, "-t", str(job.threads), *_escaped(job.read_group), *job.arguments, f"{job.index}.mmi", "-"]


def _bowtie2(job: Job) -> list[str]:
    group = job.read_group.split("\t")[1:]
    names = [x for f in group for x in (["--rg-id", f[3:]] if f.startswith("ID:") else ["--rg", f])]
    return [
        "-p", str(job.threads), "--reorder", *names, *job.arguments, "-x", job.index,
        "--interleaved" if job.paired else "-U", "-",
    ]  # fmt: skip


def _snap(job: Job) -> list[str]:
    kind, source = ("paired", "-pairedInterleavedFastq") if job.paired else ("single", "-fastq")
    return [
        kind, job.index, source, "-", "-t", str(job.threads), "-o", "-sam", "-", *_escaped(job.read_group),
        *job.arguments,
    ]  # fmt: skip


#: Programs by the name of the aligner.
TOOLS = {
    "bwa": Tool(
        "bwa", [], "apt install bwa, or conda install -c bioconda bwa", ("bases",), _bwa,
        lambda program, fasta, prefix, threads, _: [program, "index", "-p", prefix, fasta],
        suffixes=(".amb", ".ann", ".bwt", ".pac", ".sa"),
    ),
    "bwa-mem2": Tool(
        "bwa-mem2", ["version"], "conda install -c bioconda bwa-mem2", ("bases",), _bwa,
        lambda program, fasta, prefix, threads, _: [program, "index", "-p", prefix, fasta],
        suffixes=(".0123", ".amb", ".ann", ".bwt.2bit.64", ".pac"),
    ),
    "minimap2": Tool(
        "minimap2", ["--version"], "apt install minimap2, or conda install -c bioconda minimap2", ("bases",), _minimap2,
        lambda program, fasta, prefix, threads, args: [
            program, "-x", _preset(args), "-t", str(threads), "-d", f"{prefix}.mmi", fasta,
        ],
        index=lambda args: f"-{_preset(args)}",
    ),
    "bowtie2": Tool(
        "bowtie2", ["--version"], "apt install bowtie2, or conda install -c bioconda bowtie2", ("bases", "qualities"),
        _bowtie2,
        lambda program, fasta, prefix, threads, _: [f"{program}-build", "--threads", str(threads), fasta, prefix],
    ),
    "snap-aligner": Tool(
        "snap-aligner", [], "apt install snap-aligner, or conda install -c bioconda snap-aligner",
        ("bases", "qualities"), _snap,
        lambda program, fasta, prefix, threads, _: [program, "index", fasta, prefix, f"-t{threads}"],
    ),
}  # fmt: skip


class Command:
    """One run of a program over all reads of a dataset.

    Reads are named by number, so that records find their reads whatever their order is, and the column of names is
    not read; qualities are read only for programs whose results depend on them. What the program prints is kept as it
    is: flags, positions, mates, tags.

    Parameters
    ----------
    name : str
        One of :data:`TOOLS`.
    request : Request
        ``arguments`` are added to the command line.

    Raises
    ------
    AlignerError
        The program is not installed.
    """

    def __init__(self, name: str, request: Request) -> None:
        self.name = name
        self._tool = TOOLS[name]
        self.columns = self._tool.columns
        self._request = request
        self._arguments = split_arguments(request.arguments)
        program = shutil.which(self._tool.program)
        if program is None:
            raise AlignerError(
                f"{name} is not installed: there is no program {self._tool.program!r} on the PATH",
                f"install it ({self._tool.install}), or use --aligner minibwa, which needs no program",
            )
        self._program = program
        self.version = _version([program, *self._tool.version])
        self._command: list[str] = []
        self._header: list[str] = []

    def plan(self) -> dict[str, Any]:
        """See :class:`agd.aligners.aligner.AlignerBase`."""
        return {"aligner": self.name, "version": self.version, "arguments": self._request.arguments}

    def prepare(self, reads: Reads) -> None:
        """Find or build the index."""
        self._paired = reads.paired
        job = Job(
            self._request.runner.workers, self._index(), reads.paired, self._request.read_group, self._arguments
        )  # fmt: skip
        self._command = [self._program, *self._tool.command(job)]

    def _index(self) -> str:
        own = local_path(self._request.genome)
        if own is not None and self._tool.suffixes and _fresh(own, self._tool.suffixes):
            return str(own)
        threads = self._request.runner.workers

        def build(fasta: Path, prefix: Path) -> None:
            command = self._tool.build(self._program, str(fasta), str(prefix), threads, self._arguments)
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
            if done.returncode:
                said = (done.stderr or done.stdout)[-1000:].decode(errors="replace").strip()
                raise AlignerError(f"{shlex.join(command)} failed with exit code {done.returncode}", said)

        kind = self.name + self._tool.index(self._arguments)
        return str(find_index(self._request.genome, kind, build, self._request.progress, threads))

    def parameters(self) -> dict[str, Any]:
        """See :class:`agd.aligners.aligner.AlignerBase`."""
        own = [line for line in self._header if line.startswith("@PG\t")]
        return {
            "arguments": self._request.arguments, "command": shlex.join([self.name, *self._command[1:]]),
            "program_lines": own,
        }  # fmt: skip

    def read_groups(self) -> list[str]:
        """See :class:`agd.aligners.aligner.AlignerBase`; SNAP writes one of its own where it is given none."""
        given = [self._request.read_group] if self._request.read_group else []
        return given or [line for line in self._header if line.startswith("@RG\t")]

    def align_stream(self, batches: Iterable[Batch]) -> Generator[Aligned]:
        """See :class:`agd.aligners.aligner.StreamAligner`."""
        collector = Collector(self._paired)
        reader = SamReader(self._request.genome)

        def feed() -> Iterator[Any]:
            for batch in batches:
                collector.expect(batch.first, len(batch))
                yield fastq(batch, self._paired)

        with Program(self._command, feed()) as program:
            for block in program.blocks():
                yield from self._take(reader, collector, block, False)
            yield from self._take(reader, collector, b"", True)
        self._header = reader.header

    def _take(self, reader: SamReader, collector: Collector, block: bytes, final: bool) -> Iterator[Aligned]:
        parsed = reader.parse(block, final)
        if parsed is not None:
            collector.add(*parsed)
        yield from collector.ready(final)


def fastq(batch: Batch, paired: bool) -> Any:
    """Text of the reads, named by the number of their pair; where there are no bases stands an N.

    Qualities that are missing, or not among the columns of the batch, are all ``I``.
    """
    bases = batch.ragged("bases").compact()
    empty = np.flatnonzero(bases.lengths == 0)
    qualities = batch.ragged("qualities").compact() if "qualities" in batch else Column.empty(len(batch))
    assert bases.offsets is not None
    if len(empty):
        values = np.insert(bases.values, bases.offsets[empty], ord("N"))
        bases = Column.from_lengths(values, np.maximum(bases.lengths, 1))
    assert bases.offsets is not None
    assert qualities.offsets is not None
    ordinals = np.arange(batch.first, batch.first + len(batch))
    names = ordinal_names(ordinals // 2 if paired else ordinals)
    assert names.offsets is not None
    out = np.empty(len(names.values) + 2 * len(bases.values) + 6 * len(batch), np.uint8)
    used = kernels.fastq_format(
        names.values, names.offsets, bases.values, bases.offsets, qualities.values, qualities.offsets,
        np.arange(len(batch)), False, _ANY_QUALITY, out,
    )  # fmt: skip
    return out[:used]


def _fresh(fasta: Path, suffixes: tuple[str, ...]) -> bool:
    """Whether the files of an index are all there and none is older than the reference."""
    try:
        made = os.stat(fasta).st_mtime_ns
        return all(os.stat(f"{fasta}{suffix}").st_mtime_ns >= made for suffix in suffixes)
    except OSError:
        return False


def _version(command: list[str]) -> str:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AlignerError(f"{command[0]} cannot be run: {error}") from error
    text = (done.stdout + done.stderr).decode(errors="replace")
    found = re.search(r"(?i)version:?\s+v?(\d[\w.+-]*)", text) or re.search(r"^v?(\d+\.[\w.+-]*)", text, re.MULTILINE)
    return found[1].rstrip(".") if found else "unknown"


def factory(name: str) -> Callable[[Request], Command]:
    """Factory of the aligner that runs a program."""
    return functools.partial(Command, name)
