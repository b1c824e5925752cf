"""Where work that may block is done: on threads of our own, never on Flower's loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import ParamSpec, TypeVar

from batchq.journal import hurried

__all__ = ["PATIENCE", "Away", "begin", "off_the_loop"]

T = TypeVar("T")
P = ParamSpec("P")

PATIENCE = timedelta(seconds=5)
"""How long a page waits for Redis."""

_THREADS = 4


class Away(Exception):
    """Redis, or the broker, did not answer in time."""


async def off_the_loop(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What a function returns that may block; raises Away where that takes too long.

    What had not begun by then never does; what had may still come to its end.
    """
    try:
        work = begin(function, *args, **kwargs)
        return await asyncio.wait_for(work, PATIENCE.total_seconds())
    except TimeoutError:
        raise Away(f"no answer within {PATIENCE.total_seconds():g} seconds") from None


def begin(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
    """Begin what may block; whoever waits for it says for how long."""
    work = partial(function, *args, **kwargs)
    return asyncio.get_running_loop().run_in_executor(_pool, _hurried, work)


def _hurried(work: Callable[[], T]) -> T:
    with hurried(PATIENCE):
        return work()


# Not Flower's own: while Redis is away all of these may be taken, and Flower's workers page
# needs some too.
_pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="batchq-flower")
