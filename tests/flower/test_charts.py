"""Figures and their charts: pure, so no Redis and no Flower."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import pairwise
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchq.flower.charts.bars import bar_chart
from batchq.flower.charts.figures import (
    MEDIUM,
    NARROW,
    WIDE,
    Bar,
    BarChart,
    Frame,
    Line,
    Point,
    Tick,
    TimeChart,
    Tip,
)
from batchq.flower.charts.lines import time_chart
from batchq.flower.charts.svg import scale_of
from batchq.flower.trends import PASTS, Figure, Past, money, over_time, turnarounds
from batchq.flower.words import moment, pretty, short, size, span, things
from batchq.journal import TURNAROUNDS, Sample, Sums
from batchq.prompt import Lane
from tests.journals import LANE

MINUTE = 60_000
NOW = int(datetime(2026, 3, 4, 12, 0, 30, tzinfo=UTC).timestamp() * 1000)
HOUR, DAY, WEEK = PASTS["1h"], PASTS["24h"], PASTS["7d"]


def svg(text: str) -> ET.Element:
    """A chart has to be XML, whatever stands in it."""
    return ET.fromstring(text)  # noqa: S314 our own text


def marked(chart: str, kind: str) -> list[ET.Element]:
    return [one for one in svg(chart).iter() if kind in (one.get("class") or "").split()]


def titles(chart: str, kind: str) -> list[str]:
    return [one.findtext("title") or "" for one in marked(chart, kind)]


def texts(chart: str) -> list[str]:
    return [one.text or "" for one in svg(chart).iter("text")]


# Axes


@pytest.mark.parametrize(
    ("highest", "whole", "scale"),
    [
        (0, True, [0, 1]),
        (1, True, [0, 1]),
        (3, True, [0, 1, 2, 3]),
        (4, True, [0, 1, 2, 3, 4]),
        (7, True, [0, 2, 4, 6, 8]),
        (1149, True, [0, 500, 1000, 1500]),
        (0.00031, False, [0, 0.0001, 0.0002, 0.0003, 0.0004]),
        (77.2, False, [0, 20, 40, 60, 80]),
    ],
)
def test_the_numbers_of_an_axis_are_round(
    highest: float, *, whole: bool, scale: list[float]
) -> None:
    assert scale_of(highest, whole=whole) == pytest.approx(scale)


@given(highest=st.floats(0, 1e15), whole=st.booleans())
def test_a_scale_holds_what_is_drawn_and_little_more(highest: float, *, whole: bool) -> None:
    scale = scale_of(highest, whole=whole)
    assert scale[0] == 0
    assert scale == sorted(set(scale))
    assert 2 <= len(scale) <= 7
    assert scale[-1] >= highest * (1 - 1e-6)
    if highest > 4:
        assert scale[-1] <= highest * 2
    if whole:
        assert all(value == int(value) for value in scale)


# Drawing


def chart_of(*pieces: Sequence[tuple[float, float]], name: str = "a line") -> TimeChart:
    drawn = tuple(tuple(Point(at=at, value=value) for at, value in piece) for piece in pieces)
    return TimeChart(
        label=name,
        unit=name,
        begin=0,
        end=100,
        lines=(Line(name=name, style="s-waiting", pieces=drawn),),
        ticks=tuple(Tick(at=at, text=f"{at}:00") for at in range(0, 101, 10)),
        tips=(Tip(begin=0, end=10, text=name),),
    )


@pytest.mark.parametrize("frame", [WIDE, MEDIUM, NARROW])
def test_points_stand_where_their_values_are(frame: Frame) -> None:
    chart = time_chart(chart_of([(0, 0), (50, 10), (100, 5)]), frame)
    (line,) = marked(chart, "line")
    places = [[float(n) for n in pair.split(",")] for pair in str(line.get("points")).split()]
    assert places[0] == [frame.left, frame.floor]
    assert places[1] == [pytest.approx(frame.left + frame.inner_width / 2, abs=0.1), frame.top]
    assert places[2][1] == pytest.approx(frame.top + frame.inner_height / 2, abs=0.1)


def test_pieces_of_a_line_are_not_joined() -> None:
    chart = time_chart(chart_of([(0, 1), (10, 2)], [(40, 3)], [(60, 1), (70, 2)]), WIDE)
    assert len(marked(chart, "line")) == 2
    assert len(marked(chart, "dot")) == 1, "a single point is seen too"


@pytest.mark.parametrize("frame", [WIDE, MEDIUM, NARROW])
def test_what_is_written_on_an_axis_does_not_overlap(frame: Frame) -> None:
    for chart in (
        time_chart(chart_of([(0, 1), (100, 2)]), frame),
        bar_chart(bars([float(n) for n in range(30)]), frame),
        bar_chart(bars([1.0] * 11), frame),
    ):
        below = [one for one in svg(chart).iter("text") if float(one.get("y", 0)) > frame.floor + 9]
        assert len(below) > 1
        edges = [
            (float(one.get("x", 0)) - 3.5 * len(one.text or ""), one.text or "") for one in below
        ]
        for (left, text), (following, _) in pairwise(edges):
            assert left + 7 * len(text) <= following, (frame, text)
        last_left, last = edges[-1]
        assert last_left + 7 * len(last) <= frame.width + 7


def bars(values: list[float], *, mark: str = "") -> BarChart:
    made = tuple(
        Bar(text=f"{n} Nov", tip=f"bar {n}", parts=(("s-cost", v), ("s-saved", v)), mark=mark)
        for n, v in enumerate(values)
    )
    return BarChart(label="bars", unit="US dollars", bars=made, whole=False)


def test_the_parts_of_a_bar_stand_on_each_other() -> None:
    chart = bar_chart(bars([2.0, 0.0, 0.001]), WIDE)
    drawn = [(one.get("class"), one.get("y"), one.get("height")) for one in marked(chart, "bar")]
    assert len(drawn) == 4, "what is nothing is not drawn"
    (_, cost_y, cost_height), (_, saved_y, saved_height) = drawn[:2]
    assert float(saved_y or 0) + float(saved_height or 0) == pytest.approx(float(cost_y or 0))
    assert cost_height == saved_height
    assert all(float(height or 0) >= 1 for *_, height in drawn), "what is little is seen"
    assert titles(chart, "tip") == ["bar 0", "bar 1", "bar 2"]


def test_a_mark_stays_in_the_chart() -> None:
    chart = bar_chart(bars([1.0], mark="*"), WIDE)
    (mark,) = [one for one in svg(chart).iter("text") if one.text == "*"]
    assert float(mark.get("y", 0)) > 14, "below the unit"


@given(st.text(max_size=60), st.lists(st.floats(0, 1e12), max_size=40))
def test_whatever_a_chart_is_given_it_is_xml(words: str, values: list[float]) -> None:
    """A lane, a model and a label are words of the user's."""
    # No document can hold these, and Flower's own pages never do.
    words = re.sub("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", words)
    for frame in (WIDE, NARROW):
        points = list(enumerate(values))
        drawn = svg(time_chart(chart_of(points, name=words), frame))
        assert drawn.get("role") == "img"
        bar = BarChart(
            label=words,
            unit=words,
            bars=tuple(Bar(text=words, tip=words, parts=(("s-cost", v),)) for v in values),
        )
        svg(bar_chart(bar, frame))


