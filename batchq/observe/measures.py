"""What is measured: the names, and their values at one reading of the journal. Pure.

`batchq.metrics` shows them to Prometheus. docs/metrics.md has the same table, for people.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from batchq.decide.flush import late_by
from batchq.journal import TURNAROUNDS, BatchRecord, LaneRecord, Sums
from batchq.observe.reading import Reading, kind_of
from batchq.prompt import Lane
from batchq.provider.descriptions import STATUSES
from batchq.settings.record import Settings

__all__ = ["METRICS", "Metric", "Sheet", "Shown", "about", "measure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A name that is shown, with its labels and what it means."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    labels: tuple[str, ...]
    help: str


_LANE = ("account", "endpoint", "model", "label")


def _gauge(name: str, help: str, *labels: str) -> Metric:  # noqa: A002 Prometheus calls it so
    return Metric(name=f"batchq_{name}", kind="gauge", labels=labels, help=help)


def _counter(name: str, help: str, *labels: str) -> Metric:  # noqa: A002 Prometheus calls it so
    return Metric(name=f"batchq_{name}_total", kind="counter", labels=labels, help=help)


METRICS: Mapping[str, Metric] = {
    metric.name.removeprefix("batchq_").removesuffix("_total"): metric
    for metric in (
        # Of all
        _gauge("up", "1 where the journal could be read, 0 where not; then there is nothing else"),
        _gauge("build_info", "1, with the release of Batchq that is asked", "version"),
        _gauge("read_seconds", "How long the last reading of the journal took"),
        _gauge("tasks", "Tasks that wait for answers, or have all and are on their way", "state"),
        _gauge(
            "overdue_tasks", "Waiting tasks that have waited longer than the settings allow for"
        ),
        _gauge("long_runs", "Bodies that have run for longer than batchq_long_run"),
        _gauge("dead", "Tasks and batches that are set aside and wait for a retry", "kind"),
        _gauge("beat_seen_timestamp_seconds", "When beat sent its last tick; 0 where it never did"),
        _gauge("stand_in", "1 while a worker sends the ticks of a beat that is away"),
        _counter("captured", "Prompts that were captured"),
        _counter("outcomes", "Prompts that got an answer or an error for good"),
        _counter("extra_batches", "Batches that were created once too often, and cancelled"),
        _counter(
            "rescued", "What rescue did: steps woken, tasks sent again, batches given up", "what"
        ),
        _counter("own_errors", "Errors in Batchq itself, of the last week", "what"),
        # Of a lane, now
        _gauge("prompts", "Prompts that wait in the lane, or are in open batches", "state", *_LANE),
        _gauge("tokens", "Input tokens of these prompts, as estimated", "state", *_LANE),
        _gauge("request_bytes", "Bytes of these prompts' requests", "state", *_LANE),
        _gauge("oldest_prompt_age_seconds", "How long the lane's first prompt has waited", *_LANE),
        _gauge(
            "lane_late_seconds",
            "How long it has been due while there was room at its provider",
            *_LANE,
        ),
        _gauge("lane_held", "1 while an operator holds the lane", *_LANE),
        _gauge("lane_without_room", "1 while the provider has no room for the lane", *_LANE),
        _gauge("batches", "Open batches; status is the provider's word", "state", "status", *_LANE),
        _gauge("oldest_batch_age_seconds", "Since its oldest batch was sealed", "state", *_LANE),
        _gauge("batch_late_seconds", "How late its latest step is that nobody takes", *_LANE),
        _gauge("account_paused", "1 while nothing of the account can be sent", "account"),
        _gauge(
            "token_limit",
            "Input tokens that may be queued at the provider, as set or learned",
            *("account", "model"),
        ),
        # Of a lane, since it was first flushed
        _counter("closed_batches", "Batches that are over; status is how", "status", *_LANE),
        _counter("attempts", "Prompts in batches that ran and are over", *_LANE),
        _counter("answered", "Rows with an answer", *_LANE),
        _counter("failed", "Rows, or prompts of a refused batch, that failed", *_LANE),
        _counter("errors", "The same by the code of the error", "code", *_LANE),
        _counter("asked_again", "Prompts that went back to their lane", *_LANE),
        Metric(
            name="batchq_batch_turnaround_seconds",
            kind="histogram",
            labels=_LANE,
            help="From submission to end, of batches that were completed",
        ),
        _counter("input_tokens", "Input tokens that were used, cached ones included", *_LANE),
        _counter("cached_input_tokens", "Input tokens that were read from the cache", *_LANE),
        _counter("output_tokens", "Output tokens that were used", *_LANE),
        _counter("cost_dollars", "What the batches cost", *_LANE),
        _counter("live_cost_dollars", "What the same calls would have cost live", *_LANE),
        _counter("saved_dollars", "Live cost less cost", *_LANE),
        _counter("estimated_answers", "Answers whose price is a guess", *_LANE),
        _counter("unpriced_answers", "Answers of unknown price, in no sum", *_LANE),
    )
}
"""By their names without ``batchq_`` and ``_total``."""

_STATES = ("sealed", "uploaded", "submitted", "finished")
_PROVIDERS = frozenset(STATUSES)
_ENDS = ("completed", "failed", "expired", "cancelled", "refused", "given_up", "unknown")
_RESCUED = ("flush", "poll", "fetch", "tasks", "given_up")
_SUMMED = "attempts failed asked_again input_tokens output_tokens"
_OTHER = "other"

_MOST_OWN_ERRORS = 20
"""More places than that fail together only where all of it is broken."""


# What is shown of it


class _Slots:
    """Names that are shown as they are; there is an end to how many. Who has a place keeps it, for
    a counter that moves from one name to another looks as if it had begun anew.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: set[object] = set()

    def has(self, name: object) -> bool:
        if name not in self._taken and len(self._taken) < self._most:
            self._taken.add(name)
        return name in self._taken

    def keep(self, names: Iterable[object]) -> None:
        self._taken &= set(names)


