"""Bars side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from batchq.flower.charts.figures import Bar, BarChart, Frame
from batchq.flower.charts.svg import grid, plain, scale_of, svg, text_at, titled, y_of

__all__ = ["bar_chart"]


def bar_chart(chart: BarChart, frame: Frame) -> str:
    """A chart of bars, as SVG."""
    highest = max((bar.height for bar in chart.bars), default=0.0)
    # A mark stands above its bar.
    room_above = 1.08 if any(bar.mark for bar in chart.bars) else 1
    scale = scale_of(highest * room_above, whole=chart.whole)
    words = plain if chart.words is None else chart.words
    parts = [*grid(scale, chart.unit, frame, words)]
    room = frame.inner_width / max(len(chart.bars), 1)
    every = _every(chart.bars, room)
    for number, bar in enumerate(chart.bars):
        left = frame.left + room * number
        parts += _stacked(bar, left, room, scale[-1], frame)
        # Counted from the end: the newest is the one that is looked for.
        if (len(chart.bars) - 1 - number) % every == 0:
            parts.append(text_at(left + room / 2, frame.height - 8, bar.text, anchor="middle"))
        tip = titled(left, frame.top, room, frame.inner_height, bar.tip, "tip")
        parts.append(tip)
    return svg(chart.label, frame, parts)


def _every(bars: Sequence[Bar], room: float) -> int:
    """Each how many bars have room for their text."""
    widest = max((len(bar.text) for bar in bars), default=1) * 7 + 6
    return max(1, math.ceil(widest / max(room, 0.1)))


def _stacked(bar: Bar, left: float, room: float, highest: float, frame: Frame) -> Iterator[str]:
    thick = min(room * 0.7, 46)
    x, foot = left + (room - thick) / 2, 0.0
    for style, value in bar.parts:
        if value <= 0:
            continue
        # What is there is seen, however little it is beside the others.
        high = max(frame.inner_height * value / highest, 1.0)
        y = y_of(foot, highest, frame) - high
        box = f'x="{x:.1f}" y="{y:.1f}" width="{thick:.1f}" height="{high:.1f}"'
        yield f'<rect class="{style} bar" {box}/>'
        foot += value
    if bar.mark:
        yield text_at(left + room / 2, y_of(foot, highest, frame) - 4, bar.mark, anchor="middle")