def test_what_is_written_is_escaped() -> None:
    chart = time_chart(chart_of([(0, 1)], name='"><script>alert(1)</script>'), WIDE)
    assert "<script" not in chart
    assert svg(chart).get("aria-label") == '"><script>alert(1)</script>'


# Over time


def sample(back: int, *, waiting: int = 0, batched: int = 0, answered: int = 0) -> Sample:
    """What there was so many minutes ago."""
    at = NOW // MINUTE * MINUTE - back * MINUTE
    return Sample(at=at, waiting=waiting, batched=batched, answered=answered)


def drawn(
    samples: list[Sample],
    past: Past = HOUR,
    *,
    zone: tzinfo = UTC,
    tick: timedelta = timedelta(seconds=5),
) -> tuple[Figure, Figure]:
    where, answered = over_time(samples, past, now=NOW, zone=zone, tick=tick)
    return where, answered


def test_prompts_over_an_hour() -> None:
    where, answered = drawn(
        [
            sample(back, waiting=back, batched=2 * back, answered=600 - 10 * back)
            for back in range(60)
        ][::-1]
    )
    assert where.said.startswith("0 waiting and 0 in batches at Wed 04 Mar 12:00")
    assert "at most 59 waited" in where.said
    assert len(where.rows) == 60
    assert where.rows[-1] == ("Wed 04 Mar 11:01", "59", "118")
    assert "590 prompts answered in the last hour; at most 10 a minute" in answered.said
    assert {row[2] for row in answered.rows} == {"10"}
    for chart in (where.wide, where.narrow):
        assert len(marked(chart, "line")) == 2
        assert "waiting 59" in titles(chart, "tip")[0]
    assert marked(answered.wide, "gap") == []


