"""How sizes, counts, durations and shares are written for people: the same everywhere."""

from __future__ import annotations

import re

from agd.errors import UsageError

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_size(text: str) -> int:
    """Bytes of a size such as ``512M``, ``4G``, ``1.5GiB``.

    Raises
    ------
    UsageError
        It is no size.
    """
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(?:([KMGT])(?:i?B)?|B)?\s*", text, re.IGNORECASE)
    if not match:
        raise UsageError(f"{text!r} is not a size", "give one such as 512M or 4G")
    return int(float(match[1]) * _UNITS[(match[2] or "").upper()])


def format_size(size: float) -> str:
    """A size: three digits and a binary unit."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if round(size) < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.3g} {unit}" if size < 99.95 and unit != "B" else f"{size:.0f} {unit}"


def format_seconds(value: float) -> str:
    """A duration."""
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def format_ratio(decoded: float, stored: float) -> str:
    """How many times smaller the stored bytes are; "" if there are none."""
    return f"{decoded / stored:.3g}×" if stored and decoded else ""


def format_share(part: float, whole: float) -> str:
    """A percentage with two digits after the point; "n/a" of nothing."""
    return f"{100 * part / whole:.2f} %" if whole else "n/a"


def format_short(value: float, like: float | None = None) -> str:
    """A number in little space: 950, 9,500, 15k, 20M; with the unit of another number if one is given."""
    size = abs(value if like is None else like)
    for least, factor, suffix in ((1e12, 1e12, "T"), (1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if size >= least:
            return f"{value / factor:.4g}{suffix}" if value else "0"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.3g}"


def bar(share: float, width: int = 12) -> str:
    """A bar of block characters, in eighths of one; never empty for a share above 0."""
    eighths = max(1, round(8 * width * min(1.0, share))) if share > 0 else 0
    full, rest = divmod(eighths, 8)
    return "█" * full + ("▏▎▍▌▋▊▉"[rest - 1] if rest else "")
