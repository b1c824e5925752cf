"""What charts are drawn of: the upright axis, texts, boxes. Every text is escaped here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from batchq.flower.charts.figures import Frame, Words

__all__ = ["grid", "plain", "scale_of", "svg", "text_at", "titled", "y_of"]


def scale_of(highest: float, *, whole: bool = True, steps: int = 4) -> list[float]:
    """Round numbers from 0 to just above ``highest``, about ``steps`` apart."""
    if highest < _LEAST or not math.isfinite(highest):
        return [0.0, 1.0]
    rough = highest / steps
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * by for by in (1, 2, 5, 10) if power * by >= rough * 0.999)
    step = max(1.0, step) if whole else step
    count = max(1, math.ceil(round(highest / step, 6)))
    # Not 0.30000000000000004.
    return [float(f"{step * number:.6g}") for number in range(count + 1)]


_LEAST = 1e-12
"""Less than a thousandth of a nano-dollar is nothing."""


def plain(value: float) -> str:
    """A number on an axis: 1,200 or 0.25, never 1.2e+03."""
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.10f}".rstrip("0").rstrip(".")


def grid(scale: Sequence[float], unit: str, frame: Frame, words: Words) -> Iterator[str]:
    for value in scale:
        y = y_of(value, scale[-1], frame)
        yield f'<line class="grid" x1="{frame.left}" x2="{frame.width - frame.right}" {_same(y)}/>'
        yield text_at(frame.left - 7, y + 4, words(value), anchor="end")
    yield text_at(2, 12, unit, style="unit")


def _same(y: float) -> str:
    return f'y1="{y:.1f}" y2="{y:.1f}"'


def y_of(value: float, highest: float, frame: Frame) -> float:
    return frame.floor - frame.inner_height * value / highest


def text_at(x: float, y: float, text: str, *, anchor: str = "start", style: str = "") -> str:
    kind = f' class="{style}"' if style else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def svg(label: str, frame: Frame, parts: Iterable[str]) -> str:
    return (
        f'<svg class="batchq-chart" viewBox="0 0 {frame.width} {frame.height}" role="img" '
        f'aria-label="{escape(label)}" preserveAspectRatio="xMidYMid meet">{"".join(parts)}</svg>'
    )


def titled(x: float, y: float, width: float, height: float, title: str, style: str) -> str:
    """A box that says something to a pointer that rests on it."""
    box = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{max(height, 0):.1f}"'
    return f'<rect class="{style}" {box}><title>{escape(title)}</title></rect>'
