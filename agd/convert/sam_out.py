"""Export SAM text: records are formatted by a kernel on all processors."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from agd import kernels
from agd.batch import Batch, Column
from agd.convert.header import output_header
from agd.convert.outputs import open_output
from agd.convert.reports import ExportReport
from agd.convert.sam_fields import columns_for, cut_fields
from agd.dataset import Dataset
from agd.kernels.ragged import take_batch
from agd.ops.digest import Digest, check_digest, digest_records
from agd.ops.lines import to_records
from agd.ops.scan import chunk_bytes, scan
from agd.ops.select import Selection
from agd.run import SILENT, Progress, Runner, ThreadRunner, in_flight


def export_sam(
    dataset: Dataset, output: str, *, level: int | None = None, header: bool = True, records: bool = True,
    head: int | None = None, selection: Selection | None = None, fields: Sequence[str] | None = None,
    runner: Runner | None = None, memory: int | None = None, progress: Progress = SILENT,
    program: str = "agd export sam", command: str = "",
) -> ExportReport:
    """Write SAM text.

    Parameters
    ----------
    dataset : Dataset
    output : str
        A path (compressed when it ends in .gz, .bz2 or .zst), any url, or "-" for standard output.
    level : int, optional
        Of compression.
    header, records : bool
        Which parts to write.
    head : int, optional
        Write the first so many wanted records only.
    selection : Selection, optional
        Records wanted. Default: all.
    fields : sequence of str, optional
        Fields of each line (:data:`agd.convert.sam_fields.FIELDS`); columns that they do not need are not read.
        Default: all.
    program : str
        Name for the ``@PG`` line of the export; "" for none.
    runner, memory, progress, command
        As in all operations.

    Returns
    -------
    ExportReport
        How many records, and how many bytes.

    Examples
    --------
    >>> ds = agd.open("sorted.agd")
    >>> report = agd.export_sam(ds, "first.sam", header=False, head=1, fields=["RNAME", "MAPQ", "CIGAR"])
    >>> print(open("first.sam").read().split())
    ['chr1', '60', '150M']
    """
    start = time.perf_counter()
    runner = runner or ThreadRunner()
    ahead = in_flight(runner, memory, 5 * chunk_bytes(dataset))
    if head is not None:
        ahead = 1
    whole = head is None and fields is None and records and (selection is None or selection.everything)
    manifest = dataset.manifest
    names = Column.from_list([r.name.encode() for r in manifest.references])
    assert names.offsets is not None
    reference_names, reference_offsets = names.values, names.offsets

    def encode(lines: Batch) -> tuple[int, int, Any, Digest]:
        if head is not None and len(lines) > head:
            lines = take_batch(lines, np.arange(head))
        arrays = to_records(lines, manifest.names)
        text = np.empty(kernels.sam_format_bound(arrays, reference_names, reference_offsets), np.uint8)
        size = kernels.sam_format(arrays, reference_names, reference_offsets, text)
        shown = text[:size] if fields is None else cut_fields(text[:size], fields)
        return len(lines), len(arrays.bases), shown, digest_records(arrays) if whole else Digest()

    total = size = bases = 0
    digest, checked = Digest(), ""
    progress.begin("export", len(dataset))
    try:
        with open_output(output, level=level) as out:
            if header:
                text = output_header(dataset, program, command).encode("utf-8", "surrogateescape")
                out.write(text)
                size += len(text)
            if records and head != 0:
                columns = None if fields is None else columns_for(fields)
                for count, amount, data, part in scan(
                    dataset, encode, runner=runner, ahead=ahead, columns=columns, selection=selection
                ):
                    if head is not None and total + count > head:
                        count = head - total
                        data = _first_lines(data, count)
                    out.write(data)
                    total += count
                    size += len(data)
                    bases += amount
                    digest.add(part)
                    progress.advance(count)
                    if head is not None and total >= head:
                        break
            if whole:
                checked = "verified" if check_digest(dataset, digest) else "none"
    finally:
        progress.end()
    return ExportReport(total, {output: total}, bases, size, time.perf_counter() - start, digest=checked)


def _first_lines(text: Any, count: int) -> Any:
    ends = np.flatnonzero(text == ord("\n"))
    return text[: ends[count - 1] + 1] if count else text[:0]


def count_records(dataset: Dataset, selection: Selection, *, runner: Runner | None = None) -> int:
    """Number of wanted records; reads only the columns that the conditions ask for."""
    return sum(scan(dataset, len, runner=runner or ThreadRunner(), columns=[], selection=selection))