class Shown:
    """Which lanes and codes have labels of their own; what is too many is ``other``."""

    def __init__(self, *, lanes: int = 200, codes: int = 50) -> None:
        self._lanes = _Slots(lanes)
        self._most_codes = codes
        self._codes: dict[tuple[str, ...], _Slots] = {}

    def keep(self, lanes: Iterable[Lane]) -> None:
        """Let go of the lanes that are no more, for others to come."""
        self._lanes.keep(lanes)

    def has(self, lane: Lane) -> bool:
        return self._lanes.has(lane)

    def lane(self, lane: Lane) -> tuple[str, ...]:
        if self.has(lane):
            return (lane.account, lane.endpoint, lane.model, lane.label)
        return (_OTHER,) * len(_LANE)

    def code(self, lane: tuple[str, ...], code: str) -> str:
        slots = self._codes.setdefault(lane, _Slots(self._most_codes))
        return code if slots.has(code) else _OTHER


@dataclass(frozen=True, slots=True)
class Sheet:
    """Values by name and labels; of a histogram each is a list of counts and then the sum."""

    values: dict[str, dict[tuple[str, ...], float]] = field(
        default_factory=dict[str, dict[tuple[str, ...], float]]
    )
    histograms: dict[str, dict[tuple[str, ...], list[float]]] = field(
        default_factory=dict[str, dict[tuple[str, ...], list[float]]]
    )

    def add(self, name: str, value: float, *labels: str) -> None:
        """Several values with the same labels add up."""
        found = self.values.setdefault(name, {})
        found[labels] = found.get(labels, 0.0) + value

    def most(self, name: str, value: float, *labels: str) -> None:
        """Of several values with the same labels the highest counts."""
        found = self.values.setdefault(name, {})
        found[labels] = max(found.get(labels, 0.0), value)

    def observed(self, name: str, index: int, count: int, total: float, *labels: str) -> None:
        """So many in the class with that index, ``total`` in all."""
        found = self.histograms.setdefault(name, {})
        row = found.setdefault(labels, [0] * (len(TURNAROUNDS) + 2))
        row[index] += count
        row[-1] += total


def about() -> Sheet:
    """What is known without the journal."""
    sheet = Sheet()
    sheet.add("build_info", 1, _version())
    return sheet


def measure(reading: Reading, shown: Shown) -> Sheet:
    """Everything that is shown of a reading."""
    sheet = about()
    _of_all(sheet, reading)
    shown.keep(reading.known)
    for lane in reading.known:
        _begin(sheet, shown.lane(lane))
        sheet.most("lane_held", lane in reading.held, *shown.lane(lane))
    limits, queued = reading.limits, reading.queued
    for record in reading.lanes:
        kind = kind_of(record.lane)
        room = _has_room(record, limit=limits.get(kind), queued=queued[kind])
        _of_lane(sheet, reading.config, record, shown.lane(record.lane), room=room)
    for batch in reading.batches:
        _of_batch(sheet, reading, batch, shown.lane(batch.lane))
    for lane, sums in reading.sums.items():
        _of_sums(sheet, sums, shown.lane(lane), shown)
    for kind in {kind_of(lane) for lane in reading.known if shown.has(lane)} & limits.keys():
        sheet.add("token_limit", limits[kind], *kind)
    return sheet


