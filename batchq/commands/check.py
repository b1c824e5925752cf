"""`check`: is it set up well, and what will go wrong within a day?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import click
import redis
from kombu.exceptions import OperationalError

from batchq.commands import shapes
from batchq.commands.cells import cell, iso
from batchq.commands.checks import Check, checks
from batchq.commands.set_up import at_rest, import_tasks
from batchq.commands.terminal import Exit, Terminal, command
from batchq.common.words import many, span
from batchq.errors import (
    ConfigurationError,
    ProviderError,
    ProviderUnauthorized,
    StorageAway,
)
from batchq.journal import Journal, journal_of, ping
from batchq.observe.diagnosis import Seen, look
from batchq.observe.diagnosis.seen import Look
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
    tasks_error = import_tasks(to.app)
    steps = [step for name, step in _STEPS.items() if name not in skip]
    seen = Seen(settings=config, set_up=at_rest(to.app, config, tasks_error))
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
