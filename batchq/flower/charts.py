"""Charts as SVG: pure functions from figures to text, with no script and no library.

Colours come from the page's style sheet, so a chart follows the theme. A chart says what it shows
twice: once to look at, with a tooltip for each of its places, and once as a sentence that a screen
reader reads (`label`). Every text that is given may hold anything; it is escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

__all__ = [
    "MEDIUM",
    "NARROW",
    "WIDE",
    "Bar",
    "BarChart",
    "Frame",
    "Gap",
    "Line",
    "Point",
    "Tick",
    "TimeChart",
    "Tip",
    "bar_chart",
    "scale_of",
    "time_chart",
]

Words = Callable[[float], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The room of a chart, in units of its own: the page stretches it to the width it has."""

    width: int
    height: int
    left: int = 58
    right: int = 14
    top: int = 26
    bottom: int = 28

    @property
    def inner_width(self) -> int:
        return self.width - self.left - self.right

    @property
    def inner_height(self) -> int:
        return self.height - self.top - self.bottom

    @property
    def floor(self) -> int:
        return self.height - self.bottom


WIDE = Frame(width=960, height=260)
"""For screens with room. Text in it has its usual size where the page is that wide."""
MEDIUM = Frame(width=620, height=240, left=44)
"""For two charts beside each other."""
NARROW = Frame(width=400, height=230, left=50, right=10)
"""For telephones: the same figures with less beside them, so that text stays as large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A place on an axis with what is written there."""

    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    at: float
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a chart. ``pieces`` are not joined: between two of them nothing is known.

    ``style`` is the class that gives it its colour; with ``filled`` the room under it has it too.
    """

    name: str
    style: str
    pieces: tuple[tuple[Point, ...], ...]
    filled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A time of which nothing is known, and why."""

    begin: float
    end: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tip:
    """What is shown where the pointer is between two times."""

    begin: float
    end: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeChart:
    """Figures over time. ``unit`` names what the upright axis counts."""

    label: str
    unit: str
    begin: float
    end: float
    lines: tuple[Line, ...]
    ticks: tuple[Tick, ...]
    gaps: tuple[Gap, ...] = ()
    tips: tuple[Tip, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar of parts that stand on each other, each with the class that gives it its colour.

    ``mark`` is written above it.
    """

    text: str
    tip: str
    parts: tuple[tuple[str, float], ...]
    mark: str = ""

    @property
    def height(self) -> float:
        return sum(value for _, value in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class BarChart:
    """Bars side by side. ``whole`` is true where only whole numbers make sense on the axis;
    ``words`` writes its numbers.
    """

    label: str
    unit: str
    bars: tuple[Bar, ...]
    whole: bool = True
    words: Words | None = None


# The upright axis


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


def _plain(value: float) -> str:
    """A number on an axis: 1,200 or 0.25, never 1.2e+03."""
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.10f}".rstrip("0").rstrip(".")


def _grid(scale: Sequence[float], unit: str, frame: Frame, words: Words) -> Iterator[str]:
    for value in scale:
        y = _y(value, scale[-1], frame)
        yield f'<line class="grid" x1="{frame.left}" x2="{frame.width - frame.right}" {_same(y)}/>'
        yield _text(frame.left - 7, y + 4, words(value), anchor="end")
    yield _text(2, 12, unit, style="unit")


def _same(y: float) -> str:
    return f'y1="{y:.1f}" y2="{y:.1f}"'


def _y(value: float, highest: float, frame: Frame) -> float:
    return frame.floor - frame.inner_height * value / highest


def _text(x: float, y: float, text: str, *, anchor: str = "start", style: str = "") -> str:
    kind = f' class="{style}"' if style else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(label: str, frame: Frame, parts: Iterable[str]) -> str:
    return (
        f'<svg class="batchq-chart" viewBox="0 0 {frame.width} {frame.height}" role="img" '
        f'aria-label="{escape(label)}" preserveAspectRatio="xMidYMid meet">{"".join(parts)}</svg>'
    )


def _titled(x: float, y: float, width: float, height: float, title: str, style: str) -> str:
    """A box that says something to a pointer that rests on it."""
    box = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{max(height, 0):.1f}"'
    return f'<rect class="{style}" {box}><title>{escape(title)}</title></rect>'


# Lines over time


def time_chart(chart: TimeChart, frame: Frame) -> str:
    """A chart of lines, as SVG."""
    highest = max((p.value for line in chart.lines for p in _points(line)), default=0.0)
    scale = scale_of(highest)
    place = _Places(chart=chart, frame=frame, highest=scale[-1])
    return _svg(chart.label, frame, [*_under(place), *_over(place, scale)])


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
        return f"{self.x(point.at):.1f},{_y(point.value, self.highest, self.frame):.1f}"


def _points(line: Line) -> Iterator[Point]:
    for piece in line.pieces:
        yield from piece


def _under(place: _Places) -> Iterator[str]:
    frame = place.frame
    for gap in place.chart.gaps:
        x = place.x(gap.begin)
        width = place.x(gap.end) - x
        yield _titled(x, frame.top, width, frame.inner_height, gap.text, "gap")


def _over(place: _Places, scale: Sequence[float]) -> Iterator[str]:
    chart, frame = place.chart, place.frame
    yield from _grid(scale, chart.unit, frame, _plain)
    for tick in _spread(chart.ticks, place):
        x = place.x(tick.at)
        ends = f'y1="{frame.floor}" y2="{frame.floor + 4}"'
        yield f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" {ends}/>'
        yield _text(x, frame.height - 8, tick.text, anchor="middle")
    for line in chart.lines:
        yield from _drawn(line, place)
    for tip in chart.tips:
        x = place.x(tip.begin)
        yield _titled(x, frame.top, place.x(tip.end) - x, frame.inner_height, tip.text, "tip")


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


# Bars


def bar_chart(chart: BarChart, frame: Frame) -> str:
    """A chart of bars, as SVG."""
    highest = max((bar.height for bar in chart.bars), default=0.0)
    # A mark stands above its bar.
    room_above = 1.08 if any(bar.mark for bar in chart.bars) else 1
    scale = scale_of(highest * room_above, whole=chart.whole)
    words = _plain if chart.words is None else chart.words
    parts = [*_grid(scale, chart.unit, frame, words)]
    room = frame.inner_width / max(len(chart.bars), 1)
    every = _every(chart.bars, room)
    for number, bar in enumerate(chart.bars):
        left = frame.left + room * number
        parts += _stacked(bar, left, room, scale[-1], frame)
        # Counted from the end: the newest is the one that is looked for.
        if (len(chart.bars) - 1 - number) % every == 0:
            parts.append(_text(left + room / 2, frame.height - 8, bar.text, anchor="middle"))
        tip = _titled(left, frame.top, room, frame.inner_height, bar.tip, "tip")
        parts.append(tip)
    return _svg(chart.label, frame, parts)


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
        y = _y(foot, highest, frame) - high
        box = f'x="{x:.1f}" y="{y:.1f}" width="{thick:.1f}" height="{high:.1f}"'
        yield f'<rect class="{style} bar" {box}/>'
        foot += value
    if bar.mark:
        yield _text(left + room / 2, _y(foot, highest, frame) - 4, bar.mark, anchor="middle")
