"""How a dataset shows itself at a prompt and in a notebook."""

from __future__ import annotations

import html

from agd.manifest import ColumnSpec, Manifest
from agd.units import format_size

#: References that are named; the rest is counted.
_NAMED = 4


def facts(manifest: Manifest) -> dict[str, str]:
    """Records, order, references and size, in words."""
    m = manifest
    pairs = f" ({m.records // 2:,} pairs)" if m.pairing == "interleaved" else ""
    result = {
        "records": f"{m.records:,}{pairs} in {len(m.chunks):,} chunks",
        "generation": str(m.generation),
        "order": m.sort_order.value,
        "size": format_size(m.stored_bytes),
    }
    if m.references:
        more = f" and {len(m.references) - _NAMED:,} more" if len(m.references) > _NAMED else ""
        result["references"] = ", ".join(f"{r.name} ({r.length:,})" for r in m.references[:_NAMED]) + more
    return result


def rows(manifest: Manifest) -> list[tuple[str, str, int]]:
    """Name, type and stored bytes of each column."""
    sizes = dict.fromkeys(manifest.columns, 0)
    for chunk in manifest.chunks:
        for name, cell in chunk.cells.items():
            sizes[name] += cell.bytes
    return [(name, type_name(spec), sizes[name]) for name, spec in manifest.columns.items()]


def type_name(spec: ColumnSpec) -> str:
    """What the values of a column are: ``text``, ``bases``, …, or a type of numbers such as ``float32``."""
    if not spec.dtype:
        return spec.type.name.lower()
    kind, size = spec.dtype[1], int(spec.dtype[2:])
    return "bool" if kind == "b" else {"f": "float", "i": "int", "u": "uint"}[kind] + str(8 * size)


def as_text(url: str, manifest: Manifest) -> str:
    """For the prompt."""
    lines = [f"<agd.Dataset {url}"]
    lines += [f"  {key:<10} {value}" for key, value in facts(manifest).items()]
    total = max(1, manifest.stored_bytes)
    width = max([len(name) for name in manifest.columns] + [10])
    lines += [
        f"  {name:<{width}} {kind:<10} {format_size(size):>9} {size / total:>6.1%}"
        for name, kind, size in rows(manifest)
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
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(kind)}</td><td>{format_size(size)}</td>"
        f"<td>{size / total:.1%}</td><td><meter min='0' max='1' value='{size / total:.4f}'></meter></td></tr>"
        for name, kind, size in rows(manifest)
    )
    return (
        f"<p><b>agd.Dataset</b> <code>{html.escape(url)}</code></p><table>{listed}</table>"
        f"<table><tr><th>column</th><th>type</th><th>size</th><th>share</th><th></th></tr>{body}</table>"
    )
