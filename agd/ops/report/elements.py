"""Pieces of the page that its sections share."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

#: Sign before each verdict: never told by colour alone.
SIGNS = {"pass": "✓", "warn": "!", "fail": "✕"}


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Section:
    """One section of the page.

    Attributes
    ----------
    key : str
        Anchor.
    title, text : str
        Heading, and what is to be seen.
    body : str
        HTML.
    verdicts : dict of str to str
        By end of the pair.
    wide : bool
        Takes the whole width of the page.
    """

    key: str
    title: str
    text: str
    body: str
    verdicts: dict[str, str] = field(default_factory=dict)
    wide: bool = False

    def html(self) -> str:
        """As an element."""
        badges = "".join(
            f'<span class="badge {v}"><span aria-hidden="true">{SIGNS[v]}</span>{html.escape(end)}: {v}</span>'
            for end, v in self.verdicts.items()
        )
        text = f"<p>{html.escape(self.text)}</p>" if self.text else ""
        wide = ' class="wide"' if self.wide else ""
        return f'<section id="{self.key}"{wide}><h3>{html.escape(self.title)}{badges}</h3>{text}{self.body}</section>'

    def link(self) -> str:
        """Its entry in the table of contents."""
        marks = "".join(f'<span class="{v}" title="{html.escape(end)}: {v}">{SIGNS[v]}</span> '
                        for end, v in self.verdicts.items())  # fmt: skip
        return f'<a href="#{self.key}">{html.escape(self.title)}<span class="marks">{marks}</span></a>'


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """Names of what is drawn: (class of the colour, name)."""
    items = "".join(f'<li><i class="{kind}"></i>{html.escape(name)}</li>' for kind, name in entries)
    return f'<ul class="legend">{items}</ul>'


def figures(drawn: Sequence[tuple[str, str]]) -> str:
    """Drawings side by side: (caption, SVG)."""
    if len(drawn) == 1:
        return f"<figure>{drawn[0][1]}</figure>"
    return '<div class="pair">' + "".join(
        f"<figure><figcaption>{html.escape(caption)}</figcaption>{svg}</figure>" for caption, svg in drawn
    ) + "</div>"  # fmt: skip


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, words: Sequence[int] = ()) -> str:
    """A table; columns ``words`` are text, the first one names its row."""

    def cell(column: int, value: object) -> str:
        inner = value if isinstance(value, Markup) else html.escape(str(value))
        if column == 0:
            return f'<th scope="row">{inner}</th>'
        return f'<td class="words long">{inner}</td>' if column in words else f"<td>{inner}</td>"

    heads = "".join(f'<th scope="col"{" class=words" if i in words else ""}>{html.escape(name)}</th>'
                    for i, name in enumerate(head))  # fmt: skip
    body = "".join("<tr>" + "".join(cell(i, v) for i, v in enumerate(row)) + "</tr>" for row in rows)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def details(head: Sequence[str], rows: Iterable[Sequence[object]], name: str = "Numbers") -> str:
    """The table behind a plot."""
    return f'<details><summary>{html.escape(name)}</summary><div class="scroll">{table(head, rows)}</div></details>'


def code(text: str) -> Markup:
    """A name or command as it is typed."""
    return Markup(f"<code>{html.escape(text)}</code>")


def meter(share: float) -> Markup:
    """A bar for a share of one."""
    width = 100 * min(1.0, max(0.0, share))
    return Markup(f'<span class="meter" aria-hidden="true"><i style="width:{width:.1f}%"></i></span>')


def span(group: tuple[int, int]) -> str:
    """Cycles that are shown together, in words."""
    return f"{group[0]:,}" if group[0] == group[1] else f"{group[0]:,}–{group[1]:,}"
