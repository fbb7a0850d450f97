"""Plots as inline SVG: static, without scripts, coloured by the page's style sheet (:mod:`agd.ops.report.style`)."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from agd.units import format_short

#: Size of a drawing, and of one as wide as the page.
WIDTH, HEIGHT, WIDE = 560, 260, 1150

#: Space around the plotted area.
LEFT, RIGHT, TOP, BOTTOM = 66, 14, 12, 46


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from ``low`` to ``high``, at most about ``most``."""
    if high <= low:
        return [low]
    raw = (high - low) / max(1, most)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next((f * power for f in (1, 2, 2.5, 5) if f * power >= raw * 0.999), 10 * power)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def round_up(value: float) -> float:
    """A round number that is not less: where an axis ends."""
    if value <= 0:
        return 1.0
    found = ticks(0, value)
    step = found[1] - found[0] if len(found) > 1 else value
    return math.ceil(value / step - 1e-9) * step


@dataclass
class Plot:
    """One plot. Things are drawn in the order of the calls; :meth:`svg` gives the text.

    Parameters
    ----------
    title : str
        For those who cannot see it; also names the drawing.
    x_label, y_label : str
        With units.
    x, y : (float, float)
        First and last value of the axes.
    width : int
        Of the drawing.
    """

    title: str
    x_label: str
    y_label: str
    x: tuple[float, float]
    y: tuple[float, float]
    width: int = WIDTH
    _parts: list[str] = field(default_factory=list)
    _above: list[str] = field(default_factory=list)

    def px(self, x: float) -> float:
        """Place of a value of the x axis in the drawing."""
        low, high = self.x
        return LEFT + (self.width - LEFT - RIGHT) * ((x - low) / (high - low) if high > low else 0.5)

    def py(self, y: float) -> float:
        """Place of a value of the y axis in the drawing."""
        low, high = self.y
        share = (min(max(y, low), high) - low) / (high - low) if high > low else 0.0
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    def band(self, low: float, high: float, kind: str) -> None:
        """A stripe behind everything, from one value of the y axis to another."""
        top, bottom = self.py(high), self.py(low)
        self._parts.append(f'<rect class="{kind}" x="{LEFT}" y="{top:.1f}" width="{self.width - LEFT - RIGHT}" '
                           f'height="{bottom - top:.1f}"/>')  # fmt: skip

    def stripe(self, low: float, high: float, kind: str) -> None:
        """A stripe behind everything, from one value of the x axis to another."""
        left, right = self.px(low), self.px(high)
        self._parts.append(f'<rect class="{kind}" x="{left:.1f}" y="{TOP}" width="{max(0.5, right - left):.1f}" '
                           f'height="{HEIGHT - TOP - BOTTOM}"/>')  # fmt: skip

    def axes(
        self, x_ticks: Sequence[tuple[float, str]] | None = None, *, y_ticks: Sequence[float] | None = None
    ) -> None:
        """Grid, labels and names of both axes. Labels that would touch the one before them are left out."""
        parts = []
        for y in y_ticks if y_ticks is not None else ticks(*self.y):
            at = self.py(y)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{self.width - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
            parts.append(f'<text class="tick" x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">'
                         f"{html.escape(format_short(y, self.y[1]))}</text>")  # fmt: skip
        marks = x_ticks if x_ticks is not None else [(v, format_short(v, self.x[1])) for v in ticks(*self.x, 8)]
        end = -math.inf
        for x, label in marks:
            at, half = self.px(x), 3.8 * len(label)
            if at - half < end + 6 or at + half > self.width:
                continue
            end = at + half
            parts.append(f'<text class="tick" x="{at:.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">'
                         f"{html.escape(label)}</text>")  # fmt: skip
        base = HEIGHT - BOTTOM
        parts.append(f'<line class="axis" x1="{LEFT}" x2="{self.width - RIGHT}" y1="{base}" y2="{base}"/>')
        middle_x, middle_y = (LEFT + self.width - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
        parts.append(f'<text class="label" x="{middle_x:.0f}" y="{HEIGHT - 8}" text-anchor="middle">'
                     f"{html.escape(self.x_label)}</text>")  # fmt: skip
        parts.append(f'<text class="label" transform="translate(14 {middle_y:.0f}) rotate(-90)" '
                     f'text-anchor="middle">{html.escape(self.y_label)}</text>')  # fmt: skip
        self._parts += parts

    def line(self, xs: Sequence[float], ys: Sequence[float], colour: str, *, dashed: bool = False) -> None:
        """A line; NaN interrupts it, and one point alone becomes a dot."""
        runs: list[list[str]] = [[]]
        for x, y in zip(xs, ys, strict=True):
            if math.isnan(y):
                runs.append([])
            else:
                runs[-1].append(f"{self.px(x):.1f} {self.py(y):.1f}")
        for run in filter(None, runs):
            if len(run) == 1:
                cx, cy = run[0].split()
                self._parts.append(f'<circle class="{colour} dot" cx="{cx}" cy="{cy}" r="3"/>')
            else:
                self._parts.append(f'<path class="{colour} line{" dashed" if dashed else ""}" d="M{"L".join(run)}"/>')

    def area(self, xs: Sequence[float], ys: Sequence[float], colour: str) -> None:
        """The area below a line, and the line."""
        if not len(xs):
            return
        base = self.py(self.y[0])
        path = "L".join(f"{self.px(x):.1f} {self.py(y):.1f}" for x, y in zip(xs, ys, strict=True))
        self._parts.append(f'<path class="{colour} area" d="M{self.px(xs[0]):.1f} {base:.1f}L{path}'
                           f'L{self.px(xs[-1]):.1f} {base:.1f}Z"/>')  # fmt: skip

    def bar(self, low: float, high: float, value: float, colour: str, tip: str = "") -> None:
        """A bar from ``low`` to ``high`` on the x axis; no value is too small to be seen."""
        if value <= 0:
            return
        left, right, base = self.px(low), self.px(high), self.py(self.y[0])
        top = min(self.py(value), base - 1)
        title, width = f"<title>{html.escape(tip)}</title>" if tip else "", max(0.7, right - left)
        self._parts.append(f'<rect class="{colour} bar" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" '
                           f'height="{base - top:.1f}">{title}</rect>')  # fmt: skip

    def box(self, low: float, high: float, five: Sequence[float], mean: float) -> None:
        """Whiskers, quartiles and median: the 10th, 25th, 50th, 75th and 90th percentile."""
        left, right = self.px(low), self.px(high)
        middle = (left + right) / 2
        y10, y25, y50, y75, y90 = (self.py(v) for v in five)
        self._parts.append(
            f'<path class="whisker" d="M{middle:.1f} {y90:.1f}V{y75:.1f}M{middle:.1f} {y25:.1f}V{y10:.1f}'
            f'M{left:.1f} {y90:.1f}H{right:.1f}M{left:.1f} {y10:.1f}H{right:.1f}"/>'
            f'<rect class="box" x="{left:.1f}" y="{y75:.1f}" width="{right - left:.1f}" '
            f'height="{max(0.8, y25 - y75):.1f}"/><path class="median" d="M{left:.1f} {y50:.1f}H{right:.1f}"/>'
        )

    def tip(self, low: float, high: float, text: str) -> None:
        """What is told when the pointer rests between two values of the x axis."""
        left, right = self.px(low), self.px(high)
        self._above.append(f'<rect class="tip" x="{left:.1f}" y="{TOP}" width="{max(0.5, right - left):.1f}" '
                           f'height="{HEIGHT - TOP - BOTTOM}"><title>{html.escape(text)}</title></rect>')  # fmt: skip

    def text(self, x: float, label: str) -> None:
        """A word at the top of the plotted area, in the middle of a stripe."""
        self._above.append(f'<text class="tick" x="{self.px(x):.1f}" y="{TOP + 14}" text-anchor="middle">'
                           f"{html.escape(label)}</text>")  # fmt: skip

    def svg(self) -> str:
        """The drawing as an element of a page."""
        return (
            f'<svg class="plot" viewBox="0 0 {self.width} {HEIGHT}" style="max-width:{self.width}px" role="img" '
            f'aria-label="{html.escape(self.title)}">'
            f"{''.join(self._parts)}{''.join(self._above)}</svg>"
        )
