"""Lengths of time as settings have them: seconds, or a timedelta."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator


def _duration(value: object) -> timedelta | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        value = timedelta(seconds=value)
    return value if isinstance(value, timedelta) else None


def _seconds(value: object) -> timedelta:
    duration = _duration(value)
    if duration is None or duration < timedelta(0):
        raise ValueError("accepted is a number of seconds, or a timedelta, 0 or more")
    return duration


def _some_seconds(value: object) -> timedelta:
    duration = _duration(value)
    if duration is None or duration <= timedelta(0):
        raise ValueError("accepted is a number of seconds, or a timedelta, more than 0")
    return duration


def read_file_life(value: object) -> timedelta | None:
    if value is None:
        return None
    life = _seconds(value)
    if not timedelta(hours=1) <= life <= timedelta(days=30):
        raise ValueError("accepted is 1 hour to 30 days, or None for the provider's own rule")
    return life


def read_seconds_or_none(value: object) -> timedelta | None:
    return None if value is None else _seconds(value)


Duration = Annotated[timedelta, BeforeValidator(_seconds)]
PositiveDuration = Annotated[timedelta, BeforeValidator(_some_seconds)]
