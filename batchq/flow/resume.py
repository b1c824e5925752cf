"""Resume: prompts get their outcomes, and tasks that have all of theirs are delivered again."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from batchq.celery_side.message import publish
from batchq.common.points import point
from batchq.errors import JournalUnreadable
from batchq.flow.mishaps import apart, reason_of
from batchq.journal import KILLS, Journal, Receipt, is_rubbish, journal_of
from batchq.observe import emit
from batchq.prompt import Lane, Outcome, split_id

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["answer", "resume"]

logger = logging.getLogger("batchq.resume")


def answer(
    app: Celery[Any],
    lane: Lane,
    outcomes: Sequence[tuple[str, Outcome]],
    receipts: Mapping[str, Receipt] | None = None,
    *,
    batch: str = "",
) -> list[str]:
    """Give prompts (by custom id) their outcomes and send on each task that has all of its own.

    With a ``batch``, only those that were asked in it. Returns a word for each, see answer.lua.
    """
    if outcomes:
        point("answer.call")
    given = journal_of(app).answers.give(lane, outcomes, receipts, batch=batch)
    if outcomes:
        point("answer.called")
    ready = {
        parts[0]: kept
        for (custom_id, _), (word, kept) in zip(outcomes, given, strict=True)
        if word == "READY" and (parts := split_id(custom_id))
    }
    _send_on(app, _opened(app, ready))
    return [word for word, _ in given]


def resume(app: Celery[Any], task_ids: Sequence[str]) -> None:
    """Deliver tasks again, with the message they came with."""
    _send_on(app, _messages(app, journal_of(app), task_ids))


def _send_on(app: Celery[Any], messages: Mapping[str, bytes | None]) -> None:
    journal = journal_of(app)
    journal.resuming.let_go(task_id for task_id, message in messages.items() if message is None)
    known = {task_id: message for task_id, message in messages.items() if message is not None}
    if known:
        point("resume.publish")
    names = list(known)
    refused = {names[at]: error for at, error in publish(app, known.values()).items()}
    if known:
        point("resume.published")
    journal.resuming.postpone(refused)
    for task_id, error in refused.items():
        if error is not None:
            _count(app, journal, task_id, error)
    # If we die before this record, rescue sends them again; a second delivery ends at its claim.
    sent = [task_id for task_id in known if task_id not in refused]
    journal.resuming.sent(sent)
    journal.tasks.forget_failures(*sent)
    if sent:
        point("resume.recorded")
    logger.info("resumed %d tasks", len(sent), extra={"action": "resume"})


def _count(app: Celery[Any], journal: Journal, task_id: str, error: Exception) -> None:
    """A task's own message cannot be sent. Three times in a row, and somebody has to look at it."""
    why = f"its message could not be sent {KILLS} times, last because of {reason_of(error)}"
    times = journal.tasks.count_failure(task_id, why)
    if times >= KILLS:
        journal.tasks.shelve(task_id)
        emit.tell_unsent_task(app, task_id, why)
    follows = "and is set aside" if times >= KILLS else "and is tried again"
    logger.error(
        "task %s cannot be sent on, %s (%s)",
        *(task_id, follows, reason_of(error)),
        exc_info=error if times == 1 else None,
        extra={"action": "set-aside", "task_id": task_id},
    )


def _messages(
    app: Celery[Any], journal: Journal, task_ids: Sequence[str]
) -> dict[str, bytes | None]:
    """The messages of these tasks, without those that cannot be read: they are tried later."""
    try:
        return dict(zip(task_ids, journal.tasks.messages(task_ids), strict=True))
    except (JournalUnreadable, ResponseError) as error:
        if isinstance(error, ResponseError) and not is_rubbish(error):
            raise
    found: dict[str, bytes | None] = {}
    for task_id in task_ids:
        with apart(app, f"the message of task {task_id}", task_id=task_id):
            journal.resuming.postpone([task_id])
            found[task_id] = journal.tasks.messages([task_id])[0]
    return found


def _opened(app: Celery[Any], kept: Mapping[str, bytes]) -> dict[str, bytes | None]:
    """These messages, without those that cannot be read: they are tried later."""
    journal, found = journal_of(app), dict[str, bytes | None]()
    for task_id, message in kept.items():
        with apart(app, f"the message of task {task_id}", task_id=task_id):
            try:
                found[task_id] = journal.tasks.message(task_id, message)
            except JournalUnreadable:
                found |= _messages(app, journal, [task_id])
    return found
