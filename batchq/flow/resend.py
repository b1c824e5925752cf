"""Resend: tasks that have their answers, and no message and no run any more, are sent again."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from celery.states import PENDING, READY_STATES, SUCCESS

from batchq.celery_side.message import queue_of, request_of
from batchq.celery_side.revoke import revoke_again
from batchq.common.points import point
from batchq.common.seams.queues import is_empty
from batchq.common.seams.results import OVERWRITTEN, ResultKeys, result_keys
from batchq.flow.mishaps import apart
from batchq.flow.runner import Next, wake
from batchq.journal import Journal, chunks
from batchq.observe import emit

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["UNCLAIMED", "send_again"]

logger = logging.getLogger("batchq.rescue")

UNCLAIMED = timedelta(minutes=10)
"""How long the message of a task that may go on can wait in its queue before it is sent again."""

_LOST = timedelta(seconds=10)
"""The same for a message that is not in its queue, or that a later one has overtaken."""

_LOOKED_FOR = 100
"""Messages that are looked for in their queues at one tick."""


def send_again(app: Celery[Any], journal: Journal) -> None:
    """Send on each task that has its answers, and no run and no message."""
    looked = journal.resuming.look()
    stuck = looked.stuck(unclaimed_for=UNCLAIMED, overtaken_for=_LOST)
    others = looked.unclaimed(longer_than=_LOST, at_most=_LOOKED_FOR, but_for=frozenset(stuck))
    results, lost = result_keys(app), sorted(_lost(app, journal, others))
    for some in chunks([*stuck, *lost]):
        revoked = looked.revoked.intersection(some)
        revoke_again(app, revoked)
        left = [task_id for task_id in some if task_id not in revoked]
        _wake(app, journal, list(_not_final(app, journal, results, left)))


def _wake(app: Celery[Any], journal: Journal, task_ids: list[str]) -> None:
    if not task_ids:
        return
    point("rescue.resend")
    wake(app, Next("resume", (task_ids,)))
    point("rescue.resent")
    journal.tallies.count("rescued:tasks", len(task_ids))
    logger.warning(
        "%d tasks that no worker has any more are sent again",
        len(task_ids),
        extra={"action": "rescue"},
    )
    emit.tell_rescued(app, len(task_ids))


def _lost(app: Celery[Any], journal: Journal, task_ids: Sequence[str]) -> list[str]:
    """Those of these whose message is neither in its queue nor with a run, as far as one can see.

    A Redis broker loses a message where it, or the worker, is killed just as the message is taken.
    """
    queues: dict[str, list[str]] = {}
    for task_id in task_ids:
        with apart(app, f"the message of task {task_id}", task_id=task_id):
            (message,) = journal.tasks.messages([task_id])
            queue = queue_of(message) if message is not None else None
            if queue is not None:
                queues.setdefault(queue, []).append(task_id)
    return [task_id for queue in queues if is_empty(app, queue) for task_id in queues[queue]]


def _not_final(
    app: Celery[Any], journal: Journal, results: ResultKeys | None, task_ids: Sequence[str]
) -> Iterator[str]:
    """Those whose result is still to come. Celery may have ended one without us: a hard time
    limit, a revoke, a lost worker.
    """
    # An app without a result backend never knows.
    states = {} if results is None else results.states(task_ids)
    for task_id in task_ids:
        state = states.get(task_id, PENDING)
        if state == OVERWRITTEN:
            # The claim of its next run knows what is true.
            logger.error(
                "the result of task %s cannot be read, for somebody else has written over it; the "
                "task is sent again",
                task_id,
                extra={"action": "rescue", "task_id": task_id},
            )
        if state not in READY_STATES:
            yield task_id
            continue
        with apart(app, f"task {task_id}", task_id=task_id):
            if state == SUCCESS:
                _tell_chord(app, journal, task_id)
            journal.tasks.drop(task_id)


def _tell_chord(app: Celery[Any], journal: Journal, task_id: str) -> None:
    """Count a task in its chord whose run died after it had stored the result.

    Celery tells the chord only then. To be told twice does a chord no harm: it keeps a set.
    """
    (message,) = journal.tasks.messages([task_id])
    request = request_of(app, message) if message is not None else None
    if request is not None and request.chord:
        task: Any = app.tasks.get(request.task)
        backend: Any = app.backend if task is None else task.backend
        backend.on_chord_part_return(request, SUCCESS, app.AsyncResult(task_id).result)
