"""Reads, genomes and datasets of reads for tests."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from agd import kernels
from agd.batch import Column
from agd.dataset import Dataset
from agd.draft import Draft
from agd.manifest import Chunk, ColumnSpec
from agd.ops.lines import to_lines, to_records
from agd.types import Orientation, RecordType

Read = tuple[bytes, bytes, bytes]  # name line, bases, qualities

COMPLEMENT = bytes.maketrans(b"ACGTN", b"TGCAN")


def dataset(url: str, reads: list[Read], *, paired: bool = True, chunk: int = 1000) -> Dataset:
    """A dataset of reads as an import of FASTQ makes it."""
    zstd = [{"name": "zstd", "level": 1}]
    columns = {
        "bases": ColumnSpec(RecordType.BASES, zstd, "bases"),
        "qualities": ColumnSpec(RecordType.TEXT, zstd, "qualities"),
        "metadata": ColumnSpec(RecordType.TEXT, zstd, "metadata"),
    }
    draft = Draft.create(url, columns, {"operation": "test"}, orientation=Orientation.READ, overwrite=True)
    chunks = []
    for first in range(0, len(reads), chunk):
        part = reads[first : first + chunk]
        fields = {"metadata": 0, "bases": 1, "qualities": 2}
        cells = {n: draft.write(n, first, Column.from_list([r[i] for r in part])) for n, i in fields.items()}
        chunks.append(Chunk(first, len(part), cells))
    return draft.commit(chunks, names="fastq", pairing="interleaved" if paired else "single")


def read_fastq(path: Path) -> list[Read]:
    """Records of a gzipped FASTQ file."""
    lines = gzip.decompress(path.read_bytes()).split(b"\n")
    return list(zip((n[1:] for n in lines[:-1:4]), lines[1::4], lines[3::4], strict=True))


def interleave(first: list[Read], second: list[Read]) -> list[Read]:
    """Mates next to each other."""
    return [read for pair in zip(first, second, strict=True) for read in pair]


def write_fasta(path: Path, contigs: dict[str, bytes]) -> Path:
    """FASTA with lines of 60."""
    with path.open("wb") as file:
        for name, bases in contigs.items():
            file.write(f">{name} test\n".encode())
            file.writelines(bases[i : i + 60] + b"\n" for i in range(0, len(bases), 60))
    return path


def reverse_complement(bases: bytes) -> bytes:
    """The other strand."""
    return bases.translate(COMPLEMENT)[::-1]


def random_bases(rng: np.random.Generator, count: int) -> bytes:
    """Uniform bases."""
    return np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, count)].tobytes()


def mutate(rng: np.random.Generator, bases: bytes, rate: float = 0.01) -> bytes:
    """Substitutions, and here and there a short insertion or deletion."""
    array = np.frombuffer(bases, np.uint8).copy()
    changed = rng.random(len(array)) < rate
    array[changed] = np.frombuffer(b"ACGTN", np.uint8)[rng.integers(0, 5, int(changed.sum()))]
    out = array.tobytes()
    if rng.random() < 0.1:
        at = int(rng.integers(10, len(out) - 10))
        out = out[:at] + random_bases(rng, 2) + out[at:-2] if rng.random() < 0.5 else out[:at] + out[at + 2 :]
    return out


def sam_lines(ds: Dataset, columns: tuple[str, ...] = ("bases", "qualities", "metadata")) -> list[str]:
    """SAM lines of a dataset, without the header."""
    names = Column.from_list([r.name.encode() for r in ds.manifest.references])
    assert names.offsets is not None
    further = [name for name in ds.columns if name == "results" or name.startswith("secondary")]
    text = b""
    for batch in ds.batches([*columns, *further]):
        lines = to_lines(batch, ds.orientation, ds.manifest.pairing == "interleaved")
        records = to_records(lines, ds.manifest.names)
        out = np.empty(kernels.sam_format_bound(records, names.values, names.offsets), np.uint8)
        text += out[: kernels.sam_format(records, names.values, names.offsets, out)].tobytes()
    return text.decode().splitlines()
