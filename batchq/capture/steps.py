"""What a batched body may use beside the SDK: steps that run once, and calls side by side."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any, ParamSpec, TypeVar, cast, overload

from kombu.utils.json import dumps, loads

from batchq.capture.asker import Asker
from batchq.capture.run import Captured, Scope, new_asker, run_of_call
from batchq.errors import StepNotJournaled

__all__ = ["gather", "once"]

P = ParamSpec("P")
T = TypeVar("T")


def once(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call ``fn`` once for the whole task, however often its body runs; later runs get the result.

    A batched body runs again from the top after each answer, so what writes, sends or draws a
    random number belongs in here, or after the last call. The result is journaled as JSON (with
    dates, UUIDs and decimals; tuples come back as lists, in the first run too). Steps of one
    function are told apart by their order. If the process dies between ``fn`` and its record,
    ``fn`` runs once more.

    Outside a batched body it is a plain call. Raises StepNotJournaled where the result is not JSON.
    """
    name = f"{getattr(fn, '__module__', '')}.{getattr(fn, '__qualname__', type(fn).__qualname__)}"
    run = run_of_call(f"batchq.once({name})")
    if run is None:
        return fn(*args, **kwargs)

    def encode(result: Any) -> str:
        try:
            return dumps(result)
        except TypeError:
            raise StepNotJournaled(name, type(result).__qualname__) from None

    return cast("T", run.step(name, lambda: fn(*args, **kwargs), encode=encode, decode=loads))


@overload
def gather(*calls: Callable[[], T]) -> list[T]: ...
@overload
def gather(*calls: Awaitable[T]) -> Awaitable[list[T]]: ...
def gather(*calls: Any) -> Any:
    """Make calls that do not depend on each other in one round; returns their results in order.

    Takes functions without arguments, or awaitables (then ``await`` it). In a batched body all of
    them are asked before the body ends, whatever each does, so they share a batch; an error of one
    is raised once all were asked. Elsewhere functions are called one after the other.
    """
    if calls and all(inspect.isawaitable(call) for call in calls):
        return _gather_awaitables(*calls)
    return _gather_functions(*calls)


_ENDS = (Exception, Captured, BaseExceptionGroup)
"""How a call can end: a capture inside a TaskGroup arrives in a BaseExceptionGroup."""


def _gather_functions(*calls: Callable[[], Any]) -> list[Any]:
    results: list[Any] = []
    errors: list[BaseException] = []
    # All of them begin now: equal questions of two are two, though one comes after the other.
    for call, asker in [(call, new_asker()) for call in calls]:
        try:
            # A context for each, as asyncio.gather gives one.
            results.append(contextvars.copy_context().run(_call_as, asker, call))
        except _ENDS as error:
            errors.append(error)
        finally:
            asker.end()
    _raise_first(errors)
    return results


def _call_as(asker: Asker, call: Callable[[], Any]) -> Any:
    scope = Scope.to_carry()
    with nullcontext() if scope is None else scope.entered(asker):
        return call()


async def _gather_awaitables(*calls: Awaitable[Any]) -> list[Any]:
    async def settled(call: Awaitable[Any]) -> tuple[Any, BaseException | None]:
        try:
            return await call, None
        except _ENDS as error:
            return None, error

    pairs = await asyncio.gather(*map(settled, calls))
    _raise_first([error for _, error in pairs if error is not None])
    return [result for result, _ in pairs]


def _raise_first(errors: list[BaseException]) -> None:
    # A question goes before an error: the run waits for its answer, however its body ends.
    for error in sorted(errors, key=lambda error: not isinstance(error, Captured)):
        raise error
