"""Export BAM: records are encoded and deflated on all processors, the index is made on the way."""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from agd import kernels
from agd.batch import I32, I64, U16, Batch
from agd.cell import reference_lengths
from agd.convert import bgzf
from agd.convert.header import output_header
from agd.convert.index import IndexBuilder
from agd.convert.outputs import open_output
from agd.convert.reports import ExportReport
from agd.dataset import Dataset
from agd.errors import UsageError
from agd.ops.digest import Digest, check_digest, digest_records
from agd.ops.lines import to_records
from agd.ops.scan import chunk_bytes, scan
from agd.ops.select import Selection, is_coordinate_sorted
from agd.run import SILENT, Progress, Runner, ThreadRunner, default_memory, items_in_flight
from agd.types import Reference


@dataclass(frozen=True, slots=True)
class _Part:
    """One chunk as it goes into the file: deflated blocks, and what the index needs of its records."""

    data: bytes
    count: int
    bases: int
    starts: I64  # virtual offsets of the records, relative to the beginning of the part
    index: tuple[I32, I64, I64, U16]
    end: int
    digest: Digest


def bam_header(text: str, references: tuple[Reference, ...]) -> bytes:
    """Header of a BAM file, uncompressed (SAM specification, section 4.2)."""
    data = text.encode("utf-8", "surrogateescape")
    parts = [b"BAM\1", struct.pack("<i", len(data)), data, struct.pack("<i", len(references))]
    for reference in references:
        name = reference.name.encode() + b"\0"
        parts.append(struct.pack("<i", len(name)) + name + struct.pack("<i", reference.length))
    return b"".join(parts)


def encode_records(batch: Batch, names: str) -> tuple[Any, I64, Any]:
    """Uncompressed BAM records of a batch of alignment lines: bytes, their offsets, and the records."""
    records = to_records(batch, names)
    sizes = np.empty(len(batch), np.int64)
    kernels.bam_sizes(records, sizes)
    offsets = np.zeros(len(batch) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    out = np.empty(int(offsets[-1]), np.uint8)
    kernels.bam_encode(records, out, offsets)
    return out, offsets, records


def export_bam(
    dataset: Dataset, output: str, *, level: int = 6, index: bool | None = None, selection: Selection | None = None,
    runner: Runner | None = None, memory: int | None = None, progress: Progress = SILENT, command: str = "",
) -> ExportReport:
    """Write a BAM file.

    Parameters
    ----------
    dataset : Dataset
        Reads that were never aligned give an unmapped BAM.
    output : str
        A path, any url, or "-" for standard output.
    level : int
        Of compression, 0 to 12 (libdeflate).
    index : bool, optional
        Write ``output.bai`` (``.csi`` where a reference is too long). Default: if the records are in coordinate order
        and the output is a file.
    selection : Selection, optional
        Records wanted. Default: all.

    Raises
    ------
    VerificationError
        The records that were written are not those that were imported (only checked when all are written).
    """
    start = time.perf_counter()
    runner = runner or ThreadRunner()
    ordered = is_coordinate_sorted(dataset)
    if index and (not ordered or output == "-"):
        raise UsageError(f"{output}: only a file in coordinate order can be indexed", "sort the dataset first")
    index = (ordered and output != "-") if index is None else index
    ahead = items_in_flight(memory or default_memory(), 4 * chunk_bytes(dataset), runner.workers)
    manifest = dataset.manifest
    references = manifest.references
    whole = selection is None or selection.everything

    def encode(lines: Batch) -> _Part:
        data, offsets, records = encode_records(lines, manifest.names)
        blocks, sizes = bgzf.deflate_blocks(data, level)
        places = bgzf.virtual_offsets(offsets, sizes)
        a = lines.alignments()
        end = a.position + np.maximum(reference_lengths(a.cigar), 1)
        return _Part(
            blocks, len(lines), len(records.bases), places, (a.reference, a.position, end, a.flag), len(blocks),
            digest_records(records) if whole else Digest(),
        )  # fmt: skip

    builder = IndexBuilder([r.length for r in references]) if index else None
    total, bases, digest = 0, 0, Digest()
    progress.begin("export", len(dataset))
    try:
        with open_output(output, compression="none") as out:
            header = bam_header(output_header(dataset, "agd export bam", command), references)
            head, _ = bgzf.deflate_blocks(header, level)
            out.write(head)
            at = len(head)
            for part in scan(dataset, encode, runner=runner, ahead=ahead, selection=selection):
                out.write(part.data)
                if builder is not None:
                    places = part.starts + (at << 16)
                    builder.add(*part.index, places[:-1], places[1:])
                at += part.end
                total += part.count
                bases += part.bases
                digest.add(part.digest)
                progress.advance(part.count)
            out.write(bgzf.EOF)
            at += len(bgzf.EOF)
            if whole:
                check_digest(dataset, digest)
        where = ""
        if builder is not None:
            where = output + builder.suffix
            with open_output(where, compression="none") as file:
                file.write(builder.to_bytes())
    finally:
        progress.end()
    return ExportReport(total, {output: total}, bases, at, time.perf_counter() - start, where)
