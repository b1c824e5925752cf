"""Lines over time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from batchq.flower.charts.figures import Frame, Line, Point, Tick, TimeChart
from batchq.flower.charts.svg import grid, plain, scale_of, svg, text_at, titled, y_of

__all__ = ["time_chart"]


def time_chart(chart: TimeChart, frame: Frame) -> str:
    """A chart of lines, as SVG."""
    highest = max((p.value for line in chart.lines for p in _points(line)), default=0.0)
    scale = scale_of(highest)
    place = _Places(chart=chart, frame=frame, highest=scale[-1])
    return svg(chart.label, frame, [*_under(place), *_over(place, scale)])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    """Where a time and a value are on the chart."""

    chart: TimeChart
    frame: Frame
    highest: float

    def x(self, at: float) -> float:
        span = max(self.chart.end - self.chart.begin, 1e-9)
        inside = min(max(at, self.chart.begin), self.chart.end)
        return self.frame.left + self.frame.inner_width * (inside - self.chart.begin) / span

    def xy(self, point: Point) -> str:
        return f"{self.x(point.at):.1f},{y_of(point.value, self.highest, self.frame):.1f}"


def _points(line: Line) -> Iterator[Point]:
    for piece in line.pieces:
        yield from piece


def _under(place: _Places) -> Iterator[str]:
    frame = place.frame
    for gap in place.chart.gaps:
        x = place.x(gap.begin)
        width = place.x(gap.end) - x
        yield titled(x, frame.top, width, frame.inner_height, gap.text, "gap")


def _over(place: _Places, scale: Sequence[float]) -> Iterator[str]:
    chart, frame = place.chart, place.frame
    yield from grid(scale, chart.unit, frame, plain)
    for tick in _spread(chart.ticks, place):
        x = place.x(tick.at)
        ends = f'y1="{frame.floor}" y2="{frame.floor + 4}"'
        yield f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" {ends}/>'
        yield text_at(x, frame.height - 8, tick.text, anchor="middle")
    for line in chart.lines:
        yield from _drawn(line, place)
    for tip in chart.tips:
        x = place.x(tip.begin)
        yield titled(x, frame.top, place.x(tip.end) - x, frame.inner_height, tip.text, "tip")


def _spread(ticks: Sequence[Tick], place: _Places) -> list[Tick]:
    """As many ticks as have room beside each other, in even steps, none cut off at the edge."""
    widest = max((len(tick.text) for tick in ticks), default=1) * 7 + 14
    apart = min((place.x(b.at) - place.x(a.at) for a, b in pairwise(ticks)), default=widest)
    every = max(1, math.ceil(widest / max(apart, 0.1)))
    half = widest / 2 - 7
    return [
        tick
        for number, tick in enumerate(ticks)
        if number % every == 0
        and half <= place.x(tick.at) <= place.frame.width - half
        and place.chart.begin <= tick.at <= place.chart.end
    ]


def _drawn(line: Line, place: _Places) -> Iterator[str]:
    for piece in line.pieces:
        if len(piece) == 1:
            x, y = place.xy(piece[0]).split(",")
            yield f'<circle class="{line.style} dot" cx="{x}" cy="{y}" r="2.5"/>'
        elif piece:
            path = " ".join(place.xy(point) for point in piece)
            if line.filled:
                first, last = place.x(piece[0].at), place.x(piece[-1].at)
                floor = place.frame.floor
                corners = f"{first:.1f},{floor} {path} {last:.1f},{floor}"
                yield f'<polygon class="{line.style} area" points="{corners}"/>'
            yield f'<polyline class="{line.style} line" points="{path}"/>'
