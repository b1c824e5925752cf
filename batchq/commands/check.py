"""`check`: is it set up well, and what will go wrong within a day?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import click
import redis
from kombu.exceptions import OperationalError

from batchq.celery_side.placement import is_batched
from batchq.commands import shapes
from batchq.commands.cells import cell, iso
from batchq.commands.checks import Check, checks
from batchq.commands.terminal import Exit, Terminal, command
from batchq.common.seams.queues import queue_of_task, takes_remote_control
from batchq.common.seams.results import result_keys
from batchq.common.seams.tasks import annotated
from batchq.common.words import many, span
from batchq.errors import (
    ConfigurationError,
    ProviderError,
    ProviderUnauthorized,
    StorageAway,
)
from batchq.journal import Journal, journal_of, ping
from batchq.journal.codec import codec_of
from batchq.observe.diagnosis import Seen, look
from batchq.observe.diagnosis.seen import Look, OwnTask, Results, SetUp
from batchq.observe.reading import read
from batchq.provider.client import provider_for
from batchq.settings.config import settings, sources
from batchq.settings.record import PREFIX, Settings

__all__ = ["check"]


@command(needs="app")
@click.option(
    "--skip",
    type=click.Choice(["workers", "provider"]),
    multiple=True,
    help="Do not ask the workers, or the provider.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    default=2.0,
    show_default=True,
    help="Seconds that workers have to answer.",
)
@click.option(
    "--fail-on",
    type=click.Choice(["problem", "warning"]),
    default="warning",
    show_default=True,
    help="From which level on to end with 1.",
)
def check(to: Terminal, *, skip: tuple[str, ...], timeout: float, fail_on: str) -> Exit:
    """Is it set up well, and what will go wrong within a day?

    Looks at settings, Redis, beat, workers, Celery's own settings and the provider. Each
    account is asked for its newest batch, which costs nothing. Ends with 1 where there is a
    warning or a problem, with 3 where Redis is away.
    """
    try:
        config = settings(to.app)
    except ConfigurationError as error:
        wrong = Check(about="settings", level="problem", what=str(error), do="set it right")
        _give(to, None, [wrong])
        return Exit.PROBLEM
    to.app.finalize()
    tasks_error = _import_tasks(to.app)
    steps = [step for name, step in _STEPS.items() if name not in skip]
    seen = Seen(settings=config, set_up=_at_rest(to.app, config, tasks_error))
    with to.progress(len(steps), "check") as done:
        for step in steps:
            seen = step(to.app, seen, timeout)
            done(1)
    found = checks(seen)
    _give(to, _settings(to.app, config), found)
    if seen.redis_error:
        return Exit.AWAY
    failing = {"problem"} if fail_on == "problem" else {"problem", "warning"}
    return Exit.PROBLEM if any(one.level in failing for one in found) else Exit.FINE


# To look


def _import_tasks(app: Any) -> str:
    """Know what a worker knows. Says what went wrong: that is the app's own code."""
    try:
        app.loader.import_default_modules()
    except Exception as error:  # noqa: BLE001 likewise
        return f"{type(error).__name__}: {error}"
    return ""


def _at_rest(app: Any, config: Settings, tasks_error: str = "") -> SetUp:
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


def _at_journal(app: Any, seen: Seen, _timeout: float) -> Seen:
    try:
        ping(app)
        found = look(app, read(app))
        return replace(found, set_up=seen.set_up, storage_error=_storage_error(journal_of(app)))
    except redis.RedisError as error:
        return replace(seen, redis_error=str(error) or type(error).__name__)


def _storage_error(journal: Journal) -> str:
    try:
        journal.bodies.try_out()
    except StorageAway as error:
        return f"the storage {error.where} (batchq_large_bodies) cannot be used: {error.why}"
    except ConfigurationError as error:
        return str(error)
    return ""


def _at_workers(app: Any, seen: Seen, timeout: float) -> Seen:
    if seen.set_up is None or seen.set_up.not_asked:
        return seen
    try:
        told = app.control.inspect(timeout=timeout).active_queues()
    except (OperationalError, redis.RedisError, OSError) as error:
        return replace(seen, workers_error=f"{type(error).__name__}: {error}")
    queues_of = cast("dict[str, list[dict[str, Any]]]", told or {})
    consumers = {
        worker: frozenset(str(queue.get("name")) for queue in queues)
        for worker, queues in queues_of.items()
    }
    return replace(seen, consumers=consumers)


def _at_provider(_app: Any, seen: Seen, _timeout: float) -> Seen:
    config = seen.settings
    return replace(seen, providers={name: _look(config, name) for name in config.accounts})


def _look(config: Settings, name: str) -> Look:
    try:
        return Look(ahead=provider_for(config, name).look())
    except ProviderUnauthorized as error:
        # Without its words: they may show a piece of the key.
        return Look(error=f"its key is refused ({error.status_code})")
    except (ProviderError, ConfigurationError) as error:
        return Look(error=str(error))


_STEPS: Mapping[str, Callable[[Any, Seen, float], Seen]] = {
    "redis": _at_journal,
    "workers": _at_workers,
    "provider": _at_provider,
}


# To tell


def _settings(app: Any, config: Settings) -> list[tuple[str, Any, str]]:
    where, values = sources(app), config.model_dump()
    return [(PREFIX + name, values[name], where[name]) for name in Settings.model_fields]


def _give(to: Terminal, known: list[tuple[str, Any, str]] | None, found: list[Check]) -> None:
    counts = {level: sum(one.level == level for one in found) for level in ("problem", "warning")}
    if to.as_json:
        shape = [
            {"setting": name, "value": value, "source": source}
            for name, value, source in known or []
        ]
        shown = [shapes.finding(one) for one in found]
        to.give(
            {
                "settings": shape,
                "checks": shown,
                "problems": counts["problem"],
                "warnings": counts["warning"],
            }
        )
        return
    if known is not None:
        to.show(["SETTING", "VALUE", "FROM"], ([n, _shown(v), s] for n, v, s in known))
        to.say()
    width = max(len(one.about) for one in found)
    for one in found:
        level = click.style(f"{one.level:8}", fg=_COLORS[one.level])
        since = f" (since {iso(one.since)})" if one.since else ""
        to.say(f"{level} {one.about:{width}}  {cell(one.what)}{since}")
        if one.do:
            to.say(f"{'':8} {'':{width}}    {cell(one.do)}")
    to.say()
    to.say(f"{many(counts['problem'], 'problem')}, {many(counts['warning'], 'warning')}")


_COLORS = {"problem": "red", "warning": "yellow", "info": None, "ok": "green"}


def _shown(value: object) -> object:
    match value:
        case timedelta():
            whole = value >= timedelta(seconds=1) or not value
            return span(value) if whole else f"{value.total_seconds():g} s"
        case dict() | list():
            return ", ".join(map(str, cast("list[object]", value)))
        case _:
            return value
