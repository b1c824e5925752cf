"""How figures are written for people. Templates have this module as ``show``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from html import escape
from urllib.parse import urlencode

from batchq.common.words import UNITS, dollars, in_units
from batchq.money.cost import Cost

__all__ = [
    "clock",
    "cost",
    "count",
    "dollars",
    "duration",
    "marked",
    "since",
    "until",
    "with_query",
]


def count(number: int) -> str:
    return f"{number:,}"


def duration(span: timedelta | float) -> str:
    """A length of time as long as it is of interest: ``3 h 12 min``, ``25 min``, ``4 min 5 s``.

    A number is milliseconds.
    """
    # batchq.js says it alike.
    seconds = span.total_seconds() if isinstance(span, timedelta) else span / 1000
    whole = round(seconds)
    return in_units(whole, UNITS if whole < _LONG else UNITS[:-1])


_LONG = 600
"""Seconds from which on nobody asks for the seconds."""


def clock(milliseconds: int) -> str:
    """A moment of Redis's clock."""
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def since(milliseconds: int) -> str:
    """HTML: how long ago a moment was, which a script keeps up to date; without one, the moment."""
    return _time("since", milliseconds)


def until(milliseconds: int) -> str:
    """HTML: in how long a moment will be."""
    return _time("until", milliseconds)


def marked(text: str) -> str:
    """HTML: a sentence, in which what stands in backticks is code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))


def _time(kind: str, milliseconds: int) -> str:
    text = clock(milliseconds)
    return f'<time data-{kind}="{milliseconds}" title="{text}">{text}</time>'


cost = Cost.of


def with_query(path: str, query: Mapping[str, str]) -> str:
    """A path with what is not empty of a query."""
    known = {name: value for name, value in query.items() if value}
    return f"{path}?{urlencode(known)}" if known else path
