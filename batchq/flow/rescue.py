"""Rescue: whatever stopped moving is moved again. The journal is the truth, messages wake up."""

from __future__ import annotations

import logging
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from celery.states import READY_STATES

from batchq.config import settings
from batchq.flow.steps import Next, wake
from batchq.journal import BatchRecord, Journal, chunks, journal_of

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["rescue"]

logger = logging.getLogger("batchq.rescue")

_UNCLAIMED = timedelta(minutes=10)
"""How long the message of a task that may go on can wait in its queue before it is sent again."""


def rescue(app: Celery[Any]) -> None:
    """Wake every step that is late, and send every task on that has its answers and no run."""
    journal = journal_of(app)
    for record in journal.open_batches(overdue=3 * settings(app).tick):
        _wake(app, journal, record)
    journal.forget_expired()
    stuck = _not_final(app, journal, journal.stuck(unclaimed_for=_UNCLAIMED))
    for task_ids in chunks(stuck):
        wake(app, Next("resume", (task_ids,)))
        logger.warning("%d tasks are sent again", len(task_ids), extra={"action": "rescue"})


def _wake(app: Celery[Any], journal: Journal, record: BatchRecord) -> None:
    step = Next(_VERBS.get(record.state, "fetch"), (record.id,))
    chain = ""
    if step.verb == "poll":
        # A new chain: should the old one still be alive, it ends at its next poll.
        chain = uuid.uuid4().hex
        step = Next("poll", (record.id, chain))
    if not journal.wake(record.id, chain=chain):
        return
    logger.warning(
        "batch %s (%s) is late and is woken",
        *(record.id, record.state),
        extra={"action": "rescue", "batch": record.id},
    )
    wake(app, step)


_VERBS = {"sealed": "flush", "uploaded": "flush", "submitted": "poll"}


def _not_final(app: Celery[Any], journal: Journal, task_ids: list[str]) -> list[str]:
    """Those whose result is still to come. Celery may have ended one without us: a hard time
    limit, a revoke, a lost worker.
    """
    going_on: list[str] = []
    for task_id in task_ids:
        if _is_final(app, task_id):
            journal.drop(task_id)
        else:
            going_on.append(task_id)
    return going_on


def _is_final(app: Celery[Any], task_id: str) -> bool:
    try:
        return app.AsyncResult(task_id).state in READY_STATES
    except NotImplementedError:
        return False  # An app without a result backend never knows.
