"""Small genomes, reads from them, and datasets of reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

from agd.dataset import Dataset
from tests.support.reads import Read, dataset, mutate, random_bases, reverse_complement, write_fasta


@pytest.fixture(scope="session")
def contigs() -> dict[str, bytes]:
    """Three contigs, one with a repeat of another's middle."""
    rng = np.random.default_rng(11)
    one, two = random_bases(rng, 30_000), random_bases(rng, 20_000)
    three = random_bases(rng, 5_000) + one[10_000:12_000] + random_bases(rng, 5_000).lower() + b"N" * 500
    return {"one": one, "two": two, "three|x": three}


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory, contigs: dict[str, bytes]) -> Path:
    """The contigs as FASTA."""
    return write_fasta(tmp_path_factory.mktemp("reference") / "ref.fa", contigs)


@pytest.fixture(scope="session")
def pairs(contigs: dict[str, bytes]) -> list[Read]:
    """600 pairs: most of them proper; chimeras, mates apart, mates on other contigs, noise, and odd reads."""
    rng = np.random.default_rng(12)
    names = list(contigs)
    reads: list[Read] = []

    def fragment(length: int) -> bytes:
        bases = contigs[names[int(rng.integers(0, len(names)))]].upper()
        at = int(rng.integers(0, len(bases) - length))
        piece = bases[at : at + length]
        return piece if rng.random() < 0.5 else reverse_complement(piece)

    def add(first: bytes, second: bytes) -> None:
        number = len(reads) // 2
        for k, bases in enumerate((first, second)):
            name = f"run:{number}/{k + 1} comment".encode()
            reads.append((name, bases, bytes(33 + int(q) for q in rng.integers(2, 41, len(bases)))))

    for _ in range(540):
        piece = fragment(int(rng.normal(320, 30)))
        add(mutate(rng, piece[:100]), mutate(rng, reverse_complement(piece[-100:])))
    for _ in range(20):
        add(fragment(60) + fragment(60), fragment(100))  # chimera, mate elsewhere
    for _ in range(20):
        add(mutate(rng, fragment(100)), random_bases(rng, 100))  # mate from nowhere
    for _ in range(10):
        add(random_bases(rng, 80), random_bases(rng, 80))
    add(b"", b"")
    add(fragment(100), b"")
    add(b"", fragment(100))
    add(b"N" * 50, fragment(100).lower())
    add(fragment(40) + b"RYKMSWBDHV" + fragment(50), b"A")
    for _ in range(5):
        piece = fragment(300)
        add(piece[:100], piece[-100:])  # FF, no proper pair
    return reads


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., Dataset]:
    """Makes datasets in a folder of their own."""
    count = iter(range(1000))

    def make(reads: list[Read], **options: object) -> Dataset:
        return dataset(str(tmp_path / f"d{next(count)}.agd"), reads, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture(autouse=True)
def _clean_memory() -> Iterator[None]:
    yield
    fsspec.filesystem("memory").store.clear()
