"""What the importers of SAM, BAM and CRAM share: from chunks of raw records to a dataset of alignment lines."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from agd import __version__
from agd.batch import Alignments, AnyColumn, Batch, Column
from agd.convert.importing import Importing, specs_of
from agd.convert.inputs import describe_input, is_known
from agd.convert.reports import ImportReport, import_report
from agd.convert.streams import InputStream, open_input
from agd.draft import Draft
from agd.errors import InputError, KernelError
from agd.kernels.records import RecordArrays
from agd.manifest import Chunk
from agd.ops.digest import Digest, digest_records
from agd.run import SILENT, Progress, Runner, in_flight, runner_or_threads
from agd.samheader import references_of, sort_order_of
from agd.target import check_chunk_size
from agd.types import Orientation, Reference
from agd.urls import Url, as_text

T = TypeVar("T")

#: Columns of imported alignments.
COLUMNS = ("bases", "qualities", "metadata", "results", "tags")


@dataclass(slots=True)
class RawChunk:
    """Consecutive records of a source, not decoded yet.

    Attributes
    ----------
    first : int
        Ordinal of the first record.
    count : int
    data : object
        What the decoder of the format takes. Whoever needs it no more sets it to None: a runner holds the chunk as long
        as it is worked on.
    """

    first: int
    count: int
    data: Any


@dataclass(frozen=True, slots=True)
class Source:
    """A file of records that is being imported.

    Attributes
    ----------
    path : str
        As the user gave it.
    format : str
        "sam", "bam" or "cram".
    header : str
        Header text.
    references : tuple of Reference
    chunks : iterable of RawChunk
        Read once, in order.
    decode : callable
        From a RawChunk to RecordArrays; runs on any thread.
    bytes_in : callable
        Its size in bytes as it is stored, asked for once all is read.
    """

    path: str
    format: str
    header: str
    references: tuple[Reference, ...]
    chunks: Iterable[RawChunk]
    decode: Callable[[RawChunk], RecordArrays]
    bytes_in: Callable[[], int]


class RecordReader(Protocol):
    """Header and raw records of an open file."""

    header: str
    references: tuple[Reference, ...]

    def chunks(self, records: int, limit: int) -> Iterator[RawChunk]:
        """Raw records in order, in chunks of so many records or so many bytes."""
        ...

    def decode(self, raw: RawChunk) -> RecordArrays:
        """Arrays of the records of a chunk; runs on any thread."""
        ...


def import_stream(
    kind: str, reader: Callable[[str, InputStream], RecordReader], path: Url, output: Url, *, chunk_records: int,
    chunk_bytes: int, codecs: Mapping[str, list[dict[str, Any]]] | None, profile: str | None, runner: Runner | None,
    memory: int | None, **options: Any,
) -> ImportReport:
    """Import a file that is read front to back.

    Parameters
    ----------
    kind : str
        "sam" or "bam".
    reader : callable
        Makes the reader from the path, for errors, and the stream.
    others
        As for :func:`agd.convert.bam_in.import_bam`.
    """
    check_chunk_size(chunk_records, chunk_bytes)
    path, output = as_text(path), as_text(output)
    described = describe_input(path)
    with runner_or_threads(runner) as runner, open_input(path, runner) as stream:
        records = reader(path, stream)
        chunks = records.chunks(chunk_records, chunk_bytes)
        # Going by the first one: beside those at work another is read.
        head = list(itertools.islice(chunks, 1))
        largest = sum(_raw_bytes(raw) for raw in head) + (1 << 20)
        ahead = in_flight(runner, memory, 5 * largest, fixed=3 * largest)
        source = Source(
            path, kind, records.header, records.references, itertools.chain(head, chunks), records.decode,
            lambda: stream.bytes_in,
        )  # fmt: skip
        plan = {
            "operation": f"import {kind}", "source": described, "chunk_records": chunk_records,
            "chunk_bytes": chunk_bytes, "codecs": dict(codecs or {}),
        } | ({"profile": profile} if profile else {})  # fmt: skip
        return import_records(
            source, output, plan=plan, codecs=codecs, profile=profile, runner=runner, ahead=ahead, **options
        )


def _raw_bytes(raw: RawChunk) -> int:
    parts = raw.data if isinstance(raw.data, tuple) else (raw.data,)
    return sum(memoryview(part).nbytes for part in parts if not isinstance(part, int))


def header_references(path: str, text: str) -> tuple[Reference, ...]:
    """References of a header text; InputError if it is damaged."""
    try:
        return references_of(text)
    except ValueError as error:
        raise InputError(path, str(error), remedy="mend the header, with 'samtools reheader' for example") from error


def import_records(
    source: Source, output: str, *, plan: Mapping[str, Any], name: str | None = None,
    codecs: Mapping[str, list[dict[str, Any]]] | None = None, profile: str | None = None, overwrite: bool = False,
    runner: Runner, ahead: int | None, progress: Progress = SILENT, command: str = "",
) -> ImportReport:
    """Import records; nothing is visible before all of them are stored.

    Parameters
    ----------
    plan : mapping
        Of the draft; its entries ``source`` and, if it takes part, ``reference`` are those of
        :func:`agd.convert.inputs.describe_input`.
    others
        As for :func:`agd.convert.bam_in.import_bam`.
    """
    begun = time.perf_counter()
    # The first chunk is read before anything that is to be replaced is gone.
    rest = iter(source.chunks)
    head = list(itertools.islice(rest, 1))
    draft = Draft.create(
        output, specs_of(COLUMNS, codecs), plan, orientation=Orientation.SEQ, name=name, overwrite=overwrite,
        profile=profile, chosen=codecs or (),
    )  # fmt: skip
    files = {name: plan[name] for name in ("source", "reference") if plan.get(name)}
    step = {
        "program": f"agd import {source.format}", "version": __version__, "command": command,
        "parameters": dict(plan) | {name: about["path"] for name, about in files.items()},
    }  # fmt: skip

    def load(raw: RawChunk) -> tuple[Batch, Digest]:
        try:
            records = source.decode(raw)
        except KernelError as error:
            place = raw.first + error.record + 1 if error.record >= 0 else -1
            raise InputError(source.path, error.reason, record=place) from error
        raw.data = None
        return to_batch(raw.first, records), digest_records(records)

    def fields(chunks: list[Chunk]) -> dict[str, Any]:
        about = {"path": source.path, "format": source.format, "records": sum(chunk.count for chunk in chunks)}
        return {
            "names": "sam", "pairing": "single", "sort_order": sort_order_of(source.header), "header": source.header,
            "references": source.references, "steps": (step,), "sources": (about,),
        }  # fmt: skip

    # One chunk waits beside those at work; more of them only take memory, which costs time to get.
    at_work = min(ahead or 1, runner.workers + 1)
    dataset = Importing(draft, load, keep=all(map(is_known, files.values()))).run(
        itertools.chain(head, rest), fields, runner=runner, ahead=(at_work, ahead), progress=progress, unit="records"
    )
    return import_report([dataset], source.bytes_in(), begun)


def to_batch(first: int, records: RecordArrays) -> Batch:
    """Columns of a dataset from the arrays of the kernels; the arrays are shared."""
    r = records
    alignments = Alignments(
        r.flag, r.reference, r.position, r.mapping_quality, r.mate_reference, r.mate_position, r.template_length,
        Column(r.cigar[: r.cigar_offsets[-1]], r.cigar_offsets), Column.empty(len(r.flag)),
    )  # fmt: skip
    columns: dict[str, AnyColumn] = {
        "bases": Column(r.bases[: r.base_offsets[-1]], r.base_offsets),
        "qualities": Column(r.qualities[: r.quality_offsets[-1]], r.quality_offsets),
        "metadata": Column(r.names[: r.name_offsets[-1]], r.name_offsets),
        "results": alignments,
        "tags": Column(r.tags[: r.tag_offsets[-1]], r.tag_offsets),
    }
    return Batch(first, columns)


def cut(offsets: np.ndarray[Any, np.dtype[np.int64]], records: int, limit: int) -> int:
    """Records of the next chunk: ``records``, or fewer where they come to more than ``limit`` bytes (at least one).

    Parameters
    ----------
    offsets : ndarray of int64
        Byte offset of each record that is at hand, and the end of the last one.
    """
    last = min(records, len(offsets) - 1)
    return max(1, min(last, int(np.searchsorted(offsets, offsets[0] + limit, "right")) - 1)) if last else 0
