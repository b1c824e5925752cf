"""What differs between two requests, by its place in them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice, zip_longest
from typing import Any, cast

__all__ = ["differences", "places"]

_TOLD = 3
_NOTHING = "(nothing)"


def places(before: bytes, now: bytes) -> str:
    """Where two request bodies differ, without a word of them: ``messages[0].content, top_p``.

    "" if they do not, or are no JSON.
    """
    try:
        pair = json.loads(before), json.loads(now)
    except ValueError:
        return ""
    keys = [key or "the whole body" for key, *_ in islice(differences(*pair), _TOLD + 1)]
    return ", ".join(keys[:_TOLD]) + (", …" if len(keys) > _TOLD else "")


def differences(one: Any, other: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The keys at which two JSON values differ, each as far in as they go together, and both
    values.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        then, now = cast("dict[str, Any]", one), cast("dict[str, Any]", other)
        for name in {**then, **now}:
            inner = f"{key}.{name}" if key else name
            yield from differences(then.get(name, _NOTHING), now.get(name, _NOTHING), inner)
    elif isinstance(one, list) and isinstance(other, list):
        before: list[Any] = one  # pyright: ignore[reportUnknownVariableType]
        after: list[Any] = other  # pyright: ignore[reportUnknownVariableType]
        pairs = zip_longest(before, after, fillvalue=_NOTHING)
        for place, (left, right) in enumerate(pairs):
            yield from differences(left, right, f"{key}[{place}]")
    elif one != other:
        yield key, one, other
