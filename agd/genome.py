"""The reference sequences of a dataset, wherever they are: pinned by their MD5, never by a name."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from agd.batch import I64, U8
from agd.errors import AgdError, ReferenceNotFoundError
from agd.fasta import load_genome, md5_of, without_blanks
from agd.types import Reference

#: Environment variable with the path or url of a FASTA file.
FASTA_VARIABLE = "AGD_REFERENCE"

#: Environment variables with directories of sequences named by their MD5, as htslib has them.
PATH_VARIABLES = ("REF_CACHE", "REF_PATH")


class GenomeSource:
    """Finds and loads the sequences of some references, once.

    What is embedded in the dataset comes before everything else, so that what was written with it is read with it. If
    nothing is, they are looked for in the FASTA file ``fasta``, in that of ``AGD_REFERENCE``, in ``REF_CACHE`` and
    ``REF_PATH`` (directories, or patterns such as ``cache/%2s/%2s/%s``, separated by colons; files hold the sequence
    and no name, in one line or several), then in the FASTA files ``hints``.

    Parameters
    ----------
    references : sequence of Reference
        With their MD5.
    where : str
        Name of the dataset for errors.
    fasta : str, optional
        FASTA file to look into first.
    hints : sequence of str
        Where the reference once was.
    embedded : callable, optional
        Gives what the dataset has of the reference itself: letters of all references end to end, 0 for those that it
        has not, and their offsets. Picklable.
    """

    def __init__(
        self, references: Sequence[Reference], where: str, fasta: str | None = None, hints: Sequence[str] = (),
        embedded: Callable[[], tuple[U8, I64]] | None = None,
    ) -> None:
        self._references = tuple(references)
        self._where = where
        self._fasta = fasta
        self._hints = tuple(hints)
        self._embedded = embedded
        self._lock = threading.Lock()
        self._loaded: tuple[U8, I64] | None = None

    def __getstate__(self) -> Mapping[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_lock", "_loaded")}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock, self._loaded = threading.Lock(), None

    def load(self) -> tuple[U8, I64]:
        """Letters of all references end to end, in the order of the dataset, and their offsets.

        Letters of an embedded reference are 0 where no alignment needed them.

        Raises
        ------
        ReferenceNotFoundError
            One was not found, has no MD5 to be known by, or is longer or shorter than the dataset says.
        """
        with self._lock:
            if self._loaded is None:
                self._loaded = self._find()
            return self._loaded

    def _find(self) -> tuple[U8, I64]:
        if self._embedded is not None:
            return self._embedded()
        wanted = {reference.md5 for reference in self._references}
        if "" in wanted:
            name = next(r.name for r in self._references if not r.md5)
            raise ReferenceNotFoundError(f"{self._where}: the reference {name!r} has no MD5 (@SQ M5) to be known by")
        found: dict[str, U8] = {}
        given = [path for path in (self._fasta, os.environ.get(FASTA_VARIABLE)) if path]
        for path in given:
            found |= _of_fasta(path, wanted - set(found))
        for md5 in wanted - set(found):
            found |= _of_cache(md5)
        for path in self._hints:
            if wanted - set(found):
                try:
                    found |= _of_fasta(path, wanted - set(found))
                except AgdError:
                    continue  # it may have been moved since
        missing = [r for r in self._references if r.md5 not in found]
        if missing:
            more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
            raise ReferenceNotFoundError(
                f"{self._where}: needs the reference sequence {missing[0].name!r} (MD5 {missing[0].md5}){more}, "
                f"which is not in {', '.join(given) or 'any place that was named'}",
                f"name its FASTA file in {FASTA_VARIABLE} (or folders of sequences by MD5 in REF_PATH or REF_CACHE)",
            )
        for r in self._references:
            if len(found[r.md5]) != r.length:
                raise ReferenceNotFoundError(
                    f"{self._where}: the sequence with the MD5 of the reference {r.name!r} has "
                    f"{len(found[r.md5]):,} bases, the dataset says {r.length:,}",
                    "LN or M5 of its @SQ line is wrong: import the alignments anew with the right header",
                )
        parts = [found[r.md5] for r in self._references]
        offsets = np.zeros(len(parts) + 1, np.int64)
        np.cumsum([len(part) for part in parts], out=offsets[1:])
        return np.concatenate([np.empty(0, np.uint8), *parts]), offsets


def _of_fasta(path: str, wanted: set[str]) -> dict[str, U8]:
    if not wanted:
        return {}
    genome = load_genome(path)
    return {
        contig.md5: genome.bases[genome.offsets[i] : genome.offsets[i + 1]]
        for i, contig in enumerate(genome.contigs)
        if contig.md5 in wanted
    }


def _of_cache(md5: str) -> dict[str, U8]:
    for variable in PATH_VARIABLES:
        for pattern in os.environ.get(variable, "").split(":"):
            if not pattern or "//" in pattern:
                continue
            try:
                with open(_expand(pattern, md5), "rb") as file:
                    sequence = without_blanks(file.read())
            except OSError:
                continue
            if md5_of(sequence) == md5:
                return {md5: np.frombuffer(sequence, np.uint8)}
    return {}


def _expand(pattern: str, md5: str) -> str:
    """Path of a sequence: ``%2s`` takes two digits of the MD5, ``%s`` the rest."""
    if "%" not in pattern:
        return os.path.join(pattern, md5)
    path, left = "", md5
    while pattern:
        if pattern.startswith("%s"):
            path, left, pattern = path + left, "", pattern[2:]
        elif pattern[0] == "%" and pattern[2:3] == "s" and pattern[1].isdigit():
            count = int(pattern[1])
            path, left, pattern = path + left[:count], left[count:], pattern[3:]
        else:
            path, pattern = path + pattern[0], pattern[1:]
    return path if not left else os.path.join(path, left)
