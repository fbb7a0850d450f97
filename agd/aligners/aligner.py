"""What an aligner is to AGD.

There are two kinds. A :class:`ChunkAligner` aligns one chunk at a time, each on its own, so that chunks run on any
number of threads and a stopped run can be taken up again. A :class:`StreamAligner` is a program that is fed all reads
in order. Packages add aligners by the entry point group ``agd.aligners``: a callable with the parameters of
:data:`AlignerFactory`.
"""

from __future__ import annotations

import importlib.metadata
import shlex
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

from agd.aligners.reference import Genome
from agd.batch import I64, Alignments, Batch
from agd.errors import UsageError
from agd.run import Progress, Runner


@dataclass(frozen=True, slots=True)
class Reads:
    """Where an aligner can look at the reads before it begins.

    Attributes
    ----------
    sample : callable
        ``sample(n)``: the first ``n`` reads, in batches of the columns that the aligner asks for.
    paired : bool
        Whether records 2i and 2i + 1 are mates.
    names : str
        What the metadata column holds, see :class:`agd.manifest.Manifest`.
    """

    sample: Callable[[int], Iterator[Batch]]
    paired: bool
    names: str


@dataclass(frozen=True, slots=True)
class Aligned:
    """Alignments of a batch of reads.

    Attributes
    ----------
    primary : Alignments
        One per read; unmapped reads have flag 0x4.
    further : Alignments
        Supplementary and secondary ones of all reads, ascending by read.
    read : ndarray of int64, shape (len(further),)
        0-based index, within the batch, of the read of each.
    """

    primary: Alignments
    further: Alignments
    read: I64


@dataclass(frozen=True, slots=True)
class Request:
    """What an aligner is asked for.

    Attributes
    ----------
    genome : Genome
    read_group : str
        ``@RG`` line with real tabs, or "".
    arguments : str
        Options of the aligner's own, as on its command line.
    runner : Runner
        For work before the first read; its ``workers`` is how many threads a program should use.
    progress : Progress
    """

    genome: Genome
    read_group: str
    arguments: str
    runner: Runner
    progress: Progress

    @property
    def read_group_id(self) -> str:
        """ID of the read group, "" if there is none."""
        fields = [f for f in self.read_group.split("\t") if f.startswith("ID:")]
        return fields[0][3:] if fields else ""


class AlignerBase(Protocol):
    """What both kinds have."""

    name: str
    version: str
    columns: tuple[str, ...]  #: columns of reads that it needs

    def plan(self) -> dict[str, Any]:
        """All that decides the result, known before any read is seen (JSON)."""
        ...

    def prepare(self, reads: Reads) -> None:
        """Build or load the index, look at a sample of the reads."""
        ...

    def parameters(self) -> dict[str, Any]:
        """What was used, for the record (JSON), the command line under ``command``; called when all is aligned."""
        ...

    def read_groups(self) -> list[str]:
        """``@RG`` lines that its records refer to; called when all is aligned."""
        ...


@runtime_checkable
class ChunkAligner(AlignerBase, Protocol):
    """Aligns batches independently of one another, on many threads at one time."""

    def align_batch(self, batch: Batch) -> Aligned:
        """Align the reads of a batch (pairs are whole)."""
        ...


@runtime_checkable
class StreamAligner(AlignerBase, Protocol):
    """Aligns all reads in one go, fed in order."""

    def align_stream(self, batches: Iterable[Batch]) -> Generator[Aligned]:
        """Align all reads; one result a batch, in order. Closing the generator stops the program."""
        ...


AlignerFactory: TypeAlias = Callable[[Request], ChunkAligner | StreamAligner]

_GROUP = "agd.aligners"


#: Aligners that come with AGD.
BUILT_IN = ("minibwa", "bwa", "bwa-mem2", "minimap2", "bowtie2", "snap-aligner")


def split_arguments(text: str) -> list[str]:
    """Arguments of an aligner as a shell would split them.

    Raises
    ------
    UsageError
        A quotation has no end.
    """
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--aligner-args {text!r}: {error}") from error


def aligner_names() -> list[str]:
    """Names of all aligners that can be asked for, whether or not their programs are installed."""
    found = {entry.name for entry in importlib.metadata.entry_points(group=_GROUP)}
    return [*BUILT_IN, *sorted(found - set(BUILT_IN))]


def load_aligner(name: str) -> AlignerFactory:
    """Factory of an aligner.

    Raises
    ------
    UsageError
        There is none of this name.
    """
    # Only the one that is asked for is imported.
    if name == "minibwa":
        from agd.aligners.minibwa import Minibwa

        return Minibwa
    if name in BUILT_IN:
        from agd.aligners.command import factory

        return factory(name)
    for entry in importlib.metadata.entry_points(group=_GROUP, name=name):
        loaded: AlignerFactory = entry.load()
        return loaded
    raise UsageError(f"there is no aligner {name!r}", f"choose one of: {', '.join(aligner_names())}")
