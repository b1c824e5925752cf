"""The dead: tasks and batches that go no further by themselves, and wait for somebody to look."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from celery.states import READY_STATES

from batchq.errors import ConfigurationError, JournalUnreadable
from batchq.journal import KILLS, Journal, journal_of

__all__ = ["Dead", "dead", "retry"]


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
            reason=journal.why_unsent(task_id) or f"killed its worker {KILLS} times in a row",
            at=_time(at),
        )
        for task_id, at in journal.dead_tasks()
    ]
    batches = [
        Dead(id=one.id, kind="batch", name=one.lane.name, reason=one.note, at=_time(one.dead_at))
        for one in journal.open_batches()
        if one.dead_at
    ]
    return sorted([*tasks, *batches], key=lambda one: one.at, reverse=True)


def retry(app: Any, name: str, *, ask_again: bool = False) -> bool:
    """Try a dead task (by its id) or a batch again; False where nothing dead has that id.

    Of a batch the files are read again, and nothing is paid for. With ``ask_again`` what they do
    not say is given up, and goes into the next batch.

    A task is sent as it came, and has the answers it had. Its ``AsyncResult`` says BATCHED until it
    ends again. What Celery did at its failure stays done: its errbacks have run, and a chord it was
    part of has failed.
    """
    # Here, so that `import batchq` in a web process does not load the journey.
    from batchq.flow.capture import BATCHED
    from batchq.flow.rescue import wake_late
    from batchq.flow.resume import resume

    journal = journal_of(app)
    if name in dict(journal.dead_tasks()):
        result = app.AsyncResult(name)
        if result.state in READY_STATES:
            # First: what Celery holds for final is not sent again by rescue, but forgotten.
            app.backend.store_result(name, None, BATCHED)
    journal.forget_failures(name)
    kind = journal.revive(name, ask_again=ask_again)
    if kind == "task":
        resume(app, [name])
    elif kind == "batch":
        wake_late(app, name)
    return kind is not None


def _name(journal: Journal, task_id: str) -> str:
    try:
        (message,) = journal.messages([task_id])
        return str(json.loads(message or b"{}").get("headers", {}).get("task", ""))
    except (JournalUnreadable, ConfigurationError, ValueError):
        # Encrypted, perhaps, and this process only looks: the journal has the name as well.
        record = journal.task(task_id)
        return "" if record is None else record.name


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
