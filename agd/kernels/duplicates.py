"""Rows that the search for duplicates works on, as the kernels take them: packed, little-endian, no padding."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.void]

#: Of each read that takes part: what the search for its mate and for its like needs.
#:
#: ``low``, ``high``: hash of the name. ``ordinal``: of the record. ``start``, ``end``: unclipped, 0-based, half-open.
#: ``score``: sum of good qualities. ``kind``: bits of the flag, and how the read takes part. :data:`BARCODE` and
#: :data:`PLACE` may follow, in this order.
END = np.dtype([
    ("low", "<u8"), ("high", "<u8"), ("ordinal", "<i8"), ("start", "<i8"), ("end", "<i8"), ("reference", "<i4"),
    ("score", "<u4"), ("library", "<u2"), ("kind", "<u2"),
])  # fmt: skip
BARCODE = ("barcode", "<u8")
PLACE = [("tile", "<u8"), ("x", "<i4"), ("y", "<i4")]

#: Bits of ``kind``: those of the flag, and two that tell how the read takes part: it may be a duplicate; it is one if
#: another read of its name is.
REVERSE, FIRST, SECOND, PAIRED = 0x10, 0x40, 0x80, 0x1
EXAMINED, FOLLOWER = 0x100, 0x200

#: A read of a pair, or a read on its own, with the hash of what it may be a duplicate of. :data:`PLACE` may follow.
SIGNED = np.dtype([("low", "<u8"), ("high", "<u8"), ("ordinal", "<i8"), ("score", "<u4"), ("library", "<u2")])

#: An end at which a pair lies: single reads there are duplicates of it.
TAKEN = np.dtype([("low", "<u8")])

#: A record that is a duplicate if another one is.
FOLLOWS = np.dtype([("follower", "<i8"), ("leader", "<i8")])


def end_dtype(*, barcode: bool, places: bool) -> np.dtype[Any]:
    """Of the rows of ends."""
    return np.dtype([*END.descr, *([BARCODE] if barcode else []), *(PLACE if places else [])])


def signed_dtype(ends: np.dtype[Any]) -> np.dtype[Any]:
    """Of signed rows, from that of ends: with places on the flow cell if those have them."""
    return np.dtype([*SIGNED.descr, *(PLACE if "tile" in (ends.names or ()) else [])])