def test_a_time_without_beat_is_a_gap() -> None:
    samples = [sample(back, waiting=1, answered=1000 - back) for back in range(59, -1, -1)]
    with_gap = [one for one in samples if not 20 <= (NOW - one.at) // MINUTE < 30]
    where, answered = drawn(with_gap)
    (gap,) = titles(where.wide, "gap")
    assert gap.startswith("Wed 04 Mar 11:30 to Wed 04 Mar 11:41: no samples")
    assert len(marked(where.wide, "line")) == 4
    assert len(marked(answered.wide, "line")) == 2
    # What was answered meanwhile is not put into the first minute after it.
    assert max(float(row[2]) for row in answered.rows) == 1


def test_beat_that_is_away_now_is_a_gap_up_to_now() -> None:
    where, _ = drawn([sample(back) for back in range(59, 20, -1)])
    (gap,) = marked(where.wide, "gap")
    right = float(gap.get("x", 0)) + float(gap.get("width", 0))
    assert right == pytest.approx(WIDE.width - WIDE.right, abs=0.2)


def test_one_sample_that_is_missing_is_no_gap() -> None:
    where, _ = drawn([sample(back) for back in range(59, -1, -1) if back != 30])
    assert marked(where.wide, "gap") == []


def test_a_slow_tick_leaves_no_gaps() -> None:
    """With `batchq_tick` at ten minutes, there is a sample each ten minutes."""
    samples = [sample(back, answered=60 - back) for back in range(60, -1, -10)]
    where, answered = drawn(samples, tick=timedelta(minutes=10))
    assert marked(where.wide, "gap") == []
    assert {row[2] for row in answered.rows} == {"1"}


def test_a_journal_that_was_emptied_is_no_negative_answer() -> None:
    samples = [
        sample(3, answered=5000),
        sample(2, answered=5010),
        sample(1, answered=4),
        sample(0, answered=9),
    ]
    _, answered = drawn(samples)
    assert "15 prompts answered" in answered.said


def test_a_bucket_shows_its_most() -> None:
    """An average would hide that all of 2,000 prompts waited for a moment."""
    samples = [sample(back, waiting=2000 if back == 305 else 10) for back in range(600, -1, -1)]
    where, _ = drawn(samples, DAY)
    assert "at most 2,000 waited" in where.said
    assert len(where.rows) < 65


@pytest.mark.parametrize("past", PASTS.values(), ids=PASTS)
def test_the_axis_of_time_is_in_the_zone_of_the_app(past: Past) -> None:
    zone = ZoneInfo("Asia/Kolkata")  # Half an hour beside the others.
    minutes = int(past.length.total_seconds()) // 60
    where, _ = drawn([sample(back) for back in range(minutes, -1, -5)], past, zone=zone)
    below = [one for one in texts(where.wide) if ":" in one or "Mar" in one or one[:3].isalpha()]
    assert len([one for one in below if one != "prompts"]) >= 5
    assert "times are IST" in where.note
    if past is DAY:
        assert "15:00" in below


def test_an_hour_that_a_zone_leaves_out_moves_no_tick() -> None:
    zone = ZoneInfo("Europe/Berlin")
    spring = int(datetime(2026, 3, 29, 12, tzinfo=UTC).timestamp() * 1000)
    samples = [
        Sample(at=spring - n * 5 * MINUTE, waiting=1, batched=0, answered=0) for n in range(280)
    ]
    (where, _) = over_time(samples[::-1], DAY, now=spring, zone=zone, tick=timedelta(minutes=5))
    assert "06:00" in texts(where.wide)
    assert "07:00" not in texts(where.wide)


def test_nothing_is_drawn_of_nothing() -> None:
    for figure in (*drawn([]), money({date(2026, 3, 4): Sums()})):
        assert figure.wide == ""
        assert figure.empty
    (where, answered) = drawn([sample(0, waiting=3)])
    assert where.wide, "one sample says how much waits"
    assert answered.empty, "and not how much is answered"
    assert turnarounds({LANE: Sums()}) == ()


# Money


def test_cost_and_saved_of_each_day() -> None:
    days = {
        date(2026, 3, 2): Sums(batches=2, prompts=100, cost=1_500_000_000, live_cost=3_000_000_000),
        date(2026, 3, 3): Sums(),
        date(2026, 3, 4): Sums(
            batches=1, prompts=1, cost=250, live_cost=500, estimated=1, unpriced=2
        ),
    }
    figure = money(days)
    assert figure.said == "cost $1.50, saved $1.50"
    assert "2 prompts of models without a price are not in it" in figure.note
    assert "Of 1 prompt the price is an estimate" in figure.note
    assert [row[0] for row in figure.rows] == ["2026-03-04", "2026-03-02"]
    tips = titles(figure.wide, "tip")
    assert tips[0] == "Mon 02 Mar (UTC): cost $1.50, saved $1.50; 2 batches, 100 prompts"
    assert tips[1].endswith("no batch ended")
    assert "<$0.0001" in tips[2]
    assert [one for one in texts(figure.wide) if one.startswith("$")] == [
        "$0",
        "$1",
        "$2",
        "$3",
        "$4",
    ]
    assert "*" in texts(figure.wide)


@pytest.mark.parametrize(
    ("cost", "axis"),
    [(400, "$0.0000002"), (3_000_000, "$0.002"), (250_000_000, "$0.20"), (80_000_000_000, "$50")],
)
def test_small_amounts_have_an_axis_too(cost: int, axis: str) -> None:
    figure = money({date(2026, 3, 4): Sums(batches=1, cost=cost, live_cost=2 * cost)})
    assert axis in texts(figure.wide)


def test_a_batch_that_cost_more_than_live_is_drawn_without_savings() -> None:
    figure = money({date(2026, 3, 4): Sums(batches=1, cost=3_000_000_000, live_cost=2_000_000_000)})
    assert len(marked(figure.wide, "bar")) == 1
    assert "saved -$1.00" in figure.said


# Turnarounds


def test_how_long_the_batches_of_a_lane_took() -> None:
    sums = Sums(
        turnaround=40 * MINUTE * 4, others={"le:300": 1, "le:3600": 2, "le:more": 1, "error:x": 9}
    )
    (figure,) = turnarounds({LANE: sums})
    assert figure.said == "4 batches; 40 min on average, half of them within 1 h"
    assert figure.heading == LANE.model
    assert figure.rows[-1] == ("more than 1 d", "1")
    assert len(figure.rows) == len(TURNAROUNDS) + 1
    assert "30 min to 1 h: 2 batches" in titles(figure.wide, "tip")


def test_a_telephone_has_the_classes_that_there_are() -> None:
    (figure,) = turnarounds({LANE: Sums(turnaround=1, others={"le:3600": 2})})
    assert len(titles(figure.wide, "tip")) == 11
    assert len(titles(figure.narrow, "tip")) == 3


def test_of_many_lanes_those_have_a_chart_that_ended_last() -> None:
    lanes = {
        Lane(account="default", endpoint="/v1/x", model=f"m-{n}"): Sums(others={"le:60": 1})
        for n in range(40)
    }
    figures = turnarounds(lanes)
    assert [figure.heading for figure in figures[:2]] == ["m-0", "m-1"]
    assert len(figures) == 12


# Words


@pytest.mark.parametrize(
    ("given_", "shown"),
    [
        (timedelta(0), "0 ms"),
        (timedelta(milliseconds=312), "312 ms"),
        (timedelta(milliseconds=999.9), "1 s"),
        (timedelta(hours=2, minutes=5, seconds=9), "2 h 5 min"),
    ],
)
def test_lengths_of_time(given_: timedelta, shown: str) -> None:
    assert span(given_) == shown


def test_numbers_and_sizes() -> None:
    assert [short(n) for n in (0, 9_999, 10_000, 123_456, 999_600, 1_240_000, 5 * 10**12)] == [
        *("0", "9,999", "10.0 k", "123 k", "1.00 M", "1.24 M", "5,000 G")
    ]
    assert [size(n) for n in (0, 999, 1_500, 190_000_000, 2 * 10**12)] == [
        *("0 B", "999 B", "1.5 kB", "190.0 MB", "2,000.0 GB")
    ]
    assert [things(1, "batch"), things(2, "batch"), things(1_000, "prompt")] == [
        *("1 batch", "2 batches", "1,000 prompts")
    ]
    assert moment(0, ZoneInfo("Europe/Berlin")) == "1970-01-01 01:00:00"


def test_json_is_indented_and_lists_of_numbers_are_not() -> None:
    text = pretty(b'{"input":["a",{"b":[]}],"embedding":[0.1,2,3],"none":null,"e":{}}')
    assert text.splitlines() == [
        "{",
        '  "input": [',
        '    "a",',
        "    {",
        '      "b": []',
        "    }",
        "  ],",
        '  "embedding": [0.1, 2, 3],',
        '  "none": null,',
        '  "e": {}',
        "}",
    ]


@pytest.mark.parametrize("body", [b"", b"no json", b"\xff\xfe", b"[" * 100_000, b'"\\ud800"'])
def test_what_is_no_json_is_shown_as_it_is(body: bytes) -> None:
    pretty(body).encode()
