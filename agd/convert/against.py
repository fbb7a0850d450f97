"""Compare a dataset with the files that it was made from, field by field."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from agd.batch import AnyColumn, Batch, Column
from agd.convert.bam_in import BamReader
from agd.convert.cram import CramSource, cram_options
from agd.convert.fastq_batches import FastqBatches
from agd.convert.kinds import kind_of
from agd.convert.renew import REORDERING
from agd.convert.sam_in import SamReader
from agd.convert.streams import InputStream, open_input
from agd.dataset import Dataset
from agd.errors import UsageError
from agd.kernels.records import RecordArrays
from agd.ops.digest import Digest, differences, digest_records
from agd.ops.lines import to_lines, to_records
from agd.ops.verify import Problem
from agd.run import Runner, runner_or_threads
from agd.types import DEFAULT_CHUNK_BYTES, DEFAULT_CHUNK_RECORDS, Flag

#: Records that are compared at a time.
_RECORDS = DEFAULT_CHUNK_RECORDS

_FIELDS = (
    "FLAG", "RNAME", "POS", "MAPQ", "RNEXT", "PNEXT", "TLEN", "QNAME", "CIGAR", "SEQ", "QUAL", "tags",
)  # fmt: skip


def compare_with_source(
    dataset: Dataset, paths: Sequence[str], *, reference: str | None = None, runner: Runner | None = None
) -> list[Problem]:
    """What differs between a dataset and its source: one problem a field, with the first record and how many differ.

    Parameters
    ----------
    paths : sequence of str
        One BAM, SAM, CRAM or FASTQ file (told by the name), or the two FASTQ files of pairs.
    reference : str, optional
        For CRAM.

    Notes
    -----
    Marks of duplicates (flag 0x400) are not compared where the dataset has marks of its own. A dataset whose records
    were brought into another order after its import (sorted, collated) is compared by the digest of its records, as
    nothing else is independent of their order.

    Raises
    ------
    InputError
        A source is damaged.
    """
    with runner_or_threads(runner) as runner:
        if kind_of(paths[0]) == "fastq":
            return _compare_reads(dataset, paths, runner)
        if len(paths) > 1:
            raise UsageError("a dataset of alignments has one source", "give one file")
        return _compare_records(dataset, paths[0], reference, runner)


def _compare_records(dataset: Dataset, path: str, reference: str | None, runner: Runner) -> list[Problem]:
    with open_records(path, reference, runner) as (reader, records):
        if _is_reordered(dataset):
            return _by_digest(dataset, records, runner)
        problems = []
        if [(r.name, r.length) for r in reader.references] != [
            (r.name, r.length) for r in dataset.manifest.references
        ]:
            problems.append(Problem("the references differ from those of the source"))
        mask = 0xFFFF ^ (Flag.DUPLICATE if "duplicates" in dataset.columns else 0)
        theirs = (_fields(r, mask) for r in records)
        ours = (_fields(r, mask) for r in _records(dataset, runner))
        return problems + _compare(ours, theirs)


@contextlib.contextmanager
def open_records(
    path: str, reference: str | None, runner: Runner
) -> Iterator[tuple[BamReader | SamReader, Iterator[RecordArrays]]]:
    """Reader and records of a BAM, SAM or CRAM file, told by its name."""
    kind = kind_of(path)
    if kind == "cram":
        stream = InputStream(CramSource(path, cram_options(reference, runner)), runner, True)
    else:
        stream = open_input(path, runner)
    with stream:
        reader = SamReader(path, stream) if kind == "sam" else BamReader(path, stream)
        yield reader, (reader.decode(raw) for raw in reader.chunks(_RECORDS, DEFAULT_CHUNK_BYTES))


def _is_reordered(dataset: Dataset) -> bool:
    """Whether the records may be in another order than those of the source."""
    return any(str(step.get("program", "")).startswith(REORDERING) for step in dataset.manifest.steps)


def _records(dataset: Dataset, runner: Runner) -> Iterator[RecordArrays]:
    manifest = dataset.manifest
    for batch in dataset.batches(runner=runner):
        yield to_records(to_lines(batch, manifest.orientation, manifest.pairing == "interleaved"), manifest.names)


def _by_digest(dataset: Dataset, records: Iterator[RecordArrays], runner: Runner) -> list[Problem]:
    ours, theirs = Digest(), Digest()
    for arrays in _records(dataset, runner):
        ours.add(digest_records(arrays))
    for arrays in records:
        theirs.add(digest_records(arrays))
    return [Problem(f"the records are not those of the source: {text}") for text in differences(theirs.to_json(), ours)]


def _compare_reads(dataset: Dataset, paths: Sequence[str], runner: Runner) -> list[Problem]:
    if dataset.manifest.names != "fastq" or _is_reordered(dataset):
        ours, theirs = Digest(), Digest()
        for arrays in _records(dataset, runner):
            ours.add(digest_records(arrays, alignments=False))
        with FastqBatches(paths, runner=runner, interleaved=_interleaved(dataset, paths)) as reads:
            for batch in reads.batches():
                theirs.add(reads.digest(batch))
        found, noted = ours.to_json(), theirs.to_json()
        parts = [f"{k} is {found['reads'][k]}, of the source {v}" for k, v in noted["reads"].items()
                 if found["reads"][k] != v]  # fmt: skip
        return [Problem(f"the reads are not those of the source: {text}") for text in parts]
    columns = ["metadata", "bases", "qualities"]
    with FastqBatches(paths, runner=runner, interleaved=_interleaved(dataset, paths)) as reads:
        return _compare(
            dataset.batches(columns, runner=runner),
            (Batch(b.first, {name: b[name] for name in columns}) for b in reads.batches()),
        )


def _interleaved(dataset: Dataset, paths: Sequence[str]) -> bool:
    return len(paths) == 1 and dataset.manifest.pairing == "interleaved"


def _fields(r: RecordArrays, mask: int) -> Batch:
    arrays: list[Any] = list(r)
    columns: dict[str, AnyColumn] = {name: Column(values) for name, values in zip(_FIELDS, arrays[:7], strict=False)}
    columns["FLAG"] = Column(r.flag & np.uint16(mask))
    for name, i in zip(_FIELDS[7:], range(7, 17, 2), strict=True):
        columns[name] = Column(arrays[i][: arrays[i + 1][-1]], arrays[i + 1])
    return Batch(0, columns)


def _compare(ours: Iterator[Batch], theirs: Iterator[Batch]) -> list[Problem]:
    counts: dict[str, int] = {}
    firsts: dict[str, tuple[int, str, str]] = {}
    at = 0
    for one, two in _in_step(ours, theirs):
        if one is None or two is None:
            more = len(one if one is not None else two)  # type: ignore[arg-type]
            who = "the dataset" if one is not None else "the source"
            return [*_problems(counts, firsts), Problem(f"{who} has {more} or more records than the other, from {at}")]
        for name, column in one.columns.items():
            wrong = _different(column, two[name])
            if len(wrong):
                counts[name] = counts.get(name, 0) + len(wrong)
                k = int(wrong[0])
                firsts.setdefault(name, (at + k, repr(column[k])[:80], repr(two[name][k])[:80]))  # type: ignore[index]
        at += len(one)
    return _problems(counts, firsts)


def _problems(counts: Mapping[str, int], firsts: Mapping[str, tuple[int, str, str]]) -> list[Problem]:
    return [
        Problem(f"{name} differs in {count} records, first in record {firsts[name][0]}: {firsts[name][1]}, "
                f"in the source {firsts[name][2]}", column=name)
        for name, count in counts.items()
    ]  # fmt: skip


def _different(one: AnyColumn, two: AnyColumn) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Records that differ."""
    assert isinstance(one, Column)
    assert isinstance(two, Column)
    if one.offsets is None:
        return np.flatnonzero(one.values != two.values)
    one, two = one.compact(), two.compact()
    assert one.offsets is not None
    unequal = one.lengths != two.lengths
    if not unequal.any():
        places = np.flatnonzero(one.values != two.values)
        return np.unique(np.searchsorted(one.offsets, places, "right") - 1)
    return np.array([i for i in range(len(one)) if unequal[i] or not np.array_equal(one[i], two[i])], np.int64)


def _in_step(ours: Iterator[Batch], theirs: Iterator[Batch]) -> Iterator[tuple[Batch | None, Batch | None]]:
    """Batches of the same records; at the end None for the one that has no more."""
    a, b = next(ours, None), next(theirs, None)
    while a is not None and b is not None:
        count = min(len(a), len(b))
        yield a.slice(0, count), b.slice(0, count)
        a = a.slice(count, len(a)) if count < len(a) else next(ours, None)
        b = b.slice(count, len(b)) if count < len(b) else next(theirs, None)
    if a is not None or b is not None:
        yield a, b
