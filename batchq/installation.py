"""`install`: the one call that puts Batchq's tasks, route and schedule on a Celery app."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import WeakSet

import redis
from celery import signals
from celery._state import connect_on_app_finalize

from batchq import flower
from batchq.capture.request import take_requests
from batchq.capture.settling import settle
from batchq.celery_side import message, placement, revoke, stand_in, started, time_limits
from batchq.errors import ConfigurationError, StorageAway
from batchq.flow.own_tasks import put_tasks
from batchq.journal import adoption, journal_of, lease
from batchq.journal.codec import codec_of
from batchq.journal.storage import storage_of
from batchq.notify import step as notices
from batchq.observe.health import refusal, remember
from batchq.settings.config import behind, settings

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["install", "installed_app", "is_installed"]

logger = logging.getLogger("batchq.beat")

AppT = TypeVar("AppT", bound="Celery[Any]")


def install(app: AppT) -> AppT:
    """Put Batchq on ``app``: its tasks, on a queue of their own, and its beat entries.

    Call it once, where the app is made; it returns the app. The entries are added to what the app
    schedules itself, whichever scheduler beat uses. A worker that was not told its queues (``-Q``)
    also consumes Batchq's (``batchq_queue``); one that was, must name it.

    In `celery -A ... flower` it also adds the Batches pages.

    Settings are read when the app is finalized. A worker or beat with a wrong one ends at its
    start and says which; on an app that is finalized already, it is a ConfigurationError here.
    """
    _installed.add(app)
    if flower.is_starting():
        flower.install()
    if cast("Any", app).finalized:
        put_tasks(app)
    else:
        app.on_after_finalize.connect(_when_finalized, weak=False)
    return app


_installed: WeakSet[Any] = WeakSet()


def installed_app() -> Any:
    """The one app of this process that Batchq is installed on.

    Not Celery's current app: that is another one in every thread that has not imported yours.
    """
    apps = list(_installed)
    if len(apps) != 1:
        found = "no app" if not apps else f"{len(apps)} apps"
        raise ConfigurationError(
            "app", None, f"Batchq is installed on {found} in this process: say which is meant"
        )
    return apps[0]


def is_installed(app: Any) -> bool:
    """Whether `install` was called for an app in this process."""
    return behind(app) in _installed


def _when_finalized(sender: Any = None, **_: Any) -> None:
    try:
        put_tasks(sender)
    except ConfigurationError as error:
        # Celery swallows what a signal's receiver raises; see _refuse_to_start.
        logger.error(  # noqa: TRY400 the words say it all
            "batchq is not installed on app %s: %s",
            *(sender.main, error),
            extra={"action": "install"},
        )


def _refuse_to_start(sender: Any = None, signal: Any = None, **_: Any) -> None:
    """Without its settings a worker would run batched tasks only to fail them, and beat nothing.

    On a Redis that may throw away what is in it, they would be paid for and forgotten.
    """
    refused = None
    try:
        if sender.app in _installed:
            put_tasks(sender.app)
            if signal is signals.worker_init:
                codec_of(settings(sender.app))  # A key that is missing is found out here.
                notices.begin(sender.app)  # Likewise URLs.
                storage_of(settings(sender.app))  # Likewise a package.
            refused = refusal(sender.app)
            remember(sender.app)
            if signal is signals.worker_init:
                _try_storage(sender.app)
    except ConfigurationError as error:
        raise SystemExit(f"batchq: {error}") from None
    if refused is not None:
        raise SystemExit(f"batchq: {refused}")


def _try_storage(app: Any) -> None:
    """Say in the log what is wrong with the storage of this app, as this process has it."""
    try:
        journal_of(app).bodies.try_out()
    except StorageAway as error:
        # It may be mounted in a moment; until then each task that needs it says so.
        logger.error("%s", error, extra={"action": "check"})  # noqa: TRY400 the words say it all
    except redis.RedisError:
        return  # It is waited for, by others.


# What Batchq hears of others, all of it. What it puts in their place is in capture/patches.py.

RECEIVERS: tuple[tuple[Any, Callable[..., None]], ...] = (
    # A worker starts: before Celery makes of each task what its pool runs.
    (signals.worker_init, placement.claim_shared),
    (signals.worker_init, started.take_over),
    (signals.worker_init, take_requests),
    (signals.worker_init, revoke.listen),
    (signals.worker_init, _refuse_to_start),
    (signals.beat_init, _refuse_to_start),
    (signals.beat_init, stand_in.note_ticks),
    (signals.beat_embedded_init, stand_in.note_ticks),
    (signals.task_received, message.remember_content_type),
    (signals.task_postrun, settle),
    (signals.task_failure, time_limits.forget_lost),
    (signals.task_revoked, revoke.let_go),
)

AFTER_FORK = (adoption.after_fork, lease.after_fork)


def _hear() -> None:
    for signal, receiver in RECEIVERS:
        signal.connect(receiver, weak=False)
    for hook in AFTER_FORK:
        os.register_at_fork(after_in_child=hook)
    connect_on_app_finalize(placement.claim_shared_when_ready)


_hear()
