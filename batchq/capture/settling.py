"""A run is over, and Celery has stored what came of it: the journal may let go."""

from __future__ import annotations

import logging
from typing import Any

from celery.exceptions import Reject
from celery.states import IGNORED, REJECTED
from kombu.exceptions import OperationalError
from redis.exceptions import ConnectionError as RedisConnectionError

from batchq.capture.claiming import Delivery
from batchq.capture.parked import BATCHED
from batchq.common.points import point
from batchq.common.seams.results import ignores_result
from batchq.journal.lease import stop_keeping
from batchq.observe import emit

__all__ = ["settle"]

logger = logging.getLogger("batchq.capture")


def settle(
    task: Any = None, task_id: str = "", state: str | None = None, retval: Any = None, **_: Any
) -> None:
    """Celery has stored the result and sent what follows from it: the journal may let go."""
    delivery: Delivery | None = task.request.__dict__.pop("batchq_delivery", None)
    if delivery is None:
        return
    delivery.hear_limits()
    stop_keeping(delivery.renewed)
    if delivery.parked:
        return
    if _has_lost_its_retry(retval):
        # Nobody else has it any more. Its lease ends, and rescue finds a run that died.
        logger.warning(
            "task %s [%s] could not send its retry, for the broker is away; rescue runs it again "
            "once its lease has ended",
            *(task.name, task_id),
            extra={"action": "capture", "task_id": task_id},
        )
        return
    if state in _WITHOUT_RESULT:
        _waits_no_more(task, task_id)
    if delivery.dead is not None and state != "RETRY":
        point("bury.call")
        word = delivery.journal.runs.bury(
            task_id, token=delivery.lease.token, message=delivery.dead, state=state or "IGNORED"
        )
        point("bury.called")
        if word == "BURIED":
            emit.tell_dead_task(task.app, task_id, task.name)
        return
    point("settle.call")
    delivery.journal.runs.settle(
        task_id,
        token=delivery.lease.token,
        state=state or "IGNORED",
        final=state != "RETRY",
        ask_again=delivery.ask_again,
        read=delivery.read,
    )
    point("settle.called")


_WITHOUT_RESULT = {IGNORED, REJECTED}


def _has_lost_its_retry(retval: Any) -> bool:
    """True where the broker was away when Celery sent a retry: it rejects the task for that."""
    away = (OperationalError, RedisConnectionError, OSError)
    if not isinstance(retval, Reject):
        return False
    rejected: Any = retval
    return isinstance(rejected.reason, away) and not rejected.requeue


def _waits_no_more(task: Any, task_id: str) -> None:
    """A body that raised Ignore or Reject leaves its task without a result, but not BATCHED."""
    result = task.AsyncResult(task_id)
    try:
        if not ignores_result(task) and result.state == BATCHED:
            result.forget()
    except NotImplementedError:
        return  # This backend keeps no states.
