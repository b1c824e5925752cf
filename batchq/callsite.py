"""Where in a body a call is made: the place in its code, and whether others are made beside it."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
from collections.abc import Iterator
from types import FrameType

__all__ = ["call_site", "other_coroutines", "place_of_call"]

_MACHINERY = frozenset(
    "anyio asyncio batchq concurrent contextlib contextvars httpx httpx2 openai threading".split()
)


def call_site() -> str:
    """The place in the body's code that makes this call, with all that led to it.

    Lines count from the head of their function, so that a deploy between two runs changes little.
    """
    places: list[str] = []
    for frame in _frames_of_body():
        code = frame.f_code
        places.append(f"{_module(frame)}.{code.co_qualname}+{frame.f_lineno - code.co_firstlineno}")
    return hashlib.sha256("\n".join(places).encode()).hexdigest()[:16]


def place_of_call() -> str:
    """The same for people to read: ``shop.tasks.classify, line 42``."""
    for frame in _frames_of_body():
        return f"{_module(frame)}.{frame.f_code.co_qualname}, line {frame.f_lineno}"
    return "a place outside of the body's code"


def other_coroutines() -> bool:
    """True in a coroutine beside which others run: their calls come in an order of their own."""
    try:
        return len(asyncio.all_tasks()) > 1
    except RuntimeError:
        return False  # No coroutine at all.


def _frames_of_body() -> Iterator[FrameType]:
    """The frames of the body's own code that led to this call, the innermost first."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__") != "batchq.flow.capture":
        if _module(frame).partition(".")[0] not in _MACHINERY:
            yield frame
        frame = frame.f_back


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
