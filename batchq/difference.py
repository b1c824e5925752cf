"""What differs between two requests, by its place in them: none of their words is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

__all__ = ["difference"]

_TOLD = 3
_NOTHING = object()


def difference(before: bytes, now: bytes) -> str:
    """Where two request bodies differ: ``messages[0].content, temperature``; "" if they do not."""
    try:
        old, new = (dict(_leaves(json.loads(body), "")) for body in (before, now))
    except ValueError:
        return ""
    places = [at for at in {**old, **new} if old.get(at, _NOTHING) != new.get(at, _NOTHING)]
    return ", ".join(places[:_TOLD]) + (", …" if len(places) > _TOLD else "")


def _leaves(value: Any, at: str) -> Iterator[tuple[str, Any]]:
    """What a JSON value is made of, each part under its place."""
    if isinstance(value, dict) and value:
        for key, inner in cast("dict[str, Any]", value).items():
            yield from _leaves(inner, f"{at}.{key}" if at else key)
    elif isinstance(value, list) and value:
        items: list[Any] = value  # pyright: ignore[reportUnknownVariableType]
        for number, inner in enumerate(items):
            yield from _leaves(inner, f"{at}[{number}]")
    else:
        yield at, value
