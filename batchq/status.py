"""`status`: where everything is, at one moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from batchq.config import settings
from batchq.health import Finding, examine
from batchq.journal import AccountPause, BatchRecord, Journal, LaneRecord, LongRun, journal_of
from batchq.lifecycle import longest_wait

__all__ = ["Status", "status"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Where the prompts and tasks of an app are.

    ``captured`` and ``answered`` count prompts since the journal began; ``waiting`` are in lanes,
    ``batched`` in batches that are not over. ``tasks_waiting`` wait for answers, ``tasks_resuming``
    have all of theirs and are on their way. ``overdue`` have waited longer than the settings allow
    for (docs/lifecycle.md, "How long a question waits"). ``dead`` counts what `dead` lists.
    ``paused`` says of which accounts nothing is sent just now, and why.
    ``long_runs`` are bodies that have run for longer than ``batchq_long_run``; ``rounds`` says in
    how many rounds tasks have asked at the most, by name, of those with more than one.
    ``beat_seen`` is how long ago beat sent its last tick (None: never); ``stands_in`` is the worker
    that sends them now.
    """

    captured: int
    waiting: int
    batched: int
    answered: int
    tasks_waiting: int
    tasks_resuming: int
    overdue: int
    dead: int
    paused: tuple[AccountPause, ...] = ()
    long_runs: tuple[LongRun, ...] = ()
    rounds: Mapping[str, int] = field(default_factory=dict[str, int])
    beat_seen: timedelta | None
    stands_in: str | None
    lanes: tuple[LaneRecord, ...]
    batches: tuple[BatchRecord, ...]
    findings: tuple[Finding, ...]


def status(app: Any) -> Status:
    """Where everything is. The figures are read one by one, so they may be a moment apart."""
    journal = journal_of(app)
    lanes, batches, counters = journal.lanes(), journal.open_batches(), journal.counters()
    captured, answered = counters.get("captured", 0), counters.get("answered", 0)
    waiting = sum(lane.prompts for lane in lanes)
    return Status(
        captured=captured,
        waiting=waiting,
        batched=sum(batch.lines for batch in batches),
        answered=answered,
        tasks_waiting=journal.waiting_tasks(),
        tasks_resuming=journal.resuming_tasks(),
        overdue=journal.overdue_tasks(longest_wait(settings(app))),
        dead=len(journal.dead_tasks()) + sum(batch.dead_at > 0 for batch in batches),
        paused=tuple(journal.account_pauses(_accounts(app, lanes)).values()),
        long_runs=tuple(journal.long_runs(longer_than=settings(app).long_run)),
        rounds=journal.most_rounds(),
        beat_seen=journal.since_beat(),
        stands_in=journal.stands_in(),
        lanes=tuple(lanes),
        batches=tuple(batches),
        findings=(*_loss(journal), *examine(app)),
    )


def _accounts(app: Any, lanes: Iterable[LaneRecord]) -> set[str]:
    return {*settings(app).accounts, *(one.lane.account for one in lanes)}


def _loss(journal: Journal) -> Iterator[Finding]:
    """What is to be known of a journal that has taken the place of a lost one."""
    lost = max(journal.epoch().former.values(), default=0)
    if lost:
        at = datetime.fromtimestamp(lost / 1000, tz=UTC).isoformat(" ", "seconds")
        what = f"the journal was lost, as was found at {at}"
        do = "find out who emptied Redis, and send the tasks again that waited then"
        yield Finding(level="warning", what=what, do=do)
