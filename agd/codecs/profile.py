"""Which codecs a profile chooses from, and the choice among them on a sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from agd.batch import I64, U8, AnyColumn, Column
from agd.codecs.base import names
from agd.codecs.chain import Chain
from agd.codecs.context import Context, needed_columns
from agd.errors import CodecError, UsageError
from agd.types import Orientation, RecordType

Config = list[dict[str, Any]]

#: Records that a choice is made on, and bytes of them: a sample of long reads is to be a sample, too.
SAMPLE, SAMPLE_BYTES = 10_000, 4 << 20

#: A chain must make a sample smaller by this factor than those before it, which are faster.
GAIN = 0.98

PROFILES = ("fast", "balanced", "small")


def _zstd(level: int) -> Config:
    return [{"name": "zstd", "level": level}]


#: Candidates by profile and column (or record type), the fastest first. Those that are not known here are left out.
_CANDIDATES: dict[str, dict[str, list[Config]]] = {
    "fast": {
        "bases": [[{"name": "base2", "level": 1}], _zstd(1)],
        "text": [_zstd(1)],
        "structured": [[{"name": "alignments", "level": 1}]],
        "aux": [[{"name": "tags", "level": 1}]],
        "number": [_zstd(1)],
    },
    "balanced": {
        "bases": [[{"name": "dinucleotides", "level": 3}], [{"name": "refdiff", "level": 3}], _zstd(9)],
        "qualities": [_zstd(3), [{"name": "rans"}]],
        "metadata": [_zstd(3), [{"name": "names"}], [{"name": "rans"}]],
        "text": [_zstd(3), [{"name": "rans"}]],
        "structured": [
            [{"name": "alignments", "level": 3}], [{"name": "derived"}, {"name": "alignments", "level": 3}],
        ],
        "aux": [[{"name": "tags", "level": 3}]],
        "number": [_zstd(3)],
    },
    "small": {
        "bases": [[{"name": "dinucleotides", "level": 9}], [{"name": "refdiff", "level": 9}], _zstd(15)],
        "qualities": [[{"name": "rans"}], _zstd(9), [{"name": "fqz"}], [{"name": "strand"}, {"name": "fqz"}]],
        "metadata": [[{"name": "names"}], _zstd(15)],
        "text": [[{"name": "rans"}], _zstd(15)],
        "structured": [
            [{"name": "alignments", "level": 9}], [{"name": "derived"}, {"name": "alignments", "level": 9}],
        ],
        "aux": [[{"name": "tags", "level": 9}]],
        "number": [_zstd(9)],
    },
}  # fmt: skip


def independent(profile: str, column: str, kind: RecordType) -> list[Config]:
    """The candidates that need no other column, and so can be used by a step that has no alignments or reference.

    Raises
    ------
    UsageError
        There is no such profile.
    """
    if profile not in PROFILES:
        raise UsageError(f"there is no profile {profile!r}", f"there are: {', '.join(PROFILES)}")
    return [chain for chain in candidates(profile, column, kind) if not needed_columns(chain)]


def candidates(profile: str, column: str, kind: RecordType) -> list[Config]:
    """Chains that a profile considers for a column, the fastest first.

    Parameters
    ----------
    profile : str
        One of :data:`PROFILES`.
    column : str
        Its name; ``secondary0`` and the like go by their type.
    kind : RecordType
    """
    table = _CANDIDATES[profile]
    chains = table.get(column) or table[kind.name.lower()]
    known = set(names())
    return [chain for chain in chains if all(config["name"] in known for config in chain)]


def choose(chains: Sequence[Config], column: AnyColumn, context: Context | None = None) -> Config:
    """The chain that makes a sample of the column smallest; a slower one must gain 2 %.

    Parameters
    ----------
    chains : sequence of codec chains
        The fastest first; those that need a context are left out without one.
    column : AnyColumn
        The first records are the sample: 10,000, or as many as have 4 MiB.
    context : Context, optional
    """
    count = min(len(column), SAMPLE)
    if isinstance(column, Column) and column.offsets is not None and count:
        sizes = column.offsets[: count + 1] - column.offsets[0]
        count = max(1, int(np.searchsorted(sizes, SAMPLE_BYTES, "right")) - 1)
    sample = column.slice(0, count)
    part = None if context is None else _Part(context, count)
    best, least = chains[0], float("inf")
    for chain in chains:
        if needed_columns(chain) and part is None:
            continue
        try:
            size = len(Chain.from_json(chain).encode(sample, part).data)
        except CodecError:
            continue  # not made for these records
        if size < least * GAIN:
            best, least = chain, size
    return best


class _Part:
    """The context of the first records of a chunk."""

    def __init__(self, context: Context, count: int) -> None:
        self._context = context
        self._count = count

    @property
    def orientation(self) -> Orientation:
        return self._context.orientation

    def column(self, name: str) -> AnyColumn:
        return self._context.column(name).slice(0, self._count)

    def genome(self) -> tuple[U8, I64]:
        return self._context.genome()
