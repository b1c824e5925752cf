"""`status` and `dead`: where everything is at one moment, and what goes no further by itself."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

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
from batchq.observe.diagnosis import Finding, Seen, diagnose, look, worst_first
from batchq.observe.reading import Reading, read

__all__ = ["Dead", "Status", "dead", "dead_in", "status", "status_of"]


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
    that sends them now. ``findings`` is what is wrong, the worst first: `check` has the same, and
    what only a worker's machine, workers and providers can tell.
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
    reading = read(app)
    return status_of(reading, look(app, reading))


def status_of(reading: Reading, seen: Seen) -> Status:
    """The same, of one look at everything."""
    beat_seen = timedelta(milliseconds=max(0, reading.at - reading.beat)) if reading.beat else None
    return Status(
        captured=reading.counters.get("captured", 0),
        waiting=sum(lane.prompts for lane in reading.lanes),
        batched=sum(batch.lines for batch in reading.batches),
        answered=reading.counters.get("answered", 0),
        tasks_waiting=reading.waiting,
        tasks_resuming=reading.resuming,
        overdue=reading.overdue,
        dead=reading.dead,
        own_errors=reading.own_errors,
        paused=reading.paused,
        long_runs=reading.long_runs,
        rounds=reading.rounds,
        beat_seen=beat_seen,
        stands_in=reading.stands_in,
        lanes=reading.lanes,
        batches=reading.batches,
        findings=tuple(worst_first(diagnose(seen))),
    )


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
    return dead_in(journal, journal.tasks.dead(), journal.batches.open())


def dead_in(
    journal: Journal, tasks: Iterable[tuple[str, int]], batches: Iterable[BatchRecord]
) -> list[Dead]:
    """The same, of these dead tasks, and of those of these batches that are set aside."""
    found = [
        Dead(
            id=task_id,
            kind="task",
            name=_name(journal, task_id),
            reason=journal.tasks.why_unsent(task_id) or f"killed its worker {KILLS} times in a row",
            at=_time(at),
        )
        for task_id, at in tasks
    ]
    found += [
        Dead(id=one.id, kind="batch", name=one.lane.name, reason=one.note, at=_time(one.dead_at))
        for one in batches
        if one.dead_at
    ]
    return sorted(found, key=lambda one: one.at, reverse=True)


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
