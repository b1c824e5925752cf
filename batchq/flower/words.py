"""Figures as people read them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, cast

from batchq.flower import show

__all__ = ["moment", "pretty", "short", "size", "span", "things"]


def things(number: int, thing: str) -> str:
    """``1 prompt``, ``1,200 prompts``; of batches and the like the plural is ``-es``."""
    plural = "es" if thing.endswith(("ch", "s", "x")) else "s"
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}{plural}"


def span(duration: timedelta) -> str:
    """A length of time, a short one too: ``312 ms``, ``2 h 5 min``."""
    milliseconds = round(duration.total_seconds() * 1000)
    return f"{milliseconds} ms" if milliseconds < 1000 else show.duration(duration)


def moment(milliseconds: int, zone: tzinfo = UTC) -> str:
    """A time of Redis's clock, to the second."""
    return datetime.fromtimestamp(milliseconds / 1000, tz=zone).strftime("%Y-%m-%d %H:%M:%S")


def short(number: int) -> str:
    """A large number in three digits: ``1.24 M``; one below ten thousand as it is."""
    if number < 10_000:
        return f"{number:,}"
    amount = float(number)
    for unit in ("k", "M", "G"):
        amount /= 1_000
        if amount < 999.5 or unit == "G":
            break
    digits = 2 if amount < 9.995 else 1 if amount < 99.95 else 0
    return f"{amount:,.{digits}f} {unit}"


def size(number: int) -> str:
    """Bytes, in thousands: ``1.2 MB``."""
    if number < 1_000:
        return f"{number} B"
    amount = float(number)
    for unit in ("kB", "MB", "GB"):
        amount /= 1_000
        if amount < 999.95 or unit == "GB":
            return f"{amount:,.1f} {unit}"
    raise AssertionError("the last unit takes all")


def pretty(body: bytes) -> str:
    """JSON for people to read: indented, lists of numbers on one line. What is none, as it is."""
    text = body.decode(errors="replace")
    try:
        whole = "".join(_lines(json.loads(text), 0))
    except (ValueError, RecursionError):
        return text
    # JSON may hold half of a character, which no page can.
    return whole.encode(errors="replace").decode()


def _lines(value: Any, depth: int) -> Iterator[str]:
    items, ends = _items(value)
    if not items:
        yield _plain(value)
        return
    yield ends[0]
    for number, (name, item) in enumerate(items):
        yield ("," if number else "") + "\n" + "  " * (depth + 1) + name
        yield from _lines(item, depth + 1)
    yield "\n" + "  " * depth + ends[1]


def _items(value: Any) -> tuple[list[tuple[str, Any]], str]:
    """What stands in a value on lines of its own; nothing, where it reads best on one: an embedding
    has thousands of numbers.
    """
    if isinstance(value, dict):
        found = cast("dict[str, Any]", value)
        return [(f"{_plain(name)}: ", item) for name, item in found.items()], "{}"
    if isinstance(value, list):
        some = cast("list[object]", value)
        flat = all(isinstance(one, (int, float)) for one in some)
        return ([] if flat else [("", item) for item in some]), "[]"
    return [], ""


def _plain(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
