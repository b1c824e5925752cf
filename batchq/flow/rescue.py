"""Rescue: whatever stopped moving is moved again. The journal is the truth, messages wake up."""

from __future__ import annotations

import logging
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from batchq.celery_side.chords import keep_alive
from batchq.common.points import point
from batchq.flow import lookout
from batchq.flow.adopt import look_for_lost
from batchq.flow.bill import bill_of_refusal
from batchq.flow.glance import Glance
from batchq.flow.mishaps import apart
from batchq.flow.resend import UNCLAIMED, send_again
from batchq.flow.resume import answer
from batchq.flow.runner import Next, wake
from batchq.journal import BatchRecord, Journal, chunks, journal_of
from batchq.observe import emit
from batchq.observe.health import report
from batchq.prompt import Outcome
from batchq.settings.config import settings

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["rescue", "wake_late"]

logger = logging.getLogger("batchq.rescue")

_SWEPT_EVERY = timedelta(hours=1)


def rescue(app: Celery[Any]) -> None:
    """Wake every step that is late, and send every task on that has its answers and no run."""
    journal = journal_of(app)
    glance = Glance(journal)
    report(app)
    with apart(app, "the batches at the providers"):
        look_for_lost(app)
    with apart(app, "the list of open batches"):
        for record in glance.overdue(settings(app).tick / 2):
            with apart(app, f"batch {record.id}", batch=record.id, lane=record.lane.name):
                _wake(app, journal, record)
    with apart(app, "the list of waiting tasks"):
        journal.waiting.forget_expired()
        for task_id in journal.waiting.nearly_forgotten():
            with apart(app, f"task {task_id}", task_id=task_id):
                _end_the_wait(app, journal, task_id)
    with apart(app, "the list of running bodies"):
        _tell_long_runs(app, journal)
    with apart(app, "the storage of large bodies"):
        _sweep_storage(journal)
    with apart(app, "the results of waiting tasks"):
        keep_alive(app)
    with apart(app, "the sample of this minute"):
        batched = sum(record.lines for record in glance.batches)
        waiting = sum(lane.prompts for lane in glance.lanes)
        journal.tallies.take_sample(waiting=waiting, batched=batched)
    with apart(app, "the list of resuming tasks"):
        send_again(app, journal)
    lookout.look(app, glance)


def _tell_long_runs(app: Celery[Any], journal: Journal) -> None:
    for one in journal.runs.long(longer_than=settings(app).long_run):
        if journal.events.first_told(f"long:{one.task_id}:{one.began_at}", for_=timedelta(hours=1)):
            logger.warning(
                "the body of task %s [%s] has run for longer than %s and has not ended: look what "
                "it waits for, or give it a time limit",
                *(one.name, one.task_id, settings(app).long_run),
                extra={"action": "rescue", "task_id": one.task_id},
            )


def _sweep_storage(journal: Journal) -> None:
    if journal.bodies.has_storage and journal.events.first_told("sweep", for_=_SWEPT_EVERY):
        deleted = journal.bodies.sweep()
        if deleted:
            logger.warning(
                "%d large bodies that no task names any more are deleted from the storage",
                deleted,
                extra={"action": "sweep"},
            )


def _end_the_wait(app: Celery[Any], journal: Journal, task_id: str) -> None:
    """Give what a task has asked an error, before Redis forgets that it was asked at all.

    A lane whose account is gone, a provider that is out of reach for good: nothing else ends these.
    """
    message = "Nobody has answered this request for as long as its journal is kept."
    outcome = Outcome.error(504, code="not_answered_in_time", message=message)
    for lane, custom_id in journal.tasks.open_prompts(task_id):
        answer(app, lane, [(custom_id, outcome)])
    logger.error(
        "task %s has waited for as long as its journal is kept (batchq_keep_journal); its open "
        "prompts get an error",
        task_id,
        extra={"action": "rescue", "task_id": task_id},
    )


def wake_late(app: Celery[Any], batch_id: str) -> None:
    """Wake the step of one batch, if it is late and nobody is at it."""
    journal = journal_of(app)
    record = journal.batches.get(batch_id)
    if record is not None:
        _wake(app, journal, record)


def _wake(app: Celery[Any], journal: Journal, record: BatchRecord) -> None:
    if record.dead_at:
        # It was set aside, and nobody has retried it in all that time.
        _give_up(app, journal, record)
        return
    step = Next(_VERBS.get(record.state, "fetch"), (record.id,))
    chain = ""
    if step.verb == "poll":
        # A new chain: should the old one still be alive, it ends at its next poll.
        chain = uuid.uuid4().hex
        step = Next("poll", (record.id, chain))
    point("rescue.wake")
    if not journal.batches.wake(record.id, longest=UNCLAIMED, chain=chain):
        return
    point("rescue.woken")
    journal.tallies.count(f"rescued:{step.verb}")
    logger.warning(
        "batch %s (%s) is late, so its next step is sent again",
        *(record.id, record.state),
        extra={"action": "rescue", "batch": record.id, "lane": record.lane.name},
    )
    emit.tell_woken(app, record)
    wake(app, step)


def _give_up(app: Celery[Any], journal: Journal, record: BatchRecord) -> None:
    """Give the prompts of a batch that was set aside an error, so that none waits for ever."""
    # Not the note: what it repeats is for who looks after the batch.
    code = record.aside or "workers_killed"
    message = f"The batch of this request was set aside: {_ASIDE.get(code, code)}."
    outcome = Outcome.error(503, code=code, message=message)
    left = journal.lines.left_in(record.id)
    for custom_ids in chunks(left):
        lost = [(custom_id, outcome) for custom_id in custom_ids]
        answer(app, record.lane, lost, batch=record.id)
    journal.batches.revive(record.id)
    journal.tallies.count("rescued:given_up")
    bill = bill_of_refusal(record, left, outcome)
    tally = bill.tally(status="given_up", asked_again=0)
    with journal.batches.lease(record.id) as lease:
        if lease is not None:
            fields = {"note": record.note, **bill.fields()}
            if journal.batches.close(record, lease, tally=tally, **fields) == "CLOSED":
                emit.tell_not_taken(app, record.id, "given_up")
    logger.error(
        "batch %s was set aside, and nobody has retried it in time: its prompts get an error",
        record.id,
        extra={"action": "rescue", "batch": record.id, "lane": record.lane.name},
    )


_ASIDE = {
    "workers_killed": "its steps killed their workers",
    "step_failed": "its steps failed",
    "rows_unusable": "most rows of its files are of no use",
}
_VERBS = {"sealed": "flush", "uploaded": "flush", "submitted": "poll"}
