"""One value of a provider's answer at a time: what it is, or None where it is something else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

Json = dict[str, Any]


def object_in(value: object) -> Json:
    return cast("Json", value) if isinstance(value, dict) else {}


def objects_in(value: object) -> list[Json]:
    items = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("Json", item) for item in items if isinstance(item, dict)]


def text_in(value: object) -> str | None:
    return sound(value) if isinstance(value, str) and value else None


def sound(text: str) -> str:
    """A text that may be written anywhere: half an emoji cannot be, as UTF-8."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def whole_in(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return int(value)
    except (ValueError, OverflowError):
        return None


def time_in(value: object) -> datetime | None:
    """A moment, in seconds since 1970; some servers write milliseconds, or a date."""
    seconds = whole_in(value)
    try:
        if seconds is None:
            told = datetime.fromisoformat(value) if isinstance(value, str) else None
            return told.replace(tzinfo=told.tzinfo or UTC) if told else None
        return datetime.fromtimestamp(seconds if seconds < _IN_MS else seconds / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None


_IN_MS = 32_503_680_000
"""The year 3000, in seconds: a later time is one in milliseconds."""
