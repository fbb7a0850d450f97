"""Import and export CRAM: htslib, in a process of its own, turns it into BAM and back; records never become objects."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from agd.aligners.process import Program
from agd.convert.bam_in import BamReader
from agd.convert.bam_out import BamStream
from agd.convert.inputs import describe_input
from agd.convert.kinds import check_output_name
from agd.convert.outputs import open_output
from agd.convert.records import Source, import_records
from agd.convert.reports import ExportReport, ImportReport
from agd.convert.streams import InputStream
from agd.dataset import Dataset
from agd.errors import AlignerError, InputError, StorageError, UsageError
from agd.files import open_source
from agd.ops.select import Selection, is_coordinate_sorted
from agd.run import SILENT, Progress, Runner, in_flight, runner_or_threads
from agd.sinks import is_stream
from agd.storage import local_path
from agd.target import check_chunk_size
from agd.types import DEFAULT_CHUNK_BYTES, DEFAULT_CHUNK_RECORDS
from agd.urls import Url, as_text

_BLOCK = 1 << 20

# pysam carries samtools with it: nothing else needs to be installed.
# References that are not given are not looked for on the network: slow, and a surprise.
_SAMTOOLS = """
import os
import sys
os.environ.setdefault("REF_PATH", os.devnull)
import pysam
try:
    getattr(pysam.samtools, sys.argv[1])(*sys.argv[2:], catch_stdout=False)
except pysam.SamtoolsError as error:
    text = str(error).partition("stderr=")[2] or str(error)
    sys.exit(text.replace("\\n", chr(10)).strip(" '\\n"))
