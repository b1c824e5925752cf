"""Times of the day and intervals, as Celery's schedules."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from celery.schedules import BaseSchedule, crontab, schedule
from pydantic import ValidationInfo

if TYPE_CHECKING:
    from celery import Celery

    App = Celery[Any]

_CLOCK = re.compile(r"(?:at )?([01]?\d|2[0-3]):([0-5]\d)")
_EVERY = re.compile(r"every (?:([1-9]\d*) )?(hour|minute)s?")
_CRON = re.compile(r"\S+( \S+){4}")
_TIMES = (
    'accepted is "HH:MM", "every N hours", "every N minutes", a cron expression of five fields, '
    "a Celery schedule, or a list of these"
)


def read_schedules(value: object, info: ValidationInfo) -> tuple[BaseSchedule, ...]:
    if value is None:
        return ()
    given = cast(
        "list[object] | tuple[object, ...]", value if isinstance(value, (list, tuple)) else [value]
    )
    app = cast("dict[str, App]", info.context or {}).get("app")
    return tuple(_schedule(item, app) for item in given)


def _schedule(item: object, app: App | None) -> BaseSchedule:
    if isinstance(item, BaseSchedule):
        return item
    if isinstance(item, str):
        text = " ".join(item.split())
        if clock := _CLOCK.fullmatch(text):
            return crontab(hour=int(clock[1]), minute=int(clock[2]), app=app)
        if every := _EVERY.fullmatch(text):
            return _every(int(every[1] or 1), every[2], app)
        if _CRON.fullmatch(text):
            return _crontab(text, app)
    raise ValueError(_TIMES)


def _every(number: int, unit: str, app: App | None) -> BaseSchedule:
    # By the wall clock where that is even: a beat that restarts more often than
    # the interval would otherwise start counting anew each time and never fire.
    if unit == "hour" and 24 % number == 0:
        return crontab(minute=0, hour=f"*/{number}", app=app)
    if unit == "minute" and 60 % number == 0:
        return crontab(minute=f"*/{number}", app=app)
    return schedule(timedelta(**{f"{unit}s": number}), app=app)


def _crontab(text: str, app: App | None) -> BaseSchedule:
    minute, hour, day_of_month, month_of_year, day_of_week = text.split()
    try:
        return crontab(minute, hour, day_of_week, day_of_month, month_of_year, app=app)
    except Exception as error:  # Celery's parser raises ValueError, ParseException and KeyError.
        raise ValueError(_TIMES) from error
