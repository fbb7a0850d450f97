"""Selections (:mod:`agd.selection`) for operations."""

from __future__ import annotations

from agd.dataset import Dataset
from agd.selection import Region, Selection, overlaps, parse_region
from agd.tags import tag_spans
from agd.types import SortOrder

__all__ = ["Region", "Selection", "is_coordinate_sorted", "overlaps", "parse_region", "tag_spans"]


def is_coordinate_sorted(dataset: Dataset) -> bool:
    """Whether the records are in coordinate order."""
    return dataset.manifest.sort_order is SortOrder.COORDINATE
