"""Capture: one delivery of a batched task, from its claim to its park or its end.

claim -> body -> it asked: the questions and the task's own message go to the journal, and the
execution ends without a result (state BATCHED)
-> it ended: once Celery has stored the result, the journal is settled
"""

from __future__ import annotations

import functools
import logging
import traceback
from collections.abc import Callable
from typing import Any

from redis.exceptions import RedisError

from batchq.capture.causes import causes
from batchq.capture.claiming import Delivery, begin, still_ours
from batchq.capture.end_of_run import asked_again_after, refusal
from batchq.capture.parked import end_here
from batchq.capture.parking import park
from batchq.capture.run import OnChanged, Run, note_that_bodies_run_here, running
from batchq.celery_side.message import message_of
from batchq.common.points import point
from batchq.journal import Claim, Entry
from batchq.observe.tracing import traced_run
from batchq.settings.config import settings

__all__ = ["run_body"]

logger = logging.getLogger("batchq.capture")


def run_body(
    task: Any,
    body: functools.partial[Any],
    *,
    label: str,
    strict: bool | None,
    on_changed: OnChanged,
    ask_again_on: tuple[type[BaseException], ...] | None,
) -> Any:
    """Run a batched task's body within its journal; returns what the body returns.

    Raises Parked where the body has asked something, or where this delivery is one too many.
    """
    message = message_of(task)
    delivery, claim = begin(task, message)
    run = _new_run(delivery, claim, label=label, strict=strict, on_changed=on_changed)
    token = delivery.lease.token
    with traced_run(task, claim, journal=delivery.journal, token=token) as traced:
        result, error = _run(run, body)
        delivery.read = run.read
        if not isinstance(error, _ENDS_THE_WORKER):
            body_of = functools.partial(delivery.journal.tasks.body_of, run.task_id)
            error = refusal(run, error, body_of) or error
        traced.ended(run.task_id, run.asked, error)
        if run.asked:
            _let_go_of_locals(error)
            park(delivery, run, message)
            run.asked.clear()
    if delivery.parked:
        if isinstance(error, _ENDS_THE_WORKER):
            raise error
        # Outside of `except`: an Ignore with a context costs Celery a third of its speed.
        end_here(delivery.parked)
    still_ours(delivery)
    if error is not None:
        delivery.ask_again = asked_again_after(run, error, ask_again_on, task)
        raise error
    return result


_ENDS_THE_WORKER = (KeyboardInterrupt, SystemExit)


def _let_go_of_locals(error: BaseException | None) -> None:
    """Free what the frames of a body that waits have: its request, in several forms.

    They and the error are a circle, which lives until Python looks for circles. Where requests have
    megabytes, a worker would hold hundreds of them. Celery does the same with the errors of tasks.
    """
    for one in () if error is None else causes(error):
        traceback.clear_frames(one.__traceback__)


def _new_run(
    delivery: Delivery, claim: Claim, *, label: str, strict: bool | None, on_changed: OnChanged
) -> Run:
    task, journal, token = delivery.task, delivery.journal, delivery.lease.token
    config, task_id = settings(task.app), task.request.id

    def note_live(entry: Entry) -> None:
        try:
            journal.runs.note_live(task_id, token=token, entry=entry)
        except RedisError as failure:
            # The answer is there and paid for, and the SDK would take this for an error of the API.
            logger.warning(
                "the answer to a live call of task %s [%s] could not be written to the journal "
                "(%s): this run has it, the next one makes the call again and pays for it again",
                *(task.name, task_id, failure),
                extra={"action": "capture", "task_id": task_id},
            )

    def note_step(name: str, value: str) -> None:
        journal.runs.note_step(task_id, token=token, name=name, value=value)

    return Run(
        task_id=task_id,
        task_name=task.name,
        settings=config,
        claim=claim,
        label=label,
        strict=config.strict if strict is None else strict,
        on_changed=on_changed,
        note_live=note_live,
        note_step=note_step,
    )


def _run(run: Run, body: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    note_that_bodies_run_here()
    with running(run):
        try:
            point("body.begin")
            return body(), None
        except BaseException as raised:  # noqa: BLE001 a run that has asked waits, however its body ended
            return None, raised
