"""Reference genomes from FASTA."""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path

import fsspec
import numpy as np
import pytest

from agd.aligners.reference import load_genome, md5_of
from agd.errors import InputError, UsageError


def test_names_lengths_digests(tmp_path: Path) -> None:
    text = b">one some words\r\nACGT\r\nacgtn\r\n>two\n\nRY K\n*-\n>three\nA"
    plain, packed = tmp_path / "r.fa", tmp_path / "r.fa.gz"
    plain.write_bytes(text)
    packed.write_bytes(gzip.compress(text[:20]) + gzip.compress(text[20:]))
    with fsspec.open("memory://r.fa", "wb") as file:
        file.write(text)
    for url in (str(plain), str(packed), "memory://r.fa", f"file://{plain}"):
        genome = load_genome(url)
        assert genome.bases.tobytes() == b"ACGTacgtnRYK*-A"
        assert genome.offsets.tolist() == [0, 9, 14, 15]
        assert [(c.name, c.length) for c in genome.contigs] == [("one", 9), ("two", 5), ("three", 1)]
        expected = [hashlib.md5(x).hexdigest() for x in (b"ACGTACGTN", b"RYK*-", b"A")]
        assert [c.md5 for c in genome.contigs] == expected


def test_example_of_the_sam_specification() -> None:
    assert md5_of(b"ACGT ACGT ACGT\nacgt acgt acgt\n... 12345 !!!\n") == "dfabdbb36e239a6da88957841f32b8e4"


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (b"", 1, "is empty"),
        (b"@r1\nACGT\n+\nIIII\n", 1, "not FASTA"),
        (b"\n>a\nAC\n", 1, "not FASTA"),
        (b">a\nAC\n>b\nAC\n>a\nGT\n", 5, "a second sequence is named 'a'"),
        (b">a\nAC\n>b\n>c\nGT\n", 3, "the sequence 'b' is empty"),
        (b">a", 1, "the sequence 'a' is empty"),
        (b">a\nAC\n> b\nAC\n", 3, "is not a name"),
        (b">a\nAC\n>\nAC\n", 3, "is not a name"),
        (b">a\nAC\n>*b\nAC\n", 3, "is not a name"),
        (b">a\nACGT\nAC>T\n", 3, "b'>' is no base"),
    ],
)
def test_errors_name_the_line(tmp_path: Path, text: bytes, line: int, reason: str) -> None:
    path = tmp_path / "r.fa"
    path.write_bytes(text)
    with pytest.raises(InputError, match=re.escape(reason)) as caught:
        load_genome(path)
    assert caught.value.line == line


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        load_genome(tmp_path / "none.fa")
    damaged = tmp_path / "r.fa.gz"
    damaged.write_bytes(gzip.compress(b">a\nACGT\n" * 100)[:-9])
    with pytest.raises(InputError, match="damaged gzip"):
        load_genome(damaged)


@pytest.mark.data
def test_real_reference_has_its_known_digest(data: Path) -> None:
    genome = load_genome(data / "reference_ecoli_k12" / "NC_000913.fa.gz")
    assert [(c.length) for c in genome.contigs] == [4_639_675]
    assert np.isin(genome.bases, np.frombuffer(b"ACGT", np.uint8)).all()
