"""Lookout: what nobody does and nobody says is looked for at each tick."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from batchq.decide.budget import BUDGET_PARTS, budget_reached, cost_under_way
from batchq.decide.flush import is_stuck, ought_to_go, why_stuck
from batchq.events import BudgetNear, LaneStuck
from batchq.flow.mishaps import apart
from batchq.flow.runner import Next, wake
from batchq.journal import Journal, LaneRecord, journal_of
from batchq.notify.step import due
from batchq.observe.emit import stops_nothing, tell
from batchq.settings.config import settings

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["look"]

_HOUR = timedelta(hours=1)


def look(app: Celery[Any]) -> None:
    """Look for what nobody does and nobody says: lanes that are stuck, a budget that runs out."""
    _look_at_lanes(app)
    _look_at_budget(app)
    _notify(app)


@stops_nothing
def _notify(app: Celery[Any]) -> None:
    for receiver in due(app):
        wake(app, Next("notify", (receiver,)))


@stops_nothing
def _look_at_lanes(app: Celery[Any]) -> None:
    journal = journal_of(app)
    for lane in journal.lanes.all():
        with apart(app, f"the lane {lane.lane.name}", lane=lane.lane.name):
            due = ought_to_go(lane, settings(app))
            if due and is_stuck(journal.lanes.at_head(lane.lane), settings(app)):
                _tell_stuck(app, journal, lane)


def _tell_stuck(app: Celery[Any], journal: Journal, record: LaneRecord) -> None:
    lane = record.lane
    if journal.events.first_told(f"stuck:{lane.name}", for_=_HOUR):
        learned, queued = journal.lanes.learned_limit(lane), journal.lanes.queued_tokens(lane)
        why = why_stuck(record, settings(app), learned=learned, queued=queued)
        event = LaneStuck(
            at=_now(app),
            lane=lane.name,
            prompts=record.prompts,
            tokens=record.tokens,
            oldest=record.oldest,
            why=why,
        )
        tell(app, event)


@stops_nothing
def _look_at_budget(app: Celery[Any]) -> None:
    dollars = settings(app).budget
    if dollars is None:
        return
    journal, budget = journal_of(app), int(dollars * 10**9)
    now = _now(app)
    day = now.date()
    spent = journal.tallies.day(day).cost
    under_way = cost_under_way(journal.batches.open(), journal.tallies.lanes())
    percent = budget_reached(spent + under_way, budget=budget)
    # Who hears of 100 needs not hear of 80 after it.
    reached = [each for each in BUDGET_PARTS if percent is not None and each <= percent]
    keep = timedelta(days=2)
    first = [journal.events.first_told(f"budget:{day}:{each}", for_=keep) for each in reached]
    if percent is not None and first[-1]:
        event = BudgetNear(
            at=now,
            day=day.isoformat(),
            percent=percent,
            spent=spent,
            under_way=under_way,
            budget=budget,
        )
        tell(app, event)


def _now(app: Celery[Any]) -> datetime:
    return datetime.fromtimestamp(journal_of(app).clock.now() / 1000, tz=UTC)