"""


def import_cram(
    path: Url, output: Url, *, reference: Url | None = None, name: str | None = None,
    chunk_records: int = DEFAULT_CHUNK_RECORDS, chunk_bytes: int = DEFAULT_CHUNK_BYTES,
    codecs: Mapping[str, list[dict[str, Any]]] | None = None, profile: str | None = None, overwrite: bool = False,
    runner: Runner | None = None, memory: int | None = None, progress: Progress = SILENT, command: str = "",
) -> ImportReport:
    """Import a CRAM file: every record, every tag, the header text.

    Parameters
    ----------
    reference : str or path, optional
        FASTA file (with ``.fai`` beside it, or in a folder where it can be made) that the file was made with. Not
        needed where the file holds the reference or none. Nothing is fetched from the network, unless ``REF_PATH`` says
        so.
    path : str or path
        A path, or any url.
    output : str or path
        Path or url of the new dataset.
    chunk_records, chunk_bytes : int
        A chunk ends after so many records, or so many bytes of them as BAM.
    name : str, optional
        Name of the dataset: the first part of its object names. Default: from ``output``.
    codecs : mapping of str to list of dict, optional
        Codec chains of columns that are to be stored in another way than by default.
    overwrite : bool
        Replace a dataset that is at ``output``.
    runner, memory, progress, command
        As in all operations.
    profile
        As for :func:`agd.import_fastq`.

    Returns
    -------
    ImportReport
        How many records, in how many chunks, and their digest.

    Raises
    ------
    InputError
        The file is damaged, or needs a reference that is not given.
    """
    check_chunk_size(chunk_records, chunk_bytes)
    path, output, reference = as_text(path), as_text(output), as_text(reference)
    _local_reference(reference)
    described, against = describe_input(path), describe_input(reference) if reference else ""
    with contextlib.ExitStack() as stack:
        runner = stack.enter_context(runner_or_threads(runner))
        ahead = in_flight(runner, memory, 4 * min(chunk_bytes, chunk_records * 700))
        stream = stack.enter_context(InputStream(CramSource(path, cram_options(reference, runner)), runner, True))
        reader = BamReader(path, stream)
        source = Source(
            path, "cram", reader.header, reader.references, reader.chunks(chunk_records, chunk_bytes), reader.decode,
            lambda: described["size"] or stream.bytes_in,
        )  # fmt: skip
        plan = {
            "operation": "import cram", "source": described, "reference": against,
            "chunk_records": chunk_records, "chunk_bytes": chunk_bytes, "codecs": dict(codecs or {}),
        } | ({"profile": profile} if profile else {})  # fmt: skip
        return import_records(
            source, output, plan=plan, name=name, codecs=codecs, profile=profile, overwrite=overwrite, runner=runner,
            ahead=ahead, progress=progress, command=command,
        )


def export_cram(
    dataset: Dataset, output: Url, *, reference: Url | None = None, embed: bool = False, index: bool | None = None,
    selection: Selection | None = None, runner: Runner | None = None, memory: int | None = None,
    progress: Progress = SILENT, command: str = "",
) -> ExportReport:
    """Write a CRAM file.

    Parameters
    ----------
    reference : str or path, optional
        FASTA file that the reads were aligned to.
    embed : bool
        Store all bases instead, so that the file can be read without a reference.
    dataset : Dataset
    output : str or path
        A path, any url, or "-" for standard output.
    index : bool, optional
        Write ``output.crai``. Default: if the records are in coordinate order and the output is a file.
    selection : Selection, optional
        Records wanted. Default: all.
    runner, memory, progress, command
        As in all operations.

    Returns
    -------
    ExportReport
        How many records, and how many bytes.

    Raises
    ------
    UsageError
        There are alignments, and neither a reference nor ``embed`` is given, or the output is named like SAM, BAM or
        FASTQ.
    """
    begun = time.perf_counter()
    output, reference = as_text(output), as_text(reference)
    check_output_name(output, "cram")
    fasta = _local_reference(reference)
    if dataset.manifest.references and not reference and not embed:
        raise UsageError(
            "a CRAM file is written against a reference", "give --reference ref.fa, or --no-reference to do without one"
        )
    here = None if is_stream(output) else local_path(output)
    can_index = is_coordinate_sorted(dataset) and here is not None
    if index and not can_index:
        raise UsageError(f"{output}: only a local file in coordinate order can be indexed", "sort the dataset first")
    size = 0
    with runner_or_threads(runner) as runner:
        stream = BamStream(
            dataset, level=0, index=False, selection=selection, runner=runner, memory=memory, progress=progress,
            program="agd export cram", command=command,
        )  # fmt: skip
        # MD and NM are stored as they are: htslib would leave them out and make its own on reading.
        options = ["-C", "--no-PG", "-@", str(runner.workers), "--output-fmt-option", "store_md=1",
                   "--output-fmt-option", "store_nm=1"]  # fmt: skip
        options += ["-T", fasta] if fasta and not embed else ["--output-fmt-option", "no_ref=1"]
        with _writing(output):
            with open_output(output, compression="none") as out, _samtools("view", *options, "-", feed=stream) as made:
                for data in made.blocks():
                    out.write(data)
                    size += len(data)
            where = ""
            if here is not None and (can_index if index is None else index):
                _index(here)
                where = f"{output}.crai"
    return ExportReport(
        stream.records, {output: stream.records}, stream.bases, size, time.perf_counter() - begun, where, stream.digest
    )


@contextlib.contextmanager
def _writing(output: str) -> Iterator[None]:
    try:
        yield
    except AlignerError as error:
        remedy = _about_reference(error) or (
            "look at what htslib says, and at the free space; 'agd verify --deep' tells whether the dataset is sound"
        )
        raise StorageError(f"{output}: writing CRAM failed: {_words(error)}", remedy) from error


def _index(path: str) -> None:
    with _samtools("index", path, f"{path}.crai", feed=()) as program:
        for _ in program.blocks():
            pass


def _samtools(verb: str, *arguments: str, feed: Any) -> Program:
    return Program([sys.executable, "-c", _SAMTOOLS, verb, *arguments], feed)


def _local_reference(reference: str | None) -> str | None:
    """Path of the FASTA file of a reference."""
    path = local_path(reference) if reference is not None else None
    if reference is not None and (path is None or not os.path.isfile(path)):
        raise UsageError(f"{reference}: there is no such reference", "give a FASTA file on this machine")
    return path


def _words(error: AlignerError) -> str:
    # The process prints the words of samtools as Python quotes them.
    lines = error.remedy.removeprefix("its last words:").replace("\\n", "\n").split("\n")
    return "; ".join(line.strip() for line in lines if line.strip())


def _about_reference(error: AlignerError) -> str:
    """What to do if it is for want of a reference; else ""."""
    wanting = "eference" in error.remedy or "MD5" in error.remedy.upper()
    return "give the FASTA file that the reads were aligned to, with --reference" if wanting else ""


def cram_options(reference: str | None, runner: Runner) -> list[str]:
    """Options of ``samtools view`` that read CRAM as uncompressed BAM."""
    fasta = _local_reference(reference)
    return ["-u", "-h", "--no-PG", "-@", str(runner.workers), *(["-T", fasta] if fasta else [])]


class CramSource:
    """Uncompressed BAM of a CRAM file, as a source of bytes."""

    def __init__(self, path: str, options: list[str]) -> None:
        self.name = path
        self.size: int | None = None
        here = local_path(path) if path != "-" else None
        if here is not None and not os.path.isfile(here):
            raise InputError(path, "there is no such file", remedy="check the path or url")
        self._program = _samtools(
            "view", *options, here or "-", feed=() if here else _bytes_of(path)
        ).__enter__()  # fmt: skip
        self._blocks: Iterator[bytes] = self._program.blocks()
        self._rest = memoryview(b"")

    def read(self, size: int) -> bytes:
        """See :class:`agd.files.Source`."""
        if not self._rest:
            try:
                self._rest = memoryview(next(self._blocks, b""))
            except AlignerError as error:
                raise InputError(
                    self.name, f"not a CRAM file that can be read: {_words(error)}",
                    remedy=_about_reference(error) or "the file is truncated or damaged: fetch or make it again",
                ) from error
        data, self._rest = self._rest[:size], self._rest[size:]
        return bytes(data)

    def cancel(self) -> None:
        """See :class:`agd.files.Source`."""
        self._program.kill()

    def close(self) -> None:
        """See :class:`agd.files.Source`."""
        self._program.__exit__(None, None, None)


def _bytes_of(path: str) -> Iterator[bytes]:
    source = open_source(path)
    try:
        while data := source.read(_BLOCK):
            yield data
    finally:
        source.close()
