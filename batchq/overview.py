"""`status` and `dead`: where everything is at one moment, and what goes no further by itself."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from batchq.decide.poll import longest_wait
from batchq.errors import ConfigurationError, JournalUnreadable
from batchq.journal import (
    KILLS,
    AccountPause,
    BatchRecord,
    Journal,
    LaneRecord,
    LongRun,
    OwnError,
    journal_of,
)
from batchq.observe.health import Finding, examine
from batchq.settings.config import settings

__all__ = ["Dead", "Status", "dead", "status"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Where the prompts and tasks of an app are.

    ``captured`` and ``answered`` count prompts since the journal began; ``waiting`` are in lanes,
    ``batched`` in batches that are not over. ``tasks_waiting`` wait for answers, ``tasks_resuming``
    have all of theirs and are on their way. ``overdue`` have waited longer than the settings allow
    for (docs/lifecycle.md, "How long a question waits"). ``dead`` counts what `dead` lists.
    ``paused`` says of which accounts nothing is sent just now, and why.
    ``own_errors`` are errors in Batchq itself that were met in the last week.
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
    own_errors: tuple[OwnError, ...] = ()
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
    lanes, batches, counters = (
        journal.lanes.all(),
        journal.batches.open(),
        journal.tallies.counters(),
    )
    captured, answered = counters.get("captured", 0), counters.get("answered", 0)
    waiting = sum(lane.prompts for lane in lanes)
    return Status(
        captured=captured,
        waiting=waiting,
        batched=sum(batch.lines for batch in batches),
        answered=answered,
        tasks_waiting=journal.waiting.count(),
        tasks_resuming=journal.resuming.count(),
        overdue=journal.waiting.overdue(longest_wait(settings(app))),
        dead=len(journal.tasks.dead()) + sum(batch.dead_at > 0 for batch in batches),
        own_errors=tuple(journal.own_errors.all()),
        paused=tuple(journal.pauses.among(_accounts(app, lanes)).values()),
        long_runs=tuple(journal.runs.long(longer_than=settings(app).long_run)),
        rounds=journal.runs.most_rounds(),
        beat_seen=journal.beat.since(),
        stands_in=journal.beat.stands_in(),
        lanes=tuple(lanes),
        batches=tuple(batches),
        findings=(*_loss(journal), *examine(app)),
    )


def _accounts(app: Any, lanes: Iterable[LaneRecord]) -> set[str]:
    return {*settings(app).accounts, *(one.lane.account for one in lanes)}


def _loss(journal: Journal) -> Iterator[Finding]:
    """What is to be known of a journal that has taken the place of a lost one."""
    lost = max(journal.adoption.epoch().former.values(), default=0)
    if lost:
        at = datetime.fromtimestamp(lost / 1000, tz=UTC).isoformat(" ", "seconds")
        what = f"the journal was lost, as was found at {at}"
        do = "find out who emptied Redis, and send the tasks again that waited then"
        yield Finding(level="warning", what=what, do=do)


# What waits for somebody to look


@dataclass(frozen=True, slots=True, kw_only=True)
class Dead:
    """A task that has failed with `WorkersKilled`, or whose own message cannot be sent on; or a
    batch that is set aside: its steps killed their workers, or failed, or most rows of its files
    are of no use.

    ``id`` is the task's or the batch's own, and what `retry` takes. ``name`` is the task's name or
    the batch's lane.
    """

    id: str
    kind: Literal["task", "batch"]
    name: str
    reason: str
    at: datetime


def dead(app: Any) -> list[Dead]:
    """All that is dead, newest first.

    A task has failed for Celery; the journal keeps it for ``batchq_keep_journal``. The prompts of a
    batch wait; after ``batchq_batch_deadline`` those without an answer get an error.
    """
    journal = journal_of(app)
    tasks = [
        Dead(
            id=task_id,
            kind="task",
            name=_name(journal, task_id),
            reason=journal.tasks.why_unsent(task_id) or f"killed its worker {KILLS} times in a row",
            at=_time(at),
        )
        for task_id, at in journal.tasks.dead()
    ]
    batches = [
        Dead(id=one.id, kind="batch", name=one.lane.name, reason=one.note, at=_time(one.dead_at))
        for one in journal.batches.open()
        if one.dead_at
    ]
    return sorted([*tasks, *batches], key=lambda one: one.at, reverse=True)


def _name(journal: Journal, task_id: str) -> str:
    try:
        (message,) = journal.tasks.messages([task_id])
        return str(json.loads(message or b"{}").get("headers", {}).get("task", ""))
    except (JournalUnreadable, ConfigurationError, ValueError):
        # Encrypted, perhaps, and this process only looks: the journal has the name as well.
        record = journal.views.task(task_id)
        return "" if record is None else record.name


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
