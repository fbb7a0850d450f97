"""The numbers of FastQC's modules for the reads of one end, and its verdicts on them.

Definitions and limits are those of FastQC 0.12 (https://www.bioinformatics.babraham.ac.uk/projects/fastqc/, analysis
modules), computed over all reads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agd.batch import I64
from agd.ops.report.adapters import ADAPTERS, WIDTH, name_in
from agd.ops.report.bins import group_index, groups_of
from agd.ops.report.duplication import Duplication
from agd.ops.report.reads import ENDS, ReadCounts

F64 = NDArray[np.float64]

PASS, WARN, FAIL = "pass", "warn", "fail"

#: Modules: key and title, in their order.
MODULES = {
    "quality": "Quality by cycle",
    "bases": "Bases by cycle",
    "mean_quality": "Mean quality of reads",
    "gc": "GC content of reads",
    "n": "Undetermined bases by cycle",
    "lengths": "Read lengths",
    "duplication": "Sequence duplication",
    "overrepresented": "Overrepresented sequences",
    "adapters": "Adapter content",
}

#: Statistics of the qualities of a group of cycles.
QUALITY_STATISTICS = ("mean", "median", "lower quartile", "upper quartile", "10th percentile", "90th percentile")

#: Levels of duplication that are shown together: the first one of each; the last has no end.
LEVELS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 50, 100, 500, 1_000, 5_000, 10_000)

#: Cycles with fewer qualities are left out where others have more: too few for percentiles.
FEW = 100

#: Reads of a share greater than this have a sequence that is overrepresented.
OVERREPRESENTED = 0.001


@dataclass(frozen=True, slots=True)
class ReadQuality:
    """Reads of one end.

    Attributes
    ----------
    end : str
        One of :data:`agd.ops.report.reads.ENDS`.
    reads, bases : int
    shortest, longest : int
        Bases.
    gc_percent : float
        Of A, C, G and T.
    groups : list of (int, int)
        Cycles that are shown together, 1-based and closed.
    quality : ndarray of float64, shape (groups, 6)
        :data:`QUALITY_STATISTICS`; NaN where there are none.
    mean_quality : ndarray of int64, shape (94,)
        Reads by mean quality, rounded down.
    letters : ndarray of float64, shape (groups, 4)
        Percentage of A, C, G and T among these four.
    n : ndarray of float64, shape (groups,)
        Percentage of N.
    gc, gc_theory : ndarray of float64, shape (101,)
        Reads by percentage of G and C, each spread over the percentages it may stand for; and a normal distribution
        around the mode.
    gc_deviation : float
        Sum of the differences of the two, as a percentage of the reads.
    lengths : dict of int to int
        Reads by length.
    remaining : float
        Percentage of the reads that would be left without repeated sequences.
    levels : ndarray of float64, shape (16,)
        Percentage of the reads whose sequence occurs as often as :data:`LEVELS` says.
    overrepresented : list of (str, int, float, str)
        Sequence, reads, percentage, and what it may have come from.
    adapter_groups : list of (int, int)
    adapters : ndarray of float64, shape (adapters, groups)
        Percentage of the reads that hold the adapter from this cycle, or one before it, on.
    verdicts : dict of str to str
        ``pass``, ``warn`` or ``fail`` for each of :data:`MODULES`; none where nothing is known.
    """

    end: str
    reads: int
    bases: int
    shortest: int
    longest: int
    gc_percent: float
    groups: list[tuple[int, int]]
    quality: F64
    mean_quality: I64
    letters: F64
    n: F64
    gc: F64
    gc_theory: F64
    gc_deviation: float
    lengths: dict[int, int]
    remaining: float
    levels: F64
    overrepresented: list[tuple[str, int, float, str]]
    adapter_groups: list[tuple[int, int]]
    adapters: F64
    verdicts: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """All numbers."""
        cycles = [list(group) for group in self.groups]
        return {
            "end": self.end, "reads": self.reads, "bases": self.bases, "shortest": self.shortest,
            "longest": self.longest, "gc_percent": self.gc_percent, "verdicts": self.verdicts,
            "quality": {"cycles": cycles, **{name: _numbers(self.quality[:, i])
                                             for i, name in enumerate(QUALITY_STATISTICS)}},
            "mean_quality": {str(q): int(self.mean_quality[q]) for q in np.flatnonzero(self.mean_quality)},
            "bases_by_cycle": {"cycles": cycles, **{x: _numbers(self.letters[:, i]) for i, x in enumerate("ACGT")}},
            "n": {"cycles": cycles, "percent": _numbers(self.n)},
            "gc": {"reads": _numbers(self.gc), "theory": _numbers(self.gc_theory), "deviation": self.gc_deviation},
            "lengths": {str(length): self.lengths[length] for length in sorted(self.lengths)},
            "duplication": {"remaining_percent": self.remaining,
                            "levels": {level_name(i): float(self.levels[i]) for i in range(len(LEVELS))}},
            "overrepresented": [{"sequence": s, "reads": n, "percent": p, "source": o}
                                for s, n, p, o in self.overrepresented],
            "adapters": {"cycles": [list(group) for group in self.adapter_groups],
                         **{name: _numbers(self.adapters[i]) for i, name in enumerate(ADAPTERS)}},
        }  # fmt: skip


def _numbers(values: F64) -> list[float | None]:
    return [None if math.isnan(v) else v for v in values.tolist()]


def level_name(slot: int) -> str:
    """How a level of duplication is called."""
    level = LEVELS[slot]
    return str(level) if level < 10 else f"≥{level // 1000}k" if level >= 1000 else f"≥{level}"


def read_quality(counts: ReadCounts, end: int, duplication: Duplication) -> ReadQuality:
    """Numbers and verdicts for the reads of one end that there is at least one of."""
    reads, longest = counts.reads(end), counts.longest(end)
    groups = groups_of(longest)
    bases = counts.base[end]
    index = group_index(longest, len(bases))
    by_group = np.zeros((len(groups), bases.shape[1]), np.int64)
    if groups:
        used = min(len(bases), len(index))
        np.add.at(by_group, index[:used], bases[:used])
    gc, theory, deviation = gc_distribution(counts.gc[end])
    remaining, levels = duplication_levels(duplication)
    adapter_groups, adapters = adapter_content(counts.adapter[end], longest, reads)
    known = bases[:, :4].sum()
    found = ReadQuality(
        ENDS[end], reads, int(bases.sum()), min(counts.lengths[end], default=0), longest,
        100 * float(bases[:, 1:3].sum()) / int(known) if known else 0.0, groups,
        quality_statistics(counts.quality[end], longest), counts.mean[end],
        _percent(by_group[:, :4], by_group[:, :4].sum(axis=1)[:, None]),
        _percent(by_group[:, 4], by_group.sum(axis=1)), gc, theory, deviation, counts.lengths[end], remaining, levels,
        [(s, n, 100 * n / reads, name_in(s)) for s, n in duplication.over(OVERREPRESENTED)], adapter_groups, adapters,
    )  # fmt: skip
    found.verdicts.update(verdicts(found))
    return found


def _percent(part: I64, whole: I64) -> F64:
    return np.asarray(np.where(whole > 0, 100.0 * part / np.maximum(whole, 1), 0.0))


def quality_statistics(counts: I64, longest: int) -> F64:
    """Statistics of the qualities of each group of cycles: means over the cycles, see :data:`QUALITY_STATISTICS`.

    Parameters
    ----------
    counts : ndarray of int64, shape (bins, 94)
    longest : int
        Length of the longest read.

    Returns
    -------
    ndarray of float64, shape (groups, 6)
    """
    total = counts.sum(axis=1)
    cumulative = np.cumsum(counts, axis=1)
    values = np.empty((len(counts), len(QUALITY_STATISTICS)))
    values[:, 0] = (counts * np.arange(counts.shape[1])).sum(axis=1) / np.maximum(total, 1)
    for i, percentile in enumerate((50, 25, 75, 10, 90), 1):
        least = np.maximum(total * percentile // 100, 1)
        values[:, i] = (cumulative >= least[:, None]).argmax(axis=1)
    used = total > (FEW if (total > FEW).any() else 0)
    index = group_index(longest, len(counts))
    result = np.full((len(groups_of(longest)), len(QUALITY_STATISTICS)), np.nan)
    for group in range(len(result)):
        some = used & (index == group)
        if some.any():
            result[group] = values[some].mean(axis=0)
    return result


def gc_distribution(counts: dict[tuple[int, int], int]) -> tuple[F64, F64, float]:
    """Reads by percentage of G and C, a normal distribution to compare with, and how far they are apart in percent.

    Parameters
    ----------
    counts : dict
        Reads by (bases looked at, G and C among them).
    """
    found = np.zeros(101)
    for length in sorted({length for length, _ in counts}):
        low, high, claims = _percentages(length)
        for strong in sorted(s for n, s in counts if n == length):
            span = slice(int(low[strong]), int(high[strong]) + 1)
            found[span] += counts[length, strong] / claims[span]
    total = found.sum()
    if not total:
        return found, np.zeros(101), 0.0
    mode = _mode(found)
    percent = np.arange(101)
    spread = math.sqrt(float(((percent - mode) ** 2 * found).sum()) / (total - 1)) if total > 1 else 0.0
    if spread == 0:
        return found, np.zeros(101), 0.0
    theory = total * np.exp(-((percent - mode) ** 2) / (2 * spread**2)) / math.sqrt(2 * math.pi * spread**2)
    return found, theory, 100 * float(np.abs(theory - found).sum()) / float(total)


def _percentages(length: int) -> tuple[I64, I64, I64]:
    """First and last percentage that each number of G and C may stand for, and how many numbers may mean each one."""
    strong = np.arange(length + 1)
    low = np.floor(np.clip(strong - 0.5, 0, length) * 100 / length + 0.5).astype(np.int64)
    high = np.floor(np.clip(strong + 0.5, 0, length) * 100 / length + 0.5).astype(np.int64)
    difference = np.bincount(low, minlength=102) - np.bincount(high + 1, minlength=102)
    return low, high, np.cumsum(difference)


def _mode(found: F64) -> float:
    """Most frequent percentage, or the middle of those around it that are less than a tenth rarer."""
    top = int(found.argmax())
    near = found > found[top] * 0.9
    if near[top:].all() or near[:top].all():
        return float(top)
    last = top + int((~near[top:]).argmax())
    first = top - int((~near[:top][::-1]).argmax())
    return (first + last - 1) / 2


def duplication_levels(duplication: Duplication) -> tuple[float, F64]:
    """Percentage of reads left without repeats, and of reads by :data:`LEVELS`."""
    remaining, level, sequences = duplication.levels()
    result = np.zeros(len(LEVELS))
    np.add.at(result, np.searchsorted(LEVELS, level, side="right") - 1, np.array(sequences) * level)
    return remaining, 100 * result / result.sum() if result.sum() else result


def adapter_content(first: I64, longest: int, reads: int) -> tuple[list[tuple[int, int]], F64]:
    """Percentage of reads that hold each adapter up to a cycle, by group of the cycles where one may begin."""
    last = longest - WIDTH + 1
    groups = groups_of(max(0, last))
    index = group_index(max(0, last), first.shape[1])
    begun = 100 * np.cumsum(first, axis=1) / max(1, reads)
    result = np.zeros((len(first), len(groups)))
    from agd.ops.report.bins import starts_of

    within = starts_of(first.shape[1]) <= last
    for group in range(len(groups)):
        result[:, group] = begun[:, within & (index == group)].mean(axis=1)
    return groups, result


def verdicts(q: ReadQuality) -> dict[str, str]:
    """FastQC's verdicts, with its limits."""
    if not q.bases:
        return {}
    found: dict[str, str] = {}
    known = q.quality[~np.isnan(q.quality[:, 0])]
    if len(known):
        low, median = known[:, 2].min(), known[:, 1].min()
        found["quality"] = _judge(low < 10 or median < 25, low < 5 or median < 20)
        mode = int(q.mean_quality.argmax())
        found["mean_quality"] = _judge(mode <= 27, mode <= 20)
    apart = max(float(np.abs(q.letters[:, a] - q.letters[:, b]).max()) for a, b in ((0, 3), (1, 2)))
    found["bases"] = _judge(apart > 10, apart > 20)
    found["gc"] = _judge(q.gc_deviation > 15, q.gc_deviation > 30)
    found["n"] = _judge(q.n.max() > 5, q.n.max() > 20)
    found["lengths"] = _judge(len(q.lengths) > 1, 0 in q.lengths)
    found["duplication"] = _judge(q.remaining < 70, q.remaining < 50)
    most = max((percent for _, _, percent, _ in q.overrepresented), default=0)
    found["overrepresented"] = _judge(most > 0.1, most > 1)
    most = float(q.adapters.max(initial=0))
    found["adapters"] = _judge(most > 5, most > 10)
    return found


def _judge(warn: object, fail: object) -> str:
    return FAIL if fail else WARN if warn else PASS
