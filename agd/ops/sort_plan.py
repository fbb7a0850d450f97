"""How a sort stays within its memory: all at once, or in runs of some chunks that go through temporary files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from agd import chunkfile
from agd.batch import Alignments
from agd.dataset import Dataset
from agd.kernels import alignments as structured
from agd.manifest import Chunk
from agd.ops.lines import secondary_columns
from agd.ops.sort_keys import Ordering
from agd.run import Runner, items_in_flight, local_runner
from agd.run.memory import BASE
from agd.storage import LocalStorage

#: Chunks whose headers are read to learn how large a column is once decoded, and chunks that are decoded for it where
#: headers do not tell; the others are judged by these.
HEADERS, SAMPLES = 64, 2

#: Records of output that one task merges at least, for its overhead to be small.
WINDOW = 50_000

#: Windows whose objects are stored while others are merged.
STORING = 2

#: A block of a run: no fewer records, for the overhead, unless they have that many bytes; no more, for what is read in
#: vain at the ends of a slice.
MIN_BLOCK, MIN_BLOCK_BYTES, MAX_BLOCK = 256, 1 << 16, 8192

#: Runs that are merged at one time at most.
MAX_FAN_IN = 512

#: Bytes that are remembered of each record while one group of columns is merged after the other: where it comes from.
ORIGIN = 12


class SortPlan(NamedTuple):
    """What bounds the memory of a sort; the result does not depend on it.

    Attributes
    ----------
    spill : bool
        Whether runs go to temporary files.
    groups : tuple of tuple of Chunk
        Chunks of each run.
    block : int
        Records in a block of a run.
    fan_in : int
        Runs that are merged at one time.
    loaders, mergers : int
        Tasks at work at one time when runs are made, and when they are merged.
    window : int
        Records that a task merges at least.
    prefetch : bool
        Whether the objects of a run are fetched, all of them, before work on it begins: stores that are far away.
    columns : tuple of tuple of str
        Without spilling: columns that are in memory together. One group is sorted after the other.
    """

    spill: bool
    groups: tuple[tuple[Chunk, ...], ...]
    block: int
    fan_in: int
    loaders: int
    mergers: int
    window: int
    prefetch: bool = False
    columns: tuple[tuple[str, ...], ...] = ()

    def ahead(self, allowed: int, runner: Runner) -> int:
        """Tasks of a stage under way: one waits beside ``allowed`` at work, unless memory forbids even these."""
        return allowed + 1 if allowed >= runner.workers else allowed


class Weights(NamedTuple):
    """Decoded bytes of each record, by use.

    Attributes
    ----------
    total : float
        All columns.
    group : float
        The columns of the largest group, and what of the reads the lines show.
    widest : float
        The largest column.
    alignments : float
        The decoded alignments and what else stays in memory with them.
    keys : float
        The key and its place in the order.
    stored : float
        All columns as they are stored.
    """

    total: float
    group: float
    widest: float
    alignments: float
    keys: float
    stored: float


def column_groups(
    dataset: Dataset, columns: Sequence[str], chunk_records: int, chunk_bytes: int
) -> tuple[tuple[str, ...], ...]:
    """Columns that are in memory together: bases and qualities each by themselves, after all the others.

    Where bases or qualities may close a chunk before it is full, all columns must be there to cut the chunks.
    """
    longest = [chunk.cells["bases"].statistics.get("max_length") for chunk in dataset.chunks if "bases" in chunk.cells]
    if any(length is None or length * chunk_records > chunk_bytes for length in longest):
        return (tuple(columns),)
    large = [name for name in ("qualities", "bases") if name in columns]
    return (tuple(name for name in columns if name not in large), *((name,) for name in large))


def weigh(dataset: Dataset, ordering: Ordering, groups: Sequence[Sequence[str]]) -> Weights:
    """Bytes of a record, from some chunks spread over the dataset (the largest count)."""
    extra = secondary_columns(dataset.columns)
    largest = {name: decoded_size(dataset, name) for name in dataset.columns}
    offsets = 8
    plain = [size + offsets for name, size in largest.items() if name not in extra and name != "results"]
    rows = [size for name, size in largest.items() if name in extra or name == "results"]
    made_of = sum(largest.get(name, 0.0) for name in ordering.columns)
    total = sum(plain) + sum(rows) + offsets
    apart = [largest.get(group[0], 0.0) + 2 * offsets for group in groups[1:]]
    return Weights(
        total=total,
        group=max([total - sum(apart) + offsets * len(apart), *apart]) + 1,
        widest=max([*plain, *rows, 8]),
        alignments=sum(rows) * 2 + 64 * (1 + len(extra)),
        keys=16 if ordering.by == "coordinate" else 2 * made_of + 48,
        stored=dataset.manifest.stored_bytes / max(1, len(dataset)),
    )


def decoded_size(dataset: Dataset, name: str) -> float:
    """Bytes of a column in a record once decoded, in the chunk that has most; of alignments, bytes of their rows."""
    chunks = [chunk for chunk in dataset.chunks if name in chunk.cells]
    noted = [noted_bytes(chunk, name) for chunk in chunks]
    if None not in noted:
        return max((size / chunk.count for size, chunk in zip(noted, chunks, strict=True) if size), default=0.0)
    largest = 0.0
    for chunk in chunks[:: max(1, -(-len(chunks) // HEADERS))]:
        header = dataset.chunk_header(chunk, name)
        if header.index_width == chunkfile.ABSENT:
            break  # only the codecs of the column know
        largest = max(largest, header.values / chunk.count)
    else:
        return largest
    for chunk in chunks[:: max(1, -(-len(chunks) // SAMPLES))]:
        column = dataset.decode_column(chunk, name, dataset.fetch(chunk, [name]))
        size = structured.packed_bytes(column) if isinstance(column, Alignments) else len(column.values)
        largest = max(largest, int(size) / chunk.count)
    return largest


def noted_bytes(chunk: Chunk, name: str) -> int | None:
    """Bytes of a column of a chunk once decoded, by its statistics; None where these do not tell."""
    noted = chunk.cells[name].statistics
    if "total" in noted:
        return int(noted["total"])
    if "flags" in noted and "cigar_operations" in noted and "tag_bytes" in noted:
        records: int = sum(noted["flags"].values())  # null ones take nothing
        return records * structured.ROW_BYTES + 4 * int(noted["cigar_operations"]) + int(noted["tag_bytes"])
    return None


def plan(
    dataset: Dataset, columns: Sequence[str], ordering: Ordering, runner: Runner, memory: int, chunk_records: int,
    chunk_bytes: int,
) -> SortPlan:  # fmt: skip
    """Choose how to sort ``columns`` within ``memory`` bytes of peak resident set of each process at work.

    Raises
    ------
    UsageError
        It is too little for even one chunk.
    """
    chunks, shared = dataset.chunks, local_runner(runner) is not runner
    workers, everywhere = getattr(runner, "threads_each", runner.workers), runner.workers
    together = column_groups(dataset, columns, chunk_records, chunk_bytes)
    w, records = weigh(dataset, ordering, together), len(dataset)
    chunk = max((c.count for c in chunks), default=0)
    target = max(chunk_records, WINDOW)
    if chunk_records * w.widest > chunk_bytes:
        target = min(chunk_records, int(chunk_bytes / w.widest) + 1)
    target = max(1, min(target, records))
    load = int(chunk * (2.5 * w.group + w.alignments + w.keys + 2 * w.stored))
    merge = int(target * (3.5 * w.widest + (1 + STORING) * w.stored + 3 * w.keys))
    held = int(records * (w.group + w.keys + (ORIGIN if len(together) > 1 else 0)) * 1.05)
    if len(together) > 1:
        held += int(chunk * w.group)  # while the last windows are merged the next columns are begun
    if not shared and BASE + held + workers * max(load, merge) <= memory:
        runs = tuple((chunk,) for chunk in chunks)
        return SortPlan(False, runs, MAX_BLOCK, 1 << 30, workers, workers, WINDOW, True, together)
    # Of a run only the alignments, the keys and one column are in memory; of a chunk this column twice, when it turns.
    prefetch = not isinstance(dataset.storage, LocalStorage)
    each = w.widest + w.alignments + w.keys * 2 + (2 * w.stored if prefetch else 0)
    if shared:
        each += 2 * w.total  # a run of a store is in memory as a whole before it is stored
    first = int(chunk * (each + 2 * w.widest))
    loaders = min(workers, items_in_flight(memory, first, workers))
    room = (memory - BASE) // loaders - first
    most = max(chunk, int(min(chunk + room / each, -(-records // everywhere))))
    groups = tuple(group(chunks, most))
    mergers = min(workers, items_in_flight(memory, merge, workers))
    # Blocks that are read at the two ends of each slice for little more than their middle cost memory, too.
    least = max(1, min(MIN_BLOCK, int(MIN_BLOCK_BYTES / w.widest)))
    spare = max(target // 2, int(((memory - BASE) // mergers - merge) / (w.widest + w.keys)))
    fan_in = max(2, min(MAX_FAN_IN, spare // least))
    block = min(MAX_BLOCK, max(least, target // (4 * min(len(groups), fan_in))))
    return SortPlan(True, groups, block, fan_in, loaders, mergers, min(WINDOW, target), prefetch)


def group(chunks: Sequence[Chunk], records: int) -> Iterator[tuple[Chunk, ...]]:
    """Consecutive chunks with no more than ``records`` records together, or one chunk."""
    taken: list[Chunk] = []
    for chunk in chunks:
        if taken and sum(c.count for c in taken) + chunk.count > records:
            yield tuple(taken)
            taken = []
        taken.append(chunk)
    if taken:
        yield tuple(taken)
