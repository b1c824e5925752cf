"""A run has asked: its questions and the task's own message go to the journal."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded
from redis.exceptions import ClusterCrossSlotError, NoPermissionError

from batchq.capture.claiming import Delivery
from batchq.capture.parked import BATCHED
from batchq.capture.run import Run
from batchq.celery_side.chords import groups_of, keep_groups
from batchq.celery_side.revoke import end_revoked, stamps_of
from batchq.celery_side.time_limits import hold_soft_limit
from batchq.common.points import point
from batchq.common.seams.results import ignores_result
from batchq.common.seams.states import RedisState, redis_state
from batchq.flow.adopt import reuse_asked
from batchq.settings.config import settings

__all__ = ["park"]

logger = logging.getLogger("batchq.capture")


def park(delivery: Delivery, run: Run, message: bytes) -> None:
    """End the execution without a result, in an order that a crash between two steps does not hurt.

    A late BATCHED would overwrite a final state. So the journal's script writes it, where results
    are kept on the same server; elsewhere it goes first, and should we die before the journal is
    written, the message is delivered again, or the task is lost as any Celery task.
    """
    task = delivery.task
    # The body has ended in time. A limit that fails the task now would leave its questions behind,
    # and their answers would run it again.
    delivery.hear_limits = hold_soft_limit()
    point("capture.state")
    _tie(delivery)
    word = _write_down(delivery, run, message)
    point("capture.called")
    delivery.parked = word
    if word == "ADOPTED":
        reuse_asked(task.app, run.asked)
    if word == "REVOKED":
        end_revoked(task, token=delivery.lease.token, message=message)
    logger.info(
        "task %s [%s] asked %d prompts in its round %d: %s",
        *(task.name, run.task_id, len(run.asked), run.round + 1, word),
        extra={"action": "capture", "task_id": run.task_id},
    )


def _write_down(delivery: Delivery, run: Run, message: bytes) -> str:
    """Let Celery and the journal know what the run has asked; returns the journal's word."""
    task = delivery.task
    if not ignores_result(task):
        meta = {"prompts": len(run.asked), "lanes": sorted({p.lane.name for p in run.asked})}
        if (state := _state_for_script(task, meta)) is not None:
            # One server may be a Cluster all the same, where a script's keys are all of one slot.
            # Or our user may not touch the key of a result.
            with suppress(ClusterCrossSlotError, NoPermissionError):
                return _capture(delivery, run, message, state)
        _try_to_store(task, meta)
    return _capture(delivery, run, message, None)


def _state_for_script(task: Any, meta: dict[str, Any]) -> RedisState | None:
    """BATCHED, for the journal's script to write; None where results are kept elsewhere, or are
    not written as Celery does it.
    """
    try:
        state = redis_state(task, BATCHED, meta)
    except (SoftTimeLimitExceeded, MemoryError):
        raise
    except Exception:  # noqa: BLE001 the backend meets it again, and it is told then
        return None
    same = state is not None and settings(task.app).link.is_server_of(state.parameters)
    return state if same else None


def _try_to_store(task: Any, meta: dict[str, Any]) -> None:
    """Say that a task is BATCHED: no task fails for want of that."""
    try:
        task.update_state(state=BATCHED, meta=meta)
    except (SoftTimeLimitExceeded, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 a backend's, of any kind
        logger.warning(
            "task %s [%s] waits for its answers, but its state BATCHED could not be stored (%s)",
            *(task.name, task.request.id, type(error).__name__),
            extra={"action": "capture", "task_id": task.request.id},
        )


def _capture(delivery: Delivery, run: Run, message: bytes, state: RedisState | None) -> str:
    return delivery.journal.runs.capture(
        run.task_id,
        token=delivery.lease.token,
        message=message,
        prompts=run.asked,
        next_number=run.next_number,
        name=delivery.task.name,
        read=run.read,
        state=state,
    )


def _tie(delivery: Delivery) -> None:
    """Write down what of Celery's is to live on while the task waits, and let it."""
    request = delivery.task.request
    groups, stamps = groups_of(request), stamps_of(request)
    if groups or stamps:
        delivery.journal.chords.tie(
            request.id, token=delivery.lease.token, groups=groups, stamps=stamps
        )
        keep_groups(delivery.task.app, groups)
