"""The genome that reads are drawn from: made up, or read from a FASTA file."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from isal import igzip

from agd.batch import I64, U8
from agd.errors import InputError, UsageError
from agd.files import open_source
from agd.sinks import Sink

#: Bases on a line of the FASTA files that are written.
LINE_BASES = 60

_BASES = np.frombuffer(b"ACGT", np.uint8)
_COMPLEMENT = np.arange(256, dtype=np.uint8)
_COMPLEMENT[np.frombuffer(b"ACGT", np.uint8)] = np.frombuffer(b"TGCA", np.uint8)
# Anything but A, C, G and T becomes N: no read is drawn across it.
_CLEAN = np.full(256, ord("N"), np.uint8)
_CLEAN[np.frombuffer(b"ACGTacgt", np.uint8)] = np.frombuffer(b"ACGTACGT", np.uint8)


@dataclass(frozen=True)
class Genome:
    """Contigs end to end.

    Attributes
    ----------
    names : list of str
    offsets : ndarray of int64, shape (contigs + 1,)
        Contig ``i`` is ``bases[offsets[i]:offsets[i + 1]]``.
    bases : ndarray of uint8
        ASCII ``A C G T N``.
    """

    names: list[str]
    offsets: I64
    bases: U8

    @property
    def lengths(self) -> I64:
        """Bases of each contig."""
        return np.diff(self.offsets)

    def runs(self, shortest: int) -> tuple[I64, I64]:
        """Starts and ends (0-based, half-open) of the stretches without N within a contig, of at least this length."""
        known = self.bases != ord("N")
        edge = np.zeros(len(known) + 1, bool)
        edge[1:-1] = known[1:] != known[:-1]
        edge[self.offsets] = True
        cuts = np.flatnonzero(edge)
        starts, ends = cuts[:-1], cuts[1:]
        keep = known[starts] & (ends - starts >= shortest)
        if not keep.any():
            raise UsageError(
                f"no contig of the genome has {shortest:,} known bases in a row",
                "give a longer genome, or shorter reads",
            )
        return starts[keep], ends[keep]

    def both_strands(self) -> U8:
        """The genome followed by its reverse complement."""
        return np.concatenate([self.bases, _COMPLEMENT[self.bases][::-1]])


def random_genome(length: int, contigs: int, seed: int, *, gc: float = 0.41, repeats: float = 0.05) -> Genome:
    """A random genome.

    Parameters
    ----------
    length, contigs : int
        Bases in all, and number of contigs; each contig is a fifth shorter than the one before.
    seed : int
    gc : float
        Share of G and C.
    repeats : float
        Share of the genome that is a slightly diverged copy of another part of it, so that not every read has one home.
    """
    if contigs < 1 or length < contigs:
        raise UsageError(f"a genome of {length:,} bases cannot have {contigs:,} contigs", "give a longer genome")
    rng = np.random.Generator(np.random.SFC64([seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF, 0x6E0]))
    share = 0.8 ** np.arange(contigs)
    lengths = np.maximum((share / share.sum() * length).astype(np.int64), 1)
    lengths[0] += length - lengths.sum()
    if lengths[0] < 1:
        lengths = np.diff(np.linspace(0, length, contigs + 1).astype(np.int64))
    codes = rng.integers(0, 256, length, np.uint8)
    cut = round(128 * (1 - gc))
    table = np.empty(256, np.uint8)
    table[:128] = np.where(np.arange(128) < cut, ord("A"), ord("C"))
    table[128:] = np.where(np.arange(128) < cut, ord("T"), ord("G"))
    bases = table[codes]
    copied = 0
    while length > 20_000 and copied < repeats * length:
        size = int(rng.integers(300, 6000))
        source, target = (int(x) for x in rng.integers(0, length - size, 2))
        copy = bases[source : source + size].copy()
        _substitute(copy, np.flatnonzero(rng.random(size, np.float32) < 0.02), rng)
        bases[target : target + size] = copy
        copied += size
    offsets = np.zeros(contigs + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return Genome([f"chr{i + 1}" for i in range(contigs)], offsets, bases)


def _substitute(bases: U8, places: I64, rng: np.random.Generator) -> None:
    """Replace the bases at these places by others, in place."""
    code = np.zeros(256, np.uint8)
    code[_BASES] = np.arange(4)
    bases[places] = _BASES[(code[bases[places]] + rng.integers(1, 4, len(places), np.uint8)) & 3]


def with_snps(genome: Genome, rate: float, seed: int) -> Genome:
    """The genome of the sampled individual: every base differs from ``genome`` with this probability."""
    if rate <= 0:
        return genome
    rng = np.random.Generator(np.random.SFC64([seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF, 0x5117]))
    count = int(rng.binomial(len(genome.bases), min(rate, 1.0)))
    places = np.unique(rng.integers(0, len(genome.bases), count))
    bases = genome.bases.copy()
    _substitute(bases, places[bases[places] != ord("N")], rng)
    return Genome(genome.names, genome.offsets, bases)


def read_fasta(url: str) -> Genome:
    """Read a FASTA file from any url; plain, gzip or BGZF (told by content).

    Raises
    ------
    InputError
        The file is missing, damaged, or not FASTA.
    """
    source = open_source(url)
    try:
        data = b"".join(iter(lambda: source.read(1 << 22), b""))
    finally:
        source.close()
    if data[:2] == b"\x1f\x8b":
        try:
            data = igzip.decompress(data)
        except (OSError, EOFError) as error:
            raise InputError(url, f"damaged gzip data: {error}", remedy="copy or download the file again") from error
    return parse_fasta(data, url)


def parse_fasta(data: bytes, name: str) -> Genome:
    """The genome of the text of a FASTA file; ``name`` is used in errors."""
    text = np.frombuffer(data, np.uint8)
    if not len(text) or text[0] != ord(">"):
        raise InputError(name, "not FASTA: the first character is not '>'", offset=0, remedy="give a FASTA file")
    heads = np.flatnonzero(text == ord(">"))
    heads = heads[(heads == 0) | (text[heads - 1] == ord("\n"))]
    names, parts = [], []
    for start, stop in itertools.pairwise([*heads.tolist(), len(text)]):
        end_of_name = data.find(b"\n", start, stop)
        title = data[start + 1 : end_of_name if end_of_name >= 0 else stop].split()
        if not title or end_of_name < 0:
            raise InputError(name, "a contig without a name or without bases", offset=start, remedy="repair the FASTA")
        names.append(title[0].decode("ascii", "replace"))
        body = text[end_of_name + 1 : stop]
        parts.append(_CLEAN[body[body > ord(" ")]])
    offsets = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=offsets[1:])
    if len(offsets) < 2 or (np.diff(offsets) == 0).any():
        raise InputError(name, "a contig has no bases", remedy="remove empty contigs from the FASTA")
    return Genome(names, offsets, np.concatenate(parts))


def write_fasta(genome: Genome, fasta: Sink, index: Sink) -> None:
    """Write the genome and its index (``.fai``, as ``samtools faidx`` makes it)."""
    offset = 0
    for name, bases in zip(genome.names, _contigs(genome), strict=True):
        title = f">{name}\n".encode()
        whole = len(bases) // LINE_BASES * LINE_BASES
        lines = np.full((whole // LINE_BASES, LINE_BASES + 1), ord("\n"), np.uint8)
        lines[:, :-1] = bases[:whole].reshape(-1, LINE_BASES)
        tail = bases[whole:].tobytes() + b"\n" if whole < len(bases) else b""
        fasta.write(title)
        fasta.write(lines.tobytes())
        fasta.write(tail)
        offset += len(title)
        index.write(f"{name}\t{len(bases)}\t{offset}\t{LINE_BASES}\t{LINE_BASES + 1}\n".encode())
        offset += lines.size + len(tail)


def _contigs(genome: Genome) -> Iterator[U8]:
    for start, stop in itertools.pairwise(genome.offsets.tolist()):
        yield genome.bases[start:stop]
