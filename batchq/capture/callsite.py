"""Where in a body a call is made: the place in its code, and whether others are made beside it."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
from collections.abc import Iterator
from types import FrameType
from typing import NamedTuple

__all__ = ["CallSite", "call_site", "other_coroutines"]

_MACHINERY = frozenset(
    "anyio asyncio batchq concurrent contextlib contextvars httpx httpx2 openai threading".split()
)


class CallSite(NamedTuple):
    """The place in the body's code that makes a call.

    ``key`` tells it apart, with all that led to it; lines count from the head of their function, so
    that a deploy between two runs changes little. ``place`` is for people to read:
    ``shop.tasks.classify, line 42``.
    """

    key: str
    place: str


def call_site() -> CallSite:
    """Where the call that is being made now is made."""
    place, places = "a place outside of the body's code", list[str]()
    for frame in _frames_of_body():
        code, where = frame.f_code, f"{_module(frame)}.{frame.f_code.co_qualname}"
        if not places:
            place = f"{where}, line {frame.f_lineno}"
        places.append(f"{where}+{frame.f_lineno - code.co_firstlineno}")
    key = hashlib.sha256("\n".join(places).encode()).hexdigest()[:16]
    return CallSite(key, place)


def other_coroutines() -> bool:
    """True in a coroutine beside which others run: their calls come in an order of their own."""
    try:
        return len(asyncio.all_tasks()) > 1
    except RuntimeError:
        return False  # No coroutine at all.


def _frames_of_body() -> Iterator[FrameType]:
    """The frames of the body's own code that led to this call, the innermost first."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__") != "batchq.capture.delivery":
        if _module(frame).partition(".")[0] not in _MACHINERY:
            yield frame
        frame = frame.f_back


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
