"""Where in a body a call is made: the place in its code, and whether others are made beside it."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
from collections.abc import Iterator
from types import FrameType

__all__ = ["call_site", "frames_of_body", "other_coroutines", "strand"]


def other_coroutines() -> bool:
    """True in a coroutine beside which others run: their calls come in an order of their own."""
    try:
        return len(asyncio.all_tasks()) > 1
    except RuntimeError:
        return False  # No coroutine at all.


def strand() -> str:
    """Which of the body's coroutines this is, by the order in which they were made.

    They come to their calls in any order. "" where their names do not say it.
    """
    numbers = [_number(task) for task in asyncio.all_tasks()]
    mine = _number(asyncio.current_task())
    return "" if mine < 0 or min(numbers) < 0 else str(mine - min(numbers))


def _number(task: asyncio.Task[object] | None) -> int:
    """Asyncio numbers its tasks as they are made, unless the body names them itself."""
    word, _, number = ("" if task is None else task.get_name()).partition("-")
    return int(number) if word == "Task" and number.isdecimal() else -1


_MACHINERY = frozenset(
    "anyio asyncio batchq concurrent contextlib contextvars httpx httpx2 openai threading".split()
)


def frames_of_body() -> Iterator[FrameType]:
    """The frames of the body's own code that led to this call, the innermost first."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__") != "batchq.flow.capture":
        if _module(frame).partition(".")[0] not in _MACHINERY:
            yield frame
        frame = frame.f_back


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def call_site() -> str:
    """The place in the body's code that makes this call.

    Lines count from the head of their function, so that a deploy between two runs changes little.
    """
    places: list[str] = []
    for frame in frames_of_body():
        code = frame.f_code
        places.append(f"{_module(frame)}.{code.co_qualname}+{frame.f_lineno - code.co_firstlineno}")
    return hashlib.sha256("\n".join(places).encode()).hexdigest()[:16]
