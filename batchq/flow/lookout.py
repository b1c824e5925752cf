"""Lookout: what nobody does and nobody says is looked for at each tick."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from batchq.decide.budget import BUDGET_PARTS
from batchq.decide.flush import ought_to_go, why_stuck
from batchq.events import BudgetNear, LaneStuck
from batchq.flow.glance import Glance
from batchq.flow.mishaps import apart
from batchq.flow.runner import Next, wake
from batchq.journal import LaneRecord, journal_of
from batchq.notify.step import due
from batchq.observe.diagnosis.lanes import stuck
from batchq.observe.diagnosis.money import bill_of
from batchq.observe.emit import stops_nothing, tell
from batchq.observe.reading import kind_of, queued_in
from batchq.settings.config import settings

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["look"]

_HOUR = timedelta(hours=1)


def look(app: Celery[Any], glance: Glance) -> None:
    """Look for what nobody does and nobody says: lanes that are stuck, a budget that runs out."""
    _look_at_lanes(app, glance)
    _look_at_budget(app, glance)
    _notify(app)


@stops_nothing
def _notify(app: Celery[Any]) -> None:
    for receiver in due(app):
        wake(app, Next("notify", (receiver,)))


@stops_nothing
def _look_at_lanes(app: Celery[Any], glance: Glance) -> None:
    config = settings(app)
    ought = [one.lane for one in glance.lanes if ought_to_go(one, config)]
    at_head = journal_of(app).heads.note(ought)
    for record in stuck(glance.lanes, at_head, config):
        with apart(app, f"the lane {record.lane.name}", lane=record.lane.name):
            _tell_stuck(app, glance, record)


def _tell_stuck(app: Celery[Any], glance: Glance, record: LaneRecord) -> None:
    lane, journal = record.lane, journal_of(app)
    if journal.events.first_told(f"stuck:{lane.name}", for_=_HOUR):
        learned, queued = journal.lanes.learned_limit(lane), queued_in(glance.batches)
        why = why_stuck(record, settings(app), learned=learned, queued=queued[kind_of(lane)])
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
def _look_at_budget(app: Celery[Any], glance: Glance) -> None:
    dollars, journal = settings(app).budget, journal_of(app)
    if dollars is None:
        return
    now = _now(app)
    day = now.date()
    bill = bill_of(dollars, journal.tallies.day(day), glance.batches, journal.tallies.lanes())
    # Who hears of 100 needs not hear of 80 after it.
    reached = [each for each in BUDGET_PARTS if bill.percent is not None and each <= bill.percent]
    keep = timedelta(days=2)
    first = [journal.events.first_told(f"budget:{day}:{each}", for_=keep) for each in reached]
    if bill.percent is not None and first[-1]:
        event = BudgetNear(
            at=now,
            day=day.isoformat(),
            percent=bill.percent,
            spent=bill.spent,
            under_way=bill.under_way,
            budget=bill.budget,
        )
        tell(app, event)


def _now(app: Celery[Any]) -> datetime:
    return datetime.fromtimestamp(journal_of(app).clock.now() / 1000, tz=UTC)
