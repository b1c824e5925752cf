"""`install`: the one call that puts Batchq's tasks, route and schedule on a Celery app."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import WeakSet

import redis
from celery import signals

from batchq import flower
from batchq.celery_side.stand_in import StandIn
from batchq.common.seams.queues import add_queue, unrouted
from batchq.errors import ConfigurationError, StorageAway
from batchq.journal import journal_of
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
        _put_on(app)
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
        _put_on(sender)
    except ConfigurationError as error:
        # Celery swallows what a signal's receiver raises; see _refuse_to_start.
        logger.error(  # noqa: TRY400 the words say it all
            "batchq is not installed on app %s: %s",
            *(sender.main, error),
            extra={"action": "install"},
        )


@signals.worker_init.connect(weak=False)
@signals.beat_init.connect(weak=False)
def _refuse_to_start(sender: Any = None, signal: Any = None, **_: Any) -> None:
    """Without its settings a worker would run batched tasks only to fail them, and beat nothing.

    On a Redis that may throw away what is in it, they would be paid for and forgotten.
    """
    refused = None
    try:
        if sender.app in _installed:
            _put_on(sender.app)
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


def _put_on(app: Any) -> None:
    if "batchq.flush" in app.tasks:
        return
    # Here, so that `import batchq` in a web process does not load the journey.
    from batchq.flow.fetch import fetch
    from batchq.flow.flush import flush
    from batchq.flow.poll import poll
    from batchq.flow.rescue import rescue
    from batchq.flow.resume import resume

    config = settings(app)
    add_queue(app, config.queue)
    for step in (flush, poll, fetch, resume, rescue):
        _task(app, step, config.queue, _OPTIONS)
    _task(app, notices.notify, config.queue, _OPTIONS | notices.RETRIES)
    app.steps["worker"].add(StandIn)
    tick = config.tick.total_seconds()
    # A tick that nobody took is worth nothing when the next one is there.
    for verb in ("flush", "rescue"):
        signature = app.tasks[f"batchq.{verb}"].s()
        app.add_periodic_task(tick, signature, name=f"batchq.{verb}", expires=6 * tick)
    for number, schedule in enumerate(config.flush_at, 1):
        signature = app.tasks["batchq.flush"].s(everything=True)
        app.add_periodic_task(schedule, signature, name=f"batchq.flush-at-{number}")


def _task(app: Any, step: Callable[..., None], queue: str, options: dict[str, Any]) -> None:
    from batchq.flow.mishaps import contained

    def run(self: Any, *args: Any, **kwargs: Any) -> None:
        with contained(step.__name__):
            step(self.app, *args, **kwargs)

    base: Any = app.Task

    class Step(base):  # type: ignore[misc]
        # The attribute ``queue`` of a task is deprecated in Celery 5.7.
        abstract = True

        @classmethod
        def annotate(cls) -> None:
            super().annotate()  # pyright: ignore[reportUnknownMemberType]  # the base is the app's
            # What the app says of "*" is meant for its own tasks.
            for option, value in (options | _SAID_AT_EACH_CALL).items():
                setattr(cls, option, value)

        def apply_async(self, *args: Any, **said: Any) -> Any:
            # Past the routes of the app: what they say of "*" is meant for its own tasks too.
            sent = {"queue": queue, "router": unrouted(self.app)} | said
            return base.apply_async(self, *args, **sent)

    run.__doc__ = step.__doc__
    app.task(
        run,
        base=Step,
        name=f"batchq.{step.__name__}",
        bind=True,
        shared=False,
        typing=False,
        **options,
    )


_LONGEST_STEP = timedelta(hours=6)
"""Longer than any upload or download that still moves. The limits of an app's own tasks, a minute
perhaps, would end a large one at each try, for ever."""

_OPTIONS: dict[str, Any] = {
    "serializer": "json",
    "ignore_result": True,
    # Repeating a step is harmless, losing it costs a tick.
    "acks_late": True,
    "reject_on_worker_lost": True,
    # Not Celery's None: that is the app's own limit.
    "soft_time_limit": _LONGEST_STEP.total_seconds(),
    "time_limit": _LONGEST_STEP.total_seconds() + 60,
    "rate_limit": None,
    # A step that fails is not kept for later, and one that is killed comes again.
    "acks_on_failure_or_timeout": True,
    # What it did is in the journal, and what it did not is due again by itself.
    "autoretry_for": (),
    "store_errors_even_if_ignored": False,
    "track_started": False,
}
"""What holds for our steps, whatever the app says of its tasks."""

_SAID_AT_EACH_CALL = dict.fromkeys(("exchange", "routing_key", "expires", "priority"))
"""Where a step goes, and for how long its message stands. Celery 5.7 deprecates most of these as
options of a task, so they are none: what the app says of "*" is taken back."""
