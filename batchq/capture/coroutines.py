"""Async bodies: run to their end in an event loop of their own, which is closed behind them.

A soft time limit is raised where such a body runs or waits, as in any other, and never inside the
machinery of its loop.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import signal
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import Context, copy_context
from types import FrameType
from typing import Any, ParamSpec, TypeVar, cast

from batchq.capture.connections import own_connections
from batchq.common.seams.revokes import SOFT_LIMIT_SIGNAL
from batchq.common.seams.tasks import as_current_task, current_request, task_stack

__all__ = ["awaited"]

P = ParamSpec("P")
T = TypeVar("T")


def awaited(fun: Callable[P, Any]) -> Callable[P, Any]:
    """The function, called as a task's body: where it returns a coroutine, what that returns.

    By what it returns and not by how it is defined: decorators of any kind may stand in between.
    """

    @functools.wraps(fun)
    def whole(*args: P.args, **kwargs: P.kwargs) -> Any:
        result = fun(*args, **kwargs)
        return _finish(result) if inspect.isawaitable(result) else result

    return whole


def _finish(awaitable: Awaitable[T]) -> T:
    """What the awaitable comes to, in this context; raises what it raises."""
    context = copy_context()
    if not _is_in_loop():
        return _run(awaitable, context)
    # A thread has one loop at a time: a caller in a coroutine, or a pool that has a loop.
    task = task_stack()[-1]
    request = current_request(task)

    def run_for_caller() -> T:
        with as_current_task(task, request):
            return _run(awaitable, context)

    with ThreadPoolExecutor(1, thread_name_prefix="batchq-body") as pool:
        return pool.submit(run_for_caller).result()


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _run(awaitable: Awaitable[T], context: Context) -> T:
    # With a factory, the loop that others have set for this thread stays set.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        try:
            return runner.run(_whole(awaitable, runner.get_loop()), context=context)
        except asyncio.CancelledError as error:
            # Celery stores no BaseException: it would take the worker along.
            raise CancelledError(*error.args) from error


async def _whole(awaitable: Awaitable[T], loop: asyncio.AbstractEventLoop) -> T:
    async with own_connections():
        body = _Interruptible(_coroutine_of(awaitable))
        with _soft_limit_meets(body, loop):
            return cast("T", await body)


async def _coroutine_of(awaitable: Awaitable[T]) -> T:
    return await awaitable


# Soft time limits


class _Interruptible:
    """A body that can be interrupted with an error of any kind where it waits.

    It is looked into as the coroutine that it is.
    """

    def __init__(self, body: Coroutine[Any, Any, Any]) -> None:
        self._body = body
        self._task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._error: BaseException | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)

    def __await__(self) -> Generator[Any, Any, Any]:
        return cast("Generator[Any, Any, Any]", self)

    def __iter__(self) -> _Interruptible:
        return self

    def __next__(self) -> Any:
        return self._body.send(None)

    def throw(self, *raised: Any) -> Any:
        if self._error is not None:
            raised, self._error = (self._error,), None
            self._task.uncancel()
        return self._body.throw(*raised)

    def interrupt(self, error: BaseException) -> None:
        """Raise the error where the body waits. What it waits for is cancelled."""
        self._error = error
        self._task.cancel()


@contextmanager
def _soft_limit_meets(body: _Interruptible, loop: asyncio.AbstractEventLoop) -> Generator[None]:
    """A soft time limit is raised by the code that runs when it is met, or where the body waits.

    Raised in the loop itself, as a signal comes, it would leave the loop in pieces and the body
    without a word.
    """
    number = SOFT_LIMIT_SIGNAL
    if number is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(number)

    def met(met_now: int, frame: FrameType | None) -> None:
        try:
            cast("Callable[[int, FrameType | None], object]", before)(met_now, frame)
        except Exception as error:
            if asyncio.current_task(loop) is not None:
                raise
            loop.call_soon_threadsafe(body.interrupt, error)

    if not callable(before):
        yield
        return
    signal.signal(number, met)
    try:
        yield
    finally:
        signal.signal(number, before)
