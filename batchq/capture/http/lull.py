"""Coroutines of one body share a round: the first to ask waits until those beside it have asked."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from batchq.capture.callsite import other_coroutines
from batchq.capture.run import Run

__all__ = ["let_others_ask"]

_LULL = 0.02
_PATIENCE = 1.0
_WAITING_ROOMS = frozenset(room.__file__ for room in (asyncio.locks, asyncio.queues))


async def let_others_ask(run: Run) -> None:
    """Wait until the coroutines beside this one have made their calls, so that they share a round.

    What ends a TaskGroup, and often a gather, ends those that have not come to their call yet.
    """
    if run.others_wait_for_us or not other_coroutines():
        return
    # A turn for each, so that all of them have begun.
    await asyncio.sleep(0)
    until = time.monotonic() + _PATIENCE
    asked = 0
    while asked < len(run.asked) and time.monotonic() < until:
        run.others_wait_for_us |= any(map(_waits_for_another, asyncio.all_tasks()))
        if run.others_wait_for_us:
            return
        asked = len(run.asked)
        await asyncio.sleep(_LULL)


def _waits_for_another(task: asyncio.Task[Any]) -> bool:
    """True for a coroutine at a semaphore, a lock or a queue: it goes on when one of us ends."""
    inner: Any = task.get_coro()
    while getattr(inner, "cr_await", None) is not None and hasattr(inner.cr_await, "cr_code"):
        inner = inner.cr_await
    code = getattr(inner, "cr_code", None)
    return code is not None and code.co_filename in _WAITING_ROOMS
