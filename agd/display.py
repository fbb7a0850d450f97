"""How a dataset shows itself at a prompt and in a notebook."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

from agd.manifest import ColumnSpec, Manifest
from agd.units import format_ratio, format_size

#: References that are named; the rest is counted.
_NAMED = 4


@dataclass(frozen=True, slots=True)
class ColumnSize:
    """What is known about a column without reading it.

    Attributes
    ----------
    name, type : str
        The type as of :func:`type_name`.
    codecs : list of dict
        The codec chain.
    bytes : int
        Stored.
    decoded : int or None
        Bytes of all values once decoded, where the statistics in the manifest tell.
    """

    name: str
    type: str
    codecs: list[dict[str, Any]]
    bytes: int
    decoded: int | None

    @property
    def chain(self) -> str:
        """The codec chain in words: ``base2(1) → zstd(3)``."""
        return " → ".join(_codec(config) for config in self.codecs) or "none"

    @property
    def ratio(self) -> str:
        """How many times smaller the stored bytes are; "–" where that is not known."""
        return (format_ratio(self.decoded, self.bytes) if self.decoded else "") or "–"


def column_sizes(manifest: Manifest) -> list[ColumnSize]:
    """The columns in order."""
    found = []
    for name, spec in manifest.columns.items():
        cells = [chunk.cells[name] for chunk in manifest.chunks if name in chunk.cells]
        decoded = [int(cell.statistics["total"]) for cell in cells if "total" in cell.statistics]
        if spec.dtype:
            decoded = [chunk.count * int(spec.dtype[2:]) for chunk in manifest.chunks if name in chunk.cells]
        found.append(ColumnSize(
            name, type_name(spec), [dict(config) for config in spec.codecs], sum(cell.bytes for cell in cells),
            sum(decoded) if decoded and len(decoded) == len(cells) else None,
        ))  # fmt: skip
    return found


def type_name(spec: ColumnSpec) -> str:
    """What the values of a column are: ``text``, ``bases``, …, or a type of numbers such as ``float32``."""
    if not spec.dtype:
        return spec.type.name.lower()
    kind, size = spec.dtype[1], int(spec.dtype[2:])
    return "bool" if kind == "b" else {"f": "float", "i": "int", "u": "uint"}[kind] + str(8 * size)


def _codec(config: dict[str, Any]) -> str:
    settings = [str(value) for key, value in config.items() if key not in ("name", "version")]
    return str(config["name"]) + (f"({','.join(settings)})" if settings else "")


def facts(manifest: Manifest) -> dict[str, str]:
    """Records, order, references and size, in words."""
    m = manifest
    pairs = f" ({m.records // 2:,} pairs)" if m.pairing == "interleaved" else ""
    each = f", {m.stored_bytes / m.records:.1f} bytes a record" if m.records else ""
    result = {
        "records": f"{m.records:,}{pairs} in {len(m.chunks):,} chunks",
        "generation": str(m.generation),
        "order": m.sort_order.value,
        "size": format_size(m.stored_bytes) + each,
    }
    if m.references:
        more = f" and {len(m.references) - _NAMED:,} more" if len(m.references) > _NAMED else ""
        result["references"] = ", ".join(f"{r.name} ({r.length:,})" for r in m.references[:_NAMED]) + more
    return result


def as_text(url: str, manifest: Manifest) -> str:
    """For the prompt."""
    lines = [f"<agd.Dataset {url}"]
    lines += [f"  {key:<10} {value}" for key, value in facts(manifest).items()]
    total = max(1, manifest.stored_bytes)
    width = max([len(name) for name in manifest.columns] + [10])
    lines += [
        f"  {c.name:<{width}} {c.type:<10} {format_size(c.bytes):>9} {c.bytes / total:>6.1%}"
        for c in column_sizes(manifest)
    ]
    return "\n".join(lines) + ">"


def as_html(url: str, manifest: Manifest) -> str:
    """For a notebook; colours come from the notebook's own theme."""
    total = max(1, manifest.stored_bytes)
    listed = "".join(
        f"<tr><th>{html.escape(key)}</th><td style='text-align:left'>{html.escape(value)}</td></tr>"
        for key, value in facts(manifest).items()
    )
    body = "".join(
        f"<tr><td>{html.escape(c.name)}</td><td>{html.escape(c.type)}</td><td>{format_size(c.bytes)}</td>"
        f"<td>{c.ratio}</td><td>{c.bytes / total:.1%}</td>"
        f"<td><meter min='0' max='1' value='{c.bytes / total:.4f}'></meter></td>"
        f"<td style='text-align:left'>{html.escape(c.chain)}</td></tr>"
        for c in column_sizes(manifest)
    )
    heads = "".join(f"<th>{name}</th>" for name in ("column", "type", "size", "ratio", "share", "", "codecs"))
    return (
        f"<p><b>agd.Dataset</b> <code>{html.escape(url)}</code></p><table>{listed}</table>"
        f"<table><tr>{heads}</tr>{body}</table>"
    )
