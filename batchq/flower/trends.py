"""What the charts of the Batches pages show: the journal's sums and samples, made into figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, TypedDict, TypeVar

from batchq.common.words import dollars
from batchq.flower.charts.bars import bar_chart
from batchq.flower.charts.figures import (
    MEDIUM,
    NARROW,
    WIDE,
    Bar,
    BarChart,
    Frame,
    Gap,
    Line,
    Point,
    Tick,
    TimeChart,
    Tip,
)
from batchq.flower.charts.lines import time_chart
from batchq.flower.words import span, things
from batchq.journal import TURNAROUNDS, Sample, Sums
from batchq.prompt import Lane

if TYPE_CHECKING:
    from batchq.journal import Journal
    from batchq.settings.record import Settings

__all__ = ["PASTS", "Figure", "Past", "Trends", "money", "over_time", "read_trends", "turnarounds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """How far back a chart looks, and how much of it is one place on it."""

    name: str
    label: str
    length: timedelta
    bucket: timedelta
    each: str
    tick: timedelta
    format: str


PASTS = {
    past.name: past
    for past in (
        Past(
            name="1h",
            label="hour",
            length=timedelta(hours=1),
            bucket=timedelta(minutes=1),
            each="minute",
            tick=timedelta(minutes=10),
            format="%H:%M",
        ),
        Past(
            name="24h",
            label="24 hours",
            length=timedelta(hours=24),
            bucket=timedelta(minutes=10),
            each="10 minutes",
            tick=timedelta(hours=3),
            format="%H:%M",
        ),
        Past(
            name="7d",
            label="7 days",
            length=timedelta(days=7),
            bucket=timedelta(hours=1),
            each="hour",
            tick=timedelta(days=1),
            format="%a %d",
        ),
    )
}

C = TypeVar("C")

DAYS = 30
LANES = 12
"""So many lanes have a chart of their own; all are in the list of lanes."""

_AWAY = 3
"""So many samples in a row that are missing are a gap: one may fall between two minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A chart with all that stands around it. The drawings are empty where there is nothing to
    draw; ``empty`` then says why. ``head`` and ``rows`` are the same as a table.
    """

    id: str
    heading: str
    said: str = ""
    note: str = ""
    legend: tuple[tuple[str, str], ...] = ()
    wide: str = ""
    narrow: str = ""
    empty: str = ""
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trends:
    """All the figures of the charts page."""

    past: Past
    over_time: tuple[Figure, ...]
    money: Figure
    turnarounds: tuple[Figure, ...]
    lanes_left_out: int
    pasts: tuple[Past, ...] = field(default=tuple(PASTS.values()))


def read_trends(journal: Journal, settings: Settings, past: Past, zone: tzinfo) -> Trends:
    """Read and draw everything; this talks to Redis."""
    lanes = journal.tallies.lanes()
    return Trends(
        past=past,
        over_time=over_time(
            journal.tallies.samples(past.length),
            past,
            now=journal.clock.now(),
            zone=zone,
            tick=settings.tick,
        ),
        money=money(journal.tallies.days(DAYS)),
        turnarounds=turnarounds(lanes),
        lanes_left_out=max(0, sum(_completed(sums) > 0 for sums in lanes.values()) - LANES),
    )


class _Drawn(TypedDict):
    """A chart at both widths."""

    wide: str
    narrow: str


def _drawn(draw: Callable[[C, Frame], str], chart: C) -> _Drawn:
    return _Drawn(wide=draw(chart, WIDE), narrow=draw(chart, NARROW))


# Over time


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bucket:
    """Some samples in a row, as one place of a chart. ``rate`` is None where only one is known."""

    at: float
    begin: int
    end: int
    waiting: int
    batched: int
    answered: int
    rate: float | None


def over_time(
    samples: Sequence[Sample], past: Past, *, now: int, zone: tzinfo, tick: timedelta
) -> tuple[Figure, ...]:
    """How many prompts waited and were in batches, and how many were answered a minute."""
    patience = _ms(max(timedelta(minutes=1), tick)) * _AWAY
    began = now - _ms(past.length)
    runs = _runs(samples, patience)
    buckets = [list(_buckets(run, _ms(past.bucket))) for run in runs]
    gaps = tuple(_gaps(runs, began, now, patience, zone))
    draw = _Drawing(past=past, began=began, now=now, zone=zone, buckets=buckets, gaps=gaps)
    return (_where(draw, samples), _answered(draw))


def _runs(samples: Sequence[Sample], patience: int) -> list[list[Sample]]:
    """Samples that follow each other, apart where beat was away."""
    runs: list[list[Sample]] = []
    for sample in samples:
        if runs and sample.at - runs[-1][-1].at <= patience:
            runs[-1].append(sample)
        else:
            runs.append([sample])
    return runs


def _buckets(run: list[Sample], size: int) -> Iterator[_Bucket]:
    before: Sample | None = None
    for number, group in groupby(run, lambda sample: sample.at // size):
        samples = list(group)
        known = samples if before is None else [before, *samples]
        minutes, answered = _answered_in(known)
        yield _Bucket(
            at=sum(sample.at for sample in samples) / len(samples),
            begin=number * size,
            end=(number + 1) * size,
            waiting=max(sample.waiting for sample in samples),
            batched=max(sample.batched for sample in samples),
            answered=answered,
            rate=answered / minutes if minutes else None,
        )
        before = samples[-1]


def _answered_in(samples: Sequence[Sample]) -> tuple[float, int]:
    """Over how many minutes how many were answered. A counter that went back says nothing: the
    journal was emptied.
    """
    pairs = [(a, b) for a, b in pairwise(samples) if b.answered >= a.answered]
    minutes = sum(b.at - a.at for a, b in pairs) / 60_000
    return minutes, sum(b.answered - a.answered for a, b in pairs)


def _gaps(
    runs: list[list[Sample]], began: int, now: int, patience: int, zone: tzinfo
) -> Iterator[Gap]:
    edges = [began, *(edge for run in runs for edge in (run[0].at, run[-1].at)), now]
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        if end - begin > patience:
            when = f"{_time(begin, zone)} to {_time(end, zone)}"
            why = f"{when}: no samples. Neither beat nor a worker that stands in for it was there."
            yield Gap(begin=begin, end=end, text=why)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawing:
    past: Past
    began: int
    now: int
    zone: tzinfo
    buckets: list[list[_Bucket]]
    gaps: tuple[Gap, ...]

    @property
    def all(self) -> list[_Bucket]:
        return [bucket for run in self.buckets for bucket in run]

    def line(self, name: str, style: str, of: str, *, filled: bool = False) -> Line:
        pieces = [
            tuple(
                Point(at=bucket.at, value=value)
                for bucket in run
                if (value := getattr(bucket, of)) is not None
            )
            for run in self.buckets
        ]
        return Line(name=name, style=style, pieces=tuple(filter(None, pieces)), filled=filled)

    def chart(self, label: str, unit: str, *lines: Line) -> _Drawn:
        tips = tuple(
            Tip(begin=bucket.begin, end=bucket.end, text="; ".join(self.row(bucket)))
            for bucket in self.all
        )
        chart = TimeChart(
            label=label,
            unit=unit,
            begin=self.began,
            end=self.now,
            lines=lines,
            ticks=tuple(_ticks(self.past, self.began, self.now, self.zone)),
            gaps=self.gaps,
            tips=tips,
        )
        return _drawn(time_chart, chart)

    def when(self, bucket: _Bucket) -> str:
        begin = _time(bucket.begin, self.zone)
        return begin if self.past.bucket <= timedelta(minutes=1) else f"from {begin}"

    def row(self, bucket: _Bucket) -> tuple[str, ...]:
        rate = "not known" if bucket.rate is None else _rate(bucket.rate)
        return (
            self.when(bucket),
            f"waiting {bucket.waiting:,}",
            f"in batches {bucket.batched:,}",
            f"answered a minute {rate}",
        )

    @property
    def zone_name(self) -> str:
        return datetime.fromtimestamp(self.now / 1000, tz=self.zone).strftime("%Z")


_NO_SAMPLES = (
    "No samples of this time. They are taken each minute by beat's rescue, or by a worker that "
    "stands in for beat."
)


def _where(draw: _Drawing, samples: Sequence[Sample]) -> Figure:
    heading = "Prompts waiting and in batches"
    if not samples:
        return Figure(id="where", heading=heading, empty=_NO_SAMPLES)
    last, most = samples[-1], max(bucket.waiting for bucket in draw.all)
    said = (
        f"{last.waiting:,} waiting and {last.batched:,} in batches at "
        f"{_time(last.at, draw.zone)}; at most {most:,} waited"
    )
    waiting = draw.line("waiting in lanes", "s-waiting", "waiting", filled=True)
    batched = draw.line("in batches", "s-batched", "batched")
    label = f"Prompts waiting and in batches over the last {draw.past.label}: {said}."
    return Figure(
        id="where",
        heading=heading,
        said=said,
        note=f"The most of each {draw.past.each}; times are {draw.zone_name}.",
        legend=((waiting.style, waiting.name), (batched.style, batched.name)),
        **draw.chart(label, "prompts", waiting, batched),
        head=("Time", "Waiting, most", "In batches, most"),
        rows=tuple(
            (draw.when(one), f"{one.waiting:,}", f"{one.batched:,}") for one in reversed(draw.all)
        ),
    )


def _answered(draw: _Drawing) -> Figure:
    heading = "Prompts answered a minute"
    known = [bucket for bucket in draw.all if bucket.rate is not None]
    if not known:
        return Figure(id="answered", heading=heading, empty=_NO_SAMPLES)
    total = sum(bucket.answered for bucket in known)
    said = f"{things(total, 'prompt')} answered in the last {draw.past.label}"
    said += f"; at most {_rate(max(bucket.rate or 0 for bucket in known))} a minute"
    line = draw.line("answered a minute", "s-answered", "rate", filled=True)
    return Figure(
        id="answered",
        heading=heading,
        said=said,
        note=f"On average over each {draw.past.each}; times are {draw.zone_name}.",
        legend=((line.style, line.name),),
        **draw.chart(f"Prompts answered a minute: {said}.", "prompts a minute", line),
        head=("Time", "Answered", "A minute"),
        rows=tuple(
            (draw.when(one), f"{one.answered:,}", _rate(one.rate or 0)) for one in reversed(known)
        ),
    )


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _ticks(past: Past, began: int, now: int, zone: tzinfo) -> Iterator[Tick]:
    """Round times of the zone: an hour that is left out or doubled shifts none of them."""
    at = datetime.fromtimestamp(began / 1000, tz=zone).replace(hour=0, minute=0, second=0)
    start = at.replace(microsecond=0, tzinfo=None)
    steps = math.ceil((past.length + timedelta(days=2)) / past.tick)
    for number in range(steps):
        wall = start + past.tick * number
        tick = wall.replace(tzinfo=zone).timestamp() * 1000
        if began <= tick <= now:
            yield Tick(at=tick, text=wall.strftime(past.format))


def _time(at: float, zone: tzinfo) -> str:
    return datetime.fromtimestamp(at / 1000, tz=zone).strftime("%a %d %b %H:%M")


def _ms(duration: timedelta) -> int:
    return round(duration.total_seconds() * 1000)


# Money


def money(days: Mapping[date, Sums]) -> Figure:
    """What the batches of each day cost, and what they saved against live calls."""
    heading = f"Cost and saved, the last {len(days)} days"
    total = _total(days.values())
    if not any(sums.batches for sums in days.values()):
        return Figure(
            id="money", heading=heading, empty=f"No batch has ended in the last {len(days)} days."
        )
    said = f"cost {dollars(total.cost)}, saved {dollars(total.saved)}"
    note = "By the day (UTC) on which a batch ended. A whole bar is what the same calls cost live."
    if total.unpriced:
        note += f" * {things(total.unpriced, 'prompt')} of models without a price are not in it."
    if total.estimated:
        note += f" Of {things(total.estimated, 'prompt')} the price is an estimate."
    bars = tuple(_day(day, sums) for day, sums in days.items())
    label = f"Cost and saved for each of the last {len(days)} days: {said}."
    chart = BarChart(label=label, unit="US dollars", bars=bars, whole=False, words=_axis_dollars)
    return Figure(
        id="money",
        heading=heading,
        said=said,
        note=note,
        legend=(("s-cost", "cost"), ("s-saved", "saved")),
        **_drawn(bar_chart, chart),
        head=("Day (UTC)", "Cost", "Saved", "Batches", "Prompts", "Estimated", "Unpriced"),
        rows=tuple(_day_row(day, sums) for day, sums in reversed([*days.items()]) if sums.batches),
    )


def _total(days: Iterable[Sums]) -> Sums:
    found = list(days)
    summed = ("batches", "prompts", "cost", "live_cost", "estimated", "unpriced")
    sums = {name: sum(getattr(day, name) for day in found) for name in summed}
    return Sums.from_hash(sums)


def _day(day: date, sums: Sums) -> Bar:
    tip = f"{day:%a %d %b} (UTC): no batch ended"
    if sums.batches:
        tip = (
            f"{day:%a %d %b} (UTC): cost {dollars(sums.cost)}, saved {dollars(sums.saved)}; "
            f"{things(sums.batches, 'batch')}, {things(sums.prompts, 'prompt')}"
        )
    return Bar(
        text=f"{day.day} {day:%b}",
        tip=tip,
        parts=(("s-cost", sums.cost / 1e9), ("s-saved", max(0, sums.saved) / 1e9)),
        mark="*" if sums.unpriced else "",
    )


def _day_row(day: date, sums: Sums) -> tuple[str, ...]:
    return (
        day.isoformat(),
        dollars(sums.cost),
        dollars(sums.saved),
        *(f"{n:,}" for n in (sums.batches, sums.prompts, sums.estimated, sums.unpriced)),
    )


def _axis_dollars(value: float) -> str:
    if value == int(value):
        return f"${value:,.0f}"
    cents = round(value * 100, 6)
    return f"${value:,.2f}" if cents == int(cents) else f"${value:.9f}".rstrip("0")


# Turnarounds


def turnarounds(lanes: Mapping[Lane, Sums]) -> tuple[Figure, ...]:
    """How long the batches of each lane took, those first that ended last."""
    figures = (_turnaround(lane, sums) for lane, sums in lanes.items() if _completed(sums))
    return tuple(figure for figure, _ in zip(figures, range(LANES), strict=False))


def _completed(sums: Sums) -> int:
    return sum(number for name, number in sums.others.items() if name.startswith("le:"))


def _turnaround(lane: Lane, sums: Sums) -> Figure:
    counts = [(name, words, sums.others.get(f"le:{name}", 0)) for name, words in _classes()]
    completed = _completed(sums)
    mean = timedelta(milliseconds=sums.turnaround // completed)
    middle = _middle(counts, completed)
    said = f"{things(completed, 'batch')}; {span(mean)} on average, half of them {middle}"
    bars = tuple(
        Bar(
            text=_short(name),
            tip=f"{words}: {things(number, 'batch')}",
            parts=(("s-batched", number),),
            mark=f"{number:,}" if number else "",
        )
        for name, words, number in counts
    )
    label = f"How long the batches of lane {lane.name} took: {said}."
    shown = [bar for bar in bars if bar.height]
    first, last = bars.index(shown[0]), bars.index(shown[-1])
    # A telephone has no room for eleven classes: it has those that there are, and their neighbours.
    near = bars[max(0, first - 1) : last + 2]
    wide = BarChart(label=label, unit=_TOOK, bars=bars)
    return Figure(
        id="",
        heading=f"{lane.model} · {lane.label}" if lane.label else lane.model,
        said=said,
        note=f"{lane.account} · {lane.endpoint}",
        wide=bar_chart(wide, MEDIUM),
        narrow=bar_chart(BarChart(label=label, unit=_TOOK, bars=near), NARROW),
        head=("Turnaround", "Batches"),
        rows=tuple((words, f"{number:,}") for _, words, number in counts),
    )


_TOOK = "batches that took up to"


def _classes() -> Iterator[tuple[str, str]]:
    """The name of each class of turnarounds, and what it holds."""
    below = None
    for seconds in TURNAROUNDS:
        end = span(timedelta(seconds=seconds))
        yield str(seconds), f"up to {end}" if below is None else f"{below} to {end}"
        below = end
    yield "more", f"more than {below}"


def _short(name: str) -> str:
    if name == "more":
        return f"> {TURNAROUNDS[-1] // 3600} h"
    hours, seconds = divmod(int(name), 3600)
    return f"{int(name) // 60} min" if seconds else f"{hours} h"


def _middle(counts: list[tuple[str, str, int]], completed: int) -> str:
    """Within which time half of the batches were back."""
    seen = 0
    for name, _, number in counts:
        seen += number
        if seen * 2 >= completed and name != "more":
            return f"within {span(timedelta(seconds=int(name)))}"
    return f"within more than {span(timedelta(seconds=TURNAROUNDS[-1]))}"
