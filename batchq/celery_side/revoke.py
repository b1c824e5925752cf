"""Revoke: a task that waits for its answers is revoked at once, and stays so.

Celery's workers remember a revoke in their memory, and act on it when the task is delivered. A task
that waits in the journal is with no worker. So the first worker that gets the command revokes it in
the journal, and then says so as Celery would at its delivery: result, chord, event and signal.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from celery import signals
from redis.exceptions import RedisError

from batchq.celery_side.message import request_of
from batchq.common.points import point
from batchq.common.seams.revokes import intercept_revokes, listed
from batchq.common.seams.tasks import task_stack
from batchq.journal import Journal, chunks, journal_of

__all__ = ["end_revoked", "let_go", "listen", "revoke", "revoke_again", "stamps_of"]

logger = logging.getLogger("batchq.revoke")


def revoke(
    app: Any, task_ids: Iterable[str], *, hostname: str | None = None, only_waiting: bool = False
) -> set[str]:
    """Revoke those of these tasks that wait or are on their way back.

    Returns the tasks whose revoke the journal remembers from now on. The others are Celery's: they
    are not known here, have ended, or run; one that runs is revoked when it asks.
    """
    journal = journal_of(app)
    remembered: set[str] = set()
    for some in chunks(task_ids):
        for task_id in journal.tasks.known(some):
            try:
                if _revoke(app, journal, task_id, hostname=hostname, only_waiting=only_waiting):
                    remembered.add(task_id)
            except Exception:
                # Once it is revoked in the journal, rescue tells Celery in a moment.
                logger.exception(
                    "the revoke of task %s has failed half-way; where the journal has it rescue "
                    "goes on with it, else revoke the task again",
                    task_id,
                    extra={"action": "revoke", "task_id": task_id},
                )
    return remembered


def end_revoked(task: Any, *, token: str, message: bytes) -> None:
    """End the current delivery of a task that was revoked while it, or one before it, ran."""
    _revoke(
        task.app,
        journal_of(task.app),
        task.request.id,
        hostname=task.request.hostname,
        token=token,
        message=message,
    )


def _revoke(
    app: Any,
    journal: Journal,
    task_id: str,
    *,
    hostname: str | None,
    only_waiting: bool = False,
    token: str | None = None,
    message: bytes = b"",
) -> bool:
    """True where the journal remembers it."""
    token = journal.runs.lease(task_id).token if token is None else token
    point("revoke.call")
    revoked = journal.revocations.revoke(
        task_id, token=token, message=message, only_waiting=only_waiting
    )
    if revoked.word == "REVOKED":
        point("revoke.called")
        _tell(app, task_id, revoked.message, hostname)
        point("revoke.told")
        journal.revocations.let_go(task_id, token=token)
        point("revoke.said")
    return revoked.word in {"REVOKED", "ALREADY"}


def _tell(app: Any, task_id: str, message: bytes, hostname: str | None) -> None:
    """Say that a task is revoked, as Celery's worker does of one that it discards."""
    request = request_of(app, message, hostname=hostname)
    task = app.tasks.get(request.task)
    if task is None:
        # Another service shares the journal. Its chords are kept in the same place, most likely.
        app.backend.mark_as_revoked(task_id, "revoked", request=request)
        return
    request.batchq_told = True
    task.request_stack.push(request)
    try:
        if task.send_events:
            task.send_event(
                "task-revoked", retry=False, terminated=False, signum=None, expired=False
            )
        task.backend.mark_as_revoked(
            task_id,
            "revoked",
            request=request,
            store_result=not request.ignore_result or task.store_errors_even_if_ignored,
        )
        signals.task_revoked.send(
            sender=task, request=request, terminated=False, signum=None, expired=False
        )
    finally:
        task.request_stack.pop()
    logger.info(
        "task %s [%s] is revoked",
        *(task.name, task_id),
        extra={"action": "revoke", "task_id": task_id},
    )


# What Celery says itself


def let_go(sender: Any = None, request: Any = None, **how: Any) -> None:
    """Celery has discarded a delivery, or killed one that ran: nobody waits for its answers."""
    if sender is None or request is None or getattr(request, "batchq_told", False):
        return
    if "batchq.flush" not in sender.app.tasks:
        return
    try:
        journal = journal_of(sender.app)
        if journal.tasks.known([request.id]):
            token = journal.runs.lease(request.id).token
            journal.revocations.let_go(request.id, token=token, alive=not how.get("terminated"))
    except RedisError as error:
        logger.warning(
            "task %s is revoked, but the journal could not be told (%s): its prompts may still be "
            "sent and paid for; revoke it again",
            *(request.id, error),
            extra={"action": "revoke", "task_id": request.id},
        )


# The commands that come to a worker


def listen(**_: Any) -> None:
    """A worker starts: its main process asks here first, when it is told to revoke."""
    intercept_revokes(_commanded, _commanded_by_stamps)


def _commanded(app: Any, task_ids: set[str], hostname: str) -> set[str]:
    """What `revoke` and `terminate` are to leave to us."""
    if "batchq.flush" not in app.tasks:
        return set()
    try:
        return revoke(app, task_ids, hostname=hostname)
    except RedisError as error:
        _say_out_of_reach(error)
        return set()


def _commanded_by_stamps(app: Any, stamps: Mapping[str, Iterable[str]], hostname: str) -> None:
    """`revoke_by_stamped_headers`. Workers discard what has these stamps and is under way."""
    if "batchq.flush" not in app.tasks:
        return
    try:
        stamped = journal_of(app).revocations.stamped(stamps)
        revoke(app, stamped, hostname=hostname, only_waiting=True)
    except RedisError as error:
        _say_out_of_reach(error)


def _say_out_of_reach(error: RedisError) -> None:
    logger.warning(
        "a revoke could not be written to the journal (%s): workers that heard it discard the "
        "task when it comes back, and its prompts are paid for all the same; revoke it again",
        error,
        extra={"action": "revoke"},
    )


def stamps_of(request: Any) -> dict[str, list[str]]:
    """The stamps of a task by which it may be revoked."""
    stamps: Mapping[str, Any] = request.stamps or {}
    found = {name: stamps.get(name) for name in request.stamped_headers or ()}
    return {name: list(map(str, listed(value))) for name, value in found.items()}


def revoke_again(app: Any, task_ids: Iterable[str]) -> None:
    """Finish revokes that somebody began."""
    stack = task_stack()
    revoke(app, task_ids, hostname=stack[-1].request.hostname if stack else None)
