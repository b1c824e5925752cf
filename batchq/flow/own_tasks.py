"""Batchq's own Celery tasks: on a queue of their own, with beat's entries."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from batchq.celery_side.stand_in import StandIn
from batchq.common.seams.queues import add_queue, unrouted
from batchq.notify import step as notices
from batchq.settings.config import settings

__all__ = ["put_tasks"]


def put_tasks(app: Any) -> None:
    """Give ``app`` the tasks of the journey, once. Raises ConfigurationError."""
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