def _of_all(sheet: Sheet, reading: Reading) -> None:
    sheet.add("up", 1)
    sheet.add("read_seconds", reading.took.total_seconds())
    sheet.add("tasks", reading.waiting, "waiting")
    sheet.add("tasks", reading.resuming, "resuming")
    sheet.add("overdue_tasks", reading.overdue)
    sheet.add("long_runs", len(reading.long_runs))
    sheet.add("dead", len(reading.dead_tasks), "task")
    sheet.add("dead", len(reading.dead_batches), "batch")
    paused = {pause.account for pause in reading.paused}
    for account in reading.config.accounts:
        sheet.add("account_paused", account in paused, account)
    sheet.add("beat_seen_timestamp_seconds", reading.beat / 1000)
    sheet.add("stand_in", reading.stands_in is not None)
    counters = reading.counters
    sheet.add("captured", counters.get("captured", 0))
    sheet.add("outcomes", counters.get("answered", 0))
    sheet.add("extra_batches", counters.get("extra_batches", 0))
    for one in reading.own_errors[:_MOST_OWN_ERRORS]:
        sheet.add("own_errors", one.times, one.what)
    for what in _RESCUED:
        sheet.add("rescued", counters.get(f"rescued:{what}", 0), what)


def _begin(sheet: Sheet, lane: tuple[str, ...]) -> None:
    """Nothing of anything: Prometheus does not see the first step of what was not there before."""
    for name, metric in METRICS.items():
        if metric.labels == _LANE and metric.kind != "histogram":
            sheet.add(name, 0, *lane)
    for name in ("prompts", "tokens", "request_bytes"):
        for state in ("waiting", "batched"):
            sheet.add(name, 0, state, *lane)
    for state in _STATES:
        sheet.add("batches", 0, state, "", *lane)
        sheet.add("oldest_batch_age_seconds", 0, state, *lane)
    for status in _ENDS:
        sheet.add("closed_batches", 0, status, *lane)
    sheet.observed("batch_turnaround_seconds", 0, 0, 0, *lane)


def _has_room(record: LaneRecord, *, limit: int | None, queued: int) -> bool:
    """Whether the provider would take some of this lane now, as far as is known."""
    if record.paused is not None:
        return False
    # With nothing queued a prompt goes that is larger than the limit.
    return limit is None or not queued or (limit - queued) * record.prompts >= record.tokens


def _of_lane(
    sheet: Sheet, config: Settings, record: LaneRecord, lane: tuple[str, ...], *, room: bool
) -> None:
    sheet.add("prompts", record.prompts, "waiting", *lane)
    sheet.add("tokens", record.tokens, "waiting", *lane)
    sheet.add("request_bytes", record.bytes, "waiting", *lane)
    sheet.most("oldest_prompt_age_seconds", record.oldest.total_seconds(), *lane)
    late = late_by(record, config) if room else timedelta(0)
    sheet.most("lane_late_seconds", late.total_seconds(), *lane)
    sheet.most("lane_without_room", not room, *lane)


def _of_batch(sheet: Sheet, reading: Reading, batch: BatchRecord, lane: tuple[str, ...]) -> None:
    status = batch.status if not batch.status or batch.status in _PROVIDERS else _OTHER
    sheet.add("batches", 1, batch.state, status, *lane)
    sheet.add("prompts", batch.lines, "batched", *lane)
    sheet.add("tokens", batch.tokens, "batched", *lane)
    sheet.add("request_bytes", batch.bytes, "batched", *lane)
    age = max(0, reading.at - batch.sealed_at) / 1000
    sheet.most("oldest_batch_age_seconds", age, batch.state, *lane)
    late = reading.late.get(batch.id, timedelta(0))
    sheet.most("batch_late_seconds", late.total_seconds(), *lane)


def _of_sums(sheet: Sheet, sums: Sums, lane: tuple[str, ...], shown: Shown) -> None:
    for name in _SUMMED.split():
        sheet.add(name, getattr(sums, name), *lane)
    sheet.add("answered", sums.prompts, *lane)
    sheet.add("cached_input_tokens", sums.cached_tokens, *lane)
    sheet.add("estimated_answers", sums.estimated, *lane)
    sheet.add("unpriced_answers", sums.unpriced, *lane)
    money = {"cost": sums.cost, "live_cost": sums.live_cost, "saved": sums.saved}
    for name, nanodollars in money.items():
        sheet.add(f"{name}_dollars", nanodollars / 1_000_000_000, *lane)
    for kind, what, count in _kinds(sums.others):
        if kind == "status":
            sheet.add("closed_batches", count, what if what in _ENDS else _OTHER, *lane)
        elif kind == "error":
            sheet.add("errors", count, shown.code(lane, what), *lane)
        elif kind == "le":
            sheet.observed("batch_turnaround_seconds", _class(what), count, 0, *lane)
    sheet.observed("batch_turnaround_seconds", 0, 0, sums.turnaround / 1000, *lane)


def _kinds(others: Mapping[str, int]) -> Iterator[tuple[str, str, int]]:
    for name, count in others.items():
        kind, _, what = name.partition(":")
        yield kind, what, count


def _class(end: str) -> int:
    """Which class batches belong to that were counted up to this number of seconds."""
    try:
        seconds = float(end)
    except ValueError:
        seconds = math.inf
    return bisect_left(TURNAROUNDS, seconds)


def _version() -> str:
    try:
        return version("batchq")
    except PackageNotFoundError:  # A checkout on the path, installed nowhere.
        return "unknown"
