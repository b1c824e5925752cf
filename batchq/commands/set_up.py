"""How an app is set up, as `check` sees it without asking anybody."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from batchq.celery_side.placement import is_batched
from batchq.common.seams.queues import queue_of_task, takes_remote_control
from batchq.common.seams.results import result_keys
from batchq.common.seams.tasks import annotated
from batchq.errors import ConfigurationError
from batchq.journal.codec import codec_of
from batchq.observe.diagnosis.seen import OwnTask, Results, SetUp
from batchq.settings.record import Settings

__all__ = ["at_rest", "import_tasks"]


def import_tasks(app: Any) -> str:
    """Know what a worker knows. Says what went wrong: that is the app's own code."""
    try:
        app.loader.import_default_modules()
    except Exception as error:  # noqa: BLE001 likewise
        return f"{type(error).__name__}: {error}"
    return ""


def at_rest(app: Any, config: Settings, tasks_error: str = "") -> SetUp:
    """What can be seen without asking anybody."""
    transport = app.connection_for_write().transport_cls
    return SetUp(
        conf=app.conf,
        schedule=app.conf.beat_schedule,
        results=_results(app),
        broker=transport,
        batched=tuple(_own(app, task) for _, task in sorted(app.tasks.items()) if is_batched(task)),
        tasks_error=tasks_error,
        not_asked=_not_asked(app, transport),
        key_error=_key_error(config),
    )


def _own(app: Any, task: Any) -> OwnTask:
    conf = app.conf
    said_by = dict.fromkeys(annotated(task), "task_annotations")
    for option, setting in _OF_ALL_TASKS.items():
        own = getattr(task, option)
        if own is None or (option not in said_by and own and own == conf[setting]):
            said_by[option] = setting
    return OwnTask(
        name=task.name,
        queue=queue_of_task(app, task),
        soft_time_limit=_seconds(task.soft_time_limit or conf.task_soft_time_limit),
        time_limit=_seconds(task.time_limit or conf.task_time_limit),
        rate_limit=str(task.rate_limit or ""),
        acks_late=bool(task.acks_late),
        reject_on_worker_lost=bool(task.reject_on_worker_lost),
        ignore_result=bool(task.ignore_result),
        said_by=said_by,
    )


_OF_ALL_TASKS = {
    "soft_time_limit": "task_soft_time_limit",
    "time_limit": "task_time_limit",
    "rate_limit": "task_default_rate_limit",
    "ignore_result": "task_ignore_result",
}
"""Options of a task, and the settings that hold where it has none."""


def _seconds(limit: Any) -> float:
    return float(limit.total_seconds() if isinstance(limit, timedelta) else limit or 0)


def _not_asked(app: Any, transport: str) -> str:
    if not app.conf.worker_enable_remote_control:
        return "worker_enable_remote_control is off"
    if not takes_remote_control(app):
        return f"the broker ({transport}) has no remote control"
    return ""


def _results(app: Any) -> Results | None:
    keys = result_keys(app)
    if keys is None:
        return None
    kept = keys.lasting[0] if keys.in_redis else int(app.backend.expires or 0)
    asks_every = float(app.conf.result_chord_retry_interval)
    return Results(
        in_redis=keys.in_redis, expire=kept, chords_expire=keys.lasting[1], asks_every=asks_every
    )


def _key_error(config: Settings) -> str:
    try:
        codec_of(config)
    except ConfigurationError as error:
        return str(error)
    return ""
