"""Import of many files into one dataset, whole files on any worker or machine in any order, joined at last.

Each entry of the list (a file, or the two files of pairs) becomes a small dataset of its own beside the output; joining
copies their objects with new headers, decodes nothing, and gives records the ordinals that the order of the list says.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import agd
from agd import claim
from agd.convert import fastq, records
from agd.convert.bam_in import import_bam
from agd.convert.fastq import import_fastq
from agd.convert.importing import specs_of
from agd.convert.inputs import describe_input, read_lines
from agd.convert.pieces import SUFFIX, absolute
from agd.convert.reports import ImportReport, import_report
from agd.convert.sam_in import import_sam
from agd.dataset import Dataset
from agd.errors import DatasetExistsError, UsageError
from agd.footprint import remove
from agd.generations import is_dataset
from agd.manifest import Chunk
from agd.ops.cat import cat
from agd.ops.finalise import finalise
from agd.ops.partition import Joining, Part, Partition
from agd.run import SILENT, Progress, Runner, SerialRunner, ThreadRunner, local_runner, memory_of, runner_or_threads
from agd.storage import open_storage
from agd.target import check_target
from agd.types import Orientation
from agd.urls import without_credentials

#: By format: imports one entry of the list.
_IMPORTS: dict[str, Callable[..., ImportReport]] = {
    "fastq": lambda paths, output, **options: import_fastq(*paths, output=output, **options),
    "bam": lambda paths, output, **options: import_bam(paths[0], output, **options),
    "sam": lambda paths, output, **options: import_sam(paths[0], output, **options),
}

#: Names of the imports in plans.
OPERATIONS = {kind: f"import many {kind}" for kind in _IMPORTS}


def read_list(path: str, kind: str) -> list[list[str]]:
    """Entries of a list of files: one a line, the two files of pairs with a tab between; ``#`` begins a comment.

    Parameters
    ----------
    path : str
        A path, any url, or "-" for standard input.

    Raises
    ------
    InputError
        The list cannot be read.
    UsageError
        It is empty, or an entry has too many files.
    """
    lines = [line.strip(" ") for line in read_lines(path)]
    entries = [line.split("\t") for line in lines if not line.startswith("#")]
    most = 2 if kind == "fastq" else 1
    for entry in entries:
        if len(entry) > most or "-" in entry:
            raise UsageError(f"{path}: {' '.join(entry)!r} is no entry", f"give {most} file a line" + "s" * (most - 1))
    if not entries:
        raise UsageError(f"{path}: there is no file in the list", "give one a line")
    return entries


def import_many(
    kind: str, entries: Sequence[Sequence[str]], output: str | os.PathLike[str], *, partition: Partition | None = None,
    name: str | None = None, overwrite: bool = False, runner: Runner | None = None, memory: int | None = None,
    progress: Progress = SILENT, command: str = "", **options: Any,
) -> ImportReport:
    """Make one dataset of many files, in the order of the list.

    With ``overwrite`` the old one is there until all files are imported.

    Parameters
    ----------
    kind : str
        "fastq", "bam" or "sam".
    entries : sequence of sequence of str
        Paths or urls: one file each, or two of FASTQ.
    output : str or path
    partition : Partition, optional
        Import this part of the entries only; :func:`agd.convert.finalise.finalise` joins when all parts are done.
    runner : Runner, optional
        One of other processes gets an entry for a task; threads share the work of one entry after the other.
    **options
        As of :func:`agd.import_fastq` or :func:`agd.import_bam`, for every entry.

    Raises
    ------
    UsageError
        The files are of different kinds: single and pairs, or of different references (when joining).
    """
    begun = time.perf_counter()
    target = absolute(os.fspath(output))
    if len({len(entry) for entry in entries}) > 1:
        raise UsageError("some entries are single files and some are pairs", "import them into two datasets")
    if overwrite and partition is not None:
        raise UsageError("a part of an import cannot overwrite: other parts may be there", "remove the old one first")
    check_target(os.fspath(output), name)
    specs_of(fastq.COLUMNS if kind == "fastq" else records.COLUMNS, options.get("codecs"))
    if is_dataset(open_storage(output)) and not overwrite:
        _clear(target)
        raise DatasetExistsError(f"{target}: there is a dataset already", "choose another, or use --overwrite")
    entries = [[absolute(path) for path in entry] for entry in entries]
    inputs = [[describe_input(path) for path in entry] for entry in entries]
    plan = {"operation": OPERATIONS[kind], "inputs": inputs, "name": name, **options}
    storage = open_storage(target + SUFFIX, create=True)
    record, _ = claim.place(storage, claim.NEW, {"id": uuid.uuid4().hex, "name": "entry", "plan": plan})
    mine = (partition or Partition(1, 1)).of(range(len(entries)))
    bytes_in = sum(described["size"] or 0 for i in mine for described in inputs[i])
    with runner_or_threads(runner) as runner:
        _import_entries(kind, target, record["id"], {i: entries[i] for i in mine}, options, runner, memory, progress)
        about = {"unit": "files", "target": target, "command": command, "name": name,
                 "paths": without_credentials(entries), "overwrite": overwrite}  # fmt: skip
        part = Part(
            partition or Partition(1, 1), record["plan"], True, record["id"], "entry", Orientation.READ, {}, False,
            tuple(Chunk(i, 1, {}) for i in mine), len(entries), (), about, {},
        )  # fmt: skip
        storage.put(part.key, part.to_bytes())
        if partition is not None:
            return import_report([Dataset.open(place_of(target, i)) for i in mine], bytes_in, begun)
        finalise(storage, joiners=JOINERS, runner=runner, memory=memory, progress=progress)
    return import_report([Dataset.open(target)], bytes_in, begun)


def _import_entries(
    kind: str, target: str, identity: str, entries: Mapping[int, Sequence[str]], options: dict[str, Any],
    runner: Runner, memory: int | None, progress: Progress,
) -> None:
    """Import some entries of the list, by their numbers."""
    remote = local_runner(runner) is not runner
    each = memory_of(runner, memory) // getattr(runner, "threads_each", 1) if remote else memory
    one = partial(_import_entry, kind, target, identity, None if remote else runner, each, options)
    progress.begin("import", len(entries), "files")
    try:
        for _ in (runner if remote else SerialRunner()).map(one, list(entries.items()), ahead=1):
            progress.advance(1)
    finally:
        progress.end()


def place_of(target: str, index: int) -> str:
    """Url of the dataset of one entry."""
    return f"{target}{SUFFIX}/{index:06d}.agd"


def _import_entry(
    kind: str, target: str, identity: str, runner: Runner | None, memory: int | None, options: dict[str, Any],
    item: tuple[int, Sequence[str]],
) -> int:
    """Import one entry, unless an earlier run has; on a worker."""
    index, paths = item
    url, name = place_of(target, index), f"entry-{identity[:12]}"
    storage = open_storage(url)
    if is_dataset(storage):
        if Dataset.open(url).manifest.name == name:
            return index
        remove(storage)  # of another import, which was given up
    with contextlib.ExitStack() as stack:
        used = runner or stack.enter_context(ThreadRunner(1))
        try:
            _IMPORTS[kind](paths, url, name=name, runner=used, memory=memory, **options)
        except DatasetExistsError:  # another worker was given the same entry, and was faster
            if Dataset.open(url).manifest.name != name:
                raise
    return index


def join_entries(joining: Joining) -> None:
    """Make one dataset of the entries, and remove them."""
    first = joining.parts[0]
    about, target = first.fields, first.fields["target"]
    places = [place_of(target, chunk.first) for chunk in joining.chunks]
    if not is_joined(target, {"id": first.identity}):
        datasets = [Dataset.open(place) for place in places]
        options = {k: v for k, v in first.plan.items() if k not in ("operation", "inputs", "name")}
        step = {
            "program": f"agd {first.plan['operation'].replace(' many', '')}", "version": agd.__version__,
            "command": about["command"], "parameters": {**options, "inputs": about["paths"], "parts": first.identity},
        }  # fmt: skip
        cat(
            datasets, target, name=about["name"], overwrite=about.get("overwrite", False), step=step,
            runner=joining.runner, progress=joining.progress,
            sources=tuple(source for d in datasets for source in d.manifest.sources),
        )  # fmt: skip
    _remove_entries(target, [chunk.first for chunk in joining.chunks])


def _remove_entries(target: str, entries: Iterable[int]) -> None:
    for place in (place_of(target, index) for index in entries):
        remove(open_storage(place))
        with contextlib.suppress(OSError):
            os.rmdir(place)


def _clear(target: str) -> None:
    """Remove what an import left that was killed after it had published the dataset that is there."""
    beside = open_storage(target + SUFFIX)
    record = claim.read(beside, claim.NEW)
    if not record or not is_joined(target, record):
        return
    _remove_entries(target, range(len(record["plan"]["inputs"])))
    for key in sorted(beside.keys(), key=lambda key: key == claim.NEW):  # without the claim nobody comes back
        beside.delete(key)
    with contextlib.suppress(OSError):
        os.rmdir(beside.url)


def is_joined(target: str, record: Mapping[str, Any]) -> bool:
    """Whether the dataset that is at ``target`` was joined from the entries of a claim."""
    if "id" not in record or not is_dataset(open_storage(target)):
        return False
    steps = Dataset.open(target).manifest.steps
    return any(step.get("parameters", {}).get("parts") == record["id"] for step in steps)


#: What finalises them.
JOINERS: dict[str, Callable[[Joining], None]] = dict.fromkeys(OPERATIONS.values(), join_entries)
