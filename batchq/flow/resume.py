"""Resume: prompts get their outcomes, and tasks that have all of theirs are delivered again."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from batchq.journal import journal_of
from batchq.message import publish
from batchq.prompt import Lane, Outcome, split_id

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["answer", "resume"]

logger = logging.getLogger("batchq.resume")


def answer(app: Celery[Any], lane: Lane, outcomes: Sequence[tuple[str, Outcome]]) -> Counter[str]:
    """Give prompts (by custom id) their outcomes and send on each task that has all of its own.

    Returns how many were ANSWERED or READY, ALREADY answered, and UNKNOWN.
    """
    words = journal_of(app).answer(lane, outcomes)
    ready = [
        custom_id for (custom_id, _), word in zip(outcomes, words, strict=True) if word == "READY"
    ]
    resume(app, [parts[0] for custom_id in ready if (parts := split_id(custom_id))])
    return Counter(words)


def resume(app: Celery[Any], task_ids: Sequence[str]) -> None:
    """Deliver tasks again, with the message they came with."""
    journal = journal_of(app)
    messages = journal.messages(task_ids)
    journal.let_go(
        task_id for task_id, message in zip(task_ids, messages, strict=True) if message is None
    )
    publish(app, [message for message in messages if message is not None])
    # If we die before this record, rescue sends them again; a second delivery ends at its claim.
    journal.sent(task_ids)
    logger.info("resumed %d tasks", len(task_ids), extra={"action": "resume"})
