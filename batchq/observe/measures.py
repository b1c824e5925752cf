"""What is measured at one reading of the journal. Pure. `batchq.metrics` shows it to Prometheus."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version

from batchq.decide.flush import late_by
from batchq.journal import TURNAROUNDS, BatchRecord, LaneRecord, Sums
from batchq.observe.catalogue import LANE, METRICS
from batchq.observe.reading import Reading, kind_of
from batchq.observe.sheet import OTHER, Sheet, Shown
from batchq.provider.descriptions import STATUSES
from batchq.settings.record import Settings

__all__ = ["about", "measure"]

_STATES = ("sealed", "uploaded", "submitted", "finished")
_PROVIDERS = frozenset(STATUSES)
_ENDS = ("completed", "failed", "expired", "cancelled", "refused", "given_up", "unknown")
_RESCUED = ("flush", "poll", "fetch", "tasks", "given_up")
_SUMMED = "attempts failed asked_again input_tokens output_tokens"

_MOST_OWN_ERRORS = 20
"""More places than that fail together only where all of it is broken."""


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
        if metric.labels == LANE and metric.kind != "histogram":
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
    status = batch.status if not batch.status or batch.status in _PROVIDERS else OTHER
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
            sheet.add("closed_batches", count, what if what in _ENDS else OTHER, *lane)
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
