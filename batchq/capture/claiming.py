"""A delivery begins: it claims its run, or is one too many."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded

from batchq.capture.parked import Parked
from batchq.celery_side.revoke import end_revoked
from batchq.celery_side.started import say_started
from batchq.celery_side.time_limits import hold_soft_limit
from batchq.common.points import point
from batchq.errors import (
    ConfigurationError,
    JournalUnreadable,
    KeyMissing,
    WorkersKilled,
)
from batchq.journal import KILLS, Claim, Journal, journal_of
from batchq.journal.lease import Lease, Renewed, start_keeping
from batchq.settings.config import settings

__all__ = ["Delivery", "begin", "still_ours"]

logger = logging.getLogger("batchq.capture")


@dataclass(eq=False, slots=True, kw_only=True)
class Delivery:
    """One run under way in this process, until Celery has stored its result."""

    task: Any
    journal: Journal
    lease: Lease
    renewed: Renewed
    parked: str = ""
    """The journal's word on its capture, once it has asked."""
    hear_limits: Callable[[], bool] = lambda: False
    """Ends what `hold_soft_limit` began."""
    dead: bytes | None = None
    """The message to keep, where the task fails because its runs killed their workers."""
    ask_again: list[int] = field(default_factory=list[int])
    read: frozenset[int] = frozenset()


def begin(task: Any, message: bytes) -> tuple[Delivery, Claim]:
    """Claim this run for this process, with what the journal knows of its task."""
    if "batchq.flush" not in task.app.tasks:
        raise ConfigurationError(
            f"task {task.name}",
            None,
            "its app has no batchq: call batchq.install(app) where the app is made",
        )
    journal = journal_of(task.app)
    lease = journal.runs.lease(task.request.id, task.name)
    claim: Claim | JournalUnreadable
    try:
        claim = _claim(task, journal, lease, message)
    except KeyMissing as error:
        _wait_for_the_key(task, journal, lease, message, error)
        raise Parked from None
    except JournalUnreadable as error:
        claim = error
    # A limit that came between these would leave a lease that is renewed for ever.
    hear_limits = hold_soft_limit()
    renewed = start_keeping(journal.store, lease, settings(task.app).lease)
    delivery = Delivery(task=task, journal=journal, lease=lease, renewed=renewed)
    # On the request, which Celery keeps until it has stored the result: a second delivery of the
    # same task may run beside this one, in another thread.
    task.request.batchq_delivery = delivery
    if hear_limits():
        raise SoftTimeLimitExceeded
    if isinstance(claim, JournalUnreadable):
        # Here, where the run has begun: it ends as any other that fails.
        raise claim
    if claim.word == "DEAD":
        delivery.dead = message
        raise WorkersKilled(task.name, task.request.id, KILLS)
    say_started(task)
    return delivery, claim


def _wait_for_the_key(
    task: Any, journal: Journal, lease: Lease, message: bytes, error: KeyMissing
) -> None:
    """Leave a task whose answers are closed to this process as it is; rescue sends it again."""
    journal.runs.unclaim(task.request.id, token=lease.token, message=message)
    logger.error(
        "task %s [%s] goes on waiting, for this worker cannot read its answers: %s; rescue sends "
        "it again",
        *(task.name, task.request.id, error),
        extra={"action": "capture", "task_id": task.request.id},
    )


def _claim(task: Any, journal: Journal, lease: Lease, message: bytes) -> Claim:
    """Begin this run, or end this delivery."""
    request = task.request
    claim = None
    patience = time.monotonic() + settings(task.app).lease.total_seconds()
    while claim is None or (claim.word == "ENDING" and time.monotonic() < patience):
        if claim is not None:
            # self.retry and self.replace send the next message before their own run has ended.
            time.sleep(0.02)
        point("claim.call")
        claim = journal.runs.claim(
            request.id,
            token=lease.token,
            nesting=request.replaced_task_nesting or 0,
            retries=request.retries or 0,
        )
        point("claim.called")
    if claim.word in {"CLAIMED", "DEAD"}:
        return claim
    if claim.word == "REVOKED":
        end_revoked(task, token=lease.token, message=message)
    elif claim.word in {"BUSY", "ENDING"}:
        # This delivery is acknowledged now; should the other run die, rescue sends it again.
        point("keep.call")
        journal.runs.keep(request.id, message=message)
        point("keep.called")
    logger.info(
        "a second delivery of task %s [%s] ends here: %s",
        *(task.name, request.id, _WHY[claim.word]),
        extra={"action": "capture", "task_id": request.id},
    )
    raise Parked


_WHY = {
    "BUSY": "it is running elsewhere",
    "ENDING": "the run before it has not ended",
    "WAITING": "its prompts wait for their answers",
    "REVOKED": "it was revoked",
    "DONE": "it has ended already (to run a finished task again, send it under a new id)",
}


def still_ours(delivery: Delivery) -> None:
    """End here, without a result, where another run has taken over while this one was held up."""
    if not delivery.renewed.is_sure():
        delivery.renewed.renew()
        if delivery.renewed.lost:
            raise Parked from None
