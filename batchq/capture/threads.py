"""Threads and pools carry the run of whoever gives them work, and a pool's calls share a round.

A thread's context is empty. Without this a call in it belongs to nobody, and one in a pool that an
earlier body has made to a run that has ended.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from types import MethodType
from typing import Any

from batchq.capture.asker import Asker
from batchq.capture.http.seats import seat
from batchq.capture.run import Captured, Scope, mark_home, new_asker
from batchq.capture.turns import CapturedInPool, Shared, Turn, bare_threads, pool_starts_threads

__all__ = ["carry_runs"]


def carry_runs() -> None:
    """From now on threads and pools of this process carry the run, or the plain task, they work
    for. Where neither is current, they do what they always did.
    """
    mark_home()
    seat(threading.Thread, "start", _start)
    seat(ThreadPoolExecutor, "submit", _submit)
    for name in _WAYS_TO_GIVE:
        seat(ThreadPool, name, _give)


_WAYS_TO_GIVE = "apply_async map map_async starmap starmap_async imap imap_unordered".split()


def _start(original: Callable[..., Any]) -> Callable[..., Any]:
    def start(self: threading.Thread) -> None:
        scope = None if pool_starts_threads.get() else Scope.to_carry()
        if scope is not None:
            # On the instance: classes of threads bring a run() of their own.
            carried = _carried(self.run, scope, new_asker())

            def run(_: threading.Thread) -> None:
                carried()

            # A method, for others who wrap it take its function and give it the thread.
            vars(self)["run"] = MethodType(run, self)
        original(self)

    return start


def _carried(work: Callable[..., Any], scope: Scope, asker: Asker) -> Callable[..., Any]:
    def carried(*args: Any, **kwargs: Any) -> Any:
        try:
            with scope.entered(asker):
                return work(*args, **kwargs)
        finally:
            asker.end()

    return carried


def _give(original: Callable[..., Any]) -> Callable[..., Any]:
    def give(self: Any, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        scope = Scope.to_hand_over()
        if scope is None:
            return original(self, func, *args, **kwargs)

        def work(*given: Any, **named: Any) -> Any:
            # One asker for each item: equal questions of two items are two.
            asker = Asker(parent=parent)
            try:
                with scope.entered(asker):
                    return func(*given, **named)
            except Captured as signal:
                raise CapturedInPool from signal

        parent = new_asker()
        return original(self, work, *args, **kwargs)

    return give


# The pool of threads that everybody uses


def _submit(original: Callable[..., Any]) -> Callable[..., Any]:
    def submit(self: ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **kw: Any) -> Any:
        scope = Scope.to_hand_over()
        work = functools.partial(fn, *args, **kw)
        with bare_threads():
            if scope is None:
                return original(self, fn, *args, **kw)
            if scope.run is None:
                return original(self, _carried(work, scope, new_asker()))
            shared = scope.run.pools.setdefault(id(self), Shared())
            return Turn(shared, scope, work).submit(functools.partial(original, self))

    return submit
