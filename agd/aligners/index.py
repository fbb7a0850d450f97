"""Where the indexes of references lie, and how they get there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from agd.aligners.reference import Genome
from agd.errors import AgdError, AlignerError
from agd.run import Progress
from agd.scratch import scratch_folder

#: First part of the names of all files of an index.
STEM = "index"


def find_index(
    genome: Genome, kind: str, build: Callable[[Path, Path], None], progress: Progress, threads: int
) -> Path:
    """Prefix of the files of an index, built first if there is none that was made from exactly this reference.

    An index is a folder: ``ref.fa.agd-index/<kind>-<digest>`` beside a FASTA file on this machine, or under the user's
    cache folder (``$XDG_CACHE_HOME/agd/index``) where that cannot be written. The digest is that of the sequences and
    their names, so that an index is never stale. The folder appears at once and complete.

    Parameters
    ----------
    genome : Genome
    kind : str
        Aligner and all that the index depends on besides the reference.
    build : callable
        ``build(fasta, prefix)``: index a local FASTA file into files whose names begin with ``prefix``.
    progress : Progress
    threads : int
        For the progress label only; ``build`` knows its own.

    Raises
    ------
    AlignerError
        It cannot be built, or not be written anywhere.
    """
    folders = _folders(genome, f"{kind}-{genome.digest[:16]}")
    for folder in folders:
        if folder.is_dir():
            return folder / STEM
    for folder in folders:
        if not _writable(folder.parent):
            continue
        progress.begin(f"building the {kind} index ({threads} threads)", None, "bases")
        try:
            _build(genome, folder, build)
        finally:
            progress.end()
        return folder / STEM
    raise AlignerError(
        f"{genome.url}: its index cannot be written to {' nor to '.join(str(f.parent) for f in folders)}",
        "set XDG_CACHE_HOME to a folder that can be written",
    )


def local_path(genome: Genome) -> Path | None:
    """The FASTA file of a genome, if it lies on this machine."""
    path = Path(genome.url.removeprefix("file://"))
    return path if path.is_file() else None


def _folders(genome: Genome, name: str) -> list[Path]:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "agd" / "index" / name
    local = local_path(genome)
    return [cache] if local is None else [local.with_name(f"{local.name}.agd-index") / name, cache]


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _build(genome: Genome, folder: Path, build: Callable[[Path, Path], None]) -> None:
    try:
        with scratch_folder(str(folder.parent), ".agd-index-") as scratch:
            made = Path(scratch) / folder.name
            made.mkdir()
            build(_fasta(genome, Path(scratch)), made / STEM)
            with contextlib.suppress(OSError):  # another run was faster: its index is as good
                os.rename(made, folder)
        if not folder.is_dir():
            raise OSError(f"{folder} is in the way")
    except AgdError:
        raise
    except Exception as error:  # foreign modules: any of their errors
        raise AlignerError(
            f"{genome.url}: the index cannot be built: {error}", f"check the free space of {folder.parent}"
        ) from error


def _fasta(genome: Genome, folder: Path) -> Path:
    """The reference as a plain FASTA file on this machine: as it is where it is one, else a copy in this folder."""
    local = local_path(genome)
    if local is not None and local.suffix not in (".gz", ".bgz", ".bgzf"):
        return local
    path = folder / "reference.fa"
    with path.open("wb") as file:
        for i, contig in enumerate(genome.contigs):
            file.write(f">{contig.name}\n".encode())
            file.write(genome.bases[genome.offsets[i] : genome.offsets[i + 1]].tobytes() + b"\n")
    return path
