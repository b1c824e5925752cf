"""What a chart shows, as frozen records: figures, and the words beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
    "Words",
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
