"""CIGARs as a dictionary of those that occur (``spec/codecs/alignments.md``)."""

from __future__ import annotations

import numpy as np

from agd import kernels
from agd.batch import I64, Column
from agd.codecs.streams import StreamReader, StreamWriter
from agd.errors import CodecError
from agd.kernels.ragged import take

#: Most operations of all records of a chunk.
MAX_OPERATIONS = 1 << 28

#: Bit of each operation that uses up bases of the read (M, I, S, =, X).
_READ = 0b110010011


def write_cigars(writer: StreamWriter, cigar: Column) -> None:
    """Streams of a column of CIGARs.

    ``cigar``: for each record the rank of its CIGAR by frequency, from 1, or 0 for one that no other record has.
    Then the different CIGARs, in the order of rank and then of appearance: ``cigar.operations`` (how many),
    ``cigar.operation`` and ``cigar.length`` of each; the length of the last one that uses up bases is the sum of them.
    """
    assert cigar.offsets is not None
    if cigar.lengths.sum() > MAX_OPERATIONS:
        raise CodecError("alignments", "cigar", f"more than {MAX_OPERATIONS} operations in one chunk")
    values, offsets = np.ascontiguousarray(cigar.values), np.ascontiguousarray(cigar.offsets)
    codes = np.empty(len(cigar), np.int64)
    firsts, counts = kernels.number_cigars(values, offsets, codes)
    order = np.argsort(-counts, kind="stable")
    often = int(np.count_nonzero(counts > 1))
    rank = np.zeros(len(counts), np.int64)
    rank[order[:often]] = np.arange(1, often + 1)
    writer.numbers("cigar", rank[codes])
    entries = take(cigar, firsts[order])
    writer.numbers("cigar.operations", entries.lengths)
    writer.add("cigar.operation", (entries.values & 15).astype(np.uint8))
    lengths = (entries.values >> 4).astype(np.int64)
    last, sums = _sums(entries, lengths)
    lengths[last] = sums
    writer.numbers("cigar.length", lengths)


def read_cigars(reader: StreamReader, count: int) -> Column:
    """The column that was given to :func:`write_cigars`."""
    rank = reader.numbers("cigar", count, count)
    often, once = int(rank.max(initial=0)), int(np.count_nonzero(rank == 0))
    total = reader.entries["cigar.operation"].raw if "cigar.operation" in reader.entries else 0
    sizes = reader.numbers("cigar.operations", often + once, total)
    if int(sizes.sum()) != total:
        raise CodecError("alignments", "cigar.operations", f"sizes do not add up to {total}")
    codes = reader.exactly("cigar.operation", total).astype(np.uint32)
    lengths = reader.numbers("cigar.length", total, (1 << 60) - 1)
    entries = Column.from_lengths(codes, sizes)
    last, sums = _sums(entries, lengths)
    lengths[last] = 2 * lengths[last] - sums
    if len(lengths) and (int(lengths.min()) < 0 or int(lengths.max()) >= 1 << 28 or int(codes.max()) > 15):
        raise CodecError("alignments", "cigar.length", "out of range")
    entries = Column(codes | lengths.astype(np.uint32) << np.uint32(4), entries.offsets)
    index = rank - 1
    index[rank == 0] = often + np.arange(once)
    # Each record may name the longest one: the sum is not bounded by what is stored.
    if float(sizes[index].sum(dtype=np.float64)) > MAX_OPERATIONS:
        raise CodecError("alignments", "cigar", f"more than {MAX_OPERATIONS} operations in one chunk")
    return take(entries, index)


def _sums(entries: Column, lengths: I64) -> tuple[I64, I64]:
    """Of each CIGAR that uses up bases of the read: its last operation that does so, and the sum over all such ones."""
    assert entries.offsets is not None
    uses = (_READ >> (entries.values & 15)) & 1 == 1
    using = np.zeros(len(uses) + 1, np.int64)
    np.cumsum(uses, out=using[1:])
    bases = np.zeros(len(uses) + 1, np.int64)
    np.cumsum(np.where(uses, lengths, 0), out=bases[1:])
    starts, ends = entries.offsets[:-1], entries.offsets[1:]
    some = using[ends] > using[starts]
    last = np.flatnonzero(uses)[using[ends[some]] - 1]
    return last, (bases[ends] - bases[starts])[some]
