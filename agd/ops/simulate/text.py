"""Text of whole batches without a Python object per record.

Every record is one row of a matrix of bytes; numbers are padded to their field with NUL bytes, which are dropped when
the matrix is flattened.
"""

from __future__ import annotations

import numpy as np

from agd.batch import I64, U8


def number(values: I64, digits: int) -> U8:
    """Decimal digits of non-negative numbers, right-aligned, NUL instead of leading zeros: shape (len, digits)."""
    out = np.empty((len(values), digits), np.uint8)
    rest = values
    for column in range(digits - 1, -1, -1):
        higher = rest // 10
        out[:, column] = rest - higher * 10 + ord("0")
        if column < digits - 1:
            out[rest == 0, column] = 0
        rest = higher
    return out


def strings(values: list[str]) -> U8:
    """Matrix of strings, NUL padded on the right: shape (len, longest)."""
    encoded = [value.encode() for value in values]
    width = max(map(len, encoded))
    return np.frombuffer(b"".join(value.ljust(width, b"\0") for value in encoded), np.uint8).reshape(-1, width)


def rows(records: int, *fields: U8 | bytes) -> U8:
    """Matrix with the fields side by side; bytes are the same in every record."""
    widths = [len(field) if isinstance(field, bytes) else field.shape[1] for field in fields]
    out = np.empty((records, sum(widths)), np.uint8)
    column = 0
    for field, width in zip(fields, widths, strict=True):
        out[:, column : column + width] = np.frombuffer(field, np.uint8) if isinstance(field, bytes) else field
        column += width
    return out


def flatten(matrix: U8) -> U8:
    """The text of the matrix: its bytes but the padding."""
    flat: U8 = matrix.reshape(-1)
    text: U8 = flat[flat != 0]
    return text


def read_names(lane: I64, tile: I64, x: I64, y: I64) -> U8:
    """Casava 1.8 names, ``instrument:run:flowcell:lane:tile:x:y``, without ``@`` and without the comment."""
    return rows(
        len(lane), b"SIM01:17:HAGDSIMXX:", number(lane, 3), b":", number(tile, 4), b":", number(x, 5), b":",
        number(y, 6),
    )  # fmt: skip
